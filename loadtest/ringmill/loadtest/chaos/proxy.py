"""A TCP proxy between two processes: it delays, throttles, stalls one way, and cuts connections.

It runs in a thread of its own; its faults may be changed at any time and hold for what is read from then on.
"""

import asyncio
import contextlib
import socket
import struct
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

_READ_BYTES = 1 << 16
_QUEUED_BYTES_MAX = 1 << 22
"""What a direction holds back before it stops reading, as a slow network would."""
_RESET = struct.pack("ii", 1, 0)


@dataclass(frozen=True, slots=True)
class Fault:
    """What happens to bytes of one direction."""

    delay_s: float = 0.0
    """Each byte arrives so much later; order is kept."""
    bytes_s: float = 0.0
    """At most so many a second; 0: any number."""
    stalled: bool = False
    """Nothing gets through; what was read waits."""


class Proxy:
    """Stands at `address` for a target. Use it as a context manager."""

    def __init__(self, target: Callable[[], str]) -> None:
        """target: gives host:port, for each connection anew; empty: nobody is there yet."""
        self._target = target
        self._to_target = Fault()
        self._to_client = Fault()
        self._refuses = False
        self._pairs: set[_Pair] = set()
        self._loop = asyncio.new_event_loop()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._call(self._close)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    @property
    def connections(self) -> int:
        """Connections that are open."""
        return len(self._pairs)

    def hamper(self, to_target: Fault | None = None, to_client: Fault | None = None) -> None:
        """Sets the faults of one direction or both; None leaves a direction as it is."""

        def change() -> None:
            self._to_target = self._to_target if to_target is None else to_target
            self._to_client = self._to_client if to_client is None else to_client
            for pair in self._pairs:
                pair.wake()

        self._call(change)

    def heal(self) -> None:
        """Ends all faults."""
        self.refuse(False)
        self.hamper(Fault(), Fault())

    def refuse(self, refuses: bool = True) -> None:
        """Resets every new connection, or takes them again."""
        self._refuses = refuses

    def cut(self) -> int:
        """Resets all connections in the middle of whatever they carry; says how many there were."""
        cut = len(self._pairs)
        self._call(self._cut)
        return cut

    def fault(self, to_target: bool) -> Fault:
        """What holds for a direction now."""
        return self._to_target if to_target else self._to_client

    def forget(self, pair: "_Pair") -> None:
        """A connection is over."""
        self._pairs.discard(pair)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(asyncio.start_server(self._accept, sock=self._listener))
        self._loop.run_forever()
        server.close()
        for task in asyncio.all_tasks(self._loop):
            task.cancel()
        self._loop.run_until_complete(asyncio.sleep(0))

    def _call(self, action: Callable[[], None]) -> None:
        done = threading.Event()

        def act() -> None:
            action()
            done.set()

        self._loop.call_soon_threadsafe(act)
        done.wait(10)

    def _cut(self) -> None:
        for pair in list(self._pairs):
            pair.reset()

    def _close(self) -> None:
        self._refuses = True
        self._cut()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._refuses:
            _reset(writer)
            return
        try:
            host, _, port = self._target().rpartition(":")
            target_reader, target_writer = await asyncio.open_connection(host, int(port))
        except (OSError, ValueError):
            _reset(writer)
            return
        pair = _Pair(self, writer, target_writer)
        self._pairs.add(pair)
        await pair.carry(reader, target_reader)


class _Pair:
    """One connection of a client, and ours to the target."""

    def __init__(self, proxy: Proxy, client: asyncio.StreamWriter, target: asyncio.StreamWriter) -> None:
        self._proxy = proxy
        self._client = client
        self._target = target
        self._changed = asyncio.Event()

    async def carry(self, from_client: asyncio.StreamReader, from_target: asyncio.StreamReader) -> None:
        """Carries bytes both ways until one side ends."""
        ways = [(from_client, self._target, True), (from_target, self._client, False)]
        tasks = [asyncio.ensure_future(self._way(*way)) for way in ways]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            self._proxy.forget(self)
            for writer in (self._client, self._target):
                writer.close()

    def wake(self) -> None:
        """Faults have changed."""
        self._changed.set()
        self._changed = asyncio.Event()

    def reset(self) -> None:
        """Breaks both connections off."""
        for writer in (self._client, self._target):
            _reset(writer)

    async def _way(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, to_target: bool) -> None:
        """Reads and writes in turn by two tasks, so that a delay does not throttle."""
        queue: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(_QUEUED_BYTES_MAX // _READ_BYTES)
        writing = asyncio.ensure_future(self._write(queue, writer, to_target))
        loop = asyncio.get_running_loop()
        try:
            with contextlib.suppress(OSError):
                while data := await reader.read(_READ_BYTES):
                    await queue.put((loop.time() + self._proxy.fault(to_target).delay_s, data))
            await queue.put((loop.time(), b""))
            await writing
        finally:
            writing.cancel()

    async def _write(
        self, queue: asyncio.Queue[tuple[float, bytes]], writer: asyncio.StreamWriter, to_target: bool
    ) -> None:
        loop = asyncio.get_running_loop()
        while True:
            due_s, data = await queue.get()
            if not data:
                return
            await asyncio.sleep(max(0.0, due_s - loop.time()))
            while (fault := self._proxy.fault(to_target)).stalled:
                await self._changed.wait()
            with contextlib.suppress(OSError):
                writer.write(data)
                await writer.drain()
            if fault.bytes_s:
                await asyncio.sleep(len(data) / fault.bytes_s)


def _reset(writer: asyncio.StreamWriter) -> None:
    """Ends a connection with RST: nothing that is on its way arrives."""
    opened = writer.get_extra_info("socket")
    if opened is not None:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    writer.transport.abort()
