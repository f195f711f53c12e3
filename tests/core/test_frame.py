"""Frames against the official library: what it writes is read, and what is written it reads."""

import numpy as np
import pytest
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st

from ringmill.core.errors import Code, RingmillError
from ringmill.core.frame import (
    PartEntry,
    PartsReader,
    again_result,
    failed_result,
    part_identity,
    part_prefix,
    record_prefix,
    result_prefix,
    varint,
)
from ringmill.internal.v1.link_pb2 import (
    Entry,
    Hello,
    JoinRequest,
    JoinResponse,
    Open,
    Part,
    PartResult,
    ReplicateRequest,
    View,
)

PARTS = PartsReader()
RECORDS = PartsReader(ReplicateRequest)

u64 = st.integers(0, 2**64 - 1)
u32 = st.integers(0, 2**32 - 1)
part = st.builds(
    Part,
    id=u64,
    pipeline=u32,
    request=st.binary(max_size=300),
    producer=u64,
    fence=u64,
    sequence=u64,
    acknowledged=u64,
    previous=st.binary(max_size=300),
    flags=u32,
    version=u64,
    check=u64,
)
parts = st.lists(part | st.builds(Part, id=u64, request=st.binary(max_size=9)), max_size=300)


def as_array(message: bytes) -> np.ndarray:
    return np.frombuffer(message, np.uint8)


def as_proto(entry: PartEntry, message: bytes) -> Part:
    return Part(
        id=entry.id,
        pipeline=entry.pipeline,
        request=message[entry.start : entry.stop],
        producer=entry.producer,
        fence=entry.fence,
        sequence=entry.sequence,
        acknowledged=entry.acknowledged,
        previous=message[entry.previous_start : entry.previous_stop],
        flags=entry.flags,
        version=entry.version,
        check=entry.check,
    )


@given(parts, st.one_of(st.none(), u64))
def test_reads_what_the_official_library_writes(sent: list[Part], version: int | None) -> None:
    frame = JoinResponse(parts=sent)
    if version is not None:
        frame.view.version = version
    message = frame.SerializeToString()
    entries, rest = PARTS.read(as_array(message))
    assert [as_proto(entry, message) for entry in entries] == sent
    assert JoinResponse.FromString(rest) == JoinResponse(view=View(version=version) if version is not None else None)


@given(parts, u64)
def test_reads_the_records_of_a_primary(sent: list[Part], number: int) -> None:
    others = ReplicateRequest(
        hello=Hello(name="w0"), views=[View(version=3)], entries=[Entry(id=number, open=Open(producer=number))]
    )
    message = others.SerializeToString() + ReplicateRequest(parts=sent).SerializeToString()
    entries, rest = RECORDS.read(as_array(message))
    assert [as_proto(entry, message) for entry in entries] == sent
    assert ReplicateRequest.FromString(rest) == others


@given(part)
def test_the_last_of_a_repeated_field_counts(sent: Part) -> None:
    """And nothing of a frame before stays behind in the reader."""
    inner = Part(id=1, producer=2, previous=b"x", check=5, request=b"y", flags=7).SerializeToString()
    inner += sent.SerializeToString()
    message = b"\x12" + varint(len(inner)) + inner
    expected = JoinResponse.FromString(message).parts[0]
    (entry,), _ = PARTS.read(as_array(message))
    assert as_proto(entry, message) == expected
    (entry,), _ = PARTS.read(as_array(b"\x12\x00"))
    assert entry == PartEntry(0, 0, entry.start, entry.start, previous_start=entry.start, previous_stop=entry.start)


@given(st.integers(90, 110))
def test_groups_nest_as_deep_as_the_official_library_lets_them(depth: int) -> None:
    inner = b"\xa3\x06" * depth + b"\xa4\x06" * depth  # an unknown group, 100
    message = b"\x12" + varint(len(inner)) + inner
    try:
        JoinResponse.FromString(message)
    except DecodeError:
        with pytest.raises(RingmillError, match="does not parse"):
            PARTS.read(as_array(message))
    else:
        assert len(PARTS.read(as_array(message))[0]) == 1


@given(parts)
def test_writes_what_the_official_library_reads(sent: list[Part]) -> None:
    for each in sent:
        each.ClearField("version")
        each.ClearField("check")
    message = b"".join(
        part_prefix(
            p.id,
            part_identity(p.pipeline, p.producer, p.fence),
            p.sequence,
            p.acknowledged,
            p.previous,
            p.flags,
            len(p.request),
        )
        + p.request
        for p in sent
    )
    assert list(JoinResponse.FromString(message).parts) == sent


def test_fields_of_zero_are_left_out() -> None:
    bare = part_prefix(1, part_identity(0, 0, 0), 0, 0, b"", 0, 0)
    assert bare == JoinResponse(parts=[Part(id=1)]).SerializeToString()[:1] + b"\x04\x08\x01\x1a\x00"


@given(parts, u64)
def test_passes_a_part_on_as_a_record(sent: list[Part], number: int) -> None:
    message = JoinResponse(parts=sent).SerializeToString()
    frame = b""
    for entry in PARTS.read(as_array(message))[0]:
        request = message[entry.start : entry.stop]
        frame += record_prefix(entry, number, b"\1\2", 77, 2**64 - 1, len(request)) + request
    expected = [Part.FromString(each.SerializeToString()) for each in sent]
    for each in expected:
        each.id, each.previous, each.version, each.check = number, b"\1\2", 77, 2**64 - 1
    assert list(ReplicateRequest.FromString(frame).parts) == expected


@given(st.lists(st.tuples(u64, st.binary(max_size=300), st.booleans()), max_size=50))
def test_the_official_library_reads_results(sent: list[tuple[int, bytes, bool]]) -> None:
    message = b"".join(result_prefix(i, len(response), early) + response for i, response, early in sent)
    assert list(JoinRequest.FromString(message).results) == [
        PartResult(id=i, response=r, provisional=e) for i, r, e in sent
    ]


def test_a_failed_result_carries_its_status() -> None:
    message = failed_result(7, RingmillError(Code.INVALID_ARGUMENT, "no"))
    assert list(JoinRequest.FromString(message).results) == [PartResult(id=7, code=Code.INVALID_ARGUMENT, detail="no")]


def test_a_part_that_was_not_applied_names_the_view() -> None:
    assert list(JoinRequest.FromString(again_result(7, 5)).results) == [PartResult(id=7, again=True, version=5)]


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


@given(st.binary(max_size=60))
def test_a_damaged_part_is_refused_where_the_official_library_refuses_it(inner: bytes) -> None:
    message = b"\x12" + varint(len(inner)) + inner
    try:
        expected = JoinResponse.FromString(message)
    except DecodeError:
        with pytest.raises(RingmillError, match="does not parse"):
            PARTS.read(as_array(message))
    else:
        (entry,), _ = PARTS.read(as_array(message))
        (known,) = expected.parts
        known.DiscardUnknownFields()
        assert as_proto(entry, message) == known


@given(u64)
def test_varint(value: int) -> None:
    assert Part.FromString(b"\x08" + varint(value)).id == value
