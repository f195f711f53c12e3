"""The worker's own public port: ProcessingService without a balancer in between."""

from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np

from ringmill.core.agreement import Agreement, Metadata, Served, StreamLimits, find, first_of, parse_head
from ringmill.core.codec.fields import SPLIT_FIELDS, split_fields
from ringmill.core.columns import RANGE
from ringmill.core.errors import Code, RingmillError
from ringmill.core.jit import compile_kernel
from ringmill.core.memory import Bytes
from ringmill.server.lane import Clock, Lane
from ringmill.transport.api import OK, Accept, Status, Stream, StreamHandler
from ringmill.transport.unary import unary, unary_message
from ringmill.v1.processing_pb2 import DESCRIPTOR, DescribePipelineRequest, DescribePipelineResponse, ProcessRequest

SERVICE = DESCRIPTOR.services_by_name["ProcessingService"].full_name
_EVENTS = ProcessRequest.DESCRIPTOR.fields_by_name["events"].number
_NOT_YET = ("Query", "ListKeys", "Subscribe", "Locate")


class ProcessingService:
    """Serves lanes to callers."""

    def __init__(self, lanes: Sequence[Lane], limits: StreamLimits, clock: Clock, joined: bool = False) -> None:
        """joined: the worker is one of a cluster, and what it were handed here would bypass its copies."""
        self._joined = joined
        self._lanes = lanes
        self._limits = limits
        self._clock = clock
        self._catalogue: Mapping[str, Served] = {lane.served.name: lane.served for lane in lanes}
        compile_kernel(split_fields, [SPLIT_FIELDS])

    def routes(self) -> dict[str, Accept]:
        """The methods by full name."""
        routes: dict[str, Accept] = {
            f"/{SERVICE}/Process": self._accept,
            f"/{SERVICE}/ProcessBatch": self._accept_batch,
            f"/{SERVICE}/DescribePipeline": unary_message(DescribePipelineRequest, self._describe),
        }
        return routes | {f"/{SERVICE}/{method}": unary(partial(_unserved, method)) for method in _NOT_YET}

    def _accept(self, stream: Stream) -> "_ProcessStream":
        self._check()
        return _ProcessStream(self, stream)

    def _check(self) -> None:
        if self._joined:
            raise RingmillError(
                Code.FAILED_PRECONDITION, "this worker is one of a cluster: send to the cluster's balancer"
            )

    def handle(self, message: bytes, agreement: Agreement, traceparent: str = "") -> bytes:
        """Answers one message of a stream. Raises RingmillError with what must end it."""
        arrived_ns = self._clock()
        if len(message) > self._limits.request_bytes_max:
            raise RingmillError(
                Code.RESOURCE_EXHAUSTED,
                f"{len(message)} bytes in one request; max_request_bytes is {self._limits.request_bytes_max}",
            )
        buffer = np.frombuffer(message, np.uint8)
        served = agreement.served
        if served is None:
            served = find(_head(buffer).pipeline, self._catalogue)
        lane = self._lanes[served.index]

        def check(head: ProcessRequest, count: int) -> bool:
            agreement.accept(head, count, self._catalogue)
            return agreement.emissions

        response = lane.handle(buffer, 0, len(message), arrived_ns, check, traceparent)
        return response + agreement.first_response_fields()

    def _accept_batch(self, stream: Stream) -> StreamHandler:
        self._check()
        return unary(partial(self._process_batch, stream.metadata), self._limits.request_bytes_max)(stream)

    def _process_batch(self, metadata: Metadata, message: bytes) -> bytes:
        return self.handle(message, Agreement(self._limits, metadata), first_of(metadata, "traceparent"))

    def _describe(self, request: DescribePipelineRequest) -> DescribePipelineResponse:
        return find(request.pipeline, self._catalogue).description


class _ProcessStream:
    """One client's stream: each message is answered in place, and not read on while answers pile up."""

    def __init__(self, service: ProcessingService, stream: Stream) -> None:
        self._service = service
        self._stream = stream
        self._agreement = Agreement(service._limits, stream.metadata)
        self._traceparent = first_of(stream.metadata, "traceparent")
        self._paused = False
        self._ended = False

    def on_message(self, message: bytes) -> None:
        if self._ended:
            return
        try:
            self._stream.send(self._service.handle(message, self._agreement, self._traceparent))
        except RingmillError as error:
            self._ended = True
            self._stream.finish(Status(error.code, error.message))
            return
        if self._stream.queued_bytes > self._service._limits.bytes_in_flight_max:
            self._paused = True
            self._stream.pause()

    def on_drain(self) -> None:
        if self._paused:
            self._paused = False
            self._stream.resume()

    def on_half_close(self) -> None:
        if not self._ended:
            self._ended = True
            self._stream.finish(OK)

    def on_close(self, status: Status) -> None:
        self._ended = True


def _head(buffer: Bytes) -> ProcessRequest:
    """All of a stream's first message but its events: which pipeline decodes those is not known before."""
    events = np.empty(buffer.size // 2 + 1, RANGE)  # an event has at least a tag and a length
    rest = np.empty(buffer.size, np.uint8)
    count, rest_length = split_fields(buffer, 0, buffer.size, _EVENTS, events, rest)
    if count < 0:
        raise RingmillError(Code.INVALID_ARGUMENT, "the request does not parse")
    return parse_head(rest[:rest_length].tobytes())


def _unserved(method: str, _message: bytes) -> bytes:
    raise RingmillError(Code.UNIMPLEMENTED, f"{method} is not served yet")
