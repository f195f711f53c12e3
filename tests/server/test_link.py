"""The adapters around a node, on a loop and streams that only remember what they were asked."""

from collections.abc import Callable
from typing import Any, cast

from ringmill.core.errors import Code, RingmillError
from ringmill.core.view import view_to_proto
from ringmill.engine.ledger import Ledger
from ringmill.internal.v1.link_pb2 import (
    Hello,
    JoinRequest,
    JoinResponse,
    ReplicateRequest,
    ReplicateResponse,
    Welcome,
)
from ringmill.server.adapters.host import Host
from ringmill.server.adapters.outgoing import Outgoing
from ringmill.server.adapters.peers import REPLICATE
from ringmill.server.node.identity import Identity, Rules
from ringmill.server.node.node import Node
from ringmill.transport.api import Status
from tests.server.cluster import PARTITIONS, PIPELINE, Cluster, Producer, make_lane, values


class Wire:
    """A stream that keeps what is sent."""

    def __init__(self, method: str, handler: Any) -> None:
        self.method = method
        self.handler = handler
        self.sent: list[bytes] = []
        self.writing = False
        self.finished: Status | None = None

    def send(self, message: bytes) -> None:
        self.sent.append(message)

    def finish(self, status: Status) -> None:
        self.finished = status


class Line:
    """A channel."""

    def __init__(self, target: str) -> None:
        self.target = target
        self.streams: list[Wire] = []
        self.closed = False

    def open(self, method: str, handler: Any) -> Wire:
        self.streams.append(Wire(method, handler))
        return self.streams[-1]

    def close(self) -> None:
        self.closed = True


class Timers:
    """A loop that runs nothing by itself."""

    def __init__(self) -> None:
        self.later: list[tuple[float, Callable[[], None]]] = []
        self.lines: list[Line] = []

    def channel(self, target: str, limits: object) -> Line:
        self.lines.append(Line(target))
        return self.lines[-1]

    def call_later(self, delay_s: float, callback: Callable[[], None]) -> None:
        self.later.append((delay_s, callback))

    def call_soon(self, callback: Callable[[], None]) -> None:
        self.later.append((0.0, callback))

    def run(self, delay_s: float) -> None:
        """Runs what waits for exactly so long."""
        due = [each for each in self.later if each[0] == delay_s]
        self.later = [each for each in self.later if each[0] != delay_s]
        for _, callback in due:
            callback()


class Run:
    """A host with its surroundings."""

    def __init__(self) -> None:
        self.loop = Timers()
        self.line = Line("balancer")
        self.now_ns = 0
        self.views: list[int] = []
        self.let_go = 0
        self.failures: list[RingmillError] = []
        lane = make_lane(PIPELINE.compile(PARTITIONS), lambda: self.now_ns)
        self.node = Node(Identity("a", 1, peer_address="a:1"), [lane], Ledger(PARTITIONS, 8), Rules(audit_ns=0))
        loop: Any = self.loop
        line: Any = self.line
        self.host = Host(
            loop,
            line,
            self.node,
            lambda: self.now_ns,
            reconnect_s=0.2,
            on_view=lambda view: self.views.append(view.version),
            on_let_go=self._go,
            on_fatal=self.failures.append,
        )
        self.host.start()

    def _go(self) -> None:
        self.let_go += 1

    @property
    def link(self) -> Wire:
        return self.line.streams[-1]

    def hear(self, message: bytes) -> None:
        self.link.handler.on_message(message)

    def view(self, version: int = 1, replica: str = "") -> None:

        cluster = Cluster(["a", "b"])
        self.hear(
            JoinResponse(
                view=view_to_proto(cluster.view(version, "a", [replica] if replica else ()))
            ).SerializeToString()
        )

    def results(self) -> list[Any]:
        return [result for message in self.link.sent for result in JoinRequest.FromString(message).results]


