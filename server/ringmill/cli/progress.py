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
        yield _plain(name, total)
        return
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TextColumn("{task.fields[words]}"))
    with Progress(*columns, TimeRemainingColumn(), console=screen) as bar:
        task = bar.add_task(name, total=max(total, 1), words="")

        def advance(position: int, words: str) -> None:
            bar.update(task, completed=position, words=words)

        yield advance


def _plain(name: str, total: int) -> Advance:
    next_s = time.monotonic() + PLAIN_INTERVAL_S

    def advance(position: int, words: str) -> None:
        nonlocal next_s
        if time.monotonic() >= next_s or position >= total:
            next_s = time.monotonic() + PLAIN_INTERVAL_S
            console.out().print(f"{name}: {100 * position // max(total, 1)}%  {words}")

    return advance
