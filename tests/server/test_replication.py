"""Parts, copies and acknowledgements between nodes."""

from dataclasses import replace

import pytest

from ringmill.core.errors import Code, Reason
from ringmill.core.frame import EARLY
from ringmill.internal.v1.link_pb2 import JoinResponse
from ringmill.v1.processing_pb2 import AckLevel
from tests.server.cluster import PARTITIONS, Cluster, Producer, keys_of, response, values

ALL_KEYS = [key for partition in range(PARTITIONS) for key in keys_of(partition, 2)]


@pytest.fixture
def pair() -> Cluster:
    """A primary of everything and its replica."""
    cluster = Cluster(["a", "b"])
    cluster.publish(cluster.view(1, "a", ["b"]))
    return cluster


def test_a_node_registers_with_what_it_serves() -> None:
    cluster = Cluster(["a"])
    registration = cluster.said["a"][0].registration
    assert (registration.name, registration.incarnation) == ("a", 1)
    assert (registration.peer_address, list(registration.pipeline_names)) == ("a:1", ["node"])


def test_a_part_is_answered_once_the_replica_has_it(pair: Cluster) -> None:
    producer = Producer()
    pair.channel("a", "b").frozen = True
    pair.to("a", producer.part(1, ALL_KEYS))
    assert pair.results("a") == []
    pair.now_ns += 2_000_000
    pair.channel("a", "b").frozen = False
    pair.run()
    got = response(pair.result("a", 1))
    assert [list(outcome.values) for outcome in got.outcomes] == [[1.0]] * len(ALL_KEYS)
    assert (got.receipt.ack, got.receipt.copies, got.receipt.replicate_us) == (AckLevel.ACK_LEVEL_ALL, 2, 2000)
    assert pair.same("a", "b")


def test_without_copies_it_is_answered_at_once() -> None:
    cluster = Cluster(["a"])
    cluster.publish(cluster.view(1, "a"))
    cluster.to("a", Producer().part(1, ["x"]))
    got = response(cluster.result("a", 1))
    assert (got.receipt.ack, got.receipt.copies) == (AckLevel.ACK_LEVEL_ALL, 1)


def test_primary_parts_are_provisional_and_committed_later(pair: Cluster) -> None:
    producer = Producer()
    pair.channel("a", "b").frozen = True
    pair.to("a", producer.part(1, ["x"], flags=EARLY))
    result = pair.result("a", 1)
    assert result is not None
    assert result.provisional
    assert response(result).receipt.ack == AckLevel.ACK_LEVEL_PRIMARY
    assert pair.committed("a") == []
    pair.channel("a", "b").frozen = False
    pair.run()
    assert pair.committed("a") == [1]
    assert len(pair.results("a")) == 1


def test_parts_go_to_the_replicas_of_their_partitions() -> None:
    cluster = Cluster(["a", "b", "c", "d"])
    replicas = {p: (["b"], ["c"], ["b", "d"])[p % 3] for p in range(PARTITIONS)}
    cluster.publish(cluster.view(1, "a", replicas))
    producer = Producer()
    for number in range(1, 6):
        cluster.to("a", producer.part(number, ALL_KEYS[number:]))
    cluster.to("a", producer.part(6, keys_of(0)))
    assert [len(values(cluster.result("a", n))) for n in range(1, 6)] == [len(ALL_KEYS) - n for n in range(1, 6)]
    for partition, holders in replicas.items():
        for name in "bcd":
            assert cluster.same("a", name, [partition]) == (name in holders)
    assert response(cluster.result("a", 5)).receipt.copies == 2
    assert not cluster.dismissed


def test_a_retry_is_answered_as_the_first_try_was(pair: Cluster) -> None:
    producer = Producer()
    pair.to("a", producer.part(1, ["x", "x"]))
    pair.to("a", producer.part(2, ["x", "x"], sequence=1))
    assert values(pair.result("a", 1)) == values(pair.result("a", 2)) == [[1.0], [2.0]]
    assert response(pair.result("a", 2)).receipt.replayed
    pair.to("a", producer.part(3, ["x", "y"], sequence=1))
    result = pair.result("a", 3)
    assert result is not None
    assert result.code == Code.INVALID_ARGUMENT
    assert pair.same("a", "b")


def test_a_retry_waits_for_what_the_first_try_waits_for(pair: Cluster) -> None:
    producer = Producer()
    pair.channel("a", "b").frozen = True
    pair.to("a", producer.part(1, ["x"]))
    pair.to("a", producer.part(2, ["x"], sequence=1))
    assert pair.results("a") == []
    pair.channel("a", "b").frozen = False
    pair.run()
    assert values(pair.result("a", 1)) == values(pair.result("a", 2)) == [[1.0]]


