"""The index of a partition: it never outgrows its part, and doubling loses nothing."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ringmill.engine.index import BITS_MIN, bits_for, double, must_double, slot_of


@settings(deadline=None)  # the first call compiles
@given(st.integers(1, 2**28), st.integers(0, 10_007))
def test_a_full_partition_fits_the_slots_reserved_for_it(items_max: int, partition: int) -> None:
    assert not must_double(partition, items_max, bits_for(items_max))


@settings(deadline=None)  # the first call compiles
@given(st.integers(BITS_MIN, 28), st.integers(0, 10_007))
def test_an_index_always_keeps_a_free_slot(bits: int, partition: int) -> None:
    """So that a search for a missing key ends."""
    assert must_double(partition, (1 << bits) - 1, bits)


@pytest.mark.parametrize("shared", [0, 2**63, 2**64 - 2**40])
def test_doubling_keeps_every_item_where_a_probe_finds_it(shared: int) -> None:
    """Also when all hashes share their upper bits, so that all have the same home and the last wraps around."""
    bits, base = 6, 128
    hashes = [np.uint64((shared + (i << 33)) % 2**64) for i in range(45)]
    slots, scratch = np.zeros(512, np.uint64), np.zeros(128, np.uint64)
    _place(slots, base, bits, hashes)
    double(slots, base, bits, scratch)
    size = 2 << bits
    for item, key_hash in enumerate(hashes):
        at = int(key_hash) >> (64 - bits - 1)
        while slots[base + at] != slot_of(key_hash, item):
            assert slots[base + at] != 0, "the probe ended before the item"
            at = (at + 1) % size
    assert np.count_nonzero(slots[base : base + size]) == len(hashes)
    assert not slots[:base].any()
    assert not slots[base + size :].any()


def _place(slots: np.ndarray, base: int, bits: int, hashes: list[np.uint64]) -> None:
    for item, key_hash in enumerate(hashes):
        at = int(key_hash) >> (64 - bits)
        while slots[base + at]:
            at = (at + 1) % (1 << bits)
        slots[base + at] = slot_of(key_hash, item)
