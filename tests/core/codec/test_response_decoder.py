"""The decoder of responses reads what the official library reads, in any encoding, and refuses what that refuses."""

import random
import struct
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from google.protobuf.message import DecodeError
from hypothesis import given, settings
from hypothesis import strategies as st

from ringmill.core.codec.layout import MALFORMED, TOO_MANY
from ringmill.core.codec.response_decoder import UNKNOWN_REASON, decode_outcomes
from ringmill.v1 import processing_pb2 as pb

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
INT64 = st.integers(-(2**63), 2**63 - 1)
VALUES, INTEGERS, LABELS = 3, 2, 2


@dataclass
class Decoded:
    count: int
    head: bytes
    values: Any
    integers: Any
    labels: list[list[str]]
    reasons: list[int]
    ranges: list[list[int]]


def decode(message: bytes, capacity: int = 64) -> Decoded:
    values, integers = np.full((capacity, VALUES), np.nan), np.zeros((capacity, INTEGERS), np.int64)
    labels, ranges = np.zeros((capacity, LABELS, 2), np.int64), np.zeros((capacity, 2), np.int64)
    reasons = np.zeros(capacity, np.uint8)
    head = np.empty(len(message), np.uint8)
    buffer = np.frombuffer(message, np.uint8)
    count, head_length = decode_outcomes(buffer, values, integers, labels, reasons, ranges, head)
    rows = slice(0, max(count, 0))
    texts = [[message[start:stop].decode() for start, stop in row] for row in labels[rows].tolist()]
    return Decoded(
        count, head[:head_length].tobytes(), values[rows], integers[rows], texts,
        reasons[rows].tolist(), ranges[rows].tolist(),
    )  # fmt: skip


def padded(items: list[Any], width: int, filler: Any) -> list[Any]:
    return (items + [filler] * width)[:width]


def reason_of(outcome: pb.Outcome) -> int:
    if not outcome.HasField("rejection"):
        return 0
    reason = outcome.rejection.reason
    return reason if 0 < reason < UNKNOWN_REASON else UNKNOWN_REASON


def check_equal(message: bytes, expected: pb.ProcessResponse) -> None:
    found = decode(message, max(len(expected.outcomes), 1))
    outcomes = expected.outcomes
    assert found.count == len(outcomes)
    wanted = np.array([padded(list(o.values), VALUES, np.nan) for o in outcomes]).reshape(-1, VALUES)
    np.testing.assert_array_equal(found.values, wanted)
    assert found.integers.tolist() == [padded(list(o.integers), INTEGERS, 0) for o in outcomes]
    assert found.labels == [padded(list(o.labels), LABELS, "") for o in outcomes]
    assert found.reasons == [reason_of(o) for o in outcomes]
    for (start, stop), outcome in zip(found.ranges, outcomes, strict=True):
        assert pb.Outcome.FromString(message[start:stop]).SerializeToString() == outcome.SerializeToString()
    rest = pb.ProcessResponse.FromString(message)
    rest.ClearField("outcomes")
    assert pb.ProcessResponse.FromString(found.head).SerializeToString() == rest.SerializeToString()


def outcomes() -> st.SearchStrategy[pb.Outcome]:
    rejection = st.builds(pb.Rejection, reason=st.integers(0, 40) | INT64.map(lambda n: n % 2**31), detail=TEXT)
    return st.builds(
        pb.Outcome,
        values=st.lists(st.floats(), max_size=VALUES + 2),
        integers=st.lists(INT64, max_size=INTEGERS + 2),
        labels=st.lists(TEXT, max_size=LABELS + 2),
        rejection=st.none() | rejection,
        emissions=st.lists(st.builds(pb.Emission, key=TEXT, index=st.integers(0, 9)), max_size=1),
    )


def responses() -> st.SearchStrategy[pb.ProcessResponse]:
    return st.builds(
        pb.ProcessResponse,
        sequence=st.integers(0, 2**64 - 1),
        outcomes=st.lists(outcomes(), max_size=5),
        rejected=st.integers(0, 2**32 - 1),
        stream=st.none() | st.builds(pb.StreamInfo, version=TEXT),
    )


@settings(deadline=None)  # the first example compiles
@given(responses())
def test_reads_what_the_official_library_wrote(response: pb.ProcessResponse) -> None:
    check_equal(response.SerializeToString(), response)


def varint(value: int) -> bytes:
    out = b""
    while value >= 0x80:
        out += bytes([value & 0x7F | 0x80])
        value >>= 7
    return out + bytes([value])


def field(number: int, payload: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(payload)) + payload


