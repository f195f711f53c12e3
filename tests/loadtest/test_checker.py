"""The checker accepts every history that could have happened, and finds each kind of mistake that is planted in one."""

from collections.abc import Callable

import numpy as np
import pytest

from ringmill.loadtest.chaos.app import history
from ringmill.loadtest.chaos.checker import Checker, Findings
from ringmill.loadtest.chaos.records import RECORD, Fate, Records, after, follow, mix

KEYS, PRODUCERS, EVENTS = 40, 5, 6_000


def digest_of(producers: Records, sequences: Records, keys: Records) -> tuple[Records, Records]:
    """Place and digest of each event, applied in this order, in plain Python."""
    lengths, digests = dict.fromkeys(range(KEYS), 0), dict.fromkeys(range(KEYS), 0)
    counts, seen = np.zeros(len(keys), np.int64), np.zeros(len(keys), np.int64)
    for place, (key, mixed) in enumerate(zip(keys.tolist(), mix(producers, sequences).tolist(), strict=True)):
        lengths[key] += 1
        digests[key] = follow(digests[key], [mixed])
        counts[place] = lengths[key]
        seen[place] = np.uint64(digests[key]).astype(np.int64)
    return counts, seen


def made(seed: int, applied: Callable[[Records], Records] = lambda order: order) -> Records:
    """Records of a run; `applied` changes the order in which the events, by number, were really applied."""
    rng = np.random.default_rng(seed)
    rows = np.zeros(EVENTS, RECORD)
    rows["key"], rows["producer"] = rng.integers(0, KEYS, EVENTS), rng.integers(0, PRODUCERS, EVENTS)
    for producer in range(PRODUCERS):
        mine = rows["producer"] == producer
        rows["sequence"][mine] = np.arange(1, mine.sum() + 1) * 3
    rows["sent_ns"] = np.arange(EVENTS) * 10
    rows["answered_ns"] = rows["sent_ns"] + rng.integers(11, 500, EVENTS)
    order = applied(np.arange(EVENTS))
    counts, digests = digest_of(
        rows["producer"][order].astype(np.int64), rows["sequence"][order], rows["key"][order].astype(np.int64)
    )
    rows["count"][order], rows["digest"][order] = counts, digests  # of an event applied twice: the later place
    return rows


def checked(rows: Records, pieces: int = 1) -> Findings:
    """Feeds records in the order of their answers, checking after each piece."""
    checker = Checker(KEYS, PRODUCERS)
    rows = rows[np.argsort(rows["answered_ns"], kind="stable")]
    for piece in np.array_split(np.arange(len(rows)), pieces):
        checker.add(rows[piece])
        left = rows[piece[-1] + 1 :]
        checker.check(int(left["sent_ns"].min()) if len(left) else 1 << 45)
    assert checker.pending == 0
    return checker.close()


def last_of(rows: Records, key: int) -> int:
    return int(np.flatnonzero(rows["key"] == key)[-1])


