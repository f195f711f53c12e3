"""The smallest and the largest value."""

import math

from ringmill.pipeline.fields import Event, Input, State
from ringmill.pipeline.operators import Step, operator


class Extreme(State):
    """8 bytes."""

    value: float = math.nan


def value_of(state: Extreme) -> float | None:
    """The extreme so far."""
    return state.value


def keep_smaller(state: Extreme, other: Extreme) -> None:
    """The smaller of both."""
    if math.isnan(state.value) or other.value < state.value:
        state.value = other.value


def keep_larger(state: Extreme, other: Extreme) -> None:
    """The larger of both."""
    if math.isnan(state.value) or other.value > state.value:
        state.value = other.value


@operator(merge=keep_smaller, result=value_of)
def _min(state: Extreme, event: Event, source: Input) -> float | None:
    if math.isnan(state.value) or source < state.value:
        state.value = source
    return state.value


def minimum(source: str) -> Step:
    """The smallest of the key's values so far; NaN before the first; a missing value repeats it.

    State: 8 bytes. Merges.
    """
    return _min(source)


@operator(merge=keep_larger, result=value_of)
def _max(state: Extreme, event: Event, source: Input) -> float | None:
    if math.isnan(state.value) or source > state.value:
        state.value = source
    return state.value


def maximum(source: str) -> Step:
    """The largest of the key's values so far; NaN before the first; a missing value repeats it.

    State: 8 bytes. Merges.
    """
    return _max(source)
