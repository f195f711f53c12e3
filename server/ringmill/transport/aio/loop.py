"""The loop: an asyncio event loop, run as long as asked."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import uvloop

from ringmill.transport.aio.client import AioChannel
from ringmill.transport.aio.server import AioServer
from ringmill.transport.api import Accept, ClientTls, Limits
from ringmill.transport.hearing import run_guarded

T = TypeVar("T")


class AioLoop:
    """Drives servers and channels of grpc.aio; a user's own running event loop may be given."""

    name = "aio"

    def __init__(self, event_loop: asyncio.AbstractEventLoop | None = None) -> None:
        self._loop = event_loop or uvloop.new_event_loop()
        self._tasks: set[asyncio.Task[None]] = set()
        self._done: Callable[[], bool] | None = None
        self._stopped = False

    def server(self, routes: dict[str, Accept], limits: Limits = Limits()) -> AioServer:
        """Makes a server of these methods, by full name; any other method answers UNIMPLEMENTED."""
        return self._inside(lambda: AioServer(routes, limits, self._turn_over, self._do))

    def channel(self, target: str, tls: ClientTls | None = None, limits: Limits = Limits()) -> AioChannel:
        """Makes a channel to host:port."""
        return self._inside(
            lambda: AioChannel(target, tls, limits, self._loop, self._turn_over, self._do, self._inside)
        )

    def call_soon(self, callback: Callable[[], None]) -> None:
        """Runs a callback in turn with the handlers. May be called from any thread, also from a signal handler."""
        self._loop.call_soon_threadsafe(self._guarded, callback)

    def call_later(self, delay_s: float, callback: Callable[[], None]) -> asyncio.TimerHandle:
        """Runs a callback once, after a delay."""
        return self._loop.call_later(delay_s, self._guarded, callback)

    def run(self) -> None:
        """Runs until `stop`, in this thread."""
        self._stopped = False
        self.run_until(lambda: self._stopped)

    def run_until(self, done: Callable[[], bool], timeout_s: float | None = None) -> bool:
        """Runs in this thread until done() is true; False when the time-out came first."""
        late = False

        def expire() -> None:
            nonlocal late
            late = True
            self._loop.stop()

        self._done = done
        # The timer alone decides: one that rings a little early would otherwise leave the loop to wait for ever.
        timer = None if timeout_s is None else self._loop.call_later(timeout_s, expire)
        try:
            while not (done() or late):
                self._loop.run_forever()
            return done()
        finally:
            self._done = None
            if timer is not None:
                timer.cancel()

    def stop(self) -> None:
        """Makes `run` return once the current handler has."""
        self._stopped = True
        self._loop.call_soon_threadsafe(self._loop.stop)

    def _inside(self, make: Callable[[], T]) -> T:
        """Makes an object of grpc.aio, which belongs to the event loop that runs while it is made."""
        if self._loop.is_running():
            return make()

        async def made() -> T:
            return make()

        return self._complete(made())

    def _do(self, work: Coroutine[Any, Any, None]) -> None:
        """Does some work of grpc.aio: at once where the loop stands still, else in its turn."""
        if not self._loop.is_running():
            self._complete(work)
            return
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _complete(self, work: Coroutine[Any, Any, T]) -> T:
        """Runs until some work is done; unlike asyncio's own, it overlooks a stop that an earlier run left behind."""
        task = self._loop.create_task(work)
        task.add_done_callback(lambda _: self._loop.stop())
        while not task.done():
            self._loop.run_forever()
        return task.result()

    def _guarded(self, callback: Callable[[], None]) -> None:
        """Runs a callback; what it raises is logged, since the loop goes on."""
        run_guarded(callback)
        self._turn_over()

    def _turn_over(self) -> None:
        """Ends the run when what it waits for has come."""
        if self._done is not None and self._done():
            self._loop.stop()
