"""What is shown while a step runs: a bar on a terminal, a line now and then without one."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from ringmill.loadtest.runner import page

PLAIN_S = 2.0
Show = Callable[[float, str], None]
"""Takes the seconds of the step that are over, and a few words."""


@contextmanager
def live(console: Console, name: str, total_s: float) -> Iterator[Show]:
    """Shows how far a step is."""
    if not console.is_terminal:
        yield _plain(console, name, total_s)
        return
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[words]}"), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(name, total=total_s, words="")
        yield lambda at_s, words: bar.update(task, completed=max(0.0, at_s), words=words)


def _plain(console: Console, name: str, total_s: float) -> Show:
    next_s = time.monotonic() + PLAIN_S

    def show(at_s: float, words: str) -> None:
        nonlocal next_s
        if time.monotonic() >= next_s:
            next_s = time.monotonic() + PLAIN_S
            console.print(f"{name}: {max(0.0, at_s):.0f} of {total_s:.0f} s, {words}", highlight=False)

    return show


class Words:
    """Puts what several processes tell into words: rates are of the time since the last time."""

    def __init__(self) -> None:
        self._answered = 0
        self._at_s = 0.0

    def __call__(self, told: Sequence[page.Progress], at_s: float) -> str:
        """One line for people."""
        answered = sum(each.answered for each in told)
        rate = (answered - self._answered) / (at_s - self._at_s) if at_s > self._at_s else 0.0
        self._answered, self._at_s = answered, at_s
        waiting = sum(each.handed for each in told) - answered
        words = f"{rate:,.0f} events/s, {waiting:,} unanswered"
        oldest_ns = max(each.waiting_ns for each in told)
        if waiting > 0:
            words += f", the oldest for {oldest_ns / 1e6:.1f} ms"
        rejected = sum(each.rejected for each in told)
        return words + (f", {rejected:,} rejected" if rejected else "")
