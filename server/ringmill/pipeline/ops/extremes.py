"""The smallest and the largest value."""

import math

from ringmill.pipeline.fields import Event, Input, State
from ringmill.pipeline.operators import Step, operator


class Extreme(State):
    """8 bytes."""

    value: float = math.nan


@operator
def _min(state: Extreme, event: Event, source: Input) -> float | None:
    if math.isnan(state.value) or source < state.value:
        state.value = source
    return state.value


def minimum(source: str) -> Step:
    """The smallest of the key's values so far; NaN before the first; a missing value repeats it. State: 8 bytes."""
    return _min(source)


@operator
def _max(state: Extreme, event: Event, source: Input) -> float | None:
    if math.isnan(state.value) or source > state.value:
        state.value = source
    return state.value


def maximum(source: str) -> Step:
    """The largest of the key's values so far; NaN before the first; a missing value repeats it. State: 8 bytes."""
    return _max(source)
