"""What operators ask for: dry runs, progress, and that it is done in the end, also by the manager after this one."""

import re
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from ringmill.balancer.moves import Move
from ringmill.core.errors import Code, RingmillError
from ringmill.core.maglev import NOBODY
from tests.balancer.manager_world import World, small


def world(workers: int = 3, **rules: object) -> World:
    made = World(small(expected_workers=workers, **rules)).form(workers)
    made.supervised = True
    return made.run(200)


def finish(made: World, move: Move, limit_ms: int = 120_000) -> list[Move]:
    """Runs until the move is done; returns all that was told meanwhile."""
    told = [move]
    until = made.now + limit_ms
    while not told[-1].done:
        assert made.now < until, told[-1]
        made.run(20)
        told.append(made.manager.move(move.number))
    return told


def names(made: World) -> list[str]:
    return [member.name for member in made.manager.view.members]


def changed_hands(made: World, since: int) -> int:
    """Partitions that got another primary, counted each time, by views from this place on."""
    views = made.views[since - 1 :]
    return sum(int((after.epochs != before.epochs).sum()) for before, after in pairwise(views))


def copies_made(made: World, since: int) -> int:
    """Learners that became copies."""
    made_copies = 0
    for before, after in pairwise(made.views[since - 1 :]):
        for partition in np.flatnonzero(before.learners != NOBODY):
            learner = before.members[before.learners[partition]].name
            copies = {int(after.table[partition]), *(int(place) for place in after.replicas[partition])}
            made_copies += after.index(learner) in copies
    return made_copies


@pytest.mark.parametrize("replicas", [1, 2])
def test_scaling_up_moves_what_the_dry_run_said(replicas: int) -> None:
    made = world(replicas=replicas, on_total_loss="refuse")
    dry = made.manager.scale(5, True, made.now)
    assert (dry.number, dry.done) == (0, True)
    assert dry.text == "worker-3 joins, worker-4 joins"
    version, since = made.manager.view.version, len(made.views)
    assert made.manager.view.version == version
    assert made.wanted == ()
    told = finish(made, made.manager.scale(5, False, made.now))
    assert made.wanted == tuple(f"worker-{n}" for n in range(5))
    assert names(made) == [f"worker-{n}" for n in range(5)]
    made.settle()
    assert abs(changed_hands(made, since) - dry.total) <= 2
    assert abs(copies_made(made, since) - dry.copies) <= 3
    assert told[-1].moved == told[-1].total >= dry.total
    assert told[-1].copied == told[-1].copies
    assert [move.moved for move in told] == sorted(move.moved for move in told)
    assert made.restarted == []


@pytest.mark.parametrize("hosts", [1, 4])
def test_a_newcomer_on_the_host_of_all_others_moves_no_more_than_the_dry_run_said(hosts: int) -> None:
    made = World(small(expected_workers=4, partitions=1021)).form(4, hosts).run(200)
    dry = made.manager.scale(5, True, made.now)
    since = len(made.views)
    move = made.manager.scale(5, False, made.now)
    made.run(40)
    made.join("worker-4", host="host-0" if hosts == 1 else "host-4")
    (*_, last) = finish(made, move)
    assert (last.moved, last.total) == (changed_hands(made, since), dry.total)
    assert (last.copied, last.copies) == (copies_made(made, since), dry.copies)


def test_scaling_down_empties_the_last_ones() -> None:
    made = world(4, replicas=1, on_total_loss="refuse")
    dry = made.manager.scale(2, True, made.now)
    held = sum(made.manager.view.counts()[2:])
    assert held <= dry.total <= 31
    assert dry.text == "worker-2 leaves, worker-3 leaves"
    finish(made, made.manager.scale(2, False, made.now))
    assert names(made) == ["worker-0", "worker-1"]
    assert made.workers["worker-3"].exited
    assert made.wanted == ("worker-0", "worker-1")
    assert made.restarted == []
    assert (made.manager.view.routes != NOBODY).all()


def test_nobody_leaves_whose_copy_events_must_have() -> None:
    made = world(3, replicas=2, min_in_sync=2)
    with pytest.raises(RingmillError, match="events are taken only where 2 workers have them"):
        made.manager.scale(1, False, made.now)
    finish(made, made.manager.drain_worker("worker-1", False, made.now))
    with pytest.raises(RingmillError, match="and 1 would be left"):
        made.manager.drain_worker("worker-2", False, made.now)
    assert (made.manager.view.routes != NOBODY).all()
    made.kill("worker-2")
    made.run(1000)
    with pytest.raises(RingmillError, match="start another worker first"):
        made.manager.drain_worker("worker-2", False, made.now)  # it may come back


