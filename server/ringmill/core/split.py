"""Splits a request into one part for each owner of its keys, and merges the answers back: byte ranges, never objects.

A part is the request's head (all that is not an event) followed by the owner's events as the client wrote them: again a
valid `ProcessRequest`, and can itself be split. The answers' outcomes are put back in the order of the events.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import types

from ringmill.core.codec.fields import RANGES, split_fields
from ringmill.core.codec.layout import MALFORMED, RESERVED, RESERVED_FIRST, RESERVED_LAST, TOO_MANY, event_layout
from ringmill.core.codec.scanner import SCAN, Scan, build_scanner
from ringmill.core.columns import RANGE
from ringmill.core.errors import Code, RingmillError
from ringmill.core.jit import compile_kernel, kernel
from ringmill.core.maglev import Table
from ringmill.core.memory import MESSAGE, SCRATCH, Bytes, copy_bytes
from ringmill.core.view import HELD
from ringmill.core.wire import DELIMITED, append
from ringmill.v1.processing_pb2 import ProcessRequest, ProcessResponse

Owners = npt.NDArray[np.int16]
"""Owner of each event of a batch, int16[count]: a worker's index, or -1 for nobody."""

Touched = npt.NDArray[np.uint32]
"""Partitions that a part's events belong to, each once, in the order in which they first appear in it."""

_OUTCOMES_NUMBER = ProcessResponse.DESCRIPTOR.fields_by_name["outcomes"].number
_UINT8 = np.dtype(np.uint8)
_OWNERS = types.Array(types.int16, 1, "C")
_TABLE = types.Array(types.int32, 1, "C")
_OFFSETS = types.Array(types.int64, 1, "C")
_PARTITIONS = types.Array(types.uint32, 1, "C")
_ASSIGN = types.int64(RANGES, types.int64, _TABLE, _OWNERS, _OFFSETS, _OFFSETS, _PARTITIONS, _PARTITIONS, _OFFSETS)
_SCATTER = types.void(MESSAGE, RANGES, types.int64, _OWNERS, _OFFSETS, SCRATCH)
_PAIRS = types.Array(types.int64, 2, "C")
_GATHER = types.int64(MESSAGE, _PAIRS, RANGES, _PAIRS, _OWNERS, types.int64, SCRATCH, SCRATCH)

_PARTITION_WORD = RANGE.fields["partition"][1] // 4 if RANGE.fields else 0
"""Where the first range's partition stands among the ranges' 32-bit words."""


@dataclass(slots=True, eq=False)
class Scanned:
    """What a scan found. The byte ranges of the events stay in the splitter until its next scan."""

    head: bytes
    """Every top-level field but the events, encoded; the official library parses it."""
    count: int
    """Events."""


@dataclass(slots=True, eq=False)
class Split:
    """A request as parts."""

    owners: Owners
    parts: list[tuple[int, bytes, Touched]]
    """(owner, encoded ProcessRequest, partitions) for each owner of any of the events. An owner is a worker's index, or
    the number of workers: that part is of partitions that are held."""
    refused: int
    """Events that nobody owns."""


