"""An admin port that says what a test wants it to say, with the real page and its real policy.

The built binary serves the same files; this is for what it can't be made to show in seconds: a thousand routes,
hostile names, a vendor's words, a lost connection.
"""

import copy
import json
import pathlib
import threading
import time
from http.server import ThreadingHTTPServer

from standins import QuietHandler

PAGE = pathlib.Path(__file__).parents[2] / "src" / "admin" / "page"
FILES = {
    "/": ("index.html", "text/html; charset=utf-8"),
    "/status.css": ("status.css", "text/css; charset=utf-8"),
    "/status.js": ("status.js", "text/javascript; charset=utf-8"),
}
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


def stamp(ago=0):
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - ago))


def credential(name, **fields):
    return {
        "name": name,
        "provider": "oauth2",
        "exclusive": False,
        "state": "live",
        "generation": 4,
        "live": True,
        "expires_in_seconds": 1234.5,
        "lifetime_seconds": 1800.0,
        "lifetime_source": "the answer",
        "renewals": 3,
        "logins": 4,
        "failed_logins": 0,
        "refused": 0,
        "waiting": 0,
        "suspect": False,
        "disturbed": False,
        "disturbances": 0,
        "clock_skew_seconds": 0,
        "last_error": None,
        "retry_in_seconds": None,
        **fields,
    }


def route(name, **fields):
    return {
        "name": name,
        "match": f"/{name}",
        "upstream": f"https://api.{name}.example/v1",
        "credential": name,
        "requests": 1234,
        "errors": 2,
        "requests_per_second": 12.5,
        "error_share": 0.0016,
        "p50_ms": 8.2,
        "p99_ms": 95.0,
        "history": {"step_seconds": 15, "requests": [100, 180, 120] * 20, "errors": [0, 0, 1] * 20},
        **fields,
    }


def status(**fields):
    return {
        "version": "0.1.0",
        "started": stamp(7531),
        "uptime_seconds": 7531.0,
        "state": "serving",
        "ready": True,
        "ready_when": "serving",
        "config": {"file": "/etc/tokenferry/proxy.yaml", "generation": 3, "taken": stamp(600)},
        "reload": None,
        "reloads": {"taken": 3, "unchanged": 0, "refused": 0},
        "listeners": ["127.0.0.1:8080"],
        "store": {"kind": "memory"},
        "credentials": [credential("partner")],
        "routes": [route("partner")],
        **fields,
    }


class AdminStandIn:
    """Serves the page, and `says`; `answers` maps a POST's path to (status, JSON). `mode` spoils it."""

    def __init__(self, says=None):
        self.says = says or status()
        self.answers = {}
        self.mode = "well"  # well | cut | unauthorized | nonsense
        self.asked = 0
        self.posted = []
        owner = self

        class Handler(QuietHandler):
            def do_GET(self):
                if self.path in FILES:
                    file, kind = FILES[self.path]
                    return self.send(200, kind, (PAGE / file).read_bytes())
                if self.path != "/api/v1/status":
                    return self.send(404, "application/problem+json", b'{"detail": "no such page"}')
                owner.asked += 1
                if owner.mode == "cut":
                    self.close_connection = True
                    return self.connection.close()
                if owner.mode == "unauthorized":
                    return self.send(401, "application/problem+json", b"{}")
                if owner.mode == "nonsense":
                    return self.send(200, "application/json", b'{"hello": "world"}')
                self.send(200, "application/json", json.dumps(owner.says).encode())

            def do_POST(self):
                owner.posted.append(self.path)
                code, body = owner.answers.get(self.path, (404, {"detail": "no credential has this name"}))
                kind = "application/json" if code == 200 else "application/problem+json"
                self.send(code, kind, json.dumps(body).encode())

            def send(self, code, kind, body):
                self.send_response(code)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.send_header("Content-Security-Policy", POLICY)
                self.send_header("X-Content-Type-Options", "nosniff")
                self.send_header("Cache-Control", "no-store")
                self.end_headers()
                self.wfile.write(body)

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True
        self.address = f"127.0.0.1:{self.http.server_address[1]}"
        threading.Thread(target=self.http.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.http.shutdown()
        self.http.server_close()

    def url(self):
        return f"http://{self.address}/"

    def change(self, **fields):
        """What it says from now on."""
        self.says = {**copy.deepcopy(self.says), **fields}