def test_names_are_in_the_order_of_their_numbers() -> None:
    made = World(small(expected_workers=11)).form(11)
    assert made.manager.scale(10, True, made.now).text == "worker-10 leaves"


def test_one_worker_is_drained() -> None:
    made = world(on_total_loss="refuse", replicas=1)
    made.slow = True
    told = finish(made, made.manager.drain_worker("worker-1", False, made.now))
    assert names(made) == ["worker-0", "worker-2"]
    assert told[0].text == "worker-1 leaves"
    assert told[-1].pause_ms > 0
    assert made.restarted == []


def test_all_are_restarted_one_after_the_other() -> None:
    made = world(on_total_loss="refuse", replicas=1)
    before = {member.name: member.incarnation for member in made.manager.view.members}
    told = finish(made, made.manager.restart_all(False, made.now))
    after = {member.name: member.incarnation for member in made.manager.view.members}
    assert before.keys() == after.keys()
    assert all(after[name] != incarnation for name, incarnation in before.items())
    assert made.restarted == [], "nothing was lost on the way"
    for view in made.views:
        assert len(view.members) >= 2
        assert sum(member.draining for member in view.members) <= 1
        assert (view.table != NOBODY).all()
    texts = [move.text for move in told]
    for name in before:
        assert f"restarting {name}: its partitions go elsewhere" in texts
        moved = [move.moved for move in told if f"restarting {name}" in move.text]
        assert moved[-1] > moved[0] or name == "worker-0", "told as it goes"
    assert [move.moved for move in told] == sorted(move.moved for move in told)
    assert told[-1].moved == told[-1].total == changed_hands(made, 2)


def test_of_two_workers_the_one_that_leaves_keeps_its_copies_to_the_last() -> None:
    made = world(2, replicas=2)
    since = len(made.views)
    finish(made, made.manager.restart_all(False, made.now))
    for view in made.views[since:]:
        short = (view.table != NOBODY) & (view.copies() < 2)
        served = set(view.table[view.table != NOBODY].tolist())
        assert len(served) == 1 or not short.any(), "both serve, and some partition has one copy"


