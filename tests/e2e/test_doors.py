"""Who comes in, and how: HAProxy in front with its PROXY protocol, OpenSSL's and curl's TLS, client certificates."""

import shutil
import socket
import subprocess
import time

import pytest
from daemon import Daemon
from test_curl import Authority, curl

# A client whose address differs from the load balancer's; all of 127.0.0.0/8 is loopback.
CLIENT = "127.0.0.7"


class HAProxy(Daemon):
    """HAProxy in front of one server."""

    def __init__(self, directory, mode, server):
        self.directory, self.mode, self.server = directory, mode, server
        self.socket = directory / "haproxy.sock"
        super().__init__()

    def command(self):
        config = self.directory / "haproxy.cfg"
        config.write_text(
            f"""
global
    stats socket {self.socket}
defaults
    mode {self.mode}
    timeout connect 5s
    timeout client 30s
    timeout server 30s
frontend door
    bind 127.0.0.1:{self.port}
    {"option forwardfor" if self.mode == "http" else ""}
    default_backend ferry
backend ferry
    server ferry {self.server} source 127.0.0.1
"""
        )
        return ["haproxy", "-db", "-f", str(config)]

    def server_state(self):
        """What its health check makes of the server, such as `UP`; the last check's word."""
        with socket.socket(socket.AF_UNIX) as control:
            control.connect(str(self.socket))
            control.sendall(b"show stat\n")
            text = b""
            while part := control.recv(65536):
                text += part
        rows = [line.split(",") for line in text.decode().lstrip("# ").splitlines() if line]
        (row,) = [dict(zip(rows[0], row, strict=False)) for row in rows[1:] if row[:2] == ["ferry", "ferry"]]
        return row["status"], row["check_status"]


@pytest.fixture
def start_haproxy(tmp_path):
    assert shutil.which("haproxy"), "run `make e2e`, which installs it"
    started = []

    def start(mode, server):
        directory = tmp_path / f"haproxy{len(started)}"
        directory.mkdir()
        started.append(HAProxy(directory, mode, server))
        return started[-1]

    yield start
    for haproxy in started:
        haproxy.stop()


ALLOWED = f"{{allow: [{CLIENT}/32]}}"
TRUSTED = "trusted_proxies: [127.0.0.1/32]"


@pytest.mark.parametrize("protocol", ["send-proxy", "send-proxy-v2", "send-proxy-v2-ssl-cn"])
def test_haproxy_tells_the_clients_address_by_the_proxy_protocol(partner, tokenferry, start_haproxy, protocol):
    proxy = tokenferry(partner.config("    proxy_protocol: true", TRUSTED, ALLOWED))
    haproxy = start_haproxy("tcp", f"{proxy.address} {protocol}")
    url = f"http://127.0.0.1:{haproxy.port}/items"
    assert curl("--interface", CLIENT, url).status == 200
    assert curl("--interface", "127.0.0.8", url).status == 403
    (call,) = partner.calls()
    assert call.one("x-forwarded-for") == CLIENT


def test_haproxys_health_checks_by_proxy_protocol_find_the_door_open(partner, tokenferry, start_haproxy):
    proxy = tokenferry(partner.config("    proxy_protocol: true", TRUSTED))
    haproxy = start_haproxy("tcp", f"{proxy.address} send-proxy-v2 check inter 100ms")
    deadline = time.monotonic() + 10
    while haproxy.server_state() != ("UP", "L4OK"):
        assert time.monotonic() < deadline, haproxy.server_state()
        time.sleep(0.05)


def test_a_client_that_is_no_trusted_proxy_does_not_get_past_a_proxy_protocol_listener(partner, tokenferry):
    proxy = tokenferry(partner.config("    proxy_protocol: true", TRUSTED))
    for lines in (["--interface", CLIENT, "--haproxy-protocol"], ["--interface", CLIENT], []):
        answer = curl(*lines, proxy.url("/items"), check=False)
        assert answer.returncode in (52, 55, 56) and answer.status == 0, answer.messages
    assert curl("--haproxy-protocol", proxy.url("/items")).status == 200


def test_haproxy_tells_the_clients_address_by_x_forwarded_for(partner, tokenferry, start_haproxy):
    proxy = tokenferry(partner.config("", TRUSTED, ALLOWED))
    haproxy = start_haproxy("http", proxy.address)
    url = f"http://127.0.0.1:{haproxy.port}/items"
    assert curl("--interface", CLIENT, url).status == 200
    # What the client claims stands to the left of what HAProxy saw.
    assert curl("--interface", "127.0.0.8", "-H", f"X-Forwarded-For: {CLIENT}", url).status == 403
    assert curl("-H", f"X-Forwarded-For: {CLIENT}", "--interface", "127.0.0.8", proxy.url("/items")).status == 403


