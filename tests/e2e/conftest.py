"""Starts the real binary for the tests of foreign clients.

The program is named by TOKENFERRY_BIN; `make e2e` builds it and sets that. Every test writes its own
proxy.yaml, uses port 0 everywhere, and talks to stand-ins that run in threads of the test.
"""

import os
import pathlib
import queue
import signal
import subprocess
import threading
import time

import pytest
from browser import Browser, severe, start
from standins import Partner

# Whatever proxy the machine uses is not what is tested.
for name in list(os.environ):
    if name.lower() in ("http_proxy", "https_proxy", "all_proxy", "grpc_proxy"):
        del os.environ[name]
os.environ["NO_PROXY"] = "*"

START_DEADLINE = 20
STOP_DEADLINE = 40


class Tokenferry:
    """The proxy as an operator runs it: `tokenferry run -c proxy.yaml`."""

    def __init__(self, directory, config, environment=None):
        self.directory = pathlib.Path(directory)
        self.config = self.directory / "proxy.yaml"
        self.config.write_text(config, encoding="utf-8")
        # Secrets stand in it; read by all, it would be warned of.
        self.config.chmod(0o640)
        self.log = self.directory / "stderr.log"
        self.lines = queue.Queue()
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(
                [program(), "run", "-c", str(self.config)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env={**os.environ, **(environment or {})},
            )
        threading.Thread(target=self._read, daemon=True).start()
        self.addresses = []
        self.admin_address = None

    def _read(self):
        for line in self.process.stdout:
            self.lines.put(line.rstrip("\n"))
        self.lines.put(None)

    def wait_until_it_listens(self, listeners, admin=False):
        """Reads a `listening on ADDRESS` line for each listener, and the `admin on ADDRESS` of an admin port."""
        deadline = time.monotonic() + START_DEADLINE
        while len(self.addresses) < listeners or (admin and self.admin_address is None):
            try:
                line = self.lines.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                raise AssertionError(f"not listening after {START_DEADLINE} s\n{self.said()}") from None
            if line is None:
                raise AssertionError(f"ended with {self.process.wait()} before it listened\n{self.said()}")
            if line.startswith("listening on "):
                self.addresses.append(line.removeprefix("listening on ").strip())
            elif line.startswith("admin on "):
                self.admin_address = line.removeprefix("admin on ").strip()

    @property
    def address(self):
        """HOST:PORT of the first listener."""
        return self.addresses[0]

    @property
    def port(self):
        """The port of the first listener."""
        return int(self.address.rpartition(":")[2])

    def url(self, path=""):
        """An http URL at the first listener."""
        return f"http://{self.address}{path}"

    def admin_url(self, path="/"):
        """An http URL at the admin port."""
        return f"http://{self.admin_address}{path}"

    def said(self):
        """Everything on stderr so far."""
        return self.log.read_text(encoding="utf-8", errors="replace")

    def stop(self):
        """SIGTERM; the exit status."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(STOP_DEADLINE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError(f"still running {STOP_DEADLINE} s after SIGTERM\n{self.said()}") from None


def cannot(why):
    """What this machine does not let a test do: passed over at somebody's desk, a failure where CI is set."""
    if os.environ.get("CI"):
        pytest.fail(why)
    pytest.skip(why)


def program():
    """The binary under test."""
    path = os.environ.get("TOKENFERRY_BIN")
    if not path:
        pytest.exit("TOKENFERRY_BIN names no program: run `make e2e`", returncode=2)
    return path


@pytest.fixture
def partner():
    """A vendor that tells what reached it."""
    with Partner() as partner:
        yield partner


@pytest.fixture
def tokenferry(tmp_path):
    """Starts proxies; when the test is over they have drained, exited with 0, and neither panicked nor told a secret."""
    started = []
    secrets = []

    def start(config, environment=None, listeners=1, keep_secret=(), admin=False):
        directory = tmp_path / f"proxy{len(started)}"
        directory.mkdir()
        proxy = Tokenferry(directory, config, environment)
        started.append(proxy)
        secrets.extend(keep_secret)
        proxy.wait_until_it_listens(listeners, admin)
        return proxy

    yield start
    for proxy in started:
        status = proxy.stop()
        said = proxy.said()
        assert status == 0, f"exit status {status}\n{said}"
        assert "panicked" not in said, said
        for secret in secrets:
            assert secret not in said, "a secret is in the log"


@pytest.fixture(scope="session")
def driver(tmp_path_factory):
    """One Chromium for all tests: it takes seconds to start."""
    driver = start(tmp_path_factory.mktemp("profile"))
    yield driver
    driver.quit()


@pytest.fixture
def browser(driver):
    """A clean window. Its console must have no complaint at the end, but of the answers that a test provokes: the
    browser reports every failed request. A violated policy and an exception in the page have other sources.
    """
    browser = Browser(driver)
    browser.clean()
    browser.provoked = ()
    yield browser
    assert severe(browser.clean(), browser.provoked) == []
