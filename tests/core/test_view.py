"""The view: what it refuses to be, what it tells, and its way over a link."""

import numpy as np
import pytest

from ringmill.core.errors import RingmillError
from ringmill.core.view import HELD, Member, View, view_from_proto, view_to_proto
from ringmill.internal.v1 import link_pb2


def some_view() -> View:
    members = (Member("a", 7, address="127.0.0.1:1"), Member("b", 8, weight=2, alive=False), Member("c", 9))
    return View(5, "prod", members, np.array([0, 1, 2, 1, -1], np.int32))


def copied_view(min_in_sync: int = 1) -> View:
    """Partitions 0 to 4: two copies; three; one and a learner; an heir; a dead primary."""
    members = (Member("a", 7, host="x"), Member("b", 8, zone="z", draining=True), Member("c", 9, alive=False))
    return View(
        5,
        "prod",
        members,
        np.array([0, 1, 0, 1, 2], np.int32),
        epochs=np.array([1, 2, 3, 2**63, 5], np.uint64),
        replicas=np.array([[1, -1], [0, 2], [-1, -1], [0, -1], [-1, -1]], np.int32),
        learners=np.array([-1, -1, 1, -1, -1], np.int32),
        heirs=np.array([-1, -1, -1, 0, -1], np.int32),
        min_in_sync=min_in_sync,
    )


def test_copies_travel_with_the_view() -> None:
    view = copied_view(2)
    back = view_from_proto(link_pb2.View.FromString(view_to_proto(view).SerializeToString()))
    assert back.members == view.members
    for name in ("table", "epochs", "replicas", "learners", "heirs"):
        assert np.array_equal(getattr(back, name), getattr(view, name)), name
        assert getattr(back, name).dtype == getattr(view, name).dtype, name
    assert back.min_in_sync == 2


def test_copies_are_counted_with_the_primary() -> None:
    assert copied_view().copies().tolist() == [2, 3, 1, 2, 1]
    assert some_view().copies().tolist() == [1, 1, 1, 1, 0]


def test_who_copies_what() -> None:
    assert copied_view().copied_by(0).tolist() == [False, True, False, True, False]
    assert copied_view().copied_by(2).tolist() == [False, True, False, False, False]


def test_an_heir_holds_its_partition_and_the_dead_leave_it() -> None:
    assert copied_view().routes.tolist() == [0, 1, 0, HELD, -1]


def test_too_few_copies_take_no_events() -> None:
    assert copied_view(2).routes.tolist() == [0, 1, HELD, HELD, -1], "a learner will be the second copy"
    assert copied_view(3).routes.tolist() == [-1, 1, -1, -1, -1]


@pytest.mark.parametrize("field", ["replicas", "learners", "heirs", "epochs"])
def test_a_view_with_missing_entries_is_refused(field: str) -> None:
    message = view_to_proto(copied_view())
    del getattr(message, field)[-1]
    with pytest.raises(RingmillError, match="partitions"):
        view_from_proto(message)


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
