"""Windows of a key's events, and durations.

    tumbling  |------|------|------|      side by side
    hopping   |------|                    one begins each `every`
                 |------|
                    |------|
    sliding   ...--x                      for each event, all of its last so much time
    session   x-x--x      x--x            events with less than so much time between neighbours
    count     x x x | x x x |             so many events, whenever they happened

Those of time begin at 1970 UTC and every size after it, and hold their begin, but not their end. Sliding ones hold
their end, which is the event that they belong to, but not their begin.
"""

from dataclasses import dataclass
from datetime import timedelta

from ringmill.engine.plan import WindowKind
from ringmill.pipeline.place import caller, wrong

MICROSECOND = timedelta(microseconds=1)
LONGEST = timedelta(days=36_600)
"""Of a window, a lateness and an out-of-orderness: a hundred years."""
SLIDING_EVENTS = 64
_COUNT_MAX = 2**31 - 1


@dataclass(frozen=True, slots=True)
class Window:
    """How events are put together. Made by `tumbling()` and its like."""

    kind: WindowKind
    size: timedelta
    """Of a session, the gap that ends it."""
    every: timedelta
    events: int = 0
    """Of count, how many; of sliding, the most times that a key keeps."""


def tumbling(*, days: float = 0, hours: float = 0, minutes: float = 0, seconds: float = 0) -> Window:
    """Windows that follow each other without gap or overlap."""
    size = _size("tumbling", days, hours, minutes, seconds)
    return Window(WindowKind.TIME, size, size)


def hopping(*, every: timedelta, days: float = 0, hours: float = 0, minutes: float = 0, seconds: float = 0) -> Window:
    """Windows of one size, of which a new one begins `every` so often: an event is in several."""
    size = _size("hopping", days, hours, minutes, seconds)
    if not isinstance(every, timedelta) or not MICROSECOND <= every <= size:
        raise wrong(
            caller(), f"hopping(every={every!r}): write a duration up to the window's size, as in every=seconds(10)"
        )
    return Window(WindowKind.TIME, size, every)


def sliding(
    *,
    days: float = 0,
    hours: float = 0,
    minutes: float = 0,
    seconds: float = 0,
    events: int = SLIDING_EVENTS,
) -> Window:
    """For each event a window of its last so much time, itself included.

    events: different times that a key keeps; an event that would be one more is rejected OVERLOADED. Each event's
    window is put together from them, so that more of them take more time.
    """
    size = _size("sliding", days, hours, minutes, seconds)
    return Window(WindowKind.SLIDING, size, size, _events("sliding", events))


def session(*, days: float = 0, hours: float = 0, minutes: float = 0, seconds: float = 0) -> Window:
    """Windows that end when nothing has come for so long."""
    gap = _size("session", days, hours, minutes, seconds)
    return Window(WindowKind.SESSION, gap, gap)


def count(events: int) -> Window:
    """Windows of so many events, in the order of their arrival."""
    return Window(WindowKind.COUNT, MICROSECOND, MICROSECOND, _events("count", events))


def days(count: float) -> timedelta:
    """A duration of days."""
    return _duration("days", days=count)


def hours(count: float) -> timedelta:
    """A duration of hours."""
    return _duration("hours", hours=count)


def minutes(count: float) -> timedelta:
    """A duration of minutes."""
    return _duration("minutes", minutes=count)


def seconds(count: float) -> timedelta:
    """A duration of seconds."""
    return _duration("seconds", seconds=count)


def microseconds_of(duration: timedelta) -> int:
    """A duration as a whole number."""
    return duration // MICROSECOND


def _size(name: str, days: float, hours: float, minutes: float, seconds: float) -> timedelta:
    size = _duration(name, days=days, hours=hours, minutes=minutes, seconds=seconds)
    if not MICROSECOND <= size <= LONGEST:
        raise wrong(
            caller(), f"{name}() of {size}: write how long, above 0 and up to 100 years, as in {name}(minutes=1)"
        )
    return size


def _duration(name: str, **parts: float) -> timedelta:
    try:
        return timedelta(**parts)
    except (TypeError, ValueError, OverflowError) as problem:
        given = ", ".join(f"{part}={value!r}" for part, value in parts.items())
        raise wrong(caller(), f"{name}: {given} is no duration ({problem}): write a number") from None


def _events(name: str, events: int) -> int:
    if isinstance(events, bool) or not isinstance(events, int) or not 1 <= events <= _COUNT_MAX:
        raise wrong(caller(), f"{name}(events={events!r}): write a whole number of events, at least 1")
    return events
