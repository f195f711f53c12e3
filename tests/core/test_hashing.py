"""The key hash against the xxhash package, and the partition against plain division."""

import numpy as np
import pytest
import xxhash
from hypothesis import given
from hypothesis import strategies as st

from ringmill.core.hashing import PARTITIONS, partition_of, reciprocal_of, remainder, xxh64

u64 = st.integers(0, 2**64 - 1)


@given(st.binary(max_size=200), u64)
def test_hash_equals_the_xxhash_package(data: bytes, seed: int) -> None:
    assert xxh64(data, seed) == xxhash.xxh64_intdigest(data, seed)


@pytest.mark.parametrize("length", range(70))
def test_hash_at_every_tail_length(length: int) -> None:
    data = bytes(range(200, 200 + 56)) * 2
    assert xxh64(data[:length]) == xxhash.xxh64_intdigest(data[:length])


@given(st.text())
def test_partition_is_the_hash_modulo_their_number(key: str) -> None:
    assert partition_of(key.encode()) == xxhash.xxh64_intdigest(key.encode()) % PARTITIONS


@given(u64, st.integers(1, 2**32 - 1))
def test_remainder_without_division(dividend: int, divisor: int) -> None:
    assert remainder(np.uint64(dividend), divisor, np.uint64(reciprocal_of(divisor))) == dividend % divisor


@pytest.mark.parametrize("divisor", [1, 2, 3, 1021, 1024, 2**31, 2**32 - 1])
@pytest.mark.parametrize("dividend", [0, 1, 1020, 1021, 2**63, 2**64 - 1021, 2**64 - 1])
def test_remainder_at_the_edges(dividend: int, divisor: int) -> None:
    assert remainder(np.uint64(dividend), divisor, np.uint64(reciprocal_of(divisor))) == dividend % divisor
