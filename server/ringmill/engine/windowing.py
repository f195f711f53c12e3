"""Which windows a time is in, in which order they close, and how much of them a key has to keep.

Windows of one size have numbers: number k begins at k * hop and ends, itself outside, at k * hop + size. They are put
together from slices, whose length divides both size and hop, so that an event is added to one slice and no more:

    slices    |--0--|--1--|--2--|--3--|--4--|      size = 3 slices, hop = 2
    window 0  [-----------------)
    window 1              [-----------------)

A key's clock is its newest time less what the pipeline declares for out-of-orderness. A window closes when the clock
reaches its end. An event older than the clock less the allowed lateness is late. So all that is of use lies within
lateness + size + out-of-orderness, and a ring of so many slices never gives up one that is needed.

Plain functions of whole numbers, of which kernels are made too: microseconds since 1970 UTC, or differences of them.
"""

import math


def slice_length(size_us: int, hop_us: int) -> int:
    """The longest that divides size and hop."""
    return math.gcd(size_us, hop_us)


def slices_kept(size_us: int, hop_us: int, out_of_order_us: int, lateness_us: int) -> int:
    """The slices that a key may need at once, so that a ring of them holds slice j at j modulo their number.

    Slice j is in no window that ends after j * length + size, and of no use once the clock less the lateness is there.
    No event is newer than clock + out-of-orderness. Between the two lie so many.
    """
    length = slice_length(size_us, hop_us)
    return -(-(lateness_us + size_us + out_of_order_us) // length)


def sessions_kept(gap_us: int, out_of_order_us: int, lateness_us: int) -> int:
    """The sessions that a key may need at once: each begins a gap after the one before, and all but the oldest begin
    after the clock less the lateness.
    """
    return 1 - (-(lateness_us + out_of_order_us) // gap_us)


def windows_emitted(size_us: int, hop_us: int, out_of_order_us: int) -> int:
    """The most windows that one event closes or corrects."""
    return -(-(size_us + out_of_order_us) // hop_us)


def first_window(time_us: int, size_us: int, hop_us: int) -> int:
    """The number of the first window that holds a time."""
    return (time_us - size_us) // hop_us + 1


def last_window(time_us: int, hop_us: int) -> int:
    """The number of the last window that holds a time."""
    return time_us // hop_us


def closed_windows(clock_us: int, size_us: int, hop_us: int) -> int:
    """The number of the last window whose end the clock has reached."""
    return (clock_us - size_us) // hop_us
