"""Emissions inside outcomes, against the official library."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ringmill.core.codec.emissions import Widths, build_attach
from ringmill.core.columns import Emissions, Shape
from ringmill.v1.processing_pb2 import Emission, Outcome, ProcessResponse, Rejection

WIDTHS = [Widths(2, 1, 1), Widths(0, 2, 0), Widths(1, 0, 3)]
SHAPE = Shape(0, 0, 0, 0, 0, 0, emitted_values=2, emitted_labels=2, emitted_integers=3, emissions_max=4)
HEAP = b"heap of text" * 20
ATTACH = build_attach(WIDTHS)

times = st.one_of(st.just(0), st.integers(-(2**40), 2**57))
emissions = st.tuples(
    st.integers(0, 2),
    st.tuples(times, times, st.one_of(st.just(0), st.integers(1, 2**32 - 1))),
    st.lists(st.floats(), min_size=2, max_size=2),
    st.lists(st.tuples(st.integers(0, 20), st.integers(0, 200)), min_size=2, max_size=2),
    st.lists(st.integers(-(2**63), 2**63 - 1), min_size=3, max_size=3),
)
outcomes = st.one_of(
    st.builds(Outcome, values=st.lists(st.floats(), max_size=3), labels=st.lists(st.text(max_size=9), max_size=2)),
    st.builds(Outcome, rejection=st.builds(Rejection, detail=st.text(max_size=9))),
)


def message(emission: tuple[Any, ...]) -> Emission:
    emitter, (start, end, revision), values, labels, integers = emission
    widths = WIDTHS[emitter]
    texts = [HEAP[first : first + length].decode() for first, length in labels[: widths.labels]]
    return Emission(
        emitter=emitter,
        start_us=start,
        time_us=end,
        revision=revision,
        values=values[: widths.values],
        labels=texts,
        integers=integers[: widths.integers],
    )


def columns(batch: list[list[tuple[Any, ...]]]) -> Emissions:
    """The emissions of each event as columns."""
    made = Emissions.allocate(max(1, len(batch)), SHAPE)
    for event, some in enumerate(batch):
        for emitter, (start, end, revision), values, labels, integers in some:
            n = made.counts[0]
            made.heads[n] = (start, end, event, emitter, revision, 7)
            made.values[n], made.integers[n] = values, integers
            for place, (first, length) in enumerate(labels):
                made.labels[n, place] = (0, first, length)
            made.counts[0] += 1
    return made


def attach(prefix: bytes, response: ProcessResponse, made: Emissions, room: int) -> tuple[int, bytes]:
    encoded = np.frombuffer(bytearray(prefix + response.SerializeToString()), np.uint8)
    out = np.zeros(room, np.uint8)
    heap = np.frombuffer(bytearray(HEAP), np.uint8)
    length = ATTACH(len(response.outcomes), made, heap, encoded, len(prefix), encoded.size, out)
    return length, out[: max(length, 0)].tobytes()


@given(st.lists(st.tuples(outcomes, st.lists(emissions, max_size=4)), max_size=5))
def test_equals_the_official_bytes(batch: list[tuple[Outcome, list[tuple[Any, ...]]]]) -> None:
    plain, full = ProcessResponse(), ProcessResponse()
    for outcome, some in batch:
        plain.outcomes.add().CopyFrom(outcome)
        full.outcomes.add().CopyFrom(outcome)
        full.outcomes[-1].emissions.extend(message(emission) for emission in some)
    made = columns([some for _, some in batch])
    wanted = b"before" + full.SerializeToString()
    assert attach(b"before", plain, made, len(wanted)) == (len(wanted), wanted)
    if batch:
        assert attach(b"before", plain, made, len(wanted) - 1)[0] == -1


ONE: list[tuple[Any, ...]] = [(0, (1, 2, 0), [1.0, 2.0], [(0, 1), (0, 1)], [1, 2, 3])]


def test_emissions_that_belong_to_no_outcome_are_an_error() -> None:
    with pytest.raises(ValueError, match="not in the order of events"):
        attach(b"", ProcessResponse(outcomes=[Outcome(), Outcome()]), columns([[], [], ONE]), 1000)


def test_a_label_outside_the_heap_is_an_error() -> None:
    made = columns([ONE])
    made.labels["start"][0, 0] = len(HEAP)
    with pytest.raises(ValueError, match="outside the label heap"):
        attach(b"", ProcessResponse(outcomes=[Outcome()]), made, 1000)