@pytest.mark.parametrize("replicas", [1, 2])
def test_the_last_but_one_copy_is_kept_until_the_last_has_shown_that_it_lives(replicas: int) -> None:
    """The one that is to serve alone has died unseen: without a sign of life the other keeps what it has."""
    made = world(2, replicas=replicas)
    made.manager.drain_worker("worker-0", False, made.now)
    last = made.workers["worker-1"]
    while not (moving := made.manager.view.heirs == 1).any():
        made.step()
    last.hung = True
    while (made.manager.view.heirs == 1).any():
        made.step()
    assert (made.manager.view.table[moving] == 1).all()
    made.run(made.rules.silence_ms // 2)
    assert (made.manager.view.copies()[moving] == 2).all()
    assert not made.workers["worker-0"].exited
    last.hung = False
    made.settle()
    assert names(made) == ["worker-1"], "it lives, and the other may go"


def test_the_next_restart_waits_until_all_is_whole_again() -> None:
    made = world(replicas=2)
    made.slow = True
    since = len(made.views) - 1
    finish(made, made.manager.restart_all(False, made.now))
    begun = [
        before
        for before, after in pairwise(made.views[since:])
        if any(member.draining for member in after.members) and not any(member.draining for member in before.members)
    ]
    assert len(begun) == 3
    for view in begun:
        assert len(view.members) == 3
        assert all(member.alive for member in view.members)
        assert (view.copies() == 2).all()
        assert (view.learners == NOBODY).all()
        assert max(view.counts()) - min(view.counts()) <= 1, "the one before has its share again"


def test_the_next_manager_goes_on_with_it() -> None:
    made = world(on_total_loss="refuse", replicas=1)
    before = {member.incarnation for member in made.manager.view.members}
    made.manager.restart_all(False, made.now)
    for _ in range(60):
        made.run(300)
        made.restart_manager()
    made.settle()
    assert not before & {member.incarnation for member in made.manager.view.members}
    assert made.restarted == []


def test_a_later_request_takes_over() -> None:
    made = world()
    first = made.manager.scale(5, False, made.now)
    second = made.manager.scale(3, False, made.now)
    told = made.manager.move(first.number)
    assert told.done
    assert told.error is not None
    assert told.error.code == Code.ABORTED
    finish(made, second)
    assert names(made) == ["worker-0", "worker-1", "worker-2"]


def test_who_is_on_its_way_leaves_too() -> None:
    made = world()
    made.store_delay_ms = 400
    made.manager.scale(5, False, made.now)
    made.run(500)
    assert len(names(made)) == 3
    assert len(made.manager.workers()) == 5, "they have a seat, and are in no view"
    finish(made, made.manager.scale(3, False, made.now))
    made.settle()
    assert names(made) == ["worker-0", "worker-1", "worker-2"]
    assert made.workers["worker-4"].exited


def test_who_comes_after_it_is_not_wanted_any_more_is_let_go() -> None:
    made = world()
    made.supervised = False
    made.manager.scale(4, False, made.now)
    made.run(100)
    finish(made, made.manager.scale(3, False, made.now))
    made.join("worker-3")
    made.settle()
    assert made.workers["worker-3"].exited
    made.join("worker-3")
    made.settle()
    assert "worker-3" in names(made), "who is started once more is meant"


def test_a_worker_that_was_frozen_while_it_was_emptied_is_let_go_when_it_thaws() -> None:
    made = world(replicas=2)
    frozen = made.workers["worker-1"]
    move = made.manager.drain_worker("worker-1", False, made.now)
    frozen.hung = True
    finish(made, move)
    assert names(made) == ["worker-0", "worker-2"]
    frozen.hung = False
    made.settle()
    assert frozen.exited
    assert names(made) == ["worker-0", "worker-2"]


@pytest.mark.parametrize("knocks_before", [False, True])
def test_whoever_was_started_in_the_place_of_one_that_is_to_leave_leaves(knocks_before: bool) -> None:
    made = world(replicas=2)
    made.supervised = False
    made.workers["worker-1"].hung = True  # dead, and nobody knows yet
    if knocks_before:
        made.join("worker-1")
    made.manager.drain_worker("worker-1", False, made.now)
    if not knocks_before:
        made.run(100)
        made.join("worker-1")
    assert made.refused[-1][0] == "worker-1"
    made.settle()
    assert made.workers["worker-1"].exited
    assert names(made) == ["worker-0", "worker-2"]
    made.join("worker-1")
    made.settle()
    assert "worker-1" in names(made), "who is started once more is meant"


@pytest.mark.parametrize("dials_again", [False, True])
def test_who_comes_after_one_that_left_is_welcome_though_its_name_was_once_wanted(dials_again: bool) -> None:
    made = world(replicas=2)
    made.supervised = False
    first = made.workers["worker-1"]
    other = made.join("worker-1")  # by mistake: it is refused, and stopped
    made.workers["worker-1"], other.up = first, False
    assert made.refused[-1][0] == "worker-1"
    if dials_again:
        made.probes.clear()  # what its machine says is lost
        made.cut("worker-1")
        made.probes.clear()
    made.run(100)
    assert made.workers["worker-1"].link is not None
    finish(made, made.manager.drain_worker("worker-1", False, made.now))
    made.settle()
    assert first.exited
    made.join("worker-1")
    made.settle()
    assert "worker-1" in names(made), "nobody has asked this one to leave"


def test_a_restart_wants_the_dead_as_well() -> None:
    made = world(replicas=2)
    made.kill("worker-1")
    made.run(1000)
    move = made.manager.restart_all(False, made.now)
    made.run(200)
    assert made.wanted == ("worker-0", "worker-1", "worker-2")
    made.join("worker-1")
    finish(made, move)
    assert names(made) == ["worker-0", "worker-1", "worker-2"]


@pytest.mark.parametrize("begun", [False, True])
def test_nobody_is_restarted_while_another_is_dead(begun: bool) -> None:
    made = world(replicas=2)
    made.slow = True
    if not begun:
        made.kill("worker-2")
        made.run(1000)
    move = made.manager.restart_all(False, made.now)
    made.run(200)
    if begun:
        assert any(member.draining for member in made.manager.view.members)
        made.kill("worker-2")
    made.settle()
    assert not any(member.draining for member in made.manager.view.members)
    assert (made.manager.view.copies() == 2).all(), "two are left, and both hold everything"
    assert "waiting for worker-2 to come back" in made.manager.move(move.number).text
    made.join("worker-2")
    finish(made, move)
    assert all(member.alive for member in made.manager.view.members)


def test_a_dead_worker_without_copies_is_only_forgotten() -> None:
    made = world(replicas=2)
    made.kill("worker-1")
    made.settle()
    assert len(names(made)) == 3
    finish(made, made.manager.drain_worker("worker-1", False, made.now))
    assert names(made) == ["worker-0", "worker-2"]


def test_a_dead_worker_with_the_last_copies_is_not_given_up_lightly() -> None:
    made = world(replicas=1, on_total_loss="refuse")
    made.kill("worker-1")
    made.run(1000)
    for ask in (lambda: made.manager.drain_worker("worker-1", False, 0), lambda: made.manager.scale(1, False, 0)):
        with pytest.raises(RingmillError, match=re.escape("last copy of")) as refused:
            ask()
        assert refused.value.code == Code.FAILED_PRECONDITION
    made.rules = replace(made.rules, on_total_loss="restart-empty")
    made.restart_manager()
    made.run(6000)
    finish(made, made.manager.drain_worker("worker-1", False, made.now))
    assert names(made) == ["worker-0", "worker-2"]
    made.settle()
    assert made.restarted
    assert (made.manager.view.routes != NOBODY).all()


def test_what_cannot_be_asked_for() -> None:
    made = world()
    manager = made.manager
    for ask, code, why in (
        (lambda: manager.scale(0, False, 0), Code.INVALID_ARGUMENT, "1 to 30"),
        (lambda: manager.scale(31, True, 0), Code.INVALID_ARGUMENT, "1 to 30"),
        (lambda: manager.drain_worker("w9", False, 0), Code.NOT_FOUND, "no worker 'w9'; there are worker-0, worker-1"),
        (lambda: manager.move(7), Code.NOT_FOUND, "no request 7"),
    ):
        with pytest.raises(RingmillError, match=why) as refused:
            ask()
        assert refused.value.code == code
    lone = world(1, replicas=1)
    for ask in (lambda: lone.manager.drain_worker("worker-0", True, 0), lambda: lone.manager.restart_all(True, 0)):
        with pytest.raises(RingmillError) as refused:
            ask()
        assert refused.value.code == Code.FAILED_PRECONDITION
    pair = world(2, replicas=1)
    pair.manager.drain_worker("worker-0", False, 0)
    with pytest.raises(RingmillError, match="nobody else"):  # though no view says yet that the other one leaves
        pair.manager.drain_worker("worker-1", False, 0)
    forming = World(small())
    with pytest.raises(RingmillError, match="not formed") as refused:
        forming.manager.scale(2, False, 0)
    assert refused.value.code == Code.UNAVAILABLE


def test_a_worker_that_never_heard_that_it_may_go_is_told_again() -> None:
    made = world(replicas=2)
    deaf = made.workers["worker-1"]
    finish(made, made.manager.drain_worker("worker-1", False, made.now))
    made.settle()
    assert deaf.exited
    made.restart_manager()
    deaf.exited = False
    made.dial(deaf)
    made.settle()
    assert deaf.exited
    assert names(made) == ["worker-0", "worker-2"]


def test_those_who_leave_are_not_restarted() -> None:
    """Else the last who stays would wait for others to take over what it holds, and they for it."""
    made = world()
    made.manager.scale(1, False, made.now)
    with pytest.raises(RingmillError, match="scale to two first"):
        made.manager.restart_all(False, made.now)


def test_all_who_have_the_copies_may_leave_while_others_come() -> None:
    """Each of them leads something and keeps its copies until it does not: there may be twice as many meanwhile."""
    made = world(3, replicas=3)
    made.join("worker-3")
    made.manager.drain_worker("worker-1", False, made.now)
    made.manager.drain_worker("worker-2", False, made.now)
    made.run(20).join("worker-4")
    made.run(20).join("worker-5")
    made.manager.drain_worker("worker-0", False, made.now)
    made.run(20).join("worker-6")
    made.settle()
    assert names(made) == [f"worker-{number}" for number in range(3, 7)]
    assert (made.manager.view.copies() == 3).all()


def test_who_dies_while_it_leaves_by_itself_is_forgotten_once_it_has_nothing() -> None:
    made = world(3, replicas=2)
    made.leave("worker-2")
    made.run(20)
    assert "worker-2" in names(made)
    made.kill("worker-2")
    made.settle()
    assert names(made) == ["worker-0", "worker-1"]
    assert (made.manager.view.copies() == 2).all()
