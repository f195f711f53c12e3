"""What a key keeps of its windows, and the kernels that add to it, close windows and correct them.

Panes lie in the key's row, as arrays of fixed length: heads, which say what a pane is of, and states, one record of the
operator each. Three layouts:

    TIME               a ring of slices: slice j at j modulo their number, so that nothing is searched and nothing moves
    SESSION, SLIDING   spans of time in order: sessions, or the events of one time
    COUNT              one pane, and how many events it has

An event goes through three kernels. `pick` copies the state of its pane out of the row (the operator then runs on the
copy, so that a failed event leaves no trace), `join` merges what the event connects, and `commit`, when nothing can
fail any more, closes what the key's clock has passed, puts the copy back, and corrects what had been closed before.
A window that cannot be computed, because a double does not hold its outputs, is left out and counted.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ringmill.core.errors import Reason
from ringmill.core.jit import kernel_part
from ringmill.engine import windowing
from ringmill.engine.copying import copy_row
from ringmill.engine.plan import StepPlan, TimePlan, WindowKind, WindowPlan

SLICE = np.dtype([("number", "i8"), ("is_filled", "i4"), ("revision", "i4")], align=True)
"""Head of a slice. revision: how often the window that ends with it has been emitted."""
SPAN = np.dtype([("start_us", "i8"), ("newest_us", "i8"), ("is_changed", "i4"), ("revision", "i4")], align=True)
"""Head of a span. is_changed: since it was emitted."""
NO_SLICE = -(2**62)

TRIED, MERGED, FRESH = 0, 1, 2
"""Places among a step's working states: the pane that an event goes to, a window made of panes, and a new state."""
_OVERLOADED = int(Reason.OVERLOADED)

_first_window = kernel_part(windowing.first_window)
_last_window = kernel_part(windowing.last_window)
_closed_windows = kernel_part(windowing.closed_windows)

Kernel = Callable[..., Any]


def held_dtype(step: StepPlan, window: WindowPlan) -> np.dtype[Any]:
    """What a key keeps for a step with a window."""
    states = ("states", step.state, (window.panes,))
    match window.kind:
        case WindowKind.TIME:
            parts: list[Any] = [("heads", SLICE, (window.panes,)), states]
        case WindowKind.COUNT:
            parts = [("start_us", "i8"), ("newest_us", "i8"), ("seen", "i8"), states]
        case _:
            parts = [("count", "i8"), ("heads", SPAN, (window.panes,)), states]
    return np.dtype(parts, align=True)


def new_held(step: StepPlan, window: WindowPlan) -> np.ndarray[Any, Any]:
    """What a new key keeps for the step: [1] of `held_dtype`."""
    held = np.zeros(1, held_dtype(step, window))
    held["states"] = np.frombuffer(step.initial, step.state)[0]
    if window.kind is WindowKind.TIME:
        held["heads"]["number"] = NO_SLICE
    return held


def working_memory(steps: tuple[tuple[int, StepPlan, WindowPlan], ...]) -> np.ndarray[Any, Any]:
    """What kernels work on, by step: [1]. Its content matters from `pick` to `commit` only, but for FRESH."""
    parts: list[Any] = [
        (step.name, np.dtype([("place", "i8"), ("joined", "i8"), ("states", step.state, (3,))], align=True))
        for _, step, _ in steps
    ]
    work = np.zeros(1, np.dtype(parts or [("unused", "i8")], align=True))
    for _, step, _ in steps:
        work[step.name]["states"] = np.frombuffer(step.initial, step.state)[0]
    return work


@dataclass(frozen=True, slots=True)
class WindowKernels:
    """A step's window, for the fused kernel; times in microseconds, before_us the key's newest time so far, or 0."""

    pick: Kernel
    """(time_us, before_us, held, work) -> 0, or the reason to reject the event."""
    join: Kernel | None
    """(held, work); raises where states cannot be merged."""
    commit: Kernel
    """(event's number, time_us, before_us, held, work, partition, store, emissions)"""


def window_kernels(step: StepPlan, window: WindowPlan, times: TimePlan, emit: Kernel) -> WindowKernels:
    """The kernels of a step.

    emit: (state, event's number, start_us, end_us, revision, partition, store, emissions) -> whether it was possible.
    """
    match window.kind:
        case WindowKind.TIME:
            return _of_slices(step.state.itemsize, window, times, emit)
        case WindowKind.COUNT:
            return _of_count(step.state.itemsize, window, emit)
        case _:
            return _of_spans(step.state.itemsize, window, times, emit)


