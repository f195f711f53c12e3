"""The server side: each call is a coroutine of grpc.aio, served as a stream."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import grpc
import grpc.aio

from ringmill.core.errors import Code
from ringmill.transport.aio.stream import AioStream
from ringmill.transport.api import OK, Accept, Limits, ServerTls, Status
from ringmill.transport.checks import cannot_listen
from ringmill.transport.hearing import unimplemented
from ringmill.transport.options import GRACE_MIN_S, server_credentials, server_options

_CODES = {code.value[0]: code for code in grpc.StatusCode}
_LEFT = Status(Code.CANCELLED, "the call was cancelled or its connection broke")
_BREAK_S = 0.001
"""A broken call ends its messages first; its cancellation follows within this time, and is then no half-close."""


class AioServerStream(AioStream):
    """One call, served."""

    def __init__(self, method: str, context: Any, turn_over: Callable[[], None]) -> None:
        super().__init__(method, tuple(context.invocation_metadata() or ()), context.peer(), turn_over)
        self._context = context
        self._main: asyncio.Task[Any] | None = None

    @property
    def deadline_s(self) -> float | None:
        """Seconds left until the call's deadline; None without one."""
        left: float | None = self._context.time_remaining()
        return None if left is None else max(0.0, left)

    async def serve(self, accept: Accept) -> None:
        """Lives as long as the call."""
        self._main = asyncio.current_task()
        reader: asyncio.Task[None] | None = None
        try:
            await self._context.send_initial_metadata(())
            self._hear(lambda: self._accept(accept))
            reader = asyncio.create_task(self._read_requests())
            await self._write_all()
        except asyncio.CancelledError:
            if self._broken is None:
                self._close(_LEFT)
                raise
        finally:
            if reader is not None:
                reader.cancel()
            self._main = None
        status = self._broken or self._finish or OK
        self._context.set_code(_CODES[status.code])
        self._context.set_details(status.details)
        self._context.set_trailing_metadata(tuple(status.trailers))
        asyncio.get_running_loop().call_soon(self._close, status)

    def _accept(self, accept: Accept) -> None:
        self._handler = accept(self)

    def _wants_messages(self) -> bool:
        return self._finish is None and super()._wants_messages()

    async def _read_requests(self) -> None:
        await self._read_all()
        await asyncio.sleep(_BREAK_S)
        if self._wants_messages():
            self._hear(self._handler.on_half_close)

    async def _put(self, message: bytes) -> None:
        await self._context.write(message)

    async def _get(self) -> Any:
        return await self._context.read()

    def _break(self, status: Status) -> None:
        if self._open and self._broken is None:
            self._broken = status
            self._drop_queue()
            if self._main is not None:
                self._main.cancel()

    def _fail(self, status: Status) -> None:
        self._drop_queue()
        self.finish(status)


class AioServer:
    """Listens for calls."""

    def __init__(
        self,
        routes: dict[str, Accept],
        limits: Limits,
        turn_over: Callable[[], None],
        do: Callable[[Coroutine[Any, Any, None]], None],
    ) -> None:
        self.stopped = False
        self._routes = dict(routes)
        self._turn_over = turn_over
        self._do = do
        self._started = False
        self._stopping = False
        self._core = grpc.aio.server(options=server_options(limits))
        self._core.add_generic_rpc_handlers((_Routes(self._serve),))

    def listen(self, address: str, tls: ServerTls | None = None) -> int:
        """Binds host:port (port 0: any free one) and returns the port. A taken port raises RingmillError."""
        try:
            if tls is None:
                return self._core.add_insecure_port(address)
            return self._core.add_secure_port(address, server_credentials(tls))
        except RuntimeError as error:
            raise cannot_listen(address) from error

    def start(self) -> None:
        """Begins to accept calls."""
        self._started = True
        self._do(self._core.start())

    def stop(self, grace_s: float = 0.0) -> None:
        """Sends GOAWAY and takes no new calls; after grace_s cancels those still open."""
        if not self._stopping:
            self._stopping = True
            self._do(self._stop(grace_s))

    async def _stop(self, grace_s: float) -> None:
        if self._started:
            await self._core.stop(max(grace_s, GRACE_MIN_S))
        self.stopped = True
        self._turn_over()

    async def _serve(self, method: str, context: Any) -> None:
        stream = AioServerStream(method, context, self._turn_over)
        await stream.serve(self._routes.get(method, unimplemented))


class _Routes(grpc.GenericRpcHandler):  # type: ignore[type-arg]  # generic in its stubs alone
    """Hands every call to one coroutine, as bytes."""

    def __init__(self, serve: Callable[[str, Any], Coroutine[Any, Any, None]]) -> None:
        self._serve = serve

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> "grpc.RpcMethodHandler[bytes, bytes]":
        """Finds the handler of a call: always the same."""
        method = handler_call_details.method

        async def serve(_requests: Any, context: Any) -> None:
            await self._serve(method, context)

        return grpc.stream_stream_rpc_method_handler(serve)
