"""The ledger's arrays, and the kernels that decide about a part and write it down (`engine/ledger.py`).

    pages    [partition 0 | partition 1 | ...]                  64 bytes each: history, counters, whose it is
    entries  [producer row 0: partition 0, 1, ... | row 1 ...]  fence, session and last sequence of a producer there
    touched  [first partition of this part | second | ...]      what `examine` found; the later steps go on from it

Finding a partition's place in `touched` is the sparse set of Briggs and Torczon (An efficient representation for sparse
sets, 1993): a page's `slot` counts only if that place names the partition, so nothing is ever cleared.
"""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ringmill.core.errors import Reason
from ringmill.core.jit import kernel
from ringmill.core.memory import Bytes
from ringmill.core.wire import read_varint
from ringmill.engine.prints import SEED, mix, mix_columns, mix_reason

PAGE = np.dtype(
    [
        ("index", "u8"),  # records admitted so far
        ("digest", "u8"),  # of these records and their outcomes
        ("epoch", "u8"),
        ("channels", "u8"),  # one bit for each channel that the partition's records go to
        ("received", "u8"),  # counted as each part comes; `applied` and `rejected` as each event is settled
        ("applied", "u8"),
        ("rejected", "u8"),
        ("slot", "u4"),  # where it stands in `touched`, if it does
        ("source", "i2"),  # -1: nobody's; 0: this worker's own; above: copied from that peer
        ("held", "u1"),  # 1: an own partition takes no parts; a copied one awaits its snapshot
    ],
    align=True,
)
"""One partition: 64 bytes, a line of the cache."""

ENTRY = np.dtype([("fence", "u8"), ("session", "u8"), ("last", "u8")])
"""One producer in one partition; fence 0: it is not known there."""

TOUCHED = np.dtype(
    [
        ("content", "u8"),  # fingerprint of its events in this part
        ("check", "u8"),  # of its index and digest before this part
        ("outcomes", "u8"),  # fingerprint of what came out, once settled
        ("delta", "u8"),  # sequence less the one before; 0: there was none
        ("partition", "u4"),
        ("events", "u4"),
        ("record", "u4"),  # number of the recorded outcome, from 1; 0: none
        ("verdict", "u4"),
    ],
    align=True,
)
"""One partition of the part at hand."""

# Verdicts.
FRESH = 0
KNOWN = 1
"""Its sequence was admitted before."""
NEVER = 2
"""Its sequence was passed by and never admitted."""
REFUSED = 3
"""Its records are not for this sender to send, or are older than its epoch."""
SKIPPED = 4
"""It awaits its snapshot."""

# Results of `examine`.
ADMITTED = 0
"""All of it is fresh and has been admitted."""
ADMIT = 1
"""It may be admitted, but some partitions are known, refused or skipped."""
AGAIN = 2
"""A partition is not served here, or misses what came before."""
FENCED = 3
"""A newer stream of the producer is open."""
FULL = 4
"""No room for one more producer."""
CORRUPT = 5
"""`previous` does not fit the events, a partition is not one of the ledger's, or a number is 0 that may not be."""
DIVERGED = 6
"""This copy has another history than the primary."""

_ZERO = np.uint64(0)
_ONE = np.uint64(1)
_ALREADY_APPLIED = np.uint32(Reason.ALREADY_APPLIED)
_OUT_OF_ORDER = np.uint32(Reason.OUT_OF_ORDER)
_UNAVAILABLE = np.uint32(Reason.UNAVAILABLE)
_DEADLINE = np.uint32(Reason.DEADLINE)

HIDDEN = 0xFFFF
"""In a record: an event, or a partition, that the record says nothing of."""
RECORD_WORDS = 1
"""Words before the prints in a record: the number of partitions in 16 bits, 1 in the next 16 if any event has a reason,
and the number of events."""


