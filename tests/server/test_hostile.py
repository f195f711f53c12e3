"""What clients and full tables must not do to a worker: end it, or have it say that copies hold what they do not."""

import struct

import pytest

from ringmill.core.errors import Code
from ringmill.core.frame import part_identity, part_prefix, varint
from ringmill.core.hashing import xxh64
from ringmill.core.view import view_to_proto
from ringmill.internal.v1.link_pb2 import (
    Hello,
    JoinResponse,
    Open,
    Part,
    Refused,
    ReplicateRequest,
    ReplicateResponse,
)
from ringmill.server.node import guest as guest_module
from ringmill.server.node.effects import ToGuest
from ringmill.server.node.identity import Rules
from ringmill.v1 import processing_pb2 as pb
from tests.server.cluster import MS, PARTITIONS, Cluster, Producer, keys_of, response

WORD = 2**64 - 1
SEED = 0x2D358DCCAA6C78A5
FACTOR = 0x9E3779B97F4A7C15


def mix(state: int, word: int) -> int:
    product = (state ^ word) * FACTOR
    return (product ^ product >> 64) & WORD


def test_a_retry_that_forges_the_print_of_other_events_ends_no_worker() -> None:
    """Prints are no secret: whoever may choose a number can make two events look like one."""
    cluster = Cluster(["a", "b"])
    cluster.publish(cluster.view(1, "a", ["b"]))
    key, producer = keys_of(0)[0], Producer()
    cluster.to("a", producer.part(1, [key]))
    before = mix(mix(SEED, xxh64(key.encode())), 1)
    last = before ^ int.from_bytes(struct.pack("<d", 1.0), "little")
    state = mix(mix(mix(before, last ^ before), xxh64(key.encode())), 1)
    forged = struct.unpack("<d", (state ^ last).to_bytes(8, "little"))[0]
    events = [pb.Event(key=key, time_us=1, values=[value]) for value in (1.0, forged)]
    request = pb.ProcessRequest(pipeline="node", events=events, sequence=1).SerializeToString()
    identity = part_identity(0, producer.producer, producer.fence)
    cluster.to("a", part_prefix(2, identity, 1, 0, b"\0", 0, len(request)) + request)
    assert not cluster.fatal
    result = cluster.result("a", 2)
    assert result is not None
    assert result.code == Code.INVALID_ARGUMENT


def test_a_copy_that_has_no_room_for_a_producer_acknowledges_nothing_of_it() -> None:
    """It copies for several primaries: each has room for its producers, and the copy has not for all of them."""
    cluster = Cluster(["a", "b", "c"])
    primaries = ["a" if partition % 2 else "c" for partition in range(PARTITIONS)]
    cluster.publish(cluster.view(1, primaries, ["b"]))
    for number in range(1, 81):
        partition = number % 2
        cluster.to(primaries[partition], Producer(producer=number).part(number, keys_of(partition)))
        result = cluster.result(primaries[partition], number)
        held = cluster.same(primaries[partition], "b", [partition])
        assert (result is not None) == held, number
    assert {each.partition for name in "ac" for report in cluster.reports(name) for each in report.diverged} == {0, 1}


def test_a_copy_that_has_no_room_for_a_producer_does_not_open_its_stream() -> None:
    cluster = Cluster(["a", "b", "c"])
    primaries = ["a" if partition % 2 else "c" for partition in range(PARTITIONS)]
    cluster.publish(cluster.view(1, primaries, ["b"]))
    for number in range(1, 81):
        name = primaries[number % 2]
        cluster.to(name, Producer(producer=number).open(number))
        owned = [partition for partition in range(PARTITIONS) if primaries[partition] == name]
        opened = number in [each.id for each in cluster.opened(name)]
        assert opened == cluster.same(name, "b", owned), number
    assert {each.partition for name in "ac" for report in cluster.reports(name) for each in report.diverged} == set(
        range(PARTITIONS)
    )
    cluster.publish(cluster.view(2, primaries))
    assert {each.id for name in "ac" for each in cluster.opened(name)} == set(range(1, 81))


def test_a_request_to_which_the_balancer_appended_may_pass_the_limit() -> None:
    """The largest request that clients may send, with a time or a trace context behind it, for two copies."""
    cluster = Cluster(["a", "b", "c"], rules=Rules(audit_ns=0, request_bytes_max=256))
    cluster.publish(cluster.view(1, "a", {p: ["b"] if p % 2 else ["c"] for p in range(PARTITIONS)}))
    keys = keys_of(0) + keys_of(1)
    events = [pb.Event(key=key, time_us=1, values=[1.0]) for key in keys]
    request = pb.ProcessRequest(pipeline="node", events=events, sequence=1, traceparent="t" * 300).SerializeToString()
    cluster.to("a", part_prefix(1, part_identity(0, 7, 1 << 40), 1, 0, varint(0) * 2, 0, len(request)) + request)
    assert not cluster.fatal
    assert [list(each.values) for each in response(cluster.result("a", 1)).outcomes] == [[1.0], [1.0]]
    assert cluster.same("a", "b", [1])
    assert cluster.same("a", "c", [0])


