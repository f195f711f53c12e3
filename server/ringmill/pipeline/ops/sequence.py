"""One thing after another: sequences of labels or numbers."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from ringmill.engine.plan import label_hash
from ringmill.pipeline.fields import Array, Event, Input, LabelInput, State, array
from ringmill.pipeline.operators import Operator, Step, operator
from ringmill.pipeline.ops.parameters import checked_number
from ringmill.pipeline.place import caller, wrong

LENGTH_MAX = 16
SECOND_US = 1e6
_NEVER = -(2**62)


class Found(NamedTuple):
    """matched: the event completed the sequence. stage: how far the furthest live attempt has come."""

    matched: bool
    stage: int


def sequence(source: str, pattern: Sequence[str] | Sequence[float], within_s: float = math.inf) -> Step:
    """Tells when `source` has taken the values of `pattern` one after the other, with anything in between.

    pattern: 2 to 16 labels, or numbers of a field that is a number. within_s: seconds of event time from the first to
    the last at most. Of several attempts the one that began latest counts, so a match is found whenever there is one;
    what made a match is used up. Events count in the order of their arrival. A missing value changes nothing. State:
    8 * length bytes. Needs event times. Does not merge: an attempt may begin in one state and end in another.
    Source: the operator SEQ with skip-till-any-match and a time window, of Wu, Diao, Rizvi, "High-performance complex
    event processing over streams", SIGMOD 2006.
    """
    values = tuple(pattern) if isinstance(pattern, (tuple, list)) else ()
    labels = all(isinstance(value, str) and value for value in values)
    numbers = all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in values)
    if not 2 <= len(values) <= LENGTH_MAX or not (labels or numbers):
        raise wrong(
            caller(), f'sequence(pattern={pattern!r:.60}): write 2 to {LENGTH_MAX} labels or numbers, as in ["a", "b"]'
        )
    if within_s != math.inf:
        within_s = checked_number("sequence", "within_s", within_s, above=0.0)
    within_us = round(min(within_s * SECOND_US, 2.0**61))
    if labels:
        return _of_labels(tuple(np.uint64(label_hash(str(value))) for value in values), within_us)(source)
    return _of_numbers(tuple(float(value) for value in values), within_us)(source)


def advance(starts: Array, place: int, time_us: int, within_us: int) -> bool:
    """Moves the attempt that waits for the value at `place` on to it. True if that was the last."""
    start = time_us if place == 0 else starts[place - 1]
    if start == _NEVER or time_us - start > within_us:
        return False
    if start > starts[place]:
        starts[place] = start
    return place == len(starts) - 1


def furthest(starts: Array, time_us: int, within_us: int) -> int:
    """How many values the furthest attempt that can still match has."""
    for place in range(len(starts) - 1, -1, -1):
        if starts[place] != _NEVER and time_us - starts[place] <= within_us:
            return place + 1
    return 0


def follow(starts: Array, pattern: tuple[Any, ...], source: Any, time_us: int, within_us: int) -> Found:
    """Moves all attempts that wait for this value. When one is complete, all begin anew."""
    length = len(pattern)
    matched = False
    for place in range(length - 1, -1, -1):
        if source == pattern[place]:
            matched = advance(starts, place, time_us, within_us) or matched
    stage = length if matched else furthest(starts, time_us, within_us)
    if matched:
        for place in range(length):
            starts[place] = _NEVER
    return Found(matched, stage)


def _of_labels(pattern: tuple[np.uint64, ...], within_us: int) -> Operator:
    length = len(pattern)

    class Attempts(State):
        """When the latest attempt that has come so far began."""

        starts: Array = array(length, fill=_NEVER)

    @operator
    def _sequence(state: Attempts, event: Event, source: LabelInput) -> Found:
        return follow(state.starts, pattern, source, event.time_us, within_us)

    return _sequence


def _of_numbers(pattern: tuple[float, ...], within_us: int) -> Operator:
    length = len(pattern)

    class Attempts(State):
        """When the latest attempt that has come so far began."""

        starts: Array = array(length, fill=_NEVER)

    @operator
    def _sequence(state: Attempts, event: Event, source: Input) -> Found:
        return follow(state.starts, pattern, source, event.time_us, within_us)

    return _sequence