class LedgerArrays(NamedTuple):
    """What kernels get of a ledger."""

    pages: npt.NDArray[Any]  # PAGE[partitions]
    duplicates: npt.NDArray[np.uint64]  # [partitions]: events that were known already
    entries: npt.NDArray[Any]  # ENTRY[producers_max * partitions]
    producers: npt.NDArray[np.uint64]  # [producers_max]: whose row it is; 0: nobody's
    used: npt.NDArray[np.int64]  # [producers_max]: partitions where the row's producer is known
    oldest: npt.NDArray[np.uint64]  # [producers_max]: no fence of the row is below this
    touched: npt.NDArray[Any]  # TOUCHED[partitions]
    sums: npt.NDArray[np.uint64]  # [partitions], scratch
    words: npt.NDArray[np.uint64]  # a record being written, as words
    halves: npt.NDArray[np.uint16]  # the same memory in units of 16 bits


class Judged(NamedTuple):
    """What `examine` found of a part."""

    status: int
    """ADMITTED, ADMIT, AGAIN, FENCED, FULL, CORRUPT or DIVERGED; but for the first two nothing may be admitted."""
    partition: int
    """The partition that decided, where one did; else -1."""
    touched: int
    """Partitions of the part."""
    fresh: int
    known: int
    refused: int
    skipped: int
    """Partitions by verdict: they add up to `touched`."""
    check: int
    """u64: digest of the state before, over all that is neither refused nor skipped."""
    channels: int
    """u64: channels that any of its partitions is copied to."""
    common: int
    """u64: channels that all of them are copied to."""


@kernel(inline=True)
def check_of(partition: int, index: np.uint64, digest: np.uint64) -> np.uint64:
    """Digest of one partition's state of history; a part's is the sum."""
    return mix(mix(mix(SEED, np.uint64(partition)), index), digest)


@kernel(boundscheck=False, allocates=False)  # rows and partitions are compared; a slot below `found` is in `touched`
def _collect(
    arrays: LedgerArrays,
    events: npt.NDArray[Any],
    values: npt.NDArray[np.float64],
    labels: npt.NDArray[Any],
    integers: npt.NDArray[np.int64],
    count: int,
    buffer: Bytes,
    start: int,
    stop: int,
    sequence: np.uint64,
) -> int:
    """Fills `touched` with the partitions of the events, in order of first appearance. Their number, or -1: CORRUPT."""
    pages, touched = arrays.pages, arrays.touched
    found = 0
    if count > min(events.size, values.shape[0], labels.shape[0], integers.shape[0]):
        return -1
    for i in range(count):
        event = events[i]
        partition = np.uint64(event.partition)
        if partition >= np.uint64(pages.size):
            return -1
        page: Any = pages[partition]
        slot = np.uint64(page.slot)
        if slot >= np.uint64(found) or np.uint64(touched[slot].partition) != partition:
            delta, start = read_varint(buffer, start, stop)
            if start < 0 or delta > sequence:
                return -1
            slot = np.uint64(found)
            found += 1
            page.slot = np.uint32(slot)
            entered: Any = touched[slot]
            entered.content = SEED
            entered.delta = delta
            entered.outcomes = SEED
            entered.partition = np.uint32(partition)
            entered.events = np.uint32(0)
            entered.record = np.uint32(0)
        item: Any = touched[slot]
        item.events += np.uint32(1)
        state = mix(item.content, event.hash)
        reason: Any = np.int64(event.reason)
        if reason != 0:
            item.content = mix_reason(state, reason)
        else:
            item.content = mix_columns(mix(state, np.uint64(event.time_us)), i, values, labels, integers)
    return found if start == stop else -1


@kernel(inline=True)
def refuses(page: Any, source: int, version: np.uint64) -> bool:
    """Whether a partition is not this source's to write, under a view of this version."""
    return np.int64(page.source) != source or (source != 0 and page.epoch > version)


@kernel(allocates=False)
def _enter_fresh(
    arrays: LedgerArrays, found: int, row: int, producer: np.uint64, fence: np.uint64, sequence: np.uint64
) -> None:
    """Writes down that the fresh partitions have taken the part."""
    first = row * arrays.pages.size
    for slot in range(found):
        item: Any = arrays.touched[slot]
        if item.verdict != FRESH:
            continue
        partition: Any = np.int64(item.partition)
        entry: Any = arrays.entries[first + partition]
        if entry.fence == _ZERO:
            entry.session = fence
            arrays.used[row] += 1
            arrays.oldest[row] = min(arrays.oldest[row], fence) if arrays.used[row] > 1 else fence
        entry.fence = fence
        entry.last = sequence
        page: Any = arrays.pages[partition]
        page.received += np.uint64(item.events)
        page.index += _ONE
        page.digest = mix(mix(mix(page.digest, producer), sequence), item.content)


