"""The decoder's rules; that it reads any valid message as the official library does is the fuzzer's to show."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ringmill.core.codec.decoder import build_decoder
from ringmill.core.codec.layout import MALFORMED, RESERVED, TOO_MANY, FieldRules, event_layout
from ringmill.core.columns import Columns, Shape
from ringmill.core.errors import Reason
from ringmill.v1.processing_pb2 import Event, ProcessOptions, ProcessRequest

NAN, INF = math.nan, math.inf
LAYOUT = event_layout(ProcessRequest.DESCRIPTOR)
RULES = FieldRules(3, 1, (0.0, 2.5, NAN), (False, False, True), 2, 1, 2, 0, (5, 1), (False, True), uses_time=True)
SHAPE = Shape(3, 2, 2, 0, 0, 0)
CAPACITY = 8
DECODE = build_decoder(LAYOUT, RULES)
IDLE = build_decoder(LAYOUT, FieldRules(0, 0, (), (), 0, 0, 0, 0, (), (), uses_time=False))
GOOD = Event(key="k", time_us=1, values=[1.0], labels=["a"])
YEAR_10000_US = 253_402_300_800_000_000


def decoded(message: bytes, start: int = 0, stop: int | None = None) -> tuple[int, bytes, Columns]:
    columns = Columns.allocate(CAPACITY, SHAPE)
    head = np.empty(len(message), np.uint8)
    stop = len(message) if stop is None else stop
    count, length = DECODE(
        np.frombuffer(message, np.uint8),
        start,
        stop,
        1021,
        head,
        columns.events,
        columns.values,
        columns.labels,
        columns.integers,
    )
    return count, head[:length].tobytes(), columns


def changed(**fields: object) -> Event:
    event = Event()
    event.CopyFrom(GOOD)
    for name, value in fields.items():
        event.ClearField(name)  # type: ignore[arg-type]  # any field's name
        event.MergeFrom(Event(**{name: value}))  # type: ignore[arg-type]  # any field's value
    return event


BROKEN = [
    (GOOD, Reason.NONE),
    (changed(key=""), Reason.KEY_INVALID),
    (changed(key="k" * 1024), Reason.NONE),
    (changed(key="k" * 1025), Reason.KEY_INVALID),
    (changed(key="\u00e4" * 513), Reason.KEY_INVALID),
    (changed(values=[]), Reason.VALUES_INVALID),
    (changed(values=[1, 2, 3]), Reason.NONE),
    (changed(values=[1, 2, 3, 4]), Reason.VALUES_INVALID),
    (changed(values=[NAN]), Reason.VALUES_INVALID),
    (changed(values=[1, 2, NAN]), Reason.NONE),
    (changed(values=[1, 2, INF]), Reason.VALUES_INVALID),
    (changed(values=[-INF]), Reason.VALUES_INVALID),
    (changed(labels=[]), Reason.LABELS_INVALID),
    (changed(labels=["a", "b", "c"]), Reason.LABELS_INVALID),
    (changed(labels=["a" * 1024]), Reason.NONE),
    (changed(labels=["a" * 1025]), Reason.LABELS_INVALID),
    (changed(integers=[-1, 0]), Reason.NONE),
    (changed(integers=[1, 2]), Reason.INTEGERS_INVALID),
    (changed(integers=[1, -1]), Reason.INTEGERS_INVALID),
    (changed(integers=[1, 1, 1]), Reason.INTEGERS_INVALID),
    (changed(time_us=0), Reason.TIME_INVALID),
    (changed(time_us=-1), Reason.TIME_INVALID),
    (changed(time_us=YEAR_10000_US - 1), Reason.NONE),
    (changed(time_us=YEAR_10000_US), Reason.TIME_INVALID),
    (changed(key="", values=[], labels=[], time_us=0), Reason.KEY_INVALID),
    (changed(labels=[], integers=[9, 9], time_us=0), Reason.LABELS_INVALID),
]


@pytest.mark.parametrize(("event", "reason"), BROKEN, ids=lambda part: str(part)[:40])
def test_a_broken_rule_rejects_its_event_alone(event: Event, reason: Reason) -> None:
    count, _, columns = decoded(ProcessRequest(events=[GOOD, event, GOOD]).SerializeToString())
    assert count == 3
    assert columns.events["reason"][:3].tolist() == [0, reason, 0]


def test_a_missing_tail_takes_the_defaults() -> None:
    message = ProcessRequest(events=[changed(values=[1, 2, 3], labels=["a", "b"], integers=[8, 0]), GOOD])
    _, _, columns = decoded(message.SerializeToString())
    assert columns.values[0].tolist() == [1, 2, 3]
    assert columns.values[1, :2].tolist() == [1, 2.5]
    assert math.isnan(columns.values[1, 2])
    assert columns.integers[:2].tolist() == [[8, 0], [5, 1]]
    assert columns.labels[1, 1].tolist() == (0, 0, 0)


def test_every_nan_becomes_the_same() -> None:
    odd = np.array([0xFFF0000000000001], np.uint64).view(np.float64)[0]
    _, _, columns = decoded(ProcessRequest(events=[changed(values=[1, 2, odd])]).SerializeToString())
    assert columns.values[0, 2].tobytes() == np.float64(np.nan).tobytes()


def test_rows_of_an_earlier_batch_do_not_show() -> None:
    """Columns are used again: what one event wrote must not be the next one's default."""
    columns = Columns.allocate(CAPACITY, SHAPE)
    for event in (changed(values=[7, 7, 7], labels=["x", "y"], integers=[7, 0]), GOOD):
        message = ProcessRequest(events=[event]).SerializeToString()
        head = np.empty(len(message), np.uint8)
        buffer = np.frombuffer(message, np.uint8)
        DECODE(buffer, 0, len(message), 1021, head, columns.events, columns.values, columns.labels, columns.integers)
    assert columns.values[0, :2].tolist() == [1, 2.5]
    assert columns.integers[0].tolist() == [5, 1]
    assert columns.labels[0, 1].tolist() == (0, 0, 0)


