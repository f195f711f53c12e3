"""How many times in a row."""

import math
from typing import NamedTuple

from ringmill.pipeline.fields import Event, Input, State
from ringmill.pipeline.operators import Step, operator


class Run(State):
    """32 bytes."""

    current: int = 0
    longest: int = 0
    leading: int = 0  # how many the first were, for merging
    seen: int = 0


class Streak(NamedTuple):
    """In events."""

    current: int
    longest: int


def streak_of(state: Run) -> Streak:
    """The streak that goes on, and the longest so far."""
    return Streak(state.current, state.longest)


def merge_runs(state: Run, other: Run) -> None:
    """The events of `other` are later."""
    if other.seen == 0:
        return
    joined = state.current + other.leading
    state.longest = max(state.longest, other.longest, joined)
    if state.leading == state.seen:
        state.leading = joined
    state.current = joined if other.current == other.seen else other.current
    state.seen += other.seen


@operator(merge=merge_runs, result=streak_of)
def _streak(state: Run, event: Event, source: Input) -> Streak:
    if not math.isnan(source):
        if source != 0.0:
            state.current += 1
            if state.leading == state.seen:
                state.leading += 1
        else:
            state.current = 0
        state.seen += 1
        state.longest = max(state.longest, state.current)
    return streak_of(state)


def streak(source: str) -> Step:
    """How many of the key's events in a row had `source` true, and the longest such streak so far.

    source: a bool, or a number that is true unless 0. A missing value neither adds nor ends. State: 32 bytes. Merges
    with later states. Definition: the lengths of runs, as `itertools.groupby` makes them.
    """
    return _streak(source)
