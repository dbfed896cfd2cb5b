"""The other side: strict stand-ins for vendors' APIs, on loopback, in threads of the test.

They follow the vendors' documents to the letter: what a document does not allow gets an error, so that a request
which only a lenient server would take fails here.
"""

import base64
import dataclasses
import hashlib
import json
import threading
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclasses.dataclass
class Seen:
    """A request as it arrived."""

    method: str
    target: str
    version: str
    headers: list
    body: bytes

    @property
    def path(self):
        return self.target.partition("?")[0]

    @property
    def query(self):
        return self.target.partition("?")[2]

    def all(self, name):
        return [value for key, value in self.headers if key.lower() == name.lower()]

    def one(self, name):
        """The header's only value; None where there is none or more than one."""
        values = self.all(name)
        return values[0] if len(values) == 1 else None

    def media_type(self):
        return (self.one("content-type") or "").partition(";")[0].strip().lower()


@dataclasses.dataclass
class Reply:
    """What is sent back. `chunked` streams the body without saying its length before."""

    status: int = 200
    body: bytes = b""
    headers: dict = dataclasses.field(default_factory=dict)
    chunked: bool = False


def as_json(value, status=200):
    """A JSON answer."""
    return Reply(status, json.dumps(value).encode(), {"Content-Type": "application/json; charset=utf-8"})


class QuietHandler(BaseHTTPRequestHandler):
    """HTTP/1.1, whose clients may go at any time."""

    protocol_version = "HTTP/1.1"
    # A proxy keeps its connections open; threads are daemons, so that ends nothing.
    timeout = 60

    def handle_one_request(self):
        try:
            super().handle_one_request()
        except (ConnectionError, TimeoutError):
            self.close_connection = True

    def log_message(self, *_):
        pass