def test_a_hole_is_not_filled(pair: Cluster) -> None:
    producer = Producer()
    producer.part(1, ["x"])
    pair.to("a", producer.part(2, ["x"]))
    result = pair.result("a", 2)
    assert result is not None
    assert (result.again, result.version) == (True, 1)
    assert pair.nodes["a"].lanes[0].engine.table.count == 0


def test_an_expired_part_is_rejected_alike_everywhere(pair: Cluster) -> None:
    producer = Producer()
    pair.to("a", producer.part(1, ["x"], flags=1))
    assert [o.rejection.reason for o in response(pair.result("a", 1)).outcomes] == [Reason.DEADLINE]
    assert pair.same("a", "b")


def test_a_part_for_somebody_elses_partition_is_sent_back(pair: Cluster) -> None:
    pair.to("b", Producer().part(1, ["x"]))
    result = pair.result("b", 1)
    assert result is not None
    assert (result.again, result.version, result.code) == (True, 1, 0)


def test_a_channel_goes_on_after_a_break(pair: Cluster) -> None:
    producer = Producer()
    pair.to("a", producer.part(1, ALL_KEYS))
    channel = pair.channel("a", "b")
    channel.frozen = True
    pair.to("a", producer.part(2, ALL_KEYS))
    pair.cut(channel)
    pair.to("a", producer.part(3, ALL_KEYS))
    assert pair.result("a", 2) is None
    pair.connect("a", "b")
    pair.run()
    assert [values(pair.result("a", n))[0] for n in (1, 2, 3)] == [[1.0], [2.0], [3.0]]
    assert pair.same("a", "b")


def test_what_the_replica_had_is_not_applied_twice(pair: Cluster) -> None:
    """The acknowledgement is lost with the stream, and the record is sent again."""
    producer = Producer()
    channel = pair.channel("a", "b")
    channel.frozen = True
    pair.to("a", producer.part(1, ALL_KEYS))
    pair.nodes["b"].guest_frame(channel.guest, b"".join(channel.there), pair.now_ns)
    pair.nodes["b"].effects.clear()
    pair.cut(channel)
    pair.connect("a", "b")
    pair.run()
    assert len(values(pair.result("a", 1))) == len(ALL_KEYS)
    assert pair.same("a", "b")


def test_an_acknowledgement_covers_the_whole_frame(pair: Cluster) -> None:
    producer = Producer()
    channel = pair.channel("a", "b")
    channel.frozen = True
    for number in range(1, 9):
        pair.to("a", producer.part(number, ["x"]))
    pair.nodes["b"].guest_frame(channel.guest, b"".join(channel.there), pair.now_ns)
    assert len(pair.nodes["b"].effects) == 1


def test_an_opening_is_answered_once_the_replica_has_it(pair: Cluster) -> None:
    producer = Producer()
    pair.to("a", producer.part(1, ["x"]))
    pair.channel("a", "b").frozen = True
    pair.to("a", producer.open(5))
    assert pair.opened("a") == []
    pair.channel("a", "b").frozen = False
    pair.run()
    (opened,) = pair.opened("a")
    assert (opened.id, opened.code, opened.session, opened.last_sequence) == (5, 0, producer.fence, 1)
    assert pair.same("a", "b")


def test_an_older_stream_is_fenced(pair: Cluster) -> None:
    producer = Producer()
    older = Producer(fence=producer.fence)
    pair.to("a", producer.open(5))
    pair.to("a", older.part(1, ["x"]))
    result = pair.result("a", 1)
    assert result is not None
    assert result.code == Code.ABORTED


def test_a_session_that_is_not_known_cannot_be_resumed(pair: Cluster) -> None:
    pair.to("a", Producer().open(5, session=77))
    (opened,) = pair.opened("a")
    assert opened.code == Code.FAILED_PRECONDITION
    assert pair.same("a", "b")


def test_a_part_that_cannot_be_read_takes_no_other_with_it(pair: Cluster) -> None:
    producer = Producer()
    broken = producer.part(1, ["x"]).replace(b"node", b"no\xffe")
    producer.last.clear()
    pair.to("a", broken + producer.part(2, ["x"]))
    assert [(r.id, r.code) for r in pair.results("a")] == [(1, Code.INVALID_ARGUMENT), (2, 0)]


