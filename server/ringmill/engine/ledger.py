"""The ledger: what each partition has taken so far, from whom, and up to which sequence of each producer.

It decides about every part, at a primary and at a copy by the same kernels: is it fresh, known, out of order, or not
for this worker. Of each partition it keeps a digest of all that was asked and all that came out, so that two copies
with equal digests have equal histories. A worker has one, for all of its pipelines. Used by one thread.

    judged = ledger.examine(columns, count, buffer, part)      admits a part that is all fresh
    ledger.admit(columns, count, part)                         only for judged.status == ADMIT
    engine.apply(...)
    settled = ledger.settle(columns, count)
"""

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, NamedTuple

import numba
import numpy as np
import numpy.typing as npt
from numba import types

from ringmill.core.codec.decoder import EVENTS, INTEGERS, LABELS, VALUES
from ringmill.core.columns import Columns
from ringmill.core.errors import Code, RingmillError
from ringmill.core.frame import EXPIRED, PartEntry
from ringmill.core.jit import compile_kernel, entry_point
from ringmill.core.memory import MESSAGE, SCRATCH, Bytes
from ringmill.engine import ledger_arrays, sessions
from ringmill.engine.ledger_arrays import (
    ADMITTED,
    ENTRY,
    FULL,
    PAGE,
    TOUCHED,
    Judged,
    LedgerArrays,
)
from ringmill.engine.region import Region
from ringmill.engine.snapshot import Content, Snapshot
from ringmill.v1.admin_pb2 import LedgerRow

NOBODY = -1
"""In `sources`: nobody's partition."""
OWN = 0
"""In `sources`: this worker is the primary."""
PARTITIONS_MAX = ledger_arrays.HIDDEN

_HELD_BY_PRODUCER = np.dtype([("producer", "<u8"), ("fence", "<u8"), ("session", "<u8"), ("last", "<u8")])
_HISTORY = np.dtype([(name, "<u8") for name in ("index", "digest", "received", "applied", "duplicate", "rejected")])
_NOTHING: Bytes = np.empty(0, np.uint8)


class Settled(NamedTuple):
    """What came out of a part."""

    outcomes: int
    """u64: the sum of its fresh partitions' digests of outcomes."""
    record: bytes
    """What `Outcomes` keeps beside the outcomes: the fresh partitions, their prints, and each event's partition."""


class Cut(NamedTuple):
    """What of a part goes to one copy."""

    previous: bytes
    check: int
    outcomes: int


class OpenResult(NamedTuple):
    """Answer to `Ledger.open`."""

    code: int
    session: int
    last_sequence: int


class _Kernels(NamedTuple):
    examine: Callable[..., Any]
    admit: Callable[..., Any]
    settle: Callable[..., Any]
    cut: Callable[..., Any]