@kernel(allocates=False)
def _assign(
    ranges: npt.NDArray[Any],
    count: int,
    table: npt.NDArray[np.int32],
    owners: Owners,
    sizes: npt.NDArray[np.int64],
    seen: npt.NDArray[np.int64],
    firsts: Touched,
    touched: Touched,
    bounds: npt.NDArray[np.int64],
) -> int:
    """Finds the owner of each event and the partitions of each owner; returns how many events nobody owns.

    owners[:count] receives the owners: the last one has what is HELD. sizes[owner]: the bytes of its events.
    touched[bounds[owner] : bounds[owner + 1]]: its partitions, in the order in which they appear. firsts: scratch.
    seen[1 + partition]: the call that met it last, of as many as seen[0] says.
    """
    sizes[:] = 0
    bounds[:] = 0
    held = sizes.size - 1
    call = seen[0] + 1
    seen[0] = call
    refused = 0
    distinct = 0
    for index in range(count):
        event = ranges[index]
        partition: Any = np.int64(event.partition)
        owner: Any = np.int64(table[partition])
        if owner == HELD:
            owner = held
        owners[index] = owner
        if owner < 0:
            refused += 1
            continue
        sizes[owner] += np.int64(event.stop) - np.int64(event.start)
        if seen[1 + partition] != call:
            seen[1 + partition] = call
            firsts[distinct] = partition
            distinct += 1
            bounds[owner + 2] += 1
    for place in range(2, bounds.size):
        bounds[place] += bounds[place - 1]
    for index in range(distinct):  # bounds[owner + 1] is where its next partition goes, and at last where they stop
        partition = np.int64(firsts[index])
        owner = np.int64(table[partition])
        if owner == HELD:
            owner = held
        touched[bounds[owner + 1]] = partition
        bounds[owner + 1] += 1
    return refused


@kernel(allocates=False)
def _scatter(
    buffer: Bytes,
    ranges: npt.NDArray[Any],
    count: int,
    owners: Owners,
    offsets: npt.NDArray[np.int64],
    out: Bytes,
) -> None:
    """Copies each event behind those of its owner: offsets holds where each worker's next event goes in out."""
    for index in range(count):
        owner: Any = owners[index]
        if owner < 0:
            continue
        start: Any = np.int64(ranges[index].start)
        stop: Any = np.int64(ranges[index].stop)
        offset: Any = offsets[owner]
        if stop > buffer.size or offset + stop - start > out.size:
            raise ValueError("an event's range lies outside its message")
        offsets[owner] = copy_bytes(out, offset, buffer, start, stop)


@kernel(allocates=False)
def _gather(
    buffer: Bytes,
    parts: npt.NDArray[np.int64],
    ranges: npt.NDArray[Any],
    spans: npt.NDArray[np.int64],
    owners: Owners,
    refused_length: int,
    out: Bytes,
    rest: Bytes,
) -> int:
    """Puts the outcomes of several answers in the order of their events; returns their length in out, or -1.

    buffer: the refused outcome's field (`refused_length` bytes), then the answers. parts[k]: worker, start and stop of
    an answer in buffer; receives in the third place the length of what is not an outcome, which goes to rest, answer by
    answer. ranges, spans[worker]: scratch; the outcomes' bytes, and which of them are the worker's and not yet taken.
    -1: an answer is malformed, or has not one outcome for each event of its worker.
    """
    spans[:] = 0
    found = 0
    rest_length = 0
    for part in range(parts.shape[0]):
        worker, start, stop = parts[part, 0], parts[part, 1], parts[part, 2]
        count, length = split_fields(buffer, start, stop, _OUTCOMES_NUMBER, ranges[found:], rest[rest_length:])
        if count < 0:
            return -1
        spans[worker, 0] = found
        spans[worker, 1] = found + count
        parts[part, 2] = length
        found += count
        rest_length += length
    position = 0
    taken = 0
    for index in range(owners.size):
        owner = owners[index]
        if owner < 0:
            position = append(out, position, buffer, 0, refused_length)
        else:
            row = spans[owner, 0]
            if row >= spans[owner, 1]:
                return -1
            spans[owner, 0] = row + 1
            taken += 1
            outcome: Any = ranges[row]
            first: Any = np.int64(outcome.start) - np.int64(outcome.flags)
            last: Any = np.int64(outcome.stop)
            position = append(out, position, buffer, first, last)
        if position < 0:
            return -1
    return position if taken == found else -1


@cache
def _scanner() -> Scan:
    """The compiled scanner, and with it the other kernels here; once a process."""
    scan = build_scanner(event_layout(ProcessRequest.DESCRIPTOR))
    compile_kernel(scan, [SCAN])
    compile_kernel(_assign, [_ASSIGN])
    compile_kernel(_scatter, [_SCATTER])
    compile_kernel(_gather, [_GATHER])
    return scan


