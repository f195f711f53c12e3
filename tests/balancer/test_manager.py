"""Who gets a seat, who is refused and why, who is taken for dead, and what becomes of their partitions."""

import re
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from ringmill.balancer.manager import Manager
from ringmill.balancer.orders import Admit, Drop, Fatal, LetGo, Order, Probe, Publish, Refuse, Store
from ringmill.balancer.rules import Rules
from ringmill.balancer.store import MemoryStore
from ringmill.core.errors import Code, RingmillError
from ringmill.core.maglev import NOBODY, maglev
from ringmill.core.view import View
from ringmill.internal.v1.link_pb2 import CaughtUp, Diverged, Heartbeat, Registration, Report, Sealed
from ringmill.v1.processing_pb2 import DescribePipelineResponse
from tests.balancer.manager_world import World, copies_of, registration, small


class Desk:
    """A manager whose store answers at once, and what it ordered last."""

    def __init__(self, rules: Rules, stored: bytes | None = None) -> None:
        self.store = MemoryStore()
        self.manager = Manager(rules, stored)
        self.orders: list[Order] = []
        self.state = b""
        self.now_ms = 0
        self.do(self.manager.start(0))

    def do(self, orders: Sequence[Order]) -> list[Order]:
        """Performs stores; returns everything else, in order."""
        done: list[Order] = []
        waiting = list(orders)
        while waiting:
            order = waiting.pop(0)
            if isinstance(order, Store):
                self.state = order.state
                waiting += self.manager.stored(order.revision, "", self.now_ms)
            else:
                done.append(order)
        self.orders = done
        return done

    def register(self, link: int, asked: Registration, now_ms: int = 0) -> list[Order]:
        return self.do(self.manager.register(link, asked, now_ms))

    def die(self, link: int, name: str, now_ms: int = 0) -> list[Order]:
        self.do(self.manager.broken(link, now_ms))
        return self.do(self.manager.probed(name, False, now_ms))

    def tick(self, until_ms: int, *heard: int) -> list[Order]:
        """Ticks every 20 ms; these links are heard all the time."""
        done: list[Order] = []
        for now_ms in range(until_ms - until_ms % 20 - 980, until_ms + 1, 20):
            for link in heard:
                self.manager.heard(link, now_ms)
            self.now_ms = now_ms
            done += self.do(self.manager.tick(now_ms))
        return done

    @property
    def view(self) -> View:
        return self.manager.view


def formed(workers: int = 2, **rules: Any) -> Desk:
    """A cluster of worker-0 on link 0, worker-1 on link 1, and so on."""
    desk = Desk(Rules(expected_workers=workers, **{"cluster": "prod"} | rules))
    for link in range(workers):
        desk.register(link, registration(f"worker-{link}", incarnation=link + 1))
    assert desk.manager.formed
    return desk


def published(orders: Sequence[Order]) -> Publish:
    """The last view."""
    return [order for order in orders if isinstance(order, Publish)][-1]


def refused(orders: Sequence[Order]) -> tuple[Code, str]:
    (refuse,) = [order for order in orders if isinstance(order, Refuse)]
    return refuse.code, refuse.reason


# Forming


def test_a_cluster_forms_once_all_are_there() -> None:
    desk = Desk(Rules(expected_workers=2, cluster="prod"))
    assert desk.register(7, registration("b")) == [Admit(7, "b")]
    assert not desk.manager.formed
    assert desk.manager.missing() == "waiting for workers: 1 of 2 have joined"
    assert desk.view.version == 0
    admit, publish = desk.register(8, registration("a", 2))
    assert admit == Admit(8, "a")
    assert isinstance(publish, Publish)
    assert publish.links == publish.tell == (8, 7)
    assert [member.name for member in publish.view.members] == ["a", "b"]
    assert (publish.view.version, publish.view.cluster) == (1, "prod")
    assert publish.view.table.tolist() == maglev({"a": 1, "b": 1}).tolist()
    assert set(publish.view.epochs.tolist()) == {1}
    assert desk.manager.catalogue["flights"].events_max == 1000
    assert desk.manager.generation == 1


def test_a_cluster_forms_with_all_copies_in_sync() -> None:
    view = formed(3, replicas=2, min_in_sync=2).view
    assert set(view.copies().tolist()) == {2}
    assert view.min_in_sync == 2
    assert (view.replicas[:, 0] != view.table).all()
    without = [maglev({f"worker-{n}": 1 for n in range(3) if n != lost}) for lost in range(3)]
    others = [[n for n in range(3) if n != lost] for lost in range(3)]
    wanted = [others[owner][without[owner][p]] for p, owner in enumerate(view.table)]
    assert view.replicas[:, 0].tolist() == wanted, (
        "the copy is where the table sends the partition when its primary dies"
    )


def test_weights_count() -> None:
    desk = Desk(Rules(expected_workers=2))
    desk.register(0, registration("a", weight=3))
    desk.register(1, registration("b"))
    assert np.abs(np.array(desk.view.counts()) - [766, 255]).max() <= 1


def test_who_leaves_before_the_start_has_no_seat() -> None:
    desk = Desk(Rules(expected_workers=2))
    desk.register(0, registration("a"))
    assert desk.do(desk.manager.broken(0, 0)) == []
    assert desk.register(1, registration("b")) == [Admit(1, "b")]
    assert not desk.manager.formed


