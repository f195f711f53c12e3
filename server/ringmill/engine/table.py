"""State tables: one row for each key, segmented by partition.

    rows    [partition 0: row 0, row 1, ... | partition 1: ... | ...]     in order of insertion; a row never moves
    slots   [partition 0's index            | partition 1's    | ...]     hash -> number of the row (`engine/index.py`)
    heap    [partition 0's long keys        | ...            ]            (`engine/keys.py`)

Each partition has a fixed stride in each array (`engine/region.py`), so exporting or dropping it touches nothing else,
and whether it is full depends on it alone: two copies of a partition refuse the same key. Only an index is ever rehashed,
a partition's own, when it doubles.

The kernels below are pasted into the fused kernel. A block of events is best handled in three passes, so that waiting
for memory overlaps: `prefetch_index` for all, `prefetch_row` for all, then `find_or_insert` one by one.
"""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ringmill.core.errors import Code, RingmillError
from ringmill.core.jit import kernel
from ringmill.core.memory import copy_bytes
from ringmill.engine.index import (
    BITS_MIN,
    SEGMENT,
    bits_for,
    double,
    home,
    item_of,
    must_double,
    slot_of,
    tag_matches,
)
from ringmill.engine.keys import INLINE_MAX, Bytes, key_length, pack_key, same_bytes
from ringmill.engine.prefetch import prefetch
from ringmill.engine.region import Region

PREFETCH_BLOCK = 32
"""Events whose lines are fetched ahead together: enough to hide a miss, few enough to stay in the first-level cache."""


class TableArrays(NamedTuple):
    """What kernels get of a table. `partition` is below `segments.size`; rows are numbered over the whole table."""

    rows: npt.NDArray[Any]  # row dtype [partitions * keys_max]
    slots: npt.NDArray[np.uint64]  # [partitions << slot_bits]
    segments: npt.NDArray[Any]  # SEGMENT[partitions]
    heap: Bytes  # [partitions * heap_bytes]
    template: npt.NDArray[Any]  # row dtype [1]: a new key's row
    scratch: npt.NDArray[np.uint64]  # [1 << slot_bits], for doubling an index
    keys_max: int  # rows of a partition
    slot_bits: int  # log2 of the slots reserved for a partition
    heap_bytes: int  # heap reserved for a partition


FULL = -1
"""Returned instead of a row: the partition holds as many keys, or bytes of long keys, as it may."""
MISSING = -1
"""Returned instead of a row: no such key."""


@kernel(inline=True)
def _same_key(arrays: TableArrays, partition: int, row: int, buffer: Bytes, start: int, words: Any) -> bool:
    found = arrays.rows[row]
    if found.key0 != words[0] and key_length(words[2]) <= INLINE_MAX:
        return False
    if found.key2 != words[2]:
        return False
    if key_length(words[2]) <= INLINE_MAX:
        return found.key1 == words[1]  # type: ignore[no-any-return]  # a record's field
    place = partition * arrays.heap_bytes + np.int64(found.key0)
    return same_bytes(arrays.heap, place, buffer, start, key_length(words[2]))


@kernel(inline=True)
def find(arrays: TableArrays, partition: int, key_hash: np.uint64, buffer: Bytes, start: int, length: int) -> int:
    """The row of the key buffer[start : start + length], whose xxh64 is key_hash, or MISSING."""
    bits = arrays.segments[partition].bits
    base = np.uint64(partition << arrays.slot_bits)
    mask = (np.uint64(1) << np.uint64(bits)) - np.uint64(1)
    at = home(key_hash, bits)
    words = pack_key(buffer, start, length)
    row = MISSING
    while True:
        slot = arrays.slots[base + at]
        if slot == np.uint64(0):
            break
        if tag_matches(slot, key_hash):
            candidate = partition * arrays.keys_max + item_of(slot)
            if _same_key(arrays, partition, candidate, buffer, start, words):
                row = candidate
                break
        at = (at + np.uint64(1)) & mask
    return row


@kernel(
    boundscheck=False, allocates=False
)  # counts are compared with the partition's limits, slots are masked by its size
def insert(arrays: TableArrays, partition: int, key_hash: np.uint64, buffer: Bytes, start: int, length: int) -> int:
    """Appends a row for a key that is not there, and returns it, or FULL. The row is a copy of the template."""
    segment = arrays.segments[partition]
    count = np.int64(segment.count)
    long = length > INLINE_MAX
    if count >= arrays.keys_max or (long and np.int64(segment.used) + length > arrays.heap_bytes):
        return FULL
    base = partition << arrays.slot_bits
    if must_double(partition, count + 1, np.int64(segment.bits)):
        double(arrays.slots, base, np.int64(segment.bits), arrays.scratch)
        segment.bits += 1
    mask = (1 << np.int64(segment.bits)) - 1
    at = np.int64(home(key_hash, segment.bits))
    while arrays.slots[base + at] != np.uint64(0):
        at = (at + 1) & mask
    arrays.slots[base + at] = slot_of(key_hash, count)
    row = partition * arrays.keys_max + count
    arrays.rows[row] = arrays.template[0]
    new = arrays.rows[row]
    new.key0, new.key1, new.key2 = pack_key(buffer, start, length)
    if long:
        new.key0 = np.uint64(segment.used)
        place = partition * arrays.heap_bytes + np.int64(segment.used)
        copy_bytes(arrays.heap, place, buffer, start, start + length)
        segment.used += np.uint64(length)
    segment.count += 1
    return row


