"""What a caller feels when the only copy dies or leaves, and what a process that cannot start says."""

import queue
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from ringmill.core.hashing import partition_of
from ringmill.core.maglev import maglev
from ringmill.v1.processing_pb2 import Event, ProcessRequest, ProcessResponse, RejectionReason
from ringmill.v1.processing_pb2_grpc import ProcessingServiceStub

NAMES = ("left", "right")
TABLE = maglev(dict.fromkeys(NAMES, 1))


def owned_by(name: str, prefix: str, count: int) -> list[str]:
    """Keys that placement gives to this worker: computed as any proxy would."""
    keys = (f"{prefix}-{n}" for n in range(10_000))
    return [key for key in keys if NAMES[TABLE[partition_of(key.encode())]] == name][:count]


class Conversation:
    """One open stream, a request and its response at a time."""

    def __init__(self, stub: ProcessingServiceStub) -> None:
        self._outbox: queue.SimpleQueue[ProcessRequest | None] = queue.SimpleQueue()
        self.responses: Iterator[ProcessResponse] = stub.Process(iter(self._outbox.get, None), timeout=60)

    def ask(self, *keys: str) -> ProcessResponse:
        events = [Event(key=key, time_us=1, values=[1.0]) for key in keys]
        self._outbox.put(ProcessRequest(pipeline="readings", events=events))
        return next(self.responses)

    def end(self) -> None:
        self._outbox.put(None)


@pytest.fixture(scope="module")
def cluster(app: Path, start: Any, start_cluster: Callable[..., Any]) -> Any:
    return start_cluster(NAMES, "--replicas", "1")


@pytest.fixture
def stub(cluster: Any) -> Iterator[ProcessingServiceStub]:
    with grpc.insecure_channel(cluster.address) as channel:
        yield ProcessingServiceStub(channel)


def reasons(response: ProcessResponse) -> list[int]:
    return [outcome.rejection.reason for outcome in response.outcomes]


def test_a_dead_worker_takes_only_its_own_keys_with_it(
    cluster: Any, stub: ProcessingServiceStub, app: Path, start: Any, eventually: Callable[..., bool]
) -> None:
    left, right = owned_by("left", "dead", 3), owned_by("right", "dead", 3)
    mixed = [left[0], right[0], left[1], right[1], left[2], right[2]]
    open_stream = Conversation(stub)
    assert reasons(open_stream.ask(*mixed)) == [0] * 6

    cluster.workers["left"].kill(signal.SIGKILL)
    gone = RejectionReason.REJECTION_REASON_UNAVAILABLE
    assert eventually(lambda: gone in reasons(open_stream.ask(*right, left[0])))
    got = open_stream.ask(*mixed)
    assert reasons(got) == [gone, 0, gone, 0, gone, 0], "the stream goes on, and the others' keys are served"
    assert got.rejected == 3
    assert got.outcomes[1].integers[0] > 1, "with the state they had"
    assert got.outcomes[0].rejection.detail

    cluster.workers["left"] = start("worker", str(app), "--join", cluster.link, "--name", "left")
    with pytest.raises(grpc.RpcError) as lost:
        eventually(lambda: reasons(open_stream.ask(left[0])) == [0])
    assert lost.value.code() == grpc.StatusCode.UNAVAILABLE
    assert "begin anew" in lost.value.details(), "who has sent something there is told that it is lost"
    again = Conversation(stub)
    assert reasons(again.ask(*mixed)) == [0] * 6
    again.end()


def test_what_was_handed_over_and_not_answered_is_in_doubt(
    cluster: Any, stub: ProcessingServiceStub, app: Path, start: Any, eventually: Callable[..., bool]
) -> None:
    """A frozen worker holds a batch; then it dies: the stream ends UNAVAILABLE, after all earlier responses."""
    key = owned_by("left", "doubt", 1)[0]
    talk = Conversation(stub)
    talk.ask(key)
    cluster.workers["left"].process.send_signal(signal.SIGSTOP)
    with pytest.raises(grpc.RpcError) as caught:
        talk.ask(key)
    assert caught.value.code() == grpc.StatusCode.UNAVAILABLE
    cluster.workers["left"].kill(signal.SIGKILL)
    cluster.workers["left"] = start("worker", str(app), "--join", cluster.link, "--name", "left")
    assert eventually(lambda: reasons(Conversation(stub).ask(key)) == [0])


def test_a_name_is_taken_once(cluster: Any, app: Path, stub: ProcessingServiceStub) -> None:
    """A second process of a name waits for the first one's death, and says so."""
    arguments = [sys.executable, "-m", "ringmill.cli.main", "worker", str(app), "--join", cluster.link]
    with subprocess.Popen([*arguments, "--name", "right"], stderr=subprocess.PIPE, text=True) as second:
        assert second.stderr is not None
        assert any("another process is worker right" in line for line in second.stderr)
        second.kill()
    assert reasons(Conversation(stub).ask(*owned_by("right", "taken", 2))) == [0, 0]


def test_another_program_is_refused(cluster: Any, tmp_path: Path, app: Path) -> None:
    """A worker whose kernels differ would compute something else: it cannot join under any name."""
    other = tmp_path / "other.py"
    other.write_text(app.read_text().replace("state.total += event.value", "state.total += 2 * event.value"))
    cluster.workers["left"].kill(signal.SIGTERM)
    joined = subprocess.run(
        [sys.executable, "-m", "ringmill.cli.main", "worker", str(other), "--join", cluster.link, "--name", "left"],
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert joined.returncode == 1
    assert "start all from the same app" in joined.stderr.splitlines()[-1]


def test_a_worker_told_to_stop_leaves_with_status_0(app: Path, start: Any) -> None:
    worker = start("worker", str(app), "--listen", "127.0.0.1:0")
    with grpc.insecure_channel(worker.ready["address"]) as channel:
        assert reasons(Conversation(ProcessingServiceStub(channel)).ask("k")) == [0]
    assert worker.kill(signal.SIGTERM) == 0


def test_a_balancer_told_to_stop_leaves_with_status_0(start: Any) -> None:
    assert start("balancer", "--listen", "127.0.0.1:0").kill(signal.SIGTERM) == 0


def test_the_number_of_partitions_must_agree(app: Path, start: Any) -> None:
    balancer = start("balancer", "--listen", "127.0.0.1:0", "--partitions", "101")
    arguments = [sys.executable, "-m", "ringmill.cli.main", "worker", str(app), "--join", balancer.ready["link"]]
    other = subprocess.run(arguments, capture_output=True, text=True, timeout=60)
    assert other.returncode == 1
    assert "same --partitions" in other.stderr.splitlines()[-1]
    start("worker", str(app), "--join", balancer.ready["link"], "--partitions", "101")
    with grpc.insecure_channel(balancer.ready["address"]) as channel:
        assert reasons(Conversation(ProcessingServiceStub(channel)).ask(*(f"key-{n}" for n in range(500)))) == [0] * 500


def test_a_taken_port_is_one_clear_line(app: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        for arguments in (("balancer", "--listen", address), ("worker", str(app), "--listen", address)):
            ended = subprocess.run(
                [sys.executable, "-m", "ringmill.cli.main", *arguments], capture_output=True, text=True, timeout=60
            )
            assert ended.returncode == 1
            assert address in ended.stderr.splitlines()[-1]
            assert "Traceback" not in ended.stderr
