"""What views do to nodes: failover, learners, handovers, and what is lost."""

import numpy as np
import pytest

from ringmill.core.errors import Code
from ringmill.core.view import view_to_proto
from ringmill.internal.v1.link_pb2 import (
    Audit,
    CaughtUp,
    Diverged,
    Entry,
    Hello,
    JoinResponse,
    Part,
    ReplicateRequest,
    ReplicateResponse,
    Sealed,
    Snapshot,
)
from ringmill.server.node.identity import Rules
from tests.server.cluster import PARTITIONS, Cluster, Producer, keys_of, values

ALL_KEYS = [key for partition in range(PARTITIONS) for key in keys_of(partition, 2)]
EVERYWHERE = range(PARTITIONS)


def three(rules: Rules | None = None) -> Cluster:
    """Three nodes; a is primary of everything, b its replica."""
    cluster = Cluster(["a", "b", "c"], rules=rules)
    cluster.publish(cluster.view(1, "a", ["b"]))
    return cluster


@pytest.fixture
def cluster() -> Cluster:
    return three()


def caught_up(cluster: Cluster, name: str) -> list[CaughtUp]:
    return list(cluster.reports(name)[-1].caught_up)


def diverged(cluster: Cluster, name: str) -> list[Diverged]:
    return [each for report in cluster.reports(name) for each in report.diverged]


def sealed(cluster: Cluster, name: str) -> list[Sealed]:
    return [each for report in cluster.reports(name) for each in report.sealed]


def test_a_promoted_replica_has_everything_and_answers_retries_as_before(cluster: Cluster) -> None:
    producer = Producer()
    cluster.to("a", producer.part(1, ALL_KEYS))
    first = values(cluster.result("a", 1))
    cluster.crash("a")
    cluster.publish(cluster.view(2, "b", epochs=2))
    cluster.to("b", producer.part(2, ALL_KEYS, sequence=1))
    assert values(cluster.result("b", 2)) == first
    cluster.to("b", producer.part(3, ALL_KEYS))
    assert values(cluster.result("b", 3)) == [[2.0]] * len(ALL_KEYS)


def test_a_deposed_primary_can_commit_nothing_and_forgets_what_it_lost(cluster: Cluster) -> None:
    """The replica is promoted while the primary knows nothing of it: the part is refused, held, and sent back."""
    producer = Producer()
    cluster.to("a", producer.part(1, keys_of(0)))
    cluster.unreachable.add("a")
    view = cluster.view(2, ["b"] * 5 + ["a"] * 8, {0: ["a"], 9: ["b"]}, epochs=[2] * 5 + [1] * 8)
    cluster.publish(view, "b")
    cluster.to("a", producer.part(2, keys_of(0)))
    assert cluster.result("a", 2) is None
    cluster.to("a", producer.part(3, keys_of(0), sequence=2))
    assert cluster.result("a", 3) is None, "nor is a retry of it answered"
    cluster.publish(view, "a")
    for number in (2, 3):
        result = cluster.result("a", number)
        assert result is not None
        assert (result.again, result.version) == (True, 2)
    assert cluster.nodes["a"].ledger.index[0] == 0
    assert cluster.nodes["a"].lanes[0].engine.table.keys(0) == []
    cluster.unreachable.clear()
    cluster.connect("b", "a")
    cluster.publish(cluster.view(3, ["b"] * 5 + ["a"] * 8, {9: ["b"]}, epochs=[2] * 5 + [1] * 8), "b")
    cluster.to("b", producer.part(1, keys_of(0), sequence=2))
    assert values(cluster.result("b", 1)) == [[2.0]]


def test_a_part_that_was_refused_in_one_partition_is_sent_back_whole(cluster: Cluster) -> None:
    producer = Producer()
    view = cluster.view(2, ["b"] + ["a"] * 12, {p: ["b"] for p in range(1, 13)}, epochs=[2] + [1] * 12)
    cluster.publish(view, "b")
    cluster.to("a", producer.part(1, keys_of(0) + keys_of(1)))
    assert cluster.result("a", 1) is None
    cluster.publish(view, "a")
    result = cluster.result("a", 1)
    assert result is not None
    assert result.again
    cluster.to("a", producer.part(2, keys_of(1), sequence=1))
    cluster.to("b", producer.part(1, keys_of(0), sequence=1))
    assert values(cluster.result("a", 2)) == values(cluster.result("b", 1)) == [[1.0]]
    assert cluster.same("a", "b", [1])


