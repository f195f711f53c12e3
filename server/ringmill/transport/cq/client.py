"""The client side: a channel with its own completion queue, and its calls as streams."""

import time
from collections.abc import Callable

from ringmill.core.errors import Code, RingmillError
from ringmill.transport.api import ClientTls, Limits, Metadata, Status, StreamHandler
from ringmill.transport.checks import check_metadata
from ringmill.transport.cq import boundary
from ringmill.transport.cq.boundary import Batch, ClientCall, Event, Tag
from ringmill.transport.cq.queues import ChannelQueue
from ringmill.transport.cq.stream import CqStream
from ringmill.transport.options import channel_credentials, channel_options


class CqClientStream(CqStream):
    """One call, made."""

    def __init__(
        self, method: str, deadline: float | None, target: str, queue: ChannelQueue, handler: StreamHandler
    ) -> None:
        super().__init__(method, (), target, deadline)
        self._queue = queue
        self._handler = handler
        self._status: Status | None = None
        self._call: ClientCall

    def begin(self, metadata: Metadata) -> None:
        """Starts the call and asks for the first message."""
        batches = (
            ((*boundary.send_headers(metadata), *boundary.receive_status()), self._ended),
            (boundary.receive_headers(), self._headers),
            (boundary.receive_message(), self._received),
        )
        self._receiving = True
        self._call = boundary.start_call(self._queue.core, self.method, self._deadline, metadata, batches)
        self._queue.calls.add(self._call)

    def _start(self, operations: Batch, tag: Tag) -> bool:
        return self._status is None and self._call.operate(operations, tag)

    def _end(self, status: Status) -> None:
        self._start(boundary.half_close(), _ignore)

    def _break(self, code: Code, details: str) -> None:
        if self._status is None:
            self._drop_queue()
            self._call.cancel(code, details)

    def _fail(self, code: Code, details: str) -> None:
        self._readable = False
        self._break(code, details)

    def _no_more_messages(self) -> None:
        """The status says it all."""

    def _received(self, event: Event) -> None:
        super()._received(event)
        # Also after a message: a status that overtook it has ended the call, so no further receive has been started.
        self._close_if_over()

    def _headers(self, event: Event) -> None:
        self.metadata = event.batch_operations[0].initial_metadata() or ()

    def _ended(self, event: Event) -> None:
        """Keeps the status until the receive in flight has brought its message or the end."""
        self._status = boundary.received_status(event.batch_operations[1])
        self._drop_queue()
        self._close_if_over()

    def _close_if_over(self) -> None:
        if self._status is not None and not self._receiving:
            self._queue.calls.discard(self._call)
            self._close(self._status)


class CqChannel:
    """A connection to a server, made when first needed and again after a break."""

    def __init__(
        self, target: str, tls: ClientTls | None, limits: Limits, closing: Callable[[ChannelQueue], None]
    ) -> None:
        credentials = None if tls is None else channel_credentials(tls)
        core = boundary.channel(target, channel_options(limits, tls), credentials)
        self.queue = ChannelQueue(core)
        self._target = target
        self._closing = closing

    def open(
        self, method: str, handler: StreamHandler, metadata: Metadata = (), timeout_s: float | None = None
    ) -> CqClientStream:
        """Starts a bidirectional call. A server that cannot be reached closes it UNAVAILABLE."""
        if self.queue.closing:
            raise RingmillError(Code.FAILED_PRECONDITION, f"the channel to {self._target} is closed")
        check_metadata(metadata)
        deadline = None if timeout_s is None else time.time() + timeout_s
        stream = CqClientStream(method, deadline, self._target, self.queue, handler)
        stream.begin(metadata)
        return stream

    def close(self) -> None:
        """Cancels its calls and lets the connection go."""
        if not self.queue.closing:
            self.queue.closing = True
            for call in self.queue.calls:
                call.cancel(Code.CANCELLED, "the channel was closed")
            self._closing(self.queue)


def _ignore(_event: Event) -> None:
    """Tag of an operation whose completion says nothing new."""
