"""The server side: accepts calls from the completion queue and serves each as a stream."""

import math
from collections.abc import Callable
from typing import Any

from ringmill.core.errors import Code
from ringmill.transport.api import OK, Accept, Limits, Metadata, ServerTls, Status, Timer
from ringmill.transport.cq import boundary
from ringmill.transport.cq.boundary import Batch, CallRequest, Event, ServerCall, Tag
from ringmill.transport.cq.queues import ServerQueue
from ringmill.transport.cq.stream import CqStream
from ringmill.transport.hearing import unimplemented
from ringmill.transport.options import GRACE_MIN_S, server_credentials, server_options

_NO_DEADLINE_S = 1e11
"""gRPC gives a call without a deadline the end of time; anything past the year 5000 is that."""


class CqServerStream(CqStream):
    """One call, served."""

    def __init__(self, call: ServerCall, method: str, metadata: Metadata, deadline: float | None) -> None:
        super().__init__(method, metadata, call.peer().decode(), deadline)
        self._call: ServerCall | None = call

    def begin(self, accept: Accept) -> None:
        """Answers the call with headers, lets the owner accept it, and asks for the first message."""
        self._start(boundary.receive_close(), self._closed)
        self._start(boundary.send_headers(()), _ignore)
        try:
            self._handler = accept(self)
        except Exception as error:
            self._handler_failed(error)
        self._receive()

    def finish(self, status: Status = OK) -> None:
        """Ends the call with this status after everything queued; hears no more messages."""
        self._readable = False
        super().finish(status)

    def _start(self, operations: Batch, tag: Tag) -> bool:
        return self._call is not None and self._call.start_server_batch(operations, tag) == 0

    def _end(self, status: Status) -> None:
        self._start(boundary.send_status(status.code, status.details, status.trailers), _ignore)

    def _break(self, code: Code, details: str) -> None:
        if self._call is not None:
            self._readable = False
            self._drop_queue()
            self._call.cancel(code, details)

    def _fail(self, code: Code, details: str) -> None:
        """Sends what is being written and the status, but nothing that is queued."""
        self._drop_queue()
        self.finish(Status(code, details))

    def _no_more_messages(self) -> None:
        if not self._open or self._finish is not None:
            return
        try:
            self._handler.on_half_close()
        except Exception as error:
            self._handler_failed(error)

    def _closed(self, event: Event) -> None:
        # A call that is held would keep its server from shutting down.
        self._call = None
        cancelled = event.batch_operations[0].cancelled()
        if cancelled or self._finish is None:
            self._close(Status(Code.CANCELLED, "the call was cancelled or its connection broke"))
        else:
            self._close(self._finish)


class CqServer:
    """Listens for calls on the queue that all servers of a loop share."""

    def __init__(
        self,
        queue: ServerQueue,
        routes: dict[str, Accept],
        limits: Limits,
        call_later: Callable[[float, Callable[[], None]], Timer],
    ) -> None:
        self.stopped = False
        self._queue = queue
        self._routes = dict(routes)
        self._call_later = call_later
        self._started = False
        self._stopping = False
        self._core: Any = boundary.server(server_options(limits))
        self._core.register_completion_queue(queue.core)

    def listen(self, address: str, tls: ServerTls | None = None) -> int:
        """Binds host:port (port 0: any free one) and returns the port. A taken port raises RingmillError."""
        return boundary.bind(self._core, address, None if tls is None else server_credentials(tls))

    def start(self) -> None:
        """Begins to accept calls."""
        self._core.start()
        self._started = True
        self._ask()

    def stop(self, grace_s: float = 0.0) -> None:
        """Sends GOAWAY and takes no new calls; after grace_s cancels those still open."""
        if self._stopping:
            return
        self._stopping = True
        if not self._started:
            self.stopped = True
            return
        self._queue.release(self)
        self._core.shutdown(self._queue.core, self._shut_down)
        self._call_later(max(grace_s, GRACE_MIN_S), self._cancel_calls)

    def _ask(self) -> None:
        """Asks for the next call."""
        self._core.request_call(self._queue.core, self._queue.core, self._requested)

    def _requested(self, event: CallRequest) -> None:
        """Serves a new call; without success the server is stopping, and the request brought none."""
        if not event.success:
            return
        if not self._stopping:
            self._ask()
            self._queue.adopt(self, event.call)
        details = event.call_details
        method = details.method.decode(errors="replace")  # a path of any bytes: one that is no text names no method
        deadline = details.deadline
        stream = CqServerStream(
            event.call,
            method,
            event.invocation_metadata,
            None if not math.isfinite(deadline) or deadline > _NO_DEADLINE_S else deadline,
        )
        stream.begin(self._routes.get(method, unimplemented))

    def _cancel_calls(self) -> None:
        if not self.stopped:
            self._core.cancel_all_calls()

    def _shut_down(self, _event: Event) -> None:
        self._core.destroy()
        self.stopped = True


def _ignore(_event: Event) -> None:
    """Tag of an operation whose completion says nothing new."""
