"""Where a thread waits for the next completion: a server's queue, a channel's queue, or none yet.

All three take a deadline and can be woken from another thread or a signal handler. gRPC gives neither to a channel's
queue, nor a wake-up to a server's; each class says how it gets them.
"""

import contextlib
import functools
import queue
import time
from typing import Any, Protocol

from ringmill.core.errors import Code
from ringmill.transport.cq import boundary
from ringmill.transport.cq.boundary import ClientCall, Event, ServerCall

_SLICE_S = 0.01
"""How long a server's queue waits at most while nothing can wake it: until the first call."""


class Queue(Protocol):
    """A source of completions that one thread at a time waits on."""

    closed: bool
    """Whether nothing will ever come again."""

    def poll(self, deadline: float | None) -> Event | None:
        """Waits for a completion until a time of time.monotonic(); None when there was none by then."""

    def wake(self) -> None:
        """Makes a waiting or the next poll return at once. From any thread or signal handler; takes no lock."""


class ServerQueue:
    """Completions of all servers of a loop: they share one queue, so that one thread serves them all."""

    def __init__(self) -> None:
        self.core: Any = boundary.CompletionQueue()
        self.closed = False
        self._waker: ServerCall | None = None
        self._waker_server: object = None

    def poll(self, deadline: float | None) -> Event | None:
        """Waits; the queue takes deadlines itself."""
        if deadline is not None:
            deadline += time.time() - time.monotonic()
        if self._waker is None:
            soon = time.time() + _SLICE_S
            deadline = soon if deadline is None else min(deadline, soon)
        event: Event = self.core.poll(deadline)
        return None if event.tag is None else event

    def wake(self) -> None:
        """Completes an empty batch, on a call kept for this; it works on a finished call too."""
        waker = self._waker
        if waker is not None:
            waker.start_server_batch(boundary.NO_OPERATIONS, _ignore)

    def adopt(self, server: object, call: ServerCall) -> None:
        """Keeps a server's call to wake the queue with, where there is none yet."""
        if self._waker is None:
            self._waker_server = server
            self._waker = call

    def release(self, server: object) -> None:
        """Lets go of the call if it is this server's: a call that is held keeps its server from shutting down."""
        if self._waker_server is server:
            self._waker = None
            self._waker_server = None


class ChannelQueue:
    """Completions of a channel's calls."""

    def __init__(self, channel: Any) -> None:
        self.core = channel
        self.calls: set[ClientCall] = set()
        """Calls that have not ended."""
        self.closing = False
        self.closed = False
        self._waker: ClientCall = boundary.start_alarm(channel, None, _ignore)
        self._alarm: ClientCall | None = None
        self._alarm_at = 0.0
        self._alarms = 0

    def poll(self, deadline: float | None) -> Event | None:
        """Waits; a call that is never sent makes the deadline, through its own. The last poll closes the channel."""
        if self.closing and not self.calls:
            self._close()
            return None
        if deadline is not None:
            self._arm(deadline)
        event: Event = self.core.next_call_event()
        return None if event.tag is None else event

    def wake(self) -> None:
        """Completes an empty batch on a call that is never sent."""
        if not self.closed:
            self._waker.operate(boundary.NO_OPERATIONS, _ignore)

    def _arm(self, deadline: float) -> None:
        """Sets the alarm unless one rings by then. One that rings too early costs an empty turn, and is set again."""
        if self._alarm is not None:
            if self._alarm_at <= deadline:
                return
            self._alarm.cancel(Code.CANCELLED, "")
        self._alarms += 1
        delay_s = max(0.0, deadline - time.monotonic())
        self._alarm = boundary.start_alarm(self.core, delay_s, functools.partial(self._rang, self._alarms))
        self._alarm_at = deadline

    def _rang(self, alarm: int, _event: Event) -> None:
        if alarm == self._alarms:
            self._alarm = None

    def _close(self) -> None:
        """Cancels the alarms and lets the connection go. Only the thread that polls may: nobody else then waits."""
        boundary.close_channel(self.core)
        self.closed = True


class ParkingQueue:
    """Where a loop without servers and channels waits for timers and wake-ups."""

    def __init__(self) -> None:
        self.closed = False
        self._wakes: queue.SimpleQueue[None] = queue.SimpleQueue()

    def poll(self, deadline: float | None) -> None:
        """Waits; nothing ever completes here."""
        timeout = None if deadline is None else max(0.0, deadline - time.monotonic())
        with contextlib.suppress(queue.Empty):
            self._wakes.get(timeout=timeout)

    def wake(self) -> None:
        """Puts a token; SimpleQueue allows it inside a signal handler."""
        self._wakes.put(None)


def _ignore(_event: Event) -> None:
    """Tag of an operation whose completion says nothing new."""
