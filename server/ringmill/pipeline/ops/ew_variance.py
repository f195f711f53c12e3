"""Exponentially weighted moving variance."""

import math

from ringmill.pipeline.fields import Event, Input, State
from ringmill.pipeline.operators import Step, operator
from ringmill.pipeline.ops.averages import checked_alpha


class Spread(State):
    """16 bytes."""

    mean: float = math.nan
    variance: float = 0.0


def spread_of(state: Spread) -> float | None:
    """The variance so far."""
    return math.nan if math.isnan(state.mean) else state.variance


@operator(result=spread_of)
def _ew_variance(state: Spread, event: Event, source: Input, alpha: float) -> float | None:
    if math.isnan(state.mean):
        state.mean = source
    elif not math.isnan(source):
        difference = source - state.mean
        increment = alpha * difference
        state.mean += increment
        state.variance = (1.0 - alpha) * (state.variance + difference * increment)
        if not math.isfinite(state.variance):
            raise ArithmeticError("the values lie too far apart: a double cannot hold their squares")
    return spread_of(state)


def ew_variance(source: str, alpha: float | None = None, half_life: float | None = None) -> Step:
    """The exponentially weighted moving variance of the key's values, around their moving average (`ewma`).

    variance = (1 - alpha) * (variance + alpha * difference**2), 0.0 after the first value. alpha or half_life as for
    `ewma`. NaN before the first value; a missing value repeats it; values over 1e153 apart are rejected. State: 16
    bytes. Does not merge: the weights of values hang on how many came after.
    Source: Finch, "Incremental calculation of weighted mean and variance", 2009, section 9; as pandas'
    `ewm(alpha=alpha, adjust=False, ignore_na=True).var(bias=True)`.
    """
    return _ew_variance(source, alpha=checked_alpha("ew_variance", alpha, half_life))