def test_a_worker_of_no_cluster_may_leave_before_there_is_one() -> None:
    desk = Desk(Rules(expected_workers=2))
    desk.register(0, registration("a"))
    (let_go,) = desk.do(desk.manager.drain(0, 0))
    assert isinstance(let_go, LetGo)


# Registering


@pytest.mark.parametrize(
    ("asking", "code", "why"),
    [
        (registration("worker-2", 9, digest="other"), Code.FAILED_PRECONDITION, "worker-0 serves flights 1.0.0"),
        (registration("worker-2", 9, platform="vax"), Code.FAILED_PRECONDITION, "runs on vax, but worker-0 on x86"),
        (registration("worker-2", 9, cluster="test"), Code.FAILED_PRECONDITION, "belongs to cluster 'test', .*'prod'"),
        (registration("worker-2", 9, peer_address=""), Code.FAILED_PRECONDITION, "no address for the others"),
        (registration("worker-1", 0), Code.INVALID_ARGUMENT, "no incarnation"),
        (registration("", 9), Code.INVALID_ARGUMENT, "needs a name"),
        (registration("x" * 256, 9), Code.INVALID_ARGUMENT, "needs a name"),
        (registration("worker-1", 9, weight=129), Code.INVALID_ARGUMENT, "weight must be 1 to 128"),
        (Registration(name="w", incarnation=9, peer_address="w:1"), Code.INVALID_ARGUMENT, "serves no named pipelines"),
        (registration("worker-0", 9), Code.UNAVAILABLE, "another process is worker worker-0"),
    ],
)
def test_refusals_say_why(asking: Registration, code: Code, why: str) -> None:
    desk = Desk(Rules(expected_workers=2, replicas=2, cluster="prod"))
    for link in range(2):
        desk.register(link, registration(f"worker-{link}", 1 + link, platform="x86"))
    desk.die(1, "worker-1")
    version = desk.view.version
    told, reason = refused(desk.register(5, asking))
    assert told == code
    assert re.search(why, reason)
    assert desk.view.version == version


def test_a_link_registers_once() -> None:
    desk = formed()
    assert refused(desk.register(0, registration("worker-9")))[0] == Code.INVALID_ARGUMENT


def test_new_pipelines_are_welcome_once_nobody_serves_the_old() -> None:
    desk = formed()
    desk.die(0, "worker-0")
    desk.die(1, "worker-1")
    desk.register(5, registration("worker-0", 9, digest="d2"))
    assert desk.manager.catalogue["flights"].description.digest == "d2"
    assert refused(desk.register(6, registration("worker-1", 9, digest="d1")))[0] == Code.FAILED_PRECONDITION
    assert published(desk.register(7, registration("worker-1", 9, digest="d2"))).links == (5, 7)


def test_another_process_of_a_living_name_waits_until_that_is_dead() -> None:
    desk = formed(replicas=2)
    refuse, probe = desk.register(5, registration("worker-1", incarnation=99))
    assert isinstance(refuse, Refuse)
    assert refuse.code == Code.UNAVAILABLE
    assert probe == Probe("worker-1", "worker-1:2", 2)
    assert desk.do(desk.manager.broken(5, 0)) == []  # the refused link's end changes nothing
    drop, publish = desk.do(desk.manager.probed("worker-1", False, 0))
    assert isinstance(drop, Drop)
    assert drop.link == 1
    assert not publish.view.members[1].alive
    desk.register(6, registration("worker-1", incarnation=99))
    assert desk.view.members[1].incarnation == 99
    assert desk.view.members[1].alive
    assert not desk.view.copied_by(1).any(), "a new process holds nothing"
    assert desk.view.counts()[1] == 0


def test_a_process_may_dial_again_before_its_old_link_is_known_to_be_broken() -> None:
    desk = formed()
    version = desk.view.version
    drop, admit, publish = desk.register(5, registration("worker-1", incarnation=2))
    assert isinstance(drop, Drop)
    assert drop.link == 1
    assert admit == Admit(5, "worker-1")
    assert publish == Publish(desk.view, (0, 5), (5,))
    assert desk.view.version == version
    assert desk.do(desk.manager.broken(1, 0)) == []
    assert desk.manager.links == {"worker-0": 0, "worker-1": 5}


def test_a_newcomer_gets_copies_and_then_its_share() -> None:
    world = World(small()).form(3)
    world.join("worker-3")
    assert world.manager.view.counts()[3] == 0
    world.settle()
    view = world.manager.view
    assert view.table.tolist() == maglev({f"worker-{n}": 1 for n in range(4)}, 31).tolist()
    copies = np.bincount(view.replicas.ravel(), minlength=4) + view.counts()
    assert copies[3] >= 10, f"a newcomer carries its part of the copies, too: {copies}"


# Life and death


def test_a_late_answer_to_a_probe_buries_nobody_else() -> None:
    """The machine of the first process was gone, and says so when another process has the name, elsewhere."""
    desk = formed(replicas=2)
    (probe,) = desk.do(desk.manager.broken(1, 100))
    assert isinstance(probe, Probe)
    desk.tick(1000, 0)
    desk.register(5, registration("worker-1", incarnation=99), 1000)
    desk.do(desk.manager.probed("worker-1", False, 1001, probe.incarnation))
    assert desk.manager.links["worker-1"] == 5


def test_who_has_dialled_again_is_not_buried_by_a_late_answer() -> None:
    desk = formed(replicas=2)
    (probe,) = desk.do(desk.manager.broken(1, 100))
    assert isinstance(probe, Probe)
    desk.register(5, registration("worker-1", probe.incarnation), 110)
    desk.do(desk.manager.probed("worker-1", False, 111, probe.incarnation))
    assert desk.manager.links["worker-1"] == 5


