"""Virtual time: one queue of calls in the order of their times, and processes that crash, pause and have clocks."""

import heapq
import zlib
from collections import deque
from collections.abc import Callable
from random import Random
from typing import Any

MILLISECOND_NS = 1_000_000
SECOND_NS = 1_000_000_000
START_NS = 1_000 * SECOND_NS
"""Where time begins: late enough that clocks may be set back."""


class Violation(AssertionError):  # noqa: N818
    """Something that must never happen has happened."""


class Process:
    """What a machine runs under one name: it may die, and a new one may take its place."""

    prompt = False
    """Whether its writes may be over at once, without its being told: it does not wait to hear so."""

    def __init__(self, scheduler: "Scheduler", name: str) -> None:
        self.scheduler = scheduler
        self.name = name
        self.alive = False
        self.life = 0
        """Grows with each start: what was meant for an earlier one is never heard."""
        self.paused = False
        self.ahead_ns = 0
        """How far its clock is ahead of the world's."""
        self.backlog: deque[tuple[Callable[..., None], tuple[Any, ...], bool]] = deque()

    def clock(self) -> int:
        """Its own monotonic nanoseconds."""
        return self.scheduler.now_ns + self.ahead_ns

    def start(self) -> None:
        """A new life begins."""
        self.alive = True
        self.paused = False
        self.life += 1
        self.backlog.clear()

    def crash(self) -> None:
        """It is gone at once, with all that it had in memory."""
        self.alive = False
        self.paused = False
        self.life += 1
        self.backlog.clear()

    def pause(self) -> None:
        """It runs no more, as after SIGSTOP; what comes waits."""
        self.paused = True

    def thaw(self, timers_first: bool) -> None:
        """It goes on with all that waits: timers that fell due, and messages, either of them first."""
        self.paused = False
        waiting = list(self.backlog)
        self.backlog.clear()
        if timers_first:
            waiting.sort(key=lambda each: not each[2])
        for call, args, timer in waiting:
            self.scheduler.at(0, self, call, args, timer)


class Scheduler:
    """Runs calls in the order of their times; equal times in the order in which they were asked for."""

    def __init__(self, random: Random) -> None:
        self.now_ns = START_NS
        self.random = random
        self.steps = 0
        self.trace = 0
        """Digest of all that ran: equal for equal seeds."""
        self.after_step: Callable[[], None] = _nothing
        self._queue: list[tuple[int, int, Process | None, int, Callable[..., None], tuple[Any, ...], bool]] = []
        self._serial = 0

    def at(
        self,
        delay_ns: int,
        process: Process | None,
        call: Callable[..., None],
        args: tuple[Any, ...] = (),
        timer: bool = False,
    ) -> None:
        """Runs call(*args) after a delay, inside a process: not if it dies before, later if it is paused then."""
        self._serial += 1
        life = 0 if process is None else process.life
        heapq.heappush(self._queue, (self.now_ns + delay_ns, self._serial, process, life, call, args, timer))

    def within(self, process: Process, call: Callable[..., None], args: tuple[Any, ...]) -> None:
        """Runs call(*args) now, inside a process: later if it is paused. A part of a step, and looked at as one."""
        if process.paused:
            process.backlog.append((call, args, False))
        else:
            call(*args)
            self.after_step()

    def run(self, until_ns: int, done: Callable[[], bool]) -> bool:
        """Runs all calls up to a time, or until done() says so; tells whether it did."""
        queue = self._queue
        while queue and queue[0][0] <= until_ns:
            now_ns, serial, process, life, call, args, timer = heapq.heappop(queue)
            self.now_ns = now_ns
            if process is not None:
                if process.life != life:
                    continue
                if process.paused:
                    process.backlog.append((call, args, timer))
                    continue
            self.steps += 1
            self.trace = zlib.crc32(b"%d %d" % (now_ns, serial), self.trace)
            call(*args)
            self.after_step()
            if done():
                return True
        self.now_ns = max(self.now_ns, until_ns)
        return done()

    def note(self, data: bytes) -> None:
        """Adds bytes to the trace."""
        self.trace = zlib.crc32(data, self.trace)


def _nothing() -> None:
    """Nothing is to be checked."""
