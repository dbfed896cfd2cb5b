"""The blocks of README and docs/ that another program has to read: systemd's units, nginx's files, Prometheus' queries.

What needs nothing but our own binary is checked by `make test`, in tests/docs. The programs are there: `make e2e`
installs what is missing, and a test without its program fails.
"""

import pathlib
import re
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
FENCE = re.compile(r"^```(\S+)[^\n]*\n(.*?)^```$", re.MULTILINE | re.DOTALL)
# Debian has it where only root looks for programs.
NGINX = "/usr/sbin/nginx"
MODULES = pathlib.Path("/usr/lib/nginx/modules")


def blocks(language):
    """The text of each block in a language."""
    pages = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
    return [
        pytest.param(text, id=f"{page.name}-{number}")
        for page in pages
        for number, (name, text) in enumerate(FENCE.findall(page.read_text(encoding="utf-8")))
        if name == language
    ]


def ran(*command):
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize("text", blocks("ini"))
def test_units_are_taken_by_systemd(text, tmp_path):
    name = re.match(r"# (\S+\.(?:service|socket))\n", text)
    assert name, "the first line of a unit says its name"
    # Where the program is, is not the page's affair.
    text = re.sub(r"^(Exec\w+=)\S+", r"\1/bin/true", text, flags=re.MULTILINE)
    unit = tmp_path / name[1]
    unit.write_text(text, encoding="utf-8")
    beside = {".socket": ".service", ".service": ".socket"}[unit.suffix]
    more = "[Service]\nExecStart=/bin/true\n" if beside == ".service" else "[Socket]\nListenStream=127.0.0.1:8080\n"
    unit.with_suffix(beside).write_text(more, encoding="utf-8")
    status, said = ran("systemd-analyze", "verify", "--man=no", str(unit))
    # What other units of this machine have wrong is told as well.
    ours = [line for line in said.splitlines() if "tokenferry" in line and "Failed to open" not in line]
    assert status == 0 and not ours, said


@pytest.mark.parametrize("text", blocks("nginx"))
def test_nginx_takes_the_file_that_it_is_compared_by(text, tmp_path):
    # Its names are looked up when it reads the file, and this machine may know none.
    text = text.replace("proxy_pass https://api.crewmojo.com", "proxy_pass https://127.0.0.1")
    modules = [f"load_module {MODULES}/{name}.so;" for name in ("ndk_http_module", "ngx_http_lua_module")]
    file = tmp_path / "nginx.conf"
    file.write_text("\n".join([*modules, f"pid {tmp_path}/pid;", "error_log stderr;", text]), encoding="utf-8")
    status, said = ran(NGINX, "-t", "-q", "-p", str(tmp_path), "-c", str(file))
    assert status == 0, said


@pytest.mark.parametrize("text", blocks("promql"))
def test_prometheus_takes_the_queries(text, tmp_path):
    queries = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    rules = [f"  - record: query:{number}\n    expr: |\n      {query}\n" for number, query in enumerate(queries)]
    file = tmp_path / "rules.yaml"
    file.write_text("groups:\n- name: docs\n  rules:\n" + "".join(rules), encoding="utf-8")
    status, said = ran("promtool", "check", "rules", str(file))
    assert status == 0, said
