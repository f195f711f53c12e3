"""What both sides of a call share: a task that writes what is queued, and a task that reads unless paused."""

import asyncio
import functools
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from typing import Any

import grpc.aio

from ringmill.core.errors import Code
from ringmill.transport.api import OK, Metadata, Status, StreamHandler
from ringmill.transport.hearing import UNHEARD, close_heard, failure

END: Any = grpc.aio.EOF  # type: ignore[attr-defined]  # not in the public stubs
"""What a read gives after the last message."""


class AioStream(ABC):
    """One open call. `turn_over` is told after every handler."""

    def __init__(self, method: str, metadata: Metadata, peer: str, turn_over: Callable[[], None]) -> None:
        self.method = method
        self.metadata = metadata
        self.peer = peer
        self.writing = False
        self.queued_bytes = 0
        self._turn_over = turn_over
        self._handler: StreamHandler = UNHEARD
        self._next: bytes | None = None
        self._waiting: deque[bytes] = deque()
        self._stirred = asyncio.Event()
        self._resumed = asyncio.Event()
        self._resumed.set()
        self._finish: Status | None = None
        self._broken: Status | None = None
        self._open = True

    @property
    @abstractmethod
    def deadline_s(self) -> float | None:
        """Seconds left until the call's deadline; None without one."""

    def send(self, message: bytes) -> None:
        """Sends a message after all earlier ones; never blocks. On a closed stream it does nothing."""
        if not self._open or self._finish is not None or self._broken is not None:
            return
        if self.writing:
            self._waiting.append(message)
            self.queued_bytes += len(message)
        else:
            self._next = message
            self.writing = True
            self._stirred.set()

    def pause(self) -> None:
        """Stops asking for messages. One more may still arrive: the read in flight."""
        self._resumed.clear()

    def resume(self) -> None:
        """Asks for messages again."""
        self._resumed.set()

    def finish(self, status: Status = OK) -> None:
        """Ends our side after everything queued."""
        if self._open and self._finish is None:
            self._finish = status
            self._stirred.set()

    def cancel(self) -> None:
        """Ends the call now and drops what is queued. on_close follows."""
        self._break(Status(Code.CANCELLED, "cancelled"))

    @abstractmethod
    def _break(self, status: Status) -> None:
        """Resets the call and drops what is queued."""

    @abstractmethod
    def _fail(self, status: Status) -> None:
        """Ends the call because its handler failed."""

    @abstractmethod
    async def _put(self, message: bytes) -> None:
        """Writes one message and waits until gRPC wants the next."""

    @abstractmethod
    async def _get(self) -> Any:
        """Waits for a message or END."""

    async def _write_all(self) -> None:
        """Writes until our side has finished, one message in flight at a time."""
        while self._finish is None or self.writing:
            if not self.writing:
                self._stirred.clear()
                await self._stirred.wait()
                continue
            while self._next is not None:
                await self._put(self._next)
                self._next = self._waiting.popleft() if self._waiting else None
                self.queued_bytes -= 0 if self._next is None else len(self._next)
            self.writing = False
            if self._finish is None:
                self._hear(self._handler.on_drain)

    async def _read_all(self) -> None:
        """Reads until the peer's side has finished."""
        while True:
            await self._resumed.wait()
            message = await self._get()
            if message is END:
                return
            if self._wants_messages():
                self._hear(functools.partial(self._handler.on_message, message))

    def _wants_messages(self) -> bool:
        return self._open and self._broken is None

    def _hear(self, hook: Callable[[], None]) -> None:
        """Calls the handler; a failure ends this call alone."""
        try:
            hook()
        except Exception as error:
            self._fail(failure(error, self.method, self.peer))
        self._turn_over()

    def _drop_queue(self) -> None:
        self._next = None
        self._waiting.clear()
        self.queued_bytes = 0

    def _close(self, status: Status) -> None:
        """Tells the end, once, and forgets the handler."""
        if not self._open:
            return
        self._open = False
        self.writing = False
        self._drop_queue()
        handler, self._handler = self._handler, UNHEARD
        close_heard(handler, status, self.method)
        self._turn_over()
