"""What is kept of outcomes: records by producer and sequence, and the shares that partitions have in them."""

import struct
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ringmill.engine.ledger_arrays import RECORD_WORDS

HEAD = struct.Struct("<HHI")  # as a record begins: see RECORD_WORDS

RECORD_BYTES = 512
"""What a record takes beside its bytes, roughly."""

Kept = tuple[npt.NDArray[Any] | None, npt.NDArray[np.float64], npt.NDArray[Any], npt.NDArray[np.int64]]
"""Copies of columns: events if any has a reason, values, labels and integers that came out."""


class Share(NamedTuple):
    """What a record has of one partition."""

    content: int
    events: int
    outcomes: bytes


@dataclass(slots=True, eq=False)
class Record:
    """What one part left."""

    number: int
    """Grows with each record."""
    pipeline: int
    index: bytes
    """`Settled.record`."""
    response: bytes | None
    """The outcomes as a ProcessResponse; None: still as columns."""
    kept: Kept | None = None
    is_restored: bool = False
    """It came with an export: it is of one partition, and the response is that partition's outcomes."""
    starts: npt.NDArray[np.int64] | None = None
    """[2, partitions + 1], once its events are in the order of partitions: its first event and byte of each."""
    size: int = 0
    """Bytes that it takes, roughly."""

    def __post_init__(self) -> None:
        self.size = RECORD_BYTES + len(self.index) + (0 if self.response is None else len(self.response))
        for column in self.kept or ():
            self.size += 0 if column is None else column.nbytes

    def measure(self) -> int:
        """Counts its bytes anew, since what it holds has changed; returns how many more they are now."""
        before = self.size
        self.__post_init__()
        self.size += 0 if self.starts is None else self.starts.nbytes
        return self.size - before

    def rank(self, order: npt.NDArray[np.int64], stops: npt.NDArray[np.int64], response: bytes) -> bool:
        """Puts its events in the order of their partitions. False: it has events of others than its partitions.

        order: of its events, stable. stops[i + 1]: where the i-th of them ends in response, which is in that order.
        """
        partitions, ranked = self.partitions(), self.event_partitions()[order]
        places = partitions.argsort(kind="stable")
        partitions = partitions[places]
        changes, count = np.flatnonzero(ranked[1:] != ranked[:-1]) + 1, partitions.size
        starts = np.zeros((2, count + 1), np.int64)
        if not count or not 0 <= changes.size - count + 1 <= 1:
            return False
        starts[0, 1:count], starts[0, count] = changes[: count - 1], ranked.size
        if changes.size == count:
            starts[0, count] = changes[-1]  # those that follow are hidden
        if (ranked[starts[0, :count]] != partitions).any():
            return False
        starts[1] = stops[starts[0]]
        self.index = b"".join(
            [self.index[: HEAD.size], self.contents()[places].tobytes(), partitions.tobytes(), ranked.tobytes()]
        )
        self.starts, self.response = starts, response
        return True

    def share(self, partition: int) -> Share:
        """What it has of one of its partitions. Its events are in the order of partitions, or of this one alone."""
        assert self.response is not None
        if self.starts is None:
            return Share(int(self.contents()[0]), self._sizes()[1], self.response)
        place = int(np.searchsorted(self.partitions(), np.uint16(partition)))
        (first, stop), (start, end) = self.starts[:, place : place + 2].tolist()
        return Share(int(self.contents()[place]), stop - first, self.response[start:end])

    def events_of(self, partition: int) -> npt.NDArray[np.int64]:
        """Which of its events are of one partition."""
        return np.flatnonzero(self.event_partitions() == partition)

    def content_of(self, partition: int) -> int:
        """The print of one of its partitions."""
        return int(self.contents()[np.flatnonzero(self.partitions() == partition)[0]])

    def is_dropped(self, dropped: npt.NDArray[np.int64]) -> bool:
        """Whether all of its partitions were dropped since; dropped: the newest record's number then, by partition."""
        return bool((dropped[self.partitions()] >= self.number).all())

    def contents(self) -> npt.NDArray[np.uint64]:
        """The print of each partition."""
        return np.frombuffer(self.index, np.uint64, self._sizes()[0], 8 * RECORD_WORDS)

    def partitions(self) -> npt.NDArray[np.uint16]:
        """Its partitions, in the order of `contents`."""
        count = self._sizes()[0]
        return np.frombuffer(self.index, np.uint16, count, 8 * (RECORD_WORDS + count))

    def event_partitions(self) -> npt.NDArray[np.uint16]:
        """The partition of each event; HIDDEN where it has no outcome here."""
        count, events = self._sizes()
        return np.frombuffer(self.index, np.uint16, events, 8 * (RECORD_WORDS + count) + 2 * count)

    def _sizes(self) -> tuple[int, int]:
        count, _, events = HEAD.unpack_from(self.index)
        return count, events


