"""The straight line through a key's values over time."""

import math
from typing import NamedTuple

from ringmill.pipeline.fields import Event, Input, State
from ringmill.pipeline.operators import Step, operator

SECOND_US = 1e6


class Line(State):
    """56 bytes. Times are seconds since `origin_us`, the first event's."""

    seen: int = 0
    origin_us: int = 0
    newest_us: int = 0
    mean_s: float = 0.0
    mean: float = 0.0
    squares: float = 0.0  # of times
    products: float = 0.0  # of times and values


class Trend(NamedTuple):
    """NaN until two values have different times."""

    slope: float | None
    value: float | None


def trend_of(state: Line) -> Trend:
    """Slope a second, and the line at the newest time."""
    if state.squares <= 0.0:
        return Trend(math.nan, math.nan)
    slope = state.products / state.squares
    newest_s = float(state.newest_us - state.origin_us) / SECOND_US
    return Trend(slope, state.mean + slope * (newest_s - state.mean_s))


def merge_lines(state: Line, other: Line) -> None:
    """As for a covariance, with the times of `other` moved to the origin of `state`."""
    if other.seen == 0:
        return
    if state.seen == 0:
        state.origin_us, state.newest_us = other.origin_us, other.newest_us
    total = state.seen + other.seen
    difference_s = other.mean_s + float(other.origin_us - state.origin_us) / SECOND_US - state.mean_s
    difference = other.mean - state.mean
    share = other.seen / total
    state.squares += other.squares + difference_s * difference_s * state.seen * share
    state.products += other.products + difference_s * difference * state.seen * share
    state.mean_s += difference_s * share
    state.mean += difference * share
    state.newest_us = max(state.newest_us, other.newest_us)
    state.seen = total
    if not math.isfinite(state.products):
        raise ArithmeticError("a double cannot hold the products")


@operator(merge=merge_lines, result=trend_of)
def _trend(state: Line, event: Event, source: Input) -> Trend:
    if not math.isnan(source):
        if state.seen == 0:
            state.origin_us, state.newest_us = event.time_us, event.time_us
        state.newest_us = max(state.newest_us, event.time_us)
        state.seen += 1
        time_s = float(event.time_us - state.origin_us) / SECOND_US
        difference_s, difference = time_s - state.mean_s, source - state.mean
        state.mean_s += difference_s / state.seen
        state.mean += difference / state.seen
        state.squares += difference_s * (time_s - state.mean_s)
        state.products += difference_s * (source - state.mean)
        if not math.isfinite(state.products):
            raise ArithmeticError("a double cannot hold the products")
    return trend_of(state)


def trend(source: str) -> Step:
    """The straight line through the key's values over event time, by least squares: slope a second, and value.

    value: of the line at the newest time. Late values count with their own time. NaN until two values have different
    times; a missing value repeats it. State: 56 bytes. Needs event times. Merges.
    Source: Legendre 1805; updated as a covariance, Welford 1962. As `scipy.stats.linregress(times_s, values)`.
    """
    return _trend(source)
