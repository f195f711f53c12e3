"""A balancer process as clients and workers meet it: real gRPC, workers made of the official library."""

import json
import queue
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from ringmill.core.hashing import partition_of
from ringmill.core.view import View, view_from_proto
from ringmill.internal.v1.link_pb2 import Heartbeat, JoinRequest, JoinResponse, PartResult, Registration
from ringmill.internal.v1.link_pb2_grpc import LinkServiceStub
from ringmill.v1.admin_pb2 import ListWorkersRequest
from ringmill.v1.admin_pb2_grpc import AdminServiceStub
from ringmill.v1.processing_pb2 import (
    DescribePipelineRequest,
    DescribePipelineResponse,
    Event,
    Outcome,
    ProcessBatchRequest,
    ProcessRequest,
    ProcessResponse,
    QueryRequest,
)
from ringmill.v1.processing_pb2_grpc import ProcessingServiceStub

START = """
import sys
from ringmill.balancer.config import BalancerConfig
from ringmill.balancer.main import run
sys.exit(run(BalancerConfig("127.0.0.1:0", "127.0.0.1:0", expected_workers=2, transport=sys.argv[1])))
"""
DEADLINE_S = 30.0


class SmallWorker:
    """Joins over grpcio's own synchronous stack, and answers each event with its time."""

    def __init__(self, link: str, name: str, incarnation: int = 1, digest: str = "d") -> None:
        self.name = name
        self.view: View | None = None
        self.seen = threading.Condition()
        self.answering = threading.Event()
        self.answering.set()
        self.error: grpc.RpcError | None = None
        self._say: queue.SimpleQueue[JoinRequest | None] = queue.SimpleQueue()
        described = DescribePipelineResponse(version="1.2.3", digest=digest)
        self._say.put(
            JoinRequest(
                registration=Registration(
                    name=name, incarnation=incarnation, pipelines=[described], pipeline_names=["p"], events_max=[100]
                ),
                heartbeat=Heartbeat(keys=3),
            )
        )
        self._channel = grpc.insecure_channel(link)
        self.call = LinkServiceStub(self._channel).Join(iter(self._say.get, None))
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def _listen(self) -> None:
        try:
            for frame in self.call:
                self._hear(frame)
        except grpc.RpcError as error:
            self.error = error
        with self.seen:
            self.seen.notify_all()

    def _hear(self, frame: JoinResponse) -> None:
        if frame.HasField("view"):
            with self.seen:
                self.view = view_from_proto(frame.view)
                self.seen.notify_all()
        for part in frame.parts:
            self.answering.wait(DEADLINE_S)
            asked = ProcessRequest.FromString(part.request)
            outcomes = [Outcome(values=[float(event.time_us)]) for event in asked.events]
            response = ProcessResponse(sequence=asked.sequence, outcomes=outcomes)
            self._say.put(JoinRequest(results=[PartResult(id=part.id, response=response.SerializeToString())]))

    def until(self, version: int) -> "SmallWorker":
        with self.seen:
            assert self.seen.wait_for(lambda: self.view is not None and self.view.version >= version, DEADLINE_S)
        return self

    def drain(self) -> None:
        self._say.put(JoinRequest(draining=True))
        self._thread.join(DEADLINE_S)

    def kill(self) -> None:
        self.answering.set()
        self.call.cancel()
        self._say.put(None)
        self._channel.close()


