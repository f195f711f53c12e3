"""Streams between workers: those that it dials to its copies, and those that primaries have dialled to it."""

from collections.abc import Callable

from ringmill.internal.v1.link_pb2 import DESCRIPTOR
from ringmill.server.adapters.outgoing import FRAME_BYTES_MAX, Outgoing
from ringmill.transport.api import Accept, Channel, Limits, Loop, Status, Stream

REPLICATE = f"/{DESCRIPTOR.services_by_name['ReplicaService'].full_name}/Replicate"
PEER_LIMITS = Limits(message_bytes_max=FRAME_BYTES_MAX, keepalive_interval_s=5.0, keepalive_timeout_s=10.0)
_FIRST_PAUSE_S = 0.02
LONGEST_PAUSE_S = 0.5


class Peer:
    """The way to one worker that copies partitions: dialled until told to hang up, with longer and longer pauses."""

    def __init__(
        self,
        loop: Loop,
        address: str,
        *,
        up: Callable[[], None],
        heard: Callable[[bytes], None],
        down: Callable[[], None],
    ) -> None:
        """up, heard, down: hear of each stream, its messages, and its end."""
        self._loop = loop
        self._channel: Channel = loop.channel(address, limits=PEER_LIMITS)
        self._up = up
        self._heard = heard
        self._down = down
        self._pause_s = _FIRST_PAUSE_S
        self._stream: Stream | None = None
        self._outgoing: Outgoing | None = None
        self._over = False

    def dial(self) -> None:
        """Opens a stream."""
        if self._over:
            return
        self._stream = stream = self._channel.open(REPLICATE, self)
        self._outgoing = Outgoing(stream)
        self._up()

    def hang_up(self) -> None:
        """Reaches it no more."""
        self._over = True
        self._outgoing = None
        self._channel.close()

    def add(self, chunk: bytes | memoryview, follows: bool = False) -> None:
        """Appends fields of a message, or the rest of the one before; without a stream they are dropped."""
        if self._outgoing is not None:
            self._outgoing.add(chunk, follows)

    def flush(self) -> None:
        """Sends what waits, if it may."""
        if self._outgoing is not None:
            self._outgoing.flush()

    def on_message(self, message: bytes) -> None:
        """Hands on what came."""
        if not self._over:
            self._pause_s = _FIRST_PAUSE_S
            self._heard(message)

    def on_drain(self) -> None:
        """Sends what has gathered."""
        self.flush()

    def on_half_close(self) -> None:
        """Never happens on the calling side."""

    def on_close(self, status: Status) -> None:
        """Dials again, after a pause."""
        if self._over:
            return
        self._stream = self._outgoing = None
        self._down()
        self._loop.call_later(self._pause_s, self.dial)
        self._pause_s = min(2 * self._pause_s, LONGEST_PAUSE_S)


class Guest:
    """A stream that a primary has dialled."""

    def __init__(self, stream: Stream, heard: Callable[[bytes], None], down: Callable[[], None]) -> None:
        self._stream = stream
        self._outgoing = Outgoing(stream)
        self._heard = heard
        self._down = down
        self._over = False

    def add(self, chunk: bytes | memoryview) -> None:
        """Appends fields of a message."""
        self._outgoing.add(chunk)

    def flush(self) -> None:
        """Sends what waits, if it may."""
        self._outgoing.flush()

    def dismiss(self, status: Status) -> None:
        """Ends the stream."""
        self._over = True
        self._stream.finish(status)

    def on_message(self, message: bytes) -> None:
        """Hands on what came."""
        if not self._over:
            self._heard(message)

    def on_drain(self) -> None:
        """Sends what has gathered."""
        if not self._over:
            self.flush()

    def on_half_close(self) -> None:
        """A primary does so only when it goes away."""
        self._stream.finish()

    def on_close(self, status: Status) -> None:
        """The primary is gone; it will dial again."""
        if not self._over:
            self._over = True
            self._down()


def replica_routes(accept: Callable[[Stream], Guest]) -> dict[str, Accept]:
    """The method that primaries call."""
    return {REPLICATE: accept}
