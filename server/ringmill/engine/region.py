"""Arrays whose address space is reserved at once and whose memory is committed page by page, as it is written.

A table gives every partition a fixed stride in such an array. So rows never move, growth never copies them, and giving
a partition's memory back is one call; an untouched partition costs nothing.
"""

import mmap
from typing import Any

import numpy as np
import numpy.typing as npt

from ringmill.core.errors import Code, RingmillError

_NORESERVE = 0x4000  # MAP_NORESERVE on Linux; Python's mmap does not name it before 3.13
_FLAGS = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _NORESERVE


class Region:
    """One reserved, zeroed array, in the system's small pages.

    Huge pages (MADV_HUGEPAGE) were measured at 10 million keys and left out: with the look-up's prefetching they gained
    3 ns (49 a look-up, 52 without), cost 300 bytes a key, since a partition's part is smaller than one of them, and
    clearing them made pauses of over 40 ms.
    """

    def __init__(self, dtype: npt.DTypeLike, count: int, what: str) -> None:
        """Reserves `count` items. `what` names them in the error.

        Raises RingmillError RESOURCE_EXHAUSTED when the system refuses the address space.
        """
        kind: np.dtype[Any] = np.dtype(dtype)
        size = -(-max(count, 1) * kind.itemsize // mmap.PAGESIZE) * mmap.PAGESIZE
        try:
            self._map = mmap.mmap(-1, size, flags=_FLAGS)
        except (OSError, OverflowError, ValueError) as error:
            raise RingmillError(
                Code.RESOURCE_EXHAUSTED,
                f"cannot reserve {size / 2**30:.1f} GiB of address space for {what} ({error}): lower the limit of keys "
                "for each partition, raise `ulimit -v`, or set vm.overcommit_memory to 0 or 1",
            ) from error
        self.array: npt.NDArray[Any] = np.frombuffer(self._map, kind, count)

    def clear(self, start: int, stop: int) -> None:
        """Zeroes items [start, stop) and gives their whole pages back to the system."""
        itemsize = self.array.dtype.itemsize
        first, last = start * itemsize, stop * itemsize
        page = mmap.PAGESIZE
        inner, outer = -(-first // page) * page, last // page * page
        if outer <= inner:
            self._map[first:last] = bytes(last - first)
            return
        self._map[first:inner] = bytes(inner - first)
        self._map[outer:last] = bytes(last - outer)
        self._map.madvise(mmap.MADV_DONTNEED, inner, outer - inner)
