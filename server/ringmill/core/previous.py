"""What came before a part: for each partition that it touches, the sequence of its stream's batch there before it.

Encoded as in `Part.previous`: for each partition, in the order in which it first appears in the part, a varint of the
part's sequence less that of the batch before; 0: there was none.
"""

from functools import cache

import numpy as np
import numpy.typing as npt
from numba import types

from ringmill.core.frame import varint
from ringmill.core.jit import compile_kernel, kernel
from ringmill.core.memory import MESSAGE, SCRATCH, Bytes
from ringmill.core.split import Touched
from ringmill.core.wire import read_varint

Last = npt.NDArray[np.uint64]
"""uint64[partitions]: the sequence of a stream's batch that was last handed over for each; 0: there was none."""

VARINT_BYTES_MAX = 10

_TOUCHED = types.Array(types.uint32, 1, "C")
_LAST = types.Array(types.uint64, 1, "C")
_WRITE = types.int64(_TOUCHED, types.uint64, _LAST, SCRATCH)
_READ = types.int64(_TOUCHED, types.uint64, MESSAGE, _LAST)


@kernel(allocates=False)
def _write(touched: Touched, sequence: np.uint64, last: Last, out: Bytes) -> int:
    """Writes what came before `sequence` in each partition, which is the last one there from now on."""
    position = 0
    for index in range(touched.size):
        partition = np.int64(touched[index])
        before = last[partition]
        last[partition] = sequence
        gap = sequence - before if before != np.uint64(0) else np.uint64(0)
        while gap >= np.uint64(0x80):
            out[position] = gap & np.uint64(0x7F) | np.uint64(0x80)
            gap >>= np.uint64(7)
            position += 1
        out[position] = gap
        position += 1
    return position


@kernel(allocates=False)
def _read(touched: Touched, sequence: np.uint64, previous: Bytes, last: Last) -> int:
    """Puts back into `last` what `_write` found there; returns the bytes read, or -1 where they are too few."""
    position = 0
    for index in range(touched.size):
        gap, position = read_varint(previous, position, previous.size)
        if position < 0:
            return -1
        last[np.int64(touched[index])] = sequence - gap if gap != np.uint64(0) else np.uint64(0)
    return position


@cache
def _compile() -> None:
    compile_kernel(_write, [_WRITE])
    compile_kernel(_read, [_READ])


class Previous:
    """Writes what came before parts, with scratch that is allocated once. For one thread."""

    def __init__(self, partitions: int) -> None:
        """Compiles its kernels, or loads them."""
        _compile()
        self._out = np.empty(partitions * VARINT_BYTES_MAX, np.uint8)
        self._view = self._out.data
        self._last = np.zeros(partitions, np.uint64)

    def write(self, touched: Touched, sequence: int, last: Last, view: memoryview) -> bytes:
        """What came before a part, which is the last of its stream in all its partitions from now on.

        view: of `last`, as "Q".
        """
        if touched.size > 1:
            return self._view[: _write(touched, sequence, last, self._out)].tobytes()  # type: ignore[arg-type]
        partition = touched.item()
        before = view[partition]
        view[partition] = sequence
        return varint(sequence - before) if before else b"\0"

    def cut(self, touched: Touched, sequence: int, previous: bytes, pieces: list[Touched]) -> list[bytes]:
        """What came before each piece of a part that is split again. The pieces share out its partitions."""
        _read(touched, sequence, np.frombuffer(previous, np.uint8), self._last)  # type: ignore[arg-type]
        view = self._last.data
        return [self.write(piece, sequence, self._last, view) for piece in pieces]
