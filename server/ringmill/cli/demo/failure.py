"""The demo's failure: a worker is killed while flights are streamed at a steady pace, and every batch is timed.

The flights go by two streams, so that the waits can be told apart: one carries the aircraft that the victim serves, the
other all the rest. An aircraft is in one of them alone, so its flights stay in order.
"""

import os
import signal
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ringmill.cli.demo.flights import Events
from ringmill.cli.progress import progress
from ringmill.core.errors import Code, RingmillError

if TYPE_CHECKING:
    from ringmill.cli.admin.connect import Admin
    from ringmill.client import Client, Result

BATCH_EVENTS = 1024
PACE_S = 0.012
"""A batch falls due so often: a steady load, so that waits are those of the failure and not of a full queue."""
KILLED_AT = 0.3
"""Share of the flights that are sent when the worker is killed."""
ANSWER_S = 60.0
"""How long the last outcomes, and the copies, may take."""

Mask = npt.NDArray[np.bool_]
Watch = Callable[[], None]


@dataclass(frozen=True, slots=True)
class Waits:
    """How long the batches of one stream waited for their outcomes."""

    keys: int
    before_s: npt.NDArray[np.float64]
    """Of batches that were sent and answered while all was well."""
    after_s: npt.NDArray[np.float64]
    """Of batches that were unanswered when the worker was killed, or sent later."""


@dataclass(frozen=True, slots=True)
class Failure:
    """What became of a stream of flights when a worker was killed in the middle."""

    victim: str
    sent: int
    """Flights that had been sent when it was killed."""
    victims: Waits
    """Of the victim's keys."""
    others: Waits
    whole_after_s: float
    """From the kill until every key had all its copies again."""
    took_s: float
    rejected: int
    outputs: dict[str, npt.NDArray[Any]]


def served_by(admin: "Admin", victim: str, keys: Sequence[str]) -> Mask:
    """bool[keys]: which of them the worker serves."""
    return np.array([location.primary == victim for location in admin.locate(keys)], np.bool_)


class Lane:
    """One stream, the events that go by it, and how long its batches waited."""

    def __init__(self, client: "Client", events: Events, places: npt.NDArray[np.int64]) -> None:
        self.places = places
        """Place of each of its events among all."""
        self.results: list[Result] = []
        self._columns = client.columns(events.keys.take(places), events.times[places], delay=events.delay[places])
        self._stream = client.open_stream()
        self._sent = 0
        self._unanswered: deque[tuple[int, float]] = deque()  # end of each batch, and when it was submitted
        self._waits: list[tuple[float, float]] = []  # when each batch was answered, and its wait

    @property
    def done(self) -> bool:
        """Whether all its events are answered."""
        return self._stream.answered == len(self.places)

    def submit(self, stop: int) -> None:
        """Submits its share of the first `stop` events of all."""
        last = int(np.searchsorted(self.places, stop))
        if last > self._sent:
            self._stream.submit(self._columns, self._sent, last)
            self._unanswered.append((last, time.perf_counter()))
            self._sent = last

    def poll(self, timeout_s: float) -> None:
        """Takes the outcomes that have come."""
        self.results += [batch.result for batch in self._stream.poll(timeout_s)]
        now_s = time.perf_counter()
        while self._unanswered and self._unanswered[0][0] <= self._stream.answered:
            _, submitted_s = self._unanswered.popleft()
            self._waits.append((now_s, now_s - submitted_s))

    def waits(self, killed_s: float, keys: int) -> Waits:
        """Its waits before and after the kill."""
        before = [wait_s for answered_s, wait_s in self._waits if answered_s < killed_s]
        after = [wait_s for answered_s, wait_s in self._waits if answered_s >= killed_s]
        return Waits(keys, np.array(before), np.array(after))


@dataclass(slots=True)
class _Run:
    """The two lanes, and the moment of the kill."""

    lanes: tuple[Lane, Lane]
    events: int
    kill: Callable[[], None]
    watch: Watch
    killed_s: float = 0.0
    sent: int = 0
    deadline_s: float = field(default_factory=lambda: time.perf_counter() + ANSWER_S)

    def stream(self, advance: Callable[[int, str], None]) -> None:
        """Submits batch after batch at a steady pace, kills the worker on the way, and waits for every outcome."""
        due_s = time.perf_counter()
        for stop in range(BATCH_EVENTS, self.events + BATCH_EVENTS, BATCH_EVENTS):
            stop = min(stop, self.events)
            for lane in self.lanes:
                lane.submit(stop)
            if not self.killed_s and stop >= KILLED_AT * self.events:
                self.sent, self.killed_s = stop, time.perf_counter()
                self.kill()
            due_s = max(due_s + PACE_S, time.perf_counter() - PACE_S)
            self._poll(until_s=due_s)
            advance(stop, "a worker was killed" if self.killed_s else "all is well")
        while not all(lane.done for lane in self.lanes):
            self._poll(until_s=time.perf_counter() + PACE_S)
            if time.perf_counter() > self.deadline_s:
                raise RingmillError(Code.DEADLINE_EXCEEDED, f"some flights were not answered in {ANSWER_S:.0f} s")

    def _poll(self, until_s: float) -> None:
        while (left_s := until_s - time.perf_counter()) > 0:
            for lane in self.lanes:
                lane.poll(min(left_s, 0.001))
        self.watch()


def stream_through_failure(
    clients: tuple["Client", "Client"],
    events: Events,
    mine: Mask,
    victim: tuple[str, int],
    admin: "Admin",
    watch: Watch,
) -> Failure:
    """Streams all events, kills the victim (its name and process) in the middle, and waits until all is whole again.

    mine: bool[keys of the dictionary], those that the victim serves. clients: one for them, one for all others.
    """
    name, pid = victim
    places = np.arange(len(events))
    is_mine = mine[events.keys.indices.to_numpy()]
    lanes = tuple(
        Lane(client, events, places[which]) for client, which in zip(clients, (is_mine, ~is_mine), strict=True)
    )
    run = _Run((lanes[0], lanes[1]), len(events), lambda: os.kill(pid, signal.SIGKILL), watch)
    began_s = time.perf_counter()
    with progress("flights by aircraft", len(events)) as advance:
        run.stream(advance)
    took_s = time.perf_counter() - began_s
    keys = int(np.count_nonzero(mine))
    return Failure(
        victim=name,
        sent=run.sent,
        victims=lanes[0].waits(run.killed_s, keys),
        others=lanes[1].waits(run.killed_s, len(mine) - keys),
        whole_after_s=_until_whole(admin, watch) - run.killed_s,
        took_s=took_s,
        rejected=sum(result.rejected for lane in lanes for result in lane.results),
        outputs=joined(lanes, len(events)),
    )


def joined(lanes: Sequence[Lane], events: int) -> dict[str, npt.NDArray[Any]]:
    """The outputs of all lanes as columns in the order of all events."""
    columns: dict[str, npt.NDArray[Any]] = {}
    for name in lanes[0].results[0].names:
        for lane in lanes:
            part = np.concatenate([result[name] for result in lane.results])
            columns.setdefault(name, np.empty(events, part.dtype))[lane.places] = part
    return columns


def _until_whole(admin: "Admin", watch: Watch) -> float:
    """Waits until every key has its copies again; returns when it had. Infinity: not in time."""
    deadline_s = time.perf_counter() + ANSWER_S
    while time.perf_counter() < deadline_s:
        answer = admin.workers()
        serving = all(worker.state == "serving" for worker in answer.workers)
        if serving and not answer.partitions_short and not answer.partitions_refused:
            return time.perf_counter()
        watch()
        time.sleep(0.02)
    return float("inf")
