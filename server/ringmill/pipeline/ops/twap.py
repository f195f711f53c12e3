"""Time-weighted average price."""

import math

from ringmill.pipeline.fields import Event, Input, State
from ringmill.pipeline.operators import Step, operator
from ringmill.pipeline.ops.averages import toward


class Held(State):
    """40 bytes."""

    mean: float = 0.0
    span_us: int = 0
    price: float = math.nan
    first_us: int = 0
    newest_us: int = 0


def hold(state: Held, time_us: int) -> None:
    """Counts the newest price until a time, if that is later."""
    lasted = time_us - state.newest_us
    if lasted > 0:
        state.span_us += lasted
        state.mean = toward(state.mean, state.price, lasted / state.span_us)
        state.newest_us = time_us


def held_of(state: Held) -> float | None:
    """The average up to the newest price."""
    return state.mean if state.span_us > 0 else math.nan


def merge_held(state: Held, other: Held) -> None:
    """The events of `other` are later."""
    if math.isnan(other.price):
        return
    if math.isnan(state.price):
        state.mean, state.span_us, state.price = other.mean, other.span_us, other.price
        state.first_us, state.newest_us = other.first_us, other.newest_us
        return
    hold(state, other.first_us)
    if other.span_us > 0:
        state.span_us += other.span_us
        state.mean = toward(state.mean, other.mean, other.span_us / state.span_us)
    state.price, state.newest_us = other.price, other.newest_us


@operator(merge=merge_held, result=held_of)
def _twap(state: Held, event: Event, price: Input) -> float | None:
    if not math.isnan(price):
        if math.isnan(state.price):
            state.price, state.first_us, state.newest_us = price, event.time_us, event.time_us
        elif event.time_us >= state.newest_us:
            hold(state, event.time_us)
            state.price = price
    return held_of(state)


def twap(price: str) -> Step:
    """The key's time-weighted average price: each price counts for as long as it was the newest.

    From the first price to the newest, whose own time has only begun: sum(price_i * (t_(i+1) - t_i)) / (t_n - t_1). NaN
    until time has passed; a missing price repeats it; of prices at one time the last counts; one older than the newest
    changes nothing. State: 40 bytes. Needs event times. Merges with later states.
    Definition: the integral of a step function over its length, as for any mean over time.
    """
    return _twap(price)
