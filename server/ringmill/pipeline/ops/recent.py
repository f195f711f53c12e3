"""Values that came before."""

import math

from ringmill.pipeline.fields import Array, Event, Input, State, array
from ringmill.pipeline.operators import Step, operator
from ringmill.pipeline.place import caller, wrong

LAG_MAX = 1024


class Last(State):
    """8 bytes."""

    value: float = math.nan


@operator
def _last(state: Last, event: Event, source: Input) -> float | None:
    if not math.isnan(source):
        state.value = source
    return state.value


def last(source: str) -> Step:
    """The key's newest value that is not missing; NaN before the first. State: 8 bytes. As pandas' `ffill()`."""
    return _last(source)


def lag(source: str, n: int = 1) -> Step:
    """The value that the key's n-th event before this one had, missing or not; NaN before there is one.

    n: 1 to 1,024. State: 8 * n + 8 bytes. As pandas' `shift(n)`.
    """
    if isinstance(n, bool) or not isinstance(n, int) or not 1 <= n <= LAG_MAX:
        raise wrong(caller(), f"lag(n={n!r}): write a whole number from 1 to {LAG_MAX}")

    class Kept(State):
        """The last n values, the oldest at `oldest`."""

        values: Array = array(n, fill=math.nan)
        oldest: int = 0

    @operator
    def _lag(state: Kept, event: Event, source: Input) -> float | None:
        value: float = state.values[state.oldest]
        state.values[state.oldest] = source
        state.oldest += 1
        if state.oldest == len(state.values):
            state.oldest = 0
        return value

    return _lag(source)
