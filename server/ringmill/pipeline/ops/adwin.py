"""A window that shortens itself where the mean has changed: ADWIN."""

import math
from typing import NamedTuple

from ringmill.pipeline.fields import Array, Event, Input, State, array
from ringmill.pipeline.operators import Step, operator
from ringmill.pipeline.ops.parameters import checked_number, checked_whole

ROWS = 32
PER_ROW = 5
SLOTS = PER_ROW + 1
SHORTEST = 5
GRACE = 10
FARTHEST = 1e140
"""Squares of differences, summed over 2**37 values, stay below 1e300."""


class Buckets(State):
    """Row r has up to six buckets of 2**r values each, the oldest first; the last row that has any is the oldest."""

    totals: Array = array(ROWS * SLOTS, fill=0.0)
    squares: Array = array(ROWS * SLOTS, fill=0.0)
    used: Array = array(ROWS, fill=0)
    rows: int = 0
    width: int = 0
    total: float = 0.0
    spread: float = 0.0  # squared differences from the mean
    ticks: int = 0


class Adapted(NamedTuple):
    """change: the window was cut. mean and width of what is left."""

    change: bool
    mean: float | None
    width: int


def adapted_of(state: Buckets) -> Adapted:
    """The window as it is."""
    return Adapted(False, state.total / state.width if state.width > 0 else math.nan, state.width)


def push(state: Buckets, row: int, total: float, squares: float) -> None:
    """Adds the newest bucket of a row."""
    slot = row * SLOTS + state.used[row]
    state.totals[slot], state.squares[slot] = total, squares
    state.used[row] += 1
    state.rows = max(state.rows, row + 1)


def pop(state: Buckets, row: int, number: int) -> None:
    """Takes the oldest buckets of a row away."""
    first, left = row * SLOTS, state.used[row] - number
    for slot in range(first, first + left):
        state.totals[slot], state.squares[slot] = state.totals[slot + number], state.squares[slot + number]
    state.used[row] = left


def apart(size: float, other_size: float, difference: float) -> float:
    """What two groups that lie apart have in squared differences beyond their own."""
    return size * other_size * difference * difference / (size + other_size)


def compress(state: Buckets) -> None:
    """Makes one of the two oldest buckets of each row that has too many."""
    for row in range(ROWS - 1):
        if state.used[row] <= PER_ROW:
            return
        size, slot = 2.0**row, row * SLOTS
        older, newer = state.totals[slot], state.totals[slot + 1]
        squares = state.squares[slot] + state.squares[slot + 1] + apart(size, size, (older - newer) / size)
        pop(state, row, 2)
        push(state, row + 1, older + newer, squares)
    if state.used[ROWS - 1] > PER_ROW:
        forget_oldest(state)


def forget_oldest(state: Buckets) -> int:
    """Takes the oldest bucket out of the window. How many values it had."""
    row = state.rows - 1
    slot, size = row * SLOTS, 1 << row
    total, squares = state.totals[slot], state.squares[slot]
    state.width -= size
    state.total -= total
    state.spread -= squares + apart(float(size), float(state.width), total / size - state.total / state.width)
    pop(state, row, 1)
    while state.rows > 0 and state.used[state.rows - 1] == 0:
        state.rows -= 1
    return size


def is_cut(state: Buckets, older: float, newer: float, difference: float, delta: float) -> bool:
    """Whether the two parts' means differ by more than chance allows."""
    if older < SHORTEST or newer < SHORTEST:
        return False
    confidence = math.log(2.0 * math.log(state.width) / delta)
    inverse = 1.0 / (older - SHORTEST + 1.0) + 1.0 / (newer - SHORTEST + 1.0)
    variance = state.spread / state.width
    allowed = math.sqrt(2.0 * inverse * variance * confidence) + 2.0 / 3.0 * confidence * inverse
    return abs(difference) > allowed


def has_cut(state: Buckets, delta: float) -> bool:
    """Whether the window should be cut somewhere, tried from the oldest on."""
    older, newer, older_total, newer_total = 0.0, float(state.width), 0.0, state.total
    for row in range(state.rows - 1, -1, -1):
        size = 2.0**row
        for slot in range(row * SLOTS, row * SLOTS + state.used[row]):
            older, newer = older + size, newer - size
            older_total, newer_total = older_total + state.totals[slot], newer_total - state.totals[slot]
            if newer < 1.0:
                return False
            if is_cut(state, older, newer, older_total / older - newer_total / newer, delta):
                return True
    return False


def refuse_far(state: Buckets, event: Event, source: Input, delta: float, clock: int) -> None:
    """Fails what would be beyond a double, long before it is."""
    if abs(source) > FARTHEST:
        raise ArithmeticError("the values lie too far apart: a double cannot hold their squares")


@operator(result=adapted_of, guard=refuse_far)
def _adwin(state: Buckets, event: Event, source: Input, delta: float, clock: int) -> Adapted:
    change = False
    if not math.isnan(source):
        if state.width > 0:
            state.spread += apart(1.0, float(state.width), source - state.total / state.width)
        state.total += source
        state.width += 1
        push(state, 0, source, 0.0)
        compress(state)
        state.ticks += 1
        if state.ticks % clock == 0 and state.width > GRACE:
            while has_cut(state, delta):
                change = True
                forget_oldest(state)
    now = adapted_of(state)
    return Adapted(change, now.mean, now.width)


def adwin(source: str, delta: float = 0.002, clock: int = 32) -> Step:
    """Mean and length of a window of the key's newest values, cut where its two parts differ by more than chance.

    change: it was cut with this event. delta: probability of a cut where nothing has changed, above 0 and below 1;
    clock: events from one look to the next. Parts shorter than 5 values, and windows up to 10, are not judged. A
    missing value changes nothing; values beyond 1e140 are rejected. State: 3,368 bytes; buckets of growing size, at
    most 5 of each. An event that cuts costs microseconds. Does not merge: the cut hangs on the order.
    Source: Bifet, Gavalda, "Learning from time-changing data with adaptive windowing", SDM 2007, ADWIN2; normal
    approximation and defaults as in MOA and river.
    """
    return _adwin(
        source,
        delta=checked_number("adwin", "delta", delta, above=0.0, below=1.0),
        clock=checked_whole("adwin", "clock", clock, 1, 2**31),
    )
