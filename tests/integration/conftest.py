"""Real processes for the tests: a worker alone, and a balancer with two workers, on ports that the system gives."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import pytest

from ringmill.v1 import processing_pb2_grpc

APP = '''
"""Pipelines that the integration tests run."""
from ringmill.pipeline import Event, Label, Pipeline, State, label, operator, ops


class Reading(Event):
    value: float
    extra: float | None = None
    count: int = 1
    place: Label = label("")


class Total(State):
    seen: int = 0
    total: float = 0.0


@operator
def total(state: Total, event: Reading) -> float:
    if event.value == 666.0:
        raise ValueError("the number of the beast")
    state.seen += event.count
    state.total += event.value
    return state.total


class Place(State):
    last: Label = label("nowhere")


@operator
def where(state: Place, event: Reading) -> Label:
    """Where the key was before this event."""
    before = state.last
    state.last = event.place
    return before


readings = Pipeline(
    "readings",
    version="2.1.0",
    event=Reading,
    steps={
        "total": total(),
        "seen": ops.count(),
        "mean": ops.mean("value"),
        "z": ops.zscore("value"),
        "where": where(),
    },
)
'''


@dataclass
class Running:
    """A process of ours and what it said when it was ready."""

    process: subprocess.Popen[str]
    ready: dict[str, Any]

    def kill(self, number: int = signal.SIGKILL) -> int:
        self.process.send_signal(number)
        return self.process.wait(20)


@dataclass
class Site:
    """An address that serves the pipeline, and the processes behind it."""

    address: str
    workers: dict[str, Running] = field(default_factory=dict)
    link: str = ""


Start = Callable[..., Running]


@pytest.fixture(scope="session")
def app(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("app") / "app.py"
    path.write_text(APP)
    # Compiled once, before any worker: workers that start together would each compile it.
    subprocess.run([sys.executable, "-m", "ringmill.cli.main", "check", str(path)], check=True, capture_output=True)
    return path


@pytest.fixture(scope="session")
def start() -> Iterator[Start]:
    """Starts `ringmill ...` and by default waits until it is ready; ends what is left when the tests are done."""
    running: list[subprocess.Popen[str]] = []

    def run(*arguments: str, wait: bool = True) -> Running:
        process = subprocess.Popen(
            [sys.executable, "-m", "ringmill.cli.main", *arguments],
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"PYTHONUNBUFFERED": "1"},
        )
        running.append(process)
        if not wait:
            return Running(process, {})
        assert process.stdout is not None
        for line in process.stdout:
            said = json.loads(line)
            if said["event"] == "ready":
                return Running(process, said)
        raise AssertionError(f"ringmill {' '.join(arguments)} ended with {process.wait()} before it was ready")

    yield run
    for process in running:
        process.kill()
        process.wait()


@pytest.fixture(scope="session")
def alone(app: Path, start: Start) -> Site:
    """One worker that serves callers itself."""
    worker = start("worker", str(app), "--listen", "127.0.0.1:0")
    return Site(worker.ready["address"], {"worker-0": worker})


@pytest.fixture(scope="session")
def start_cluster(app: Path, start: Start) -> Callable[..., Site]:
    """Starts a balancer and workers of these names, and waits until all are ready."""

    def run(names: tuple[str, ...], *flags: str) -> Site:
        balancer = start("balancer", "--listen", "127.0.0.1:0", "--workers", str(len(names)), *flags)
        site = Site(balancer.ready["address"], link=balancer.ready["link"])
        for name in names:
            wait = name == names[-1]  # a worker is ready once all have joined
            site.workers[name] = start("worker", str(app), "--join", site.link, "--name", name, wait=wait)
        return site

    return run


@pytest.fixture(scope="session")
def balanced(start_cluster: Callable[..., Site]) -> Site:
    """A balancer and two workers."""
    return start_cluster(("worker-0", "worker-1"))


@pytest.fixture(params=["alone", "balanced"])
def site(request: pytest.FixtureRequest) -> Site:
    """Both ways to be served: what a caller sees must be the same."""
    found: Site = request.getfixturevalue(request.param)
    return found


@pytest.fixture
def stub(site: Site) -> Iterator[processing_pb2_grpc.ProcessingServiceStub]:
    """A client that Ringmill did not write: grpcio's own."""
    with grpc.insecure_channel(site.address) as channel:
        yield processing_pb2_grpc.ProcessingServiceStub(channel)


@pytest.fixture
def eventually() -> Callable[..., bool]:
    """Waits for something that other processes bring about."""

    def wait(check: Callable[[], bool], timeout_s: float = 20.0) -> bool:
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            if check():
                return True
            time.sleep(0.05)
        return check()

    return wait