def test_a_provisional_part_that_cannot_be_committed_is_sent_back(cluster: Cluster) -> None:
    producer = Producer()
    view = cluster.view(2, "b", epochs=2)
    cluster.publish(view, "b")
    cluster.to("a", producer.part(1, ["x"], flags=2))
    cluster.publish(view, "a")
    first, second = cluster.results("a")
    assert first.provisional
    assert second.again


def test_a_dead_replica_is_waited_for_until_a_view_drops_it(cluster: Cluster) -> None:
    producer = Producer()
    cluster.crash("b")
    cluster.to("a", producer.part(1, ["x"]))
    assert cluster.results("a") == []
    cluster.publish(cluster.view(2, "a"))
    assert values(cluster.result("a", 1)) == [[1.0]]


def test_views_travel_on_channels(cluster: Cluster) -> None:
    cluster.publish(cluster.view(2, "a", ["b"]), "a")
    assert cluster.nodes["b"].view.version == 2
    assert cluster.views["b"] == [1, 2]
    assert cluster.nodes["c"].view.version == 1


def test_an_older_view_changes_nothing(cluster: Cluster) -> None:
    cluster.publish(cluster.view(3, "a", ["b"]))
    cluster.publish(cluster.view(2, "b"))
    assert cluster.views["a"] == [1, 3]
    assert cluster.nodes["a"].view.version == 3


def test_a_learner_gets_a_snapshot_and_all_that_follows(cluster: Cluster) -> None:
    producer = Producer()
    cluster.to("a", producer.part(1, ALL_KEYS))
    cluster.to("a", producer.part(2, ALL_KEYS))
    cluster.publish(cluster.view(2, "a", ["b"], learners=dict.fromkeys(EVERYWHERE, "c")))
    for _ in range(3):
        cluster.tick()
    assert [(each.partition, each.learner, each.epoch, each.version) for each in caught_up(cluster, "a")] == [
        (partition, "c", 1, 2) for partition in EVERYWHERE
    ]
    assert cluster.same("a", "c")
    cluster.to("a", producer.part(3, ALL_KEYS))
    assert cluster.same("a", "c"), "it is waited for, though no view counts it yet"
    assert cluster.nodes["a"]._heartbeat().healed == 0
    cluster.publish(cluster.view(3, "a", ["b", "c"]))
    reports = len(cluster.reports("a"))
    cluster.tick(200)
    assert len(cluster.reports("a")) == reports, "the view has answered"
    cluster.crash("a")
    cluster.crash("b")
    cluster.publish(cluster.view(4, "c", epochs=4))
    cluster.to("c", producer.part(1, ALL_KEYS, sequence=2))
    assert values(cluster.result("c", 1)) == [[2.0]] * len(ALL_KEYS), "recorded outcomes came with the snapshot"


def test_parts_go_on_while_a_learner_is_made(cluster: Cluster) -> None:
    producer = Producer()
    cluster.to("a", producer.part(1, ALL_KEYS))
    cluster.publish(cluster.view(2, "a", ["b"], learners=dict.fromkeys(EVERYWHERE, "c")), "a")
    channel = cluster.channel("a", "c")
    channel.frozen = True
    for number in range(2, 6):
        cluster.to("a", producer.part(number, ALL_KEYS))
        cluster.tick()
    channel.frozen = False
    cluster.run()
    for _ in range(3):
        cluster.tick()
    assert [len(values(cluster.result("a", number))) for number in range(1, 6)] == [len(ALL_KEYS)] * 5
    assert cluster.same("a", "c")
    assert len(caught_up(cluster, "a")) == PARTITIONS


def test_a_learner_that_has_the_same_needs_no_snapshot(cluster: Cluster) -> None:
    """With three copies the other survivor becomes a learner of the new primary: an offer is all it takes."""
    producer = Producer()
    cluster.publish(cluster.view(2, "a", ["b", "c"]))
    cluster.publish(cluster.view(3, "a", ["b"], learners=dict.fromkeys(EVERYWHERE, "c")))
    cluster.publish(cluster.view(4, "a", ["b", "c"]))
    cluster.to("a", producer.part(1, ALL_KEYS))
    cluster.crash("a")
    exports = []
    store = cluster.nodes["b"]._store
    export, store.export = store.export, lambda p: exports.append(p) or export(p)  # type: ignore[method-assign]
    cluster.publish(cluster.view(5, "b", learners=dict.fromkeys(EVERYWHERE, "c"), epochs=5))
    assert len(caught_up(cluster, "b")) == PARTITIONS
    assert exports == []
    cluster.to("b", producer.part(2, ALL_KEYS))
    assert cluster.same("b", "c")


