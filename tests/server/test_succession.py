"""Three copies: the primary dies, another one follows it, and the third is compared with that one, and mended."""

from collections.abc import Sequence

import pytest

from ringmill.core.errors import Code, RingmillError
from ringmill.internal.v1.link_pb2 import Audit, Diverged, Entry, Hello, ReplicateRequest, Snapshot
from ringmill.server.node.identity import Rules
from tests.server.cluster import PARTITIONS, Cluster, Producer, keys_of, values

ALL_KEYS = [key for partition in range(PARTITIONS) for key in keys_of(partition, 2)]
NO_SNAPSHOTS = Rules(audit_ns=0, seeding_partitions=0)


def three(rules: Rules | None = None) -> tuple[Cluster, Producer]:
    """a is primary of everything, b and c its copies; both have had a batch."""
    cluster, producer = Cluster(["a", "b", "c"], rules=rules), Producer()
    cluster.publish(cluster.view(1, "a", ["b", "c"]))
    cluster.to("a", producer.part(1, ALL_KEYS))
    assert cluster.result("a", 1) is not None
    return cluster, producer


def die(cluster: Cluster, name: str, version: int, primary: str, replicas: Sequence[str] = ()) -> None:
    """A primary dies, and another one follows it everywhere."""
    cluster.crash(name)
    cluster.publish(cluster.view(version, primary, replicas, epochs=version))


def differ(cluster: Cluster, producer: Producer, left_out: str, keys: Sequence[str] = ALL_KEYS) -> None:
    """One copy does not get the second batch, so it is not acknowledged; then a dies, and b follows it."""
    cluster.channel("a", left_out).frozen = True
    cluster.to("a", producer.part(2, keys))
    assert cluster.result("a", 2) is None
    die(cluster, "a", 2, "b", ["c"])


def diverged(cluster: Cluster, name: str) -> list[Diverged]:
    return [each for report in cluster.reports(name) for each in report.diverged]


def snapshots(cluster: Cluster, name: str) -> list[int]:
    """Partitions that a node exports from here on."""
    store = cluster.nodes[name]._store
    export, exported = store.export, []

    def noted(partition: int) -> Snapshot:
        exported.append(partition)
        return export(partition)

    store.export = noted  # type: ignore[method-assign]
    return exported


def test_a_survivor_that_has_the_same_goes_on_at_once() -> None:
    cluster, producer = three()
    exported = snapshots(cluster, "b")
    die(cluster, "a", 2, "b", ["c"])
    cluster.to("b", producer.part(1, ALL_KEYS))
    assert [row[0] for row in values(cluster.result("b", 1))] == [2.0] * len(ALL_KEYS)
    assert cluster.same("b", "c")
    assert exported == []
    assert diverged(cluster, "b") == []


@pytest.mark.parametrize("left_out", ["b", "c"], ids=["ahead", "behind"])
def test_a_survivor_that_differs_is_mended_and_stays_a_copy(left_out: str) -> None:
    cluster, producer = three()
    differ(cluster, producer, left_out)
    assert cluster.same("b", "c")
    cluster.to("b", producer.part(1, ALL_KEYS, sequence=2))
    cluster.to("b", producer.part(2, ALL_KEYS))
    assert [value[0] for value in values(cluster.result("b", 1))] == [2.0] * len(ALL_KEYS)
    assert [value[0] for value in values(cluster.result("b", 2))] == [3.0] * len(ALL_KEYS)
    assert cluster.same("b", "c")
    assert diverged(cluster, "b") == [], "the manager has nothing to do"


def test_only_what_differs_is_sent() -> None:
    cluster, producer = three()
    cluster.channel("a", "c").frozen = True
    cluster.to("a", producer.part(2, keys_of(4)))
    exported = snapshots(cluster, "b")
    die(cluster, "a", 2, "b", ["c"])
    assert exported == [4]
    assert cluster.same("b", "c")


@pytest.mark.parametrize("left_out", ["b", "c"], ids=["ahead", "behind"])
def test_nothing_is_acknowledged_that_a_survivor_has_not(left_out: str) -> None:
    """It differs in one partition, and gets no snapshot: then that one waits, and the others do not."""
    cluster, producer = three(NO_SNAPSHOTS)
    differ(cluster, producer, left_out, keys_of(4))
    another = Producer(producer=8)
    cluster.to("b", another.part(1, keys_of(4) + keys_of(5)))
    cluster.to("b", another.part(2, keys_of(5)))
    assert cluster.result("b", 1) is None
    assert cluster.result("b", 2) is not None


def test_two_deaths_in_a_row_take_nothing_that_was_acknowledged() -> None:
    """The second primary dies before the third copy is compared with it, and after some of it was."""
    for reached in (False, True):
        cluster, producer = three(NO_SNAPSHOTS)
        cluster.channel("a", "c").frozen = True
        cluster.to("a", producer.part(2, keys_of(4)))
        if not reached:
            cluster.unreachable.add("c")
        die(cluster, "a", 2, "b", ["c"])
        cluster.to("b", producer.part(3, keys_of(5) + keys_of(4)))
        cluster.to("b", producer.part(4, keys_of(6)))
        assert cluster.result("b", 3) is None
        assert (cluster.result("b", 4) is not None) is reached
        die(cluster, "b", 3, "c")
        for number, keys, sequence in ((1, keys_of(4), 2), (2, keys_of(5) + keys_of(4), 3), (3, keys_of(6), 4)):
            cluster.to("c", producer.part(number, keys, sequence=sequence))
        found = [values(cluster.result("c", number)) for number in (1, 2, 3)]
        assert [[row[0] for row in rows] for rows in found] == [[2.0], [2.0, 3.0], [2.0]]
        index = cluster.nodes["c"].ledger.index
        assert [int(index[partition]) for partition in (3, 4, 5, 6)] == [1, 3, 2, 2]


