"""Protobuf's wire format as inline primitives: what every compiled reader and writer of messages is made of.

A reader takes the offset to read at and the offset to stop before, never reads at or past `stop`, and returns the next
offset, or -1 where the official library (upb) would refuse the bytes. `stop` must not lie past the array's end.

Rules that are upb's own, found by fuzzing it: a tag has at most 5 bytes and 32 bits; wire types 6 and 7 are refused,
and so is field number 0 but inside an unknown group; a varint has at most 10 bytes and is cut to 64 bits; a length has
at most 5 bytes and 31 bits; groups and messages nest at most 100 deep, and a group ends with its own number inside the
message that it began in.
Source: https://protobuf.dev/programming-guides/encoding/
"""

import numpy as np

from ringmill.core.jit import kernel
from ringmill.core.memory import Bytes, copy_bytes, load8

VARINT = 0
FIXED64 = 1
DELIMITED = 2
GROUP = 3
GROUP_END = 4
FIXED32 = 5

DEPTH_MAX = np.int64(100)
"""How many groups and messages may be open at once inside the outermost message. Typed: a plain int would be a
different constant type for each value, and compile its callees once for each."""
LENGTH_MAX = 2**31 - 1


@kernel(inline=True)
def check_span(buffer: Bytes, start: int, stop: int, scratch: Bytes) -> None:
    """Raises ValueError unless buffer[start:stop] lies in the array, and scratch can hold as much. Once a message."""
    if start < 0 or stop < start or stop > buffer.size or stop - start > scratch.size:
        raise ValueError("a message must lie inside its buffer, and the scratch must be as large as the message")


@kernel(inline=True)
def read_varint(buffer: Bytes, position: int, stop: int) -> tuple[np.uint64, int]:
    """Reads a varint of up to 10 bytes: (value cut to 64 bits, next), or (0, -1) if it is cut off or longer."""
    value = np.uint64(0)
    shift = np.uint64(0)
    last = min(stop, position + 10)
    following = -1
    while position < last:
        byte = load8(buffer, position)
        position += 1
        value |= np.uint64(byte & 0x7F) << shift
        if byte < 0x80:
            following = position
            break
        shift += np.uint64(7)
    return value, following


@kernel(inline=True)
def read_uint32(buffer: Bytes, position: int, stop: int, maximum: int) -> tuple[int, int]:
    """Reads a varint of up to 5 bytes: (value, next), or (0, -1) if cut off, longer, or above `maximum`."""
    if position < stop:
        value = load8(buffer, position)
        if value < 0x80:
            return value, position + 1
    value = 0
    shift = 0
    last = min(stop, position + 5)
    while position < last:
        byte = load8(buffer, position)
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return (value, position) if value <= maximum else (0, -1)
        shift += 7
    return 0, -1


@kernel(inline=True)
def read_tag(buffer: Bytes, position: int, stop: int) -> tuple[int, int]:
    """Reads a tag: (field number * 8 + wire type, next), or (0, -1). Field number 0 is for the caller to refuse."""
    return read_uint32(buffer, position, stop, 0xFFFFFFFF)


@kernel(inline=True)
def read_length(buffer: Bytes, position: int, stop: int) -> tuple[int, int]:
    """Reads the length of a delimited field: (start of its bytes, their stop), or (0, -1) if they pass `stop`."""
    length, start = read_uint32(buffer, position, stop, LENGTH_MAX)
    if start < 0 or length > stop - start:
        return 0, -1
    return start, start + length


@kernel(allocates=False)
def skip_group(buffer: Bytes, position: int, stop: int, number: int, depth: np.int64) -> int:
    """Returns the offset past the end tag of a group whose start tag ends at `position`, or -1.

    Inside an unknown group upb lets field number 0 pass, and so does this.

    depth: how many groups may be open at once from here, this one included.
    """
    if depth <= 0:
        return -1
    while position >= 0:
        tag, position = read_tag(buffer, position, stop)
        if position < 0:
            return -1
        wire_type = tag & 7
        if wire_type == GROUP_END:
            return position if tag >> 3 == number else -1
        if wire_type == GROUP:
            position = skip_group(buffer, position, stop, tag >> 3, depth - 1)
        else:
            position = skip_scalar(buffer, position, stop, wire_type)
    return -1


@kernel(allocates=False)
def skip_scalar(buffer: Bytes, position: int, stop: int, wire_type: int) -> int:
    """Returns the offset past a value of any wire type but groups, or -1."""
    if wire_type == VARINT:
        return read_varint(buffer, position, stop)[1]
    if wire_type == DELIMITED:
        return read_length(buffer, position, stop)[1]
    if wire_type == FIXED64:
        return position + 8 if stop - position >= 8 else -1
    if wire_type == FIXED32:
        return position + 4 if stop - position >= 4 else -1
    return -1


@kernel(allocates=False)
def skip_field(buffer: Bytes, position: int, stop: int, tag: int, depth: np.int64) -> int:
    """Returns the offset past a field's value, or -1. `position` follows the tag.

    depth: how many groups may be open at once inside this message: DEPTH_MAX in the outermost, one less in each inner.
    """
    if tag < 8:
        return -1
    if tag & 7 == GROUP:
        return skip_group(buffer, position, stop, tag >> 3, depth)
    return skip_scalar(buffer, position, stop, tag & 7)


@kernel(inline=True)
def varint_size(value: int) -> int:
    """How many bytes the varint of a number from 0 to 2**63 - 1 takes."""
    size = 1
    while value >= 0x80:
        value >>= 7
        size += 1
    return size


@kernel(inline=True)
def write_varint(out: Bytes, position: int, value: int) -> int:
    """Writes a number from 0 to 2**63 - 1 and returns the next offset; the array's bounds are checked."""
    while value >= 0x80:
        out[position] = value & 0x7F | 0x80
        value >>= 7
        position += 1
    out[position] = value
    return position + 1


@kernel(inline=True)
def append(out: Bytes, position: int, buffer: Bytes, start: int, stop: int) -> int:
    """Copies buffer[start:stop] to out[position:] and returns the next offset, or -1 if it does not fit."""
    if position < 0 or stop - start > out.size - position:
        return -1
    return copy_bytes(out, position, buffer, start, stop)