def test_snapshots_are_paced() -> None:
    cluster = three(Rules(audit_ns=0, seeding_partitions=2))
    cluster.to("a", Producer().part(1, ALL_KEYS))
    cluster.publish(cluster.view(2, "a", ["b"], learners=dict.fromkeys(EVERYWHERE, "c")), "a")
    channel = cluster.channel("a", "c")
    for _ in range(3):
        cluster.tick()
        channel.frozen = True
        cluster.tick()
        frame = ReplicateRequest.FromString(b"".join(channel.there))
        assert sum(not entry.snapshot.offer for entry in frame.entries if entry.HasField("snapshot")) <= 2
        channel.frozen = False
        cluster.run()
    for _ in range(10):
        cluster.tick()
    assert len(caught_up(cluster, "a")) == PARTITIONS


def test_partitions_that_wait_for_their_turn_are_not_waited_for() -> None:
    """A view may name learners for everything: those that are not offered yet hold no part up."""
    cluster = three(Rules(audit_ns=0, seeding_offers=2))
    cluster.publish(cluster.view(2, "a", ["b"], learners={0: "c"}))
    cluster.channel("a", "c").frozen = True
    cluster.publish(cluster.view(3, "a", ["b"], learners=dict.fromkeys(EVERYWHERE, "c")))
    channels = cluster.nodes["a"].channels
    channel = channels.get("c")
    assert channel is not None
    assert sum(channels.carries(channel, partition) for partition in EVERYWHERE) == 3  # the first, and two offers
    cluster.channel("a", "c").frozen = False
    cluster.run()
    assert {each.partition for each in caught_up(cluster, "a")} == set(EVERYWHERE)


def test_a_learner_that_cannot_be_reached_holds_nobody_up(cluster: Cluster) -> None:
    cluster.unreachable.add("c")
    cluster.publish(cluster.view(2, "a", ["b"], learners=dict.fromkeys(EVERYWHERE, "c")))
    cluster.to("a", Producer().part(1, ALL_KEYS))
    assert len(values(cluster.result("a", 1))) == len(ALL_KEYS)


def test_a_learner_that_was_set_anew_while_views_were_missed_is_offered_again(cluster: Cluster) -> None:
    producer = Producer()
    cluster.to("a", producer.part(1, ALL_KEYS))
    learners = dict.fromkeys(EVERYWHERE, "c")
    cluster.publish(cluster.view(2, "a", ["b"], learners=learners))
    for _ in range(3):
        cluster.tick()
    assert cluster.same("a", "c")
    cluster.publish(cluster.view(3, "a", ["b"]), "c")
    assert cluster.nodes["c"].ledger.index.sum() == 0
    cluster.publish(cluster.view(4, "a", ["b"], learners=learners))
    for _ in range(3):
        cluster.tick()
    assert {each.version for each in caught_up(cluster, "a")} == {4}
    assert cluster.same("a", "c")
    cluster.to("a", producer.part(2, ALL_KEYS))
    assert cluster.same("a", "c")


def test_what_is_reported_of_a_learner_is_of_the_newest_view(cluster: Cluster) -> None:
    """A new manager believes nothing that is older than the view it has loaded."""
    cluster.to("a", Producer().part(1, ALL_KEYS))
    learners = dict.fromkeys(EVERYWHERE, "c")
    cluster.publish(cluster.view(2, "a", ["b"], learners=learners))
    for _ in range(3):
        cluster.tick()
    cluster.publish(cluster.view(3, "a", ["b"], learners=learners))
    cluster.tick(200)
    assert {each.version for each in caught_up(cluster, "a")} == {3}


