"""Frames of a link: many parts, or many answers to parts, in one message (`internal/v1/link.proto`).

A frame is valid Protobuf, but its large payloads are neither copied into objects nor parsed twice: a worker reads the
byte ranges of the requests, and either side writes a frame by joining chunks.
"""

from typing import Any

import numba
import numpy as np
import numpy.typing as npt
from numba import types

from ringmill.core.codec.layout import MALFORMED, TOO_MANY, MessageDescriptor
from ringmill.core.errors import Code, RingmillError
from ringmill.core.jit import compile_kernel, kernel
from ringmill.core.memory import MESSAGE, SCRATCH, Bytes
from ringmill.core.wire import DELIMITED, DEPTH_MAX, VARINT, append, read_length, read_tag, read_varint, skip_field
from ringmill.internal.v1.link_pb2 import JoinRequest, JoinResponse, Part, PartResult

ENTRY = np.dtype([("id", "u8"), ("pipeline", "u4"), ("start", "u4"), ("stop", "u4")], align=True)
"""One part: its id, its pipeline, and the byte range of its request."""

Entry = tuple[int, int, int, int]
"""(id, pipeline, start, stop)."""

_READ = types.UniTuple(types.int64, 2)(
    MESSAGE, *[types.int64] * 4, types.Array(numba.from_dtype(ENTRY), 1, "C"), SCRATCH
)


@kernel(allocates=False)
def read_parts(
    buffer: Bytes,
    parts_field: int,
    id_field: int,
    pipeline_field: int,
    request_field: int,
    entries: npt.NDArray[Any],
    rest: Bytes,
) -> tuple[int, int]:
    """Reads a frame's parts, and copies every other field into `rest`: again a message.

    Returns (count, length of rest); count is MALFORMED or TOO_MANY (more than the rows of `entries`) on failure.
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
        if count == entries.size:
            return TOO_MANY, 0
        entry = entries[count]
        entry.id = np.uint64(0)
        entry.pipeline = np.uint32(0)
        entry.start = np.uint32(position)
        entry.stop = np.uint32(position)
        count += 1
        while inner < position:
            tag, inner = read_tag(buffer, inner, position)
            if inner < 0:
                return MALFORMED, 0
            if tag == request_field << 3 | DELIMITED:
                start, inner = read_length(buffer, inner, position)
                if inner < 0:
                    return MALFORMED, 0
                entry.start = np.uint32(start)
                entry.stop = np.uint32(inner)
            elif tag == id_field << 3 | VARINT:
                value, inner = read_varint(buffer, inner, position)
                if inner < 0:
                    return MALFORMED, 0
                entry.id = value
            elif tag == pipeline_field << 3 | VARINT:
                value, inner = read_varint(buffer, inner, position)
                if inner < 0:
                    return MALFORMED, 0
                entry.pipeline = np.uint32(value)
            else:
                inner = skip_field(buffer, inner, position, tag, DEPTH_MAX)
                if inner < 0:
                    return MALFORMED, 0
    return count, rest_length


class PartsReader:
    """Reads the frames that a balancer sends."""

    def __init__(self) -> None:
        part = Part.DESCRIPTOR.fields_by_name
        parts = JoinResponse.DESCRIPTOR.fields_by_name["parts"]
        self._fields = (parts.number, part["id"].number, part["pipeline"].number, part["request"].number)
        self._entries = np.zeros(256, ENTRY)
        self._rest = np.zeros(1 << 16, np.uint8)
        compile_kernel(read_parts, [_READ])

    def read(self, frame: Bytes) -> tuple[list[Entry], bytes]:
        """The parts of a frame, and its other fields encoded. Raises INTERNAL if it does not parse."""
        if frame.size > self._rest.size:
            self._rest = np.zeros(2 * frame.size, np.uint8)
        count, rest_length = read_parts(frame, *self._fields, self._entries, self._rest)
        if count == TOO_MANY:
            self._entries = np.zeros(4 * self._entries.size, ENTRY)
            return self.read(frame)
        if count < 0:
            raise RingmillError(Code.INTERNAL, "a frame of the link does not parse")
        rest = self._rest[:rest_length].tobytes() if rest_length else b""
        return self._entries[:count].tolist(), rest


def varint(value: int) -> bytes:
    """Encodes a varint."""
    if value < 0x80:
        return bytes((value,))
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _tag(message: MessageDescriptor, field: str, wire_type: int) -> bytes:
    return varint(message.fields_by_name[field].number << 3 | wire_type)


_PARTS = _tag(JoinResponse.DESCRIPTOR, "parts", DELIMITED)
_PART_ID = _tag(Part.DESCRIPTOR, "id", VARINT)
_PART_PIPELINE = _tag(Part.DESCRIPTOR, "pipeline", VARINT)
_PART_REQUEST = _tag(Part.DESCRIPTOR, "request", DELIMITED)
_RESULTS = _tag(JoinRequest.DESCRIPTOR, "results", DELIMITED)
_RESULT_ID = _tag(PartResult.DESCRIPTOR, "id", VARINT)
_RESULT_RESPONSE = _tag(PartResult.DESCRIPTOR, "response", DELIMITED)


def part_prefix(part: int, pipeline: int, request_bytes: int) -> bytes:
    """What stands before a request's bytes in a frame; join it with them."""
    inner = _PART_ID + varint(part) + _PART_PIPELINE + varint(pipeline) + _PART_REQUEST + varint(request_bytes)
    return _PARTS + varint(len(inner) + request_bytes) + inner


def result_prefix(part: int, response_bytes: int) -> bytes:
    """What stands before a response's bytes in a frame; join it with them."""
    inner = _RESULT_ID + varint(part) + _RESULT_RESPONSE + varint(response_bytes)
    return _RESULTS + varint(len(inner) + response_bytes) + inner


def failed_result(part: int, error: RingmillError) -> bytes:
    """The answer to a part whose batch must end its stream: a frame of its own, or joined with others."""
    return JoinRequest(results=[PartResult(id=part, code=error.code, detail=error.message)]).SerializeToString()
