"""State tables: one row for each key, segmented by partition.

    rows    [partition 0: row 0, row 1, ... | partition 1: ... | ...]     in order of insertion; a row never moves
    slots   [partition 0's index            | partition 1's    | ...]     hash -> number of the row (`engine/index.py`)
    heap    [partition 0's long keys        | ...            ]            (`engine/keys.py`)

Each partition has a fixed stride in each array (`engine/region.py`), so exporting or dropping it touches nothing else,
and whether it is full depends on it alone: two copies of a partition refuse the same key. Only an index is ever
rehashed, a partition's own, a few slots with each new key. Kernels work on `Table.arrays` (`engine/lookup.py`).
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numba
import numpy as np
import numpy.typing as npt

from ringmill.core.errors import Code, RingmillError
from ringmill.core.hashing import PARTITIONS, xxh64, xxh64_range
from ringmill.core.jit import compile_kernel, entry_point, kernel
from ringmill.core.memory import Bytes, load64
from ringmill.engine.index import EMPTY, HEAP_BYTES_MAX, SEGMENT, slots_for, slots_in_use
from ringmill.engine.keys import HEADER_BYTES, INLINE_MAX, KEY_BYTES_MAX, key_length
from ringmill.engine.lookup import (
    FULL,
    MISSING,
    PREFETCH_BLOCK,
    TableArrays,
    find,
    find_or_insert,
    insert,
    is_row_of,
    prefetch_index,
    prefetch_row,
    remove_newest,
)
from ringmill.engine.region import Region
from ringmill.engine.snapshot import Content, Snapshot

__all__ = [
    "FULL",
    "MISSING",
    "PREFETCH_BLOCK",
    "SEGMENT",
    "Table",
    "TableArrays",
    "find",
    "find_or_insert",
    "insert",
    "is_row_of",
    "prefetch_index",
    "prefetch_row",
    "remove_newest",
    "row_dtype",
]

KEYS_MAX = 2**28
"""The most keys that a partition can be given room for: an index has at most 2**29 slots."""

_MESSAGE = numba.types.Array(numba.types.uint8, 1, "C", readonly=True)


def row_dtype(steps: list[tuple[str, np.dtype[Any]]]) -> np.dtype[Any]:
    """The row of a pipeline: the key (24 bytes), the time of the key's last event, and each step's state.

    Raises RingmillError INVALID_ARGUMENT when a step is named like one of the row's own fields.
    """
    own: list[tuple[str, Any]] = [("key0", "u8"), ("key1", "u8"), ("key2", "u8"), ("time_us", "i8")]
    taken = {name for name, _ in own} & {name for name, _ in steps}
    if taken:
        raise RingmillError(Code.INVALID_ARGUMENT, f"{sorted(taken)} are the row's own fields: name the step otherwise")
    return np.dtype([*own, *steps], align=True)


@kernel(allocates=False)
def _find(arrays: TableArrays, partition: int, key_hash: np.uint64, key: Bytes) -> int:
    return find(arrays, partition, key_hash, key, 0, key.size)


@kernel(allocates=False)
def _enter_keys(arrays: TableArrays, partition: int, rows: Bytes, row_bytes: int, count: int, heap: Bytes) -> int:
    """Enters the keys of an export's rows into an empty partition.

    Returns how many were entered: all, unless one is not a key that stood in this partition at this place.
    """
    place = 0
    for i in range(count):
        header = i * row_bytes
        length = key_length(load64(rows, header + 16))
        if length < 1 or length > KEY_BYTES_MAX:
            return i
        source, start = rows, header
        if length > INLINE_MAX:
            if place + length > heap.size:
                return i
            source, start = heap, place
            place += length
        key_hash = xxh64_range(source, start, start + length)
        if np.int64(key_hash % np.uint64(arrays.segments.size)) != partition:
            return i
        row = find_or_insert(arrays, partition, key_hash, source, start, length)
        if row != partition * arrays.rows_max + i:  # full, or a key that was entered before
            return i
        entered = arrays.rows[row]
        if (
            entered.key0 != load64(rows, header)
            or entered.key1 != load64(rows, header + 8)
            or entered.key2 != load64(rows, header + 16)
        ):
            return i
    return count


class _Kernels(NamedTuple):
    find: Callable[..., Any]
    enter_keys: Callable[..., Any]


class Table:
    """The state of a pipeline's keys on one worker. Used by one thread."""

    def __init__(
        self, row: np.dtype[Any], template: npt.NDArray[Any], partitions: int, keys_max: int, heap_bytes: int
    ) -> None:
        if not 1 <= keys_max <= KEYS_MAX:
            raise RingmillError(Code.INVALID_ARGUMENT, f"keys_max={keys_max}: a partition holds 1 to {KEYS_MAX} keys")
        if not 0 <= heap_bytes <= HEAP_BYTES_MAX:
            raise RingmillError(Code.INVALID_ARGUMENT, f"heap_bytes={heap_bytes}: a partition has less than 4 GiB")
        slots_max = slots_for(keys_max)
        # Odd, as `slots_for` is: with strides of a power of two all partitions' first rows shared a few sets of the
        # cache, which cost 3 ns an event at few keys.
        rows_max = keys_max | 1
        segments = np.full(partitions, np.array(EMPTY, SEGMENT))
        self._rows = Region(row, partitions * rows_max, "the rows of a state table")
        self._slots = Region(np.uint64, partitions * slots_max, "the indexes of a state table")
        self._heap = Region(np.uint8, partitions * heap_bytes, "the long keys of a state table")
        # Commits each partition's first pages now: else the first batch would fault 2,000 times, which took 6 ms.
        self._slots.array[::slots_max] = 0
        self._rows.array["time_us"][::rows_max] = 0
        self._snapshot = Snapshot("state", row.descr, partitions)
        self._compiled: _Kernels | None = None
        self.arrays = TableArrays(
            rows=self._rows.array,
            slots=self._slots.array,
            segments=segments,
            heap=self._heap.array,
            template=template,
            scratch=np.zeros(keys_max, np.uint64),
            keys_max=keys_max,
            rows_max=rows_max,
            slots_max=slots_max,
            heap_bytes=heap_bytes,
        )

    @classmethod
    def allocate(
        cls,
        row: np.dtype[Any],
        template: npt.NDArray[Any],
        partitions: int = PARTITIONS,
        keys_max: int = 65_536,
        heap_bytes: int = 4 << 20,
    ) -> "Table":
        """Reserves an empty table.

        row: made by `row_dtype`. template: row[1], what a new key begins with. keys_max and heap_bytes: keys, and bytes
        of keys longer than 22 bytes, that one partition may hold; address space for all of it is reserved at once.
        Raises RingmillError: INVALID_ARGUMENT when keys_max is not 1 to KEYS_MAX, RESOURCE_EXHAUSTED when the system
        refuses the reservation.
        """
        return cls(row, template, partitions, keys_max, heap_bytes)

    def prepare(self) -> None:
        """Compiles what `get` and `restore` use; they do so themselves, unless the process is sealed before."""
        self._kernels()

    def _kernels(self) -> "_Kernels":
        if self._compiled is None:  # telling the types of so many arrays takes 1.7 ms
            arrays = numba.typeof(self.arrays)
            integer, word = numba.types.int64, numba.types.uint64
            find_key = integer(arrays, integer, word, _MESSAGE)
            enter_keys = integer(arrays, integer, _MESSAGE, integer, integer, _MESSAGE)
            compile_kernel(_find, [find_key])
            compile_kernel(_enter_keys, [enter_keys])
            self._compiled = _Kernels(entry_point(_find, find_key), entry_point(_enter_keys, enter_keys))
        return self._compiled

    @property
    def rows(self) -> npt.NDArray[Any]:
        """All rows: partition p's are rows[p * rows_max :][: segments[p]["count"]]."""
        return self.arrays.rows

    @property
    def count(self) -> int:
        """Keys held."""
        return int(self.arrays.segments["count"].sum())

    @property
    def state_bytes(self) -> int:
        """Bytes in use for rows, indexes and long keys."""
        segments = self.arrays.segments
        rows = self.count * self.arrays.rows.itemsize
        return rows + 8 * int(slots_in_use(segments).sum()) + int(segments["used"].sum())

    def keys(self, partition: int) -> list[bytes]:
        """The partition's keys in the order of their insertion."""
        heap = self._heap_of(partition)
        return [self._key(row, heap) for row in self._rows_of(partition)]

    def get(self, key: bytes) -> np.void | None:
        """A copy of the key's row, or None."""
        key_hash = xxh64(key)
        partition = key_hash % self.arrays.segments.size
        row = int(self._kernels().find(self.arrays, partition, np.uint64(key_hash), np.frombuffer(key, np.uint8)))
        return None if row == MISSING else self.arrays.rows[row].copy()

    def export(self, partition: int) -> bytes:
        """The partition's keys and state as bytes; equal for equal histories, so that copies can compare digests."""
        rows, heap = self._rows_of(partition), self._heap_of(partition)
        return self._snapshot.pack(partition, Content(len(rows), rows.tobytes(), heap.tobytes()))

    def restore(self, partition: int, data: bytes) -> None:
        """Fills an empty partition from an export of the same partition of the same pipeline.

        Raises RingmillError, and leaves the partition empty: DATA_LOSS when the bytes are damaged,
        FAILED_PRECONDITION when they are another pipeline's, format's or partition's, or when it was not empty,
        RESOURCE_EXHAUSTED when they hold more than this table's partitions may.
        """
        if self.arrays.segments[partition]["count"]:
            raise RingmillError(Code.FAILED_PRECONDITION, f"partition {partition} holds keys: drop it before restoring")
        content = self._snapshot.unpack(partition, data)
        row_bytes = self.arrays.rows.itemsize
        if len(content.items) != content.count * row_bytes:
            raise RingmillError(Code.DATA_LOSS, f"export of partition {partition}: rows and their number disagree")
        if content.count > self.arrays.keys_max or len(content.heap) > self.arrays.heap_bytes:
            raise RingmillError(
                Code.RESOURCE_EXHAUSTED,
                f"export of partition {partition} holds {content.count} keys and {len(content.heap)} bytes of long "
                f"keys: more than this worker's limits of {self.arrays.keys_max} and {self.arrays.heap_bytes}",
            )
        rows, heap = (np.frombuffer(part, np.uint8) for part in (content.items, content.heap))
        entered = self._kernels().enter_keys(self.arrays, partition, rows, row_bytes, content.count, heap)
        if entered != content.count or self.arrays.segments[partition]["used"] != heap.size:
            self.drop(partition)
            raise RingmillError(Code.DATA_LOSS, f"export of partition {partition}: row {entered} is not valid")
        self._rows_of(partition)[:] = np.frombuffer(content.items, self.arrays.rows.dtype)

    def drop(self, partition: int) -> None:
        """Forgets the partition's keys and gives their memory back to the system."""
        segment = self.arrays.segments[partition]
        if not (segment["count"] or segment["used"]):
            return
        first_row = partition * self.arrays.rows_max
        first_slot = partition * self.arrays.slots_max
        first_byte = partition * self.arrays.heap_bytes
        self._rows.clear(first_row, first_row + int(segment["count"]))
        self._slots.clear(first_slot, first_slot + self.arrays.slots_max)
        self._heap.clear(first_byte, first_byte + int(segment["used"]))
        self.arrays.segments[partition] = EMPTY

    def _rows_of(self, partition: int) -> npt.NDArray[Any]:
        first = partition * self.arrays.rows_max
        return self.arrays.rows[first : first + int(self.arrays.segments[partition]["count"])]

    def _heap_of(self, partition: int) -> Bytes:
        first = partition * self.arrays.heap_bytes
        return self.arrays.heap[first : first + int(self.arrays.segments[partition]["used"])]

    @staticmethod
    def _key(row: np.void, heap: Bytes) -> bytes:
        header = row.tobytes()[:HEADER_BYTES]
        length = int.from_bytes(header[INLINE_MAX:], "little")
        if length <= INLINE_MAX:
            return header[:length]
        place = int(row["key0"])
        return heap[place : place + length].tobytes()
