"""A limit to a rate, with bursts, in whole microseconds: the generic cell rate algorithm."""

import math
from typing import NamedTuple

from ringmill.pipeline.fields import Event, State
from ringmill.pipeline.operators import Step, operator
from ringmill.pipeline.ops.parameters import checked_number, checked_whole

SECOND_US = 1e6
AHEAD_US_MAX = 2**60


class Expected(State):
    """8 bytes."""

    arrival_us: int = 0  # when the next event is expected, if all came evenly


class Cell(NamedTuple):
    """Whether the event conforms, and if not, when the next one would."""

    allowed: bool
    retry_after_s: float


@operator
def _gcra(state: Expected, event: Event, interval_us: int, tolerance_us: int) -> Cell:
    early_us = state.arrival_us - event.time_us
    if early_us > tolerance_us:
        return Cell(False, (early_us - tolerance_us) / SECOND_US)
    state.arrival_us = max(state.arrival_us, event.time_us) + interval_us
    return Cell(True, 0.0)


def gcra(rate: float, burst: int = 1) -> Step:
    """Whether an event conforms to a limit of `rate` a second with bursts of `burst`, and how long to wait if not.

    The generic cell rate algorithm, in whole microseconds, so without rounding: 1e6 / rate, to the nearest, is the
    interval between events. What does not conform changes nothing. The same decisions as `token_bucket`, by less state.
    State: 8 bytes. Needs event times. Does not merge.
    Source: ITU-T I.371 (03/2004), annex A, virtual scheduling; ATM Forum, "Traffic management 4.0", 1996.
    """
    rate = checked_number("gcra", "rate", rate, above=1e-9, at_most=1e6)
    burst = checked_whole("gcra", "burst", burst, 1, 2**40)
    interval_us = round(SECOND_US / rate)
    checked_number("gcra", "burst", float(burst), at_most=math.floor(AHEAD_US_MAX / interval_us))
    return _gcra(interval_us=interval_us, tolerance_us=(burst - 1) * interval_us)
