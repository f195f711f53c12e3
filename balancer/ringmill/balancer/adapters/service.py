"""Public port: what clients send, and what they need to know to send it."""

from functools import partial

from ringmill.balancer.adapters.hub import Hub
from ringmill.core.agreement import find
from ringmill.core.errors import Code, RingmillError
from ringmill.transport.api import Accept, Status, Stream
from ringmill.transport.unary import unary, unary_message
from ringmill.v1 import processing_pb2

PROCESSING = processing_pb2.DESCRIPTOR.services_by_name["ProcessingService"].full_name

_NOT_SERVED_YET = tuple(f"/{PROCESSING}/{method}" for method in ("Query", "ListKeys", "Subscribe"))


def public_routes(hub: Hub) -> dict[str, Accept]:
    """The methods of the public port by full name."""
    return {
        f"/{PROCESSING}/Process": partial(ProcessHandler, hub),
        f"/{PROCESSING}/ProcessBatch": partial(BatchHandler, hub),
        f"/{PROCESSING}/DescribePipeline": unary_message(
            processing_pb2.DescribePipelineRequest, partial(_describe, hub)
        ),
        **{method: unary(partial(_not_served_yet, method)) for method in _NOT_SERVED_YET},
    }


class ProcessHandler:
    """Hears one client."""

    _brief = False

    def __init__(self, hub: Hub, stream: Stream) -> None:
        self._hub = hub
        self._number = hub.open_stream(stream, self._brief)

    def on_message(self, message: bytes) -> None:
        """Routes a request."""
        hub = self._hub
        hub.router.message(self._number, message, hub.clock())
        hub.perform()

    def on_half_close(self) -> None:
        """Ends the stream when all is answered."""
        hub = self._hub
        hub.router.half_closed(self._number, hub.clock())
        hub.perform()

    def on_drain(self) -> None:
        """The client has read all that there was."""
        self._hub.stream_drained(self._number)

    def on_close(self, status: Status) -> None:
        """The client is gone, or was told the end."""
        self._hub.close_stream(self._number)


class BatchHandler(ProcessHandler):
    """Hears a caller of ProcessBatch: to the router a stream of one request, since both messages have equal fields."""

    _brief = True
    _asked = False

    def on_message(self, message: bytes) -> None:
        """Routes the one request."""
        if self._asked:
            raise RingmillError(Code.INVALID_ARGUMENT, "ProcessBatch takes one request, not several")
        self._asked = True
        super().on_message(message)

    def on_half_close(self) -> None:
        """Ends the call when the request is answered."""
        if not self._asked:
            raise RingmillError(Code.INVALID_ARGUMENT, "ProcessBatch takes one request, not none")
        super().on_half_close()


def _describe(hub: Hub, request: processing_pb2.DescribePipelineRequest) -> processing_pb2.DescribePipelineResponse:
    if not hub.manager.formed or not hub.manager.catalogue:
        raise RingmillError(Code.UNAVAILABLE, hub.manager.missing())
    return find(request.pipeline, hub.manager.catalogue).description


def _not_served_yet(method: str, message: bytes) -> bytes:
    raise RingmillError(Code.UNIMPLEMENTED, f"{method.rpartition('/')[2]} is not served yet")
