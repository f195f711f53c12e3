"""A fake server, and both clients behind one blocking face, so that each scenario runs on both.

The server is made of nothing but the official libraries: grpcio's own server and Protobuf's own classes. It counts each
key's events and gives back what it was sent, so that every value can be traced through a client. What goes wrong is
chosen by the pipeline's name.
"""

import asyncio
import math
import threading
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import grpc
import pytest
import trustme

from ringmill.client import AsyncClient, Client, Code, Outcome, Result
from ringmill.core.errors import RingmillError
from ringmill.v1 import processing_pb2 as pb
from tests.client.ledger import Ledger

MAX_EVENTS = 100
MAX_BYTES = 20_000

FIELDS = [
    pb.Field(name="delay", kind=pb.FIELD_KIND_DOUBLE),
    pb.Field(name="distance", kind=pb.FIELD_KIND_INTEGER, has_default=True),
    pb.Field(name="carrier", kind=pb.FIELD_KIND_LABEL, has_default=True),
    pb.Field(name="gust", kind=pb.FIELD_KIND_DOUBLE, nullable=True, has_default=True),
]
OUTPUTS = [
    pb.Field(name="double", kind=pb.FIELD_KIND_DOUBLE),
    pb.Field(name="gust", kind=pb.FIELD_KIND_DOUBLE, nullable=True),
    pb.Field(name="seen.count", kind=pb.FIELD_KIND_INTEGER),
    pb.Field(name="seen.again", kind=pb.FIELD_KIND_BOOL),
    pb.Field(name="carrier", kind=pb.FIELD_KIND_LABEL),
    pb.Field(name="time", kind=pb.FIELD_KIND_INTEGER),
]


class FakeServer:
    """Serves pipelines "flights", "slow" (20 ms a batch), "breaks" (ABORTED at the third batch) and "mute"."""

    def __init__(self, credentials: grpc.ServerCredentials | None = None) -> None:
        self.requests: list[pb.ProcessRequest] = []
        self.metadata: list[dict[str, str]] = []
        self.seen: dict[str, int] = {}
        self.gate = threading.Event()
        self.gate.set()
        self._server = grpc.server(ThreadPoolExecutor(8), options=[("grpc.so_reuseport", 0)])
        handlers = {
            "Process": grpc.stream_stream_rpc_method_handler(
                self.process, pb.ProcessRequest.FromString, pb.ProcessResponse.SerializeToString
            ),
            "DescribePipeline": grpc.unary_unary_rpc_method_handler(
                self.describe, pb.DescribePipelineRequest.FromString, pb.DescribePipelineResponse.SerializeToString
            ),
        }
        self._server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler("ringmill.v1.ProcessingService", handlers),)
        )
        if credentials is None:
            self.address = f"127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"
        else:
            self.address = f"localhost:{self._server.add_secure_port('localhost:0', credentials)}"
        self._server.start()

    def wait_for_requests(self, count: int) -> None:
        """Waits until this many requests have come."""
        limit = time.monotonic() + 10
        while len(self.requests) < count:
            assert time.monotonic() < limit
            time.sleep(0.001)

    def stop(self) -> None:
        stopped = self._server.stop(None)
        self.gate.set()
        stopped.wait()

    def describe(self, request: pb.DescribePipelineRequest, context: Any) -> pb.DescribePipelineResponse:
        if request.pipeline == "nobody":
            context.abort(grpc.StatusCode.NOT_FOUND, "no pipeline 'nobody' is served; there is: flights")
        return pb.DescribePipelineResponse(version="1.2.0", digest="abc", fields=FIELDS, outputs=OUTPUTS)

    def process(self, requests: Iterator[pb.ProcessRequest], context: Any) -> Iterator[pb.ProcessResponse]:
        self.metadata.append(dict(context.invocation_metadata()))
        opening = next(requests)
        if opening.options.version not in ("", "1", "1.2"):
            context.abort(grpc.StatusCode.FAILED_PRECONDITION, "flights is served as version 1.2.0")
        info = pb.StreamInfo(
            version="1.2.0", max_in_flight=4, max_events=MAX_EVENTS, max_request_bytes=MAX_BYTES, last_sequence=6
        )
        self.requests.append(opening)
        yield pb.ProcessResponse(stream=info)
        for number, request in enumerate(requests):
            self.requests.append(request)
            self.gate.wait()
            _misbehave(opening.pipeline, number, context)
            if opening.pipeline != "mute":
                yield self._answer(request)

    def _answer(self, request: pb.ProcessRequest) -> pb.ProcessResponse:
        assert len(request.events) <= MAX_EVENTS
        assert request.ByteSize() <= MAX_BYTES
        assert request.sequence > 0
        outcomes = [self._outcome(event) for event in request.events]
        rejected = sum(outcome.HasField("rejection") for outcome in outcomes)
        return pb.ProcessResponse(sequence=request.sequence, outcomes=outcomes, rejected=rejected)

    def _outcome(self, event: pb.Event) -> pb.Outcome:
        if not event.key:
            return _rejection(pb.REJECTION_REASON_KEY_INVALID, "the key is empty")
        if not event.values or math.isnan(event.values[0]):
            return _rejection(pb.REJECTION_REASON_VALUES_INVALID, "delay is missing")
        if event.key == "busy":
            return _rejection(pb.REJECTION_REASON_OVERLOADED, "")
        count = self.seen[event.key] = self.seen.get(event.key, 0) + 1
        return pb.Outcome(
            values=[event.values[0] * 2, event.values[1] if len(event.values) > 1 else math.nan, 99.0],
            integers=[count, int(count > 1), event.time_us],
            labels=[event.labels[0] if event.labels else "", "of a later version"],
        )


