"""Where partitions should be."""

from collections.abc import Callable

import numpy as np
import pytest

from ringmill.balancer.placement import Placement
from ringmill.core.maglev import maglev
from ringmill.core.view import Member

PARTITIONS = 1021


def members(*places: tuple[str, str]) -> list[Member]:
    return [Member(f"w{n:02}", 1, host=host, zone=zone) for n, (host, zone) in enumerate(places)]


def table_without(everybody: list[Member], absent: set[str]) -> list[str]:
    present = [member.name for member in everybody if member.name not in absent]
    return [present[place] for place in maglev(dict.fromkeys(present, 1), PARTITIONS)]


@pytest.mark.parametrize(
    ("places", "beside"),
    [
        ([("", "")] * 4, lambda one, other: one.name == other.name),
        ([("a", ""), ("a", ""), ("b", ""), ("c", "")], lambda one, other: one.host == other.host),
        ([("a", "")] * 3, lambda one, other: one.name == other.name),
        ([("a", "e"), ("b", "e"), ("c", "f"), ("d", "f")], lambda one, other: one.zone == other.zone),
        ([("a", "e"), ("a", "e"), ("b", "e")], lambda one, other: one.host == other.host),
        ([("a", "e"), ("a", ""), ("b", "f")], lambda one, other: one.host == other.host),
    ],
)
def test_the_second_copy_is_where_the_table_goes_without_the_first_ones_place(
    places: list[tuple[str, str]], beside: Callable[[Member, Member], bool]
) -> None:
    everybody = members(*places)
    goal = Placement(PARTITIONS, 2).goal(everybody)
    assert goal is not None
    primaries = table_without(everybody, set())
    assert [goal.names[place] for place in goal.copies[:, 0]] == primaries
    by_primary = {
        one.name: table_without(everybody, {other.name for other in everybody if beside(one, other)})
        for one in everybody
    }
    wanted = [by_primary[primary][partition] for partition, primary in enumerate(primaries)]
    assert [goal.names[place] for place in goal.copies[:, 1]] == wanted


def test_three_copies_are_on_three_hosts() -> None:
    everybody = members(*((host, "") for host in "aabbcc"))
    goal = Placement(PARTITIONS, 3).goal(everybody)
    assert goal is not None
    hosts = np.array([member.host for member in everybody])[goal.copies]
    assert all(len(set(row)) == 3 for row in hosts.tolist())


def test_there_are_no_more_copies_than_workers() -> None:
    goal = Placement(PARTITIONS, 3).goal(members(("", ""), ("", "")))
    assert goal is not None
    assert goal.copies.shape == (PARTITIONS, 2)
    assert (goal.copies[:, 0] != goal.copies[:, 1]).all()
    assert Placement(PARTITIONS, 3).goal([]) is None


def test_copies_are_as_even_as_primaries() -> None:
    everybody = members(*((f"h{n}", "") for n in range(16)))
    goal = Placement(PARTITIONS, 2).goal(everybody)
    assert goal is not None
    counts = np.bincount(goal.copies.ravel(), minlength=16)
    assert counts.max() < 1.35 * counts.mean()
    assert np.ptp(np.bincount(goal.copies[:, 0], minlength=16)) <= 1


def test_goals_are_kept_and_forgotten() -> None:
    placement = Placement(13, 2)
    first = members(("a", ""), ("b", ""))
    goal = placement.goal(first)
    assert placement.goal(list(first)) is goal
    for number in range(20):
        placement.goal([*first, Member(f"x{number}", 1)])
    assert placement.goal(first) is not goal


def test_places_are_by_the_members_of_a_view() -> None:
    goal = Placement(13, 1).goal(members(("", ""), ("", "")))
    assert goal is not None
    everybody = [Member("a", 1), Member("w00", 1), Member("w01", 1)]
    assert goal.places(everybody).tolist() == (goal.copies + 1).tolist()
