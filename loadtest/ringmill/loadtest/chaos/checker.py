"""Whether every acknowledged event was applied exactly once and in order. Pure, and linear in the number of events.

Each acknowledgement of the `history` pipeline names a place: (key, count), and the digest of all that stands there and
before. So, whatever died meanwhile:

- no two acknowledged events have one place, else one of them is lost;
- each place below a known one belongs to an event that was sent and whose place nobody told: else something was applied
  twice, or was never sent;
- each digest follows from the one before and the entry itself: nothing was exchanged or altered;
- a producer's entries stand in the order in which it sent them;
- what was acknowledged before another event was sent stands before it.

Events in doubt (never answered) may stand somewhere or nowhere. Verified history is folded into one line for each key,
so a run may last for days.
"""

import itertools
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ringmill.loadtest.chaos.records import RECORD, Fate, Integers, Records, after, follow, mix

_EXAMPLES_MAX = 20
_ORDERS_MAX = 5_000
"""Orders of events in doubt that are tried, to tell which of them fill a hole."""
_SPAN_NS = 1 << 46
"""More than any time of a run, 19 hours: times of different keys are told apart by multiples of it."""


@dataclass(slots=True)
class Findings:
    """What was checked, and what is wrong."""

    placed: int = 0
    """Acknowledged events whose place was verified."""
    unplaced: int = 0
    """Acknowledged events whose place was not told."""
    doubts: int = 0
    """Events that were never answered."""
    refused: int = 0
    """Events that were refused, and therefore must stand nowhere."""
    filled: int = 0
    """Places of unplaced events and doubts that the digests tell exactly."""
    unverified: int = 0
    """Places of unplaced events and doubts that are right in number, but too many to try all orders."""
    wrong: Counter[str] = field(default_factory=Counter)
    """Violations by kind: lost, doubled, altered, order, stale."""
    examples: list[str] = field(default_factory=list)
    """The first violations, in words."""

    @property
    def violations(self) -> int:
        """Violations of any kind."""
        return sum(self.wrong.values())

    def note(self, kind: str, count: int, example: str) -> None:
        """Counts violations."""
        if count:
            self.wrong[kind] += count
            if len(self.examples) < _EXAMPLES_MAX:
                self.examples.append(f"{kind}: {example}")


