"""Kernels that open a producer's stream in the partitions of one source, and forget producers there."""

from typing import Any

import numpy as np
import numpy.typing as npt

from ringmill.core.errors import Code
from ringmill.core.jit import kernel
from ringmill.engine.ledger_arrays import LedgerArrays, refuses
from ringmill.engine.prints import SEED, mix

_OPENED = np.uint64(0x4BE98134A5976FD3)
_FORGOTTEN = np.uint64(0xA0761D6478BD642F)
_ZERO = np.uint64(0)
_ONE = np.uint64(1)
_OK = int(Code.OK)
_ABORTED = int(Code.ABORTED)
_UNKNOWN = int(Code.FAILED_PRECONDITION)


@kernel(inline=True)
def _hears(page: Any, source: int, version: np.uint64) -> bool:
    """Whether a partition takes what this source says. An own partition does while it takes no parts."""
    return not refuses(page, source, version) and (source == 0 or page.held == 0)


@kernel(allocates=False)
def open_session(
    arrays: LedgerArrays,
    row: int,
    producer: np.uint64,
    session: np.uint64,
    fence: np.uint64,
    unforgotten: int,
    source: int,
    version: np.uint64,
) -> tuple[int, np.uint64]:
    """Opens a stream in all partitions of the source, or in none: (code, highest sequence of the producer there).

    session 0: a new one, which takes the number of the fence. The producer's sequences go on: what an older session
    sent stays known, so that a client may send it again. unforgotten: not 0 where a partition that does not know the
    session takes it up.
    """
    pages, entries = arrays.pages, arrays.entries
    first = row * pages.size
    for partition in range(pages.size):
        if not _hears(pages[partition], source, version):
            continue
        entry: Any = entries[first + partition]
        if entry.fence > fence or (session != _ZERO and entry.fence != _ZERO and entry.session > session):
            return _ABORTED, _ZERO
        if session != _ZERO and unforgotten == 0 and (entry.fence == _ZERO or entry.session != session):
            return _UNKNOWN, _ZERO
    last = _ZERO
    for partition in range(pages.size):
        page: Any = pages[partition]
        if not _hears(page, source, version):
            continue
        entry = entries[first + partition]
        if entry.fence != fence:  # equal: heard before
            if entry.fence == _ZERO:
                arrays.used[row] += 1
                arrays.oldest[row] = min(arrays.oldest[row], fence) if arrays.used[row] > 1 else fence
            entry.session = session if session != _ZERO else fence
            entry.fence = fence
            page.index += _ONE
            page.digest = mix(mix(mix(mix(page.digest, _OPENED), producer), entry.session), fence)
        last = max(last, entry.last)
    return _OK, last


@kernel(allocates=False)
def forget(
    arrays: LedgerArrays,
    rows: int,
    named: npt.NDArray[np.uint64],
    floor: np.uint64,
    source: int,
    version: np.uint64,
) -> int:
    """Forgets producers in the partitions of the source: those named, and those whose fence is below the floor.

    rows: how many may be in use. Returns how many rows no partition uses any more.
    """
    pages, entries, sums = arrays.pages, arrays.entries, arrays.sums
    sums[:] = _ZERO
    free = 0
    for row in range(rows):
        if arrays.used[row] == 0:
            continue
        producer = arrays.producers[row]
        is_named = False
        for other in named:
            is_named |= other == producer
        if not is_named and arrays.oldest[row] >= floor:
            continue
        oldest = ~_ZERO
        first = row * pages.size
        for partition in range(pages.size):
            entry: Any = entries[first + partition]
            if entry.fence == _ZERO:
                continue
            if (is_named or entry.fence < floor) and _hears(pages[partition], source, version):
                sums[partition] += mix(mix(SEED, producer), entry.fence)
                entry.fence = entry.session = entry.last = _ZERO
                arrays.used[row] -= 1
            else:
                oldest = min(oldest, entry.fence)
        arrays.oldest[row] = oldest
        if arrays.used[row] == 0:
            free += 1
    for partition in range(pages.size):
        if sums[partition] != _ZERO:
            page: Any = pages[partition]
            page.index += _ONE
            page.digest = mix(mix(page.digest, _FORGOTTEN), sums[partition])
    return free
