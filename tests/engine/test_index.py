"""The index of a partition: it never outgrows its part, and doubling little by little loses nothing."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ringmill.engine.index import (
    BITS_MIN,
    EMPTY,
    SEGMENT,
    bits_for,
    make_room,
    must_double,
    slot_of,
    slots_for,
    slots_in_use,
)


@settings(deadline=None)  # the first call compiles
@given(st.integers(1, 2**28), st.integers(0, 10_007))
def test_a_full_partition_fits_the_slots_reserved_for_it(items_max: int, partition: int) -> None:
    assert not must_double(partition, items_max, bits_for(items_max))


@settings(deadline=None)  # the first call compiles
@given(st.integers(BITS_MIN, 28), st.integers(0, 10_007))
def test_an_index_always_keeps_a_free_slot(bits: int, partition: int) -> None:
    """So that a search for a missing key ends."""
    assert must_double(partition, (1 << bits) - 1, bits)


_HASHES = {
    "spread": lambda rng, count: rng.integers(0, 2**64, count, np.uint64),
    "one home": lambda rng, count: np.uint64(2**63) + rng.permutation(count).astype(np.uint64) * np.uint64(2**32),
    "the last home": lambda rng, count: ~(rng.permutation(count).astype(np.uint64) * np.uint64(2**32)),
    "two crowds": lambda rng, count: (
        rng.integers(0, 2**50, count, np.uint64) | rng.integers(0, 2, count, np.uint64) << 63
    ),
}


class Index:
    """One partition's index between two neighbours that nobody may touch, filled as the tables do it."""

    def __init__(self, items_max: int, partition: int) -> None:
        self.size = slots_for(items_max)
        self.partition = partition
        self.slots = np.zeros(3 * self.size, np.uint64)
        self.segments = np.full(64, np.array(EMPTY, SEGMENT))
        self.scratch = np.zeros(items_max, np.uint64)

    def add(self, key_hash: int) -> None:
        """Takes a slot for the next item."""
        segment = self.segments[self.partition]
        make_room(self.slots, self.size, self.segments, self.partition, self.scratch)
        at = self.first(key_hash)
        while self.slots[at]:
            at += 1
        self.slots[at] = slot_of(np.uint64(key_hash), int(segment["count"]))
        segment["count"] += 1

    def first(self, key_hash: int) -> int:
        """Where a search begins, written from the description of the layout."""
        _, _, bits, boundary = self.segments[self.partition].tolist()
        at = key_hash >> 64 - bits
        return self.size + (key_hash >> 63 - bits if at >= boundary else at)

    def holds(self, key_hash: int, item: int) -> bool:
        """Whether a search finds the item before a free slot."""
        at = self.first(key_hash)
        while self.slots[at] and self.slots[at] != slot_of(np.uint64(key_hash), item):
            at += 1
        return bool(self.slots[at])


@pytest.mark.parametrize("kind", _HASHES)
@pytest.mark.parametrize("partition", [0, 63])
def test_every_item_is_found_after_each_insertion(kind: str, partition: int) -> None:
    """Also half way through a doubling, and when all hashes have the same home or the last one."""
    count = 400
    index = Index(count, partition)
    hashes = [int(key_hash) for key_hash in _HASHES[kind](np.random.default_rng(5), count)]
    boundaries = set()
    for number, key_hash in enumerate(hashes):
        index.add(key_hash)
        boundaries.add(tuple(index.segments[partition].tolist())[2:])
        assert all(index.holds(earlier, item) for item, earlier in enumerate(hashes[: number + 1]))
    assert np.count_nonzero(index.slots) == count
    assert not index.slots[: index.size].any()
    assert not index.slots[2 * index.size :].any()
    if kind == "spread":
        assert any(boundary != 1 << bits for bits, boundary in boundaries), "no doubling took more than one insertion"


def test_doubling_is_done_before_the_index_is_full_again() -> None:
    """And no insertion moves more than a few slots: its share, and the crowd that it meets."""
    count = 30_000
    index = Index(count, 0)
    moved = 0
    for key_hash in np.random.default_rng(6).integers(0, 2**64, count, np.uint64):
        before = index.segments[0].copy()
        index.add(int(key_hash))
        after = index.segments[0]
        if after["bits"] == before["bits"]:
            moved = max(moved, int(before["boundary"]) - int(after["boundary"]))
        assert index.segments[0]["count"] <= 0.75 * slots_in_use(index.segments[:1])[0]
    assert 32 <= moved < 200
