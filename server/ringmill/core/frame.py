"""Frames of links and channels: many parts, or many answers to parts, in one message (`internal/v1/link.proto`).

A frame is valid Protobuf, but its large payloads are neither copied into objects nor parsed twice: a worker reads the
byte ranges of the requests, and either side writes a frame by joining chunks.
"""

import struct
from collections.abc import Callable
from functools import cache, lru_cache
from typing import Any, NamedTuple

import numba
import numpy as np
import numpy.typing as npt
from numba import types

from ringmill.core.codec.layout import MALFORMED, TOO_MANY, MessageDescriptor
from ringmill.core.errors import Code, RingmillError
from ringmill.core.jit import compile_kernel, entry_point, kernel
from ringmill.core.memory import MESSAGE, SCRATCH, Bytes, load64
from ringmill.core.wire import (
    DELIMITED,
    DEPTH_MAX,
    FIXED64,
    VARINT,
    append,
    read_length,
    read_tag,
    read_varint,
    skip_field,
)
from ringmill.internal.v1.link_pb2 import JoinRequest, JoinResponse, Part, PartResult, ReplicateRequest

EXPIRED = 1
"""In `PartEntry.flags`: its time has run out, so every event is rejected DEADLINE."""
EARLY = 2
"""In `PartEntry.flags`: the caller wants the answer before copies have it (PRIMARY)."""
EMISSIONS = 4
"""In `PartEntry.flags`: the answer is to hold what windows emitted."""

PART = np.dtype(
    [
        ("id", "u8"),
        ("pipeline", "u4"),
        ("start", "u4"),
        ("stop", "u4"),
        ("producer", "u8"),
        ("fence", "u8"),
        ("sequence", "u8"),
        ("acknowledged", "u8"),
        ("previous_start", "u4"),
        ("previous_stop", "u4"),
        ("flags", "u4"),
        ("version", "u8"),
        ("check", "u8"),
    ],
    align=True,
)
"""One part of a frame: every field of `Part`; of those that hold bytes, their range in the frame."""


class PartEntry(NamedTuple):
    """One part of a frame, as Python reads it: the fields of PART."""

    id: int
    pipeline: int
    start: int
    """Its request is the frame's bytes [start, stop)."""
    stop: int
    producer: int = 0
    fence: int = 0
    sequence: int = 0
    acknowledged: int = 0
    previous_start: int = 0
    previous_stop: int = 0
    flags: int = 0
    version: int = 0
    check: int = 0


_FIELDS = Part.DESCRIPTOR.fields_by_name


def _number(field: str, wire_type: int) -> int:
    """The tag of a field of `Part`."""
    return _FIELDS[field].number << 3 | wire_type


_ID = _number("id", VARINT)
_PIPELINE = _number("pipeline", VARINT)
_REQUEST = _number("request", DELIMITED)
_PRODUCER = _number("producer", FIXED64)
_FENCE = _number("fence", VARINT)
_SEQUENCE = _number("sequence", VARINT)
_ACKNOWLEDGED = _number("acknowledged", VARINT)
_PREVIOUS = _number("previous", DELIMITED)
_FLAGS = _number("flags", VARINT)
_VERSION = _number("version", VARINT)
_CHECK = _number("check", FIXED64)

_READ = types.UniTuple(types.int64, 2)(MESSAGE, types.int64, types.Array(numba.from_dtype(PART), 1, "C"), SCRATCH)


@kernel(allocates=False)
def _read_part(buffer: Bytes, position: int, stop: int, parts: npt.NDArray[Any], place: int) -> bool:
    """Reads the fields of one part, buffer[position:stop], into parts[place]. False: it does not parse."""
    part = parts[place]
    part.id = part.producer = part.fence = part.sequence = part.acknowledged = np.uint64(0)
    part.version = part.check = np.uint64(0)
    part.pipeline = part.flags = np.uint32(0)
    part.start = part.stop = np.uint32(position)
    part.previous_start = part.previous_stop = np.uint32(position)
    while position < stop:
        tag, position = read_tag(buffer, position, stop)
        if position < 0:
            return False
        if tag in (_REQUEST, _PREVIOUS):
            start, position = read_length(buffer, position, stop)
            if position < 0:
                return False
            if tag == _REQUEST:
                part.start = np.uint32(start)
                part.stop = np.uint32(position)
            else:
                part.previous_start = np.uint32(start)
                part.previous_stop = np.uint32(position)
        elif tag in (_PRODUCER, _CHECK):
            if stop - position < 8:
                return False
            if tag == _PRODUCER:
                part.producer = load64(buffer, position)
            else:
                part.check = load64(buffer, position)
            position += 8
        elif tag & 7 == VARINT and tag >= 8:
            value, position = read_varint(buffer, position, stop)
            if position < 0:
                return False
            if tag == _ID:
                part.id = value
            elif tag == _PIPELINE:
                part.pipeline = np.uint32(value)
            elif tag == _FENCE:
                part.fence = value
            elif tag == _SEQUENCE:
                part.sequence = value
            elif tag == _ACKNOWLEDGED:
                part.acknowledged = value
            elif tag == _FLAGS:
                part.flags = np.uint32(value)
            elif tag == _VERSION:
                part.version = value
        else:
            position = skip_field(buffer, position, stop, tag, DEPTH_MAX - 1)
            if position < 0:
                return False
    return True


