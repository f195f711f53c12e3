"""Who gets a seat, who is refused and why, and who is taken for dead."""

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from ringmill.balancer.membership import Admit, Drop, Effect, Membership, Publish, Refuse, Rules
from ringmill.core.errors import Code, RingmillError
from ringmill.core.maglev import maglev
from ringmill.internal.v1.link_pb2 import Heartbeat, Registration
from ringmill.v1.processing_pb2 import DescribePipelineResponse


def registration(name: str, incarnation: int = 1, digest: str = "d1", **others: Any) -> Registration:
    return Registration(
        name=name,
        incarnation=incarnation,
        pipeline_names=["flights"],
        pipelines=[DescribePipelineResponse(version="1.0.0", digest=digest)],
        events_max=[1000],
        **others,
    )


def formed(workers: int = 2, **rules: Any) -> Membership:
    """A cluster of worker-0 on link 0, worker-1 on link 1, and so on."""
    members = Membership(Rules(expected_workers=workers, **rules))
    for link in range(workers):
        members.register(link, registration(f"worker-{link}", incarnation=link + 1), now_ms=0)
    return members


def published(effects: Sequence[Effect]) -> Publish:
    (publish,) = [effect for effect in effects if isinstance(effect, Publish)]
    return publish


def refused(effects: Sequence[Effect]) -> tuple[Code, str]:
    (refuse,) = effects
    assert isinstance(refuse, Refuse)
    return refuse.code, refuse.reason


def test_a_cluster_forms_once_all_are_there() -> None:
    members = Membership(Rules(expected_workers=2, cluster="prod"))
    assert members.register(7, registration("b"), 0) == [Admit(7, "b")]
    assert not members.formed
    assert members.missing() == "waiting for workers: 1 of 2 have joined"
    assert members.view.version == 0
    admit, publish = members.register(8, registration("a", 2), 0)
    assert admit == Admit(8, "a")
    assert isinstance(publish, Publish)
    assert members.formed
    assert publish.links == (8, 7)
    assert [member.name for member in publish.view.members] == ["a", "b"]
    assert (publish.view.version, publish.view.cluster) == (1, "prod")
    assert publish.view.table.tolist() == maglev({"a": 1, "b": 1}).tolist()
    assert members.catalogue["flights"].events_max == 1000


def test_weights_count() -> None:
    members = Membership(Rules(expected_workers=2))
    members.register(0, registration("a", weight=3), 0)
    view = published(members.register(1, registration("b"), 0)).view
    assert np.abs(np.array(view.counts()) - [766, 255]).max() <= 1


def test_who_leaves_before_the_start_has_no_seat() -> None:
    members = Membership(Rules(expected_workers=2))
    members.register(0, registration("a"), 0)
    assert members.broken(0) == []
    assert members.register(1, registration("b"), 0) == [Admit(1, "b")]
    assert not members.formed


def test_a_dead_worker_keeps_its_seat_until_its_name_is_back() -> None:
    members = formed()
    before = members.view
    dead = published(members.broken(1))
    assert dead.view.version == before.version + 1
    assert dead.links == (0, None)
    assert dead.view.table.tolist() == before.table.tolist()
    assert set(dead.view.routes[before.table == 1]) == {-1}
    back = published(members.register(5, registration("worker-1", incarnation=99), 0))
    assert back.links == (0, 5)
    assert back.view.members[1].incarnation == 99
    assert back.view.routes.tolist() == before.table.tolist()


def test_a_second_process_of_a_name_is_refused() -> None:
    members = formed()
    code, reason = refused(members.register(5, registration("worker-1", incarnation=99), 0))
    assert code == Code.ALREADY_EXISTS
    assert "already worker worker-1" in reason
    assert members.broken(5) == []  # the refused link's end changes nothing


def test_a_process_may_dial_again_before_its_old_link_is_known_to_be_broken() -> None:
    members = formed()
    drop, admit, publish = members.register(5, registration("worker-1", incarnation=2), 0)
    assert isinstance(drop, Drop)
    assert drop.link == 1
    assert admit == Admit(5, "worker-1")
    assert isinstance(publish, Publish)
    assert publish.links == (0, 5)
    assert members.broken(1) == []


