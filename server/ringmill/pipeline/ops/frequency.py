"""How often a value came: the Count-Min sketch."""

import math

import numpy as np

from ringmill.pipeline.fields import Array, Event, State, Token, array
from ringmill.pipeline.operators import Step, operator
from ringmill.pipeline.ops.parameters import check_state_bytes, checked_number

_MISSING, _HALF, _ONE = np.uint64(0), np.uint64(32), np.uint64(1)


def frequency(source: str, error: float = 0.01, confidence: float = 0.99) -> Step:
    """How often the key has had this event's value of `source`, itself included: never too few, seldom too many.

    source: a field of any kind, or an earlier number. Too many by at most error * (the key's values), with a
    probability of `confidence`. A missing value counts 0. State: 8 * ceil(e / error) * ceil(ln(1 / (1 - confidence)))
    bytes, 10,880 at the defaults. Integer. Merges: to the sketch of the union.
    Source: Cormode, Muthukrishnan, "An improved data stream summary: the count-min sketch and its applications",
    Journal of Algorithms 55 (2005); rows by double hashing, Kirsch, Mitzenmacher, "Less hashing, same performance", ESA
    2006.
    """
    error = checked_number("frequency", "error", error, above=0.0, below=1.0)
    confidence = checked_number("frequency", "confidence", confidence, above=0.0, below=1.0)
    width, depth = math.ceil(math.e / error), math.ceil(-math.log1p(-confidence))
    check_state_bytes("frequency", 8.0 * width * depth, f"error={error:g}, confidence={confidence:g}")
    wide = np.uint64(width)

    class Rows(State):
        """`depth` rows of counters, one after the other."""

        counts: Array = array(width * depth, fill=0)

    def merged(state: Rows, other: Rows) -> None:
        for place in range(width * depth):
            state.counts[place] += other.counts[place]

    def never(state: Rows, event: Event, source: Token) -> None:
        """It cannot fail."""

    @operator(merge=merged, guard=never)
    def _frequency(state: Rows, event: Event, source: Token) -> int:
        if source == _MISSING:
            return 0
        hashed, step = np.uint64(source), (np.uint64(source) >> _HALF) | _ONE
        least = 0
        for row in range(depth):
            place = row * width + int((hashed >> _HALF ^ hashed) % wide)
            hashed += step
            state.counts[place] += 1
            if row == 0 or state.counts[place] < least:
                least = state.counts[place]
        return least

    return _frequency(source)
