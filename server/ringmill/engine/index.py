"""The index of a partition: open addressing from a hash to the number of an item, items being kept in insertion order.

Shared by the state table (items: rows) and the label store (items: labels). Every partition has its own part of one
array of slots, sized by a power of two that doubles as the partition fills. A slot is 0 (free) or the hash's upper 32
bits (its tag) and the item's number + 1. The home of a hash is the upper bits of its tag, so an index is doubled from
its own slots, without a look at the items.

Linear probing (Knuth, TAOCP 3, 6.4). A partition doubles its index when it is between 56% and 81% full, by its number:
partitions fill evenly, and without that spread all of them would double within a few batches.
"""

import numpy as np
import numpy.typing as npt

from ringmill.core.jit import kernel

Slots = npt.NDArray[np.uint64]

SEGMENT = np.dtype(
    [
        ("count", "u4"),  # items of the partition
        ("bits", "u4"),  # log2 of its slots in use
        ("used", "u8"),  # bytes of its part of the heap
    ],
    align=True,
)
"""What a partition holds: 16 bytes."""

BITS_MIN = 4
_TAG_BITS = np.uint64(32)
_ITEM = np.uint64(0xFFFFFFFF)
_FREE = np.uint64(0)
_FILL_MIN = 144
_FILL_SPREAD = 63  # of 256


def bits_for(items_max: int) -> int:
    """log2 of the slots that a partition of `items_max` items may come to use."""
    return max(BITS_MIN, (items_max * 256 // _FILL_MIN).bit_length())


@kernel(inline=True)
def must_double(partition: int, count: int, bits: int) -> bool:
    """Whether an index of 2**bits slots is too small for `count` items."""
    return count << 8 > (_FILL_MIN + (partition & _FILL_SPREAD)) << bits


@kernel(inline=True)
def home(key_hash: np.uint64, bits: np.uint32) -> np.uint64:
    """The slot, within the partition's part, where the search for a hash begins."""
    return key_hash >> (np.uint64(64) - np.uint64(bits))


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


@kernel(boundscheck=False, allocates=False)  # every index is masked by the partition's size, or counts up to it
def double(slots: Slots, base: int, bits: int, scratch: Slots) -> None:
    """Doubles the index of 2**bits slots at `base`. scratch: at least as many slots, its content is overwritten.

    One partition at a time: at 65,536 keys, the largest, this takes under a millisecond.
    """
    kept = 0
    for i in range(1 << bits):
        slot = slots[base + i]
        if slot != _FREE:
            scratch[kept] = slot
            kept += 1
    size = 2 << bits
    slots[base : base + size] = _FREE
    shift = np.uint64(63 - bits)
    for i in range(kept):
        at = int(np.int64(scratch[i] >> shift))
        while slots[base + at] != _FREE:
            at = (at + 1) & (size - 1)
        slots[base + at] = scratch[i]
