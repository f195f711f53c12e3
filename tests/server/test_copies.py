"""How many copies hold an event when it is answered: as the receipt says, and never fewer than there must be."""

from dataclasses import replace

import pytest

from ringmill.core.errors import Code
from ringmill.internal.v1.link_pb2 import JoinResponse, Open
from ringmill.server.node.identity import Rules
from tests.server.cluster import PARTITIONS, Cluster, Producer, keys_of, response, values

ALL_KEYS = [key for partition in range(PARTITIONS) for key in keys_of(partition)]


def test_what_one_copy_alone_has_is_not_answered_where_two_must_have_it() -> None:
    cluster = Cluster(["a", "b", "c"])
    cluster.publish(replace(cluster.view(1, "a", ["b"]), min_in_sync=2))
    cluster.channel("a", "b").frozen = True
    cluster.to("a", Producer().part(1, ALL_KEYS))
    cluster.publish(replace(cluster.view(2, "a"), min_in_sync=2), "a", "c")  # b is out: what it was to have is waived
    result = cluster.result("a", 1)
    assert result is not None
    assert result.again


def test_it_is_answered_from_the_record_once_there_is_another_copy() -> None:
    cluster = Cluster(["a", "b", "c"])
    cluster.publish(replace(cluster.view(1, "a", ["b"]), min_in_sync=2))
    cluster.channel("a", "b").frozen = True
    producer = Producer()
    cluster.to("a", producer.part(1, ALL_KEYS))
    learners = dict.fromkeys(range(PARTITIONS), "c")
    cluster.publish(replace(cluster.view(2, "a", learners=learners), min_in_sync=2), "a", "c")
    for _ in range(PARTITIONS):
        cluster.tick()
    cluster.publish(replace(cluster.view(3, "a", ["c"]), min_in_sync=2), "a", "c")
    cluster.to("a", producer.part(2, ALL_KEYS, sequence=1))
    result = cluster.result("a", 2)
    assert values(result) == [[1.0]] * len(ALL_KEYS)
    assert response(result).receipt.copies == 2
    cluster.crash("a")
    assert (cluster.state("c", ALL_KEYS[0]) or (0, 0))[0] == 1.0


def test_a_copy_that_is_still_being_made_is_not_counted() -> None:
    cluster = Cluster(["a", "b"], rules=Rules(audit_ns=0, seeding_partitions=0))  # no snapshot leaves
    cluster.publish(cluster.view(1, "a"))
    producer = Producer()
    cluster.to("a", producer.part(1, keys_of(0)))
    cluster.publish(cluster.view(2, "a", learners={0: "b"}))
    cluster.tick(100)
    cluster.to("a", producer.part(2, keys_of(0)))
    assert response(cluster.result("a", 2)).receipt.copies == 1


def test_the_partition_with_the_fewest_copies_counts() -> None:
    cluster = Cluster(["a", "b"])
    cluster.publish(cluster.view(1, "a", {0: ["b"], 1: []}))
    producer = Producer()
    for number, (keys, copies) in enumerate(((keys_of(0), 2), (keys_of(1), 1), (keys_of(0) + keys_of(1), 1)), start=1):
        cluster.to("a", producer.part(number, keys))
        assert response(cluster.result("a", number)).receipt.copies == copies


def test_an_opening_that_was_refused_is_not_opened_after_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """A copy asks for it again, since it heard it under a newer view; what stood against it may be gone by then."""
    cluster = Cluster(["a", "b"])
    cluster.publish(cluster.view(1, "a", ["b"]))
    newer, older = (Open(id=number, producer=7, fence=fence) for number, fence in ((1, 20), (2, 10)))
    older.forget.append(77)
    cluster.to("a", JoinResponse(opens=[newer]).SerializeToString())
    cluster.channel("a", "b").frozen = True
    cluster.to("a", JoinResponse(opens=[older]).SerializeToString())
    assert cluster.opened("a")[-1].code == Code.ABORTED
    view = cluster.view(2, "a", ["b"])
    cluster.publish(view, "b")
    cluster.channel("a", "b").frozen = False
    cluster.run()
    again: list[Open] = []
    serving = cluster.nodes["a"]._serving
    monkeypatch.setattr(serving, "open", lambda opening, now_ns: again.append(opening))
    cluster.publish(view, "a")
    assert [(each.producer, list(each.forget)) for each in again] == [(0, [77])]