@pytest.mark.parametrize(
    ("asking", "code", "why"),
    [
        (registration("worker-1", 9, weight=2), Code.FAILED_PRECONDITION, "changing weights is not served yet"),
        (registration("worker-2", 9), Code.FAILED_PRECONDITION, "one more than the 2 .* --workers 3"),
        (registration("worker-1", 9, digest="other"), Code.FAILED_PRECONDITION, "start all from the same app"),
        (registration("worker-1", 9, cluster="test"), Code.FAILED_PRECONDITION, "join cluster 'test'; this is 'prod'"),
        (registration("worker-1", 0), Code.INVALID_ARGUMENT, "no incarnation"),
        (registration("", 9), Code.INVALID_ARGUMENT, "needs a name"),
        (registration("x" * 256, 9), Code.INVALID_ARGUMENT, "needs a name"),
        (registration("worker-1", 9, weight=129), Code.INVALID_ARGUMENT, "weight must be 1 to 128"),
        (Registration(name="worker-1", incarnation=9), Code.INVALID_ARGUMENT, "serves no named pipelines"),
    ],
)
def test_refusals_say_why(asking: Registration, code: Code, why: str) -> None:
    members = formed(cluster="prod")
    members.broken(1)
    version = members.view.version
    (effect,) = members.register(5, asking, 0)
    assert isinstance(effect, Refuse)
    assert effect.code == code
    assert re.search(why, effect.reason)
    assert members.view.version == version


def test_new_pipelines_are_welcome_once_nobody_serves_the_old() -> None:
    members = formed()
    members.broken(0)
    members.broken(1)
    members.register(5, registration("worker-0", 9, digest="d2"), 0)
    assert members.catalogue["flights"].description.digest == "d2"
    code, _ = refused(members.register(6, registration("worker-1", 9, digest="d1"), 0))
    assert code == Code.FAILED_PRECONDITION
    assert published(members.register(7, registration("worker-1", 9, digest="d2"), 0)).links == (5, 7)


def test_a_draining_worker_is_unserved_and_has_its_link() -> None:
    members = formed()
    publish = published(members.drain(1))
    assert publish.links == (0, 1)
    assert [member.alive for member in publish.view.members] == [True, False]
    assert members.drain(1) == []
    assert [worker.state for worker in members.workers()] == ["serving", "draining"]
    members.broken(1)
    assert [worker.state for worker in members.workers()] == ["serving", "dead"]


def test_the_silent_are_dropped_and_others_are_not() -> None:
    members = formed(silence_ms=3000, heartbeat_ms=250)
    dropped: list[Effect] = []
    for now_ms in range(0, 3251, 250):
        members.heard(0, now_ms)
        dropped += members.tick(now_ms)
    (drop,) = dropped
    assert isinstance(drop, Drop)
    assert drop.link == 1
    assert members.view.members[1].alive  # until the link is really gone
    assert published(members.broken(1)).links == (0, None)


def test_a_late_tick_blames_nobody() -> None:
    members = formed(silence_ms=3000)
    assert members.tick(0) == []
    assert members.tick(60_000) == []
    assert members.tick(60_250) == []
    for now_ms in range(60_500, 63_001, 250):
        assert members.tick(now_ms) == []
    assert len(members.tick(63_250)) == 2


def test_what_workers_tell_is_listed() -> None:
    members = formed()
    members.beat(0, Heartbeat(keys=5, state_bytes=100, events=9))
    first, second = members.workers()
    assert (first.name, first.state, first.keys, first.state_bytes, first.events) == ("worker-0", "serving", 5, 100, 9)
    assert first.partitions + second.partitions == 1021


def test_views_go_on_where_an_earlier_balancer_ended() -> None:
    members = Membership(Rules(expected_workers=2))
    members.register(0, registration("a", view_version=7), 0)
    assert published(members.register(1, registration("b", view_version=5), 0)).view.version == 8
    assert published(members.broken(0)).view.version == 9


def test_strangers_are_ignored() -> None:
    members = formed()
    members.heard(99, 0)
    members.beat(99, Heartbeat())
    assert members.drain(99) == []
    assert members.broken(99) == []


@pytest.mark.parametrize(
    "rules",
    [Rules(partitions=1000), Rules(expected_workers=0), Rules(silence_ms=500, heartbeat_ms=250), Rules(tick_ms=0)],
)
def test_rules_that_contradict_themselves(rules: Rules) -> None:
    with pytest.raises(RingmillError):
        Membership(rules)