def test_a_handover_loses_nothing(cluster: Cluster) -> None:
    producer = Producer()
    cluster.to("a", producer.part(1, ALL_KEYS))
    channel = cluster.channel("a", "b")
    channel.frozen = True
    cluster.to("a", producer.part(2, keys_of(3) + keys_of(4)))
    cluster.publish(cluster.view(2, "a", ["b"], heirs={3: "b"}), "a")
    assert sealed(cluster, "a") == []
    cluster.to("a", producer.part(3, keys_of(3)))
    result = cluster.result("a", 3)
    assert result is not None
    assert result.again, "a sealed partition takes nothing"
    channel.frozen = False
    cluster.run()
    assert values(cluster.result("a", 2)) == [[2.0], [2.0]]
    assert [(each.partition, each.heir, each.epoch, each.version) for each in sealed(cluster, "a")] == [(3, "b", 1, 2)]
    epochs = [1] * 3 + [3] + [1] * 9
    cluster.publish(cluster.view(3, ["a"] * 3 + ["b"] + ["a"] * 9, {3: ["a"], 4: ["b"]}, epochs=epochs))
    assert cluster.nodes["a"].ledger.index[3] == 2, "it is a copy now, and keeps what it has"
    cluster.to("b", producer.part(1, keys_of(3), sequence=3))
    assert values(cluster.result("b", 1)) == [[3.0]]
    assert cluster.same("a", "b", [3, 4])


def test_a_view_without_the_heir_unseals(cluster: Cluster) -> None:
    producer = Producer()
    cluster.publish(cluster.view(2, "a", ["b"], heirs={3: "b"}))
    cluster.publish(cluster.view(3, "a", ["b"]))
    cluster.to("a", producer.part(1, keys_of(3)))
    assert values(cluster.result("a", 1)) == [[1.0]]
    reports = len(cluster.reports("a"))
    cluster.tick(200)
    assert len(cluster.reports("a")) == reports


def test_who_was_not_sealed_keeps_nothing(cluster: Cluster) -> None:
    cluster.to("a", Producer().part(1, keys_of(3)))
    view = cluster.view(2, "b", ["a"], epochs=2)
    cluster.publish(view, "a")
    assert cluster.nodes["a"].ledger.index[3] == 0
    assert cluster.nodes["a"].lanes[0].engine.table.count == 0
    cluster.publish(view, "b")
    assert cluster.same("a", "b"), "what it holds now is the new primary's"


def test_too_few_copies_take_nothing(cluster: Cluster) -> None:
    view = view_to_proto(cluster.view(2, "a"))
    view.min_in_sync = 2
    cluster.to("a", JoinResponse(view=view).SerializeToString())
    cluster.to("a", Producer().part(1, ["x"]))
    result = cluster.result("a", 1)
    assert result is not None
    assert result.again


def test_a_copy_that_lost_its_way_is_reported_and_made_anew(cluster: Cluster) -> None:
    """The replica's history of one partition is falsified: the next record tells, and nothing is applied there."""
    producer = Producer()
    cluster.to("a", producer.part(1, ALL_KEYS))
    cluster.nodes["b"].ledger.digest[3] ^= 1
    cluster.to("a", producer.part(2, keys_of(3)))
    assert cluster.result("a", 2) is None
    assert [(each.partition, each.replica, each.incarnation, each.version) for each in diverged(cluster, "a")] == [
        (3, "b", 2, 1)
    ]
    replicas = {p: ["b"] for p in EVERYWHERE if p != 3}
    cluster.publish(cluster.view(2, "a", replicas, learners={3: "b"}))
    for _ in range(3):
        cluster.tick()
    assert values(cluster.result("a", 2)) == [[2.0]]
    assert [each.partition for each in caught_up(cluster, "a")] == [3]
    assert cluster.same("a", "b")
    assert cluster.nodes["a"]._heartbeat().healed == 1


def test_outcomes_that_differ_are_found_with_the_acknowledgement(cluster: Cluster) -> None:
    """The replica's state is falsified, so its next outcome differs: an audit tells in which partition."""
    producer = Producer()
    cluster.to("a", producer.part(1, ALL_KEYS))
    table = cluster.nodes["b"].lanes[0].engine.table
    table._rows_of(5)["sum"] = np.zeros(1, table.rows.dtype["sum"])
    cluster.to("a", producer.part(2, keys_of(5)))
    assert {each.partition for each in diverged(cluster, "a")} == {5}
    assert len(values(cluster.result("a", 2))) == 1


