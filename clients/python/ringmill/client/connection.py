"""The connection of a blocking client, on the transport's loop: one stream at a time, and a new one after a break."""

import random
import time
from collections.abc import Callable

from ringmill.client.errors import ClientError, status_error
from ringmill.client.session import Feed, Session
from ringmill.core.errors import Code
from ringmill.transport.api import Channel, Limits, Loop, Metadata, Status, Stream, Timer

SERVICE = "/ringmill.v1.ProcessingService/"
LIMITS = Limits(keepalive_interval_s=10.0)
"""Keepalive finds a server that has vanished without a word, so that the session can go on with another."""
BEAT_S = 0.002
"""Time between heartbeats while somebody waits for what only they can tell."""


class Connection:
    """Carries a session's messages over a stream, and dials again when that breaks."""

    def __init__(
        self, loop: Loop, channel: Channel, session: Session, target: str, metadata: Metadata, patience_s: float
    ) -> None:
        """patience_s: how long the server may take to open a stream. The first attempt is the only one."""
        self.session = session
        self._loop = loop
        self._channel = channel
        self._target = target
        self._metadata = metadata
        self._patience_s = patience_s
        self._line: _Line | None = None
        self._dialling: Timer | None = None
        self._beating: Timer | None = None
        self._dial()

    @property
    def error(self) -> ClientError | None:
        """Why it is over; None while it lives, with or without a stream."""
        return self.session.error

    def offer(self, feed: Feed) -> None:
        """Sends what the feed has as soon as the stream can take it."""
        self.session.offer(feed)
        self.send()

    def send(self) -> None:
        """Sends what there is; dials where nothing is connected or about to be."""
        if self._line is not None:
            self._line.send()
        elif self._dialling is None and self.session.error is None:
            self._dial()

    def abandon(self, error: ClientError) -> None:
        """Ends the session for a reason of our own."""
        self.session.end(error)
        line = self._leave()
        if line is not None:
            line.stream.cancel()

    def half_close(self) -> bool:
        """Tells the server that nothing more comes; it then ends the stream. False where there is none."""
        if self._line is not None:
            self._line.stream.finish()
        return self._line is not None

    @property
    def connected(self) -> bool:
        """Whether there is a stream, or an attempt to open one."""
        return self._line is not None

    def beat_later(self) -> None:
        """Has a heartbeat sent in a moment."""
        if self._beating is None:
            self._beating = self._loop.call_later(BEAT_S, self._beat)

    def broke(self, line: "_Line", error: ClientError) -> None:
        """Hears how a stream, or the attempt to open one, has ended."""
        if line is not self._line:
            return
        self._leave()
        if self.session.info is None:
            self.session.end(error)  # the first attempt: the caller is told at once
            return
        delay_s = self.session.broke(error, time.monotonic(), random.random())
        if delay_s is not None:
            self._dialling = self._loop.call_later(delay_s, self._dial)

    def _leave(self) -> "_Line | None":
        line, self._line = self._line, None
        for timer in (self._dialling, self._beating, None if line is None else line.timer):
            if timer is not None:
                timer.cancel()
        self._dialling = self._beating = None
        return line

    def _dial(self) -> None:
        self._dialling = None
        if self.session.error is not None:
            return
        line = self._line = _Line(self, self._target)
        line.begin(self._channel.open(f"{SERVICE}Process", line, self._metadata))
        if self.session.info is not None:  # the first attempt is watched by the caller
            line.timer = self._loop.call_later(self._patience_s, line.unopened)

    def drain_later(self, line: "_Line") -> None:
        """Gives what is on its way the time that the server leaves it."""
        line.timer = self._loop.call_later(self.session.drain_s, line.drained)

    def _beat(self) -> None:
        self._beating = None
        self.session.beat()
        if self._line is not None:
            self._line.send()