def s_client(port, *arguments):
    """One handshake of OpenSSL's; what it told of it."""
    command = ["openssl", "s_client", "-connect", f"127.0.0.1:{port}", *map(str, arguments)]
    done = subprocess.run(command, input=b"", capture_output=True, timeout=30, check=False)
    return (done.stdout + done.stderr).decode(errors="replace")


@pytest.fixture
def authority(tmp_path):
    return Authority(tmp_path, "authority")


def test_openssl_agrees_on_tls_12_and_13_and_on_nothing_older(partner, tokenferry, authority):
    certificate, key = authority.certify("proxy")
    proxy = tokenferry(partner.config(f"    tls: {{cert: {certificate}, key: {key}}}"))
    for version, name in (("-tls1_2", "TLSv1.2"), ("-tls1_3", "TLSv1.3")):
        said = s_client(proxy.port, version, "-CAfile", authority.ca, "-verify_return_error", "-brief")
        assert f"Protocol version: {name}" in said and "Verification: OK" in said, said
    said = s_client(proxy.port, "-tls1_1", "-cipher", "ALL:@SECLEVEL=0", "-brief")
    assert "Protocol version" not in said, said


@pytest.mark.parametrize(("more", "expected"), [("", "Reused, TLS"), (", session_tickets: false", "New, TLS")])
def test_openssl_resumes_a_session_unless_it_gets_no_ticket(partner, tokenferry, authority, tmp_path, more, expected):
    certificate, key = authority.certify("proxy")
    proxy = tokenferry(partner.config(f"    tls: {{cert: {certificate}, key: {key}{more}}}"))
    for version in ("-tls1_2", "-tls1_3"):
        session = tmp_path / f"session{version}"
        # TLS 1.3 sends its tickets behind the handshake, so a request waits for them.
        command = f"(printf 'GET / HTTP/1.1\\r\\nHost: localhost\\r\\nConnection: close\\r\\n\\r\\n'; sleep 0.3) | openssl s_client -connect 127.0.0.1:{proxy.port} {version} -sess_out {session} -ign_eof"
        subprocess.run(command, shell=True, capture_output=True, timeout=30, check=False)
        # Without a ticket OpenSSL keeps a session of TLS 1.2 alone.
        said = s_client(proxy.port, version, *(("-sess_in", session) if session.exists() else ()))
        assert expected in said, said


def test_a_certificate_is_chosen_by_the_name_that_is_asked_for(partner, tokenferry, authority):
    first = authority.certify("first", "DNS:first.test")
    second = authority.certify("second", "DNS:second.test,DNS:*.second.test")
    listener = f"""    tls:
      cert: {first[0]}
      key: {first[1]}
      certificates: [{{cert: {second[0]}, key: {second[1]}}}]"""
    proxy = tokenferry(partner.config(listener))
    for asked, shown in (
        ("first.test", "first"),
        ("second.test", "second"),
        ("a.second.test", "second"),
        ("SECOND.test", "second"),
        ("other.test", "first"),
    ):
        said = s_client(proxy.port, "-servername", asked)
        assert f"CN = {shown}\n" in said or f"CN={shown}\n" in said, (asked, said)


def test_a_client_shows_a_certificate_of_the_listeners_authority_or_stays_out(
    partner, tokenferry, authority, tmp_path
):
    certificate, key = authority.certify("proxy")
    clients, strangers = Authority(tmp_path, "clients"), Authority(tmp_path, "strangers")
    app, other = clients.certify("app", "DNS:app.internal"), clients.certify("other", "DNS:other.internal")
    forged = strangers.certify("forged", "DNS:app.internal")
    listener = f"    tls: {{cert: {certificate}, key: {key}, client_ca: {clients.ca}}}"
    proxy = tokenferry(partner.config(listener, access="{client_certificates: {names: [app.internal]}}"))
    url = f"https://localhost:{proxy.port}/items"

    def ask(identity, *more):
        shown = ("--cert", str(identity[0]), "--key", str(identity[1])) if identity else ()
        return curl("--cacert", str(authority.ca), *shown, *more, url, check=False)

    for dialect in ("--http1.1", "--http2"):
        answer = ask(app, dialect)
        assert (answer.returncode, answer.status) == (0, 200), answer.messages
    assert ask(other).status == 403
    for identity in (None, forged):
        answer = ask(identity)
        assert answer.returncode != 0 and answer.status == 0, answer.messages
    assert len(partner.calls()) == 2