def test_state_that_differs_is_found_by_the_slow_audit() -> None:
    cluster = three(Rules(audit_ns=20_000_000))
    producer = Producer()
    cluster.to("a", producer.part(1, ALL_KEYS))
    table = cluster.nodes["b"].lanes[0].engine.table
    table._rows_of(5)["time_us"] += 1
    for _ in range(PARTITIONS):
        cluster.tick(20)
    assert {each.partition for each in diverged(cluster, "a")} == {5}
    beat = cluster.nodes["a"]._heartbeat()
    assert (beat.audited >= PARTITIONS, beat.differed) == (True, 1)
    replicas = {p: ["b"] for p in EVERYWHERE if p != 5}
    cluster.publish(cluster.view(2, "a", replicas, learners={5: "b"}))
    for _ in range(3):
        cluster.tick(1)
    assert cluster.same("a", "b"), "the histories agreed, and yet a snapshot was taken"
    assert cluster.nodes["a"]._heartbeat().healed == 1


def test_a_replica_without_the_partition_refuses(cluster: Cluster) -> None:
    cluster.to("a", Producer().part(1, keys_of(0)))
    cluster.publish(cluster.view(2, "a", ["c"]))
    cluster.to("a", Producer(producer=8).part(2, keys_of(0) + keys_of(1)))
    assert cluster.result("a", 2) is None
    assert {(each.partition, each.replica) for each in diverged(cluster, "a")} == {(0, "c"), (1, "c")}


def test_a_new_process_of_a_name_is_nobody(cluster: Cluster) -> None:
    old = cluster.view(2, "a", ["b"])
    cluster.to("a", Producer().part(1, keys_of(0)))
    cluster.start("a")
    cluster.publish(old, "a")
    cluster.to("a", Producer().part(1, keys_of(0)))
    result = cluster.result("a", 1)
    assert result is not None
    assert result.again


def test_another_clusters_view_ends_the_worker(cluster: Cluster) -> None:
    view = view_to_proto(cluster.view(2, "a"))
    view.cluster = "other"
    cluster.to("a", JoinResponse(view=view).SerializeToString())
    assert cluster.fatal["a"].error.code == Code.FAILED_PRECONDITION


def test_another_number_of_partitions_ends_the_worker(cluster: Cluster) -> None:
    other = Cluster(["a"], partitions=7)
    view = view_to_proto(other.view(2, "a"))
    cluster.to("a", JoinResponse(view=view).SerializeToString())
    assert "--partitions" in cluster.fatal["a"].error.message


def test_opens_that_a_copy_heard_under_a_newer_view_are_made_anew(cluster: Cluster) -> None:
    producer = Producer()
    view = cluster.view(2, "a", ["b"])
    cluster.publish(view, "b")
    cluster.to("a", producer.open(3))
    assert cluster.opened("a") == []
    cluster.publish(view, "a")
    assert [opened.id for opened in cluster.opened("a")] == [3]
    assert cluster.same("a", "b")


def hostile(cluster: Cluster, *frames: ReplicateRequest | bytes, channel: int = 1, guest: int = 99) -> None:
    """Dials b as a, and says these."""
    node = cluster.nodes["b"]
    node.guest_up(guest, cluster.now_ns)
    for frame in frames:
        node.guest_frame(guest, frame if isinstance(frame, bytes) else frame.SerializeToString(), cluster.now_ns)
    cluster.run()


def hello(**fields: object) -> ReplicateRequest:
    said: dict[str, object] = {
        "cluster": "cluster",
        "name": "c",
        "incarnation": 3,
        "replica_incarnation": 2,
        "channel": 9,
    }
    return ReplicateRequest(hello=Hello(**(said | fields)))


