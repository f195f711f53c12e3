"""Quantiles of values so far: DDSketch."""

import math

import numpy as np

from ringmill.pipeline.fields import Array, Event, Input, State, array
from ringmill.pipeline.operators import Columns, Step, operator
from ringmill.pipeline.ops.parameters import check_state_bytes, checked_bool, checked_number
from ringmill.pipeline.place import caller, wrong

LEVELS_MAX = 16
ACCURACY_MIN = 1e-4
BASE = 2**23
"""More than any bin's number at ACCURACY_MIN, so that those of positive values are positive."""
LARGEST = 1.7976931348623157e308


def quantiles(source: str, *levels: float, accuracy: float = 0.01, spread: float = 1e6, negative: bool = False) -> Step:
    """Quantiles of the key's values so far, each within a relative error of `accuracy`.

    levels: 1 to 16 numbers from 0 to 1; an output each, 0.5 as `p50`, 0.999 as `p99_9`. NaN before the first value; a
    missing value repeats them. spread: the ratio of magnitudes that is kept apart; values below the largest over spread
    count into the lowest bin, and quantiles among them are that bin's. negative: keep values below 0 too, in as many
    bins again; without, such an event is rejected. State: 8 * bins + 48 + 16 * levels bytes, with bins =
    ceil(ln(spread) / ln((1 + accuracy) / (1 - accuracy))), 691 at the defaults; twice for negative. Merges: to the
    sketch of the union.
    Source: Masson, Rim, Lee, "DDSketch: a fast and fully-mergeable quantile sketch with relative-error guarantees",
    VLDB 2019, with the lowest bins collapsed. The quantile of level q is the value of rank floor(q * (n - 1)).
    """
    if not 1 <= len(levels) <= LEVELS_MAX:
        raise wrong(
            caller(), f"quantiles() takes 1 to {LEVELS_MAX} levels: write them, as in quantiles({source!r}, 0.5)"
        )
    shares = np.array([checked_number("quantiles", "level", q, at_least=0.0, at_most=1.0) for q in levels])
    shares.flags.writeable = False
    accuracy = checked_number("quantiles", "accuracy", accuracy, above=0.0, below=1.0)
    spread = checked_number("quantiles", "spread", spread, above=1.0)
    signed = checked_bool("quantiles", "negative", negative)
    gamma_log = math.log1p(accuracy) - math.log1p(-accuracy)
    wanted = math.log(spread) / gamma_log
    check_state_bytes("quantiles", 8.0 * wanted * (2 if signed else 1), f"accuracy={accuracy:g}, spread={spread:g}")
    checked_number("quantiles", "accuracy", accuracy, at_least=ACCURACY_MIN)
    bins = max(2, math.ceil(wanted))
    low_bins = bins if signed else 1
    center = 2.0 / (1.0 + math.exp(gamma_log))
    count = len(levels)

    class Bins(State):
        """Bins of positive values and of magnitudes of negative ones, each a ring that ends at its highest bin.

        For each level a place, and how many values lie below it. Places are numbers of bins, positive for positive
        values, negative for negative ones, 0 for 0.0; so they rise with the values.
        """

        high: Array = array(bins, fill=0)
        low: Array = array(low_bins, fill=0)
        high_top: int = 0
        low_top: int = 0
        zeros: int = 0
        negatives: int = 0
        seen: int = 0
        places: Array = array(count, fill=0)
        below: Array = array(count, fill=0)

    def place_of(value: float) -> int:
        if value == 0.0:
            return 0
        number = BASE + math.ceil(math.log(abs(value)) / gamma_log)
        return number if value > 0.0 else -number

    def value_of(place: int) -> float:
        if place == 0:
            return 0.0
        value = min(LARGEST, center * math.exp((abs(place) - BASE) * gamma_log))
        return value if place > 0 else -value

    def raise_high(state: Bins, top: int) -> None:
        """Moves the ring of positive bins up; what falls off the low end goes to the lowest that is left."""
        old, lost = state.high_top, 0
        if old > 0:
            for number in range(max(1, old - bins + 1), min(old, top - bins) + 1):
                lost += state.high[number % bins]
                state.high[number % bins] = 0
            state.high[(top - bins + 1) % bins] += lost
        state.high_top = top

    def raise_low(state: Bins, top: int) -> None:
        old, lost = state.low_top, 0
        if old > 0:
            for number in range(max(1, old - bins + 1), min(old, top - bins) + 1):
                lost += state.low[number % bins]
                state.low[number % bins] = 0
            state.low[(top - bins + 1) % bins] += lost
        state.low_top = top

    def clamp(state: Bins, place: int) -> int:
        """The place whose bin holds what was in this one."""
        if place > 0:
            return max(place, state.high_top - bins + 1)
        return min(place, -(state.low_top - bins + 1)) if place < 0 else 0

    def add(state: Bins, place: int, number: int) -> None:
        if place > 0:
            if place > state.high_top:
                raise_high(state, place)
            state.high[clamp(state, place) % bins] += number
        elif place < 0:
            if -place > state.low_top:
                raise_low(state, -place)
            state.low[-clamp(state, place) % bins] += number
            state.negatives += number
        else:
            state.zeros += number
        state.seen += number

    def count_at(state: Bins, place: int) -> int:
        if place == 0:
            return state.zeros
        number: int = 0
        if place > 0:
            number = state.high[place % bins]
        elif signed:
            number = state.low[-place % bins]
        return number

    def above(state: Bins, place: int) -> int:
        if place == 0:
            return state.high_top - bins + 1
        return 0 if place == -(state.low_top - bins + 1) else place + 1

    def under(state: Bins, place: int) -> int:
        if place == 0:
            return -(state.low_top - bins + 1)
        return 0 if place == state.high_top - bins + 1 else place - 1

    def seek(state: Bins, level: int) -> None:
        """Moves a level's place to the bin of its rank."""
        rank = int(shares[level] * (state.seen - 1))
        place, below = state.places[level], state.below[level]
        while below > rank:
            place = under(state, place)
            below -= count_at(state, place)
        at = count_at(state, place)
        while below + at <= rank:
            below += at
            place = above(state, place)
            at = count_at(state, place)
        state.places[level], state.below[level] = place, below

    def merged(state: Bins, other: Bins) -> None:
        for number in range(max(1, other.high_top - bins + 1), other.high_top + 1):
            if other.high[number % bins] > 0:
                add(state, number, other.high[number % bins])
        if signed:
            for number in range(max(1, other.low_top - bins + 1), other.low_top + 1):
                if other.low[number % bins] > 0:
                    add(state, -number, other.low[number % bins])
        add(state, 0, other.zeros)
        if state.seen > 0:
            for level in range(count):
                state.places[level] = -state.low_top
                state.below[level] = 0
                if state.low_top == 0:
                    state.places[level] = 0
                seek(state, level)

    def level_at(state: Bins, index: int) -> float | None:
        return value_of(state.places[index]) if state.seen > 0 else math.nan

    names = tuple(f"p{100.0 * float(share):.10g}".replace(".", "_") for share in shares)
    if len(set(names)) < count:
        raise wrong(caller(), f"quantiles(): {levels} has a level twice: write each once")

    def refuse_negative(state: Bins, event: Event, source: Input) -> None:
        if source < 0.0 and not signed:
            raise ValueError("a value below 0: declare quantiles(..., negative=True)")

    @operator(merge=merged, columns=(Columns(names, level_at),), guard=refuse_negative)
    def _quantiles(state: Bins, event: Event, source: Input) -> None:
        if math.isnan(source):
            return
        place = place_of(source)
        add(state, place, 1)
        place = clamp(state, place)
        for level in range(count):
            if state.seen == 1:
                state.places[level] = place
            held = clamp(state, state.places[level])
            if held != state.places[level]:  # its bin was among those that have become one
                state.places[level] = held
                state.below[level] = state.negatives + (state.zeros if held > 0 else -count_at(state, held))
            elif place < held:
                state.below[level] += 1
            seek(state, level)

    return _quantiles(source)