def _misbehave(pipeline: str, number: int, context: Any) -> None:
    if pipeline == "slow":
        time.sleep(0.02)
    if pipeline == "breaks" and number == 2:
        context.abort(grpc.StatusCode.ABORTED, "the third batch breaks")
    if pipeline == "leaves" and number == 2:
        context.abort(grpc.StatusCode.UNAVAILABLE, "gone")


def _rejection(reason: pb.RejectionReason, detail: str) -> pb.Outcome:
    return pb.Outcome(rejection=pb.Rejection(reason=reason, detail=detail))


class DurableServer:
    """A server that deduplicates, and breaks its streams as it is told. Its ledger survives its restarts."""

    def __init__(self) -> None:
        self.ledger = Ledger(max_events=10)
        self.breaks: deque[Break] = deque()
        """What befalls the streams, one after the other; then nothing does."""
        self.streams = 0
        self.port = 0
        self.start()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def start(self) -> None:
        self._server = grpc.server(ThreadPoolExecutor(8), options=[("grpc.so_reuseport", 0)])
        handlers = {
            "Process": grpc.stream_stream_rpc_method_handler(
                self.process, pb.ProcessRequest.FromString, pb.ProcessResponse.SerializeToString
            ),
            "DescribePipeline": grpc.unary_unary_rpc_method_handler(
                self.describe, pb.DescribePipelineRequest.FromString, pb.DescribePipelineResponse.SerializeToString
            ),
        }
        self._server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler("ringmill.v1.ProcessingService", handlers),)
        )
        self.port = self._server.add_insecure_port(f"127.0.0.1:{self.port}")
        self._server.start()

    def stop(self) -> None:
        self._server.stop(None).wait()

    def describe(self, request: pb.DescribePipelineRequest, context: Any) -> pb.DescribePipelineResponse:
        place = pb.Field(name="place", kind=pb.FIELD_KIND_INTEGER)
        return pb.DescribePipelineResponse(version="1.2.0", digest="abc", outputs=[place])

    def process(self, requests: Iterator[pb.ProcessRequest], context: Any) -> Iterator[pb.ProcessResponse]:
        self.streams += 1
        fate = self.breaks.popleft() if self.breaks else Break(answers=1 << 30)
        try:
            if fate.answers < 0:
                raise RingmillError(fate.code, "broken before it was open")
            stream = self.ledger.open(next(requests))
            yield stream.opened()
            for number, request in enumerate(requests):
                if number == fate.answers and not fate.applied:
                    break
                response = stream.handle(request)
                if number == fate.answers:
                    break
                if number + 1 == fate.answers and fate.drain_ms:
                    response.stream.CopyFrom(stream.opened().stream)
                    response.stream.drain_ms = fate.drain_ms
                yield response
            else:
                return
            self.ledger.fail_over()
            if fate.forgets:
                self.ledger.forget()
            if fate.code != Code.OK:
                raise RingmillError(fate.code, "broken on purpose")
        except RingmillError as error:
            context.abort(_STATUS[error.code], error.message)