_part = kernel_part  # every index below is bounded by the number of panes, and is checked all the same


def _of_slices(state_bytes: int, window: WindowPlan, times: TimePlan, emit: Kernel) -> WindowKernels:
    size, hop, panes, merge = window.size_us, window.hop_us, window.panes, window.merge
    length, out_of_order = windowing.slice_length(size, hop), times.out_of_order_us

    @_part
    def pick(time_us: int, before_us: int, held: Any, work: Any) -> int:
        number = time_us // length
        slot = number % panes
        head = held.heads[slot]
        if head.number == number and head.is_filled != 0:
            copy_row(work.states, TRIED, held.states, slot, state_bytes)
        else:
            copy_row(work.states, TRIED, work.states, FRESH, state_bytes)
        return 0

    @_part
    def gather(window: int, held: Any, work: Any) -> bool:
        """Merges a window's slices, in the order of time; False: it has none."""
        found = False
        for number in range(window * hop // length, (window * hop + size) // length):
            slot = number % panes
            head = held.heads[slot]
            if head.number == number and head.is_filled != 0:
                if found:
                    merge(work.states[MERGED], held.states[slot])
                else:
                    copy_row(work.states, MERGED, held.states, slot, state_bytes)
                found = True
        return found

    @_part
    def claim(number: int, held: Any) -> int:
        slot = number % panes
        head = held.heads[slot]
        if head.number != number:
            head.number, head.is_filled, head.revision = number, 0, 0
        return slot

    @_part
    def close(window: int, i: int, held: Any, work: Any, partition: int, store: Any, out: Any) -> None:
        """Emits a window that has events, for the first time or again."""
        good = True
        try:
            if gather(window, held, work):
                slot = claim((window * hop + size) // length - 1, held)
                start, revision = window * hop, held.heads[slot].revision
                good = emit(work.states[MERGED], i, start, start + size, revision, partition, store, out)
                if good:
                    held.heads[slot].revision = revision + 1
        except Exception:
            good = False
        if not good:
            out.counts[1] += 1

    @_part
    def commit(
        i: int, time_us: int, before_us: int, held: Any, work: Any, partition: int, store: Any, out: Any
    ) -> None:
        closed = _closed_windows(before_us - out_of_order, size, hop)
        if time_us > before_us and before_us > 0:
            due = _closed_windows(time_us - out_of_order, size, hop)
            for window in range(closed + 1, min(due, _last_window(before_us, hop)) + 1):
                close(window, i, held, work, partition, store, out)
        slot = claim(time_us // length, held)
        copy_row(held.states, slot, work.states, TRIED, state_bytes)
        held.heads[slot].is_filled = 1
        for window in range(_first_window(time_us, size, hop), min(closed, _last_window(time_us, hop)) + 1):
            close(window, i, held, work, partition, store, out)

    return WindowKernels(pick, None, commit)


def _of_spans(state_bytes: int, window: WindowPlan, times: TimePlan, emit: Kernel) -> WindowKernels:
    size, panes, merge = window.size_us, window.panes, window.merge
    out_of_order, lateness = times.out_of_order_us, times.lateness_us
    is_session = window.kind is WindowKind.SESSION

    @_part
    def pick(time_us: int, before_us: int, held: Any, work: Any) -> int:
        limit = max(time_us, before_us) - out_of_order - lateness - size
        place, kept, count = 0, 0, held.count
        for k in range(count):
            head = held.heads[k]
            kept += head.newest_us > limit
            if (head.newest_us + size <= time_us) if is_session else (head.start_us < time_us):
                place = k + 1
        joined, reach = 0, time_us + size if is_session else time_us + 1
        while joined < 2 and place + joined < count and held.heads[place + joined].start_us < reach:
            joined += 1
        if joined == 0 and kept >= panes:
            return _OVERLOADED
        work.place, work.joined = place, joined
        if joined > 0:
            copy_row(work.states, TRIED, held.states, place, state_bytes)
        else:
            copy_row(work.states, TRIED, work.states, FRESH, state_bytes)
        return 0

    @_part
    def join(held: Any, work: Any) -> None:
        if work.joined > 1:
            merge(work.states[TRIED], held.states[work.place + 1])

    @_part
    def move(held: Any, source: int, target: int) -> None:
        """Moves all from `source` on to `target`; what lies between is given up, or left open."""
        count = held.count
        for n in range(count - source):
            k = n if target < source else count - source - 1 - n
            head, other = held.heads[target + k], held.heads[source + k]
            head.start_us, head.newest_us = other.start_us, other.newest_us
            head.is_changed, head.revision = other.is_changed, other.revision
            copy_row(held.states, target + k, held.states, source + k, state_bytes)
        held.count = count + target - source

    @_part
    def gather(last: int, held: Any, work: Any) -> None:
        """Merges what lies within `size` before the last span, in the order of time. A session lies by itself."""
        first = last
        if not is_session:
            while first > 0 and held.heads[first - 1].start_us > held.heads[last].start_us - size:
                first -= 1
        copy_row(work.states, MERGED, held.states, first, state_bytes)
        for k in range(first + 1, last + 1):
            merge(work.states[MERGED], held.states[k])

    @_part
    def close(k: int, i: int, held: Any, work: Any, partition: int, store: Any, out: Any) -> None:
        head = held.heads[k]
        start = head.start_us if is_session else head.start_us - size
        end = head.newest_us + size if is_session else head.start_us
        good = False
        try:
            gather(k, held, work)
            good = emit(work.states[MERGED], i, start, end, head.revision, partition, store, out)
        except Exception:
            good = False
        head.is_changed = 0
        if good:
            head.revision += 1
        else:
            out.counts[1] += 1

    @_part
    def close_due(now: int, i: int, held: Any, work: Any, partition: int, store: Any, out: Any) -> None:
        for k in range(held.count):
            head = held.heads[k]
            if head.is_changed != 0 and (head.newest_us + size if is_session else head.start_us) <= now:
                close(k, i, held, work, partition, store, out)

    @_part
    def commit(
        i: int, time_us: int, before_us: int, held: Any, work: Any, partition: int, store: Any, out: Any
    ) -> None:
        now, place, joined = max(time_us, before_us) - out_of_order, work.place, work.joined
        if time_us > before_us:
            close_due(now, i, held, work, partition, store, out)
            gone = 0
            while gone < held.count and held.heads[gone].newest_us + size <= now - lateness:
                gone += 1
            if gone > 0:
                move(held, gone, 0)
                place -= gone
        start, newest, revision = time_us, time_us, 0
        for k in range(place, place + joined):
            head = held.heads[k]
            start, newest = min(start, head.start_us), max(newest, head.newest_us)
            revision = max(revision, head.revision)
        if joined != 1:
            move(held, place + joined, place + 1)
        head = held.heads[place]
        head.start_us, head.newest_us, head.is_changed, head.revision = start, newest, 1, revision
        copy_row(held.states, place, work.states, TRIED, state_bytes)
        if not is_session:
            for k in range(place + 1, held.count):
                if held.heads[k].start_us < time_us + size:
                    held.heads[k].is_changed = 1
        close_due(now, i, held, work, partition, store, out)

    return WindowKernels(pick, join if is_session else None, commit)


def _of_count(state_bytes: int, window: WindowPlan, emit: Kernel) -> WindowKernels:
    size = window.size_us

    @_part
    def pick(time_us: int, before_us: int, held: Any, work: Any) -> int:
        if held.seen > 0:
            copy_row(work.states, TRIED, held.states, 0, state_bytes)
        else:
            copy_row(work.states, TRIED, work.states, FRESH, state_bytes)
        return 0

    @_part
    def commit(
        i: int, time_us: int, before_us: int, held: Any, work: Any, partition: int, store: Any, out: Any
    ) -> None:
        copy_row(held.states, 0, work.states, TRIED, state_bytes)
        held.start_us = min(time_us, held.start_us) if held.seen > 0 else time_us
        held.newest_us = max(time_us, held.newest_us) if held.seen > 0 else time_us
        held.seen += 1
        if held.seen < size:
            return
        held.seen = 0
        good = False
        try:
            good = emit(work.states[TRIED], i, held.start_us, held.newest_us, 0, partition, store, out)
        except Exception:
            good = False
        if not good:
            out.counts[1] += 1

    return WindowKernels(pick, None, commit)
