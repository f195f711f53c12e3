"""A balancer and its workers as child processes, started in order, restarted when they die, and stopped together."""

import errno
import os
import shutil
import socket
import tempfile
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

from ringmill.cli.children import PROGRAM, Child, Ears, Line
from ringmill.cli.news import tell
from ringmill.cli.seat import Seat
from ringmill.core.errors import Code, RingmillError

BALANCER = "balancer"
ENVOY = "envoy"
BALANCER_FAILURES_MAX = 5
"""Starts in a row that a balancer may fail before the cluster is given up."""

LEAVE_S = 0.3
"""How long workers may take to leave by themselves once the balancer is gone."""

TotalLoss = Literal["refuse", "restart-empty"]


@dataclass(frozen=True, slots=True)
class ClusterConfig:
    """One machine's cluster."""

    app: Path
    """File whose pipelines are served."""
    workers: int = 2
    """How many to begin with; the balancer tells when others are wanted."""
    replicas: int | None = None
    """Copies of each partition, the primary included; None: 2 where there are so many workers."""
    min_in_sync: int = 1
    """Copies without which a partition takes no events."""
    on_total_loss: TotalLoss = "restart-empty"
    """What becomes of a partition whose copies are all gone."""
    state_dir: Path | None = None
    """Where the balancer keeps its views; None: in a temporary folder, which is removed at the end."""
    host: str = "127.0.0.1"
    port: int = 7400
    """Public port; 0: any free one."""
    envoy: bool = False
    """Whether clients come in through Envoy."""
    tls: Path | None = None
    """Envoy's certificate and key; None: clients come in without TLS."""
    client_ca: Path | None = None
    """What clients' certificates must come from; None: they need none."""
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

    @property
    def copies(self) -> int:
        """Copies of each partition."""
        return min(2, self.workers) if self.replicas is None else self.replicas

    def validate(self) -> Self:
        """Returns itself, or raises INVALID_ARGUMENT naming what to mend."""
        if (self.tls and not self.envoy) or (self.client_ca and not self.tls):
            raise RingmillError(Code.INVALID_ARGUMENT, "--tls is for --envoy, and --client-ca for --tls")
        if self.copies > self.workers:
            raise RingmillError(
                Code.INVALID_ARGUMENT,
                f"{self.copies} replicas need as many workers: say --workers {self.copies}, or fewer --replicas",
            )
        if self.min_in_sync > self.copies:
            raise RingmillError(
                Code.INVALID_ARGUMENT,
                f"--min-in-sync {self.min_in_sync} is more than the {self.copies} copies that there are to be",
            )
        return self


def pinned_cores(workers: int, cores: list[int]) -> list[int | None]:
    """A core for each worker, the first core left to the balancer; None for all where there are too few."""
    if len(cores) <= workers:
        return [None] * workers
    return list(cores[1 : workers + 1])


