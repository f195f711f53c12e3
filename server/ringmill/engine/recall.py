"""Kernels over recorded outcomes: which record has a known partition, and its outcomes in the place of rejections."""

from typing import Any

import numpy as np
import numpy.typing as npt

from ringmill.core.jit import kernel
from ringmill.core.memory import Bytes, load8
from ringmill.core.wire import append
from ringmill.engine.ledger_arrays import HIDDEN, KNOWN, LedgerArrays

UNFIT = -1
"""Returned instead of a length: a record has not one outcome for each event of a partition."""


@kernel(inline=True)
def _slot_of(arrays: LedgerArrays, found: int, partition: int) -> int:
    """Where a partition stands in `touched`; -1: it is not of this part."""
    slot = -1
    if partition < arrays.pages.size:
        page: Any = arrays.pages[partition]
        candidate: Any = np.int64(page.slot)
        if candidate < found:
            item: Any = arrays.touched[candidate]
            if np.int64(item.partition) == partition:
                slot = candidate
    return slot


@kernel(allocates=False)
def match(
    arrays: LedgerArrays,
    found: int,
    contents: npt.NDArray[np.uint64],
    partitions: npt.NDArray[np.uint16],
    dropped: npt.NDArray[np.int64],
    number: int,
    ordinal: int,
) -> int:
    """Notes in `touched` for which known partitions a record stands; the first of other content, or -1: none.

    contents, partitions: what the record has. dropped[partition]: the last record that must not count any more.
    number: the record's, among all. ordinal: the record's, from 1, among those of its sequence.
    """
    for i in range(contents.size):
        partition: Any = np.int64(partitions[i])
        slot = _slot_of(arrays, found, partition)
        if slot < 0 or dropped[partition] >= number:
            continue
        item: Any = arrays.touched[slot]
        if item.verdict != KNOWN:
            continue
        if item.content != contents[i]:
            return int(partition)
        item.record = np.uint32(ordinal)
    return -1


@kernel(allocates=False)
def place(
    arrays: LedgerArrays,
    found: int,
    partitions: npt.NDArray[np.uint16],
    ordinal: int,
    base: int,
    cursors: npt.NDArray[np.int64],
    stops: npt.NDArray[np.int64],
    places: npt.NDArray[np.int64],
) -> bool:
    """Notes for each known event of the part at hand which outcome of a record is its own.

    partitions: of each event of the record. base: the number of the record's first outcome. places[cursors[slot] :
    stops[slot]] are the events of a partition, in order. False: the record has more of one.
    """
    for i in range(partitions.size):
        partition: Any = np.int64(partitions[i])
        slot = _slot_of(arrays, found, partition)
        if partition == HIDDEN or slot < 0 or arrays.touched[slot].record != ordinal:
            continue
        if cursors[slot] >= stops[slot]:
            return False
        places[cursors[slot]] = base + i
        cursors[slot] += 1
    return True


@kernel(allocates=False)
def weave(
    arrays: LedgerArrays,
    events: npt.NDArray[Any],
    count: int,
    buffer: Bytes,
    ranges: npt.NDArray[Any],
    cursors: npt.NDArray[np.int64],
    places: npt.NDArray[np.int64],
    rejection_tag: int,
    out: Bytes,
) -> tuple[int, int]:
    """Writes the outcomes of a part, recorded ones where there are: (their length in out, how many are rejections).

    ranges: of each outcome in buffer; the first `count` are the part's own. cursors[slot]: the first of a partition's
    events in places. The length is UNFIT where out is too small.
    """
    position = 0
    rejected = 0
    for i in range(count):
        slot: Any = np.int64(arrays.pages[np.uint64(events[i].partition)].slot)
        chosen: Any = np.int64(i)
        item: Any = arrays.touched[slot]
        if item.record != 0:
            chosen = places[cursors[slot]]
            cursors[slot] += 1
        outcome: Any = ranges[chosen]
        start: Any = np.int64(outcome.start)
        stop: Any = np.int64(outcome.stop)
        if start < stop and load8(buffer, start) == rejection_tag:
            rejected += 1
        position = append(out, position, buffer, start - np.int64(outcome.flags), stop)
        if position < 0:
            return UNFIT, 0
    return position, rejected


@kernel(allocates=False)
def gather(
    order: npt.NDArray[np.int64],
    bounds: npt.NDArray[np.uint32],
    response: Bytes,
    out: Bytes,
    stops: npt.NDArray[np.int64],
) -> bool:
    """Copies the outcomes of a record in another order. False: out is too small.

    bounds[event]: where its outcome begins in the response, tag and all, and ends. stops[i + 1]: where the i-th of the
    new order ends in out.
    """
    position = 0
    for i in range(order.size):
        event: Any = order[i]
        start: Any = np.int64(bounds[event, 0])
        stop: Any = np.int64(bounds[event, 1])
        position = append(out, position, response, start, stop)
        if position < 0:
            return False
        stops[i + 1] = position
    return True
