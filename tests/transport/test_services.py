"""Unary methods, health and reflection, asked by grpcio's own clients and by ours."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from typing import Any

import grpc
import grpc.aio
import pytest
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.wrappers_pb2 import StringValue
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

from ringmill.core.errors import Code, RingmillError
from ringmill.transport.api import Limits, Status
from ringmill.transport.health import SERVICE, Health
from ringmill.transport.reflection import QUEUED_BYTES_MAX, reflection_routes
from ringmill.transport.unary import QUESTION_BYTES_MAX, call_unary, call_unary_blocking, unary, unary_message

REFLECTION_V1 = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"


def _upper(request: bytes) -> bytes:
    if request == b"nobody":
        raise RingmillError(Code.NOT_FOUND, "nobody of that name")
    return request.upper()


def _greet(request: StringValue) -> StringValue:
    return StringValue(value=f"hello {request.value}")


class Served:
    """All services at a wire's server."""

    def __init__(self, wire: Any) -> None:
        self.wire = wire
        self.health = Health()
        routes = {
            "/t.T/Echo": wire.Echo,
            "/t.T/Upper": unary(_upper),
            "/t.T/Greet": unary_message(StringValue, _greet),
            **self.health.routes(),
            **reflection_routes([SERVICE]),
        }
        self.port = wire.serve(routes=routes)

    def set_serving(self, service: str, serving: bool) -> None:
        self.wire.on_server(lambda: self.health.set_serving(service, serving))


@pytest.fixture
def served(kind: str, wire_of: Callable[[str], Any]) -> Served:
    return Served(wire_of(kind))


@pytest.fixture
def stock(served: Served) -> Iterator[grpc.Channel]:
    """grpcio's own synchronous client."""
    with grpc.insecure_channel(f"127.0.0.1:{served.port}") as channel:
        yield channel


def test_our_unary_client(served: Served) -> None:
    loop, channel = served.wire.client_loop, served.wire.channel()
    assert call_unary_blocking(loop, channel, "/t.T/Upper", b"abc", timeout_s=20) == b"ABC"
    with pytest.raises(RingmillError, match="nobody of that name") as caught:
        call_unary_blocking(loop, channel, "/t.T/Upper", b"nobody")
    assert caught.value.code is Code.NOT_FOUND
    ends: list[Any] = []
    call_unary(channel, "/t.T/Upper", b"def", lambda *end: ends.append(end))
    served.wire.until(lambda: ends)
    assert ends == [(Status(Code.OK), b"DEF")]


def test_request_that_does_not_parse(served: Served) -> None:
    loop, channel = served.wire.client_loop, served.wire.channel()
    answer = call_unary_blocking(loop, channel, "/t.T/Greet", StringValue(value="you").SerializeToString())
    assert StringValue.FromString(answer).value == "hello you"
    with pytest.raises(RingmillError, match=r"google\.protobuf\.StringValue") as caught:
        call_unary_blocking(loop, channel, "/t.T/Greet", b"\xff")
    assert caught.value.code is Code.INVALID_ARGUMENT


@pytest.mark.parametrize("requests", [[], [b"a", b"b"]], ids=["none", "two"])
def test_unary_takes_exactly_one_request(served: Served, requests: list[bytes]) -> None:
    heard = served.wire.Heard()
    stream = served.wire.channel().open("/t.T/Upper", heard)
    for request in requests:
        stream.send(request)
    stream.finish()
    served.wire.until(lambda: heard.status)
    assert heard.status.code is Code.INVALID_ARGUMENT


@pytest.mark.parametrize("count", [0, 2])
def test_unary_client_wants_exactly_one_response(kind: str, wire_of: Any, count: int) -> None:
    wire = wire_of(kind)

    def accept(stream: Any) -> Any:
        for _ in range(count):
            stream.send(b"x")
        stream.finish()
        return wire.Heard()

    wire.serve(accept)
    with pytest.raises(RingmillError, match=f"{count} responses") as caught:
        call_unary_blocking(wire.client_loop, wire.channel(), "/t.T/Call", b"")
    assert caught.value.code is Code.INTERNAL


def test_a_question_is_small(served: Served, stock: grpc.Channel) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        stock.unary_unary("/t.T/Upper")(bytes(QUESTION_BYTES_MAX + 1), timeout=20)
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert "takes 262144" in str(caught.value.details())
    watch = health_pb2_grpc.HealthStub(stock).Watch(health_pb2.HealthCheckRequest(service="s" * 256), timeout=20)
    with pytest.raises(grpc.RpcError) as caught:
        next(watch)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


