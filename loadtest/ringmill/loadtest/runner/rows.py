"""From the moments at which events were due, handed over, sent and answered to what a step came to. Pure.

Nothing is kept for an event: what is handed over, sent or answered at once is one row, and the events between two rows
share its moment.
"""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from ringmill.loadtest.runner import histogram

Moments = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Window:
    """What is measured, in nanoseconds since the beginning of the warm-up."""

    begin_ns: int
    end_ns: int
    interval_ns: int
    """Of the figures over time."""

    @property
    def intervals(self) -> int:
        """How many there are."""
        return max(1, -(-(self.end_ns - self.begin_ns) // self.interval_ns))

    def places(self, at_ns: Moments) -> Moments:
        """The interval of each moment; outside of the window: below 0, or `intervals` or more."""
        return np.asarray((at_ns - self.begin_ns) // self.interval_ns)


@dataclass(frozen=True, slots=True)
class Rows:
    """What one stream noted."""

    due_ns: Moments
    """[arrivals] When each was due."""
    batch: int
    """Events of an arrival."""
    handed: Moments
    """[n, 2] Events handed to the client so far, and when."""
    answered: Moments
    """[m, 3] Events answered so far, when the message that held the last of them was sent, and when it was answered."""


def of_closed(answered: Moments, unanswered_ns: Moments) -> Rows:
    """Rows of a closed loop: each message is an arrival that is due when it is sent.

    unanswered_ns: when each message was sent that has no answer.
    """
    ends = np.arange(1, len(answered) + 1)
    due_ns = np.concatenate([answered[:, 1], unanswered_ns])
    handed = np.stack([np.arange(1, len(due_ns) + 1), due_ns], 1)
    return Rows(due_ns, 1, handed, np.stack([ends, answered[:, 1], answered[:, 2]], 1))


@dataclass(slots=True)
class Tally:
    """What was measured of some streams. It adds up."""

    window: Window
    offered: Moments = field(init=False)
    """[intervals] Arrivals that were due."""
    answered: Moments = field(init=False)
    """[intervals] Arrivals that were answered, due whenever."""
    took_ns: list[list[Moments]] = field(init=False)
    """By the interval in which they were due: from due to answered."""
    served: Any = field(default_factory=histogram.make)
    """From sent to answered: what a tool reports that lets a stall keep it from sending."""
    late: Any = field(default_factory=histogram.make)
    """From due to handed over: what the runner itself was late."""
    unanswered: int = 0
    """Arrivals that were not answered when the step was given up."""

    def __post_init__(self) -> None:
        count = self.window.intervals
        self.offered, self.answered = np.zeros(count, np.int64), np.zeros(count, np.int64)
        self.took_ns = [[] for _ in range(count)]

    def add(self, rows: Rows, closed_ns: int) -> None:
        """Adds what a stream noted until `closed_ns`.

        What was never answered, or never handed over, counts with the time it has waited until then: less than the
        truth, but not nothing.
        """
        due = rows.due_ns[rows.due_ns <= closed_ns]
        place = self.window.places(due)
        inside = (place >= 0) & (place < self.window.intervals)
        answered_at, sent_at = _moments(rows.answered, rows.batch, due.size, closed_ns)
        handed_at, _ = _moments(rows.handed, rows.batch, due.size, closed_ns)
        known = np.arange(due.size) < _whole(rows.answered, rows.batch)
        self.unanswered += int(np.count_nonzero(inside & ~known))
        self.offered += np.bincount(place[inside], minlength=self.window.intervals)
        self.answered += _counts(self.window, answered_at[known])
        histogram.record(self.served, (answered_at - sent_at)[inside & known])
        histogram.record(self.late, (handed_at - due)[inside])
        self._keep((answered_at - due)[inside], place[inside])

    def _keep(self, took_ns: Moments, place: Moments) -> None:
        """Arrivals are in the order of their due moments, so that an interval's lie together."""
        for number, took in enumerate(np.split(took_ns, np.searchsorted(place, np.arange(1, self.window.intervals)))):
            self.took_ns[number].append(took)

    def report(self) -> dict[str, Any]:
        """As plain data, with encoded histograms; `merge` adds several."""
        latencies = [histogram.encode(histogram.of(np.concatenate(took or [_NONE]))) for took in self.took_ns]
        return {
            "offered": self.offered.tolist(),
            "answered": self.answered.tolist(),
            "latency": latencies,
            "served": histogram.encode(self.served),
            "late": histogram.encode(self.late),
            "unanswered": self.unanswered,
        }


_NONE = np.empty(0, np.int64)


def merge(reports: list[dict[str, Any]]) -> dict[str, Any]:
    """The reports of several processes as one; everything else in them is left out."""
    latencies = [[report["latency"][place] for report in reports] for place in range(len(reports[0]["latency"]))]
    return {
        "offered": np.sum([report["offered"] for report in reports], 0).tolist(),
        "answered": np.sum([report["answered"] for report in reports], 0).tolist(),
        "latency": [histogram.encode(histogram.merge(each)) for each in latencies],
        "served": histogram.encode(histogram.merge(report["served"] for report in reports)),
        "late": histogram.encode(histogram.merge(report["late"] for report in reports)),
        "unanswered": sum(report["unanswered"] for report in reports),
    }


def add_counts(counts: list[dict[str, int]]) -> dict[str, int]:
    """Counts by name, of several processes."""
    return dict(sum((Counter(each) for each in counts), Counter[str]()))


def _whole(rows: Moments, batch: int) -> int:
    """Arrivals of which all events are in the rows."""
    return int(rows[-1, 0]) // batch if len(rows) else 0


def _moments(rows: Moments, batch: int, arrivals: int, closed_ns: int) -> tuple[Moments, Moments]:
    """For each arrival the moments in the last and in the second column of the row that has its last event.

    For arrivals beyond the last row both are closed_ns.
    """
    last, second = np.full(arrivals, closed_ns), np.full(arrivals, closed_ns)
    if len(rows):
        counts = np.diff(np.minimum(rows[:, 0] // batch, arrivals), prepend=0)
        known = int(counts.sum())
        last[:known], second[:known] = np.repeat(rows[:, -1], counts), np.repeat(rows[:, 1], counts)
    return last, second


def _counts(window: Window, at_ns: Moments) -> Moments:
    place = window.places(at_ns)
    return np.bincount(place[(place >= 0) & (place < window.intervals)], minlength=window.intervals)
