"""What supervisors are told of a new view."""

from dataclasses import replace

import numpy as np
import pytest

from ringmill.balancer.news import news_of
from ringmill.balancer.rules import Rules
from ringmill.core.maglev import NOBODY
from ringmill.core.view import Member, View

RULES = Rules(expected_workers=3, partitions=5, replicas=2)


def column(*indices: int) -> np.ndarray:
    return np.array(indices, np.int32)


@pytest.fixture
def view() -> View:
    """worker-0 leads two partitions, worker-1 two and worker-2 one; the next one has a copy."""
    return View(
        7,
        "c",
        tuple(Member(f"worker-{index}", index + 10) for index in range(3)),
        column(0, 0, 1, 1, 2),
        epochs=np.full(5, 7, np.uint64),
        replicas=column(1, 1, 2, 0, 0)[:, None],
    )


def without_worker_1(view: View) -> View:
    members = tuple(replace(member, alive=member.name != "worker-1") for member in view.members)
    return replace(
        view,
        version=8,
        members=members,
        table=column(0, 0, 2, 0, 2),
        epochs=np.array([7, 7, 8, 8, 7], np.uint64),
        replicas=column(NOBODY, NOBODY, NOBODY, NOBODY, 0)[:, None],
    )


def test_a_failover_names_who_goes_on(view: View) -> None:
    told = news_of(view, without_worker_1(view), RULES)
    assert told == [{"event": "failover", "worker": "worker-1", "partitions": 2, "by": ["worker-0", "worker-2"]}]


def test_that_all_copies_are_there_again_is_told_once(view: View) -> None:
    short = without_worker_1(view)
    whole = replace(short, version=9, replicas=column(2, 2, 0, 2, 0)[:, None])
    assert news_of(short, whole, RULES) == [{"event": "whole"}]
    assert news_of(whole, replace(whole, version=10), RULES) == []


def test_the_last_copy_is_a_loss(view: View) -> None:
    lonely = without_worker_1(view)
    members = tuple(replace(member, alive=member.name == "worker-2") for member in view.members)
    assert news_of(lonely, replace(lonely, version=9, members=members), RULES) == [
        {"event": "lost", "worker": "worker-0", "partitions": 3}
    ]


def test_what_begins_anew_is_told(view: View) -> None:
    before = replace(view, replicas=np.full((5, 1), NOBODY, np.int32))
    members = tuple(
        replace(each, incarnation=99 if each.name == "worker-1" else each.incarnation) for each in view.members
    )
    after = replace(before, version=8, members=members, epochs=np.array([7, 7, 8, 8, 7], np.uint64))
    assert news_of(before, after, RULES) == [{"event": "restarted", "worker": "worker-1", "partitions": 2}]


def test_a_handover_is_no_news(view: View) -> None:
    after = replace(
        view,
        version=8,
        table=column(1, 0, 1, 1, 2),
        replicas=column(0, 1, 2, 0, 0)[:, None],
        epochs=np.array([8, 7, 7, 7, 7], np.uint64),
    )
    assert news_of(view, after, RULES) == []


def test_the_first_view_is_no_news(view: View) -> None:
    nothing = View(0, "c", (), column(*[NOBODY] * 5))
    assert news_of(nothing, view, RULES) == []
