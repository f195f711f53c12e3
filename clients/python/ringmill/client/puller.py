"""Pulls a source of events in a thread of its own, so that a slow source never holds back outcomes that have come."""

import threading
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any


class Puller:
    """Reads ahead of whoever takes, up to `ahead_max` items."""

    def __init__(self, source: Iterable[Any], wake: Callable[[], None], ahead_max: int) -> None:
        self.finished = False
        """Whether the source has ended; items may still be waiting."""
        self.error: BaseException | None = None
        """What the source raised, to be raised again once the items before it were used."""
        self._source = source
        self._wake = wake
        self._ahead_max = ahead_max
        self._items: deque[Any] = deque()
        self._room = threading.Condition()
        self._stopped = False
        self._thread = threading.Thread(target=self._run, name="ringmill-source", daemon=True)
        self._thread.start()

    @property
    def ready(self) -> bool:
        """Whether there is something to take or to learn."""
        return bool(self._items) or self.finished

    @property
    def ready_items(self) -> int:
        """Items that wait to be taken."""
        return len(self._items)

    def take(self, count: int) -> list[Any]:
        """Up to `count` items."""
        taken = [self._items.popleft() for _ in range(min(count, len(self._items)))]
        if taken:
            with self._room:
                self._room.notify()
        return taken

    def stop(self) -> None:
        """Reads no further; a thread that is inside the source ends when the source next yields."""
        with self._room:
            self._stopped = True
            self._room.notify()

    def _run(self) -> None:
        try:
            for item in self._source:
                if not self._keep(item):
                    return
        except BaseException as error:  # whatever it was, it belongs to the caller
            self.error = error
        self.finished = True
        self._wake()

    def _keep(self, item: Any) -> bool:
        if len(self._items) >= self._ahead_max or self._stopped:
            with self._room:
                self._room.wait_for(lambda: len(self._items) < self._ahead_max or self._stopped)
        if self._stopped:
            return False
        self._items.append(item)
        if len(self._items) == 1:  # nobody waits while there are more
            self._wake()
        return True
