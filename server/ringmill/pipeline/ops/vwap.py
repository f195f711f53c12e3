"""Volume-weighted average price."""

import math

from ringmill.pipeline.fields import Event, Input, State
from ringmill.pipeline.operators import Step, operator
from ringmill.pipeline.ops.averages import toward


class Weighed(State):
    """16 bytes."""

    weight: float = 0.0
    mean: float = 0.0


def weigh(state: Weighed, value: float, weight: float) -> None:
    """West's update of a weighted mean."""
    state.weight += weight
    if math.isinf(state.weight):
        raise ArithmeticError("a double cannot hold the volume")
    state.mean = toward(state.mean, value, weight / state.weight)


def weighed_of(state: Weighed) -> float | None:
    """The weighted mean so far."""
    return state.mean if state.weight > 0.0 else math.nan


def merge_weighed(state: Weighed, other: Weighed) -> None:
    """The weighted mean of both."""
    if other.weight > 0.0:
        weigh(state, other.mean, other.weight)


@operator(merge=merge_weighed, result=weighed_of)
def _vwap(state: Weighed, event: Event, price: Input, volume: Input) -> float | None:
    if volume < 0.0:
        raise ValueError("a negative volume")
    if volume > 0.0 and not math.isnan(price):
        weigh(state, price, volume)
    return weighed_of(state)


def vwap(price: str, volume: str) -> Step:
    """The key's volume-weighted average price so far: sum(price * volume) / sum(volume).

    NaN until there is volume; an event with a missing price or volume repeats it; a negative volume is rejected.
    Updated by the difference, so that it neither overflows nor drifts. State: 16 bytes. Merges.
    Source: Berkowitz, Logue, Noser, "The total cost of transactions on the NYSE", Journal of Finance 43 (1988); updated
    as in West, "Updating mean and variance estimates", CACM 22 (1979).
    """
    return _vwap(price, volume)