class Cluster:
    """Starts, watches and stops the processes. Call `step` often: it hears the children and restarts the dead."""

    def __init__(self, config: ClusterConfig) -> None:
        self.config = config.validate()
        self.address = ""
        """Where clients connect, host:port."""
        self.operators = ""
        """Where operators connect: the balancer's own port."""
        self.pipelines: list[dict[str, Any]] = []
        """What was compiled, as `ringmill check --json` reports it."""
        self.status: dict[str, Any] = {}
        """The balancer's last report of its counters."""
        self.stopping = False
        """Set it, from a signal handler too, to make `start` and loops around `step` return."""
        self._ears = Ears()
        self._balancer = Seat(BALANCER, self._spawn_balancer)
        self._envoy = [Seat(ENVOY, self._spawn_envoy)] if config.envoy else []
        self._compiler: Child | None = None
        names = [f"worker-{index}" for index in range(config.workers)]
        cores = pinned_cores(config.workers, sorted(os.sched_getaffinity(0)) if config.pin else [])
        self._cores = dict(zip(names, cores, strict=True))
        self._seats = {name: self._seat(name) for name in names}
        self._link = self._xds = self._edge = ""
        self._state_dir = config.state_dir

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def workers(self) -> list[Child]:
        """The workers that run."""
        return [seat.child for seat in self._seats.values() if seat.child is not None]

    @property
    def processes(self) -> list[Child]:
        """All that run: the balancer, the workers, and Envoy, if there is one."""
        seats = (self._balancer, *self._seats.values(), *self._envoy)
        return [seat.child for seat in seats if seat.child is not None]

    @property
    def wanted(self) -> int:
        """How many workers there are to be."""
        return sum(seat.wanted for seat in self._seats.values())

    def start(self) -> list[Line]:
        """Starts everything and waits until it is ready; returns what the children said.

        The pipelines are compiled once, while the balancer starts; the workers then load what was compiled. Raises
        RingmillError with a child's own last error when it ends before it was ready.
        """
        deadline_s = time.monotonic() + self.config.start_s
        if self.config.envoy:
            self._edge = f"{self.config.host}:{free_port(self.config.host, self.config.port)}"
        if self._state_dir is None:
            self._state_dir = Path(tempfile.mkdtemp(prefix="ringmill-"))
        balancer = self._balancer.start(time.monotonic())
        self._compiler = self._spawn("check", ["check", str(self.config.app), "--json"])
        heard = self._until([balancer, self._compiler], deadline_s)
        if balancer.ready is None:
            return heard
        self.pipelines = [line.report for line in heard if line.report.get("event") == "pipeline"]
        self.operators, self._link = balancer.ready["address"], balancer.ready["link"]
        self._xds = balancer.ready.get("xds", "")
        self.address = self._edge or self.operators
        seats = [*self._seats.values(), *self._envoy]
        return heard + self._until([seat.start(time.monotonic()) for seat in seats], deadline_s)

    def step(self, timeout_s: float) -> list[Line]:
        """Hears the children for at most this long, starts the dead again, and those that the balancer asks for.

        Raises RingmillError UNAVAILABLE when the balancer dies again and again: without it nothing can be served.
        """
        heard = self._listen(timeout_s)
        for seat in (self._balancer, *self._seats.values(), *self._envoy):
            heard += self._look_after(seat)
        self._seats = {name: seat for name, seat in self._seats.items() if not seat.is_over}
        if self._balancer.failures > BALANCER_FAILURES_MAX:
            raise RingmillError(Code.UNAVAILABLE, f"balancer: {self._balancer.last_error}")
        return heard

    def stop(self) -> None:
        """Stops the balancer, then the workers: so what clients have in flight is still answered."""
        deadline_s = time.monotonic() + self.config.stop_s
        front = [child for child in (self._compiler, self._balancer.child) if child is not None]
        self._end(front, deadline_s)
        edge = [seat.child for seat in self._envoy if seat.child is not None]
        self._end(edge, deadline_s)
        self._end(self.workers, min(time.monotonic() + LEAVE_S, deadline_s))
        self._end(self.workers, deadline_s)  # asked twice, since nobody is left to take what they hold
        for child in (*front, *edge, *self.workers):
            child.kill()
        self._ears.close()
        if self.config.state_dir is None and self._state_dir is not None:
            shutil.rmtree(self._state_dir, ignore_errors=True)

    def _end(self, children: list[Child], deadline_s: float) -> None:
        """Asks children to leave, and waits until they have or it is too late."""
        for child in children:
            child.terminate()
        while any(child.exit_status() is None for child in children) and time.monotonic() < deadline_s:
            self._listen(0.05)

    def _seat(self, name: str) -> Seat:
        return Seat(name, partial(self._spawn_worker, name))

    def _spawn_balancer(self) -> Child:
        """Starts a balancer: after the first one on the same two ports, so that clients and workers find it."""
        config = self.config
        public = "127.0.0.1:0" if config.envoy else f"{config.host}:{config.port}"
        arguments = [BALANCER, "--listen", self.operators or public]
        arguments += ["--link", self._link] if self._link else []
        if config.envoy:
            arguments += ["--xds-listen", self._xds or "127.0.0.1:0", "--edge", self._edge]
            arguments += ["--edge-tls", "none" if config.tls is None else "mutual" if config.client_ca else "server"]
        arguments += ["--transport", config.transport, "--workers", str(config.workers)]
        arguments += ["--replicas", str(config.copies), "--min-in-sync", str(config.min_in_sync)]
        arguments += ["--on-total-loss", config.on_total_loss, "--state-dir", str(self._state_dir)]
        return self._spawn(BALANCER, [*arguments, "--status-interval", str(config.status_interval_s)])

    def _spawn_envoy(self) -> Child:
        config = self.config
        arguments = [ENVOY, "run", "--xds", self._xds, "--drain-time", "0"]
        arguments += ["--tls", str(config.tls)] if config.tls else []
        arguments += ["--client-ca", str(config.client_ca)] if config.client_ca else []
        return self._spawn(ENVOY, arguments)

    def _spawn_worker(self, name: str) -> Child:
        arguments = ["worker", str(self.config.app), "--join", self._link, "--name", name]
        arguments += ["--transport", self.config.transport]
        core = self._cores.get(name)
        if core is not None:
            arguments += ["--cpu", str(core)]
        return self._spawn(name, arguments)

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
                        why = child.why(status)
                        raise RingmillError(
                            Code.FAILED_PRECONDITION, why if why == child.last_error else f"{child.name} {why}"
                        )
            if time.monotonic() > deadline_s:
                late = ", ".join(child.name for child in waiting)
                raise RingmillError(Code.DEADLINE_EXCEEDED, f"not ready after {self.config.start_s:.0f} s: {late}")
        return heard + self._listen(0.0)

    def _listen(self, timeout_s: float) -> list[Line]:
        heard: list[Line] = []
        for line in self._ears.listen(timeout_s):
            heard.append(line)
            if line.child == BALANCER and line.report:
                heard += self._heed(line.report)
        return heard

    def _heed(self, report: dict[str, Any]) -> list[Line]:
        """Takes what the balancer reports: its counters, the workers that it wants, and what happened."""
        event = report.get("event")
        if event == "status":
            self.status = report
        elif event == "want":
            self._want(report["workers"])
        text = tell(report)
        return [Line(BALANCER, text)] if text else []

    def _want(self, names: list[str]) -> None:
        """Makes a seat for each newcomer. Who is not wanted any more leaves by itself once it holds nothing."""
        for name in names:
            if name not in self._seats:
                self._seats[name] = self._seat(name)
        for name, seat in self._seats.items():
            seat.wanted = name in names

    def _look_after(self, seat: Seat) -> list[Line]:
        heard = self._listen(0.0) if seat.has_ended else []  # its last words
        text = "" if self.stopping else seat.check(time.monotonic())
        return [*heard, Line(seat.name, text)] if text else heard


def _is_ready(child: Child) -> bool:
    return child.ready is not None or child.exit_status() == 0


def free_port(host: str, port: int) -> int:
    """This port, or any if it is 0, that nobody listens on. Raises UNAVAILABLE if somebody does.

    So a port that is taken is told before anything is compiled. And Envoy must come back to the same one, so it cannot
    choose for itself; and it would share one with another Envoy.
    """
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as free:
        free.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            free.bind((host.strip("[]"), port))
            free.listen()
        except OSError as error:
            mend = "; --port 0 is any free one" if error.errno == errno.EADDRINUSE else ""
            raise RingmillError(Code.UNAVAILABLE, f"cannot listen on {host}:{port}: {error.strerror}{mend}") from None
        found: int = free.getsockname()[1]
        return found
