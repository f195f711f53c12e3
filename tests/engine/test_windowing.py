"""Which windows a time is in, in which order they close, and how much is kept: drawn, and for any numbers.

In the drawings a column is one unit of time. [ is inside a window and ) is not.
"""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ringmill.engine.windowing import (
    closed_windows,
    first_window,
    last_window,
    sessions_kept,
    slice_length,
    slices_kept,
    windows_emitted,
)

TUMBLING = """
time     012345678901
0        [---)
1            [---)
2                [---)
"""

HOPPING = """
time     0123456789
-1     [-----)
0          [-----)
1              [-----)
"""
"""A size of 6, every 4: the slices have 2."""

OVERLAPPING = """
time     01234567890
-2   [------)
-1      [------)
0          [------)
1             [------)
2                [------)
"""


def drawn(text: str) -> tuple[dict[int, range], range]:
    """The windows of a drawing by number, and the times that it is complete for."""
    head, *lines = text.strip().splitlines()
    zero, times = head.index("0"), len(head) - head.index("0")
    windows = {int(line.split()[0]): range(line.index("[") - zero, line.index(")") - zero) for line in lines}
    return windows, range(times)


@pytest.mark.parametrize(("text", "size", "hop"), [(TUMBLING, 4, 4), (HOPPING, 6, 4), (OVERLAPPING, 7, 3)])
def test_a_time_is_in_the_windows_that_are_drawn_over_it(text: str, size: int, hop: int) -> None:
    windows, times = drawn(text)
    for time in times:
        inside = [number for number, window in windows.items() if time in window]
        at = time - windows[0].start
        assert inside == list(range(first_window(at, size, hop), last_window(at, hop) + 1))


CLOSING = """
time     0123456789012
a    [-----)
b        [-----)
c            [-----)
closed   ..aaaabbbbccc
"""


def test_windows_close_when_the_clock_reaches_their_end_in_the_order_of_their_ends() -> None:
    line = CLOSING.strip().splitlines()[-1]
    column = line.index(".")
    for clock, shown in enumerate(line[column:]):
        assert closed_windows(clock, size_us=6, hop_us=4) == ".abc".index(shown) - 2


KEPT = """
time     01234567890123456789
slices   |0-|1-|2-|3-|4-|5-|6-|
clock            c               8: the newest event is at 11, less an out-of-orderness of 3
late          l                  5: the clock less a lateness of 3; what is older is late
needed   *********
         [-------)               ends at 9: a late event may still correct it, so slice 0 is needed
"""


def test_as_many_slices_are_kept_as_the_drawing_has_between_the_oldest_that_is_needed_and_the_newest() -> None:
    """Slices 0 to 3: with a size of 9 and a hop of 3, and times up to 11. A further time moves the clock."""
    needed = [j for j in range(7) if last_window(j * 3, 3) * 3 + 9 > 5 and j * 3 <= 11]
    assert needed == [0, 1, 2, 3]
    assert len(needed) <= slices_kept(9, 3, out_of_order_us=3, lateness_us=3) == 5


def test_a_tumbling_window_without_lateness_keeps_one_slice() -> None:
    assert slices_kept(60, 60, 0, 0) == 1
    assert sessions_kept(60, 0, 0) == 1
    assert windows_emitted(60, 60, 0) == 1


sizes = st.integers(1, 60)


@st.composite
def shapes(draw: st.DrawFn) -> tuple[int, int, int, int]:
    """Size, hop, out-of-orderness and lateness."""
    size = draw(sizes)
    return size, draw(st.integers(1, size)), draw(st.integers(0, 40)), draw(st.integers(0, 40))


@given(shapes(), st.integers(1, 10_000))
def test_slices_make_up_windows(shape: tuple[int, int, int, int], time: int) -> None:
    size, hop, _, _ = shape
    length = slice_length(size, hop)
    for window in range(first_window(time, size, hop) - 1, last_window(time, hop) + 2):
        slices = range(window * hop // length, (window * hop + size) // length)
        assert slices.start * length == window * hop
        assert slices.stop * length == window * hop + size
        assert (time // length in slices) == (window * hop <= time < window * hop + size)


@given(shapes(), st.lists(st.integers(1, 500), min_size=1, max_size=30))
def test_a_ring_of_the_slices_that_are_kept_never_gives_up_one_that_is_needed(
    shape: tuple[int, int, int, int], times: list[int]
) -> None:
    """Of each window that closes or may be corrected, and where its revisions are noted."""
    size, hop, out_of_order, lateness = shape
    length, kept = slice_length(size, hop), slices_kept(*shape)
    newest, written = 0, {}

    def touch(number: int) -> None:
        written[number % kept] = number

    for time in times:
        clock = newest - out_of_order
        if newest and time < clock - lateness:
            continue
        closing = []
        if time > newest > 0:
            due = min(closed_windows(time - out_of_order, size, hop), last_window(newest, hop))
            closing = list(range(closed_windows(clock, size, hop) + 1, due + 1))
        late = range(first_window(time, size, hop), min(closed_windows(clock, size, hop), last_window(time, hop)) + 1)
        assert not (closing and late)
        assert max(len(closing), len(late)) <= windows_emitted(size, hop, out_of_order)
        seen = [t for t in times[: times.index(time)] if t // length in written.values()]
        for window in closing:
            assert holds(window, written, seen, shape), (window, written)
            touch((window * hop + size) // length - 1)
        touch(time // length)
        for window in late:
            assert holds(window, written, [*seen, time], shape), (window, written)
            touch((window * hop + size) // length - 1)
        newest = max(newest, time)
        limit = newest - out_of_order - lateness
        for slot, number in written.items():
            oldest = newest // length - kept + 1
            assert number > oldest - 1 or last_window(number * length, hop) * hop + size <= limit, (slot, number)


def holds(window: int, written: dict[int, int], seen: list[int], shape: tuple[int, int, int, int]) -> bool:
    """Whether every slice of the window that has an event among `seen` is in its place."""
    size, hop, _, _ = shape
    length = slice_length(size, hop)
    wanted = {t // length for t in seen if window * hop <= t < window * hop + size}
    return wanted <= set(written.values())


@given(st.integers(1, 30), st.integers(0, 60), st.integers(0, 60), st.lists(st.integers(1, 500), max_size=60))
def test_no_more_sessions_are_needed_than_are_kept(
    gap: int, out_of_order: int, lateness: int, times: list[int]
) -> None:
    """Sort and split, then leave out those whose end no event may reach any more."""
    applied: list[int] = []
    for time in times:
        clock = max(applied, default=0) - out_of_order
        if applied and time < clock - lateness:
            continue
        applied.append(time)
        limit = max(applied) - out_of_order - lateness
        ordered = sorted(applied)
        ends = [
            left + gap
            for left, right in zip(ordered, [*ordered[1:], ordered[-1] + gap], strict=True)
            if right - left >= gap
        ]
        assert sum(end > limit for end in ends) <= sessions_kept(gap, out_of_order, lateness)
