"""Values that came before."""

import math

from ringmill.pipeline.fields import Array, Event, Input, State, array
from ringmill.pipeline.operators import Step, operator
from ringmill.pipeline.place import caller, wrong

LAG_MAX = 1024


class Last(State):
    """8 bytes."""

    value: float = math.nan


def value_of(state: Last) -> float | None:
    """The value that is kept."""
    return state.value


def keep_later(state: Last, other: Last) -> None:
    """The events of `other` are later."""
    if not math.isnan(other.value):
        state.value = other.value


def keep_earlier(state: Last, other: Last) -> None:
    """The events of `other` are later."""
    if math.isnan(state.value):
        state.value = other.value


@operator(merge=keep_later, result=value_of)
def _last(state: Last, event: Event, source: Input) -> float | None:
    if not math.isnan(source):
        state.value = source
    return state.value


def last(source: str) -> Step:
    """The key's newest value that is not missing; NaN before the first. State: 8 bytes. Merges with later states.

    As pandas' `ffill()`.
    """
    return _last(source)


@operator(merge=keep_earlier, result=value_of)
def _first(state: Last, event: Event, source: Input) -> float | None:
    if math.isnan(state.value):
        state.value = source
    return state.value


def first(source: str) -> Step:
    """The key's first value that is not missing; NaN before it. State: 8 bytes. Merges with later states.

    As pandas' `groupby().first()`.
    """
    return _first(source)


@operator(merge=keep_later)
def _delta(state: Last, event: Event, source: Input) -> float | None:
    change = source - state.value
    if not math.isnan(source):
        state.value = source
    return change


def delta(source: str) -> Step:
    """By how much the key's value differs from the last one that was not missing.

    NaN for the first value and for a missing one. State: 8 bytes. Merges with later states. As pandas' `diff()` of the
    values that are there.
    """
    return _delta(source)


def lag(source: str, n: int = 1) -> Step:
    """The value that the key's n-th event before this one had, missing or not; NaN before there is one.

    n: 1 to 1,024. State: 8 * n + 8 bytes. Does not merge. As pandas' `shift(n)`.
    """
    if isinstance(n, bool) or not isinstance(n, int) or not 1 <= n <= LAG_MAX:
        raise wrong(caller(), f"lag(n={n!r}): write a whole number from 1 to {LAG_MAX}")

    class Kept(State):
        """The last n values, the oldest at `oldest`."""

        values: Array = array(n, fill=math.nan)
        oldest: int = 0

    def never(state: Kept, event: Event, source: Input) -> None:
        """It cannot fail."""

    @operator(guard=never)
    def _lag(state: Kept, event: Event, source: Input) -> float | None:
        value: float = state.values[state.oldest]
        state.values[state.oldest] = source
        state.oldest += 1
        if state.oldest == len(state.values):
            state.oldest = 0
        return value

    return _lag(source)
