"""The loop: one thread waits for a completion, handles it in place, and waits again.

With one queue (a process that only serves, or one channel) there is no other thread and no hand-over. Each further
queue gets a thread of its own while the loop runs, and a lock lets one handler run at a time.
"""

import heapq
import itertools
import threading
import time
from collections import deque
from collections.abc import Callable

from ringmill.transport.api import Accept, ClientTls, Limits
from ringmill.transport.cq.boundary import Event
from ringmill.transport.cq.client import CqChannel
from ringmill.transport.cq.interrupts import Interrupts
from ringmill.transport.cq.queues import ChannelQueue, ParkingQueue, Queue, ServerQueue
from ringmill.transport.cq.server import CqServer
from ringmill.transport.hearing import run_guarded


class CqTimer:
    """A callback that is yet to come."""

    __slots__ = ("callback",)

    def __init__(self, callback: Callable[[], None]) -> None:
        self.callback: Callable[[], None] | None = callback

    def cancel(self) -> None:
        """Forgets it; the entry itself goes when its time comes."""
        self.callback = None


class CqLoop:
    """Drives servers and channels over completion queues. Make them before `run`: the first needs no thread."""

    name = "cq"

    def __init__(self) -> None:
        self._turn = threading.RLock()
        self._in_turn = False
        self._ready: deque[Callable[[], None]] = deque()
        self._timers: list[tuple[float, int, CqTimer]] = []
        self._numbers = itertools.count()
        self._server_queue: ServerQueue | None = None
        self._queues: list[Queue] = []
        self._lead: Queue = ParkingQueue()
        self._lead_deadline: float | None = None
        self._followers: list[threading.Thread] = []
        self._running = False
        self._stopped = False
        self._done: Callable[[], bool] = self._is_stopped
        self._interrupts = Interrupts(lambda: self._lead.wake())

    def server(self, routes: dict[str, Accept], limits: Limits = Limits()) -> CqServer:
        """Makes a server of these methods, by full name; any other method answers UNIMPLEMENTED."""
        if self._server_queue is None:
            self._server_queue = ServerQueue()
            self._add(self._server_queue)
        return CqServer(self._server_queue, routes, limits, self.call_later)

    def channel(self, target: str, tls: ClientTls | None = None, limits: Limits = Limits()) -> CqChannel:
        """Makes a channel to host:port."""
        channel = CqChannel(target, tls, limits, self._closing)
        self._add(channel.queue)
        return channel

    def call_soon(self, callback: Callable[[], None]) -> None:
        """Runs a callback in turn with the handlers. May be called from any thread, also from a signal handler."""
        self._ready.append(callback)
        # A turn looks for callbacks after it has cleared this flag: either it sees ours, or we see the flag clear.
        if not self._in_turn:
            self._lead.wake()

    def call_later(self, delay_s: float, callback: Callable[[], None]) -> CqTimer:
        """Runs a callback once, after a delay; some milliseconds late at most while the loop is idle."""
        timer = CqTimer(callback)
        when = time.monotonic() + delay_s
        heapq.heappush(self._timers, (when, next(self._numbers), timer))
        if self._running and (self._lead_deadline is None or when < self._lead_deadline):
            self._lead.wake()
        return timer

    def run(self) -> None:
        """Runs until `stop`, in this thread."""
        self._stopped = False
        self._run(self._is_stopped, None)

    def run_until(self, done: Callable[[], bool], timeout_s: float | None = None) -> bool:
        """Runs in this thread until done() is true; False when the time-out came first."""
        limit = None if timeout_s is None else time.monotonic() + timeout_s
        return done() or self._run(done, limit)

    def stop(self) -> None:
        """Makes `run` return once the current handler has."""
        self._stopped = True
        self.call_soon(_nothing)

    def _is_stopped(self) -> bool:
        return self._stopped

    def _run(self, done: Callable[[], bool], limit: float | None) -> bool:
        """Leads on the first queue, with a thread for each further one."""
        if self._running:
            raise RuntimeError("the loop runs already: handlers and other threads may not run it")
        self._running = True
        self._done = done
        self._queues = [queue for queue in self._queues if not queue.closed]
        if self._queues:
            self._lead = self._queues[0]
        try:
            self._interrupts.begin()
            for queue in self._queues[1:]:
                self._follow(queue)
            return self._drive_lead(done, limit)
        finally:
            self._running = False
            self._in_turn = False
            self._dismiss()
            self._interrupts.end()

    def _drive_lead(self, done: Callable[[], bool], limit: float | None) -> bool:
        """Waits and handles until done, waking in time for the timers."""
        self._take_turn(None)
        while not done():
            if limit is not None and time.monotonic() >= limit:
                return False
            # A timer set from here on, by a follower's handler, finds this deadline and wakes the lead.
            self._lead_deadline = limit
            if self._timers:
                self._lead_deadline = self._next_deadline(limit)
            event = self._lead.poll(self._lead_deadline)
            self._lead_deadline = 0.0
            if event is None and self._lead.closed:
                self._lead = ParkingQueue()
            self._take_turn(event)
            self._interrupts.deliver()
            # An event may hold the last reference to a call, which keeps its server from shutting down.
            event = None
        return True

    def _next_deadline(self, limit: float | None) -> float | None:
        """When the lead must wake up by itself."""
        with self._turn:
            if not self._timers:
                return limit
            when = self._timers[0][0]
        return when if limit is None else min(when, limit)

    def _take_turn(self, event: Event | None) -> None:
        """Handles one completion, then the callbacks that have become due."""
        with self._turn:
            self._in_turn = True
            if event is not None:
                event.tag(event)  # type: ignore[misc]  # an event without a tag never leaves its queue
            if self._timers:
                self._run_timers()
            self._in_turn = False
            while self._ready:
                self._in_turn = True
                run_guarded(self._ready.popleft())
                self._in_turn = False

    def _run_timers(self) -> None:
        now = time.monotonic()
        while self._timers and self._timers[0][0] <= now:
            timer = heapq.heappop(self._timers)[2]
            if timer.callback is not None:
                run_guarded(timer.callback)

    def _add(self, queue: Queue) -> None:
        self._queues.append(queue)
        if self._running:
            self._follow(queue)

    def _closing(self, queue: ChannelQueue) -> None:
        """Sees to it that a queue whose channel was closed is polled until its calls have ended."""
        if self._running:
            queue.wake()
        else:
            self.run_until(lambda: queue.closed)

    def _follow(self, queue: Queue) -> None:
        thread = threading.Thread(target=self._drive_follower, args=(queue,), name="ringmill-transport", daemon=True)
        self._followers.append(thread)
        thread.start()

    def _drive_follower(self, queue: Queue) -> None:
        """Waits on one more queue and handles its completions in turn with the others."""
        while self._running and not queue.closed:
            event = queue.poll(None)
            self._take_turn(event)
            event = None
            if self._running and self._done():
                self._lead.wake()

    def _dismiss(self) -> None:
        """Ends the followers' threads; what comes meanwhile on their queues waits there for the next run."""
        for queue in self._queues:
            if queue is not self._lead:
                queue.wake()
        for thread in self._followers:
            thread.join()
        self._followers.clear()


def _nothing() -> None:
    """Wakes the loop and no more."""