@dataclass(slots=True, eq=False)
class Producer:
    """The records of one producer. A new session goes on with its sequences, so it goes on with its records."""

    number: int
    floor: int = 0
    """Up to this sequence nothing is kept."""
    newest: int = 0
    floors: dict[int, int] = field(default_factory=dict)
    """Partitions that came as an export, with the floor that it had."""
    records: dict[int, list[Record]] = field(default_factory=dict)
    """By sequence, in its order."""
    size: int = 0
    """Bytes of its records."""
    last: int = 0
    """Number of the record that came last."""
    swept: int = 0
    """Partitions that had been dropped when its records were last looked through, as the drops are counted."""
    sweeping: Iterator[int] | None = None
    """Looks through its records, a sequence at a time."""

    def forget_up_to(self, floor: int) -> int:
        """Raises the floor; returns the bytes that are free now."""
        records, before = self.records, self.size
        while records:
            oldest = next(iter(records))
            if oldest > floor:
                break
            for record in records.pop(oldest):
                self.size -= record.size
        self.floor = floor
        return before - self.size

    def find(self, sequence: int, number: int) -> Record | None:
        """A record by its number; None: it is forgotten."""
        records = self.records.get(sequence)
        if records is None:
            return None
        place = bisect_left(records, number, key=_NUMBER) if len(records) > 1 else 0
        return records[place] if place < len(records) and records[place].number == number else None

    def remove(self, sequence: int, number: int) -> int:
        """Forgets a record, if it still is there; returns the bytes that are free now."""
        record = self.find(sequence, number)
        if record is None:
            return 0
        if len(self.records[sequence]) == 1:
            del self.records[sequence]
        else:
            self.records[sequence].remove(record)
        self.size -= record.size
        return record.size

    def sweep(self, dropped: npt.NDArray[np.int64], drops: int, records_max: int) -> tuple[int, int]:
        """Lets go of parts' records of which all was dropped: (how many it looked at, the bytes that are free now).

        It ends with the sequence in which it has looked at records_max, and goes on there the next time; but it begins
        only once for each count of drops.
        """
        looked, before = 0, self.size
        if self.sweeping is None and self.swept < drops:
            self.sweeping, self.swept = self._sweep(dropped), drops
        while self.sweeping is not None and looked < records_max:
            step = next(self.sweeping, None)
            if step is None:
                self.sweeping = None
            else:
                looked += step
        return looked, before - self.size

    def _sweep(self, dropped: npt.NDArray[np.int64]) -> Iterator[int]:
        for sequence in list(self.records):
            records = self.records.get(sequence, ())
            for record in [each for each in records if not each.is_restored and each.is_dropped(dropped)]:
                self.remove(sequence, record.number)
            yield len(records)


class Found(NamedTuple):
    """Where a record is found, if it is still kept."""

    producer: int
    sequence: int
    number: int
    owner: Producer

    def record(self) -> Record | None:
        """The record; None: it is forgotten."""
        return self.owner.find(self.sequence, self.number)


_NUMBER = attrgetter("number")