class Splitter:
    """Scans, splits and merges batches of one cluster, with scratch that is allocated once. For one thread."""

    def __init__(self, partitions: int, events_max: int, bytes_max: int) -> None:
        """Compiles its kernels, or loads them.

        partitions: how many the cluster has. events_max, bytes_max: the largest batch that `scan` lets pass.
        """
        self.partitions = partitions
        self.events_max = events_max
        self.bytes_max = bytes_max
        self._scan = _scanner()
        self._ranges = np.zeros(max(events_max, 1), RANGE)
        self._first_range = self._ranges.data.cast("B").cast("I")
        self._owners = np.empty(events_max, np.int16)
        self._seen = np.zeros(partitions + 1, np.int64)
        self._firsts = np.empty(partitions, np.uint32)
        self._touched = np.empty(partitions, np.uint32)
        self._bounds = np.zeros(0, np.int64)
        self._lone_owners: dict[int, Owners] = {}
        self._lone_touched: dict[int, Touched] = {}
        self._head = np.empty(bytes_max, np.uint8)
        self._head_view = self._head.data
        self._out = np.empty(bytes_max, np.uint8)
        self._sizes = np.zeros(0, np.int64)
        self._outcomes = np.zeros(max(events_max, 1), RANGE)
        self._scanned = Scanned(b"", 0)

    def scan(self, message: bytes) -> Scanned:
        """Checks a request's structure and finds its events. The next scan forgets what this one found.

        Raises RingmillError: RESOURCE_EXHAUSTED naming the limit that the request passes, INVALID_ARGUMENT if it is
        malformed or has a field that is not for clients.
        """
        size = len(message)
        if size > self.bytes_max:
            raise RingmillError(
                Code.RESOURCE_EXHAUSTED,
                f"the request has {size} bytes and max_request_bytes is {self.bytes_max}: send smaller batches",
            )
        return self.rescan(message)

    def rescan(self, message: bytes) -> Scanned:
        """As `scan`, of a request that was let pass: what servers have appended to it may pass the limit of bytes."""
        size = len(message)
        if self._head.size < size:
            self._head = np.empty(size, np.uint8)
            self._head_view = self._head.data
        count, head_length = self._scan(
            np.frombuffer(message, _UINT8), 0, size, self.partitions, self._head, self._ranges[: self.events_max]
        )
        if count < 0:
            raise self._refusal(count)
        self._scanned = Scanned(self._head_view[:head_length].tobytes(), count)
        return self._scanned

    def _refusal(self, error: int) -> RingmillError:
        if error == TOO_MANY:
            return RingmillError(
                Code.RESOURCE_EXHAUSTED,
                f"the request has more events than max_events, which is {self.events_max}: send smaller batches",
            )
        if error == RESERVED:
            return RingmillError(
                Code.INVALID_ARGUMENT,
                f"the request has a field from {RESERVED_FIRST} to {RESERVED_LAST}, which clients may not send",
            )
        assert error == MALFORMED
        return RingmillError(Code.INVALID_ARGUMENT, "the request is not a valid ProcessRequest: it does not parse")

    def split(self, message: bytes, scanned: Scanned, table: Table, workers: int) -> Split:
        """Splits the request scanned last by the owners of its keys; one with a single owner is passed on as it is.

        table: int32[partitions], a worker's index below `workers`, NOBODY or HELD. Raises ValueError if another request
        was scanned since, or the table is for another number of partitions.
        """
        if scanned is not self._scanned or table.size != self.partitions:
            raise ValueError("split what was scanned last, by a table of the same partitions")
        if scanned.count == 1:
            return self._split_one(message, self._first_range[_PARTITION_WORD], table, workers)
        if self._sizes.size != workers + 1:
            self._sizes = np.zeros(workers + 1, np.int64)
            self._bounds = np.zeros(workers + 3, np.int64)
        count, sizes, touched, bounds = scanned.count, self._sizes, self._touched, self._bounds
        refused = _assign(self._ranges, count, table, self._owners, sizes, self._seen, self._firsts, touched, bounds)
        owners = self._owners[:count].copy()
        shares = [(owner, size) for owner, size in enumerate(sizes.tolist()) if size]
        whole = len(shares) == 1 and not refused
        requests = [message] if whole else self._copy_parts(message, scanned, owners, shares)
        stops = bounds.tolist()
        parts = [
            (owner, request, touched[stops[owner] : stops[owner + 1]].copy())
            for (owner, _), request in zip(shares, requests, strict=True)
        ]
        return Split(owners, parts, refused)

    def _split_one(self, message: bytes, partition: int, table: Table, workers: int) -> Split:
        owner = int(table[partition])
        if owner == HELD:
            owner = workers
        owners = self._lone_owners.get(owner)
        if owners is None:
            owners = self._lone_owners[owner] = np.array([owner], np.int16)
        if owner < 0:
            return Split(owners, [], 1)
        touched = self._lone_touched.get(partition)
        if touched is None:
            touched = self._lone_touched[partition] = np.array([partition], np.uint32)
        return Split(owners, [(owner, message, touched)], 0)

    def _copy_parts(
        self, message: bytes, scanned: Scanned, owners: Owners, shares: list[tuple[int, int]]
    ) -> list[bytes]:
        head = scanned.head
        ends: list[tuple[int, int]] = []
        position = 0
        self._grow(len(message) + len(head) * len(shares))
        view = self._out.data
        for owner, size in shares:
            events = position + len(head)
            view[position:events] = head
            self._sizes[owner] = events
            ends.append((position, events + size))
            position = events + size
        _scatter(np.frombuffer(message, _UINT8), self._ranges, scanned.count, owners, self._sizes, self._out)
        return [view[start:stop].tobytes() for start, stop in ends]

    def _grow(self, size: int) -> None:
        if self._out.size < size:
            self._out = np.empty(size, np.uint8)

    def merge(
        self, owners: Owners, parts: Mapping[int, bytes], refused_outcome: bytes = b""
    ) -> tuple[bytes, list[bytes]]:
        """Merges the answers to the parts of one request.

        parts: encoded ProcessResponse of each owner that was given a part. refused_outcome: encoded Outcome for events
        that nobody owns. Returns the outcomes in the order of the events, each with its tag and length, and all else
        of each answer, in the order of `parts`. Raises RingmillError INTERNAL where an answer does not parse or has
        not one outcome for each event that its worker was given.
        """
        field = _OUTCOMES_TAG + _varint(len(refused_outcome)) + refused_outcome
        rows = []
        position = len(field)
        for worker, response in parts.items():
            rows.append((worker, position, position + len(response)))
            position += len(response)
        buffer = np.frombuffer(b"".join((field, *parts.values())), _UINT8)
        bounds = np.array(rows, np.int64).reshape(len(rows), 3)
        spans = np.empty((max(int(owners.max(initial=0)), *parts, 0) + 1, 2), np.int64)
        rest = np.empty(position, np.uint8)
        self._grow(position + len(field) * owners.size)
        length = _gather(buffer, bounds, self._outcomes, spans, owners, len(field), self._out, rest)
        if length < 0:
            raise RingmillError(Code.INTERNAL, "the workers' answers do not have one outcome for each event")
        heads, start = [], 0
        for rest_length in bounds[:, 2].tolist():
            heads.append(rest[start : start + rest_length].tobytes())
            start += rest_length
        return self._out.data[:length].tobytes(), heads


def _varint(value: int) -> bytes:
    encoded = bytearray()
    while value >= 0x80:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


_OUTCOMES_TAG = _varint(_OUTCOMES_NUMBER << 3 | DELIMITED)
