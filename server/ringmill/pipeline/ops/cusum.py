"""Change of a mean: cumulative sums."""

import math
from typing import NamedTuple

from ringmill.pipeline.fields import Event, Input, State
from ringmill.pipeline.operators import Step, operator
from ringmill.pipeline.ops.parameters import checked_number


class Sums(State):
    """16 bytes."""

    high: float = 0.0
    low: float = 0.0


class Cusum(NamedTuple):
    """The sums as they were when they were compared with the threshold."""

    high: float
    low: float
    change: bool


@operator
def _cusum(state: Sums, event: Event, source: Input, target: float, slack: float, threshold: float) -> Cusum:
    if not math.isnan(source):
        state.high = max(0.0, state.high + (source - target - slack))
        state.low = max(0.0, state.low + (target - slack - source))
    high, low = state.high, state.low
    change = high > threshold or low > threshold
    if change:
        state.high, state.low = 0.0, 0.0
    return Cusum(high, low, change)


def cusum(source: str, target: float = 0.0, slack: float = 0.5, threshold: float = 5.0) -> Step:
    """Tells when the mean of the key's values has left `target`, upwards or downwards: two cumulative sums.

        high = max(0, high + value - target - slack)        low = max(0, low + target - slack - value)

    change: one of them is above threshold; both then begin anew at 0. slack: half the shift that is to be found;
    threshold: four to five deviations. The defaults are for standardised values, such as `zscore` gives. A missing
    value changes nothing. State: 16 bytes. Does not merge: where the sums begin anew hangs on what came before.
    Source: Page, "Continuous inspection schemes", Biometrika 41 (1954); the tabular form as in Montgomery,
    "Introduction to statistical quality control".
    """
    return _cusum(
        source,
        target=checked_number("cusum", "target", target),
        slack=checked_number("cusum", "slack", slack, at_least=0.0),
        threshold=checked_number("cusum", "threshold", threshold, above=0.0),
    )