@kernel(allocates=False)
def _expire(arrays: LedgerArrays, events: npt.NDArray[Any], count: int) -> None:
    """Rejects the fresh events that nothing else rejected."""
    for i in range(count):
        event = events[i]
        slot = arrays.pages[np.uint64(event.partition)].slot
        if event.reason == 0 and arrays.touched[np.uint64(slot)].verdict == FRESH:
            event.reason = _DEADLINE


@kernel(allocates=False)
def examine(
    arrays: LedgerArrays,
    events: npt.NDArray[Any],
    values: npt.NDArray[np.float64],
    labels: npt.NDArray[Any],
    integers: npt.NDArray[np.int64],
    count: int,
    buffer: Bytes,
    start: int,
    stop: int,
    row: int,
    source: int,
    producer: np.uint64,
    fence: np.uint64,
    sequence: np.uint64,
    version: np.uint64,
    expected: np.uint64,
    expired: int,
) -> tuple[int, int, int, int, int, int, int, np.uint64, np.uint64, np.uint64]:
    """Judges a part; see `Ledger.examine`. Admits it only if all of it is fresh.

    buffer[start:stop]: its `previous`. row: the producer's row, or one that is free and all zero.
    """
    check = common = _ZERO
    channels = _ZERO
    if fence == _ZERO or sequence == _ZERO or start < 0 or stop < start or stop > buffer.size:
        return CORRUPT, -1, 0, 0, 0, 0, 0, check, channels, common
    found = _collect(arrays, events, values, labels, integers, count, buffer, start, stop, sequence)
    if found < 0:
        return CORRUPT, -1, 0, 0, 0, 0, 0, check, channels, common
    common = ~_ZERO
    first = row * arrays.pages.size
    fresh = known = refused = skipped = 0
    for slot in range(found):
        item: Any = arrays.touched[slot]
        partition: Any = np.int64(item.partition)
        page: Any = arrays.pages[partition]
        entry: Any = arrays.entries[first + partition]
        if refuses(page, source, version) or (source == 0 and page.held != 0):
            if source == 0:
                return AGAIN, partition, found, 0, 0, 0, 0, check, channels, common
            item.verdict = np.uint32(REFUSED)
            refused += 1
            continue
        if page.held != 0:
            item.verdict = np.uint32(SKIPPED)
            skipped += 1
            continue
        if entry.fence > fence:
            return FENCED, partition, found, 0, 0, 0, 0, check, channels, common
        if sequence <= entry.last:
            item.verdict = np.uint32(KNOWN)
            known += 1
        elif item.delta != _ZERO and sequence - item.delta > entry.last:
            return AGAIN, partition, found, 0, 0, 0, 0, check, channels, common
        else:
            item.verdict = np.uint32(FRESH)
            fresh += 1
        item.check = check_of(partition, page.index, page.digest)
        check += item.check
        channels |= page.channels
        common &= page.channels
    status = ADMIT
    if refused == 0 and skipped == 0:
        if source != 0 and check != expected:
            status = DIVERGED
        elif known == 0:
            status = ADMITTED
            _enter_fresh(arrays, found, row, producer, fence, sequence)
            if expired != 0:
                _expire(arrays, events, count)
    return status, -1, found, fresh, known, refused, skipped, check, channels, common


