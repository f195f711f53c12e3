"""The key hash (xxh64, seed 0) and the partition it names. Every process and client must compute the same.

Source: https://github.com/Cyan4973/xxHash/blob/dev/doc/xxhash_spec.md, section XXH64.
"""

from collections.abc import Callable
from functools import cache
from typing import cast

import numpy as np
from numba import types

from ringmill.core.jit import compile_kernel, entry_point, kernel
from ringmill.core.memory import MESSAGE, Bytes, load8, load32, load64, multiply_high

PARTITIONS = 1021
"""Partitions of a cluster unless it says otherwise: a prime, and Envoy's MAGLEV table size."""

_PRIME_1 = np.uint64(0x9E3779B185EBCA87)
_PRIME_2 = np.uint64(0xC2B2AE3D27D4EB4F)
_PRIME_3 = np.uint64(0x165667B19E3779F9)
_PRIME_4 = np.uint64(0x85EBCA77C2B2AE63)
_PRIME_5 = np.uint64(0x27D4EB2F165667C5)
_ALL_ONES = np.uint64(0xFFFFFFFFFFFFFFFF)


@kernel(inline=True)
def _rotate(word: np.uint64, bits: int) -> np.uint64:
    return (word << np.uint64(bits)) | (word >> np.uint64(64 - bits))


@kernel(inline=True)
def _round(lane: np.uint64, word: np.uint64) -> np.uint64:
    return _rotate(lane + word * _PRIME_2, 31) * _PRIME_1


@kernel(inline=True)
def _merge(total: np.uint64, lane: np.uint64) -> np.uint64:
    return (total ^ _round(np.uint64(0), lane)) * _PRIME_1 + _PRIME_4


@kernel(allocates=False)
def _stripes(buffer: Bytes, position: int, stop: int, seed: np.uint64) -> np.uint64:
    """The part of the hash that covers whole stripes of 32 bytes; only keys of 32 bytes and more come here."""
    lane_1 = seed + _PRIME_1 + _PRIME_2
    lane_2 = seed + _PRIME_2
    lane_3 = seed
    lane_4 = seed - _PRIME_1
    while stop - position >= 32:
        lane_1 = _round(lane_1, load64(buffer, position))
        lane_2 = _round(lane_2, load64(buffer, position + 8))
        lane_3 = _round(lane_3, load64(buffer, position + 16))
        lane_4 = _round(lane_4, load64(buffer, position + 24))
        position += 32
    total = _rotate(lane_1, 1) + _rotate(lane_2, 7) + _rotate(lane_3, 12) + _rotate(lane_4, 18)
    return _merge(_merge(_merge(_merge(total, lane_1), lane_2), lane_3), lane_4)


@kernel(inline=True)
def xxh64_seeded(buffer: Bytes, start: int, stop: int, seed: np.uint64) -> np.uint64:
    """xxh64 of buffer[start:stop]. The range must lie inside the array."""
    position = start
    total = seed + _PRIME_5
    if stop - start >= 32:
        total = _stripes(buffer, start, stop, seed)
        position = stop - (stop - start) % 32
    total += np.uint64(stop - start)
    while stop - position >= 8:
        total = _rotate(total ^ _round(np.uint64(0), load64(buffer, position)), 27) * _PRIME_1 + _PRIME_4
        position += 8
    if stop - position >= 4:
        total = _rotate(total ^ (load32(buffer, position) * _PRIME_1), 23) * _PRIME_2 + _PRIME_3
        position += 4
    while position < stop:
        total = _rotate(total ^ (np.uint64(load8(buffer, position)) * _PRIME_5), 11) * _PRIME_1
        position += 1
    total = (total ^ (total >> np.uint64(33))) * _PRIME_2
    total = (total ^ (total >> np.uint64(29))) * _PRIME_3
    return total ^ (total >> np.uint64(32))


@kernel(inline=True)
def xxh64_range(buffer: Bytes, start: int, stop: int) -> np.uint64:
    """xxh64, seed 0, of buffer[start:stop]. The range must lie inside the array."""
    return xxh64_seeded(buffer, start, stop, np.uint64(0))


@kernel(inline=True)
def reciprocal_of(partitions: int) -> np.uint64:
    """What `remainder` needs of a divisor: computed once a batch, it saves a division an event."""
    return _ALL_ONES // np.uint64(partitions)


@kernel(inline=True)
def remainder(dividend: np.uint64, partitions: int, reciprocal: np.uint64) -> np.uint64:
    """Exactly dividend % partitions: the estimated quotient is at most one too small."""
    divisor = np.uint64(partitions)
    rest: np.uint64 = dividend - multiply_high(dividend, reciprocal) * divisor
    return rest - divisor if rest >= divisor else rest


@kernel(allocates=False)
def _xxh64_bytes(buffer: Bytes, seed: np.uint64) -> np.uint64:
    return xxh64_seeded(buffer, 0, buffer.size, seed)


@cache
def _compiled() -> Callable[..., int]:
    signature = types.uint64(MESSAGE, types.uint64)
    compile_kernel(_xxh64_bytes, [signature])
    return cast(Callable[..., int], entry_point(_xxh64_bytes, signature))


def xxh64(data: bytes, seed: int = 0) -> int:
    """xxh64 of some bytes as a Python int, equal to `xxhash.xxh64_intdigest(data, seed)`."""
    return _compiled()(np.frombuffer(data, np.uint8), seed)


def partition_of(key: bytes, partitions: int = PARTITIONS) -> int:
    """The partition that owns a key."""
    return xxh64(key) % partitions
