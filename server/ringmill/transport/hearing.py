"""How both implementations treat a handler: nobody to hear, and one that fails."""

import logging
from collections.abc import Callable

from ringmill.core.errors import Code, RingmillError
from ringmill.transport.api import Status, Stream, StreamHandler

_LOG = logging.getLogger(__name__)


class _Unheard:
    """The handler of a stream that has none: before it is accepted, and after its end."""

    def on_message(self, message: bytes) -> None:
        """Ignores it."""

    def on_half_close(self) -> None:
        """Ignores it."""

    def on_drain(self) -> None:
        """Ignores it."""

    def on_close(self, status: Status) -> None:
        """Ignores it."""


UNHEARD: StreamHandler = _Unheard()


def unimplemented(stream: Stream) -> StreamHandler:
    """Accepts a method that the server does not have: its failure is the answer."""
    raise RingmillError(Code.UNIMPLEMENTED, f"no such method: {stream.method}")


def failure(error: Exception, method: str, peer: str) -> Status:
    """What a handler's failure says to the peer. A RingmillError is an answer; anything else is logged."""
    if isinstance(error, RingmillError):
        return Status(error.code, error.message)
    _LOG.error("the handler of %s from %s failed", method, peer, exc_info=error)
    return Status(Code.INTERNAL, f"the handler failed: {type(error).__name__}")


def run_guarded(callback: Callable[[], None]) -> None:
    """Runs a loop's callback; what it raises is logged, since the loop goes on."""
    try:
        callback()
    except Exception:
        _LOG.exception("a callback of the transport loop failed")


def close_heard(handler: StreamHandler, status: Status, method: str) -> None:
    """Tells a handler the end of its stream; there is nobody left to answer if it fails."""
    try:
        handler.on_close(status)
    except Exception:
        _LOG.exception("the end of a call of %s could not be handled", method)
