"""How many, how much, how often."""

import math

from ringmill.pipeline.fields import Event, Input, State
from ringmill.pipeline.operators import Step, operator
from ringmill.pipeline.place import caller, wrong

SECOND_US = 1e6


class Counted(State):
    """8 bytes."""

    count: int = 0


def count_of(state: Counted) -> int:
    """How many so far."""
    return state.count


def add_counts(state: Counted, other: Counted) -> None:
    """Of both."""
    state.count += other.count


@operator(merge=add_counts, result=count_of)
def _count_events(state: Counted, event: Event) -> int:
    state.count += 1
    return state.count


@operator(merge=add_counts, result=count_of)
def _count_values(state: Counted, event: Event, source: Input) -> int:
    if not math.isnan(source):
        state.count += 1
    return state.count


def count(source: str | None = None) -> Step:
    """Counts the key's events, or, with a source, its values that are not missing. Integer. State: 8 bytes. Merges."""
    return _count_events() if source is None else _count_values(source)


class Summed(State):
    """16 bytes."""

    total: float = 0.0
    lost: float = 0.0  # what rounding took from the total so far


def total_of(state: Summed) -> float:
    """The sum so far."""
    return state.total + state.lost


def add_totals(state: Summed, other: Summed) -> None:
    """Of both, with what rounding took."""
    total = state.total + other.total
    if abs(state.total) >= abs(other.total):
        state.lost += (state.total - total) + other.total
    else:
        state.lost += (other.total - total) + state.total
    state.lost += other.lost
    state.total = total
    if not math.isfinite(total + state.lost):
        raise ArithmeticError("a double cannot hold the sum")


@operator(merge=add_totals, result=total_of)
def _sum(state: Summed, event: Event, source: Input) -> float:
    if not math.isnan(source):
        total = state.total + source
        if abs(state.total) >= abs(source):
            state.lost += (state.total - total) + source
        else:
            state.lost += (source - total) + state.total
        state.total = total
    return state.total + state.lost


def total(source: str) -> Step:
    """Sums the key's values; 0.0 before the first. State: 16 bytes. Merges.

    With Neumaier's compensation, so that 1e16 + 1 - 1e16 is 1: the error does not grow with the number of values.
    A missing value repeats the sum. Source: Neumaier, "Rundungsfehleranalyse einiger Verfahren zur Summation endlicher
    Summen", ZAMM 54 (1974), algorithm IV.
    """
    return _sum(source)


class Rated(State):
    """24 bytes."""

    weight: float = 0.0  # of all events, as of the newest
    first_us: int = 0
    newest_us: int = 0


def rate_of(state: Rated, half_life_s: float) -> float | None:
    """Events a second, as of the newest."""
    decay = math.log(2.0) / (half_life_s * SECOND_US)
    span_us = float(state.newest_us - state.first_us)
    if span_us == 0.0:
        return math.nan
    if decay == 0.0:
        return (state.weight - 1.0) / span_us * SECOND_US
    passed = -math.expm1(-decay * span_us)
    return (state.weight - 1.0 + passed) / (passed / decay) * SECOND_US


def merge_rates(state: Rated, other: Rated, half_life_s: float) -> None:
    """The weights of both as of the newest time."""
    if other.weight == 0.0:
        return
    if state.weight == 0.0:
        state.weight, state.first_us, state.newest_us = other.weight, other.first_us, other.newest_us
        return
    decay = math.log(2.0) / (half_life_s * SECOND_US)
    newest_us = max(state.newest_us, other.newest_us)
    state.weight *= math.exp(-decay * float(newest_us - state.newest_us))
    state.weight += other.weight * math.exp(-decay * float(newest_us - other.newest_us))
    state.newest_us = newest_us
    state.first_us = min(state.first_us, other.first_us)


@operator(merge=merge_rates, result=rate_of)
def _rate(state: Rated, event: Event, half_life_s: float) -> float | None:
    decay = math.log(2.0) / (half_life_s * SECOND_US)  # a microsecond; 0.0 for an infinite half-life
    if state.weight == 0.0:
        state.first_us = event.time_us
        state.newest_us = event.time_us
    if event.time_us >= state.newest_us:
        state.weight = state.weight * math.exp(-decay * float(event.time_us - state.newest_us)) + 1.0
        state.newest_us = event.time_us
    else:
        state.weight += math.exp(-decay * float(state.newest_us - event.time_us))
    if event.time_us < state.first_us:
        state.first_us = event.time_us
    span_us = float(state.newest_us - state.first_us)
    if span_us == 0.0:
        return math.nan
    if decay == 0.0:
        return (state.weight - 1.0) / span_us * SECOND_US
    passed = -math.expm1(-decay * span_us)  # 1 - the first event's weight
    return (state.weight - 1.0 + passed) / (passed / decay) * SECOND_US


def rate(half_life_s: float = 60.0) -> Step:
    """Events a second of event time, older ones counting less: half for each half-life that has passed.

    The decayed number of events divided by the decayed time, both from the first event, which opens the time and is not
    counted itself: for h = half_life_s, t the newest time, t_0 the earliest, sums over all other events,

        rate = sum(2**-((t - t_i) / h)) / integral(2**-((t - s) / h) ds, t_0..t)

    So it is right from the second event on, without a time of warming up. With half_life_s=math.inf it is
    (events - 1) / (newest - earliest). Late events count with their own time: the order of arrival does not matter.
    NaN until two events have different times. State: 24 bytes. Needs event times. Merges.
    Source: Cormode, Korn, Tirthapura, "Exponentially decayed aggregates on data streams", ICDE 2008.
    """
    if isinstance(half_life_s, bool) or not isinstance(half_life_s, (int, float)) or not half_life_s >= 1e-6:
        raise wrong(
            caller(), f"rate(half_life_s={half_life_s!r}): write seconds, at least 0.000001, as in half_life_s=60.0"
        )
    return _rate(half_life_s=float(half_life_s))