def test_a_pipeline_without_fields_rejects_what_it_does_not_know() -> None:
    events = [Event(key="k"), Event(key="k", values=[1]), Event(key="k", labels=["a"]), Event(key="k", integers=[1])]
    message = ProcessRequest(events=events).SerializeToString()
    columns = Columns.allocate(CAPACITY, Shape(0, 0, 0, 0, 0, 0))
    head = np.empty(len(message), np.uint8)
    buffer = np.frombuffer(message, np.uint8)
    IDLE(buffer, 0, len(message), 1021, head, columns.events, columns.values, columns.labels, columns.integers)
    expected = [Reason.NONE, Reason.VALUES_INVALID, Reason.LABELS_INVALID, Reason.INTEGERS_INVALID]
    assert columns.events["reason"][:4].tolist() == expected


def test_the_head_is_all_but_the_events() -> None:
    request = ProcessRequest(pipeline="p", sequence=9, options=ProcessOptions(version="2"), acknowledged=3)
    with_events = ProcessRequest(events=[GOOD, GOOD])
    with_events.MergeFrom(request)
    count, head, _ = decoded(with_events.SerializeToString())
    assert count == 2
    assert ProcessRequest.FromString(head) == request


def test_more_events_than_rows() -> None:
    assert decoded(ProcessRequest(events=[GOOD] * CAPACITY).SerializeToString())[0] == CAPACITY
    assert decoded(ProcessRequest(events=[GOOD] * (CAPACITY + 1)).SerializeToString())[0] == TOO_MANY


@pytest.mark.parametrize(("number", "count"), [(99, 0), (100, RESERVED), (127, RESERVED), (128, 0)])
def test_reserved_fields_are_refused(number: int, count: int) -> None:
    tag = number << 3
    assert decoded(bytes((tag & 0x7F | 0x80, tag >> 7, 1)))[0] == count


@given(st.data())
def test_a_message_cut_anywhere_is_refused_or_shorter(data: st.DataObject) -> None:
    message = ProcessRequest(events=[GOOD, changed(values=[1, 2, 3], integers=[4, 1])]).SerializeToString()
    cut = data.draw(st.integers(0, len(message)))
    boundaries = {0: 0, 2 + GOOD.ByteSize(): 1, len(message): 2}
    assert decoded(message, stop=cut)[0] == boundaries.get(cut, MALFORMED)


@pytest.mark.parametrize(("start", "stop"), [(-1, 2), (0, 99), (3, 2)])
def test_a_span_outside_the_buffer_is_our_own_fault(start: int, stop: int) -> None:
    with pytest.raises(ValueError, match="inside its buffer"):
        decoded(b"\x22\x00\x22\x00", start, stop)


def test_rules_must_fit_together() -> None:
    with pytest.raises(ValueError, match="one entry for each value"):
        FieldRules(1, 0, (), (False,), 0, 0, 0, 0, (), (), uses_time=False)