@st.composite
def odd_outcomes(draw: st.DrawFn) -> bytes:
    """Outcomes as no library writes them: split, unpacked, repeated, in any order, with unknown fields of each type."""
    double, text = st.floats().map(lambda x: struct.pack("<d", x)), TEXT.map(str.encode)
    integer = INT64.map(lambda n: struct.pack("<q", n))
    rejection = st.lists(
        st.integers(0, 2**64 - 1).map(lambda n: b"\x08" + varint(n)) | text.map(lambda t: field(2, t)), max_size=3
    ).map(lambda pieces: field(2, b"".join(pieces)))
    unknown = st.sampled_from(
        [
            b"\x78\x96\x01",
            b"\x79" + bytes(8),
            b"\x7d" + bytes(4),
            field(15, b"xyz"),
            b"\x7b\x08\x01\x7c",
            b"\x0d" + bytes(4),
        ]
    )
    piece = (
        double.map(lambda d: b"\x09" + d)
        | st.lists(double, max_size=4).map(lambda ds: field(1, b"".join(ds)))
        | integer.map(lambda i: b"\x19" + i)
        | st.lists(integer, max_size=4).map(lambda ds: field(3, b"".join(ds)))
        | text.map(lambda t: field(4, t))
        | rejection
        | unknown
    )
    return b"".join(draw(st.lists(piece, max_size=6)))


@settings(deadline=None)  # the first example compiles
@given(st.lists(odd_outcomes().map(lambda o: field(2, o)) | st.sampled_from([b"\x08\x07", b"\x32\x00", b""])))
def test_reads_any_valid_encoding(pieces: list[bytes]) -> None:
    message = b"".join(pieces)
    check_equal(message, pb.ProcessResponse.FromString(message))


def read_all(message: bytes) -> None:
    """Reads the columns, and what they leave to the official library: the head, and emissions."""
    found = decode(message)
    if found.count == MALFORMED:
        raise DecodeError
    pb.ProcessResponse.FromString(found.head)
    for start, stop in found.ranges:
        pb.Outcome.FromString(message[start:stop])


@pytest.mark.parametrize("seed", range(4))
def test_damaged_responses_are_refused_as_the_official_library_refuses_them(seed: int) -> None:
    """Bytes of valid responses are changed, dropped and doubled; both readers must agree on each."""
    chance = random.Random(seed)
    whole = pb.ProcessResponse(
        sequence=300,
        outcomes=[
            pb.Outcome(values=[1.5, 2.5], integers=[7], labels=["é", "b"]),
            pb.Outcome(rejection=pb.Rejection(reason=pb.REJECTION_REASON_LATE, detail="läte")),
        ],
        rejected=1,
    ).SerializeToString()
    refused = 0
    for _ in range(3000):
        message = bytearray(whole)
        for _ in range(chance.randint(1, 3)):
            at = chance.randrange(len(message))
            match chance.randrange(3):
                case 0:
                    message[at] = chance.randrange(256)
                case 1:
                    del message[at : at + chance.randint(1, 9)]
                case _:
                    message[at:at] = message[at : at + chance.randint(1, 9)]
            if not message:
                break
        damaged = bytes(message)
        try:
            expected = pb.ProcessResponse.FromString(damaged)
        except DecodeError:
            refused += 1
            with pytest.raises(DecodeError):
                read_all(damaged)
        else:
            check_equal(damaged, expected)
    assert refused > 500


@pytest.mark.parametrize(
    ("first", "second", "reason"),
    [
        (b"\x08\x06", b"\x08\x05", 5),
        (b"\x08\x06", b"", 6),
        (b"\x08\x06", b"\x08\x00", UNKNOWN_REASON),
        (b"\x08\x06", b"\x08\xac\x02", UNKNOWN_REASON),
        (b"\x08\xac\x02", b"", UNKNOWN_REASON),
        (b"\x08\x06\x08\x00", b"", UNKNOWN_REASON),
        (b"", b"\x08\x06", 6),
    ],
)
def test_a_rejection_sent_twice_is_merged(first: bytes, second: bytes, reason: int) -> None:
    message = field(2, field(2, first) + field(2, second))
    assert decode(message).reasons == [reason]
    check_equal(message, pb.ProcessResponse.FromString(message))


def test_more_outcomes_than_room_is_told_apart() -> None:
    message = pb.ProcessResponse(outcomes=[pb.Outcome()] * 3).SerializeToString()
    assert decode(message, 2).count == TOO_MANY
    assert decode(message, 3).count == 3


def test_a_row_without_entries_keeps_what_it_held() -> None:
    found = decode(pb.ProcessResponse(outcomes=[pb.Outcome(values=[4.0])]).SerializeToString())
    np.testing.assert_array_equal(found.values, [[4.0, np.nan, np.nan]])