class Checker:
    """Takes records as they come, in any order, and verifies every history up to where it is complete."""

    def __init__(self, keys: int, producers: int) -> None:
        """keys, producers: how many there may be; both are numbered from 0."""
        self.findings = Findings()
        self._count = np.zeros(keys, np.int64)
        self._digest = np.zeros(keys, np.int64)
        self._sent_ns = np.zeros(keys, np.int64)
        self._sequence = np.zeros((keys, producers), np.int64)
        self._pending: Records = np.empty(0, RECORD)
        self._loose: dict[int, list[Any]] = defaultdict(list)

    @property
    def pending(self) -> int:
        """Acknowledged events that wait for what stands before them."""
        return len(self._pending)

    def add(self, records: Records) -> None:
        """Takes records: RECORD[n]."""
        fate = records["fate"]
        placed = fate == Fate.PLACED
        self.findings.placed += int(placed.sum())
        self.findings.unplaced += int((fate == Fate.UNPLACED).sum())
        self.findings.doubts += int((fate == Fate.DOUBT).sum())
        self.findings.refused += int((fate == Fate.REFUSED).sum())
        for row in records[(fate == Fate.UNPLACED) | (fate == Fate.DOUBT)]:
            self._loose[int(row["key"])].append(row)
        self._pending = np.concatenate([self._pending, records[placed]])

    def check(self, settled_ns: int) -> None:
        """Verifies what can be verified now.

        settled_ns: the records of all events that were sent before this moment have been added. A place below an event
        that was answered before it is then either known by now, or a hole.
        """
        rows = self._pending[np.lexsort((self._pending["count"], self._pending["key"]))]
        rows = self._without_taken(rows)
        first = _begins(rows["key"])
        hole = rows["count"] != self._before(rows["count"], first, self._count[rows["key"]]) + 1
        blocked = _from_first_on(hole & (rows["answered_ns"] >= settled_ns), first)
        self._pending = rows[blocked]
        self._fold(rows[~blocked], first[~blocked], hole[~blocked])

    def close(self) -> Findings:
        """Verifies the rest, once nothing is on its way and every key was written once more."""
        self.check(_SPAN_NS)
        for key, rows in self._loose.items():
            left = [row for row in rows if row["fate"] == Fate.UNPLACED]
            self.findings.note("lost", len(left), f"key {key}: {len(left)} acknowledged events stand nowhere")
        self._loose.clear()
        return self.findings

    def _without_taken(self, rows: Records) -> Records:
        """Finds places that two acknowledged events claim; the later claims are dropped."""
        again = ~_begins(rows["key"])
        again[1:] &= rows["count"][1:] == rows["count"][:-1]
        taken = again | (rows["count"] <= self._count[rows["key"]])
        self._note_rows("lost", rows[taken], "its place was acknowledged to another event")
        return np.asarray(rows[~taken])

    def _before(self, column: Integers, first: Any, frontier: Integers) -> Integers:
        """For each row, the column's value in the row before it of the same key, or at the end of what was folded."""
        return np.where(first, frontier, np.roll(column, 1))

    def _fold(self, rows: Records, first: Any, hole: Any) -> None:
        key = rows["key"]
        if not len(rows):
            return
        self._check_links(rows, first, hole)
        self._check_order(rows)
        self._check_time(rows, first)
        last = np.append(first[1:], True)
        self._count[key[last]] = rows["count"][last]
        self._digest[key[last]] = rows["digest"][last]

    def _check_links(self, rows: Records, first: Any, hole: Any) -> None:
        key = rows["key"]
        count_before = self._before(rows["count"], first, self._count[key])
        digest_before = self._before(rows["digest"], first, self._digest[key])
        follows = rows["digest"] == after(digest_before, mix(rows["producer"].astype(np.int64), rows["sequence"]))
        self._note_rows("altered", rows[~follows & ~hole], "its digest does not follow from the one before")
        for index in np.flatnonzero(hole):
            self._bridge(rows[index], int(count_before[index]), int(digest_before[index]))

    def _bridge(self, row: Any, count: int, digest: int) -> None:
        """Explains the places between a known one and this row by events whose places nobody told."""
        size = int(row["count"]) - count - 1
        loose = self._loose[int(row["key"])]
        if len(loose) < size:
            what = f"{size} places before it, and only {len(loose)} events sent that could stand there"
            self.findings.note("doubled", size - len(loose), f"{_told(row)}: {what}")
            loose.clear()
            return
        mixed = [_mix_of(each) for each in (*loose, row)]
        wanted = int(row["digest"]) % (1 << 64)
        orders = itertools.islice(itertools.permutations(range(len(loose)), size), _ORDERS_MAX + 1)
        for number, order in enumerate(orders):
            if number == _ORDERS_MAX:
                self._fill_untold(loose, size)
                return
            if follow(digest, [mixed[place] for place in (*order, -1)]) == wanted:
                self.findings.filled += size
                for place in sorted(order, reverse=True):
                    del loose[place]
                return
        self.findings.note("altered", 1, f"{_told(row)}: no events in doubt lead over {size} places to its digest")

    def _fill_untold(self, loose: list[Any], size: int) -> None:
        """Takes events for a hole without knowing which: first those that surely stand somewhere."""
        loose.sort(key=lambda each: int(each["fate"]))
        del loose[:size]
        self.findings.unverified += size

    def _check_order(self, rows: Records) -> None:
        rows = rows[np.lexsort((rows["count"], rows["producer"], rows["key"]))]
        key, producer = rows["key"], rows["producer"]
        first = _begins(key) | _begins(producer)
        before = self._before(rows["sequence"], first, self._sequence[key, producer])
        self._note_rows("order", rows[rows["sequence"] <= before], "it stands behind a later one of its producer")
        last = np.append(first[1:], True)
        self._sequence[key[last], producer[last]] = rows["sequence"][last]

    def _check_time(self, rows: Records, first: Any) -> None:
        key = rows["key"]
        base = key.astype(np.int64) * _SPAN_NS
        frontier = self._sent_ns[key]
        newest = np.maximum.accumulate(base + np.where(first, np.maximum(rows["sent_ns"], frontier), rows["sent_ns"]))
        before = self._before(newest - base, first, frontier)
        self._note_rows("stale", rows[rows["answered_ns"] < before], "it was answered before one ahead of it was sent")
        last = np.append(first[1:], True)
        self._sent_ns[key[last]] = (newest - base)[last]

    def _note_rows(self, kind: str, rows: Records, what: str) -> None:
        if len(rows):
            self.findings.note(kind, len(rows), f"{_told(rows[0])}: {what}")


def _told(row: Any) -> str:
    return f"key {row['key']}, place {row['count']}, producer {row['producer']}, sequence {row['sequence']}"


def _mix_of(row: Any) -> int:
    return int(mix(np.array([row["producer"]], np.int64), np.array([row["sequence"]], np.int64))[0])


def _begins(column: Integers) -> Any:
    """bool[n]: where a value differs from the one before."""
    begins = np.ones(len(column), bool)
    begins[1:] = column[1:] != column[:-1]
    return begins


def _from_first_on(marked: Any, first: Any) -> Any:
    """bool[n]: the marked rows and all that follow one in its group; `first` marks where groups begin."""
    seen = np.cumsum(marked)
    if not len(seen):
        return marked
    at_begin = (seen - marked)[first]
    return seen > np.repeat(at_begin, np.diff(np.flatnonzero(np.append(first, True))))
