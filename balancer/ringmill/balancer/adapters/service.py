"""Public port: ProcessingService and AdminService."""

from functools import partial

from ringmill.balancer.adapters.hub import Hub
from ringmill.core.agreement import find
from ringmill.core.errors import Code, RingmillError
from ringmill.transport.api import Accept, Status, Stream
from ringmill.transport.unary import unary
from ringmill.v1 import admin_pb2, processing_pb2

PROCESSING = processing_pb2.DESCRIPTOR.services_by_name["ProcessingService"].full_name
ADMIN = admin_pb2.DESCRIPTOR.services_by_name["AdminService"].full_name

_NOT_SERVED_YET = (
    *(f"/{PROCESSING}/{method}" for method in ("Query", "ListKeys", "Subscribe", "Locate")),
    *(f"/{ADMIN}/{method}" for method in ("MoveWorkers", "ExplainKey", "GetLedger")),
)


def public_routes(hub: Hub) -> dict[str, Accept]:
    """The methods of the public port by full name."""
    process = partial(ProcessHandler, hub)
    return {
        f"/{PROCESSING}/Process": process,
        # One message in, one out, then the end: to the router a short stream, since both messages have equal fields.
        f"/{PROCESSING}/ProcessBatch": process,
        f"/{PROCESSING}/DescribePipeline": unary(partial(_describe, hub)),
        f"/{ADMIN}/ListWorkers": unary(partial(_list_workers, hub)),
        **{method: unary(partial(_not_served_yet, method)) for method in _NOT_SERVED_YET},
    }


class ProcessHandler:
    """Hears one client."""

    def __init__(self, hub: Hub, stream: Stream) -> None:
        self._hub = hub
        self._number = hub.open_stream(stream)

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


def _describe(hub: Hub, message: bytes) -> bytes:
    if not hub.membership.formed:
        raise RingmillError(Code.UNAVAILABLE, hub.membership.missing())
    request = processing_pb2.DescribePipelineRequest.FromString(message)
    return find(request.pipeline, hub.membership.catalogue).description.SerializeToString()


def _list_workers(hub: Hub, message: bytes) -> bytes:
    admin_pb2.ListWorkersRequest.FromString(message)
    workers = [
        admin_pb2.Worker(name=each.name, state=each.state, partitions=each.partitions)
        for each in hub.membership.workers()
    ]
    return admin_pb2.ListWorkersResponse(epoch=hub.membership.view.version, workers=workers).SerializeToString()


def _not_served_yet(method: str, message: bytes) -> bytes:
    raise RingmillError(Code.UNIMPLEMENTED, f"{method.rpartition('/')[2]} is not served yet")