@pytest.mark.parametrize(
    "frames",
    [
        [b"\xff\xff\xff"],
        [ReplicateRequest(parts=[Part(id=1)])],
        [hello(cluster="other")],
        [hello(replica_incarnation=77)],
        [hello(), hello()],
        [hello(), ReplicateRequest(parts=[Part(id=2, request=b"")])],
        [hello(), ReplicateRequest(entries=[Entry(id=3)])],
        [hello(), ReplicateRequest(parts=[Part(id=1, pipeline=4)])],
        [hello(), ReplicateRequest(parts=[Part(id=1, request=b"\xff")])],
        [hello(), ReplicateRequest(parts=[Part(id=1, fence=1, sequence=1, previous=b"\x80\x80")])],
    ],
    ids=["noise", "no hello", "cluster", "process", "twice", "gap", "gap of entries", "pipeline", "events", "previous"],
)
def test_what_breaks_the_rules_ends_the_stream(cluster: Cluster, frames: list[ReplicateRequest | bytes]) -> None:
    hostile(cluster, *frames)
    assert [each.guest for each in cluster.dismissed] == [99]
    assert cluster.fatal == {}
    cluster.to("a", Producer().part(1, ["x"]))
    assert values(cluster.result("a", 1)) == [[1.0]]


@pytest.mark.parametrize(
    "entry",
    [
        Entry(id=1, version=9, snapshot=Snapshot(partition=3, index=5, ledger=b"x")),
        Entry(id=1, version=9, snapshot=Snapshot(partition=4_000_000_000, offer=True)),
        Entry(id=1, version=9, audit=Audit(partitions=[3, 4_000_000_000], indexes=[1], digests=[1, 2, 3], state=1)),
        Entry(id=1, version=9),
    ],
    ids=["snapshot", "partition", "audit", "nothing"],
)
def test_who_is_no_primary_changes_nothing(cluster: Cluster, entry: Entry) -> None:
    cluster.to("a", Producer().part(1, ALL_KEYS))
    hostile(cluster, hello(), ReplicateRequest(entries=[entry]))
    assert cluster.fatal == {}
    assert cluster.same("a", "b")


def test_a_damaged_snapshot_is_asked_for_again(cluster: Cluster) -> None:
    cluster.to("a", Producer().part(1, ALL_KEYS))
    store = cluster.nodes["a"]._store
    export, damaged = store.export, []

    def damage(partition: int) -> Snapshot:
        snapshot = export(partition)
        if not damaged:
            damaged.append(partition)
            snapshot.ledger = snapshot.ledger[:-1]
        return snapshot

    store.export = damage  # type: ignore[method-assign]
    cluster.publish(cluster.view(2, "a", ["b"], learners=dict.fromkeys(EVERYWHERE, "c")))
    for _ in range(8):
        cluster.tick(200)
    assert damaged
    assert len(caught_up(cluster, "a")) == PARTITIONS
    assert cluster.same("a", "c")


def test_acknowledging_what_was_never_sent_breaks_the_stream(cluster: Cluster) -> None:
    cluster.nodes["a"].peer_frame("b", ReplicateResponse(acknowledged=99).SerializeToString(), cluster.now_ns)
    cluster.run()
    cluster.to("a", Producer().part(1, ["x"]))
    assert values(cluster.result("a", 1)) == [[1.0]]


def test_a_defect_in_applying_ends_the_worker(cluster: Cluster) -> None:
    engine = cluster.nodes["b"].lanes[0].engine

    def fail(*_: object) -> int:
        raise AssertionError("a defect")

    engine.apply = fail  # type: ignore[method-assign]
    cluster.to("a", Producer().part(1, ["x"]))
    assert "b" in cluster.fatal
    assert cluster.results("a") == []


def test_what_is_sealed_waits_for_a_part_of_which_another_partition_was_lost() -> None:
    """The part is routed again, but here it is applied: an heir that has not heard of it must not take over yet."""
    cluster = Cluster(["a", "b", "c"])
    cluster.publish(cluster.view(1, "a", ["b"]))
    channel = cluster.channel("a", "b")
    channel.frozen = True
    cluster.to("a", Producer().part(1, keys_of(1) + keys_of(2)))
    cluster.publish(cluster.view(2, "a", ["b"], heirs={1: "b"}), "a")
    primaries = ["c" if partition == 2 else "a" for partition in range(PARTITIONS)]
    epochs = [3 if partition == 2 else 1 for partition in range(PARTITIONS)]
    cluster.publish(cluster.view(3, primaries, ["b"], heirs={1: "b"}, epochs=epochs), "a")
    result = cluster.result("a", 1)
    assert result is not None
    assert result.again
    assert [each for report in cluster.reports("a") for each in report.sealed] == []
    channel.frozen = False
    cluster.run()
    assert [each.partition for report in cluster.reports("a") for each in report.sealed] == [1]
    assert len(cluster.nodes["a"].pendings) == 0