class Balancer:
    """A balancer process and what a test opened towards it."""

    def __init__(self, transport: str) -> None:
        self.process = subprocess.Popen([sys.executable, "-c", START, transport], stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self.ready = json.loads(self.process.stdout.readline())
        self.channel = grpc.insecure_channel(self.ready["address"])
        self.stub = ProcessingServiceStub(self.channel)
        self.workers: list[SmallWorker] = []

    def join(self, name: str, **others: Any) -> SmallWorker:
        worker = SmallWorker(self.ready["link"], name, **others)
        self.workers.append(worker)
        return worker

    def form(self) -> "Balancer":
        for name in ("a", "b"):
            self.join(name)
        for worker in self.workers:
            worker.until(1)
        return self

    def health(self) -> Any:
        stub = health_pb2_grpc.HealthStub(self.channel)
        return stub.Check(health_pb2.HealthCheckRequest(), timeout=DEADLINE_S).status

    def stop(self) -> int:
        for worker in self.workers:
            worker.kill()
        self.channel.close()
        self.process.send_signal(signal.SIGTERM)
        assert self.process.stdout is not None
        self.process.stdout.close()
        return self.process.wait(DEADLINE_S)


@pytest.fixture
def transport() -> str:
    return "cq"


@pytest.fixture
def balancer(transport: str) -> Iterator[Balancer]:
    made = Balancer(transport)
    try:
        yield made
        assert made.stop() == 0
    finally:
        made.process.kill()
        made.process.wait()


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


def batch(first: int, count: int = 20, **fields: Any) -> ProcessRequest:
    events = [Event(key=f"key-{number}", time_us=number) for number in range(first, first + count)]
    return ProcessRequest(pipeline="p", events=events, **fields)


def times(response: ProcessResponse) -> list[float]:
    return [outcome.values[0] if outcome.values else -outcome.rejection.reason for outcome in response.outcomes]


@pytest.mark.parametrize("transport", ["cq", "aio"])
def test_a_day_in_the_life_of_a_balancer(balancer: Balancer) -> None:
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
    listed = AdminServiceStub(balancer.channel).ListWorkers(ListWorkersRequest(), timeout=DEADLINE_S)
    assert [(worker.name, worker.state) for worker in listed.workers] == [("a", "serving"), ("b", "serving")]
    assert sum(worker.partitions for worker in listed.workers) == 1021

    view = balancer.workers[0].view
    assert view is not None
    balancer.workers[1].kill()
    balancer.workers[0].until(2)
    lost = [view.table[partition_of(f"key-{number}".encode())] == 1 for number in range(20)]
    assert times(talk.ask(batch(0))) == [-33 if gone else number for number, gone in enumerate(lost)]
    assert True in lost

    assert balancer.health() == health_pb2.HealthCheckResponse.SERVING, "one worker still answers"
    balancer.workers[0].kill()
    assert balancer.health() == health_pb2.HealthCheckResponse.NOT_SERVING, "nobody does"

    balancer.join("a", incarnation=2)
    balancer.join("b", incarnation=2).until(5)
    assert balancer.health() == health_pb2.HealthCheckResponse.SERVING
    assert times(talk.ask(batch(0))) == list(range(20))
    talk.say(None)
    assert list(talk.call) == []
    assert talk.call.code() == grpc.StatusCode.OK


def test_doubt_ends_the_stream(balancer: Balancer) -> None:
    balancer.form()
    balancer.workers[1].answering.clear()
    talk = Talk(balancer.stub)
    talk.say(batch(0))
    talk.say(batch(20))
    balancer.workers[0].until(1)
    threading.Timer(0.2, balancer.workers[1].kill).start()
    with pytest.raises(grpc.RpcError) as ended:
        next(talk.call)
    assert ended.value.code() == grpc.StatusCode.UNAVAILABLE
    assert "send the batch again" in ended.value.details()


def test_who_may_not_join_is_told_why(balancer: Balancer) -> None:
    balancer.form()
    for name, others, code in (
        ("b", {"incarnation": 7}, grpc.StatusCode.ALREADY_EXISTS),
        ("c", {}, grpc.StatusCode.FAILED_PRECONDITION),
    ):
        stranger = balancer.join(name, **others)
        with stranger.seen:
            assert stranger.seen.wait_for(lambda worker=stranger: worker.error is not None, DEADLINE_S)
        assert stranger.error is not None
        assert stranger.error.code() == code
    assert times(Talk(balancer.stub).ask(batch(0))) == list(range(20))


def test_a_draining_worker_is_let_go_when_it_owes_nothing(balancer: Balancer) -> None:
    balancer.form()
    first = balancer.workers[0]
    first.drain()
    assert first.error is None
    assert first.call.code() == grpc.StatusCode.OK
    response = Talk(balancer.stub).ask(batch(0))
    assert 0 < response.rejected < 20


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
    assert balancer.process.wait(DEADLINE_S) == 0


def test_a_taken_port_is_an_error() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        program = START.replace('"127.0.0.1:0", "127.0.0.1:0"', f'"{address}", "127.0.0.1:0"')
        done = subprocess.run([sys.executable, "-c", program, "cq"], capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "RingmillError" in done.stderr
    assert address in done.stderr