class Ledger:
    """What one worker knows of its partitions' histories and of their producers."""

    def __init__(self, partitions: int, producers_max: int = 4096) -> None:
        """Reserves an empty ledger, in which nobody has a partition.

        producers_max: producers that may be known at once. Raises RingmillError: INVALID_ARGUMENT for a number of
        partitions beyond 16 bits, RESOURCE_EXHAUSTED when the system refuses the address space.
        """
        if not 1 <= partitions < PARTITIONS_MAX:
            raise RingmillError(Code.INVALID_ARGUMENT, f"{partitions} partitions: 1 to {PARTITIONS_MAX - 1}")
        self.partitions = partitions
        self.producers_max = producers_max
        self.forgotten: list[int] = []
        """Producers that no partition knows any more, since the caller last emptied this list."""
        self._entries = Region(ENTRY, producers_max * partitions, "the producers of a ledger")
        self._columns = self._entries.array.reshape(producers_max, partitions)
        self._snapshot = Snapshot("ledger", (_HELD_BY_PRODUCER.descr, _HISTORY.descr), partitions)
        self._rows: dict[int, int] = {}
        self._free = list(range(producers_max - 1, -1, -1))
        self._top = 0
        self._row = 0
        self.touched = 0
        """Partitions of the part at hand: the one that was examined last."""
        self.arrays = self._allocate(4096)
        pages = self.arrays.pages
        pages["source"] = NOBODY
        self.sources: npt.NDArray[np.int16] = pages["source"]
        """[partitions]: OWN, NOBODY, or the number of the peer that a partition is copied from."""
        self.held: npt.NDArray[np.uint8] = pages["held"]
        """[partitions]: 1 where an own partition takes no parts, or a copied one awaits its snapshot."""
        self.epochs: npt.NDArray[np.uint64] = pages["epoch"]
        """[partitions]: a copy refuses what was admitted under an older version."""
        self.channels: npt.NDArray[np.uint64] = pages["channels"]
        """[partitions]: one bit for each channel that a partition's records go to."""
        self.index: npt.NDArray[np.uint64] = pages["index"]
        """[partitions]: records so far."""
        self.digest: npt.NDArray[np.uint64] = pages["digest"]
        """[partitions]: digest of these records and their outcomes."""
        self._history = [
            self.arrays.duplicates if name == "duplicate" else pages[name] for name in _HISTORY.names or ()
        ]
        self.prepare()

    def _allocate(self, events_max: int) -> LedgerArrays:
        partitions = self.partitions
        self._events_max = events_max
        words = np.zeros(ledger_arrays.RECORD_WORDS + partitions + (partitions + events_max) // 4 + 1, np.uint64)
        self._record = words.data.cast("B")
        self._previous = np.zeros(10 * partitions, np.uint8)
        return LedgerArrays(
            pages=Region(PAGE, partitions, "a ledger").array,
            duplicates=np.zeros(partitions, np.uint64),
            entries=self._entries.array,
            producers=np.zeros(self.producers_max, np.uint64),
            used=np.zeros(self.producers_max, np.int64),
            oldest=np.zeros(self.producers_max, np.uint64),
            touched=np.zeros(partitions, TOUCHED),
            sums=np.zeros(partitions, np.uint64),
            words=words,
            halves=words.view(np.uint16),
        )

    def prepare(self) -> None:
        """Compiles all that the ledger runs, or loads it; once a process."""
        self._kernels = _compiled(numba.typeof(self.arrays))

    def examine(self, columns: Columns, count: int, buffer: Bytes, part: PartEntry, source: int = OWN) -> Judged:
        """Judges the part whose first `count` events are in the columns; admits it if all of it is fresh.

        buffer: what `part` was read from. source: OWN, or the number of the peer that sent the record. For an own part
        the answer is all or nothing. Of a record the partitions that the peer may not write are refused, and those
        that await a snapshot are skipped, each for itself; where neither is so, `part.check` must fit, else DIVERGED.
        Only ADMITTED has changed anything. The events' partitions must be below the ledger's number of partitions.
        """
        row = self._rows.get(part.producer, -1)
        if row < 0:
            if not self._free:
                return _FULL
            row = self._free[-1]
        self._row = row
        judged = Judged._make(
            self._kernels.examine(
                self.arrays,
                columns.events,
                columns.values,
                columns.labels,
                columns.integers,
                count,
                buffer,
                part.previous_start,
                part.previous_stop,
                row,
                source,
                part.producer,
                part.fence,
                part.sequence,
                part.version,
                part.check,
                part.flags & EXPIRED,
            )
        )
        self.touched = judged.touched
        if judged.status == ADMITTED and judged.fresh and part.producer not in self._rows:
            self._enter(part.producer, row)
        return judged

    def admit(self, columns: Columns, count: int, part: PartEntry) -> None:
        """Admits what is fresh of the part examined last, whose status was ADMIT.

        Every other event is rejected: ALREADY_APPLIED if known, OUT_OF_ORDER if `Outcomes.recall` found that it was
        passed by, UNAVAILABLE if it was refused or skipped. Fresh ones are rejected DEADLINE if the part has expired.
        """
        row = self._row
        self._kernels.admit(
            self.arrays,
            columns.events,
            count,
            self.touched,
            row,
            part.producer,
            part.fence,
            part.sequence,
            part.flags & EXPIRED,
        )
        if part.producer not in self._rows and self.arrays.used[row]:
            self._enter(part.producer, row)

    def settle(self, columns: Columns, count: int) -> Settled:
        """Takes in the outcomes of the part admitted last."""
        if count > self._events_max:
            self._grow(count)
        outcomes, length = self._kernels.settle(
            self.arrays,
            columns.events,
            columns.out_values,
            columns.out_labels,
            columns.out_integers,
            count,
            self.touched,
        )
        return Settled(outcomes, self._record[:length].tobytes())

    def _grow(self, events_max: int) -> None:
        words = np.zeros(
            ledger_arrays.RECORD_WORDS + self.partitions + (self.partitions + events_max) // 4 + 1, np.uint64
        )
        self._events_max = events_max
        self._record = words.data.cast("B")
        self.arrays = self.arrays._replace(words=words, halves=words.view(np.uint16))

    def listed(self, verdict: int) -> list[int]:
        """The partitions of the part at hand with this verdict, in order of first appearance."""
        touched = self.arrays.touched[: self.touched]
        partitions: list[int] = touched["partition"][touched["verdict"] == verdict].tolist()
        return partitions

    def cut(self, select: npt.NDArray[np.uint8]) -> Cut:
        """What of the part at hand goes to a copy of the selected partitions; `outcomes` only once it is settled.

        select: uint8[partitions], 1 where selected.
        """
        length, check, outcomes = self._kernels.cut(self.arrays, self.touched, select, self._previous)
        return Cut(self._previous[:length].tobytes(), check, outcomes)

    def open(
        self,
        producer: int,
        session: int,
        fence: int,
        floor: int = 0,
        forget: Sequence[int] = (),
        source: int = OWN,
        version: int = 0,
        unforgotten: bool = False,
    ) -> OpenResult:
        """Forgets, then opens a stream in all partitions of the source, held ones included if they are own.

        producer 0: only forgets. session 0: a new one, named by the fence. floor: producers whose fence is below it are
        forgotten. source, version: as for a part; a copy leaves out what it would refuse or skip. unforgotten: a
        partition that does not know the session is to take it up. Codes: OK; ABORTED: a newer stream or session is
        open; FAILED_PRECONDITION: the session is not known; RESOURCE_EXHAUSTED: too many producers. With any other code
        than OK nothing was opened, but what is forgotten stays so. Hearing the same again changes nothing.
        """
        if floor or forget:
            named = np.array(forget, np.uint64)
            if sessions.forget(self.arrays, self._top, named, np.uint64(floor), source, np.uint64(version)):
                self._release()
        if not producer:
            return OpenResult(Code.OK, 0, 0)
        row = self._rows.get(producer, -1)
        if row < 0:
            if not self._free:
                return OpenResult(Code.RESOURCE_EXHAUSTED, 0, 0)
            row = self._free[-1]
        code, last = sessions.open_session(
            self.arrays,
            row,
            np.uint64(producer),
            np.uint64(session),
            np.uint64(fence),
            int(unforgotten),
            source,
            np.uint64(version),
        )
        if producer not in self._rows and self.arrays.used[row]:
            self._enter(producer, row)
        return OpenResult(Code(code), session or fence, int(last)) if code == Code.OK else OpenResult(Code(code), 0, 0)

    def _enter(self, producer: int, row: int) -> None:
        assert self._free[-1] == row, "only the next free row may be entered"
        self._free.pop()
        self._rows[producer] = row
        self.arrays.producers[row] = producer
        self._top = max(self._top, row + 1)

    def _release(self) -> None:
        """Frees the rows that no partition uses."""
        arrays = self.arrays
        for row in np.flatnonzero((arrays.used[: self._top] == 0) & (arrays.producers[: self._top] != 0)).tolist():
            producer = int(arrays.producers[row])
            arrays.producers[row] = 0
            self._entries.clear(row * self.partitions, (row + 1) * self.partitions)
            del self._rows[producer]
            self._free.append(row)
            self.forgotten.append(producer)

    def producers(self, partition: int) -> list[int]:
        """The producers that are known in a partition."""
        rows = np.flatnonzero(self._columns[: self._top, partition]["fence"])
        known: list[int] = self.arrays.producers[rows].tolist()
        return known

    def export(self, partition: int, recorded: bytes = b"") -> bytes:
        """The partition's history, counters and producers as bytes; equal for equal content.

        recorded: what `Outcomes.export` gave for it; `restore` hands it back.
        """
        history = np.array([tuple(column[partition] for column in self._history)], _HISTORY)
        column = self._columns[: self._top, partition]
        rows = np.flatnonzero(column["fence"])
        held = np.zeros(len(rows), _HELD_BY_PRODUCER)
        held["producer"] = self.arrays.producers[rows]
        for name in ("fence", "session", "last"):
            held[name] = column[name][rows]
        held.sort(order="producer")
        return self._snapshot.pack(partition, Content(len(held), held.tobytes(), history.tobytes() + recorded))

    def restore(self, partition: int, data: bytes) -> bytes:
        """Fills an empty partition from an export of it; whose it is stays. Returns what was `recorded`.

        Raises RingmillError as `Table.restore` does, and then leaves the partition empty: DATA_LOSS when the bytes are
        damaged, FAILED_PRECONDITION when they are another partition's or this one is not empty, RESOURCE_EXHAUSTED
        when there is no room for its producers.
        """
        what = f"export of partition {partition}"
        page = self.arrays.pages[partition]
        if page["index"] or self._columns[: self._top, partition]["fence"].any():
            raise RingmillError(Code.FAILED_PRECONDITION, f"partition {partition} has a history: drop it first")
        content = self._snapshot.unpack(partition, data)
        if len(content.items) != content.count * _HELD_BY_PRODUCER.itemsize or len(content.heap) < _HISTORY.itemsize:
            raise RingmillError(Code.DATA_LOSS, f"{what}: its sizes disagree")
        held = np.frombuffer(content.items, _HELD_BY_PRODUCER)
        producers = held["producer"]
        if not ((producers[:-1] < producers[1:]).all() and (producers != 0).all() and (held["fence"] != 0).all()):
            raise RingmillError(Code.DATA_LOSS, f"{what}: its producers are not valid")
        unknown = [producer for producer in producers.tolist() if producer not in self._rows]
        if len(unknown) > len(self._free):
            raise RingmillError(
                Code.RESOURCE_EXHAUSTED,
                f"{what} has {len(unknown)} producers more than this worker's limit of {self.producers_max}",
            )
        self._fill(partition, held)
        history = np.frombuffer(content.heap, _HISTORY, 1)[0]
        for column, word in zip(self._history, history, strict=True):
            column[partition] = word
        return content.heap[_HISTORY.itemsize :]

    def _fill(self, partition: int, held: npt.NDArray[Any]) -> None:
        for producer, fence, session, last in held.tolist():
            if producer not in self._rows:
                self._enter(producer, self._free[-1])
            row = self._rows[producer]
            used = self.arrays.used[row]
            self.arrays.oldest[row] = min(int(self.arrays.oldest[row]), fence) if used else fence
            self.arrays.used[row] = used + 1
            self._columns[row, partition] = (fence, session, last)

    def drop(self, partition: int) -> None:
        """Forgets the partition's history, counters and producers; whose it is stays."""
        column = self._columns[: self._top, partition]
        rows = np.flatnonzero(column["fence"])
        if len(rows):
            column[rows] = 0
            self.arrays.used[rows] -= 1
            if (self.arrays.used[rows] == 0).any():
                self._release()
        for word in self._history:
            word[partition] = 0

    def reset(self) -> None:
        """Makes the ledger as it was at first: nobody has a partition, and nothing is known."""
        for partition in range(self.partitions):
            self.drop(partition)
        self.forgotten.clear()
        self.sources[:] = NOBODY
        self.held[:] = 0
        self.epochs[:] = 0
        self.channels[:] = 0

    def rows(self, partitions: Sequence[int]) -> list[LedgerRow]:
        """What the ledger says of these partitions. Of each, received = applied + duplicate + rejected, unless a part
        was left half done."""
        asked = np.array(partitions, np.int64)
        counts = zip(*(column[asked].tolist() for column in self._history[2:]), strict=True)
        return [
            LedgerRow(partition=partition, received=received, applied=applied, duplicate=duplicate, rejected=rejected)
            for partition, (received, applied, duplicate, rejected) in zip(partitions, counts, strict=True)
        ]


_FULL = Judged(FULL, -1, 0, 0, 0, 0, 0, 0, 0, 0)


@cache
def _compiled(arrays: Any) -> _Kernels:
    integer, word = types.int64, types.uint64
    inputs = (EVENTS, VALUES, LABELS, INTEGERS)
    words = types.Array(types.uint64, 1, "C")
    judged = types.Tuple((*[integer] * 7, *[word] * 3))
    examine = judged(arrays, *inputs, integer, MESSAGE, *[integer] * 4, *[word] * 5, integer)
    admit = types.void(arrays, EVENTS, integer, integer, integer, word, word, word, integer)
    settle = types.Tuple((word, integer))(arrays, EVENTS, VALUES, LABELS, INTEGERS, integer, integer)
    cut = types.Tuple((integer, word, word))(arrays, integer, SCRATCH, SCRATCH)
    compile_kernel(ledger_arrays.examine, [examine])
    compile_kernel(ledger_arrays.admit, [admit])
    compile_kernel(ledger_arrays.settle, [settle])
    compile_kernel(ledger_arrays.cut, [cut])
    compile_kernel(
        sessions.open_session, [types.Tuple((integer, word))(arrays, integer, word, word, word, integer, integer, word)]
    )
    compile_kernel(sessions.forget, [integer(arrays, integer, words, word, integer, word)])
    return _Kernels(
        entry_point(ledger_arrays.examine, examine),
        entry_point(ledger_arrays.admit, admit),
        entry_point(ledger_arrays.settle, settle),
        entry_point(ledger_arrays.cut, cut),
    )
