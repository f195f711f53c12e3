"""What both sides of a call share: one write in flight with a queue behind it, and one receive."""

import time
from abc import ABC, abstractmethod
from collections import deque

from ringmill.core.errors import Code
from ringmill.transport.api import OK, Metadata, Status, StreamHandler
from ringmill.transport.cq import boundary
from ringmill.transport.cq.boundary import Batch, Event, Tag
from ringmill.transport.hearing import UNHEARD, close_heard, failure


class CqStream(ABC):
    """One open call. gRPC takes one write and one receive at a time; a second one started meanwhile would be lost."""

    def __init__(self, method: str, metadata: Metadata, peer: str, deadline: float | None) -> None:
        self.method = method
        self.peer = peer
        self.metadata = metadata
        self.writing = False
        self.queued_bytes = 0
        self._deadline = deadline
        self._handler: StreamHandler = UNHEARD
        self._waiting: deque[bytes] = deque()
        self._receiving = False
        self._paused = False
        self._readable = True
        self._finish: Status | None = None
        self._open = True

    @property
    def deadline_s(self) -> float | None:
        """Seconds left until the call's deadline; None without one."""
        return None if self._deadline is None else max(0.0, self._deadline - time.time())

    def send(self, message: bytes) -> None:
        """Sends a message after all earlier ones; never blocks. On a closed stream it does nothing."""
        if not self._open or self._finish is not None:
            return
        if self.writing:
            self._waiting.append(message)
            self.queued_bytes += len(message)
        else:
            self._write(message)

    def pause(self) -> None:
        """Stops asking for messages. One more may still arrive: the receive in flight."""
        self._paused = True

    def resume(self) -> None:
        """Asks for messages again."""
        self._paused = False
        self._receive()

    def finish(self, status: Status = OK) -> None:
        """Ends our side after everything queued."""
        if not self._open or self._finish is not None:
            return
        self._finish = status
        if not self.writing:
            self._end(status)

    def cancel(self) -> None:
        """Ends the call now and drops what is queued. on_close follows."""
        self._break(Code.CANCELLED, "cancelled")

    @abstractmethod
    def _start(self, operations: Batch, tag: Tag) -> bool:
        """Starts operations; False when the call has ended, and then they never complete."""

    @abstractmethod
    def _end(self, status: Status) -> None:
        """Sends the last thing of our side: the server's status, the client's half-close."""

    @abstractmethod
    def _break(self, code: Code, details: str) -> None:
        """Resets the call and drops what is queued."""

    @abstractmethod
    def _fail(self, code: Code, details: str) -> None:
        """Ends the call because its handler failed."""

    @abstractmethod
    def _no_more_messages(self) -> None:
        """Hears the end of the peer's messages, which on the server side reads as its half-close."""

    def _write(self, message: bytes) -> None:
        self.writing = self._start(boundary.send_message(message), self._written)

    def _written(self, event: Event) -> None:
        """Starts the next write, or tells that none is left."""
        if not event.success:
            self.writing = False
            self._drop_queue()
        elif self._waiting:
            message = self._waiting.popleft()
            self.queued_bytes -= len(message)
            self._write(message)
        else:
            self.writing = False
            if self._finish is not None:
                self._end(self._finish)
            elif self._open:
                self._tell_drain()

    def _receive(self) -> None:
        if self._readable and not (self._receiving or self._paused):
            self._receiving = self._start(boundary.receive_message(), self._received)

    def _received(self, event: Event) -> None:
        self._receiving = False
        message = event.batch_operations[0].message()
        if message is None or not self._readable:
            self._readable = False
            self._no_more_messages()
            return
        try:
            self._handler.on_message(message)
        except Exception as error:
            self._handler_failed(error)
        self._receive()

    def _tell_drain(self) -> None:
        try:
            self._handler.on_drain()
        except Exception as error:
            self._handler_failed(error)

    def _handler_failed(self, error: Exception) -> None:
        """Ends this call alone."""
        answer = failure(error, self.method, self.peer)
        self._fail(answer.code, answer.details)

    def _drop_queue(self) -> None:
        self._waiting.clear()
        self.queued_bytes = 0

    def _close(self, status: Status) -> None:
        """Tells the end, once, and forgets the handler."""
        if not self._open:
            return
        self._open = False
        self._readable = False
        self.writing = False
        self._drop_queue()
        handler, self._handler = self._handler, UNHEARD
        close_heard(handler, status, self.method)
