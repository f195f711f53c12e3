"""A page of memory that a sending process and its starter share: how far it has come, and whether it is to stop.

So that the sender answers nobody while it sends: it writes a few numbers, and whoever wants to know reads them.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

_HANDED, _ANSWERED, _REJECTED, _WAITING_NS, _STOP, _SIZE = range(6)


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a process has come."""

    handed: int
    answered: int
    rejected: int
    waiting_ns: int
    """How long the oldest unanswered event has waited."""


class Page:
    """The page, from either side."""

    def __init__(self, path: str) -> None:
        """Opens the page of a file; makes it where there is none."""
        self.path = path
        exists = Path(path).exists()
        self._numbers = np.memmap(path, np.int64, "r+" if exists else "w+", shape=(_SIZE,))

    def tell(self, handed: int, answered: int, rejected: int, waiting_ns: int) -> None:
        """Writes how far it has come."""
        self._numbers[: _WAITING_NS + 1] = (handed, answered, rejected, waiting_ns)

    def read(self) -> Progress:
        """Reads how far it has come."""
        return Progress(*self._numbers[: _WAITING_NS + 1].tolist())

    def stop(self) -> None:
        """Asks the sender to end the step."""
        self._numbers[_STOP] = 1

    @property
    def stopped(self) -> bool:
        """Whether it is to end the step."""
        return bool(self._numbers[_STOP])
