"""UTF-8 validation against Python's own decoder, which is as strict as Protobuf's."""

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ringmill.core.utf8 import is_utf8


def decodes(data: bytes) -> bool:
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def judged(data: bytes, before: bytes = b"", after: bytes = b"") -> bool:
    return bool(is_utf8(np.frombuffer(before + data + after, np.uint8), len(before), len(before) + len(data)))


pieces = st.lists(st.one_of(st.text(max_size=6).map(str.encode), st.binary(max_size=3)), max_size=6).map(b"".join)


@given(pieces, st.binary(max_size=9), st.binary(max_size=9))
@example(b"", b"\xff", b"\xff")
def test_agrees_with_python_amid_any_bytes(data: bytes, before: bytes, after: bytes) -> None:
    assert judged(data, before, after) == decodes(data)


@pytest.mark.parametrize("lead", range(0xC0, 0x100))
def test_every_lead_and_second_byte(lead: int) -> None:
    for second in range(0x70, 0xD0):
        for rest in (b"", b"\x80", b"\x80\x80", b"\xbf\xbf", b"\x80\x7f"):
            data = b"ascii " + bytes((lead, second)) + rest
            assert judged(data) == decodes(data), data


@pytest.mark.parametrize("length", range(40))
def test_one_bad_byte_anywhere(length: int) -> None:
    for at in range(length):
        data = b"a" * at + b"\x80" + b"a" * (length - at - 1)
        assert not judged(data, b"", b"zzzzzzzz")