class Server:
    """An HTTP/1.1 server that remembers what it was asked; `answer` says what it replies."""

    def __init__(self, tls=None):
        self.seen = []
        self.lock = threading.Lock()
        owner = self

        class Handler(QuietHandler):
            def _serve(self):
                owner._serve(self)

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_HEAD = do_OPTIONS = _serve

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True
        if tls:
            # The handshake is the connection's thread's work, not the accepting one's.
            self.http.socket = tls.wrap_socket(self.http.socket, server_side=True, do_handshake_on_connect=False)
        self.port = self.http.server_address[1]
        self.address = f"127.0.0.1:{self.port}"
        threading.Thread(target=self.http.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.http.shutdown()
        self.http.server_close()

    def url(self, path=""):
        return f"http://{self.address}{path}"

    def answer(self, seen):
        raise NotImplementedError

    def requests(self, method=None, path=None):
        """What came, of this method and path."""
        with self.lock:
            return [s for s in self.seen if method in (None, s.method) and path in (None, s.path)]

    def _serve(self, handler):
        seen = Seen(
            handler.command,
            handler.path,
            handler.request_version,
            list(handler.headers.items()),
            read_body(handler),
        )
        with self.lock:
            self.seen.append(seen)
            reply = self.answer(seen)
        handler.send_response(reply.status)
        for name, value in reply.headers.items():
            handler.send_header(name, value)
        if reply.chunked:
            handler.send_header("Transfer-Encoding", "chunked")
            handler.end_headers()
            half = len(reply.body) // 2
            for part in (reply.body[:half], reply.body[half:]):
                if part:
                    handler.wfile.write(b"%x\r\n%s\r\n" % (len(part), part))
            handler.wfile.write(b"0\r\n\r\n")
        else:
            if reply.status != 204:
                handler.send_header("Content-Length", str(len(reply.body)))
            handler.end_headers()
            if handler.command != "HEAD":
                handler.wfile.write(reply.body)


def read_body(handler):
    """The body, by its length or in chunks."""
    if (handler.headers.get("Transfer-Encoding") or "").lower() == "chunked":
        body = b""
        while True:
            size = int(handler.rfile.readline().split(b";")[0], 16)
            if size == 0:
                while handler.rfile.readline().strip():
                    pass
                return body
            body += handler.rfile.read(size)
            handler.rfile.readline()
    return handler.rfile.read(int(handler.headers.get("Content-Length") or 0))


def basic(user, password):
    """An Authorization header's value."""
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def form(seen):
    """The fields of a form; None where the body is not one, or names a field twice."""
    if seen.media_type() != "application/x-www-form-urlencoded":
        return None
    try:
        pairs = urllib.parse.parse_qsl(seen.body.decode("ascii"), strict_parsing=True, keep_blank_values=True)
    except (ValueError, UnicodeDecodeError):
        return None
    return dict(pairs) if len(dict(pairs)) == len(pairs) else None


class Vendor(Server):
    """A server with tokens: they are numbered, so a test can say which one was used."""

    name = "vendor"
    token_path = "/token"

    def __init__(self, **options):
        self.issued = 0
        self.living = set()
        super().__init__(**options)

    def issue(self, kill_earlier=False):
        if kill_earlier:
            self.living.clear()
        self.issued += 1
        token = f"{self.name}-token-{self.issued}"
        self.living.add(token)
        return token

    def revoke_all(self):
        """As an operator at the vendor would."""
        with self.lock:
            self.living.clear()

    def logins(self):
        """Requests to the token endpoint."""
        return [s for s in self.requests() if s.path.rstrip("/") == self.token_path]

    def calls(self):
        """Requests to anything else."""
        return [s for s in self.requests() if s.path.rstrip("/") != self.token_path]

    def bearer(self, seen):
        """The living token that the request carries, alone; else None."""
        scheme, _, token = (seen.one("authorization") or "").partition(" ")
        return token if scheme == "Bearer" and token in self.living else None

    def answer(self, seen):
        if seen.path.rstrip("/") == self.token_path:
            return self.login(seen)
        if self.bearer(seen) is None and not self.open_to_all(seen):
            return self.unauthorized()
        return self.serve(seen)

    def open_to_all(self, _seen):
        return False

    def unauthorized(self):
        return Reply(401, b"", {"WWW-Authenticate": "Bearer"})

    def login(self, seen):
        raise NotImplementedError

    def serve(self, seen):
        raise NotImplementedError


class Partner(Vendor):
    """RFC 6749 client_credentials, and an API that tells what it was sent."""

    name = "partner"
    client_id = "partner-id"
    client_secret = "partner-secret"

    def login(self, seen):
        if seen.method != "POST" or form(seen) != {"grant_type": "client_credentials"}:
            return as_json({"error": "invalid_request"}, 400)
        if seen.one("authorization") != basic(self.client_id, self.client_secret):
            return as_json({"error": "invalid_client"}, 401)
        return as_json({"access_token": self.issue(), "token_type": "Bearer", "expires_in": 3600})

    def serve(self, seen):
        told = as_json(
            {
                "method": seen.method,
                "target": seen.target,
                "version": seen.version,
                "host": seen.one("host"),
                "token": self.bearer(seen),
                "length": len(seen.body),
                "sha256": hashlib.sha256(seen.body).hexdigest(),
            }
        )
        if seen.path.startswith("/chunked"):
            told.chunked = True
        return told

    def credential(self):
        """Its entry below `credentials` in proxy.yaml."""
        return f"""
  partner:
    provider: oauth2
    token_url: {self.url(self.token_path)}
    grant: client_credentials
    client_id: {self.client_id}
    client_secret: {self.client_secret}
"""

    def config(self, listener="", more="", access="public"):
        """A proxy.yaml with one route, to this vendor."""
        return f"""
{more}
listeners:
  - address: 127.0.0.1:0
{listener}
credentials:{self.credential()}
routes:
  - name: partner
    upstream: {self.url()}
    credential: partner
    access: {access}
"""


class Crayon(Vendor):
    """Crayon Cloud-iQ, https://apidocs.crayon.com: what its Python SDK uses of it."""

    name = "crayon"
    token_path = "/api/v1/connect/token"
    client_id = "2f3c9d1e-operator"
    client_secret = "operator-secret-7b1d"
    username = "operator@example.com"
    password = "operator p&ss=word+%"

    def login(self, seen):
        expected = {
            "grant_type": "password",
            "username": self.username,
            "password": self.password,
            "scope": "CustomerApi",
        }
        if (
            seen.method != "POST"
            or form(seen) != expected
            or seen.one("authorization") != basic(self.client_id, self.client_secret)
        ):
            return as_json({"AccessToken": None, "Error": "invalid_grant", "ExpiresIn": 0}, 400)
        return as_json(
            {
                "AccessToken": self.issue(),
                "IdentityToken": None,
                "Error": None,
                "ExpiresIn": 20060,
                "TokenType": "Bearer",
                "RefreshToken": None,
            }
        )

    def open_to_all(self, seen):
        return seen.path.lower() == "/api/v1/ping"

    def unauthorized(self):
        # The vendor's SDK treats an empty error body as usual.
        return Reply(401)

    def serve(self, seen):
        # Its own clients write paths in either case.
        match seen.method, seen.path.lower():
            case "GET", "/api/v1/ping":
                return as_json({"Version": "1.0", "Environment": "stand-in"})
            case "GET", "/api/v1/me":
                return as_json({"UserId": "7", "UserName": self.username, "Claims": []})
            case "GET", "/api/v1/organizations":
                return as_json({"Items": [{"Id": 4711, "Name": "Acme"}], "TotalHits": 1})
            case "POST", "/api/v1/clients" if seen.media_type() == "application/json":
                return as_json({"ClientId": "new", **json.loads(seen.body)})
            case "DELETE", "/api/v1/assets/12/tags":
                return Reply(204)
        return as_json({"ErrorCode": "404 NotFound", "Message": seen.target, "Parameters": {}, "ObjectErrors": []}, 404)


class Crewmojo(Vendor):
    """Crewmojo: a new token kills the earlier ones. docs.crewmojo.com, "Crewmojo API", "Upload API", "Download API"."""

    name = "crewmojo"
    token_path = "/v1/oauth/token"
    client_id = "operator-client"
    client_secret = "operator-secret-c0ffee"

    def error(self, status, message):
        return as_json({"success": "false", "httpErrorCode": status, "errorMessage": message}, status)

    def unauthorized(self):
        return self.error(401, "Unauthorized")

    def login(self, seen):
        if seen.media_type() == "application/json":
            try:
                fields = json.loads(seen.body)
            except ValueError:
                fields = None
        else:
            fields = form(seen)
        if seen.method != "POST" or not isinstance(fields, dict) or fields.get("grant_type") != "client_credentials":
            return self.error(400, "Invalid data received")
        if fields != {
            "grant_type": "client_credentials",
            "client_id": self.client_id,
            "client_secret": self.client_secret,
        }:
            return self.error(401, "Unauthorized")
        return as_json({"access_token": self.issue(kill_earlier=True), "token_type": "Bearer", "expires_in": 1800})

    def serve(self, seen):
        match seen.method, seen.path, seen.media_type():
            case "POST", "/v1/integrations/upload/humans", "text/csv":
                return as_json({"success": True, "rows": len(seen.body.decode().splitlines()) - 1})
            case "POST", "/v1/integrations/download/oneonone.summary", "application/json":
                asked = json.loads(seen.body)
                if asked.get("contentType") == "json":
                    return as_json([{"employee": "E1", "from": asked["startDate"], "to": asked["endDate"]}])
                return Reply(200, b"employee\nE1\n", {"Content-Type": "text/csv"})
        return self.error(400, "Invalid data received")
