"""The state table's primitives: what the fused kernel runs for each event. They are pasted into it.

Waiting for memory is what costs at many keys. So a block of events is best handled in three passes, whose waits
overlap: `prefetch_index` for each of PREFETCH_BLOCK events, `prefetch_row` for each, then one by one `is_row_of` for
what that found, and `find_or_insert` where it found nothing or another key's row.
Nanoseconds an event, look-up and an update of two small states, one shared core:

    keys              one by one    in blocks of 32
    10,000                    30                 32
    10,000,000               170                 52

A kernel that pastes these in must be declared with `allocates=False`: reference counts alone took 60 to 220 ns.
"""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ringmill.core.jit import kernel
from ringmill.core.memory import copy_bytes
from ringmill.engine.copying import copy_row
from ringmill.engine.index import (
    home,
    item_of,
    make_room,
    slot_of,
    tag_matches,
)
from ringmill.engine.keys import INLINE_MAX, Bytes, key_length, pack_key, same_bytes
from ringmill.engine.prefetch import prefetch

PREFETCH_BLOCK = 32
"""Events whose lines are fetched ahead together: enough to hide a miss, few enough to stay in the first-level cache."""


class TableArrays(NamedTuple):
    """What kernels get of a table. `partition` is below `segments.size`; rows are numbered over the whole table."""

    rows: npt.NDArray[Any]  # row dtype [partitions * rows_max]
    slots: npt.NDArray[np.uint64]  # [partitions * slots_max]
    segments: npt.NDArray[Any]  # SEGMENT[partitions]
    heap: Bytes  # [partitions * heap_bytes]
    template: npt.NDArray[Any]  # row dtype [1]: a new key's row
    scratch: npt.NDArray[np.uint64]  # [keys_max], for doubling an index
    keys_max: int  # keys that a partition may hold
    rows_max: int  # rows reserved for a partition
    slots_max: int  # slots reserved for a partition
    heap_bytes: int  # heap reserved for a partition


FULL = -1
"""Returned instead of a row: the partition holds as many keys, or bytes of long keys, as it may."""
MISSING = -1
"""Returned instead of a row: no such key."""


@kernel(inline=True)
def _same_key(arrays: TableArrays, partition: int, row: int, buffer: Bytes, start: int, words: Any) -> bool:
    found = arrays.rows[np.uint64(row)]
    length = key_length(words[2])
    if found.key2 != words[2]:
        return False
    if length <= INLINE_MAX:
        return bool(found.key0 == words[0] and found.key1 == words[1])
    place = partition * arrays.heap_bytes + int(np.int64(found.key0))
    return same_bytes(arrays.heap, place, buffer, start, length)


@kernel(inline=True)
def _first_slot(arrays: TableArrays, partition: int, key_hash: np.uint64) -> np.uint64:
    """Where in `slots` the search for a hash begins."""
    return np.uint64(partition * arrays.slots_max) + home(key_hash, arrays.segments[np.uint64(partition)])


@kernel(inline=True)
def find(arrays: TableArrays, partition: int, key_hash: np.uint64, buffer: Bytes, start: int, length: int) -> int:
    """The row of the key buffer[start : start + length], whose xxh64 is key_hash, or MISSING."""
    at = _first_slot(arrays, partition, key_hash)
    words = pack_key(buffer, start, length)
    row = MISSING
    while True:
        slot = arrays.slots[at]
        if slot == np.uint64(0):
            break
        if tag_matches(slot, key_hash):
            candidate = partition * arrays.rows_max + item_of(slot)
            if _same_key(arrays, partition, candidate, buffer, start, words):
                row = candidate
                break
        at += np.uint64(1)
    return row


@kernel(boundscheck=False, allocates=False)  # counts are compared with the limits, and slots reserved for as many
def insert(arrays: TableArrays, partition: int, key_hash: np.uint64, buffer: Bytes, start: int, length: int) -> int:
    """Appends a row for a key that is not there, and returns it, or FULL. The row is a copy of the template."""
    segment = arrays.segments[partition]
    count = int(np.int64(segment.count))
    long = length > INLINE_MAX
    if count >= arrays.keys_max or (long and int(np.int64(segment.used)) + length > arrays.heap_bytes):
        return FULL
    make_room(arrays.slots, partition * arrays.slots_max, arrays.segments, partition, arrays.scratch)
    at = _first_slot(arrays, partition, key_hash)
    while arrays.slots[at] != np.uint64(0):
        at += np.uint64(1)
    arrays.slots[at] = slot_of(key_hash, count)
    row = partition * arrays.rows_max + count
    copy_row(arrays.rows, row, arrays.template, 0, arrays.rows.itemsize)
    new = arrays.rows[row]
    new.key0, new.key1, new.key2 = pack_key(buffer, start, length)
    if long:
        new.key0 = np.uint64(segment.used)
        place = partition * arrays.heap_bytes + int(np.int64(segment.used))
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
    newest = int(np.int64(segment.count)) - 1
    at = _first_slot(arrays, partition, key_hash)
    while item_of(arrays.slots[at]) != newest:
        at += np.uint64(1)
    arrays.slots[at] = np.uint64(0)
    length = key_length(arrays.rows[partition * arrays.rows_max + newest].key2)
    if length > INLINE_MAX:
        segment.used -= np.uint64(length)
    segment.count -= 1


@kernel(inline=True)
def prefetch_index(arrays: TableArrays, partition: int, key_hash: np.uint64) -> int:
    """Fetches the index line where the search for the hash begins, and returns that slot. First pass over a block."""
    at = int(np.int64(_first_slot(arrays, partition, key_hash)))
    prefetch(arrays.slots, at, 0)
    return at


@kernel(inline=True)
def prefetch_row(arrays: TableArrays, partition: int, key_hash: np.uint64, first_slot: int, row_bytes: int) -> int:
    """Fetches the row that the hash probably leads to, and returns it, or MISSING. Second pass over a block.

    first_slot: from `prefetch_index`, with no insertion since. row_bytes: the row's size. 32 bits of the hash agree;
    whether the row is the key's, `is_row_of` tells.
    """
    at = np.uint64(first_slot)
    slot = arrays.slots[at]
    while slot != np.uint64(0) and not tag_matches(slot, key_hash):
        at += np.uint64(1)
        slot = arrays.slots[at]
    row = MISSING
    if slot != np.uint64(0):
        row = partition * arrays.rows_max + item_of(slot)
        for offset in range(0, row_bytes, 64):
            prefetch(arrays.rows, row, offset)
    return row


@kernel(inline=True)
def is_row_of(arrays: TableArrays, partition: int, row: int, buffer: Bytes, start: int, length: int) -> bool:
    """Whether the row, one that `prefetch_row` gave, is that of the key buffer[start : start + length].

    A row is never given to another key while a batch runs, so it may have been found before other events ran. Only the
    newest row is ever taken back, by the event that appended it.
    """
    return row >= 0 and _same_key(arrays, partition, row, buffer, start, pack_key(buffer, start, length))
