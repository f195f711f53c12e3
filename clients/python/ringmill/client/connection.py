"""One stream of a blocking client, on the transport's loop."""

from collections.abc import Callable

from ringmill.client.errors import ClientError, status_error
from ringmill.client.session import Feed, Session
from ringmill.core.errors import Code
from ringmill.transport.api import Channel, Loop, Metadata, Status, Stream

SERVICE = "/ringmill.v1.ProcessingService/"


class Connection:
    """Hands a session's messages to a stream and the stream's messages to the session."""

    def __init__(self, channel: Channel, session: Session, target: str, metadata: Metadata) -> None:
        self.session = session
        self.heard = 0
        """Messages that came: whoever waits sees that there is progress."""
        self.error: ClientError | None = None
        """Why the stream ended; None while it is open."""
        self._target = target
        self._stream: Stream = channel.open(f"{SERVICE}Process", self, metadata)
        self._stream.send(session.opening())

    def offer(self, feed: Feed) -> None:
        """Sends what the feed has as soon as the stream can take it."""
        self.session.offer(feed)
        self._send()

    def half_close(self) -> None:
        """Tells the server that nothing more comes; it then ends the stream."""
        self._stream.finish()

    def abandon(self, error: ClientError) -> None:
        """Breaks the stream off for a reason of our own."""
        self._end(error)
        self._stream.cancel()

    def _send(self) -> None:
        # One message at a time: what gathers during a write goes as the next message.
        if not self._stream.writing:
            message = self.session.take()
            if message is not None:
                self._stream.send(message)

    def on_message(self, message: bytes) -> None:
        """Hears a response."""
        self.heard += 1
        if self.error is not None:
            return
        try:
            self.session.receive(message)
        except ClientError as error:
            self.abandon(error)
        else:
            self._send()

    def on_drain(self) -> None:
        """Hears that the last write is done."""
        if self.error is None:
            self._send()

    def on_half_close(self) -> None:
        """Hears nothing: only servers do."""

    def on_close(self, status: Status) -> None:
        """Hears how the stream ended; a server that ends it by itself without an error has gone away."""
        if status.code == Code.OK:
            self._end(ClientError(Code.UNAVAILABLE, f"{self._target} ended the stream"))
        else:
            self._end(status_error(status.code, status.details, self._target))

    def _end(self, error: ClientError) -> None:
        if self.error is None:
            self.error = error
            self.session.end(error)


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