@dataclass
class Break:
    """What befalls one stream."""

    answers: int
    """After so many answers it ends; -1: before it is open."""
    applied: bool = True
    """Whether what came next is applied all the same."""
    code: Code = Code.UNAVAILABLE
    drain_ms: int = 0
    """Not 0: the last answer asks the client to reconnect."""
    forgets: bool = False


_STATUS = {status.value[0]: status for status in grpc.StatusCode}


class Awaited:
    """An AsyncClient on an event loop of its own."""

    def __init__(self, *args: Any, **settings: Any) -> None:
        self._runner = asyncio.Runner()
        self._open = True
        self._client = self._runner.run(self._make(args, settings))

    async def _make(self, args: Any, settings: Any) -> AsyncClient:
        return AsyncClient(*args, **settings)

    def __enter__(self) -> "Awaited":
        self._runner.run(self._client.__aenter__())
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def process(self, *args: Any, **fields: Any) -> Result:
        return self._runner.run(self._client.process(*args, **fields))

    def process_frame(self, *args: Any, **fields: Any) -> Any:
        return self._runner.run(self._client.process_frame(*args, **fields))

    def send(self, event: Any) -> Outcome:
        return self._runner.run(self._client.submit(event))

    def stream(self, events: Any) -> Iterator[tuple[Any, Outcome]]:
        stream = self._client.stream(events)
        try:
            while True:
                yield self._runner.run(self._next(stream))
        except StopAsyncIteration:
            pass
        finally:
            self._runner.run(self._stop(stream))

    @staticmethod
    async def _next(stream: AsyncIterator[Any]) -> Any:
        return await anext(stream)

    @staticmethod
    async def _stop(stream: Any) -> None:
        await stream.aclose()

    def flush(self, timeout_s: float | None = None) -> None:
        self._runner.run(self._client.flush(timeout_s))

    @property
    def last_sequence(self) -> int:
        return self._runner.run(self._client.last_sequence())

    @property
    def committed_through(self) -> int:
        return self._client.committed_through

    def close(self) -> None:
        if self._open:
            self._open = False
            self._runner.run(self._client.close())
            self._runner.close()


@pytest.fixture
def secured() -> Iterator[tuple[FakeServer, bytes]]:
    """A server with a certificate, and the authority that signed it."""
    authority = trustme.CA()
    own = authority.issue_cert("localhost")
    fake = FakeServer(grpc.ssl_server_credentials([(own.private_key_pem.bytes(), own.cert_chain_pems[0].bytes())]))
    yield fake, authority.cert_pem.bytes()
    fake.stop()


@pytest.fixture
def server() -> Iterator[FakeServer]:
    fake = FakeServer()
    yield fake
    fake.stop()


@pytest.fixture
def durable() -> Iterator[DurableServer]:
    fake = DurableServer()
    yield fake
    fake.stop()


@pytest.fixture(params=[Client, Awaited], ids=["blocking", "asyncio"])
def connect(request: pytest.FixtureRequest) -> Iterator[Callable[..., Any]]:
    """Makes clients of one kind, and closes them in the end."""
    made: list[Any] = []

    def make(*args: Any, **settings: Any) -> Any:
        made.append(request.param(*args, **settings))
        return made[-1]

    yield make
    for client in made:
        client.close()