@kernel(allocates=False)
def admit(
    arrays: LedgerArrays,
    events: npt.NDArray[Any],
    count: int,
    found: int,
    row: int,
    producer: np.uint64,
    fence: np.uint64,
    sequence: np.uint64,
    expired: int,
) -> None:
    """Admits what is fresh of a part that was examined last, and gives all other events the reason why not."""
    _enter_fresh(arrays, found, row, producer, fence, sequence)
    if expired != 0:
        _expire(arrays, events, count)
    for slot in range(found):
        item: Any = arrays.touched[slot]
        if item.verdict == KNOWN or item.verdict == NEVER:
            arrays.pages[np.int64(item.partition)].received += np.uint64(item.events)
    for i in range(count):
        event = events[i]
        page: Any = arrays.pages[np.uint64(event.partition)]
        verdict = arrays.touched[np.uint64(page.slot)].verdict
        if verdict == KNOWN:
            event.reason = _ALREADY_APPLIED
            arrays.duplicates[np.uint64(event.partition)] += _ONE
        elif verdict == NEVER:
            event.reason = _OUT_OF_ORDER
            page.rejected += _ONE
        elif verdict != FRESH:
            event.reason = _UNAVAILABLE


@kernel(allocates=False)
def settle(
    arrays: LedgerArrays,
    events: npt.NDArray[Any],
    out_values: npt.NDArray[np.float64],
    out_labels: npt.NDArray[Any],
    out_integers: npt.NDArray[np.int64],
    count: int,
    found: int,
) -> tuple[np.uint64, int]:
    """Takes the outcomes of the part admitted last into the digests and counters, and writes its record.

    Returns the sum of the fresh partitions' digests of outcomes, and the length of the record in bytes.
    """
    pages, touched, halves = arrays.pages, arrays.touched, arrays.halves
    fresh = 0
    for slot in range(found):
        if touched[slot].verdict == FRESH:
            fresh += 1
    place = 4 * (RECORD_WORDS + fresh) + fresh
    reasons: Any = np.int64(0)
    for i in range(count):
        event = events[i]
        page: Any = pages[np.uint64(event.partition)]
        item: Any = touched[np.uint64(page.slot)]
        reason: Any = np.int64(event.reason)
        reasons |= reason
        if item.verdict != FRESH:
            halves[place + i] = HIDDEN
            continue
        halves[place + i] = np.uint16(event.partition)
        if reason != 0:
            page.rejected += _ONE
            item.outcomes = mix_reason(item.outcomes, reason)
        else:
            page.applied += _ONE
            item.outcomes = mix_columns(mix(item.outcomes, SEED), i, out_values, out_labels, out_integers)
    arrays.words[0] = np.uint64(fresh) | np.uint64(reasons != 0) << np.uint64(16) | np.uint64(count) << np.uint64(32)
    return _settle_pages(arrays, found, fresh), 2 * (place + count)


@kernel(allocates=False)
def _settle_pages(arrays: LedgerArrays, found: int, fresh: int) -> np.uint64:
    """Ends `settle`: each fresh partition's digest, and its place in the record."""
    touched = arrays.touched
    total = _ZERO
    written = 0
    for slot in range(found):
        item: Any = touched[slot]
        if item.verdict != FRESH:
            continue
        partition: Any = np.int64(item.partition)
        page: Any = arrays.pages[partition]
        page.digest = mix(page.digest, item.outcomes)
        item.outcomes = mix(mix(SEED, np.uint64(partition)), item.outcomes)
        total += item.outcomes
        arrays.words[RECORD_WORDS + written] = item.content
        arrays.halves[4 * (RECORD_WORDS + fresh) + written] = np.uint16(partition)
        written += 1
    return total


@kernel(allocates=False)
def cut(
    arrays: LedgerArrays, found: int, select: npt.NDArray[np.uint8], out: Bytes
) -> tuple[int, np.uint64, np.uint64]:
    """What of the part at hand concerns the selected partitions: length of `previous` in out, check, outcomes.

    select: uint8[partitions]. out: at least 10 bytes for each partition of the part.
    """
    length = 0
    check = outcomes = _ZERO
    for slot in range(found):
        item: Any = arrays.touched[slot]
        if select[np.uint64(item.partition)] == 0:
            continue
        delta = item.delta
        while delta >= np.uint64(0x80):
            out[length] = np.uint8(delta & np.uint64(0x7F) | np.uint64(0x80))
            delta >>= np.uint64(7)
            length += 1
        out[length] = np.uint8(delta)
        length += 1
        check += item.check
        if item.verdict == FRESH:
            outcomes += item.outcomes
    return length, check, outcomes