@pytest.mark.parametrize("seen", ["its port is open", "it dials again", "neither"])
def test_whose_name_was_once_wanted_is_not_buried_by_a_late_answer_either(seen: str) -> None:
    desk = formed(replicas=2)
    refuse, probe = desk.register(5, registration("worker-1", incarnation=99), 100)
    assert isinstance(refuse, Refuse)
    assert isinstance(probe, Probe)
    link = 1
    if seen == "its port is open":
        desk.do(desk.manager.probed("worker-1", True, 110, probe.incarnation))
    elif seen == "it dials again":
        link = 6
        desk.register(link, registration("worker-1", probe.incarnation), 110)
    desk.do(desk.manager.probed("worker-1", False, 120, probe.incarnation))
    assert desk.manager.links.get("worker-1") == (link if seen != "neither" else None)
    if seen == "its port is open":  # a process that still wants the name knocks again, and then its port is closed
        desk.register(7, registration("worker-1", incarnation=99), 200)
        desk.do(desk.manager.probed("worker-1", False, 210, probe.incarnation))
        assert "worker-1" not in desk.manager.links


def test_an_answer_about_another_process_says_nothing_of_whose_name_is_wanted() -> None:
    desk = formed(replicas=2)
    desk.register(5, registration("worker-1", incarnation=99), 100)
    desk.do(desk.manager.probed("worker-1", True, 110, 77))
    desk.do(desk.manager.probed("worker-1", False, 120, 2))
    assert "worker-1" not in desk.manager.links


def test_a_port_that_refuses_means_dead_at_once() -> None:
    desk = formed(replicas=2)
    before = desk.view
    (probe,) = desk.do(desk.manager.broken(1, 100))
    assert probe == Probe("worker-1", "worker-1:2", 2)
    assert desk.view is before, "whose link breaks may dial again"
    (publish,) = desk.do(desk.manager.probed("worker-1", False, 101))
    view = publish.view
    assert publish.links == (0, None)
    assert view.counts() == [1021, 0]
    assert not view.copied_by(1).any()
    moved = before.table == 1
    assert set(view.epochs[moved].tolist()) == {view.version}
    assert set(view.epochs[~moved].tolist()) == {1}
    assert not view.members[1].alive


@pytest.mark.parametrize(("answer", "dead_ms"), [(True, 300), (None, 700)])
def test_a_port_that_listens_means_a_grace(answer: bool | None, dead_ms: int) -> None:
    desk = formed(replicas=2)
    for now_ms in range(0, 101, 20):
        desk.do(desk.manager.tick(now_ms))
    desk.do(desk.manager.broken(1, 100))
    if answer is not None:
        desk.do(desk.manager.probed("worker-1", answer, 120))
    died = None
    for now_ms in range(120, 1000, 20):
        desk.manager.heard(0, now_ms)
        desk.do(desk.manager.tick(now_ms))
        if not desk.view.members[1].alive:
            died = now_ms
            break
    assert died is not None
    assert dead_ms - 40 <= died <= dead_ms


def test_who_dials_again_in_time_has_lost_nothing() -> None:
    desk = formed(replicas=2)
    version = desk.view.version
    desk.do(desk.manager.broken(1, 100))
    desk.do(desk.manager.probed("worker-1", True, 120))
    desk.register(5, registration("worker-1", 2), 200)
    desk.tick(1000, 0, 5)
    assert desk.view.version == version


def test_the_silent_are_dead() -> None:
    desk = formed(replicas=2)
    desk.tick(580, 0)
    assert desk.view.members[1].alive
    orders = []
    for now_ms in range(600, 700, 20):
        desk.manager.heard(0, now_ms)
        orders += desk.do(desk.manager.tick(now_ms))
    assert [order.link for order in orders if isinstance(order, Drop)] == [1]
    assert not desk.view.members[1].alive
    assert desk.view.counts() == [1021, 0]


def test_our_own_sleep_says_nothing_about_others() -> None:
    desk = formed(replicas=2)
    desk.tick(980, 0, 1)
    desk.do(desk.manager.broken(1, 1000))
    for now_ms in (1020, 9000, 9020, 9400):
        desk.do(desk.manager.tick(now_ms))
        assert all(member.alive for member in desk.view.members), f"at {now_ms}"


def test_our_own_sleep_may_come_before_our_first_tick() -> None:
    desk = formed(replicas=2)
    desk.do(desk.manager.tick(9000))
    assert all(member.alive for member in desk.view.members)


def test_a_tick_that_is_only_a_little_late_forgives_nobody() -> None:
    desk = formed(replicas=2)
    for now_ms in range(0, 1200, 150):
        desk.manager.heard(0, now_ms)
        desk.do(desk.manager.tick(now_ms))
    assert not desk.view.members[1].alive


def test_the_same_process_comes_back_from_the_dead_without_copies() -> None:
    desk = formed(3, replicas=2)
    desk.die(1, "worker-1")
    desk.register(5, registration("worker-1", 2))
    member = desk.view.members[1]
    assert (member.alive, member.incarnation) == (True, 2)
    assert not (desk.view.table == 1).any()
    assert not desk.view.copied_by(1).any()


# Losses


