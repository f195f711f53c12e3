"""Change of a mean that is not known beforehand: the Page-Hinkley test."""

import math

from ringmill.pipeline.fields import Event, Input, State
from ringmill.pipeline.operators import Step, operator
from ringmill.pipeline.ops.parameters import checked_number, checked_whole


class Watched(State):
    """48 bytes."""

    seen: int = 0
    mean: float = 0.0
    rise: float = 0.0
    fall: float = 0.0
    rise_least: float = 0.0
    fall_most: float = 0.0


@operator
def _page_hinkley(
    state: Watched, event: Event, source: Input, delta: float, threshold: float, alpha: float, wait: int
) -> bool:
    if math.isnan(source):
        return False
    state.seen += 1
    state.mean += (source - state.mean) / state.seen
    deviation = source - state.mean
    state.rise = alpha * state.rise + deviation - delta
    state.fall = alpha * state.fall + deviation + delta
    if not math.isfinite(state.rise + state.fall):
        raise ArithmeticError("a double cannot hold the sums")
    if state.seen == 1 or state.rise < state.rise_least:
        state.rise_least = state.rise
    if state.seen == 1 or state.fall > state.fall_most:
        state.fall_most = state.fall
    change = state.rise - state.rise_least > threshold or state.fall_most - state.fall > threshold
    if not change or state.seen < wait:
        return False
    state.seen, state.mean, state.rise, state.fall = 0, 0.0, 0.0, 0.0
    return True


def page_hinkley(
    source: str, delta: float = 0.005, threshold: float = 50.0, alpha: float = 0.9999, wait: int = 30
) -> Step:
    """True where the mean of the key's values has changed, up or down, against their mean so far; then begins anew.

    delta: change that is let pass; threshold: sum of differences that raises it; alpha: what an event leaves of the
    sums before it, above 0 and at most 1; wait: values before the first may be told. A missing value is False and
    changes nothing. State: 48 bytes. Does not merge: where it begins anew hangs on what came before.
    Source: Page 1954; Hinkley, "Inference about the change-point from cumulative sum tests", Biometrika 58 (1971); with
    the defaults and the fading of `river.drift.PageHinkley`.
    """
    return _page_hinkley(
        source,
        delta=checked_number("page_hinkley", "delta", delta, at_least=0.0),
        threshold=checked_number("page_hinkley", "threshold", threshold, above=0.0),
        alpha=checked_number("page_hinkley", "alpha", alpha, above=0.0, at_most=1.0),
        wait=checked_whole("page_hinkley", "wait", wait, 1, 2**31),
    )
