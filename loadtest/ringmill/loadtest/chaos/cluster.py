"""A cluster of real processes that may be killed at any moment: it is their supervisor, and knows their process ids.

Like `ringmill up` it starts again what died and starts what the balancer wants; unlike it, it never slows down for a
process that keeps dying, because here that is the point.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import grpc

from ringmill.loadtest.processes import PARENT_VARIABLE, ProcessFailedError
from ringmill.v1 import admin_pb2, processing_pb2
from ringmill.v1.admin_pb2_grpc import AdminServiceStub
from ringmill.v1.processing_pb2_grpc import ProcessingServiceStub

APP = Path(__file__).with_name("app.py")
BALANCER = "balancer"
START_S = 300.0
"""How long processes may take to become ready; a cold compile takes tens of seconds."""
WHOLE_S = 60.0
LEAVE_S = 1.5
STOP_S = 10.0
_POLL_S = 0.01
_CALL_S = 2.0
_QUICK_RECONNECT = [("grpc.initial_reconnect_backoff_ms", 20), ("grpc.max_reconnect_backoff_ms", 100)]


_admin: Any = AdminServiceStub  # generated code has no types
_processing: Any = ProcessingServiceStub


@dataclass(frozen=True, slots=True)
class Shape:
    """What a cluster consists of."""

    workers: int = 4
    replicas: int = 2
    """Copies of each partition, the primary included."""
    app: Path = APP
    balancer_flags: tuple[str, ...] = ()
    worker_flags: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """More flags for the workers of these names; they come last, so that they override ours."""


class Node:
    """One process of the cluster, and what it says on standard output as lines of JSON."""

    def __init__(self, name: str, arguments: Sequence[str], log: Path) -> None:
        self.name = name
        self.ready: dict[str, Any] | None = None
        """What it said when it was ready."""
        self.status: dict[str, Any] = {}
        """Its last report of its counters."""
        self.wanted: list[str] | None = None
        """Names of the workers that it last said it wants."""
        self.is_doomed = False
        """Whether we have killed it ourselves."""
        self._process = subprocess.Popen(
            [sys.executable, "-m", "ringmill.cli.main", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | {PARENT_VARIABLE: str(os.getpid()), "PYTHONUNBUFFERED": "1"},
            process_group=0,
        )
        self._log = log
        self.pid = self._process.pid
        self._ears = [threading.Thread(target=ear, daemon=True) for ear in (self._listen, self._write_log)]
        for ear in self._ears:
            ear.start()

    def exit_status(self) -> int | None:
        """None while it runs."""
        return self._process.poll()

    def signal(self, number: int) -> None:
        """Sends a signal to this process alone."""
        self.is_doomed |= number in (signal.SIGKILL, signal.SIGTERM)
        self._process.send_signal(number)

    def leave(self, timeout_s: float) -> None:
        """Asks it to end, and asks again after a while: nobody may be left to take what a worker holds."""
        self.signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout_s)
            return
        self.signal(signal.SIGTERM)

    def wait(self, timeout_s: float) -> None:
        """Waits for its end, and makes it."""
        try:
            self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _listen(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as output:
            for line in output:
                with contextlib.suppress(ValueError):
                    self._hear(json.loads(line))

    def _write_log(self) -> None:
        """Keeps what it logs, each line with the time on the clock of the trials."""
        assert self._process.stderr is not None
        with self._process.stderr as errors, self._log.open("a", buffering=1) as log:
            for line in errors:
                log.write(f"{time.monotonic():.4f} {line}")

    def last_words(self) -> str:
        """The end of its log, once it has ended."""
        for ear in self._ears:
            ear.join(1)
        return " | ".join(self._log.read_text(errors="replace").strip().splitlines()[-3:])[-500:]

    def _hear(self, report: dict[str, Any]) -> None:
        event = report.get("event")
        if event == "ready":
            self.ready = report
        elif event == "status":
            self.status = report
        elif event == "want":
            self.wanted = list(report["workers"])


class ChaosCluster:
    """Starts the processes, restarts the dead from a thread of its own, and stops everything in the end."""

    def __init__(self, shape: Shape, folder: Path) -> None:
        """folder: for the logs of the processes and the balancer's state."""
        self.shape = shape
        self.address = ""
        """Where clients connect, host:port."""
        self.link = ""
        """Where workers join, host:port."""
        self.crashes: list[str] = []
        """Processes that ended with an error though nobody had killed them."""
        self.starts = 0
        """Processes that were started again."""
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._state = tempfile.mkdtemp(prefix="ringmill-chaos-")
        self._nodes: dict[str, Node] = {}
        self._wanted = {f"worker-{number}" for number in range(shape.workers)}
        self._lock = threading.RLock()
        self._stopping = False
        self._over = threading.Event()
        self._guard = threading.Thread(target=self._tend, daemon=True)
        self._channel: grpc.Channel | None = None

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Starts everything and waits until the workers serve."""
        compiled = [sys.executable, "-m", "ringmill.cli.main", "check", str(self.shape.app)]
        subprocess.run(compiled, check=True, capture_output=True)  # once, before workers that would each compile
        self._spawn(BALANCER)
        ready = self.until(lambda: self._nodes[BALANCER].ready, START_S, "the balancer is not ready")
        self.address, self.link = ready["address"], ready["link"]
        self._channel = grpc.insecure_channel(self.address, options=_QUICK_RECONNECT)
        for name in sorted(self._wanted):
            self._spawn(name)
        for name in sorted(self._wanted):
            self.until(lambda name=name: self._nodes[name].ready, START_S, f"{name} is not ready")
        self._guard.start()

    def stop(self) -> None:
        """Stops the balancer, then the workers; kills whoever does not leave."""
        with self._lock:
            self._stopping = True
        nodes = sorted(self._nodes.values(), key=lambda node: node.name != BALANCER)
        for node in nodes:
            if node.exit_status() is None:
                node.signal(signal.SIGCONT)
                node.leave(LEAVE_S)
        for node in nodes:
            node.wait(STOP_S)
        self._over.set()
        if self._channel is not None:
            self._channel.close()
        for path in sorted(Path(self._state).rglob("*"), reverse=True):
            path.unlink() if path.is_file() else path.rmdir()
        Path(self._state).rmdir()

    def pid(self, name: str) -> int:
        """Process id of a worker, or of the balancer."""
        with self._lock:
            return self._nodes[name].pid

    @property
    def workers(self) -> list[str]:
        """Names of the workers that are to run, sorted."""
        with self._lock:
            return sorted(self._wanted)

    @property
    def status(self) -> dict[str, Any]:
        """The balancer's last report of its counters."""
        with self._lock:
            return self._nodes[BALANCER].status

    def signal(self, name: str, number: int) -> None:
        """Sends a signal to a process; what it ends is started again."""
        with self._lock:
            self._nodes[name].signal(number)

    def list_workers(self) -> admin_pb2.ListWorkersResponse | None:
        """What the balancer says of the workers; None if it does not answer."""
        with contextlib.suppress(grpc.RpcError):
            found: admin_pb2.ListWorkersResponse = _admin(self._channel).ListWorkers(
                admin_pb2.ListWorkersRequest(), timeout=_CALL_S
            )
            return found
        return None

    def locate(self, keys: Sequence[str]) -> list[str]:
        """The primary of each key, by name; empty where there is none. Raises ProcessFailedError."""
        stub = _processing(self._channel)
        try:
            answer = stub.Locate(processing_pb2.LocateRequest(keys=keys), timeout=_CALL_S)
        except grpc.RpcError as error:
            raise ProcessFailedError(f"Locate: {_told(error)}") from None
        return [location.primary for location in answer.locations]

    def move(self, **what: Any) -> Iterator[admin_pb2.MoveWorkersResponse]:
        """Scales, drains or restarts: arguments of MoveWorkersRequest. Yields progress; raises ProcessFailedError."""
        try:
            yield from _admin(self._channel).MoveWorkers(admin_pb2.MoveWorkersRequest(**what), timeout=START_S)
        except grpc.RpcError as error:
            raise ProcessFailedError(f"MoveWorkers: {_told(error)}") from None

    def is_whole(self) -> bool:
        """Whether every worker serves and every partition has all its copies."""
        found = self.list_workers()
        if found is None or found.partitions_short or found.partitions_refused:
            return False
        serving = {worker.name for worker in found.workers if worker.state == "serving" and not worker.learning}
        return serving == set(self.workers) and len(found.workers) == len(serving)

    def wait_whole(self, after: int = -1, timeout_s: float = WHOLE_S) -> float:
        """Waits until the cluster is whole and its view stays as it is; gives the seconds that it took.

        after: the view has to be a newer one than this. Raises ProcessFailedError, with what is missing.
        """
        began_s = time.monotonic()
        steady: tuple[int, float] | None = None
        while time.monotonic() - began_s < timeout_s:
            epoch = self.epoch() if self.is_whole() else None
            if epoch is None or epoch <= after:
                steady = None
            elif steady is None or steady[0] != epoch:
                steady = (epoch, time.monotonic())
            elif time.monotonic() - steady[1] > 5 * _POLL_S:
                return steady[1] - began_s
            time.sleep(_POLL_S)
        raise ProcessFailedError(f"not whole after {timeout_s:.0f} s: {self._told()}")

    def epoch(self) -> int | None:
        """Version of the view; None if the balancer does not answer."""
        found = self.list_workers()
        return None if found is None else found.epoch

    def until(self, done: Any, timeout_s: float, what: str) -> Any:
        """Waits until done() gives something true, and returns that. Raises ProcessFailedError."""
        deadline_s = time.monotonic() + timeout_s
        while not (found := done()):
            dead = [node for node in list(self._nodes.values()) if node.exit_status() and not node.is_doomed]
            if not self._guard.is_alive() and dead:
                raise ProcessFailedError(f"{dead[0].name} ended with {dead[0].exit_status()}: {dead[0].last_words()}")
            if time.monotonic() > deadline_s:
                raise ProcessFailedError(f"{what} after {timeout_s:.0f} s")
            time.sleep(_POLL_S)
        return found

    def _tend(self) -> None:
        # It ends last: the kernel kills a child with the thread that started it.
        while not self._over.wait(_POLL_S):
            with self._lock:
                if self._stopping:
                    continue
                wanted = self._nodes[BALANCER].wanted
                if wanted is not None:
                    self._wanted = set(wanted)
                for name in (BALANCER, *sorted(self._wanted | self._nodes.keys() - {BALANCER})):
                    self._look_after(name)

    def _look_after(self, name: str) -> None:
        node = self._nodes.get(name)
        status = None if node is None else node.exit_status()
        if node is not None and status is None:
            return
        if node is not None and status and not node.is_doomed:
            self.crashes.append(f"{name} ended with {status}: {node.last_words()}")
        if name in self._wanted or name == BALANCER:
            self.starts += 1
            self._spawn(name)
        else:
            del self._nodes[name]

    def _spawn(self, name: str) -> None:
        arguments = self._balancer_arguments() if name == BALANCER else self._worker_arguments(name)
        self._nodes[name] = Node(name, arguments, self._folder / f"{name}.log")

    def _balancer_arguments(self) -> list[str]:
        arguments = ["balancer", "--listen", self.address or "127.0.0.1:0", "--link", self.link or "127.0.0.1:0"]
        arguments += ["--workers", str(self.shape.workers), "--replicas", str(self.shape.replicas)]
        arguments += ["--state-dir", self._state, "--status-interval", "0.2"]
        return [*arguments, *self.shape.balancer_flags]

    def _worker_arguments(self, name: str) -> list[str]:
        arguments = ["worker", str(self.shape.app), "--join", self.link, "--name", name]
        return [*arguments, *self.shape.worker_flags.get(name, ())]

    def _told(self) -> str:
        found = self.list_workers()
        if found is None:
            return "the balancer does not answer"
        workers = ", ".join(
            f"{worker.name} {worker.state} ({worker.partitions} + {worker.copies} copies, {worker.learning} learning)"
            for worker in found.workers
        )
        return f"{found.partitions_short} partitions short, {found.partitions_refused} refused; {workers}"


def _told(error: grpc.RpcError) -> str:
    return f"{error.code().name}: {error.details()}" if isinstance(error, grpc.Call) else str(error)