def test_it_registers_when_it_dials_and_again_after_a_break() -> None:
    run = Run()
    assert JoinRequest.FromString(run.link.sent[0]).registration.name == "a"
    run.link.handler.on_close(Status(Code.UNAVAILABLE, "gone"))
    run.loop.run(0.2)
    assert len(run.line.streams) == 2
    assert JoinRequest.FromString(run.link.sent[0]).registration.name == "a"


def test_parts_are_answered_in_one_message() -> None:
    run = Run()
    run.view()
    assert run.views == [1]
    run.link.sent.clear()
    producer = Producer()
    run.hear(producer.part(1, ["x"]) + producer.part(2, ["x"]))
    assert len(run.link.sent) == 1
    assert [values(result) for result in run.results()] == [[[1.0]], [[2.0]]]


def test_answers_gather_while_a_write_is_in_flight() -> None:
    run = Run()
    run.view()
    run.link.sent.clear()
    run.link.writing = True
    producer = Producer()
    run.hear(producer.part(1, ["x"]))
    run.hear(producer.part(2, ["x"]))
    assert run.link.sent == []
    run.link.writing = False
    run.link.handler.on_drain()
    assert len(run.link.sent) == 1
    assert len(run.results()) == 2


def test_a_refusal_for_good_ends_the_worker() -> None:
    run = Run()
    run.link.handler.on_close(Status(Code.FAILED_PRECONDITION, "another cluster"))
    assert [error.message for error in run.failures] == ["the balancer refused this worker: another cluster"]
    run.loop.run(0.2)
    assert len(run.line.streams) == 1


def test_it_is_let_go() -> None:
    run = Run()
    run.hear(JoinResponse(heartbeat_ms=50).SerializeToString())
    run.host.leave()
    assert JoinRequest.FromString(run.link.sent[-1]).draining
    run.loop.run(0.5)
    assert run.let_go == 0
    run.link.handler.on_close(Status(Code.OK))
    assert run.let_go == 1


def test_a_leaving_worker_does_not_wait_for_a_balancer_that_is_gone() -> None:
    run = Run()
    run.link.handler.on_close(Status(Code.UNAVAILABLE))
    run.host.leave()
    run.loop.run(0.5)
    run.loop.run(0.5)
    assert run.let_go == 1


def test_a_leaving_worker_waits_for_a_balancer_while_it_has_the_only_copy_of_something() -> None:
    run = Run()
    run.view()
    run.hear(Producer().part(1, ["k"]))
    run.link.handler.on_close(Status(Code.UNAVAILABLE))
    run.host.leave()
    for _ in range(100):
        run.loop.run(0.5)
    assert run.let_go == 0
    run.loop.run(0.0)  # dials
    run.view(2, "b")  # and another has copies
    run.link.handler.on_close(Status(Code.UNAVAILABLE))
    run.loop.run(0.5)
    assert run.let_go == 0
    run.loop.run(0.0)
    peer = run.loop.lines[-1].streams[-1]
    peer.handler.on_message(ReplicateResponse(welcome=Welcome()).SerializeToString())
    run.loop.run(0.5)
    run.loop.run(0.5)
    assert run.let_go == 1


def test_of_two_workers_that_are_told_to_leave_without_a_balancer_one_stays() -> None:
    """What this one says before it goes is heard by the other, and the other way round."""
    run = Run()
    run.view(1, "b")
    run.hear(Producer().part(1, ["k"]))
    run.loop.run(0.0)
    peer = run.loop.lines[-1].streams[-1]
    peer.handler.on_message(ReplicateResponse(welcome=Welcome()).SerializeToString())
    peer.handler.on_message(ReplicateResponse(acknowledged=2).SerializeToString())
    guest = Wire(REPLICATE, None)
    accepted = run.host.accept(cast("Any", guest))
    said = Hello(cluster="cluster", name="b", incarnation=2, replica_incarnation=1, channel=1)
    accepted.on_message(ReplicateRequest(hello=said).SerializeToString())
    run.link.handler.on_close(Status(Code.UNAVAILABLE))
    run.host.leave()
    assert guest.finished is None
    run.loop.run(0.5)
    assert guest.finished is not None, "b hears that it must not count on this one"
    assert run.let_go == 0
    peer.handler.on_close(Status(Code.UNAVAILABLE))  # it has said the same
    for _ in range(5):
        run.loop.run(0.5)
    assert run.let_go == 0
    again = Wire(REPLICATE, None)
    run.host.accept(cast("Any", again)).on_message(ReplicateRequest(hello=said).SerializeToString())
    assert again.finished is None, "it stays, so it copies"
    assert again.sent


