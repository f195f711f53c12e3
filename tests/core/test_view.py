"""The view: what it refuses to be, what it tells, and its way over a link."""

import numpy as np
import pytest

from ringmill.core.errors import RingmillError
from ringmill.core.view import Member, View, view_from_proto, view_to_proto
from ringmill.internal.v1 import link_pb2


def some_view() -> View:
    members = (Member("a", 7, address="127.0.0.1:1"), Member("b", 8, weight=2, alive=False), Member("c", 9))
    return View(5, "prod", members, np.array([0, 1, 2, 1, -1], np.int32))


def test_way_over_a_link() -> None:
    view = some_view()
    back = view_from_proto(link_pb2.View.FromString(view_to_proto(view).SerializeToString()))
    assert (back.version, back.cluster, back.members) == (view.version, view.cluster, view.members)
    assert back.table.dtype == np.int32
    assert back.table.tolist() == view.table.tolist()


def test_routes_leave_out_the_dead() -> None:
    assert some_view().routes.tolist() == [0, -1, 2, -1, -1]


def test_owned() -> None:
    assert some_view().owned("b").tolist() == [0, 1, 0, 1, 0]
    assert some_view().owned("b").dtype == np.uint8
    assert some_view().owned("stranger").tolist() == [0] * 5


def test_counts() -> None:
    assert some_view().counts() == [1, 2, 1]


def test_is_immutable() -> None:
    with pytest.raises(ValueError, match="read-only"):
        some_view().table[0] = 1


@pytest.mark.parametrize("names", [("b", "a"), ("a", "a")])
def test_members_are_unique_and_sorted(names: tuple[str, str]) -> None:
    with pytest.raises(RingmillError, match="in the order of their names"):
        View(1, "", tuple(Member(name, 1) for name in names), np.zeros(3, np.int32))


@pytest.mark.parametrize("owner", [-2, 1])
def test_the_table_names_members_only(owner: int) -> None:
    with pytest.raises(RingmillError, match="names a worker that is none"):
        View(1, "", (Member("a", 1),), np.array([0, owner], np.int32))


def test_a_view_with_missing_owners_is_refused() -> None:
    message = view_to_proto(some_view())
    del message.owners[-1]
    with pytest.raises(RingmillError, match="5 partitions have 4 owners"):
        view_from_proto(message)
