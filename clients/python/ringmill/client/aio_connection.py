"""The connection of an asyncio client: one stream at a time, and a new one after a break."""

import asyncio
import random
from collections.abc import Callable
from typing import Any

import grpc
import grpc.aio

from ringmill.client.connection import BEAT_S
from ringmill.client.errors import ClientError, status_error
from ringmill.client.session import Feed, Session
from ringmill.core.errors import Code

_EOF: Any = grpc.aio.EOF  # type: ignore[attr-defined]  # grpc-stubs lack it
_BROKEN = (grpc.aio.AioRpcError, asyncio.InvalidStateError)
_LOOKS = 4
"""How often in a time-out the watch looks whether anything came."""


class AwaitedConnection:
    """Carries a session's messages over a stream, and dials again when that breaks: a task that runs it all, one that
    writes what the feeds have, and one that watches the time."""

    def __init__(
        self,
        dial: Callable[[], Any],
        session: Session,
        target: str,
        timeout_s: float | None,
        patience_s: float,
    ) -> None:
        """dial: makes a call. patience_s: how long the server may take to open a stream."""
        self.session = session
        self._dial = dial
        self._target = target
        self._timeout_s = timeout_s
        self._patience_s = patience_s
        self._call: Any = None
        self._work = asyncio.Event()
        self._closing = False
        self._beating = False
        self._tasks: list[asyncio.Task[None]] = []
        self._writer: asyncio.Task[None] | None = None
        self._lost: ClientError | None = None
        """How the last stream ended, or the last attempt to open one failed."""

    @property
    def error(self) -> ClientError | None:
        """Why it is over; None while it lives, with or without a stream."""
        return self.session.error

    async def open(self) -> None:
        """Opens the first stream. Raises ClientError."""
        error = await self._open()
        if error is not None and error.code == Code.INTERNAL and self.session.error is None:
            # A write that meets the end of its call has grpc.aio lose the server's own status. It will say it again.
            error = await self._open()
        if error is not None:
            self.session.end(error)
            raise error
        self._tasks = [asyncio.create_task(self._run())]
        if self._timeout_s is not None:
            self._tasks.append(asyncio.create_task(self._watch(self._timeout_s)))

    def offer(self, feed: Feed) -> None:
        """Sends what the feed has as soon as the stream can take it. Raises why the session ended, if it has."""
        if self.session.error is not None:
            raise self.session.error
        self.session.offer(feed)
        self._work.set()

    def abandon(self, error: ClientError) -> None:
        """Ends the session for a reason of our own."""
        self.session.end(error)
        for task in self._tasks:
            if task is not asyncio.current_task():
                task.cancel()

    async def flush(self, limit_s: float | None) -> None:
        """Waits until all that was sent is final, or the session over. Raises TimeoutError."""
        session = self.session
        target = session.sequence
        session.flushes += 1
        try:
            async with asyncio.timeout(limit_s):
                while session.error is None and session.holds(target):
                    session.beat()
                    self._work.set()
                    await asyncio.sleep(BEAT_S)
        finally:
            session.flushes -= 1

    async def close(self) -> None:
        """Half-closes, and waits a moment for the server to end the stream."""
        self._closing = True
        if self.session.opened and self._writer is not None:
            self._writer.cancel()
            try:
                async with asyncio.timeout(1.0):
                    await self._call.done_writing()
                    await asyncio.wait(self._tasks[:1])
            except (TimeoutError, *_BROKEN):
                pass
        self.abandon(ClientError(Code.CANCELLED, "the client was closed"))
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _run(self) -> None:
        try:
            while self.session.error is None and not self._closing:
                await self._dial_again(await self._serve())
        except asyncio.CancelledError:
            self.session.end(ClientError(Code.CANCELLED, "the stream was cancelled"))
            raise

    async def _dial_again(self, error: ClientError | None) -> None:
        """Opens the next stream, however many attempts that takes, or finds that the session is over."""
        session = self.session
        while error is not None and session.error is None and not self._closing:
            self._lost = error
            delay_s = session.broke(error, asyncio.get_running_loop().time(), random.random())
            if session.error is not None:
                return
            if delay_s is None:
                while session.idle:  # until there is something to dial for
                    self._work.clear()
                    await self._work.wait()
            else:
                await asyncio.sleep(delay_s)
            error = await self._open()

    async def _open(self) -> ClientError | None:
        """Makes one attempt, and returns how it failed."""
        session = self.session
        self._call = call = self._dial()
        try:
            async with asyncio.timeout(self._patience_s):
                await call.write(session.opening())
                message = await call.read()
                if message is _EOF:
                    return await self._status()
                session.receive(message)
                return None
        except TimeoutError:
            call.cancel()
            code = Code.DEADLINE_EXCEEDED if session.info is None else Code.UNAVAILABLE
            return ClientError(code, f"{self._target} did not open a stream in {self._patience_s} s")
        except _BROKEN:
            return await self._status()
        except ClientError as error:
            call.cancel()
            session.end(error)
            return error

    async def _serve(self) -> ClientError:
        """Carries messages until the stream has ended, and returns how."""
        self._work.set()
        self._writer = asyncio.create_task(self._write())
        try:
            return await self._read()
        except ClientError as error:
            self.session.end(error)
            return error
        except _BROKEN:
            return await self._status()
        finally:
            self._writer.cancel()
            self._call.cancel()

    async def _write(self) -> None:
        session = self.session
        try:
            while True:
                await self._work.wait()
                self._work.clear()
                while (message := session.take()) is not None:
                    await self._call.write(message)
                if session.wants_beat and not self._beating:
                    self._beating = True
                    asyncio.get_running_loop().call_later(BEAT_S, self._beat)
        except _BROKEN:
            pass  # the reader hears the status

    def _beat(self) -> None:
        self._beating = False
        self.session.beat()
        self._work.set()

    async def _read(self) -> ClientError:
        session = self.session
        while not session.drain_s:
            message = await self._call.read()
            if message is _EOF:
                return await self._status()
            session.receive(message)
            self._work.set()  # there may be room for another batch
        return await self._drain()

    async def _drain(self) -> ClientError:
        """Leaves a stream whose server wants to go, once all is answered or the time is up."""
        try:
            async with asyncio.timeout(self.session.drain_s):
                while not self.session.all_answered:
                    message = await self._call.read()
                    if message is _EOF:
                        return await self._status()
                    self.session.receive(message)
                await self._call.done_writing()
        except TimeoutError:
            pass
        return ClientError(Code.UNAVAILABLE, f"{self._target} asked to reconnect")

    async def _status(self) -> ClientError:
        code = Code((await self._call.code()).value[0])
        details = await self._call.details()
        if code == Code.OK:
            return ClientError(Code.UNAVAILABLE, f"{self._target} ended the stream")
        return status_error(code, details or "", self._target)

    async def _watch(self, timeout_s: float) -> None:
        """Ends the session when something is wanted and no outcome comes for `timeout_s`.

        One timer for the session, because one for each event would cost more than the event.
        """
        session = self.session
        silent = heard = 0
        while silent <= _LOOKS and session.error is None:  # at the first look the batch may just have been sent
            await asyncio.sleep(timeout_s / _LOOKS)
            silent = silent + 1 if session.busy and session.progress == heard else 0
            heard = session.progress
        why = f"no outcome came for {timeout_s} s"
        if not session.opened and self._lost is not None:  # while it dialled
            why += f": {self._lost.message}"
        self.abandon(ClientError(Code.DEADLINE_EXCEEDED, why))
