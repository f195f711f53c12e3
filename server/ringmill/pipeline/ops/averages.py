"""Averages, and how far a value lies from them."""

import math
from typing import TypeGuard

from ringmill.pipeline.fields import Event, Input, State
from ringmill.pipeline.operators import Step, operator
from ringmill.pipeline.place import caller, wrong


def toward(average: float, value: float, weight: float) -> float:
    """average + (value - average) * weight, even where the difference is beyond a double."""
    step = (value - average) * weight
    if math.isinf(step):
        return average * (1.0 - weight) + value * weight
    return average + step


class Averaged(State):
    """16 bytes."""

    seen: int = 0
    mean: float = 0.0


def mean_of(state: Averaged) -> float | None:
    """The mean so far."""
    return state.mean if state.seen > 0 else math.nan


def merge_means(state: Averaged, other: Averaged) -> None:
    """The mean of both."""
    if other.seen > 0:
        state.seen += other.seen
        state.mean = toward(state.mean, other.mean, other.seen / state.seen)


@operator(merge=merge_means, result=mean_of)
def _mean(state: Averaged, event: Event, source: Input) -> float | None:
    if not math.isnan(source):
        state.seen += 1
        state.mean = toward(state.mean, source, 1.0 / state.seen)
    return state.mean if state.seen > 0 else math.nan


def mean(source: str) -> Step:
    """The mean of the key's values so far; NaN before the first; a missing value repeats it. State: 16 bytes. Merges.

    Updated by the difference from the mean, not from a sum: it neither overflows nor loses small values to a large sum.
    Source: Welford, "Note on a method for calculating corrected sums of squares and products", Technometrics 4 (1962).
    """
    return _mean(source)


class Moments(State):
    """24 bytes."""

    seen: int = 0
    mean: float = 0.0
    squares: float = 0.0  # sum of squared differences from the mean


def absorb(state: Moments, value: float) -> None:
    """Welford's update."""
    state.seen += 1
    difference = value - state.mean
    state.mean += difference / state.seen
    state.squares += difference * (value - state.mean)
    if not math.isfinite(state.squares):
        raise ArithmeticError("the values lie too far apart: a double cannot hold their squares")


def variance_of(state: Moments, ddof: int) -> float | None:
    """The variance so far."""
    return state.squares / (state.seen - ddof) if state.seen > ddof else math.nan


def merge_moments(state: Moments, other: Moments) -> None:
    """Chan, Golub, LeVeque 1979."""
    if other.seen == 0:
        return
    difference = other.mean - state.mean
    total = state.seen + other.seen
    share = other.seen / total
    state.squares += other.squares + difference * difference * (state.seen * share)
    state.mean += difference * share
    state.seen = total
    if not math.isfinite(state.squares):
        raise ArithmeticError("the values lie too far apart: a double cannot hold their squares")


@operator(merge=merge_moments, result=variance_of)
def _variance(state: Moments, event: Event, source: Input, ddof: int) -> float | None:
    if not math.isnan(source):
        absorb(state, source)
    return state.squares / (state.seen - ddof) if state.seen > ddof else math.nan


def variance(source: str, ddof: int = 1) -> Step:
    """The variance of the key's values so far: squared differences from their mean over (number - ddof).

    NaN until more than ddof values; a missing value repeats it. Values over 1e153 apart are rejected. State: 24 bytes.
    Merges, as in Chan, Golub, LeVeque 1979. Source: Welford 1962, as for `mean`. ddof as in NumPy and pandas: 1 of a
    sample, 0 of a population.
    """
    return _variance(source, ddof=checked_ddof("variance", ddof))


@operator(merge=merge_moments)
def _zscore(state: Moments, event: Event, source: Input, ddof: int) -> float | None:
    if math.isnan(source):
        return math.nan
    absorb(state, source)
    if state.seen <= ddof:
        return math.nan
    deviation = math.sqrt(state.squares / (state.seen - ddof))
    return (source - state.mean) / deviation if deviation > 0.0 else math.nan


def zscore(source: str, ddof: int = 0) -> Step:
    """How many standard deviations the value lies from the mean of the key's values so far, itself included.

    NaN for a missing value, and while all values are equal. Since the value is part of its own mean and deviation, n
    values give at most sqrt(n - 1): an alarm above 3.0 needs eleven values, and so has a time of warming up built in.
    Values over 1e153 apart are rejected; differences below 1e-162 count as none. State: 24 bytes. Merges.
    Source: Welford 1962, as for `mean`; the last of `scipy.stats.zscore(values_so_far, ddof=ddof)`.
    """
    return _zscore(source, ddof=checked_ddof("zscore", ddof))


class Smoothed(State):
    """8 bytes."""

    average: float = math.nan


@operator
def _ewma(state: Smoothed, event: Event, source: Input, alpha: float) -> float | None:
    if math.isnan(state.average):
        state.average = source
    elif not math.isnan(source):
        state.average = toward(state.average, source, alpha)
    return state.average


def ewma(source: str, alpha: float | None = None, half_life: float | None = None) -> Step:
    """The exponentially weighted moving average of the key's values: average += alpha * (value - average).

    It begins with the first value. alpha: above 0 and at most 1, the weight of the newest value. Or half_life: after so
    many values an old one weighs half, alpha = 1 - 2**(-1 / half_life). NaN before the first value; a missing value
    repeats it. State: 8 bytes. Does not merge: the weights of values hang on how many came after.
    Source: Finch, "Incremental calculation of weighted mean and variance", 2009, section 9; as pandas'
    `ewm(alpha=alpha, adjust=False, ignore_na=True).mean()`.
    """
    return _ewma(source, alpha=checked_alpha("ewma", alpha, half_life))


def checked_alpha(name: str, alpha: object, half_life: object) -> float:
    """The weight of the newest value, from one of the two ways to say it."""
    place = caller()
    if alpha is not None and half_life is None:
        if not _is_number(alpha) or not 0 < alpha <= 1:
            raise wrong(place, f"{name}(alpha={alpha!r}): write a number above 0 and at most 1, as in alpha=0.1")
        return float(alpha)
    if half_life is not None and alpha is None:
        if not _is_number(half_life) or not 0 < half_life < math.inf:
            raise wrong(place, f"{name}(half_life={half_life!r}): write a number of values above 0, as in half_life=10")
        return -math.expm1(-math.log(2.0) / half_life)
    raise wrong(place, f"{name}() takes alpha or half_life: write one, as in alpha=0.1")


def checked_ddof(operator_name: str, ddof: object) -> int:
    """The divisor: number of values - ddof."""
    if isinstance(ddof, bool) or ddof not in (0, 1):
        raise wrong(caller(), f"{operator_name}(ddof={ddof!r}): write 0 for a population or 1 for a sample")
    return 1 if ddof else 0


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