def test_the_last_copy_stays_where_it_is() -> None:
    desk = formed(replicas=1, on_total_loss="refuse")
    before = desk.view
    desk.die(1, "worker-1")
    assert desk.view.table.tolist() == before.table.tolist()
    assert set(desk.view.routes[before.table == 1]) == {NOBODY}
    desk.register(5, registration("worker-1", 2))
    assert desk.view.routes.tolist() == before.table.tolist()
    assert set(desk.view.epochs.tolist()) == {1}, "the same process, the same epoch"


def test_what_is_lost_is_refused_for_good() -> None:
    desk = formed(replicas=1, on_total_loss="refuse")
    lost = desk.view.table == 1
    desk.die(1, "worker-1")
    assert "had the last copy" in desk.manager.explain(int(np.flatnonzero(lost)[0])).why
    desk.register(5, registration("worker-1", 99))
    desk.tick(1980, 0, 5)
    assert set(desk.view.table[lost].tolist()) == {NOBODY}
    assert set(desk.view.epochs[lost].tolist()) == {desk.view.version}
    assert "restart-empty" in desk.manager.explain(int(np.flatnonzero(lost)[0])).why
    again = Desk(Rules(expected_workers=2, on_total_loss="restart-empty"), desk.state)
    again.register(0, registration("worker-0", 1))
    again.register(1, registration("worker-1", 99))
    again.tick(980, 0, 1)
    assert (again.view.table != NOBODY).all(), "the operator has decided otherwise"


def test_what_is_lost_begins_anew_with_the_next_process_of_the_name() -> None:
    desk = formed()
    before = desk.view
    desk.die(1, "worker-1")
    assert desk.view.table.tolist() == before.table.tolist()
    view = published(desk.register(5, registration("worker-1", 99))).view
    assert view.table.tolist() == before.table.tolist()
    assert set(view.epochs[before.table == 1].tolist()) == {view.version}
    assert set(view.epochs[before.table == 0].tolist()) == {1}


def test_of_several_dead_copies_any_leads_that_comes_back() -> None:
    desk = formed(2, replicas=2)
    before = desk.view
    desk.do(desk.manager.broken(0, 0))
    desk.do(desk.manager.broken(1, 0))
    desk.do(desk.manager.probed("worker-0", False, 0))
    assert desk.view.counts() == [0, 1021]
    desk.do(desk.manager.probed("worker-1", False, 0))
    assert desk.view.counts() == [0, 1021]
    assert set(desk.view.routes.tolist()) == {NOBODY}
    desk.register(5, registration("worker-1", 2))
    assert set(desk.view.routes.tolist()) == {1}
    assert desk.view.version > before.version


def test_both_die_in_one_view() -> None:
    world = World(small(expected_workers=2)).form(2)
    world.store_delay_ms = 300
    world.run(200)
    world.kill("worker-0")
    world.kill("worker-1")
    world.settle()
    assert not any(member.alive for member in world.manager.view.members)
    assert world.manager.figures().refused == 31


# Copies, learners, heirs


def test_who_survives_beside_a_new_primary_stays_a_copy() -> None:
    desk = formed(4, replicas=3)
    before = desk.view
    desk.die(1, "worker-1")
    view = desk.view
    led = before.table == 1
    assert view.table[led].tolist() == before.replicas[led, 0].tolist()
    assert view.replicas[led, 0].tolist() == before.replicas[led, 1].tolist()
    assert set(view.copies()[led | before.copied_by(1)].tolist()) == {2}


def test_the_third_copy_serves_what_a_first_and_a_second_death_leave() -> None:
    desk = formed(4, replicas=3)
    before = desk.view
    manager = desk.manager
    manager.broken(1, 0)
    manager.broken(2, 0)
    (store,) = manager.probed("worker-1", False, 0)
    manager.probed("worker-2", False, 0)
    desk.do(manager.stored(store.revision, "", 0))
    assert not np.isin(desk.view.table, (1, 2, NOBODY)).any()
    both = (before.table == 1) & (before.replicas[:, 0] == 2)
    assert desk.view.table[both].tolist() == before.replicas[both, 1].tolist()
    assert (desk.view.routes != NOBODY).all()


def learning(**rules: Any) -> tuple[Desk, int]:
    """worker-1 of three has died and is back, and is a learner of this partition, whose primary is worker-0."""
    desk = formed(3, replicas=2, **rules)
    desk.die(1, "worker-1")
    desk.register(5, registration("worker-1", 7))
    desk.tick(980, 0, 2, 5)
    found = np.flatnonzero((desk.view.learners == 1) & (desk.view.table == 0))
    return desk, int(found[0])


def caught(desk: Desk, partition: int, **others: Any) -> CaughtUp:
    view = desk.view
    told = {
        "partition": partition,
        "epoch": int(view.epochs[partition]),
        "learner": "worker-1",
        "incarnation": 7,
        "version": view.version,
    }
    return CaughtUp(**told | others)


def say(desk: Desk, link: int, now_ms: int = 1000, **reports: Any) -> None:
    desk.now_ms = now_ms
    desk.do(desk.manager.report(link, Report(**reports), now_ms))
    desk.tick(now_ms + 980 - now_ms % 20, 0, 2, 5)


def test_a_learner_that_caught_up_is_counted() -> None:
    desk, partition = learning()
    epoch = int(desk.view.epochs[partition])
    assert ("worker-1", 7) not in copies_of(desk.view, partition)
    say(desk, 0, caught_up=[caught(desk, partition)])
    assert ("worker-1", 7) in copies_of(desk.view, partition)
    assert int(desk.view.epochs[partition]) == epoch, "the primary is the same"