@kernel(inline=True)
def find_or_insert(
    arrays: TableArrays, partition: int, key_hash: np.uint64, buffer: Bytes, start: int, length: int
) -> int:
    """The row of a key, appended if it is new, or FULL. New if and only if `segments[partition].count` has grown."""
    row = find(arrays, partition, key_hash, buffer, start, length)
    if row == MISSING:
        row = insert(arrays, partition, key_hash, buffer, start, length)
    return row


@kernel(boundscheck=False, allocates=False)  # the slot is there: the key was inserted by the caller
def remove_newest(arrays: TableArrays, partition: int, key_hash: np.uint64) -> None:
    """Takes back the insertion that the caller has just made in this partition; key_hash is that key's.

    The newest slot ends its probe sequence, so freeing it breaks no other's.
    """
    segment = arrays.segments[partition]
    newest = np.int64(segment.count) - 1
    base = partition << arrays.slot_bits
    mask = (1 << np.int64(segment.bits)) - 1
    at = np.int64(home(key_hash, segment.bits))
    while item_of(arrays.slots[base + at]) != newest:
        at = (at + 1) & mask
    arrays.slots[base + at] = np.uint64(0)
    length = key_length(arrays.rows[partition * arrays.keys_max + newest].key2)
    if length > INLINE_MAX:
        segment.used -= np.uint64(length)
    segment.count -= 1


@kernel(inline=True)
def prefetch_index(arrays: TableArrays, partition: int, key_hash: np.uint64) -> None:
    """Fetches the index line where the search for the hash will begin. First pass over a block."""
    at = home(key_hash, arrays.segments[partition].bits)
    prefetch(arrays.slots, (partition << arrays.slot_bits) + np.int64(at), 0)


@kernel(inline=True)
def prefetch_row(arrays: TableArrays, partition: int, key_hash: np.uint64, row_bytes: int) -> None:
    """Fetches the row that the hash probably leads to. Second pass over a block; row_bytes: the row's size."""
    bits = arrays.segments[partition].bits
    base = np.uint64(partition << arrays.slot_bits)
    mask = (np.uint64(1) << np.uint64(bits)) - np.uint64(1)
    at = home(key_hash, bits)
    slot = arrays.slots[base + at]
    while slot != np.uint64(0) and not tag_matches(slot, key_hash):
        at = (at + np.uint64(1)) & mask
        slot = arrays.slots[base + at]
    if slot != np.uint64(0):
        row = partition * arrays.keys_max + item_of(slot)
        for offset in range(0, row_bytes, 64):
            prefetch(arrays.rows, row, offset)


def row_dtype(steps: list[tuple[str, np.dtype[Any]]]) -> np.dtype[Any]:
    """The row of a pipeline: the key (24 bytes), the time of the key's last event, and each step's state.

    Raises RingmillError INVALID_ARGUMENT when a step is named like one of the row's own fields.
    """
    own: list[tuple[str, Any]] = [("key0", "u8"), ("key1", "u8"), ("key2", "u8"), ("time_us", "i8")]
    taken = {name for name, _ in own} & {name for name, _ in steps}
    if taken:
        raise RingmillError(Code.INVALID_ARGUMENT, f"{sorted(taken)} are the row's own fields: name the step otherwise")
    return np.dtype([*own, *steps], align=True)


class Table:
    """The state of a pipeline's keys on one worker."""

    def __init__(self, arrays: TableArrays) -> None:
        self.arrays = arrays

    @classmethod
    def allocate(
        cls,
        row: np.dtype[Any],
        template: npt.NDArray[Any],
        partitions: int = 1021,
        keys_max: int = 65_536,
        heap_bytes: int = 4 << 20,
    ) -> "Table":
        """Reserves an empty table."""
        slot_bits = bits_for(keys_max)
        segments = np.zeros(partitions, SEGMENT)
        segments["bits"] = BITS_MIN
        rows = Region(row, partitions * keys_max, "rows")
        slots = Region(np.uint64, partitions << slot_bits, "indexes")
        heap = Region(np.uint8, partitions * heap_bytes, "long keys")
        scratch = np.zeros(1 << slot_bits, np.uint64)
        return cls(
            TableArrays(
                rows.array, slots.array, segments, heap.array, template, scratch, keys_max, slot_bits, heap_bytes
            )
        )