def test_what_a_learner_refused_after_it_took_the_partition_is_still_owed() -> None:
    """The offer is taken, the record behind it is not, and both are told at once."""
    cluster = Cluster(["a", "b", "c"])
    primaries = ["a" if partition % 2 else "c" for partition in range(PARTITIONS)]
    copies = {partition: ["b"] for partition in range(PARTITIONS) if primaries[partition] == "c"} | {3: ["b"]}
    cluster.publish(cluster.view(1, primaries, copies))
    for number in range(1, 65):
        cluster.to("c", Producer(producer=number).part(number, keys_of(0)))
    channel = cluster.channel("a", "b")
    channel.frozen = True
    cluster.publish(cluster.view(2, primaries, copies, learners={1: "b"}))
    cluster.to("a", Producer(producer=99).part(1, keys_of(1)))
    channel.frozen = False
    cluster.run()
    assert cluster.result("a", 1) is None
    assert [each.partition for report in cluster.reports("a") for each in report.caught_up] == []


def hello(cluster: Cluster, name: str, acknowledged: int = 0) -> bytes:
    """Of a process that says that it is this one, and dials b."""
    incarnation = cluster.nodes[name].process[1] if name in cluster.nodes else 1
    said = Hello(
        cluster="cluster",
        name=name,
        incarnation=incarnation,
        replica_incarnation=cluster.nodes["b"].process[1],
        channel=1,
        acknowledged=acknowledged,
    )
    return ReplicateRequest(hello=said).SerializeToString()


def test_strangers_that_dial_do_not_keep_a_primary_of_the_view_out() -> None:
    cluster = Cluster(["a", "b", "c"])
    cluster.publish(cluster.view(1, "b"))
    node = cluster.nodes["b"]
    for guest in range(5000, 7000):
        node.guest_up(guest, cluster.now_ns)
        node.guest_frame(guest, hello(cluster, f"stranger-{guest}"), cluster.now_ns)
    node.effects.clear()
    view = cluster.view(2, ["a"] * 6 + ["c"] * (PARTITIONS - 6), ["b"], epochs=2)
    node.guest_frame(5000, ReplicateRequest(views=[view_to_proto(view)]).SerializeToString(), cluster.now_ns)
    assert not cluster.fatal
    assert node.view.version == 2
    cluster.publish(view)
    cluster.to("b", Producer().part(1, keys_of(3)))
    result = cluster.result("b", 1)
    assert result is not None
    assert result.again, "it is deposed"


@pytest.mark.parametrize(("bound", "most"), [("_ANSWERS_MAX", 10), ("_ANSWERS_BYTES_MAX", 70)], ids=["number", "bytes"])
def test_no_refusal_is_forgotten_before_it_was_heard(monkeypatch: pytest.MonkeyPatch, bound: str, most: int) -> None:
    """A primary takes what is acknowledged, and not refused, for copied. One refusal has 7 bytes."""
    monkeypatch.setattr(guest_module, bound, most)
    cluster = Cluster(["a", "b", "c"])
    cluster.publish(cluster.view(1, "c"))  # b copies nothing of a
    node = cluster.nodes["b"]
    request = pb.ProcessRequest(events=[pb.Event(key="x", time_us=1, values=[1.0])]).SerializeToString()
    parts = [Part(id=n, request=request, producer=7, fence=9, sequence=n, previous=b"\0") for n in range(1, 26)]
    told: dict[int, Refused] = {}
    acknowledged = 0
    for guest in range(900, 904):
        node.guest_up(guest, cluster.now_ns)
        node.effects.clear()
        frame = hello(cluster, "a", acknowledged) + ReplicateRequest(parts=parts).SerializeToString()
        node.guest_frame(guest, frame, cluster.now_ns)
        for effect in node.effects:
            if isinstance(effect, ToGuest) and guest % 2:  # every other answer is lost with its stream
                answer = ReplicateResponse.FromString(bytes(effect.chunk))
                acknowledged = answer.acknowledged
                told |= {refused.id: refused for refused in answer.refused}
        node.guest_down(guest, cluster.now_ns)
        assert sorted(told) == list(range(1, acknowledged + 1))
    assert acknowledged == 20


def test_audits_that_find_nothing_never_break_a_channel_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """There is one a second, for as long as the stream lives."""
    monkeypatch.setattr(guest_module, "_ANSWERS_MAX", 10)
    cluster = Cluster(["a", "b"], rules=Rules(audit_ns=MS))
    cluster.publish(cluster.view(1, "a", ["b"]))
    auditor = cluster.nodes["a"]._auditor
    before = auditor.audited
    for _ in range(50):
        cluster.tick()
    assert cluster.dismissed == []
    assert auditor.audited == before + 50


def test_an_audit_whose_verdict_was_lost_is_over() -> None:
    cluster = Cluster(["a", "b"], rules=Rules(audit_ns=MS))
    cluster.publish(cluster.view(1, "a", ["b"]))
    node, channel = cluster.nodes["a"], cluster.channel("a", "b")
    for differs in (False, True):
        if differs:
            cluster.nodes["b"].ledger.index[:] += 1
        before = node._auditor.audited, node._auditor.differed
        cluster.now_ns += 20 * MS
        node.tick(cluster.now_ns)
        cluster.perform("a")
        cluster.deliver(channel)
        cluster.cut(channel)  # before it has answered
        cluster.connect("a", "b")
        cluster.run()
        assert (node._auditor.audited, node._auditor.differed) == (before[0] + 1, before[1] + differs)
        assert node._auditor._asked == {}
        channel = cluster.channel("a", "b")


def test_an_opening_without_a_number_that_is_refused_says_nothing() -> None:
    cluster = Cluster(["a"])
    cluster.publish(cluster.view(1, "a"))
    opens = [Open(id=1, producer=7, fence=20), Open(producer=7, fence=10)]
    said = len(cluster.said["a"])
    cluster.to("a", JoinResponse(opens=opens).SerializeToString())
    assert [len(each.opened) for each in cluster.said["a"][said:]] == [1]
