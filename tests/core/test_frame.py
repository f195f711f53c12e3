"""Frames against the official library: what it writes is read, and what is written it reads."""

import numpy as np
import pytest
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st

from ringmill.core.errors import Code, RingmillError
from ringmill.core.frame import PartsReader, failed_result, part_prefix, result_prefix, varint
from ringmill.internal.v1.link_pb2 import JoinRequest, JoinResponse, Part, PartResult, View

PARTS = PartsReader()

u64 = st.integers(0, 2**64 - 1)
u32 = st.integers(0, 2**32 - 1)
parts = st.lists(st.builds(Part, id=u64, pipeline=u32, request=st.binary(max_size=300)), max_size=400)


def as_array(message: bytes) -> np.ndarray:
    return np.frombuffer(message, np.uint8)


@given(parts, st.one_of(st.none(), u64))
def test_reads_what_the_official_library_writes(sent: list[Part], version: int | None) -> None:
    frame = JoinResponse(parts=sent)
    if version is not None:
        frame.view.version = version
    message = frame.SerializeToString()
    entries, rest = PARTS.read(as_array(message))
    assert [(i, n, message[start:stop]) for i, n, start, stop in entries] == [
        (part.id, part.pipeline, part.request) for part in sent
    ]
    assert JoinResponse.FromString(rest) == JoinResponse(view=View(version=version) if version is not None else None)


@given(parts)
def test_writes_what_the_official_library_reads(sent: list[Part]) -> None:
    message = b"".join(part_prefix(p.id, p.pipeline, len(p.request)) + p.request for p in sent)
    assert list(JoinResponse.FromString(message).parts) == sent


@given(st.lists(st.tuples(u64, st.binary(max_size=300)), max_size=50))
def test_the_official_library_reads_results(sent: list[tuple[int, bytes]]) -> None:
    message = b"".join(result_prefix(part, len(response)) + response for part, response in sent)
    assert list(JoinRequest.FromString(message).results) == [PartResult(id=i, response=r) for i, r in sent]


def test_a_failed_result_carries_its_status() -> None:
    message = failed_result(7, RingmillError(Code.INVALID_ARGUMENT, "no"))
    assert list(JoinRequest.FromString(message).results) == [PartResult(id=7, code=Code.INVALID_ARGUMENT, detail="no")]


@given(parts.filter(bool), st.data())
def test_a_cut_frame_is_refused_or_shorter(sent: list[Part], data: st.DataObject) -> None:
    message = JoinResponse(parts=sent).SerializeToString()
    cut = message[: data.draw(st.integers(0, len(message) - 1))]
    try:
        expected = len(JoinResponse.FromString(cut).parts)
    except DecodeError:
        with pytest.raises(RingmillError, match="does not parse"):
            PARTS.read(as_array(cut))
    else:
        assert len(PARTS.read(as_array(cut))[0]) == expected


@given(u64)
def test_varint(value: int) -> None:
    assert Part.FromString(b"\x08" + varint(value)).id == value