@pytest.mark.parametrize(
    "wrong",
    [
        {"epoch": 1_000},
        {"incarnation": 2},
        {"learner": "worker-2"},
        {"version": 2},
        {"version": 9_999},
        {"learner": "x"},
    ],
)
def test_a_claim_about_another_learner_view_or_epoch_is_void(wrong: dict[str, Any]) -> None:
    desk, partition = learning()
    say(desk, 0, caught_up=[caught(desk, partition, **wrong)])
    assert ("worker-1", 7) not in copies_of(desk.view, partition)


def test_only_the_primary_is_believed() -> None:
    desk, partition = learning()
    say(desk, 2, caught_up=[caught(desk, partition)])
    say(desk, 77, caught_up=[caught(desk, partition)])
    stray = caught(desk, partition)
    stray.partition = 4_000_000
    say(desk, 0, caught_up=[stray])
    assert ("worker-1", 7) not in copies_of(desk.view, partition)


def test_a_learner_of_which_nothing_is_heard_is_withdrawn_and_tried_again() -> None:
    desk, partition = learning(partitions=31)
    seen = []
    for now_ms in range(1000, 30_000, 20):
        for link in (0, 2, 5):
            desk.manager.heard(link, now_ms)
        desk.do(desk.manager.tick(now_ms))
        seen.append(int(desk.view.learners[partition]))
    changes = [learner for learner, before in zip(seen, [1, *seen], strict=False) if learner != before]
    assert changes[:2] == [NOBODY, 2], "perhaps just these two cannot reach each other"
    assert changes[2:4] == [NOBODY, 1]


def test_one_learner_that_gets_on_speaks_for_the_others() -> None:
    desk, _ = learning()
    waiting = [int(p) for p in np.flatnonzero((desk.view.learners == 1) & (desk.view.table == 0))]
    last = waiting[-1]
    for number, partition in enumerate(waiting[:7]):
        say(desk, 0, 2000 + 2000 * number, caught_up=[caught(desk, partition)])
        assert desk.view.learners[last] == 1, f"after {2000 * number} ms"


def test_a_copy_that_differs_is_made_anew() -> None:
    desk = formed(2, replicas=2)
    partition = int(np.flatnonzero(desk.view.table == 0)[0])
    differs = Diverged(partition=partition, epoch=1, replica="worker-1", incarnation=2, version=desk.view.version)
    desk.do(desk.manager.report(0, Report(diverged=[differs]), 10))
    assert copies_of(desk.view, partition) == [("worker-0", 1)]
    desk.tick(980, 0, 1)
    assert desk.view.learners[partition] == 1
    assert (desk.view.learners != NOBODY).sum() == 1


def test_a_copy_that_was_made_anew_does_not_differ_by_an_old_report() -> None:
    desk, partition = learning()
    old = desk.view.version
    say(desk, 0, caught_up=[caught(desk, partition)])
    epoch = int(desk.view.epochs[partition])
    late = Diverged(partition=partition, epoch=epoch, replica="worker-1", incarnation=7, version=old)
    say(desk, 0, 3000, diverged=[late])
    assert ("worker-1", 7) in copies_of(desk.view, partition)
    now = Diverged(partition=partition, epoch=epoch, replica="worker-1", incarnation=7, version=desk.view.version)
    desk.do(desk.manager.report(0, Report(diverged=[now]), 4000))
    assert ("worker-1", 7) not in copies_of(desk.view, partition)


def test_a_peer_that_owes_an_answer_is_no_copy_of_that_primary() -> None:
    desk = formed(3, replicas=2)
    desk.do(desk.manager.report(0, Report(silent=["worker-1", "worker-9"]), 10))
    view = desk.view
    assert not view.copied_by(1)[view.table == 0].any()
    assert view.copied_by(1)[view.table == 2].any()
    assert view.copied_by(0)[view.table == 1].any()
    desk.tick(980, 0, 1, 2)
    again = (desk.view.learners == 1) & (desk.view.table == 0)
    assert not again.any(), "not at once"


def test_an_heir_takes_over_what_was_sealed_for_it() -> None:
    world = World(small()).form(3)
    world.join("worker-3")
    for _ in range(500):
        world.step()
    handed = [
        (before, after, partition)
        for before, after in pairwise(world.views)
        for partition in range(31)
        if before.heirs[partition] != NOBODY and after.epochs[partition] != before.epochs[partition]
    ]
    assert handed
    for before, after, partition in handed:
        heir = before.members[before.heirs[partition]]
        assert copies_of(after, partition)[0] == (heir.name, heir.incarnation)
        assert copies_of(after, partition)[1] == copies_of(before, partition)[0], "the old primary is next"
        assert after.heirs[partition] == NOBODY


def handing_over(group: int = 1) -> tuple[Any, ...]:
    """A third worker has come to two; the first group that changes hands is of so few partitions: these."""
    desk = formed(2, replicas=2, handover_group=group)
    desk.register(7, registration("worker-2", 3))
    desk.tick(980, 0, 1, 7)
    partitions = np.flatnonzero(desk.view.heirs != NOBODY).tolist()
    assert len(partitions) == group
    return desk, *partitions


