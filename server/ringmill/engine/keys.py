"""A row's key: 24 bytes at the row's start. Up to 22 bytes stand in the row itself, longer keys in a heap.

Three little-endian words: the key's bytes padded with zeros, the length in the upper 16 bits of the third. So comparing
a short key is comparing three words. Of a longer key the first word is its place in the partition's part of the heap,
and the bytes there are compared. A key is always compared as a whole: its hash only says where to look.
"""

import numpy as np
import numpy.typing as npt

from ringmill.core.jit import kernel
from ringmill.core.memory import load64

Bytes = npt.NDArray[np.uint8]

INLINE_MAX = 22
"""Bytes of the longest key that stands in its row."""
KEY_BYTES_MAX = 1024
HEADER_BYTES = 24

_LENGTH_SHIFT = np.uint64(48)
_ONE = np.uint64(1)


@kernel(inline=True)
def key_length(third: np.uint64) -> int:
    """Length in bytes, from the third word."""
    return int(np.int64(third >> _LENGTH_SHIFT))


@kernel(inline=True)
def _word(buffer: Bytes, start: int, length: int) -> np.uint64:
    """Up to eight bytes as a little-endian word, zero where `length` ends before."""
    if length >= 8:
        return load64(buffer, start)
    if length > 0 and start + 8 <= buffer.size:  # a read past the key, but inside the buffer, masked
        return load64(buffer, start) & ((_ONE << np.uint64(8 * length)) - _ONE)
    word = np.uint64(0)
    for i in range(length):
        word |= np.uint64(buffer[start + i]) << np.uint64(8 * i)
    return word


@kernel(inline=True)
def pack_key(buffer: Bytes, start: int, length: int) -> tuple[np.uint64, np.uint64, np.uint64]:
    """The three words of the key buffer[start : start + length]; of a long key only the length."""
    third = np.uint64(length) << _LENGTH_SHIFT
    if length > INLINE_MAX:
        return np.uint64(0), np.uint64(0), third
    return (
        _word(buffer, start, length),
        _word(buffer, start + 8, length - 8),
        third | _word(buffer, start + 16, length - 16),
    )


@kernel(inline=True)
def same_bytes(left: Bytes, left_start: int, right: Bytes, right_start: int, length: int) -> bool:
    """Whether left[left_start:][:length] equals right[right_start:][:length]; both ranges are inside their arrays."""
    done = 0
    while done + 8 <= length:
        if load64(left, left_start + done) != load64(right, right_start + done):
            return False
        done += 8
    while done < length:
        if left[left_start + done] != right[right_start + done]:
            return False
        done += 1
    return True