@kernel(allocates=False)
def read_parts(buffer: Bytes, parts_field: int, parts: npt.NDArray[Any], rest: Bytes) -> tuple[int, int]:
    """Reads a frame's parts, and copies every other field into `rest`: again a message.

    Returns (count, length of rest); count is MALFORMED or TOO_MANY (more than the rows of `parts`) on failure.
    """
    count = 0
    rest_length = 0
    position = 0
    size = buffer.size
    while position < size:
        field_start = position
        tag, position = read_tag(buffer, position, size)
        if position < 0:
            return MALFORMED, 0
        if tag != parts_field << 3 | DELIMITED:
            position = skip_field(buffer, position, size, tag, DEPTH_MAX)
            if position < 0:
                return MALFORMED, 0
            rest_length = append(rest, rest_length, buffer, field_start, position)
            continue
        inner, position = read_length(buffer, position, size)
        if position < 0:
            return MALFORMED, 0
        if count == parts.size:
            return TOO_MANY, 0
        if not _read_part(buffer, inner, position, parts, count):
            return MALFORMED, 0
        count += 1
    return count, rest_length


@cache
def _compiled() -> Callable[..., tuple[int, int]]:
    compile_kernel(read_parts, [_READ])
    return entry_point(read_parts, _READ)


class PartsReader:
    """Reads the frames that a balancer sends, or those of a primary."""

    def __init__(self, message: type[JoinResponse] | type[ReplicateRequest] = JoinResponse) -> None:
        """Compiles its kernel, or loads it. message: what a frame is."""
        self._number = message.DESCRIPTOR.fields_by_name["parts"].number
        self._parts = np.zeros(256, PART)
        self._rest = np.empty(1 << 16, np.uint8)
        self._read = _compiled()

    def read(self, frame: Bytes) -> tuple[list[PartEntry], bytes]:
        """The parts of a frame, and its other fields encoded. Raises INTERNAL if it does not parse.

        frame: uint8[n] in C order, as `np.frombuffer(message, np.uint8)` gives it.
        """
        assert (frame.itemsize, frame.ndim) == (1, 1), "compiled code takes the frame for bytes"
        if frame.size > self._rest.size:
            self._rest = np.zeros(2 * frame.size, np.uint8)
        count, rest_length = self._read(frame, self._number, self._parts, self._rest)
        if count == TOO_MANY:
            self._parts = np.zeros(4 * self._parts.size, PART)
            return self.read(frame)
        if count < 0:
            raise RingmillError(Code.INTERNAL, "a frame of the link does not parse")
        rest = self._rest[:rest_length].tobytes() if rest_length else b""
        return list(map(PartEntry._make, self._parts[:count].tolist())), rest


_VARINTS = [bytes((value,)) for value in range(0x80)]


def varint(value: int) -> bytes:
    """Encodes a varint."""
    if value < 0x80:
        return _VARINTS[value]
    if value < 0x4000:
        return bytes((value & 0x7F | 0x80, value >> 7))
    if value < 0x200000:
        return bytes((value & 0x7F | 0x80, value >> 7 & 0x7F | 0x80, value >> 14))
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _tag(message: MessageDescriptor, field: str, wire_type: int) -> bytes:
    return varint(message.fields_by_name[field].number << 3 | wire_type)


