"""Which records have a partition: a list of them all, kept while partitions are exported.

It names records and holds none of their bytes. A bit for each record and partition is made for many records at once,
so that a batch of a thousand partitions costs one append. What came lately waits until it is worth it; each time, those
that were listed longest ago are looked through, too: what is forgotten leaves in the same measure as new records come.
"""

from collections import deque
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ringmill.engine.records import Found, Producer, Record

FRESH_MAX = 512
"""Records that may wait for their bits."""

CHUNK_MAX = 1024
"""Records whose bits are together."""


class _Chunk(NamedTuple):
    """Some records. bits: u8[records, partitions / 8, rounded up], the first partition in the highest bit."""

    found: list[Found]
    bits: npt.NDArray[np.uint8]


class Listing:
    """The records of parts by partition. What was restored is not among them: it is of one partition from the start."""

    def __init__(self, partitions: int, producers: Iterable[Producer]) -> None:
        """Lists all that there is."""
        self._partitions = partitions
        self._fresh: list[Found] = []
        self._chunks: deque[_Chunk] = deque()
        found, records = [], []
        for producer in producers:
            for sequence, kept in producer.records.items():
                for record in kept:
                    if not record.is_restored:
                        found.append(Found(producer.number, sequence, record.number, producer))
                        records.append(record)
        for start in range(0, len(found), CHUNK_MAX):
            stop = start + CHUNK_MAX
            self._chunks.append(_Chunk(found[start:stop], self._bits_of(records[start:stop])))

    def __len__(self) -> int:
        """Records that are listed, forgotten ones among them."""
        return len(self._fresh) + sum(len(chunk.found) for chunk in self._chunks)

    def add(self, producer: Producer, sequence: int, record: Record) -> None:
        """Lists one more."""
        self._fresh.append(Found(producer.number, sequence, record.number, producer))
        if len(self._fresh) >= FRESH_MAX:
            self._fold()

    def find(self, partition: int) -> list[Found]:
        """The records that have a partition; forgotten ones may be among them."""
        place, bit = partition >> 3, 0x80 >> (partition & 7)
        found = []
        for chunk in self._chunks:
            found += [chunk.found[i] for i in np.flatnonzero(chunk.bits[:, place] & bit).tolist()]
        for each in self._fresh:
            record = each.record()
            if record is not None and (record.partitions() == partition).any():
                found.append(each)
        return found

    def _fold(self) -> None:
        """Gives their bits to those that wait, and looks through the oldest chunk."""
        fresh, self._fresh = self._fresh, []
        kept = [(each, record) for each in fresh if (record := each.record()) is not None]
        new = _Chunk([each for each, _ in kept], self._bits_of([record for _, record in kept]))
        if self._chunks:
            old = _alive(self._chunks.popleft())
            if len(old.found) + len(new.found) <= CHUNK_MAX:
                new = _Chunk(old.found + new.found, np.concatenate([old.bits, new.bits]))
            else:
                self._chunks.append(old)
        if new.found:
            self._chunks.append(new)

    def _bits_of(self, records: list[Record]) -> npt.NDArray[np.uint8]:
        touched = np.zeros((len(records), self._partitions), np.uint8)
        for row, record in zip(touched, records, strict=True):
            row[record.partitions()] = 1
        return np.packbits(touched, axis=1)


def _alive(chunk: _Chunk) -> _Chunk:
    """What is still kept of a chunk."""
    rows = [i for i, each in enumerate(chunk.found) if each.record() is not None]
    return _Chunk([chunk.found[i] for i in rows], chunk.bits[rows])
