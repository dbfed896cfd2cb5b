"""The metrics of a running proxy, judged by Prometheus' own tool."""

import queue
import subprocess
import time
import urllib.error
import urllib.request

import pytest
from standins import Partner

# The contract's, and what the documentation names besides.
NAMES = """
tokenferry_build_info
tokenferry_requests_total
tokenferry_request_duration_seconds
tokenferry_upstream_duration_seconds
tokenferry_token_wait_seconds
tokenferry_request_body_bytes_total
tokenferry_response_body_bytes_total
tokenferry_connections
tokenferry_token_requests_total
tokenferry_token_refused_total
tokenferry_token_expiry_seconds
tokenferry_token_generation
tokenferry_token_live
tokenferry_config_reloads_total
tokenferry_config_last_reload_successful
tokenferry_config_generation
tokenferry_admin_denied_total
tokenferry_log_lines_dropped_total
process_start_time_seconds
process_cpu_seconds_total
process_resident_memory_bytes
process_open_fds
""".split()


def fetch(url, **headers):
    """Status, content type and body of a GET."""
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=30) as answer:
            return answer.status, answer.headers["Content-Type"], answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.headers["Content-Type"], error.read().decode()


def admin_url(proxy):
    """The admin port, as the line behind the listeners' tells it."""
    deadline = time.monotonic() + 20
    while True:
        try:
            line = proxy.lines.get(timeout=max(0.0, deadline - time.monotonic()))
        except queue.Empty:
            raise AssertionError(f"no line of the admin port\n{proxy.said()}") from None
        assert line is not None, proxy.said()
        if line.startswith("admin on "):
            return "http://" + line.removeprefix("admin on ").strip()


@pytest.fixture
def scraped(tokenferry):
    """A proxy with requests behind it: its metrics' URL."""
    with Partner() as partner:
        config = f"""
listeners:
  - address: 127.0.0.1:0
admin: {{address: 127.0.0.1:0}}
credentials:{partner.credential()}
routes:
  - {{name: 'a "name" \\ with all', match: {{path: /}}, upstream: '{partner.url()}', credential: partner}}
  - {{name: closed, match: {{path: /closed}}, respond: 403}}
"""
        proxy = tokenferry(config)
        url = admin_url(proxy) + "/metrics"
        for path in ("/echo", "/closed", "/echo"):
            fetch(proxy.url(path))
        deadline = time.monotonic() + 20
        while "tokenferry_requests_total{" not in fetch(url)[2]:
            assert time.monotonic() < deadline, fetch(url)
            time.sleep(0.05)
        yield url


def test_promtool_has_nothing_to_complain_of(scraped):
    status, kind, page = fetch(scraped)
    assert (status, kind) == (200, "text/plain; version=0.0.4; charset=utf-8")
    done = subprocess.run(["promtool", "check", "metrics"], input=page, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", ""), page


def test_every_metric_is_there(scraped):
    page = fetch(scraped)[2]
    told = {line.split()[2] for line in page.splitlines() if line.startswith("# TYPE ")}
    assert [name for name in NAMES if name not in told] == []
    assert 'route="a \\"name\\" \\\\ with all",method="GET",status="200"}' in page


def test_whoever_asks_for_openmetrics_gets_it(scraped):
    accept = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
    status, kind, page = fetch(scraped, Accept=accept)
    assert (status, kind) == (200, "application/openmetrics-text; version=1.0.0; charset=utf-8")
    assert page.endswith("# EOF\n") and "# TYPE tokenferry_requests counter\n" in page
