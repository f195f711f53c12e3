"""The worker's link to the balancer. The worker dials; the open stream is its registration."""

import logging
from collections.abc import Callable

from ringmill.core.errors import Code, RingmillError
from ringmill.server.adapters.outgoing import Outgoing
from ringmill.transport.api import Channel, Loop, Status, Stream

JOIN = "/ringmill.internal.v1.LinkService/Join"
_FATAL = frozenset({Code.FAILED_PRECONDITION, Code.INVALID_ARGUMENT, Code.ALREADY_EXISTS, Code.PERMISSION_DENIED})
_PATIENCE_S = 0.5
"""How often a leaving worker looks whether the balancer is gone."""

logger = logging.getLogger("ringmill.worker")


class Link:
    """Keeps the worker joined: dials, and dials again after a break."""

    def __init__(
        self,
        loop: Loop,
        channel: Channel,
        *,
        reconnect_s: float,
        up: Callable[[], None],
        heard: Callable[[bytes], None],
        down: Callable[[], None],
        held_alone: Callable[[], int],
        turn_away: Callable[[bool], None],
        on_let_go: Callable[[], None],
        on_fatal: Callable[[RingmillError], None],
    ) -> None:
        """up, heard, down: hear of each stream, its messages, and its end.

        held_alone: in how many partitions this worker has the only copy. turn_away: takes no records of primaries any
        more, so that none counts on what this worker is about to forget; or does again.

        on_let_go: the balancer needs the worker no more, or is gone while the worker wants to leave. on_fatal: the
        balancer refuses this worker for good.
        """
        self._loop = loop
        self._channel = channel
        self._reconnect_s = reconnect_s
        self._up = up
        self._heard = heard
        self._down = down
        self._held_alone = held_alone
        self._turn_away = turn_away
        self._on_let_go = on_let_go
        self._on_fatal = on_fatal
        self._stream: Stream | None = None
        self._outgoing: Outgoing | None = None
        self._answered = False
        """Whether the balancer has said anything on this stream: only then there is one."""
        self._over = False
        self._going = False
        """Whether primaries were turned away."""
        self._warned = False
        self._told = ""
        """The last break that was logged, so that an absent balancer is one line and not three a second."""

    def dial(self) -> None:
        """Opens the stream."""
        if self._over:
            return
        self._answered = False
        self._stream = stream = self._channel.open(JOIN, self)
        self._outgoing = Outgoing(stream)
        self._up()

    def leave(self) -> None:
        """The worker waits to be let go; without a balancer only for the sake of what would be lost."""
        self._loop.call_later(_PATIENCE_S, self._look)

    def add(self, chunk: bytes | memoryview) -> None:
        """Appends fields of a message; without a stream they are dropped."""
        if self._outgoing is not None:
            self._outgoing.add(chunk)

    def flush(self) -> None:
        """Sends what waits, if it may."""
        if self._outgoing is not None:
            self._outgoing.flush()

    def on_message(self, message: bytes) -> None:
        """Hands on what came."""
        self._told = ""
        self._answered = True
        if not self._over:
            self._heard(message)

    def on_drain(self) -> None:
        """Sends what has gathered."""
        self.flush()

    def on_half_close(self) -> None:
        """Never happens on the calling side."""

    def on_close(self, status: Status) -> None:
        """Dials again, unless the worker was let go or refused."""
        self._stream = self._outgoing = None
        if self._over:
            return
        self._down()
        if status.code == Code.OK:
            self._end()
        elif status.code in _FATAL:
            self._over = True
            self._on_fatal(RingmillError(status.code, f"the balancer refused this worker: {status.details}"))
        else:
            why = f"{status.code.name}: {status.details}"
            if why != self._told:
                logger.warning("no link to the balancer, dialling until there is one (%s)", why)
            self._told = why
            # A link that worked may have broken alone: dialled at once, nobody takes its worker for dead.
            self._loop.call_later(0.0 if self._answered else self._reconnect_s, self._dial_again)

    def _dial_again(self) -> None:
        if self._stream is None:
            self.dial()

    def _look(self) -> None:
        if self._over:
            return
        alone = self._held_alone()
        if alone and not self._warned:
            self._warned = True
            logger.warning(
                "%d partitions are nowhere else: leaving when another worker has them; a second signal does not wait",
                alone,
            )
        going = not alone and not (self._answered and self._stream is not None)
        if going and self._going:
            self._end()
            return
        if going != self._going:  # of two that copy each other, and were both told to end, one hears of the other
            self._going = going
            self._turn_away(going)
        self._loop.call_later(_PATIENCE_S, self._look)

    def _end(self) -> None:
        self._over = True
        self._on_let_go()