def test_who_cannot_be_mended_in_time_is_given_up() -> None:
    cluster, producer = three(NO_SNAPSHOTS)
    differ(cluster, producer, "c", keys_of(4))
    cluster.to("b", producer.part(1, keys_of(4)))
    cluster.tick(400)
    assert diverged(cluster, "b") == []
    cluster.tick(200)
    assert {(each.partition, each.replica, each.epoch) for each in diverged(cluster, "b")} == {(4, "c", 2)}
    others = {partition: ["c"] for partition in range(PARTITIONS) if partition != 4}
    cluster.publish(cluster.view(3, "b", others, epochs=2))
    assert cluster.result("b", 1) is not None


def test_a_survivor_that_cannot_take_the_snapshot_keeps_what_it_has() -> None:
    cluster, producer = three()
    store = cluster.nodes["b"]._store
    export = store.export

    def damaged(partition: int) -> Snapshot:
        snapshot = export(partition)
        snapshot.tables[0] = snapshot.tables[0][:-1]
        return snapshot

    store.export = damaged  # type: ignore[method-assign]
    before = cluster.nodes["c"].lanes[0].engine.table.export(4)
    differ(cluster, producer, "c", keys_of(4))
    assert {(each.partition, each.replica) for each in diverged(cluster, "b")} == {(4, "c")}
    assert cluster.nodes["c"].lanes[0].engine.table.export(4) == before
    die(cluster, "b", 3, "c")
    cluster.to("c", producer.part(1, ALL_KEYS, sequence=1))
    assert len(values(cluster.result("c", 1))) == len(ALL_KEYS), "what was acknowledged first is answered as it was"


def test_a_survivor_that_can_neither_take_the_snapshot_nor_keep_what_it_has_ends() -> None:
    """It has nothing of the partition any more, and the view would have it the next primary."""
    cluster, producer = three()
    store = cluster.nodes["c"]._store

    def fail(snapshot: Snapshot) -> None:
        store.drop([snapshot.partition])
        raise RingmillError(Code.RESOURCE_EXHAUSTED, "no room")

    store.restore = fail  # type: ignore[method-assign]
    differ(cluster, producer, "c", keys_of(4))
    assert cluster.fatal["c"].error.code == Code.DATA_LOSS
    assert cluster.dismissed == []


def test_an_opening_waits_for_a_survivor_that_differs() -> None:
    for rules in (None, NO_SNAPSHOTS):
        cluster, producer = three(rules)
        cluster.channel("a", "c").frozen = True
        cluster.to("a", producer.part(2, keys_of(4)))
        die(cluster, "a", 2, "b", ["c"])
        cluster.to("b", producer.open(3))
        assert [opened.id for opened in cluster.opened("b")] == ([3] if rules is None else [])
        if rules is None:
            assert cluster.same("b", "c")


def test_a_survivor_whose_state_was_found_to_differ_is_mended() -> None:
    """The old primary had found it by a slow audit, and died before the manager heard."""
    cluster, _ = three()
    node = cluster.nodes["c"]
    node.lanes[0].engine.table._rows_of(5)["time_us"] += 1
    node.roles.spoiled[5] = True
    die(cluster, "a", 2, "b", ["c"])
    assert cluster.same("b", "c")


def test_a_planned_handover_needs_no_snapshot() -> None:
    cluster, producer = three()
    heirs = dict.fromkeys(range(PARTITIONS), "b")
    cluster.publish(cluster.view(2, "a", ["b", "c"], heirs=heirs))
    exported = snapshots(cluster, "b")
    cluster.publish(cluster.view(3, "b", ["a", "c"], epochs=3))
    cluster.to("b", producer.part(1, ALL_KEYS))
    assert cluster.result("b", 1) is not None
    assert exported == []
    assert cluster.same("b", "a")
    assert cluster.same("b", "c")


def test_a_break_while_mending_costs_nothing() -> None:
    cluster, producer = three()
    cluster.unreachable.add("c")
    differ(cluster, producer, "c", keys_of(4))
    cluster.to("b", producer.part(1, keys_of(4)))
    cluster.unreachable.clear()
    for _ in range(3):
        cluster.connect("b", "c")
        channel = cluster.channel("b", "c")
        cluster.perform("b")
        cluster.deliver(channel)
        cluster.cut(channel)
    cluster.connect("b", "c")
    cluster.run()
    assert cluster.result("b", 1) is not None
    assert cluster.same("b", "c")


@pytest.mark.parametrize(
    ("name", "audit", "dismissed"),
    [
        ("a", Audit(partitions=[3], indexes=[1, 2], digests=[1], succession=True), True),
        ("a", Audit(partitions=[PARTITIONS], indexes=[1], digests=[1], succession=True), True),
        ("b", Audit(partitions=[3, 4], indexes=[7, 8], digests=[1, 2], succession=True), False),
    ],
    ids=["lengths", "partition", "no primary"],
)
def test_who_is_no_primary_has_no_say(name: str, audit: Audit, dismissed: bool) -> None:
    cluster, _ = three()
    node, hello = cluster.nodes["c"], Hello(cluster="cluster", name=name, replica_incarnation=3, channel=9)
    hello.incarnation = cluster.nodes[name].identity.incarnation
    node.guest_up(99, cluster.now_ns)
    for frame in (ReplicateRequest(hello=hello), ReplicateRequest(entries=[Entry(id=1, version=9, audit=audit)])):
        node.guest_frame(99, frame.SerializeToString(), cluster.now_ns)
    assert cluster.fatal == {}
    cluster.perform("c")
    assert [each.guest for each in cluster.dismissed if each.code == Code.INTERNAL] == [99] * dismissed
    assert not node.roles.unproven.any()
