"""The encoder of requests writes what the official library writes, byte for byte."""

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ringmill.core.codec.layout import MALFORMED
from ringmill.core.codec.request_encoder import encode_events
from ringmill.v1 import processing_pb2 as pb

Texts = tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64], npt.NDArray[np.int64]]

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
INT64 = st.integers(-(2**63), 2**63 - 1)


def frozen(array: npt.ArrayLike, dtype: npt.DTypeLike) -> npt.NDArray[np.generic]:
    copy = np.array(array, dtype, order="C")
    copy.flags.writeable = False
    return copy


def heap_of(texts: list[str]) -> Texts:
    pieces = [text.encode() for text in texts]
    stops = np.cumsum([len(piece) for piece in pieces], dtype=np.int64)
    return frozen(np.frombuffer(b"".join(pieces), np.uint8), np.uint8), stops - [len(p) for p in pieces], stops


def encode(events: list[pb.Event], size: int, first: int = 0) -> tuple[bytes, int]:
    """Encodes events whose arrays all have the same lengths."""
    count = len(events)
    keys, key_starts, key_stops = heap_of([event.key for event in events])
    labels, label_starts, label_stops = heap_of([label for event in events for label in event.labels])
    width = len(events[0].labels) if events else 0
    out = np.empty(size, np.uint8)
    length, written = encode_events(
        keys,
        frozen(key_starts, np.int64),
        frozen(key_stops, np.int64),
        frozen([event.time_us for event in events], np.int64),
        frozen([event.values for event in events], np.float64).reshape(count, -1 if count else 0),
        labels,
        frozen(label_starts, np.int64).reshape(count, width),
        frozen(label_stops, np.int64).reshape(count, width),
        frozen([event.integers for event in events], np.int64).reshape(count, -1 if count else 0),
        first,
        count,
        out,
    )
    return out[: max(length, 0)].tobytes(), written


@st.composite
def batches(draw: st.DrawFn) -> list[pb.Event]:
    values, labels, integers = draw(st.integers(0, 20)), draw(st.integers(0, 3)), draw(st.integers(0, 3))
    one = st.builds(
        pb.Event,
        key=TEXT | st.just("k" * 200),
        time_us=INT64 | st.just(0),
        values=st.lists(st.floats(), min_size=values, max_size=values),
        labels=st.lists(TEXT | st.just("l" * 130), min_size=labels, max_size=labels),
        integers=st.lists(INT64, min_size=integers, max_size=integers),
    )
    return draw(st.lists(one, max_size=6))


@settings(deadline=None)  # the first example compiles
@given(batches())
def test_bytes_equal_the_official_librarys(events: list[pb.Event]) -> None:
    expected = pb.ProcessRequest(events=events).SerializeToString()
    encoded, count = encode(events, len(expected))
    assert count == len(events)
    assert encoded == expected


@settings(deadline=None)  # the first example compiles
@given(batches(), st.data())
def test_a_full_buffer_takes_the_events_that_fit_whole(events: list[pb.Event], data: st.DataObject) -> None:
    sizes = [pb.ProcessRequest(events=[event]).ByteSize() for event in events]
    size = data.draw(st.integers(0, sum(sizes) + 8))
    encoded, count = encode(events, size)
    assert encoded == pb.ProcessRequest(events=events[:count]).SerializeToString()
    assert count == len(events) or sum(sizes[: count + 1]) > size


def test_encoding_begins_at_the_first_event_asked_for() -> None:
    events = [pb.Event(key=f"k{i}", values=[i]) for i in range(5)]
    encoded, count = encode(events, 1000, first=3)
    assert count == 2
    assert list(pb.ProcessRequest.FromString(encoded).events) == events[3:]


@pytest.mark.parametrize(("start", "stop"), [(-1, 2), (2, 1), (0, 4)])
def test_a_key_outside_its_heap_is_refused_and_named(start: int, stop: int) -> None:
    none = frozen(np.zeros((2, 0)), np.int64)
    found = encode_events(
        frozen([97, 98, 99], np.uint8),
        frozen([0, start], np.int64),
        frozen([3, stop], np.int64),
        frozen([0, 0], np.int64),
        frozen(np.zeros((2, 0)), np.float64),
        frozen([], np.uint8),
        none,
        none,
        none,
        0,
        2,
        np.empty(100, np.uint8),
    )
    assert found == (MALFORMED, 1)
