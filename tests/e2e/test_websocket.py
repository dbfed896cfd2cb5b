"""A WebSocket client and server with the proxy between them."""

import os
import queue
import threading

import pytest
from standins import Partner
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect
from websockets.sync.server import serve

BIG = 1024 * 1024


class Peer:
    """Echoes; refuses whoever comes without the living token, before the upgrade."""

    def __init__(self, partner):
        self.partner = partner
        self.authorizations = []
        self.closed = queue.Queue()
        options = {"process_request": self.admit, "select_subprotocol": self.select, "max_size": 2 * BIG}
        self.server = serve(self.talk, "127.0.0.1", 0, **options)
        self.port = self.server.socket.getsockname()[1]
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()

    def admit(self, connection, request):
        authorizations = request.headers.get_all("Authorization")
        self.authorizations.append(authorizations)
        if authorizations not in [[f"Bearer {token}"] for token in self.partner.living]:
            return connection.respond(401, "not the partner's token\n")
        if request.path == "/elsewhere":
            return connection.respond(404, "no socket here\n")
        return None

    def select(self, _connection, offered):
        return "v2.chat" if "v2.chat" in offered else None

    def talk(self, connection):
        try:
            for message in connection:
                if message == "close, please":
                    connection.close(4321, "as you wish")
                connection.send(message)
        except ConnectionClosed:
            pass
        finally:
            connection.close()
            self.closed.put((connection.close_code, connection.close_reason))


@pytest.fixture
def partner():
    with Partner() as partner:
        yield partner


@pytest.fixture
def peer(partner):
    peer = Peer(partner)
    yield peer
    peer.server.shutdown()
    peer.thread.join(10)


@pytest.fixture
def url(partner, peer, tokenferry):
    config = f"""
listeners:
  - address: 127.0.0.1:0
credentials:{partner.credential()}
routes:
  - name: socket
    match: {{path: /socket}}
    upstream: http://127.0.0.1:{peer.port}
    credential: partner
"""
    proxy = tokenferry(config, keep_secret=[Partner.client_secret, "partner-token-"])
    return f"ws://{proxy.address}/socket"


OPTIONS = {"open_timeout": 20, "close_timeout": 10, "max_size": 2 * BIG, "proxy": None}


def test_text_and_binary_messages_come_back_as_they_were_sent(url):
    with connect(url, **OPTIONS) as socket:
        for message in ("grüezi", "", b"\x00\x01\xff", b""):
            socket.send(message)
            assert socket.recv(timeout=20) == message


def test_the_upgrade_is_asked_for_with_the_proxys_token_in_place_of_the_clients(url, peer, partner):
    with connect(url, additional_headers={"Authorization": "Bearer mine"}, **OPTIONS) as socket:
        socket.send("hello")
        assert socket.recv(timeout=20) == "hello"
    assert peer.authorizations == [["Bearer partner-token-1"]]
    assert len(partner.logins()) == 1


def test_a_message_of_one_mib_passes_both_ways(url):
    message = os.urandom(BIG)
    with connect(url, **OPTIONS) as socket:
        socket.send(message)
        assert socket.recv(timeout=20) == message


def test_a_message_in_fragments_passes(url):
    with connect(url, **OPTIONS) as socket:
        socket.send(part for part in ("one ", "two ", "three"))
        assert socket.recv(timeout=20) == "one two three"


def test_a_ping_is_answered_by_the_other_end(url):
    with connect(url, **OPTIONS) as socket:
        assert socket.ping("are you there?").wait(20), "no pong"


def test_the_servers_close_code_and_reason_reach_the_client(url):
    with connect(url, **OPTIONS) as socket:
        socket.send("close, please")
        with pytest.raises(ConnectionClosed):
            socket.recv(timeout=20)
        assert (socket.close_code, socket.close_reason) == (4321, "as you wish")


def test_the_clients_close_code_and_reason_reach_the_server(url, peer):
    with connect(url, **OPTIONS) as socket:
        socket.close(4000, "enough")
    assert peer.closed.get(timeout=20) == (4000, "enough")


def test_a_subprotocol_is_agreed_on_end_to_end(url):
    with connect(url, subprotocols=["v1.chat", "v2.chat"], **OPTIONS) as socket:
        assert socket.subprotocol == "v2.chat"


def test_a_refused_upgrade_comes_back_as_the_upstreams_answer(url):
    with pytest.raises(InvalidStatus) as refused:
        connect(url + "/elsewhere", **OPTIONS)
    assert refused.value.response.status_code == 404
    assert b"no socket here" in refused.value.response.body


def test_a_token_revoked_before_the_upgrade_is_replaced_unseen_by_the_client(url, peer, partner):
    with connect(url, **OPTIONS):
        pass
    partner.revoke_all()
    with connect(url, **OPTIONS) as socket:
        socket.send("again")
        assert socket.recv(timeout=20) == "again"
    assert peer.authorizations[-1] == ["Bearer partner-token-2"]
