"""A balancer and its workers as child processes, started in order, restarted when they die, and stopped together."""

import os
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from ringmill.cli.children import PROGRAM, Child, Ears, Line, how_it_ended
from ringmill.core.errors import Code, RingmillError

RESTART_FIRST_S = 0.2
RESTART_MAX_S = 10.0
STEADY_S = 10.0
"""A worker that ran this long starts over with the shortest pause."""


@dataclass(frozen=True, slots=True)
class ClusterConfig:
    """One machine's cluster."""

    app: Path
    """File whose pipelines are served."""
    workers: int = 2
    host: str = "127.0.0.1"
    port: int = 7400
    """Public port; 0: any free one."""
    transport: str = "auto"
    """auto, cq or aio."""
    pin: bool = True
    """Give each worker a core of its own, where there are more cores than workers."""
    status_interval_s: float = 1.0
    """How often the balancer reports its counters."""
    start_s: float = 300.0
    """How long everything may take to become ready; a cold compile takes seconds."""
    stop_s: float = 10.0
    """How long children may drain before they are killed."""
    program: tuple[str, ...] = PROGRAM
    """What children run; tests put a stand-in here."""


def restart_pause_s(failures: int) -> float:
    """Pause before the next start after this many failures in a row (1: the first)."""
    return min(RESTART_FIRST_S * 2.0 ** (failures - 1), RESTART_MAX_S)


def pinned_cores(workers: int, cores: list[int]) -> list[int | None]:
    """A core for each worker, the first core left to the balancer; None for all where there are too few."""
    if len(cores) <= workers:
        return [None] * workers
    return list(cores[1 : workers + 1])


@dataclass(slots=True)
class _Seat:
    """A worker's place: its process, or the moment at which it is to be started again."""

    index: int
    child: Child | None = None
    started_s: float = 0.0
    start_at_s: float = 0.0
    failures: int = 0
    """In a row."""
    is_coming_back: bool = False
    """Started again, and not yet ready."""


