"""The scanner refuses what the decoder refuses; the fuzzer shows it for everything, this for what one can name."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ringmill.core.codec.decoder import build_decoder
from ringmill.core.codec.fields import split_fields
from ringmill.core.codec.layout import MALFORMED, TOO_MANY, FieldRules, event_layout
from ringmill.core.codec.scanner import build_scanner
from ringmill.core.columns import RANGE, Columns, Shape
from ringmill.core.hashing import partition_of
from ringmill.v1.processing_pb2 import Event, Outcome, ProcessRequest, ProcessResponse

LAYOUT = event_layout(ProcessRequest.DESCRIPTOR)
SCAN = build_scanner(LAYOUT)
DECODE = build_decoder(LAYOUT, FieldRules(0, 0, (), (), 0, 0, 0, 0, (), (), uses_time=False))
CAPACITY = 16

events = st.builds(
    Event,
    key=st.text(max_size=20),
    time_us=st.integers(-(2**63), 2**63 - 1),
    values=st.lists(st.floats(), max_size=3),
    labels=st.lists(st.text(max_size=9), max_size=3),
    integers=st.lists(st.integers(-(2**63), 2**63 - 1), max_size=3),
)
requests = st.builds(ProcessRequest, events=st.lists(events, max_size=5), pipeline=st.text(max_size=5))
OUTCOMES = ProcessResponse.DESCRIPTOR.fields_by_name["outcomes"].number


def scanned(message: bytes) -> tuple[int, list[tuple[int, ...]]]:
    ranges = np.zeros(CAPACITY, RANGE)
    buffer = np.frombuffer(message, np.uint8)
    count, _ = SCAN(buffer, 0, len(message), 1021, np.empty(len(message), np.uint8), ranges)
    return count, ranges[: max(count, 0)].tolist()


def decoded(message: bytes) -> int:
    columns = Columns.allocate(CAPACITY, Shape(0, 0, 0, 0, 0, 0))
    buffer, head = np.frombuffer(message, np.uint8), np.empty(len(message), np.uint8)
    return DECODE(
        buffer, 0, len(message), 1021, head, columns.events, columns.values, columns.labels, columns.integers
    )[0]


@given(requests)
def test_finds_each_event_and_its_partition(request: ProcessRequest) -> None:
    message = request.SerializeToString()
    count, ranges = scanned(message)
    assert count == len(request.events)
    for event, (start, stop, partition, _) in zip(request.events, ranges, strict=True):
        alone = ProcessRequest.FromString(message[start:stop]).events
        assert [e.SerializeToString() for e in alone] == [event.SerializeToString()]
        assert partition == partition_of(event.key.encode())


@given(requests, st.data())
def test_refuses_what_the_decoder_refuses(request: ProcessRequest, data: st.DataObject) -> None:
    message = bytearray(request.SerializeToString() or b"\x22\x00")
    for _ in range(data.draw(st.integers(1, 3))):
        message[data.draw(st.integers(0, len(message) - 1))] = data.draw(st.integers(0, 255))
    assert scanned(bytes(message))[0] == decoded(bytes(message))


def test_more_events_than_rows() -> None:
    assert scanned(ProcessRequest(events=[Event()] * (CAPACITY + 1)).SerializeToString())[0] == TOO_MANY


@given(st.lists(st.builds(Outcome, labels=st.lists(st.text(max_size=5), max_size=2)), max_size=4), st.integers(0, 9))
def test_splits_one_field_from_the_rest(outcomes: list[Outcome], rejected: int) -> None:
    message = ProcessResponse(sequence=3, outcomes=outcomes, rejected=rejected).SerializeToString()
    buffer = np.frombuffer(b"\xff" + message + b"\xff", np.uint8)
    ranges, rest = np.zeros(4, RANGE), np.empty(len(message), np.uint8)
    count, length = split_fields(buffer, 1, 1 + len(message), OUTCOMES, ranges, rest)
    assert [buffer[r["start"] : r["stop"]].tobytes() for r in ranges[:count]] == [
        outcome.SerializeToString() for outcome in outcomes
    ]
    assert ProcessResponse.FromString(rest[:length].tobytes()) == ProcessResponse(sequence=3, rejected=rejected)


@pytest.mark.parametrize("message", [b"\x12\x05a", b"\x12", b"\x08", b"\x0b", b"\x00\x00", b"\x12\x00\x80"])
def test_splitting_refuses_what_is_cut_off(message: bytes) -> None:
    buffer, rest = np.frombuffer(message, np.uint8), np.empty(len(message), np.uint8)
    assert split_fields(buffer, 0, len(message), OUTCOMES, np.zeros(4, RANGE), rest)[0] == MALFORMED


def test_splitting_more_fields_than_rows() -> None:
    message = b"\x12\x00" * 5
    buffer, rest = np.frombuffer(message, np.uint8), np.empty(len(message), np.uint8)
    assert split_fields(buffer, 0, len(message), OUTCOMES, np.zeros(4, RANGE), rest)[0] == TOO_MANY