def test_who_reads_no_reflection_is_not_heard() -> None:
    from grpc_reflection.v1alpha import reflection_pb2

    class Unread:
        """A stream whose peer reads nothing."""

        queued_bytes = 0
        paused = False

        def send(self, message: bytes) -> None:
            self.queued_bytes += len(message)

        def pause(self) -> None:
            self.paused = True

        def resume(self) -> None:
            self.paused = False

    stream: Any = Unread()
    handler = reflection_routes([SERVICE])[REFLECTION_V1](stream)
    request = reflection_pb2.ServerReflectionRequest(file_containing_symbol=SERVICE).SerializeToString()
    while not stream.paused:
        handler.on_message(request)
        assert stream.queued_bytes < 2 * QUEUED_BYTES_MAX
    handler.on_drain()
    assert not stream.paused


def test_stock_synchronous_client(stock: grpc.Channel) -> None:
    assert stock.unary_unary("/t.T/Upper")(b"abc", timeout=20) == b"ABC"
    sent = [b"%d" % number for number in range(100)]
    assert list(stock.stream_stream("/t.T/Echo")(iter(sent), timeout=20)) == sent
    with pytest.raises(grpc.RpcError) as caught:
        stock.unary_unary("/t.T/Upper")(b"nobody", timeout=20)
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND


def test_stock_asyncio_client(served: Served) -> None:
    async def talk() -> list[bytes]:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{served.port}") as channel:
            call = channel.stream_stream("/t.T/Echo")()
            got = []
            for number in range(100):
                await call.write(b"%d" % number)
                got.append(await call.read())
            await call.done_writing()
            assert await call.code() is grpc.StatusCode.OK
            return got

    assert asyncio.run(talk()) == [b"%d" % number for number in range(100)]


def test_health_check_and_list(served: Served, stock: grpc.Channel) -> None:
    stub = health_pb2_grpc.HealthStub(stock)
    response = health_pb2.HealthCheckResponse
    assert stub.Check(health_pb2.HealthCheckRequest()).status == response.NOT_SERVING
    served.set_serving("", True)
    served.set_serving("a.Service", False)
    assert stub.Check(health_pb2.HealthCheckRequest()).status == response.SERVING
    assert stub.Check(health_pb2.HealthCheckRequest(service="a.Service")).status == response.NOT_SERVING
    with pytest.raises(grpc.RpcError) as caught:
        stub.Check(health_pb2.HealthCheckRequest(service="other"))
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND
    statuses = {name: each.status for name, each in stub.List(health_pb2.HealthListRequest()).statuses.items()}
    assert statuses == {"": response.SERVING, "a.Service": response.NOT_SERVING}


def test_health_watch(served: Served, stock: grpc.Channel) -> None:
    stub = health_pb2_grpc.HealthStub(stock)
    response = health_pb2.HealthCheckResponse
    watch = stub.Watch(health_pb2.HealthCheckRequest(service="a.Service"))
    assert next(watch).status == response.SERVICE_UNKNOWN
    served.set_serving("a.Service", True)
    assert next(watch).status == response.SERVING
    served.set_serving("a.Service", True)
    served.set_serving("other", True)
    served.set_serving("a.Service", False)
    assert next(watch).status == response.NOT_SERVING
    watch.cancel()
    gone = threading.Event()
    for _ in range(1000):
        if not served.wire.on_server(lambda: dict(served.health._watchers)):
            gone.set()
            break
    assert gone.is_set()


def test_reflection(stock: grpc.Channel) -> None:
    database = ProtoReflectionDescriptorDatabase(stock)
    assert SERVICE in database.get_services()
    service = DescriptorPool(database).FindServiceByName(SERVICE)
    assert {method.name for method in service.methods} == {"Check", "List", "Watch"}


def test_reflection_v1_has_the_same_messages(served: Served) -> None:
    from grpc_reflection.v1alpha import reflection_pb2

    request = reflection_pb2.ServerReflectionRequest(list_services="")
    data = call_unary_blocking(
        served.wire.client_loop, served.wire.channel(limits=Limits()), REFLECTION_V1, request.SerializeToString()
    )
    response = reflection_pb2.ServerReflectionResponse.FromString(data)
    assert SERVICE in {service.name for service in response.list_services_response.service}
