"""curl in its several dialects: HTTP/1.0, 1.1, 2 with prior knowledge, 2 by ALPN, and uploads that ask first."""

import concurrent.futures
import hashlib
import json
import os
import ssl
import subprocess

import pytest
from standins import Partner


def curl(*arguments, check=True):
    """Runs curl; its result has `status`, `version`, `uploaded` and `seconds` beside body and messages."""
    # Told on stderr, after everything else: the body may be anything.
    told = "\n%{stderr}%{http_code} %{http_version} %{size_upload} %{time_total}\n"
    command = ["curl", "-q", "--silent", "--show-error", "--noproxy", "*", "--max-time", "30", "--write-out", told]
    done = subprocess.run([*command, *arguments], capture_output=True, timeout=60, check=False)
    messages = done.stderr.decode(errors="replace")
    if check:
        assert done.returncode == 0, f"curl ended with {done.returncode}: {messages}"
    status, version, uploaded, seconds = messages.strip().splitlines()[-1].split()
    done.status, done.version, done.uploaded, done.seconds = int(status), version, int(uploaded), float(seconds)
    done.messages = messages
    # Only where --write-out has put its line break.
    done.body = done.stdout.removesuffix(b"\n")
    return done


@pytest.fixture
def proxy(partner, tokenferry):
    config = f"""
listeners:
  - address: 127.0.0.1:0
credentials:{partner.credential()}
routes:
  - name: forbidden
    match: {{path: /forbidden}}
    respond: 403
  - name: partner
    match: {{path: /}}
    upstream: {partner.url()}
    credential: partner
"""
    return tokenferry(config, keep_secret=[Partner.client_secret, "partner-token-"])


@pytest.fixture
def upload(tmp_path):
    """Two MiB that no compression and no accident reproduces."""
    file = tmp_path / "upload.bin"
    file.write_bytes(os.urandom(2 * 1024 * 1024))
    return file


def digest(file):
    return hashlib.sha256(file.read_bytes()).hexdigest()


def test_http2_with_prior_knowledge_is_served_on_the_plain_port(proxy):
    answer = curl("--http2-prior-knowledge", proxy.url("/items?page=2&q=a%20b"))
    assert (answer.status, answer.version) == (200, "2")
    told = json.loads(answer.body)
    assert (told["method"], told["target"]) == ("GET", "/items?page=2&q=a%20b")
    assert (told["version"], told["token"]) == ("HTTP/1.1", "partner-token-1")


def test_an_upload_over_http2_arrives_whole(proxy, upload):
    answer = curl("--http2-prior-knowledge", "--data-binary", f"@{upload}", proxy.url("/upload"))
    assert (answer.status, answer.version) == (200, "2")
    told = json.loads(answer.body)
    assert (told["length"], told["sha256"]) == (upload.stat().st_size, digest(upload))


def test_http1_and_http2_are_served_on_the_same_plain_port(proxy):
    assert curl("--http1.1", proxy.url("/")).version == "1.1"
    assert curl("--http2-prior-knowledge", proxy.url("/")).version == "2"
    assert curl("--http1.1", proxy.url("/")).version == "1.1"


def test_an_http10_client_gets_an_answer_it_can_read(proxy, partner):
    answer = curl("--http1.0", "--include", proxy.url("/chunked"))
    assert answer.status == 200
    head, _, body = answer.body.partition(b"\r\n\r\n")
    assert b"transfer-encoding" not in head.lower(), "HTTP/1.0 knows no chunks"
    assert json.loads(body)["target"] == "/chunked"
    (call,) = partner.calls()
    assert (call.version, call.one("authorization")) == ("HTTP/1.1", "Bearer partner-token-1")


def test_an_upload_that_asks_first_is_told_to_go_on(proxy, upload):
    answer = curl(
        *("--http1.1", "--verbose", "--expect100-timeout", "25", "-H", "Expect: 100-continue"),
        *("--upload-file", str(upload), proxy.url("/upload")),
    )
    assert answer.status == 200
    assert "HTTP/1.1 100 Continue" in answer.messages
    assert answer.seconds < 20, "curl waited for a 100 that did not come"
    assert json.loads(answer.body)["sha256"] == digest(upload)


def test_an_upload_that_asks_first_is_not_wanted_where_it_would_be_refused(proxy, partner, upload):
    answer = curl(
        *("--http1.1", "--verbose", "--expect100-timeout", "25", "-H", "Expect: 100-continue"),
        *("--upload-file", str(upload), proxy.url("/forbidden")),
    )
    assert (answer.status, answer.uploaded) == (403, 0)
    assert partner.calls() == []


