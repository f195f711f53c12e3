"""A balancer process, what a test opened towards it, and a client's stream."""

import json
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from ringmill.v1.admin_pb2_grpc import AdminServiceStub
from ringmill.v1.processing_pb2 import Event, ProcessRequest, ProcessResponse
from ringmill.v1.processing_pb2_grpc import ProcessingServiceStub
from tests.balancer.small_worker import DEADLINE_S, SmallWorker

START = """
import json, sys
from pathlib import Path
from ringmill.balancer.config import BalancerConfig
from ringmill.balancer.limits import RouterLimits
from ringmill.balancer.main import run
from ringmill.core.errors import RingmillError
options = json.loads(sys.argv[1])
if "state_dir" in options:
    options["state_dir"] = Path(options["state_dir"])
options["limits"] = RouterLimits(**options.get("limits", {}))
try:
    sys.exit(run(BalancerConfig(**{"listen": "127.0.0.1:0", "link": "127.0.0.1:0", **options})))
except RingmillError as error:
    sys.exit(f"error: {error.code.name}: {error.message}")
"""


class Balancer:
    """One process. Options are those of BalancerConfig."""

    def __init__(self, transport: str = "cq", **options: Any) -> None:
        options = {"transport": transport, "expected_workers": 2} | options
        self.process = subprocess.Popen(
            [sys.executable, "-c", START, json.dumps(options)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, self.process.communicate()[1]
        self.ready = json.loads(line)
        self.channel = grpc.insecure_channel(self.ready["address"])
        self.stub = ProcessingServiceStub(self.channel)
        self.admin = AdminServiceStub(self.channel)
        self.workers: list[SmallWorker] = []
        self.news: list[dict[str, Any]] = []
        self.errors = ""
        self._readers = [threading.Thread(target=reader, daemon=True) for reader in (self._read, self._read_errors)]
        for reader in self._readers:
            reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.news.append(json.loads(line))

    def _read_errors(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.errors += line

    def join(self, name: str, **others: Any) -> SmallWorker:
        worker = SmallWorker(self.ready["link"], name, **others)
        self.workers.append(worker)
        return worker

    def form(self, *names: str) -> "Balancer":
        for name in names or ("a", "b"):
            self.join(name)
        for worker in self.workers:
            worker.until(1)
        return self

    def told(self, event: str) -> dict[str, Any]:
        """Waits for a line of this event."""
        found: list[dict[str, Any]] = []
        until(lambda: bool(found.extend(each for each in self.news if each["event"] == event) or found))
        return found[-1]

    def health(self) -> Any:
        stub = health_pb2_grpc.HealthStub(self.channel)
        return stub.Check(health_pb2.HealthCheckRequest(), timeout=DEADLINE_S).status

    def wait(self) -> int:
        """Waits for its end."""
        status = self.process.wait(DEADLINE_S)
        for reader in self._readers:
            reader.join(DEADLINE_S)
        return status

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        status = self.wait()
        self.close()
        return status

    def close(self) -> None:
        """Leaves nothing behind."""
        for worker in self.workers:
            worker.kill()
        self.channel.close()
        self.process.kill()
        self.process.wait()


class Talk:
    """A client's stream, one request at a time."""

    def __init__(self, stub: ProcessingServiceStub) -> None:
        self._say: queue.SimpleQueue[ProcessRequest | None] = queue.SimpleQueue()
        self.call = stub.Process(iter(self._say.get, None), timeout=DEADLINE_S)

    def say(self, request: ProcessRequest | None) -> None:
        self._say.put(request)

    def ask(self, request: ProcessRequest) -> ProcessResponse:
        self.say(request)
        return next(self.call)


def until(holds: Callable[[], bool]) -> None:
    """Waits until something is true."""
    deadline = time.monotonic() + DEADLINE_S
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def batch(first: int, count: int = 20, **fields: Any) -> ProcessRequest:
    events = [Event(key=f"key-{number}", time_us=number) for number in range(first, first + count)]
    return ProcessRequest(pipeline="p", events=events, **fields)


def times(response: ProcessResponse) -> list[float]:
    return [outcome.values[0] if outcome.values else -outcome.rejection.reason for outcome in response.outcomes]
