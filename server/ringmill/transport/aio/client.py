"""The client side: a channel of grpc.aio, and its calls as streams."""

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from typing import Any

import grpc
import grpc.aio

from ringmill.core.errors import Code, RingmillError
from ringmill.transport.aio.stream import AioStream
from ringmill.transport.api import ClientTls, Limits, Metadata, Status, StreamHandler
from ringmill.transport.checks import check_metadata
from ringmill.transport.options import channel_credentials, channel_options

_OVER = (grpc.aio.AioRpcError, asyncio.CancelledError, asyncio.InvalidStateError, grpc.aio.InternalError)
"""What reads and writes of grpc.aio raise once a call has ended; its status says why."""


class AioClientStream(AioStream):
    """One call, made."""

    def __init__(
        self, method: str, target: str, call: Any, handler: StreamHandler, turn_over: Callable[[], None]
    ) -> None:
        super().__init__(method, (), target, turn_over)
        self._call = call
        self._handler = handler

    @property
    def deadline_s(self) -> float | None:
        """Seconds left until the call's deadline; None without one."""
        left: float | None = self._call.time_remaining()
        return None if left is None else max(0.0, left)

    async def live(self) -> None:
        """Lives as long as the call."""
        reader = asyncio.create_task(self._read_responses())
        writer = asyncio.create_task(self._write_requests())
        status = await self._status()
        if not self._resumed.is_set():
            reader.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await reader
        writer.cancel()
        self._close(self._broken or status)

    async def _status(self) -> Status:
        code = await self._call.code()
        return Status(
            Code(code.value[0]), await self._call.details() or "", tuple(await self._call.trailing_metadata() or ())
        )

    async def _read_responses(self) -> None:
        with contextlib.suppress(*_OVER):
            self.metadata = tuple(await self._call.initial_metadata() or ())
            await self._read_all()

    async def _write_requests(self) -> None:
        with contextlib.suppress(*_OVER):
            await self._call.wait_for_connection()
            await self._write_all()
            await self._call.done_writing()

    async def _put(self, message: bytes) -> None:
        # Not the public `write`: a server that ends the call meanwhile fails it, and it would then put INTERNAL in
        # the place of the server's own status.
        await self._call._cython_call.send_serialized_message(message)

    async def _get(self) -> Any:
        return await self._call.read()

    def _break(self, status: Status) -> None:
        if self._open and self._broken is None:
            self._broken = status
            self._drop_queue()
            self._call.cancel()

    def _fail(self, status: Status) -> None:
        self._break(status)


class AioChannel:
    """A connection to a server, made when first needed and again after a break."""

    def __init__(
        self,
        target: str,
        tls: ClientTls | None,
        limits: Limits,
        event_loop: asyncio.AbstractEventLoop,
        turn_over: Callable[[], None],
        do: Callable[[Coroutine[Any, Any, None]], None],
        inside: Callable[[Callable[[], Any]], Any],
    ) -> None:
        options = channel_options(limits, tls)
        self._core: Any  # the public stubs know neither bytes as messages nor calls without an iterator
        if tls is None:
            self._core = grpc.aio.insecure_channel(target, options=options)
        else:
            self._core = grpc.aio.secure_channel(target, channel_credentials(tls), options=options)
        self._target = target
        self._event_loop = event_loop
        self._turn_over = turn_over
        self._do = do
        self._inside = inside
        self._lives: set[asyncio.Task[None]] = set()
        self._closed = False

    def open(
        self, method: str, handler: StreamHandler, metadata: Metadata = (), timeout_s: float | None = None
    ) -> AioClientStream:
        """Starts a bidirectional call. A server that cannot be reached closes it UNAVAILABLE."""
        if self._closed:
            raise RingmillError(Code.FAILED_PRECONDITION, f"the channel to {self._target} is closed")
        check_metadata(metadata)
        call = self._inside(lambda: self._core.stream_stream(method)(metadata=tuple(metadata), timeout=timeout_s))
        stream = AioClientStream(method, self._target, call, handler, self._turn_over)
        life = self._event_loop.create_task(stream.live())
        self._lives.add(life)
        life.add_done_callback(self._lives.discard)
        return stream

    def close(self) -> None:
        """Cancels its calls and lets the connection go."""
        if not self._closed:
            self._closed = True
            self._do(self._close())

    async def _close(self) -> None:
        await self._core.close()
        await asyncio.gather(*self._lives)
