"""How two values vary together."""

import math

from ringmill.pipeline.fields import Event, Input, State
from ringmill.pipeline.operators import Step, operator
from ringmill.pipeline.ops.averages import checked_ddof


class Joint(State):
    """48 bytes. The moments of pairs: sums of squared and of multiplied differences from the means."""

    seen: int = 0
    mean_x: float = 0.0
    mean_y: float = 0.0
    squares_x: float = 0.0
    squares_y: float = 0.0
    products: float = 0.0


def absorb_pair(state: Joint, x: float, y: float) -> None:
    """Welford's update for a pair."""
    state.seen += 1
    difference_x, difference_y = x - state.mean_x, y - state.mean_y
    state.mean_x += difference_x / state.seen
    state.mean_y += difference_y / state.seen
    state.squares_x += difference_x * (x - state.mean_x)
    state.squares_y += difference_y * (y - state.mean_y)
    state.products += difference_x * (y - state.mean_y)
    check_finite(state)


def check_finite(state: Joint) -> None:
    """Fails the event after which a double cannot hold the sums."""
    if not math.isfinite(state.squares_x + state.squares_y + abs(state.products)):
        raise ArithmeticError("the values lie too far apart: a double cannot hold their products")


def merge_pairs(state: Joint, other: Joint) -> None:
    """Chan, Golub, LeVeque 1979."""
    total = state.seen + other.seen
    if other.seen == 0:
        return
    difference_x, difference_y = other.mean_x - state.mean_x, other.mean_y - state.mean_y
    share = other.seen / total
    weight = state.seen * share
    state.squares_x += other.squares_x + difference_x * difference_x * weight
    state.squares_y += other.squares_y + difference_y * difference_y * weight
    state.products += other.products + difference_x * difference_y * weight
    state.mean_x += difference_x * share
    state.mean_y += difference_y * share
    state.seen = total
    check_finite(state)


def covariance_of(state: Joint, ddof: int) -> float | None:
    """The covariance of the pairs so far."""
    return state.products / (state.seen - ddof) if state.seen > ddof else math.nan


@operator(merge=merge_pairs, result=covariance_of)
def _covariance(state: Joint, event: Event, x: Input, y: Input, ddof: int) -> float | None:
    if not (math.isnan(x) or math.isnan(y)):
        absorb_pair(state, x, y)
    return covariance_of(state, ddof)


def covariance(x: str, y: str, ddof: int = 1) -> Step:
    """The covariance of two values of the key's events: mean product of their differences from their means.

    Divided by (number of pairs - ddof): 1 for a sample, 0 for a population. A pair of which one is missing changes
    nothing. NaN until more than ddof pairs; values over 1e153 apart are rejected. State: 48 bytes. Merges.
    Source: Welford 1962 for pairs, as in Chan, Golub, LeVeque, "Updating formulae and a pairwise algorithm for
    computing sample variances", 1979.
    """
    return _covariance(x, y, ddof=checked_ddof("covariance", ddof))


def correlation_of(state: Joint) -> float | None:
    """Pearson's coefficient of the pairs so far."""
    spread = math.sqrt(state.squares_x) * math.sqrt(state.squares_y)
    return max(-1.0, min(1.0, state.products / spread)) if spread > 0.0 else math.nan


@operator(merge=merge_pairs, result=correlation_of)
def _correlation(state: Joint, event: Event, x: Input, y: Input) -> float | None:
    if not (math.isnan(x) or math.isnan(y)):
        absorb_pair(state, x, y)
    return correlation_of(state)


def correlation(x: str, y: str) -> Step:
    """Pearson's coefficient of correlation of two values of the key's events, from -1 to 1.

    NaN while either has only one value; a pair of which one is missing changes nothing; values over 1e153 apart are
    rejected. State: 48 bytes. Merges. Source: Pearson 1895; updated as `covariance`.
    """
    return _correlation(x, y)