def inner(rows: Records, key: int) -> int:
    """An event in the middle of a key's history."""
    mine = np.flatnonzero(rows["key"] == key)
    return int(mine[len(mine) // 2])


def test_the_digest_is_the_operators() -> None:
    rng = np.random.default_rng(3)
    producers, sequences = rng.integers(0, 2000, 300), rng.integers(1, 2**40, 300)
    got = history.run(keys=["k"] * 300, producer=producers, sequence=sequences)
    assert got["place.length"].tolist() == list(range(1, 301))
    digests = got["place.digest"]
    assert np.array_equal(digests[1:], after(digests[:-1], mix(producers[1:], sequences[1:])))
    assert int(digests[-1]) % 2**64 == follow(0, mix(producers, sequences).tolist())


@pytest.mark.parametrize("pieces", [1, 7, 400])
def test_a_run_in_which_nothing_went_wrong(pieces: int) -> None:
    found = checked(made(1), pieces)
    assert (found.violations, found.placed) == (0, EVENTS)


@pytest.mark.parametrize("fate", [Fate.DOUBT, Fate.UNPLACED])
@pytest.mark.parametrize("seed", range(5))
def test_places_that_were_not_told_are_filled(fate: Fate, seed: int) -> None:
    """Events without a place leave holes, and the digests tell which of them stands in which."""
    rows = made(seed)
    ends = [last_of(rows, key) for key in range(KEYS)]
    some = np.setdiff1d(np.random.default_rng(seed).choice(EVENTS, 60, replace=False), ends)
    rows["fate"][some] = fate
    found = checked(rows, 50)
    assert (found.violations, found.filled, found.unverified) == (0, len(some), 0)


def test_doubts_that_were_never_applied_are_no_mistake() -> None:
    never = np.random.default_rng(5).choice(EVENTS, 60, replace=False)
    rows = made(2, lambda order: np.setdiff1d(order, never))
    rows["fate"][never] = Fate.DOUBT
    found = checked(rows, 50)
    assert (found.violations, found.doubts) == (0, 60)


def test_too_many_doubts_to_tell_apart_are_counted() -> None:
    rows = made(2)
    mine = np.flatnonzero(rows["key"] == 7)[5:35]
    rows["fate"][mine[10:20]] = Fate.DOUBT
    rows["answered_ns"][mine[10:20]] = np.arange(10, 0, -1)  # told in the order that is tried last
    found = checked(rows)
    assert found.violations == 0
    assert found.unverified > 0


def test_a_refused_event_that_stands_nowhere_is_no_mistake() -> None:
    rows = made(2, lambda order: order[order != 17])
    rows["fate"][17] = Fate.REFUSED
    found = checked(rows)
    assert (found.violations, found.refused) == (0, 1)


def test_an_event_that_was_lost() -> None:
    """An event was acknowledged, and what follows was applied without it."""
    rows, without = made(3), made(3, lambda order: order[order != 3000])
    later = np.arange(EVENTS) > 3000
    rows["count"][later], rows["digest"][later] = without["count"][later], without["digest"][later]
    for pieces in (1, 100):
        found = checked(rows, pieces)
        assert found.wrong["lost"] == 1
        assert "its place was acknowledged to another event" in found.examples[0]


def test_an_acknowledged_event_that_stands_nowhere() -> None:
    rows = made(3, lambda order: order[order != 3000])
    rows["fate"][3000] = Fate.UNPLACED
    assert checked(rows, 10).wrong == {"lost": 1}


def test_a_batch_that_was_lost_at_the_end() -> None:
    """A key's newest acknowledged events are gone: the next one takes the first of their places."""
    rows = made(3)
    mine = np.flatnonzero(rows["key"] == 4)
    rows["count"][mine[-1]] -= 3
    assert checked(rows, 10).wrong["lost"] >= 1


@pytest.mark.parametrize("pieces", [1, 100])
def test_an_event_that_was_applied_twice(pieces: int) -> None:
    rows = made(4)
    twice = made(4, lambda order: np.insert(order, inner(rows, 9) + 1, inner(rows, 9)))
    assert checked(twice, pieces).wrong["doubled"] == 1


def test_a_refused_event_that_was_applied() -> None:
    rows = made(4)
    rows["fate"][inner(rows, 3)] = Fate.REFUSED
    assert checked(rows).wrong["doubled"] == 1


def test_a_doubt_that_was_applied_twice() -> None:
    rows = made(4)
    place = inner(rows, 9)
    twice = made(4, lambda order: np.insert(order, place + 1, place))
    twice["fate"][place] = Fate.DOUBT
    assert checked(twice, 20).wrong["doubled"] == 1


def test_something_else_than_what_was_sent() -> None:
    rows = made(5)
    rows["sequence"][inner(rows, 2)] += 1  # the digests say what was applied, this row what was sent
    assert checked(rows).wrong["altered"] == 1


def test_another_event_in_the_place_of_one_in_doubt() -> None:
    rows = made(5)
    place = inner(rows, 2)
    rows["fate"][place] = Fate.DOUBT
    rows["sequence"][place] += 1
    assert checked(rows).wrong["altered"] == 1


def swapped(rows: Records, same_producer: bool) -> Records:
    """Numbers of all events, two neighbours of one key exchanged."""
    mine = np.flatnonzero(rows["key"] == 11)
    same = rows["producer"][mine[1:]] == rows["producer"][mine[:-1]]
    place = int(np.flatnonzero(same == same_producer)[10])
    order = np.arange(EVENTS)
    order[mine[place]], order[mine[place + 1]] = mine[place + 1], mine[place]
    return order


@pytest.mark.parametrize("pieces", [1, 100])
def test_a_producers_order_that_was_not_kept(pieces: int) -> None:
    rows = made(6)
    exchanged = made(6, lambda _: swapped(rows, same_producer=True))
    exchanged["answered_ns"] += 5_000  # all at the same time: only the order of the producer is violated
    assert checked(exchanged, pieces).wrong == {"order": 1}


@pytest.mark.parametrize("pieces", [1, 100])
def test_what_was_answered_before_another_was_sent_stands_before_it(pieces: int) -> None:
    rows = made(6)
    order = swapped(rows, same_producer=False)
    exchanged = made(6, lambda _: order)
    first = int(np.flatnonzero(order != np.arange(EVENTS))[0])
    second = int(order[first])
    exchanged["answered_ns"] += 5_000
    assert checked(exchanged, pieces).violations == 0, "both were on their way at the same time"
    exchanged["answered_ns"][first] = exchanged["sent_ns"][second] - 1
    assert checked(exchanged, pieces).wrong == {"stale": 1}


def test_histories_are_checked_in_linear_time() -> None:
    """Folded history is kept as one line a key: what is checked is gone."""
    checker = Checker(KEYS, PRODUCERS)
    checker.add(made(7))
    checker.check(1 << 45)
    assert checker.pending == 0
    assert not any(checker._loose.values())
