"""The index of a partition: open addressing from a hash to the number of an item, items being kept in insertion order.

Shared by the state table (items: rows) and the label store (items: labels). Every partition has its own part of one
array of slots, sized by a power of two that doubles as the partition fills. A slot is 0 (free) or the hash's upper 32
bits (its tag) and the item's number + 1. The home of a hash is the upper bits of its tag, so an index is doubled from
its own slots, without a look at the items.

Linear probing (Knuth, TAOCP 3, 6.4) that never wraps around: behind an index is room for what probes past its end.

An index doubles in place and little by little, so that no insertion stops for it. From the moment it is too full, each
insertion spreads a few slots to twice their distance, from the end down to the beginning:

    [ 2**bits slots as they were | free | slots of homes from `boundary` on, at 2**(bits + 1) ]
      0                  boundary         2 * boundary

So whether a hash's home is below the boundary tells where its search begins, and there is always one table to search.
A partition begins this when it is between 56% and 81% full, by its number: partitions fill evenly, and this spreads the
work and the new pages over many batches.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from ringmill.core.jit import kernel

Slots = npt.NDArray[np.uint64]

SEGMENT = np.dtype(
    [
        ("count", "u4"),  # items of the partition
        ("used", "u4"),  # bytes of its part of the heap
        ("bits", "u4"),  # log2 of its slots, of those that were not spread yet
        ("boundary", "u4"),  # homes from here on were spread; 2**bits: none, it is not doubling
    ],
    align=True,
)
"""What a partition holds: 16 bytes."""

HEAP_BYTES_MAX = 2**32 - 1
"""The largest part of a heap."""

BITS_MIN = 4
EMPTY = (0, 0, BITS_MIN, 1 << BITS_MIN)
"""The segment of a partition that holds nothing."""

_SPREAD = 32
"""Slots that an insertion spreads: few enough to take under a microsecond, enough to be done long before the index is
full again."""
_TAG_BITS = np.uint64(32)
_ITEM = np.uint64(0xFFFFFFFF)
_FREE = np.uint64(0)
_FILL_MIN = 144
_FILL_SPREAD = 63  # of 256


def bits_for(items_max: int) -> int:
    """log2 of the slots that a partition of `items_max` items may come to use."""
    return max(BITS_MIN, (items_max * 256 // _FILL_MIN).bit_length())


def slots_for(items_max: int) -> int:
    """The slots to reserve for such a partition: also where all items have the last home, a free one is behind them.

    An odd number, so that partitions' indexes do not all begin in the same sets of the cache.
    """
    return (1 << bits_for(items_max)) + items_max + 1 | 1


def slots_in_use(segments: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    """Slots that each partition's index has, but for those behind its end."""
    slots: npt.NDArray[np.int64] = (2 << segments["bits"].astype(np.int64)) - segments["boundary"]
    return slots


@kernel(inline=True)
def must_double(partition: int, count: int, bits: int) -> bool:
    """Whether an index of 2**bits slots is too small for `count` items."""
    return count << 8 > (_FILL_MIN + (partition & _FILL_SPREAD)) << bits


@kernel(inline=True)
def home(key_hash: np.uint64, segment: Any) -> np.uint64:
    """The slot, within the partition's part, where the search for a hash begins."""
    shift = np.uint64(64) - np.uint64(segment.bits)
    at = key_hash >> shift
    return key_hash >> (shift - np.uint64(1)) if at >= np.uint64(segment.boundary) else at


@kernel(inline=True)
def slot_of(key_hash: np.uint64, item: int) -> np.uint64:
    """A slot's content."""
    return (key_hash >> _TAG_BITS) << _TAG_BITS | np.uint64(item + 1)


@kernel(inline=True)
def tag_matches(slot: np.uint64, key_hash: np.uint64) -> bool:
    """Whether the slot may be the hash's: 32 bits agree."""
    return bool(slot >> _TAG_BITS == key_hash >> _TAG_BITS)


@kernel(inline=True)
def item_of(slot: np.uint64) -> int:
    """The number of the item that a slot names; -1 if the slot is free."""
    return int(np.int64(slot & _ITEM)) - 1


@kernel(boundscheck=False, allocates=False)  # every index is below `slots_for`, which the caller reserved
def make_room(slots: Slots, base: int, segments: npt.NDArray[Any], partition: int, scratch: Slots) -> None:
    """To be called before a slot is taken: goes on doubling the partition's index, or begins to, where it must.

    slots[base]: the index's first slot. scratch: room for all items of a partition, its content is overwritten.
    """
    segment = segments[partition]
    bits, boundary = int(np.int64(segment.bits)), int(np.int64(segment.boundary))
    if boundary == 1 << bits and not must_double(partition, int(np.int64(segment.count)) + 1, bits):
        return
    first = max(0, boundary - _SPREAD)
    while first > 0 and slots[base + first - 1] != _FREE:
        first -= 1
    # What stands from here to the next free slot behind the boundary has its home here or beyond. All of it is taken
    # out and put back: whatever was spread before and is reached by a probe through these slots is among it.
    kept, at = 0, first
    while at < boundary or slots[base + at] != _FREE:
        if slots[base + at] != _FREE:
            scratch[kept] = slots[base + at]
            slots[base + at] = _FREE
            kept += 1
        at += 1
    shift = np.uint64(63 - bits)
    for i in range(kept):
        at = int(np.int64(scratch[i] >> shift))
        while slots[base + at] != _FREE:
            at += 1
        slots[base + at] = scratch[i]
    segment.boundary = first
    if first == 0:
        segment.bits = bits + 1
        segment.boundary = 2 << bits