class _Line:
    """One stream: hands the session's messages to it and its messages to the session."""

    def __init__(self, connection: Connection, target: str) -> None:
        self._connection = connection
        self._session = connection.session
        self._target = target
        self._over = False
        self.stream: Stream
        self.timer: Timer | None = None
        """When it must be open, and later when it must be left."""

    def begin(self, stream: Stream) -> None:
        self.stream = stream
        stream.send(self._session.opening())

    def send(self) -> None:
        # One message at a time: what gathers during a write goes as the next message.
        if not self.stream.writing and not self._over:
            message = self._session.take()
            if message is not None:
                self.stream.send(message)
            elif self._session.wants_beat:
                self._connection.beat_later()

    def on_message(self, message: bytes) -> None:
        """Hears a response."""
        session = self._session
        if self._over or session.error is not None:
            return
        opening = not session.opened
        try:
            session.receive(message)
        except ClientError as error:
            self._connection.abandon(error)
            return
        if opening and self.timer is not None:
            self.timer.cancel()
            self.timer = None
        if session.drain_s:
            self._drain()
        else:
            self.send()

    def on_drain(self) -> None:
        """Hears that the last write is done."""
        self.send()

    def on_half_close(self) -> None:
        """Hears nothing: only servers do."""

    def on_close(self, status: Status) -> None:
        """Hears how the stream ended; a server that ends it by itself without an error has gone away."""
        if status.code == Code.OK:
            error = ClientError(Code.UNAVAILABLE, f"{self._target} ended the stream")
        else:
            error = status_error(status.code, status.details, self._target)
        self._break(error)

    def unopened(self) -> None:
        """The server has not answered in time."""
        self._break(ClientError(Code.UNAVAILABLE, f"{self._target} did not open a stream in time"))
        self.stream.cancel()

    def drained(self) -> None:
        """Leaves a stream whose server wants to go."""
        if self._session.all_answered:
            self.stream.finish()
        else:
            self.stream.cancel()
        self._break(ClientError(Code.UNAVAILABLE, f"{self._target} asked to reconnect"))

    def _drain(self) -> None:
        if self._session.all_answered:
            self.drained()
        elif self.timer is None:
            self._connection.drain_later(self)

    def _break(self, error: ClientError) -> None:
        if not self._over:
            self._over = True
            self._connection.broke(self, error)


class UnaryCall:
    """One request and its response, over the stream interface."""

    def __init__(self, channel: Channel, method: str, request: bytes, target: str, metadata: Metadata) -> None:
        self.error: ClientError | None = None
        self.answer: bytes | None = None
        self.ended = False
        self._target = target
        stream = channel.open(SERVICE + method, self, metadata)
        stream.send(request)
        stream.finish()

    def on_message(self, message: bytes) -> None:
        """Hears the response."""
        self.answer = message

    def on_drain(self) -> None:
        """Nothing more is to be sent."""

    def on_half_close(self) -> None:
        """Hears nothing: only servers do."""

    def on_close(self, status: Status) -> None:
        """Hears how the call ended."""
        self.ended = True
        if status.code != Code.OK:
            self.error = status_error(status.code, status.details, self._target)
        elif self.answer is None:
            self.error = ClientError(Code.INTERNAL, f"{self._target} sent no response")


def call(
    loop: Loop, channel: Channel, method: str, request: bytes, target: str, metadata: Metadata, timeout_s: float
) -> bytes:
    """Makes a unary call and waits for its response. Raises ClientError."""
    pending = UnaryCall(channel, method, request, target, metadata)
    wait(loop, lambda: pending.ended, timeout_s, f"{target} did not answer {method}")
    if pending.error is not None:
        raise pending.error
    assert pending.answer is not None  # on_close saw to it
    return pending.answer


def wait(loop: Loop, done: Callable[[], bool], timeout_s: float | None, what: str) -> None:
    """Runs the loop until done() is true. Raises ClientError DEADLINE_EXCEEDED."""
    if not loop.run_until(done, timeout_s):
        raise ClientError(Code.DEADLINE_EXCEEDED, f"{what} within {timeout_s} s")