def test_a_seal_for_another_heir_or_view_is_void() -> None:
    desk, partition = handing_over()
    primary, heir = int(desk.view.table[partition]), int(desk.view.heirs[partition])
    good = {"partition": partition, "epoch": 1, "heir": f"worker-{heir}", "version": desk.view.version}
    for wrong in ({"heir": "worker-2"}, {"epoch": 2}, {"version": 1}, {"version": 9999}):
        desk.do(desk.manager.report(primary, Report(sealed=[Sealed(**good | wrong)]), 980))
        assert desk.view.table[partition] == primary, wrong
    desk.do(desk.manager.report(heir, Report(sealed=[Sealed(**good)]), 980))
    assert desk.view.table[partition] == primary, "said by another than the primary"
    desk.do(desk.manager.report(primary, Report(sealed=[Sealed(**good)]), 980))
    assert desk.view.table[partition] == heir


def test_an_heir_of_which_nothing_is_heard_is_withdrawn() -> None:
    desk, partition = handing_over()
    desk.tick(1980, 0, 1, 7)
    assert desk.view.heirs[partition] == NOBODY, "it takes no events as long as it waits"


def test_nothing_is_stored_while_an_heir_is_waited_for_but_what_ends_the_wait() -> None:
    desk, partition = handing_over()
    version, primary = desk.view.version, int(desk.view.table[partition])
    learning = int(np.flatnonzero((desk.view.learners == 2) & (desk.view.table == primary))[0])
    said = Report(caught_up=[caught(desk, learning, learner="worker-2", incarnation=3)])
    assert desk.manager.report(primary, said, 900) == []
    assert desk.manager.tick(1000) == []
    heir = f"worker-{int(desk.view.heirs[partition])}"
    sealed = Sealed(partition=partition, epoch=1, heir=heir, version=version)
    desk.do(desk.manager.report(primary, Report(sealed=[sealed]), 1000))
    assert desk.view.version > version
    assert ("worker-2", 3) in copies_of(desk.view, learning), "counted with it"


@pytest.mark.parametrize("is_late", [False, True])
def test_one_view_ends_the_pause_of_all_who_seal_before_the_next_tick(is_late: bool) -> None:
    desk, first, second = handing_over(2)
    view = desk.view

    def seal(partition: int) -> Sequence[Order]:
        heir = f"worker-{int(view.heirs[partition])}"
        sealed = Sealed(partition=partition, epoch=1, heir=heir, version=view.version)
        return desk.manager.report(int(view.table[partition]), Report(sealed=[sealed]), 990)

    assert seal(first) == []
    (order,) = desk.manager.tick(1000) if is_late else seal(second)
    assert isinstance(order, Store)
    desk.do([order])
    assert desk.view.table[first] == view.heirs[first]
    assert (desk.view.table[second] == view.heirs[second]) != is_late


def test_learners_that_catch_up_one_after_the_other_are_counted_together() -> None:
    desk, _ = learning()
    version = desk.view.version
    waiting = np.flatnonzero((desk.view.learners == 1) & (desk.view.table == 0)).tolist()
    for place, partition in enumerate(waiting[:4]):
        assert desk.manager.report(0, Report(caught_up=[caught(desk, partition)]), 1000 + 10 * place) == []
    desk.do(desk.manager.tick(1040))
    assert desk.view.version == version + 1
    assert all(("worker-1", 7) in copies_of(desk.view, partition) for partition in waiting[:4])


def test_the_last_learners_are_counted_at_once() -> None:
    desk, _ = learning()
    everybody = np.flatnonzero(desk.view.learners != NOBODY).tolist()
    for link, primary in ((0, 0), (2, 2)):
        theirs = [each for each in everybody if desk.view.table[each] == primary]
        orders = desk.manager.report(link, Report(caught_up=[caught(desk, each) for each in theirs]), 1000)
    assert isinstance(orders[-1], Store)


