"""Wire primitives against the official library."""

import numpy as np
import pytest
from google.protobuf.message import DecodeError, Message
from google.protobuf.wrappers_pb2 import UInt64Value
from hypothesis import example, given
from hypothesis import strategies as st

from ringmill.core.memory import load8, load64, store64
from ringmill.core.wire import DEPTH_MAX, read_tag, read_varint, skip_field, varint_size, write_varint


def as_array(data: bytes) -> np.ndarray:
    return np.frombuffer(data, np.uint8)


def parses(kind: type[Message], data: bytes) -> bool:
    try:
        kind.FromString(data)
    except DecodeError:
        return False
    return True


def walks(data: bytes) -> bool:
    """Whether our primitives find a whole number of fields."""
    buffer, position = as_array(data), 0
    while position < len(data):
        tag, position = read_tag(buffer, position, len(data))
        if position >= 0:
            position = skip_field(buffer, position, len(data), tag, DEPTH_MAX)
        if position < 0:
            return False
    return True


tags = st.builds(lambda n, w: n << 3 | w, st.sampled_from((0, 1, 2, 15, 2**29 - 1, 2**29)), st.integers(0, 7))
numbers = st.one_of(tags, st.integers(0, 2**70 - 1))


def varint(value: int) -> bytes:
    encoded = bytearray()
    while value >= 0x80:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes((*encoded, value))


pieces = st.one_of(
    numbers.map(varint), st.binary(max_size=9), st.sampled_from((b"\x0b", b"\x0c", b"\x80", b"\x80\x00", b"\xff" * 9))
)


@given(st.lists(pieces, max_size=8).map(b"".join))
@example(b"\x0b" * 100 + b"\x0c" * 100)
@example(b"\x0b" * 101 + b"\x0c" * 101)
@example(b"\x0b\x00\x01\x0c")
@example(b"\x0b\x13\x0c\x14")
@example(b"\x12\xff\xff\xff\xff\x0f")
@example(b"\x12\x80\x80\x80\x80\x80\x00")
@example(b"\x08" + b"\xff" * 9 + b"\x7f")
@example(b"\x08" + b"\x80" * 10 + b"\x00")
def test_skips_what_the_official_library_parses(data: bytes) -> None:
    assert walks(data) == parses(UInt64Value, data)


@given(st.one_of(numbers.map(varint), st.binary(max_size=12)))
def test_varints_have_the_official_value(data: bytes) -> None:
    value, following = read_varint(as_array(data), 0, len(data))
    alone = b"\x08" + data
    if following == len(data):
        assert UInt64Value.FromString(alone).value == value
    elif following < 0:
        assert not parses(UInt64Value, alone)


@given(st.integers(0, 2**63 - 1))
def test_writes_varints_that_read_back(value: int) -> None:
    out = np.zeros(10, np.uint8)
    stop = write_varint(out, 0, value)
    assert out[:stop].tobytes() == varint(value)
    assert varint_size(value) == stop


@pytest.mark.parametrize("position", [-1, 1, 8, 2**62])
def test_an_access_outside_the_array_is_an_error(position: int) -> None:
    from ringmill.core.jit import kernel

    @kernel(allocates=False)
    def loads(buffer: np.ndarray, position: int) -> np.uint64:
        return load64(buffer, position)

    @kernel(allocates=False)
    def stores(out: np.ndarray, position: int) -> int:
        store64(out, position, np.uint64(1))
        return load8(out, 0)

    with pytest.raises(IndexError, match="outside"):
        loads(as_array(b"12345678"), position)
    with pytest.raises(IndexError, match="outside"):
        stores(np.zeros(8, np.uint8), position)
