"""Starts the processes of a benchmark, talks to them, and stops every one that it started."""

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Self

STOP_TIMEOUT_S = 10.0
LEAVE_S = 1.0
WHOLE_TIMEOUT_S = 60.0
PARENT_VARIABLE = "RINGMILL_PARENT_PID"
"""Tells our own processes to end when this one does, even if it is killed (ringmill.cli.process)."""


class ProcessFailedError(Exception):
    """A process of the benchmark ended or could not start; holds the end of what it wrote to stderr."""


class Process:
    """A child that writes lines of JSON. Use it as a context manager: it is gone afterwards."""

    def __init__(
        self, command: Sequence[str], environment: dict[str, str] | None = None, ends_with_stdin: bool = False
    ) -> None:
        """ends_with_stdin: it ends by itself when its stdin closes; else it is sent SIGTERM."""
        self._command = command
        self._ends_with_stdin = ends_with_stdin
        self._errors: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - closed in __exit__, with the process
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            env={**_environment(), **(environment or {})},
            # Ctrl-C goes to the benchmark alone, which then stops its children in order.
            process_group=0,
        )
        self.ready: dict[str, Any] = {}

    @property
    def pid(self) -> int:
        """Number of the process."""
        return self._process.pid

    def wait_ready(self) -> Self:
        """Waits for the line that says it is ready."""
        self.ready = self._read()
        return self

    def pin(self, core: int) -> None:
        """Keeps all threads of the process on one core."""
        for task in Path(f"/proc/{self.pid}/task").iterdir():
            with contextlib.suppress(ProcessLookupError):  # a thread may end meanwhile
                os.sched_setaffinity(int(task.name), {core})

    def do(self, command: str, **arguments: Any) -> dict[str, Any]:
        """Gives a command and waits for its answer."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"do": command, **arguments}) + "\n")
        self._process.stdin.flush()
        return self._read()

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            self._process.wait()
            raise ProcessFailedError(f"{' '.join(self._command[-3:])}: {self._last_errors()}")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def _last_errors(self) -> str:
        self._errors.seek(0)
        return self._errors.read().decode(errors="replace").strip()[-2000:]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Asks it to end, and makes it."""
        with contextlib.suppress(BrokenPipeError):
            assert self._process.stdin is not None
            self._process.stdin.close()
        if not self._ends_with_stdin:
            self._process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(LEAVE_S)
            self._process.terminate()  # asked twice, since nobody may be left to take what a worker holds
        try:
            self._process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()
        self._errors.close()


def _environment() -> dict[str, str]:
    """Ours, without what would choose gRPC's poller: each process chooses for itself."""
    environment = {name: value for name, value in os.environ.items() if name != "GRPC_EXPERIMENTS"}
    return {**environment, PARENT_VARIABLE: str(os.getpid()), "PYTHONUNBUFFERED": "1"}


def peer(name: str, *arguments: str) -> Process:
    """Starts a process of ringmill.loadtest.peers and waits until it is ready."""
    process = Process([sys.executable, "-m", "ringmill.loadtest.peers", name, *arguments], ends_with_stdin=True)
    try:
        return process.wait_ready()
    except BaseException:
        process.stop()
        raise


APP = Path(__file__).with_name("app.py")


def ringmill(*arguments: str, cache: Path | None = None) -> Process:
    """Starts a command of ringmill, without waiting."""
    environment = {} if cache is None else {"RINGMILL_CACHE_DIR": str(cache)}
    return Process([sys.executable, "-m", "ringmill.cli.main", *arguments], environment)


@dataclass(frozen=True, slots=True)
class Service:
    """Processes that serve Process streams together, in the order that a message meets them."""

    address: str
    hops: tuple[tuple[Process, ...], ...]


@contextlib.contextmanager
def peer_service(name: str) -> Iterator[Service]:
    """A server of ringmill.loadtest.peers."""
    with peer(name) as process:
        yield Service(process.ready["address"], ((process,),))


@contextlib.contextmanager
def lone_worker() -> Iterator[Service]:
    """A worker with its own port, and no balancer."""
    with ringmill("worker", str(APP), "--listen", "127.0.0.1:0") as worker:
        yield Service(worker.wait_ready().ready["address"], ((worker,),))


@contextlib.contextmanager
def cluster(workers: int, replicas: int = 1) -> Iterator[Service]:
    """A balancer and its workers, once all have joined and every partition has so many copies."""
    with contextlib.ExitStack() as stack:
        shape = ("--workers", str(workers), "--replicas", str(replicas))
        balancer = stack.enter_context(ringmill("balancer", "--listen", "127.0.0.1:0", "--link", "127.0.0.1:0", *shape))
        link = balancer.wait_ready().ready["link"]
        started = tuple(
            stack.enter_context(ringmill("worker", str(APP), "--join", link, "--name", f"worker-{number}"))
            for number in range(workers)
        )
        for worker in started:
            worker.wait_ready()
        _wait_whole(balancer.ready["address"])
        yield Service(balancer.ready["address"], ((balancer,), started))


def _wait_whole(address: str) -> None:
    """Waits until no partition is short of a copy. Raises ProcessFailedError."""
    import grpc

    from ringmill.v1 import admin_pb2, admin_pb2_grpc

    service: Any = admin_pb2_grpc.AdminServiceStub  # generated code has no types
    deadline_s = time.monotonic() + WHOLE_TIMEOUT_S
    with grpc.insecure_channel(address) as channel:
        while short := service(channel).ListWorkers(admin_pb2.ListWorkersRequest(), timeout=10).partitions_short:
            if time.monotonic() > deadline_s:
                raise ProcessFailedError(f"{short} partitions are short of a copy after {WHOLE_TIMEOUT_S:.0f} s")
            time.sleep(0.05)


def spread(*groups: Sequence[Process]) -> None:
    """Pins the processes along a message's way to one core each, in turn, so that every hop crosses cores.

    Left to the scheduler, a ping-pong runs on one core in one round and on two in the next, and takes 13 or 55 us.
    """
    cores = sorted(os.sched_getaffinity(0))
    for place, group in enumerate(groups):
        for process in group:
            process.pin(cores[place % len(cores)])