def test_partitions_change_hands_together() -> None:
    """Each group makes everybody wait: so it is full, or all that there are."""
    world = World(small(partitions=1021, handover_group=150)).form(3)
    world.join("worker-3")
    world.settle()
    begun = [int(((after.heirs != NOBODY) & (before.heirs == NOBODY)).sum()) for before, after in pairwise(world.views)]
    groups = [count for count in begun if count]
    assert all(count == 150 for count in groups[:-1]), groups
    assert len(groups) == -(-sum(groups) // 150)


def test_few_partitions_change_hands_at_a_time() -> None:
    world = World(small(partitions=1021, handover_group=64, learners_a_primary=32)).form(3)
    world.join("worker-3")
    world.settle()
    learners = max(int((view.learners != NOBODY).sum()) for view in world.views)
    heirs = max(int((view.heirs != NOBODY).sum()) for view in world.views)
    assert 0 < heirs <= 64
    assert 0 < learners <= 3 * 32
    assert world.manager.view.table.tolist() == maglev({f"worker-{n}": 1 for n in range(4)}, 1021).tolist()


def test_a_death_copies_only_what_has_lost_a_copy() -> None:
    world = World(small(partitions=1021, replicas=2)).form(4)
    world.run(200)
    before = world.manager.view
    touched = (before.table == 3) | before.copied_by(3)
    world.kill("worker-3")
    world.settle()
    seen = np.any([view.learners != NOBODY for view in world.views], axis=0)
    assert seen[touched].all()
    assert (seen & ~touched).sum() < 0.1 * 1021, "copies that are as good as the table's stay where they are"


def test_copies_are_on_different_hosts_and_zones() -> None:
    world = World(small(expected_workers=4))
    for number, (host, zone) in enumerate((("a", "east"), ("a", "east"), ("b", "east"), ("c", "west"))):
        world.join(f"worker-{number}", host=host, zone=zone)
    world.run(100)
    view = world.manager.view
    zones = [view.members[place].zone for place in view.table]
    others = [view.members[place].zone for place in view.replicas[:, 0]]
    assert all(one != other for one, other in zip(zones, others, strict=True))


def test_copies_move_to_another_host_once_there_is_one() -> None:
    world = World(small(expected_workers=2)).form(2, hosts=1)
    world.run(200)
    world.join("worker-2", host="host-9")
    world.settle()
    view = world.manager.view
    hosts = np.array([member.host for member in view.members])
    assert (hosts[view.table] != hosts[view.replicas[:, 0]]).all()


# The store


def test_nothing_is_told_before_it_is_stored() -> None:
    manager = Manager(Rules(expected_workers=1, cluster="c"))
    (store,) = manager.start(0)
    assert isinstance(store, Store)
    assert [type(order) for order in manager.register(0, registration("a"), 0)] == [Admit]
    assert not manager.formed
    (view,) = manager.stored(store.revision, "", 0)
    assert isinstance(view, Store)
    assert not manager.formed
    (publish,) = manager.stored(view.revision, "", 0)
    assert isinstance(publish, Publish)
    assert manager.formed


def test_what_happens_while_the_store_writes_goes_into_the_next_view() -> None:
    desk = formed(4, replicas=2)
    manager = desk.manager
    manager.broken(1, 0)
    (store,) = manager.probed("worker-1", False, 0)
    assert isinstance(store, Store)
    manager.broken(2, 0)
    assert manager.probed("worker-2", False, 0) == []
    publish, following = manager.stored(store.revision, "", 0)
    assert isinstance(publish, Publish)
    assert isinstance(following, Store)
    assert [member.alive for member in publish.view.members] == [True, False, True, True]
    (last,) = manager.stored(following.revision, "", 0)
    assert [member.alive for member in last.view.members] == [True, False, False, True]


def test_a_store_that_fails_leaves_the_old_view_and_is_tried_again() -> None:
    desk = formed(3, replicas=2)
    manager, view = desk.manager, desk.view
    manager.broken(1, 0)
    (store,) = manager.probed("worker-1", False, 0)
    assert manager.stored(store.revision - 1, "disk full", 0) == []
    assert manager.view is view
    assert manager.trouble == "disk full"
    assert manager.tick(100) == []
    (again,) = manager.tick(200)
    assert isinstance(again, Store)
    assert again.revision > store.revision, "it goes over what may have landed"
    (publish, *_) = manager.stored(again.revision, "", 220)
    assert isinstance(publish, Publish)
    assert not publish.view.members[1].alive
    assert manager.trouble == ""


def test_an_error_of_what_has_landed_all_the_same() -> None:
    desk = formed(3, replicas=2)
    desk.manager.broken(1, 0)
    (store,) = desk.manager.probed("worker-1", False, 0)
    (publish, *_) = desk.manager.stored(store.revision, "timed out", 0)
    assert isinstance(publish, Publish)


def test_claims_outlive_a_store_that_fails() -> None:
    desk, partition = learning()
    orders = desk.manager.report(0, Report(caught_up=[caught(desk, partition)]), 1000)
    (store,) = [*orders, *desk.manager.tick(1040)]
    assert isinstance(store, Store)
    desk.manager.stored(store.revision - 1, "disk full", 1040)
    desk.tick(2980, 0, 2, 5)
    assert ("worker-1", 7) in copies_of(desk.view, partition)


def test_a_manager_that_begins_again_goes_on() -> None:
    desk = formed(3, replicas=2)
    desk.die(1, "worker-1")
    again = Desk(Rules(expected_workers=3, replicas=2), desk.state)
    manager = again.manager
    assert manager.generation == desk.manager.generation + 1
    assert Probe("worker-0", "worker-0:1", 1) in again.orders
    assert not manager.formed, "nobody has said what is served"
    assert manager.missing() == "waiting for workers: 0 of 3 have joined"
    publish = published(again.register(9, registration("worker-2", 3, cluster="prod", view_version=desk.view.version)))
    assert publish.links == (None, None, 9)
    assert publish.view.version == desk.view.version
    assert manager.formed
    assert manager.view.cluster == "prod"
    again.register(8, registration("worker-0", 1))
    again.tick(4980, 8, 9)
    assert again.view.counts()[1] == 0
    assert again.view.members[0].alive


def test_after_a_restart_workers_have_time_to_dial() -> None:
    desk = formed(3, replicas=2)
    again = Desk(Rules(expected_workers=3, replicas=2), desk.state)
    again.register(9, registration("worker-2", 3))
    alive = []
    for now_ms in range(0, 5100, 20):
        again.manager.heard(9, now_ms)
        again.do(again.manager.tick(now_ms))
        alive.append([member.alive for member in again.view.members])
    assert alive[248] == [True, True, True]
    assert alive[251] == [False, False, True]
    both = [place for place, member in enumerate(desk.view.members) if member.name != "worker-2"]
    lost = np.isin(desk.view.table, both) & ~desk.view.copied_by(2)
    assert again.view.table[lost].tolist() == desk.view.table[lost].tolist(), "nobody else has it"
    assert set(again.view.table[~lost].tolist()) == {2}


def test_a_second_process_of_a_worker_that_has_not_dialled_waits() -> None:
    desk = formed(3, replicas=2)
    again = Desk(Rules(expected_workers=3, replicas=2), desk.state)
    assert refused(again.register(4, registration("worker-1", 50)))[0] == Code.UNAVAILABLE


def test_workers_that_have_not_dialled_yet_are_what_others_are_compared_with() -> None:
    desk = formed(3, replicas=2)
    again = Desk(Rules(expected_workers=3, replicas=2), desk.state)
    code, why = refused(again.register(4, registration("worker-9", 50, digest="other")))
    assert code == Code.FAILED_PRECONDITION
    assert "start all from the same app" in why


def test_a_manager_behind_its_workers_ends() -> None:
    desk = formed(3, replicas=2)
    old = desk.state
    desk.die(1, "worker-1")
    again = Desk(Rules(expected_workers=3, replicas=2), old)
    (fatal,) = again.register(4, registration("worker-0", 1, cluster="prod", view_version=desk.view.version))
    assert isinstance(fatal, Fatal)
    assert "old copy" in fatal.error.message


def test_the_state_of_another_cluster_is_refused() -> None:
    desk = formed()
    for rules, why in ((Rules(cluster="test"), "of cluster 'prod'"), (Rules(partitions=13), "--partitions 1021")):
        with pytest.raises(RingmillError, match=why):
            Manager(rules, desk.state)


def test_more_copies_may_be_asked_for_later() -> None:
    world = World(small(replicas=1, on_total_loss="refuse")).form(3)
    world.run(100)
    world.rules = replace(world.rules, replicas=2)
    world.restart_manager()
    world.settle()
    assert set(world.manager.view.copies().tolist()) == {2}


# Leaving


def test_a_worker_that_leaves_takes_nothing_with_it() -> None:
    world = World(small(replicas=1, on_total_loss="refuse")).form(3)
    world.run(100)
    world.leave("worker-1")
    assert world.manager.workers()[1].state == "draining"
    world.settle()
    assert world.workers["worker-1"].exited
    assert [member.name for member in world.manager.view.members] == ["worker-0", "worker-2"]
    assert (world.manager.view.routes != NOBODY).all()
    assert world.restarted == []


def test_a_copy_that_leaves_is_replaced_first() -> None:
    world = World(small()).form(4)
    world.run(200)
    since = len(world.views)
    world.leave("worker-1")
    world.settle()
    assert len(world.manager.view.members) == 3
    assert min(int(view.copies().min()) for view in world.views[since:]) == 2


def test_a_draining_worker_serves_until_its_partitions_are_elsewhere() -> None:
    desk = formed(2, replicas=2)
    desk.register(3, registration("worker-2", 9))
    desk.do(desk.manager.drain(1, 0))
    assert (desk.view.routes == 1).any()
    assert desk.view.members[1].draining
    assert not [order for order in desk.orders if isinstance(order, LetGo)]


def test_who_could_leave_to_nobody_is_let_go() -> None:
    desk = formed(2, replicas=2)
    assert not [order for order in desk.do(desk.manager.drain(1, 0)) if isinstance(order, LetGo)]
    orders = desk.do(desk.manager.drain(0, 0))
    assert {order.link for order in orders if isinstance(order, LetGo)} == {0, 1}
    desk.do(desk.manager.broken(0, 0))
    assert [member.name for member in desk.view.members] == ["worker-1"]
    desk.do(desk.manager.broken(1, 0))
    assert [member.alive for member in desk.view.members] == [False], "it had the last copies"


def test_figures_of_workers() -> None:
    desk = formed(3, replicas=2)
    desk.manager.beat(1, Heartbeat(keys=7, state_bytes=70, events=700, uncommitted=2), 5)
    desk.die(2, "worker-2")
    first, second, third = desk.manager.workers()
    assert (second.keys, second.state_bytes, second.events, second.uncommitted) == (7, 70, 700, 2)
    assert first.partitions + second.partitions == 1021
    assert (first.state, third.state, third.partitions, third.copies) == ("serving", "dead", 0, 0)
    figures = desk.manager.figures()
    assert figures.short > 600
    assert figures.refused == 0
    desk.tick(980, 0, 1)
    learning = desk.manager.workers()[0].learning + desk.manager.workers()[1].learning
    assert learning == figures.short, "all at once"
    assert desk.manager.figures().moving >= learning


@pytest.mark.parametrize(
    ("rules", "why"),
    [
        ({"partitions": 1000}, "must be a prime"),
        ({"expected_workers": 0}, "workers"),
        ({"replicas": 0}, "replicas"),
        ({"replicas": 2, "min_in_sync": 3}, "min_in_sync"),
        ({"on_total_loss": "shrug"}, "on_total_loss"),
        ({"silence_ms": 200}, "three times"),
        ({"silence_ms": 350}, "our own sleep"),
    ],
)
def test_rules_that_contradict_each_other(rules: dict[str, Any], why: str) -> None:
    with pytest.raises(RingmillError, match=why):
        Manager(Rules(**rules))


def test_a_bare_registration_is_enough_for_one_copy() -> None:
    desk = Desk(Rules(expected_workers=1))
    bare = Registration(
        name="a", incarnation=1, pipelines=[DescribePipelineResponse(version="1")], pipeline_names=["p"]
    )
    desk.register(0, bare)
    assert desk.manager.formed
    assert desk.manager.catalogue["p"].events_max == 16_384
    bare.name, bare.incarnation = "b", 2
    code, why = refused(desk.register(1, bare))
    assert code == Code.FAILED_PRECONDITION
    assert "nothing can be moved to it" in why
