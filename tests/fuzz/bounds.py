"""Shows that the loads, stores and copies of kernels refuse every access outside an array, and do those inside.

The codec compares offsets with the message's end before it reads, so no message can show it.
"""

import random

import numpy as np
from numba import types

from ringmill.core.jit import compile_kernel, kernel
from ringmill.core.memory import MESSAGE, SCRATCH, Bytes, copy_bytes, load8, load32, load64, store64

_ACCESS = types.uint64(types.int64, MESSAGE, types.int64, types.int64, SCRATCH, types.int64, types.uint64)
LOAD8, LOAD32, LOAD64, STORE64, COPY = range(5)
LENGTHS = (1, 4, 8, 8)
SIZE_MAX = 20


@kernel(allocates=False)
def _access(kind: int, buffer: Bytes, start: int, stop: int, out: Bytes, position: int, word: np.uint64) -> np.uint64:
    """One access of a kind; returns what was loaded, if any."""
    if kind == LOAD8:
        return np.uint64(load8(buffer, start))
    if kind == LOAD32:
        return load32(buffer, start)
    if kind == LOAD64:
        return load64(buffer, start)
    if kind == STORE64:
        store64(out, position, word)
    else:
        copy_bytes(out, position, buffer, start, stop)
    return np.uint64(0)


class BoundsChecker:
    """Makes accesses in and about small arrays."""

    def __init__(self) -> None:
        compile_kernel(_access, [_ACCESS])

    def check(self, chance: random.Random) -> None:
        """Raises AssertionError where an access outside an array is made, or one inside is refused or wrong."""
        kind = chance.randrange(5)
        source, target = chance.randbytes(chance.randrange(SIZE_MAX)), chance.randbytes(chance.randrange(SIZE_MAX))
        start, position = chance.randint(-3, len(source) + 3), chance.randint(-3, len(target) + 3)
        stop = start + (chance.randint(-2, SIZE_MAX) if kind == COPY else LENGTHS[kind])
        word = chance.getrandbits(64)
        after = position + stop - start
        readable = kind == STORE64 or 0 <= start <= stop <= len(source)
        writable = kind < STORE64 or 0 <= position <= after <= len(target)
        inside = readable and writable
        # One allocation, so that an access that goes through harms nothing.
        room = np.frombuffer(bytearray(bytes(64) + target + bytes(64)), np.uint8)
        amid = np.frombuffer(bytes(64) + source + bytes(64), np.uint8)
        out = room[64 : 64 + len(target)]
        try:
            found = _access(kind, amid[64 : 64 + len(source)], start, stop, out, position, np.uint64(word))
        except IndexError:
            assert not inside, f"an access inside its array was refused: {kind, start, stop, position}"
            return
        assert inside, f"an access outside its array was made: {kind, start, stop, position}"
        self._check_result(kind, int(found), source[start:stop], word, target, position, out.tobytes())

    @staticmethod
    def _check_result(
        kind: int, found: int, read: bytes, word: int, target: bytes, position: int, written: bytes
    ) -> None:
        if kind < STORE64:
            assert found == int.from_bytes(read, "little")
            assert written == target
        else:
            piece = read if kind == COPY else word.to_bytes(8, "little")
            assert written == target[:position] + piece + target[position + len(piece) :]
