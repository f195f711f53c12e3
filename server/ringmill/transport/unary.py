"""One request, one response: unary methods on the stream interface, from both sides."""

from collections.abc import Callable
from typing import TypeVar

from google.protobuf.message import DecodeError, Message

from ringmill.core.errors import Code, RingmillError
from ringmill.transport.api import Accept, Channel, Loop, Metadata, Status, Stream, StreamHandler

Request = TypeVar("Request", bound=Message)
Done = Callable[[Status, bytes], None]
"""Hears the end of a call: its status, and the response where that is OK (else empty)."""

QUESTION_BYTES_MAX = 1 << 18
"""A request is kept until its client half-closes, which it may never do: what only asks something is small."""


def unary(function: Callable[[bytes], bytes], bytes_max: int = QUESTION_BYTES_MAX) -> Accept:
    """Serves a function from request bytes to response bytes. A RingmillError that it raises is the call's status.

    bytes_max: a larger request is refused RESOURCE_EXHAUSTED.
    """

    def accept(stream: Stream) -> StreamHandler:
        return _Served(stream, function, bytes_max)

    return accept


def unary_message(request_type: type[Request], function: Callable[[Request], Message]) -> Accept:
    """Serves a function from message to message; a request that does not parse is answered INVALID_ARGUMENT."""

    def answer(data: bytes) -> bytes:
        return function(parse(request_type, data)).SerializeToString()

    return unary(answer)


def parse(message_type: type[Request], data: bytes) -> Request:
    """Parses a message; raises RingmillError INVALID_ARGUMENT with its name where that fails."""
    try:
        return message_type.FromString(data)
    except DecodeError as error:
        name = message_type.DESCRIPTOR.full_name
        raise RingmillError(Code.INVALID_ARGUMENT, f"the request is not a {name}: {error}") from error


def call_unary(
    channel: Channel,
    method: str,
    request: bytes,
    done: Done,
    metadata: Metadata = (),
    timeout_s: float | None = None,
) -> Stream:
    """Calls a unary method; `done` hears its end in turn with the handlers. The stream serves to cancel it."""
    stream = channel.open(method, _Calling(done), metadata, timeout_s)
    stream.send(request)
    stream.finish()
    return stream


def call_unary_blocking(
    loop: Loop,
    channel: Channel,
    method: str,
    request: bytes,
    metadata: Metadata = (),
    timeout_s: float | None = None,
) -> bytes:
    """Calls a unary method and runs the loop until its end. Raises RingmillError unless that is OK."""
    ends: list[tuple[Status, bytes]] = []
    call_unary(channel, method, request, lambda status, response: ends.append((status, response)), metadata, timeout_s)
    loop.run_until(lambda: bool(ends))
    status, response = ends[0]
    if status.code is not Code.OK:
        raise RingmillError(status.code, status.details)
    return response


class _Served:
    """Answers when the client has half-closed: only then is it sure that there was one request."""

    def __init__(self, stream: Stream, function: Callable[[bytes], bytes], bytes_max: int) -> None:
        self._stream = stream
        self._function = function
        self._bytes_max = bytes_max
        self._request: bytes | None = None

    def on_message(self, message: bytes) -> None:
        """Keeps the request."""
        if self._request is not None:
            raise RingmillError(Code.INVALID_ARGUMENT, f"{self._stream.method} takes one request, not several")
        if len(message) > self._bytes_max:
            raise RingmillError(
                Code.RESOURCE_EXHAUSTED,
                f"{len(message)} bytes in one request; {self._stream.method} takes {self._bytes_max}",
            )
        self._request = message

    def on_half_close(self) -> None:
        """Answers it."""
        if self._request is None:
            raise RingmillError(Code.INVALID_ARGUMENT, f"{self._stream.method} takes one request, and none came")
        self._stream.send(self._function(self._request))
        self._stream.finish()

    def on_drain(self) -> None:
        """Has nothing more to send."""

    def on_close(self, status: Status) -> None:
        """Has nothing to tidy."""


class _Calling:
    """Keeps the response until the status."""

    def __init__(self, done: Done) -> None:
        self._done = done
        self._responses: list[bytes] = []

    def on_message(self, message: bytes) -> None:
        """Keeps the response."""
        self._responses.append(message)

    def on_half_close(self) -> None:
        """Never comes on the client side."""

    def on_drain(self) -> None:
        """Has nothing more to send."""

    def on_close(self, status: Status) -> None:
        """Hands both on."""
        if status.code is not Code.OK:
            self._done(status, b"")
        elif len(self._responses) == 1:
            self._done(status, self._responses[0])
        else:
            self._done(Status(Code.INTERNAL, f"{len(self._responses)} responses to a unary call"), b"")
