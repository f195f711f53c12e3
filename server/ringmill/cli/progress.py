"""Progress of long work: a bar on a terminal, a line now and then without one."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from ringmill.cli import console

PLAIN_INTERVAL_S = 2.0

Advance = Callable[[int, str], None]
"""Takes the position reached, in the unit of the total, and a few words."""


@contextmanager
def progress(name: str, total: int) -> Iterator[Advance]:
    """Shows how far the work in the `with` block has come."""
    screen = console.out()
    if not screen.is_terminal:
        plain = _Plain(name, total)
        yield plain.advance
        plain.finish()
        return
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TextColumn("{task.fields[words]}"))
    with Progress(*columns, TimeRemainingColumn(), console=screen) as bar:
        task = bar.add_task(name, total=max(total, 1), words="")

        def advance(position: int, words: str) -> None:
            bar.update(task, completed=position, words=words)

        yield advance


class _Plain:
    """A line every few seconds, and one at the end."""

    def __init__(self, name: str, total: int) -> None:
        self._name = name
        self._total = max(total, 1)
        self._next_s = time.monotonic() + PLAIN_INTERVAL_S
        self._words = ""

    def advance(self, position: int, words: str) -> None:
        self._words = words
        if time.monotonic() >= self._next_s and position < self._total:
            self._next_s = time.monotonic() + PLAIN_INTERVAL_S
            console.out().print(f"{self._name}: {100 * position // self._total}%  {words}")

    def finish(self) -> None:
        console.out().print(f"{self._name}: 100%  {self._words}")