def test_heartbeats_follow_the_balancers_wish() -> None:
    run = Run()
    run.hear(JoinResponse(heartbeat_ms=40).SerializeToString())
    sent = len(run.link.sent)
    run.now_ns += 39_000_000
    run.loop.run(0.025)
    assert len(run.link.sent) == sent
    run.now_ns += 1_000_000
    run.loop.run(0.025)
    assert JoinRequest.FromString(run.link.sent[-1]).HasField("heartbeat")


def test_copies_are_dialled_again_until_it_hangs_up() -> None:
    run = Run()
    run.view(1, "b")
    run.loop.run(0.0)
    (line,) = run.loop.lines
    (stream,) = line.streams
    assert (line.target, stream.method) == ("b:1", REPLICATE)
    assert ReplicateRequest.FromString(stream.sent[0]).hello == Hello(
        cluster="cluster", name="a", incarnation=1, replica_incarnation=2, channel=1
    )
    stream.handler.on_close(Status(Code.UNAVAILABLE))
    run.loop.run(0.02)
    line.streams[-1].handler.on_close(Status(Code.UNAVAILABLE))
    run.loop.run(0.04)
    assert len(line.streams) == 3
    run.view(2)
    assert line.closed
    line.streams[-1].handler.on_close(Status(Code.CANCELLED))
    assert not [each for each in run.loop.later if each[0] > 0.025]


def test_a_copy_that_makes_no_sense_is_dialled_again_after_a_pause() -> None:
    run = Run()
    run.view(1, "b")
    run.loop.run(0.0)
    run.loop.lines[0].streams[0].handler.on_message(b"\xff")
    run.loop.run(0.0)
    assert run.loop.lines[0].closed
    assert run.loop.lines[1].streams == []
    run.loop.run(0.5)
    assert len(run.loop.lines[1].streams) == 1


def test_a_primary_that_breaks_the_rules_is_dismissed() -> None:
    run = Run()
    stream = Wire(REPLICATE, None)
    guest = run.host.accept(stream)  # type: ignore[arg-type]
    guest.on_message(b"\xff")
    assert stream.finished is not None
    guest.on_message(b"\xff")


def test_a_primary_is_welcomed() -> None:
    run = Run()
    stream = Wire(REPLICATE, None)
    guest = run.host.accept(stream)  # type: ignore[arg-type]
    hello = Hello(name="p", incarnation=9, replica_incarnation=1, channel=1)
    guest.on_message(ReplicateRequest(hello=hello).SerializeToString())
    answer = ReplicateResponse.FromString(stream.sent[0])
    assert answer.HasField("welcome")
    guest.on_close(Status(Code.CANCELLED))


def test_large_chunks_are_not_joined() -> None:
    stream = Wire("m", None)
    outgoing = Outgoing(stream)  # type: ignore[arg-type]
    half = bytes(5 << 20)
    for chunk in (b"a", half, memoryview(half), b"z"):
        outgoing.add(chunk)
    outgoing.flush()
    outgoing.flush()
    outgoing.flush()
    assert [len(message) for message in stream.sent] == [1 + len(half), len(half) + 1]


def test_a_message_has_so_many_chunks_that_it_is_soon_worked_off() -> None:
    stream = Wire("m", None)
    outgoing = Outgoing(stream)  # type: ignore[arg-type]
    for _ in range(10_000):
        outgoing.add(b"ab")
        outgoing.add(b"c", follows=True)
    for _ in range(10):
        outgoing.flush()
    assert b"".join(stream.sent) == b"abc" * 10_000
    assert max(len(message) for message in stream.sent) <= 3 * 4096 // 2 + 3
