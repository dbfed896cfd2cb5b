"""Through a real egress proxy: tinyproxy, as Debian has it, with a password and a list of ports."""

import json
import shutil
import ssl

import pytest
from daemon import Daemon
from standins import Partner
from test_curl import Authority, curl

USER, PASSWORD = "ferry", "p4ss-w0rd"


class Tinyproxy(Daemon):
    """tinyproxy, which lets CONNECT go to these ports."""

    def __init__(self, directory, connect_ports):
        self.directory, self.connect_ports = directory, connect_ports
        self.log = directory / "tinyproxy.log"
        super().__init__()

    def command(self):
        lines = [
            f"Port {self.port}",
            "Listen 127.0.0.1",
            "Allow 127.0.0.1",
            f"BasicAuth {USER} {PASSWORD}",
            f'LogFile "{self.log}"',
            "LogLevel Connect",
            *(f"ConnectPort {port}" for port in self.connect_ports),
        ]
        config = self.directory / "tinyproxy.conf"
        config.write_text("\n".join(lines) + "\n")
        return ["tinyproxy", "-d", "-c", str(config)]

    def url(self, password=PASSWORD):
        return f"http://{USER}:{password}@127.0.0.1:{self.port}"

    def asked(self):
        """The first lines of the requests that it took."""
        lines = self.log.read_text(errors="replace").splitlines()
        return [line.partition("): ")[2] for line in lines if "Request (" in line]


@pytest.fixture
def start_tinyproxy(tmp_path):
    assert shutil.which("tinyproxy"), "run `make e2e`, which installs it"
    started = []

    def start(*connect_ports):
        started.append(Tinyproxy(tmp_path, connect_ports))
        return started[-1]

    yield start
    for egress in started:
        egress.stop()


def config(partner, login, upstream):
    """The partner's login and its data, each with these further lines."""
    return f"""
listeners:
  - address: 127.0.0.1:0
credentials:{partner.credential()}    {login}
routes:
  - name: partner
    match: {{path: /}}
    upstream: {{{upstream}}}
    credential: partner
"""


def test_plain_logins_and_data_are_forwarded(start_tinyproxy, tokenferry):
    egress = start_tinyproxy()
    with Partner() as partner:
        way = f"proxy: '{egress.url()}'"
        proxy = tokenferry(config(partner, way, f"url: '{partner.url()}', {way}"), keep_secret=[PASSWORD])
        for n in range(3):
            answer = curl(proxy.url(f"/items/{n}?q=%20"))
            assert answer.status == 200
            told = json.loads(answer.body)
            assert (told["target"], told["token"]) == (f"/items/{n}?q=%20", "partner-token-1")
        assert any(line.startswith("POST http://") for line in egress.asked()), egress.asked()
        assert sum(line.startswith("GET http://") for line in egress.asked()) == 3


def test_tls_goes_through_a_tunnel(start_tinyproxy, tokenferry, tmp_path):
    authority = Authority(tmp_path, "authority")
    certificate, key = authority.certify("upstream")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with Partner(tls=context) as partner:
        egress = start_tinyproxy(partner.port)
        way = f"proxy: '{egress.url()}'"
        url = f"https://localhost:{partner.port}"
        text = config(partner, f"ca: {authority.ca}\n    {way}", f"url: '{url}', ca: {authority.ca}, {way}")
        proxy = tokenferry(text.replace(partner.url(), url), keep_secret=[PASSWORD])
        answer = curl(proxy.url("/items"))
        assert answer.status == 200, proxy.said()
        assert json.loads(answer.body)["token"] == "partner-token-1"
        assert {line.split()[0] for line in egress.asked()} == {"CONNECT"}, egress.asked()


@pytest.mark.parametrize("password, ports, said", [("wrong", True, "401 (check the user and password"), (PASSWORD, False, "403 (its rules")])
def test_what_the_proxy_does_not_let_pass_is_laid_at_its_own_door(start_tinyproxy, tokenferry, password, ports, said):
    egress = start_tinyproxy(*((9,) if not ports else (443,)))
    with Partner() as partner:
        upstream = f"url: 'https://api.example.test', insecure: true, proxy: '{egress.url(password)}'"
        proxy = tokenferry(config(partner, "", upstream), keep_secret=[PASSWORD])
        answer = curl(proxy.url("/items"))
        assert (answer.status, json.loads(answer.body)["code"]) == (502, "egress_proxy")
        assert f"it answered {said}" in proxy.said(), proxy.said()