def test_what_the_client_calls_its_authorization_never_arrives(proxy, partner):
    answer = curl("-H", "Authorization: Bearer mine", "-H", "authorization: Basic bWU6bWU=", proxy.url("/"))
    assert answer.status == 200
    (call,) = partner.calls()
    assert call.all("authorization") == ["Bearer partner-token-1"]


def test_many_clients_at_once_on_a_cold_proxy_make_one_token_request(proxy, partner):
    with concurrent.futures.ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda n: curl("--http2-prior-knowledge", proxy.url(f"/{n}")), range(20)))
    assert {answer.status for answer in answers} == {200}
    assert [json.loads(answer.body)["target"] for answer in answers] == [f"/{n}" for n in range(20)]
    assert len(partner.logins()) == 1


class Authority:
    """A certificate authority of one's own, made with openssl."""

    def __init__(self, directory, name):
        self.directory = directory
        self.ca = directory / f"{name}.pem"
        self.key = directory / f"{name}.key"
        subject = ("-subj", f"/CN={name}", "-days", "2")
        self._openssl("req", "-x509", "-out", self.ca, "-keyout", self.key, *self._fresh_key(), *subject)

    def certify(self, name, names="DNS:localhost,IP:127.0.0.1"):
        """A certificate for these names, or for loopback; its file and its key's."""
        certificate, key, request = (self.directory / f"{name}.{kind}" for kind in ("crt", "key", "csr"))
        extensions = self.directory / f"{name}.ext"
        extensions.write_text(f"subjectAltName={names}\nbasicConstraints=CA:FALSE\n")
        self._openssl("req", "-out", request, "-keyout", key, *self._fresh_key(), "-subj", f"/CN={name}")
        signer = ("-CA", self.ca, "-CAkey", self.key, "-CAcreateserial", "-days", "2", "-extfile", extensions)
        self._openssl("x509", "-req", "-in", request, "-out", certificate, *signer)
        return certificate, key

    @staticmethod
    def _fresh_key():
        return ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")

    @staticmethod
    def _openssl(*arguments):
        subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True, timeout=30)


@pytest.fixture
def authority(tmp_path):
    return Authority(tmp_path, "authority")


def test_tls_offers_http2_and_http11_by_alpn(partner, tokenferry, authority):
    certificate, key = authority.certify("proxy")
    proxy = tokenferry(
        f"""
listeners:
  - address: 127.0.0.1:0
    tls: {{cert: {certificate}, key: {key}}}
credentials:{partner.credential()}
routes:
  - name: partner
    match: {{path: /}}
    upstream: {partner.url()}
    credential: partner
"""
    )
    url = f"https://localhost:{proxy.port}/items"
    for dialect, version in (("--http2", "2"), ("--http1.1", "1.1")):
        answer = curl(dialect, "--cacert", str(authority.ca), url)
        assert (answer.status, answer.version) == (200, version)
        assert json.loads(answer.body)["token"] == "partner-token-1"
    stranger = curl("--http2", url, check=False)
    assert stranger.returncode == 60, "curl knows this authority only when told"


def upstream_over_tls(tokenferry, authority, ca):
    """A partner that speaks TLS, and the answer of a proxy that trusts `ca`."""
    certificate, key = authority.certify("upstream")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with Partner() as tokens, Partner(tls=context) as partner:
        # The tokens come over plain loopback, so that only the upstream's certificate is in question.
        partner.living = tokens.living
        proxy = tokenferry(
            f"""
listeners:
  - address: 127.0.0.1:0
credentials:{tokens.credential()}
routes:
  - name: partner
    match: {{path: /}}
    upstream:
      url: https://localhost:{partner.port}
      ca: {ca}
    credential: partner
"""
        )
        return curl(proxy.url("/items")), partner.requests()


def test_an_upstreams_certificate_is_accepted_by_the_routes_own_authority(tokenferry, authority):
    answer, seen = upstream_over_tls(tokenferry, authority, authority.ca)
    assert answer.status == 200
    assert [call.one("authorization") for call in seen] == ["Bearer partner-token-1"]


def test_an_upstream_that_cannot_prove_who_it_is_gets_no_request(tokenferry, authority, tmp_path):
    stranger = Authority(tmp_path, "stranger")
    answer, seen = upstream_over_tls(tokenferry, authority, stranger.ca)
    assert answer.status == 502
    assert answer.stdout.find(b"partner-token-") == -1
    assert seen == []