class Cluster:
    """Starts, watches and stops the processes. Call `step` often: it hears the children and restarts the dead."""

    def __init__(self, config: ClusterConfig) -> None:
        self.config = config
        self.address = ""
        """Where clients connect, host:port."""
        self.pipelines: list[dict[str, Any]] = []
        """What was compiled, as `ringmill check --json` reports it."""
        self.status: dict[str, Any] = {}
        """The balancer's last report of its counters."""
        self.stopping = False
        """Set it, from a signal handler too, to make `start` and loops around `step` return."""
        self._ears = Ears()
        self._balancer: Child | None = None
        self._compiler: Child | None = None
        self._seats = [_Seat(index) for index in range(config.workers)]
        self._cores = pinned_cores(config.workers, sorted(os.sched_getaffinity(0)) if config.pin else [])
        self._link = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def workers(self) -> list[Child]:
        """The workers that run."""
        return [seat.child for seat in self._seats if seat.child is not None]

    def start(self) -> list[Line]:
        """Starts everything and waits until it is ready; returns what the children said.

        The pipelines are compiled once, while the balancer starts; the workers then load what was compiled. Raises
        RingmillError with a child's own last error when it ends before it was ready.
        """
        deadline_s = time.monotonic() + self.config.start_s
        self._balancer = self._spawn("balancer", self._balancer_arguments())
        self._compiler = self._spawn("check", ["check", str(self.config.app), "--json"])
        heard = self._until([self._balancer, self._compiler], deadline_s)
        if self._balancer.ready is None:
            return heard
        self.pipelines = [line.report for line in heard if line.report.get("event") == "pipeline"]
        self.address, self._link = self._balancer.ready["address"], self._balancer.ready["link"]
        return heard + self._until([self._start_worker(seat) for seat in self._seats], deadline_s)

    def step(self, timeout_s: float) -> list[Line]:
        """Hears the children for at most this long, and restarts workers that died.

        Raises RingmillError UNAVAILABLE when the balancer has died: without it nothing can be served.
        """
        heard = self._listen(timeout_s)
        if self._balancer is not None and (status := self._balancer.exit_status()) is not None:
            raise RingmillError(Code.UNAVAILABLE, f"balancer: {_why(self._balancer, status)}")
        for seat in self._seats:
            heard += self._look_after(seat)
        return heard

    def stop(self) -> None:
        """Stops the balancer, then the workers: so what clients have in flight is still answered."""
        deadline_s = time.monotonic() + self.config.stop_s
        front = [child for child in (self._compiler, self._balancer) if child is not None]
        for group in (front, self.workers):
            for child in group:
                child.terminate()
            while any(child.exit_status() is None for child in group) and time.monotonic() < deadline_s:
                self._listen(0.05)
        for child in (*front, *self.workers):
            child.kill()
        self._ears.close()

    def _balancer_arguments(self) -> list[str]:
        listen = f"{self.config.host}:{self.config.port}"
        arguments = ["balancer", "--listen", listen, "--transport", self.config.transport]
        arguments += ["--workers", str(self.config.workers)]
        return [*arguments, "--status-interval", str(self.config.status_interval_s)]

    def _start_worker(self, seat: _Seat) -> Child:
        core = self._cores[seat.index]
        arguments = ["worker", str(self.config.app), "--join", self._link, "--name", f"worker-{seat.index}"]
        arguments += ["--transport", self.config.transport]
        if core is not None:
            arguments += ["--cpu", str(core)]
        seat.child = self._spawn(f"worker-{seat.index}", arguments)
        seat.started_s = time.monotonic()
        return seat.child

    def _spawn(self, name: str, arguments: list[str]) -> Child:
        child = Child(name, arguments, self.config.program)
        self._ears.add(child)
        return child

    def _until(self, children: list[Child], deadline_s: float) -> list[Line]:
        """Waits until each child is ready, or has done what it was for."""
        heard: list[Line] = []
        while not self.stopping and (waiting := [child for child in children if not _is_ready(child)]):
            heard += self._listen(0.1)
            for child in waiting:
                status = child.exit_status()
                if status is not None:
                    heard += self._listen(0.0)  # its last words
                    if not _is_ready(child):
                        why = child.last_error or f"{child.name} {how_it_ended(status)}"
                        raise RingmillError(Code.FAILED_PRECONDITION, why)
            if time.monotonic() > deadline_s:
                late = ", ".join(child.name for child in waiting)
                raise RingmillError(Code.DEADLINE_EXCEEDED, f"not ready after {self.config.start_s:.0f} s: {late}")
        return heard + self._listen(0.0)

    def _listen(self, timeout_s: float) -> list[Line]:
        heard = self._ears.listen(timeout_s)
        for line in heard:
            if line.child == "balancer" and line.report.get("event") == "status":
                self.status = line.report
        return heard

    def _look_after(self, seat: _Seat) -> list[Line]:
        now_s = time.monotonic()
        if seat.child is None:
            if not self.stopping and now_s >= seat.start_at_s:
                self._start_worker(seat)
                seat.is_coming_back = True
            return []
        status = seat.child.exit_status()
        if status is None:
            return _welcome(seat)
        heard = self._listen(0.0)  # its last words
        seat.failures = 1 if now_s - seat.started_s > STEADY_S else seat.failures + 1
        pause_s = restart_pause_s(seat.failures)
        why = _why(seat.child, status)
        seat.child, seat.start_at_s = None, now_s + pause_s
        return [*heard, Line(f"worker-{seat.index}", f"{why}; starting it again in {pause_s:.1f} s")]


def _welcome(seat: _Seat) -> list[Line]:
    """Tells once that a worker is back."""
    if not seat.is_coming_back or seat.child is None or seat.child.ready is None:
        return []
    seat.is_coming_back = False
    return [Line(seat.child.name, f"is back, process {seat.child.pid}; its keys begin anew")]


def _is_ready(child: Child) -> bool:
    return child.ready is not None or child.exit_status() == 0


def _why(child: Child, status: int) -> str:
    """Why a child ended: its own last error, if it chose to end."""
    return child.last_error if child.last_error and status > 0 else how_it_ended(status)