def test_the_ledger_is_told_of_own_partitions(pair: Cluster) -> None:
    pair.to("a", Producer().part(1, keys_of(3, 2)))
    pair.to("a", JoinResponse(ledger=True).SerializeToString())
    rows = [row for said in pair.said["a"] for row in said.ledger]
    assert [row.partition for row in rows] == list(range(PARTITIONS))
    assert (rows[3].received, rows[3].applied) == (2, 2)
    pair.to("b", JoinResponse(ledger=True).SerializeToString())
    assert [row for said in pair.said["b"] for row in said.ledger] == []


def test_a_silent_replica_is_reported(pair: Cluster) -> None:
    pair.channel("a", "b").frozen = True
    pair.to("a", Producer().part(1, ["x"]))
    pair.tick(650)
    assert pair.reports("a") == []
    pair.tick(60)
    assert list(pair.reports("a")[-1].silent) == ["b"]
    pair.channel("a", "b").frozen = False
    pair.run()
    said = len(pair.reports("a"))
    pair.tick(200)
    assert len(pair.reports("a")) == said, "it is silent no more"


def test_answers_for_a_link_that_broke_are_not_sent_on_the_next(pair: Cluster) -> None:
    pair.channel("a", "b").frozen = True
    pair.to("a", Producer().part(1, ["x"]))
    pair.nodes["a"].link_down(pair.now_ns)
    pair.nodes["a"].link_up(pair.now_ns)
    pair.channel("a", "b").frozen = False
    pair.run()
    assert pair.results("a") == []
    assert pair.same("a", "b")


def test_heartbeats_tell_what_it_holds(pair: Cluster) -> None:
    pair.to("a", Producer().part(1, ["x", "y"]))
    pair.tick(100)
    beat = pair.said["a"][-1].heartbeat
    assert (beat.keys, beat.events, beat.view_version, beat.uncommitted) == (2, 2, 1, 0)


def test_a_leaving_node_says_so_and_serves_on(pair: Cluster) -> None:
    pair.nodes["a"].leave(pair.now_ns)
    pair.to("a", Producer().part(1, ["x"]))
    assert any(said.draining for said in pair.said["a"])
    assert values(pair.result("a", 1)) == [[1.0]]


def test_a_copy_that_was_given_up_does_not_count_in_the_receipt() -> None:
    cluster = Cluster(["a", "b", "c"])
    cluster.publish(cluster.view(1, "a", ["b", "c"]))
    cluster.channel("a", "b").frozen = True
    cluster.to("a", Producer().part(1, ALL_KEYS))
    assert cluster.results("a") == []
    cluster.publish(cluster.view(2, "a", ["c"]))
    assert response(cluster.result("a", 1)).receipt.copies == 2


def test_a_late_batch_counts_at_a_copy_as_at_its_primary(pair: Cluster) -> None:
    """A later one came before it: it was never applied, so it is rejected, and no duplicate."""
    producer = Producer()
    pair.to("a", producer.part(1, keys_of(0)))
    pair.to("a", producer.part(2, keys_of(0), gap=1))
    pair.to("a", producer.part(3, keys_of(0), sequence=2))
    pair.to("a", producer.part(4, keys_of(0), sequence=3))
    rows = [pair.nodes[name].ledger.rows([0])[0] for name in "ab"]
    assert rows[0] == rows[1]
    assert (rows[1].received, rows[1].applied, rows[1].duplicate, rows[1].rejected) == (4, 2, 1, 1)


def test_what_a_copy_was_not_asked_to_check_ends_nothing(pair: Cluster) -> None:
    """The primary has forgotten what a batch was, and takes a retry of other content for known; the copy has not."""
    producer = Producer()
    pair.to("a", producer.part(1, keys_of(0)))
    pair.nodes["a"].outcomes.forget(producer.producer)
    pair.to("a", producer.part(2, keys_of(0), sequence=1, value=5.0))
    assert pair.result("a", 2) is not None
    assert pair.fatal == {}
    assert pair.dismissed == []


def test_what_a_copy_is_not_known_to_have_is_held_alone(pair: Cluster) -> None:
    node, producer = pair.nodes["a"], Producer()
    pair.to("a", producer.part(1, keys_of(0) + keys_of(1)))
    assert node.held_alone == 0
    channel = pair.channel("a", "b")
    channel.frozen = True
    pair.to("a", producer.part(2, keys_of(0)))
    assert node.held_alone == 2
    channel.frozen = False
    pair.run()
    assert node.held_alone == 0
    pair.cut(channel)
    assert node.held_alone == 2
    pair.connect("a", "b")
    pair.run()
    assert node.held_alone == 0
    view = pair.view(2, "a", ["b"])
    leaving = tuple(replace(member, draining=member.name == "b") for member in view.members)
    pair.publish(replace(view, members=leaving))
    assert node.held_alone == 2
