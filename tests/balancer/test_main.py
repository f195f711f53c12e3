"""A balancer process as clients and workers meet it: real gRPC, workers made of the official library."""

import signal
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2

from ringmill.core.hashing import partition_of
from ringmill.v1.admin_pb2 import ListWorkersRequest
from ringmill.v1.processing_pb2 import DescribePipelineRequest, ProcessBatchRequest, QueryRequest
from tests.balancer.process import Balancer, Talk, batch, times, until
from tests.balancer.small_worker import DEADLINE_S

Start = Callable[..., Balancer]


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts balancers; those that still run in the end must end well."""
    made: list[Balancer] = []

    def one(**options: Any) -> Balancer:
        made.append(Balancer(**options))
        return made[-1]

    try:
        yield one
        for each in made:
            if each.process.poll() is None:
                assert each.stop() == 0, each.errors
    finally:
        for each in made:
            each.close()


@pytest.fixture
def balancer(start: Start) -> Balancer:
    return start()


@pytest.mark.parametrize("transport", ["cq", "aio"])
def test_a_day_in_the_life_of_a_balancer(start: Start, transport: str) -> None:
    balancer = start(transport=transport)
    early = Talk(balancer.stub)
    with pytest.raises(grpc.RpcError) as before:
        early.ask(batch(0))
    assert before.value.code() == grpc.StatusCode.UNAVAILABLE
    assert "waiting for workers: 0 of 2" in before.value.details()
    assert balancer.health() == health_pb2.HealthCheckResponse.NOT_SERVING

    balancer.form()
    assert balancer.health() == health_pb2.HealthCheckResponse.SERVING
    talk = Talk(balancer.stub)
    for sequence in (1, 2, 3):
        response = talk.ask(batch(100 * sequence, sequence=sequence))
        assert times(response) == list(range(100 * sequence, 100 * sequence + 20))
        assert response.sequence == sequence
        assert (response.stream.version == "1.2.3") == (sequence == 1)
    listed = balancer.admin.ListWorkers(ListWorkersRequest(), timeout=DEADLINE_S)
    assert [(worker.name, worker.state) for worker in listed.workers] == [("a", "serving"), ("b", "serving")]
    assert sum(worker.partitions for worker in listed.workers) == 1021

    view = balancer.workers[0].view
    assert view is not None
    balancer.workers[1].kill()
    balancer.workers[0].until(2)
    lost = [view.table[partition_of(f"key-{number}".encode())] == 1 for number in range(20)]
    assert times(talk.ask(batch(0))) == [-33 if gone else number for number, gone in enumerate(lost)]
    assert True in lost
    assert balancer.told("lost") == {"event": "lost", "worker": "b", "partitions": view.counts()[1]}

    assert balancer.health() == health_pb2.HealthCheckResponse.SERVING, "one worker still answers"
    balancer.workers[0].kill()
    until(lambda: balancer.health() == health_pb2.HealthCheckResponse.NOT_SERVING)  # nobody does

    balancer.join("a", incarnation=2)
    balancer.join("b", incarnation=2).until_it(lambda view: all(member.alive for member in view.members))
    assert balancer.health() == health_pb2.HealthCheckResponse.SERVING
    with pytest.raises(grpc.RpcError) as over:
        list(talk.call)
    assert over.value.code() == grpc.StatusCode.UNAVAILABLE
    assert "begin anew" in over.value.details()
    talk = Talk(balancer.stub)
    assert times(talk.ask(batch(0))) == list(range(20))
    talk.say(None)
    assert list(talk.call) == []
    assert talk.call.code() == grpc.StatusCode.OK


def test_another_copy_takes_over(start: Start) -> None:
    balancer = start(replicas=2, expected_workers=3, status_interval_s=0.05).form("a", "b", "c")
    talk = Talk(balancer.stub)
    assert times(talk.ask(batch(0))) == list(range(20))
    balancer.workers[1].kill()
    balancer.workers[0].until_it(lambda view: not view.members[1].alive)
    assert times(talk.ask(batch(0))) == list(range(20)), "nothing is refused"
    told = balancer.told("failover")
    assert (told["worker"], sorted(told["by"])) == ("b", ["a", "c"])
    assert balancer.told("whole")
    settled = {"workers": 2, "partitions_short": 0, "moving": 0}
    until(lambda: settled.items() <= balancer.told("status").items())  # not one from before
    status = balancer.told("status")
    assert (status["workers"], status["members"], status["copies_wanted"]) == (2, 3, 2)
    assert (status["partitions_short"], status["partitions_refused"], status["moving"]) == (0, 0, 0)


def test_a_silent_worker_is_taken_for_dead(start: Start) -> None:
    balancer = start(replicas=2).form()
    hung = balancer.workers[1]
    hung.hang()
    balancer.workers[0].until_it(lambda view: not view.members[1].alive)
    hung.until_over()
    assert times(Talk(balancer.stub).ask(batch(0))) == list(range(20))


def test_doubt_ends_the_stream(start: Start) -> None:
    balancer = start(limits={"settle_ms": 300}).form()
    balancer.workers[1].answering.clear()
    talk = Talk(balancer.stub)
    talk.say(batch(0))
    talk.say(batch(20))
    balancer.workers[0].until(1)
    threading.Timer(0.2, balancer.workers[1].kill).start()
    with pytest.raises(grpc.RpcError) as ended:
        next(talk.call)
    assert ended.value.code() == grpc.StatusCode.UNAVAILABLE


def test_who_may_not_join_is_told_why(balancer: Balancer) -> None:
    balancer.form()
    for name, others, code, why in (
        ("b", {"incarnation": 7}, grpc.StatusCode.UNAVAILABLE, "another process is worker b"),
        ("c", {"digest": "other"}, grpc.StatusCode.FAILED_PRECONDITION, "start all from the same app"),
        ("c", {"cluster": "other"}, grpc.StatusCode.FAILED_PRECONDITION, "start it anew to join this one"),
        ("c", {"platform": "vax"}, grpc.StatusCode.OK, ""),
    ):
        stranger = balancer.join(name, **others)
        if code == grpc.StatusCode.OK:
            stranger.until(1)
            continue
        stranger.until_over()
        assert stranger.error is not None
        assert stranger.error.code() == code
        assert why in stranger.error.details()
    assert times(Talk(balancer.stub).ask(batch(0))) == list(range(20))


def test_a_worker_that_leaves_hands_over_first(balancer: Balancer) -> None:
    balancer.form()
    talk = Talk(balancer.stub)
    assert times(talk.ask(batch(0))) == list(range(20))
    first = balancer.workers[0]
    first.drain()
    first.until_over()
    assert first.error is None
    assert first.call.code() == grpc.StatusCode.OK
    balancer.workers[1].until_it(lambda view: [member.name for member in view.members] == ["b"])
    assert times(talk.ask(batch(0))) == list(range(20))


def test_single_requests(balancer: Balancer) -> None:
    balancer.form()
    asked = ProcessBatchRequest.FromString(batch(5, sequence=9).SerializeToString())
    answered = balancer.stub.ProcessBatch(asked, timeout=DEADLINE_S)
    assert answered.sequence == 9
    assert [outcome.values[0] for outcome in answered.outcomes] == list(range(5, 25))
    assert answered.stream.version == "1.2.3"
    assert balancer.stub.DescribePipeline(DescribePipelineRequest(pipeline="p"), timeout=DEADLINE_S).digest == "d"
    for call, code in (
        (lambda: balancer.stub.DescribePipeline(DescribePipelineRequest(pipeline="q")), grpc.StatusCode.NOT_FOUND),
        (lambda: balancer.stub.ProcessBatch(ProcessBatchRequest()), grpc.StatusCode.INVALID_ARGUMENT),
        (lambda: balancer.stub.Query(QueryRequest()), grpc.StatusCode.UNIMPLEMENTED),
    ):
        with pytest.raises(grpc.RpcError) as refused:
            call()
        assert refused.value.code() == code


def test_sigterm_answers_what_is_in_flight(balancer: Balancer) -> None:
    balancer.form()
    for worker in balancer.workers:
        worker.answering.clear()
    talk = Talk(balancer.stub)
    talk.say(batch(0))
    threading.Timer(0.2, balancer.process.send_signal, [signal.SIGTERM]).start()
    threading.Timer(0.5, lambda: [worker.answering.set() for worker in balancer.workers]).start()
    assert times(next(talk.call)) == list(range(20))
    with pytest.raises(grpc.RpcError) as ended:
        next(talk.call)
    assert ended.value.code() == grpc.StatusCode.UNAVAILABLE
    assert balancer.wait() == 0


def test_a_balancer_that_is_started_again_goes_on_with_its_cluster(start: Start, tmp_path: Path) -> None:
    first = start(replicas=2, state_dir=str(tmp_path)).form()
    view = first.workers[0].view
    assert view is not None
    first.process.kill()
    first.wait()
    for worker in first.workers:
        worker.until_over()

    second = start(replicas=2, state_dir=str(tmp_path))
    for worker in first.workers:
        again = second.join(
            worker.name, incarnation=worker.incarnation, cluster=view.cluster, view_version=view.version
        )
        again.until(view.version)
    after = second.workers[0].view
    assert after is not None
    assert after.cluster == view.cluster
    assert after.table.tolist() == view.table.tolist()
    assert after.epochs.tolist() == view.epochs.tolist()
    assert times(Talk(second.stub).ask(batch(0))) == list(range(20))


def test_who_has_died_meanwhile_is_found_at_once(start: Start, tmp_path: Path) -> None:
    first = start(replicas=2, state_dir=str(tmp_path)).form()
    view = first.workers[0].view
    assert view is not None
    first.process.kill()
    first.wait()
    first.workers[1].kill()
    second = start(replicas=2, state_dir=str(tmp_path))
    alive = second.join("a", cluster=view.cluster, view_version=view.version)
    alive.until_it(lambda view: not view.members[1].alive)
    assert alive.view is not None
    assert alive.view.counts() == [1021, 0]


def test_two_balancers_do_not_share_a_state(start: Start, tmp_path: Path) -> None:
    start(state_dir=str(tmp_path))
    with pytest.raises(AssertionError, match="another balancer keeps its state in"):
        Balancer(state_dir=str(tmp_path))


def test_a_balancer_with_an_old_state_ends(start: Start, tmp_path: Path) -> None:
    first = start(replicas=2, state_dir=str(tmp_path)).form()
    view = first.workers[0].view
    assert view is not None
    first.process.kill()
    first.wait()
    second = start(replicas=2, state_dir=str(tmp_path))
    second.join("a", cluster=view.cluster, view_version=view.version + 7)
    assert second.wait() == 1
    assert "it is an old copy" in second.errors.splitlines()[-1]


def test_without_a_state_the_cluster_ends_with_its_balancer(start: Start) -> None:
    first = start().form()
    view = first.workers[0].view
    assert view is not None
    second = start()
    stranger = second.join("a", cluster=view.cluster, view_version=view.version).until_over()
    assert stranger.error is not None
    assert stranger.error.code() == grpc.StatusCode.FAILED_PRECONDITION


def test_a_state_that_cannot_be_kept(start: Start, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(AssertionError, match="no state can be kept in"):
        Balancer(state_dir=str(tmp_path / "file" / "state"))


def test_a_taken_port_is_an_error() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(AssertionError, match=address):
            Balancer(listen=address)
