"""gRPC through a route whose upstream speaks HTTP/2 in the clear (`protocol: h2c`).

No generated code: generic handlers over bytes are the same frames on the wire.
"""

import threading
from concurrent import futures

import grpc
import pytest
from standins import Partner

PREFIX = "/e2e.Echo/"


class Echo(grpc.GenericRpcHandler):
    """Four kinds of calls, each only for the living token."""

    def __init__(self, partner):
        self.partner = partner
        self.authorizations = []
        self.cancelled = threading.Event()

    def service(self, details):
        authorizations = [value for key, value in details.invocation_metadata if key == "authorization"]
        self.authorizations.append(authorizations)
        if authorizations not in [[f"Bearer {token}"] for token in self.partner.living]:
            return grpc.unary_unary_rpc_method_handler(self.refuse)
        return {
            "Unary": grpc.unary_unary_rpc_method_handler(self.unary),
            "Count": grpc.unary_stream_rpc_method_handler(self.count),
            "Join": grpc.stream_unary_rpc_method_handler(self.join),
            "Chat": grpc.stream_stream_rpc_method_handler(self.chat),
            "Missing": grpc.unary_unary_rpc_method_handler(self.missing),
            "HalfWay": grpc.unary_stream_rpc_method_handler(self.half_way),
            "Forever": grpc.unary_stream_rpc_method_handler(self.forever),
        }.get(details.method.removeprefix(PREFIX))

    def refuse(self, _request, context):
        context.abort(grpc.StatusCode.UNAUTHENTICATED, "not the partner's token")

    def unary(self, request, context):
        sent = dict(context.invocation_metadata())
        context.send_initial_metadata((("x-first", sent.get("x-first", "")),))
        context.set_trailing_metadata((("x-last", "after the body"), ("x-last-bin", b"\x00\xff")))
        return request

    def count(self, request, _context):
        for number in range(int(request)):
            yield str(number).encode()

    def join(self, requests, _context):
        return b",".join(requests)

    def chat(self, requests, _context):
        for request in requests:
            yield b"you said " + request

    def missing(self, _request, context):
        context.set_trailing_metadata((("x-why", "nowhere"),))
        context.abort(grpc.StatusCode.NOT_FOUND, "no such thing: größer")

    def half_way(self, _request, context):
        yield b"one"
        yield b"two"
        context.abort(grpc.StatusCode.DATA_LOSS, "and that was all")

    def forever(self, _request, context):
        context.add_callback(self.cancelled.set)
        yield b"begun"
        self.cancelled.wait(30)


@pytest.fixture
def partner():
    with Partner() as partner:
        yield partner


@pytest.fixture
def echo(partner):
    server = grpc.server(futures.ThreadPoolExecutor(8))
    handler = Echo(partner)
    server.add_generic_rpc_handlers((handler,))
    handler.port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield handler
    handler.cancelled.set()
    server.stop(0).wait(10)


@pytest.fixture
def channel(partner, echo, tokenferry):
    config = f"""
listeners:
  - address: 127.0.0.1:0
credentials:{partner.credential()}
routes:
  - name: echo
    match: {{path: /}}
    upstream:
      url: http://127.0.0.1:{echo.port}
      protocol: h2c
    credential: partner
"""
    proxy = tokenferry(config, keep_secret=[Partner.client_secret, "partner-token-"])
    with grpc.insecure_channel(proxy.address) as channel:
        yield channel


DEADLINE = {"timeout": 20, "wait_for_ready": True}


def test_a_unary_call_arrives_with_the_proxys_token_in_place_of_the_clients(channel, echo, partner):
    call = channel.unary_unary(PREFIX + "Unary")
    assert call(b"hello", metadata=(("authorization", "Bearer mine"),), **DEADLINE) == b"hello"
    assert echo.authorizations == [["Bearer partner-token-1"]]
    assert len(partner.logins()) == 1


def test_metadata_comes_back_at_both_ends_of_the_answer(channel):
    call = channel.unary_unary(PREFIX + "Unary")
    answer, end = call.with_call(b"hello", metadata=(("x-first", "before the body"),), **DEADLINE)
    assert answer == b"hello"
    assert dict(end.initial_metadata())["x-first"] == "before the body"
    trailers = dict(end.trailing_metadata())
    assert (trailers["x-last"], trailers["x-last-bin"]) == ("after the body", b"\x00\xff")
    assert end.code() == grpc.StatusCode.OK


def test_a_message_of_three_mib_passes_both_ways(channel):
    message = bytes(range(256)) * (3 * 4096)
    assert channel.unary_unary(PREFIX + "Unary")(message, **DEADLINE) == message


def test_a_stream_of_answers_arrives_in_order(channel):
    answers = channel.unary_stream(PREFIX + "Count")(b"1000", **DEADLINE)
    assert list(answers) == [str(number).encode() for number in range(1000)]


def test_a_stream_of_requests_arrives_in_order(channel):
    words = [str(number).encode() for number in range(1000)]
    assert channel.stream_unary(PREFIX + "Join")(iter(words), **DEADLINE) == b",".join(words)


def test_both_ways_at_once_each_answer_comes_before_the_next_request(channel):
    answered = threading.Semaphore(1)

    def requests():
        for number in range(50):
            assert answered.acquire(timeout=20), "the proxy held an answer back"
            yield str(number).encode()

    heard = []
    for answer in channel.stream_stream(PREFIX + "Chat")(requests(), **DEADLINE):
        heard.append(answer)
        answered.release()
    assert heard == [f"you said {number}".encode() for number in range(50)]


def test_an_error_keeps_its_code_its_message_and_its_trailers(channel):
    with pytest.raises(grpc.RpcError) as error:
        channel.unary_unary(PREFIX + "Missing")(b"", **DEADLINE)
    assert error.value.code() == grpc.StatusCode.NOT_FOUND
    assert error.value.details() == "no such thing: größer"
    assert dict(error.value.trailing_metadata())["x-why"] == "nowhere"


def test_an_error_after_half_of_the_answers_comes_after_them(channel):
    heard = []
    with pytest.raises(grpc.RpcError) as error:
        for answer in channel.unary_stream(PREFIX + "HalfWay")(b"", **DEADLINE):
            heard.append(answer)
    assert heard == [b"one", b"two"]
    assert (error.value.code(), error.value.details()) == (grpc.StatusCode.DATA_LOSS, "and that was all")


def test_a_method_that_does_not_exist_is_the_servers_to_refuse(channel):
    with pytest.raises(grpc.RpcError) as error:
        channel.unary_unary(PREFIX + "Nothing")(b"", **DEADLINE)
    assert error.value.code() == grpc.StatusCode.UNIMPLEMENTED


def test_a_call_that_the_client_cancels_is_cancelled_at_the_server(channel, echo):
    answers = channel.unary_stream(PREFIX + "Forever")(b"", **DEADLINE)
    assert next(answers) == b"begun"
    answers.cancel()
    assert echo.cancelled.wait(20)