_PARTS = _tag(JoinResponse.DESCRIPTOR, "parts", DELIMITED)
_RECORDS = _tag(ReplicateRequest.DESCRIPTOR, "parts", DELIMITED)
_PART_ID = varint(_ID)
_PART_PIPELINE = varint(_PIPELINE)
_PART_REQUEST = varint(_REQUEST)
_PART_PRODUCER = varint(_PRODUCER)
_PART_FENCE = varint(_FENCE)
_PART_SEQUENCE = varint(_SEQUENCE)
_PART_ACKNOWLEDGED = varint(_ACKNOWLEDGED)
_PART_PREVIOUS = varint(_PREVIOUS)
_PART_FLAGS = varint(_FLAGS)
_PART_VERSION = varint(_VERSION)
_PART_CHECK = varint(_CHECK)
_RESULTS = _tag(JoinRequest.DESCRIPTOR, "results", DELIMITED)
_RESULT_ID = _tag(PartResult.DESCRIPTOR, "id", VARINT)
_RESULT_RESPONSE = _tag(PartResult.DESCRIPTOR, "response", DELIMITED)
_RESULT_PROVISIONAL = _tag(PartResult.DESCRIPTOR, "provisional", VARINT) + b"\x01"
_WORD = struct.Struct("<Q")


@lru_cache(4096)
def part_identity(pipeline: int, producer: int, fence: int) -> bytes:
    """The fields that all parts of a stream share, for `part_prefix`."""
    identity = b""
    if pipeline:
        identity += _PART_PIPELINE + varint(pipeline)
    if producer:
        identity += _PART_PRODUCER + _WORD.pack(producer)
    if fence:
        identity += _PART_FENCE + varint(fence)
    return identity


def _inner(
    part: int, identity: bytes, sequence: int, acknowledged: int, previous: bytes, flags: int, record: bytes, size: int
) -> bytes:
    """A Part up to its request, which has `size` bytes; record: the fields of a record."""
    chunks = [_PART_ID, varint(part), identity]
    if sequence:
        chunks += (_PART_SEQUENCE, varint(sequence))
    if acknowledged:
        chunks += (_PART_ACKNOWLEDGED, varint(acknowledged))
    if previous:
        chunks += (_PART_PREVIOUS, varint(len(previous)), previous)
    if flags:
        chunks += (_PART_FLAGS, varint(flags))
    chunks += (record, _PART_REQUEST, varint(size))
    return b"".join(chunks)


def part_prefix(
    part: int, identity: bytes, sequence: int, acknowledged: int, previous: bytes, flags: int, request_bytes: int
) -> bytes:
    """What stands before a request's bytes in a frame of a balancer; join it with them. Zeros are left out."""
    inner = _inner(part, identity, sequence, acknowledged, previous, flags, b"", request_bytes)
    return _PARTS + varint(len(inner) + request_bytes) + inner


def record_prefix(
    entry: PartEntry, number: int, previous: bytes, version: int, check: int, request_bytes: int
) -> bytes:
    """What stands before a request's bytes in a frame of a primary: the part that it was handed, as a record.

    number: its place on the channel. previous: the part's, or what of it concerns the copy (`Ledger.cut`).
    """
    identity = part_identity(entry.pipeline, entry.producer, entry.fence)
    record = _PART_VERSION + varint(version) + _PART_CHECK + _WORD.pack(check)
    inner = _inner(number, identity, entry.sequence, entry.acknowledged, previous, entry.flags, record, request_bytes)
    return _RECORDS + varint(len(inner) + request_bytes) + inner


def result_prefix(part: int, response_bytes: int, provisional: bool = False) -> bytes:
    """What stands before a response's bytes in a frame; join it with them.

    provisional: copies do not hold the part yet, and `JoinRequest.committed` follows.
    """
    inner = _RESULT_ID + varint(part)
    if provisional:
        inner += _RESULT_PROVISIONAL
    inner += _RESULT_RESPONSE + varint(response_bytes)
    return _RESULTS + varint(len(inner) + response_bytes) + inner


def failed_result(part: int, error: RingmillError) -> bytes:
    """The answer to a part whose batch must end its stream: a frame of its own, or joined with others."""
    return JoinRequest(results=[PartResult(id=part, code=error.code, detail=error.message)]).SerializeToString()


def again_result(part: int, version: int) -> bytes:
    """The answer to a part of which nothing was applied, to be routed again by a view of at least this version."""
    return JoinRequest(results=[PartResult(id=part, again=True, version=version)]).SerializeToString()
