"""What is kept of outcomes: records by producer and sequence, and the shares that partitions have in them."""

import struct
from dataclasses import dataclass, field
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
    shares: dict[int, Share] | None = None
    """By partition, while partitions are exported."""
    size: int = 0
    """Bytes that it took when it was kept."""

    def __post_init__(self) -> None:
        self.size = RECORD_BYTES + len(self.index) + (0 if self.response is None else len(self.response))
        for column in self.kept or ():
            self.size += 0 if column is None else column.nbytes

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

    def sweep(self, dropped: npt.NDArray[np.int64]) -> int:
        """Lets go of records of which all was dropped; returns the bytes that are free now."""
        before = self.size
        for sequence, records in list(self.records.items()):
            kept = [record for record in records if not record.is_dropped(dropped)]
            self.size -= sum(record.size for record in records) - sum(record.size for record in kept)
            if kept:
                self.records[sequence] = kept
            else:
                del self.records[sequence]
        return before - self.size


class Found(NamedTuple):
    """A record, and whose it is."""

    producer: int
    sequence: int
    record: Record
