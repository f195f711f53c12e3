"""Windows of event time, and durations."""

from dataclasses import dataclass
from datetime import timedelta


@dataclass(frozen=True, slots=True)
class Window:
    """Windows of one length, side by side, aligned to 1970 UTC."""

    size: timedelta


def tumbling(*, hours: float = 0, minutes: float = 0, seconds: float = 0) -> Window:
    """Windows that follow each other without gap or overlap."""
    return Window(timedelta(hours=hours, minutes=minutes, seconds=seconds))


def minutes(count: float) -> timedelta:
    """A duration of minutes."""
    return timedelta(minutes=count)
