"""Whose partitions are whose: what a view makes of this worker, and what it has to forget."""

from dataclasses import dataclass

import numba
import numpy as np
import numpy.typing as npt

from ringmill.core.maglev import NOBODY
from ringmill.core.view import View
from ringmill.engine.assignment import (
    COPIED,
    COPYING,
    LEARNER,
    LED,
    LISTS,
    NONE,
    PRIMARY,
    REPLICA,
    RoleArrays,
    assignment_kernels,
)

__all__ = ["LEARNER", "NONE", "PRIMARY", "REPLICA", "Change", "Partitions", "Process", "Roles", "process_at", "seat_of"]

Partitions = npt.NDArray[np.int64]
"""Numbers of partitions, growing."""

Process = tuple[str, int]
"""Name and incarnation of a worker's process."""


@dataclass(frozen=True, slots=True)
class Change:
    """What one view changed for this worker, and who else is concerned."""

    lost: list[int]
    """Partitions whose state and history must be forgotten."""
    deposed: list[int]
    """Partitions that another process serves now."""
    led: Partitions
    """Partitions that this worker has begun to serve."""
    learning: list[int]
    """Partitions that this worker serves and that have a learner."""
    sealing: list[int]
    """Partitions that this worker serves and that have an heir."""
    copied: list[int]
    """Seats of the primaries of what this worker copies, growing."""
    copying: list[int]
    """Seats of those who copy, or are to copy, what this worker serves, growing."""


class Roles:
    """The role of this worker's process in each partition, and whether it holds a whole copy."""

    def __init__(self, process: Process, partitions: int) -> None:
        self.process = process
        self.role: npt.NDArray[np.int8] = np.zeros(partitions, np.int8)
        """[partitions]: NONE, PRIMARY, REPLICA or LEARNER."""
        self.whole: npt.NDArray[np.bool_] = np.zeros(partitions, np.bool_)
        """[partitions]: it holds all that the primary had sent it; what it lacks the channel brings."""
        self.spoiled: npt.NDArray[np.bool_] = np.zeros(partitions, np.bool_)
        """[partitions]: its state differs from the primary's though the histories agree: it must be made anew."""
        self.sources: npt.NDArray[np.int16] = np.full(partitions, NOBODY, np.int16)
        """[partitions]: number of the peer that is primary of what this worker copies; NOBODY elsewhere."""
        self.unproven: npt.NDArray[np.bool_] = np.zeros(partitions, np.bool_)
        """[partitions]: it copies them, and they have a new primary: which may have more than it, or less, of what the
        old one never acknowledged. It takes nothing of that one until it has the same."""
        self.awaiting: npt.NDArray[np.bool_] = np.zeros(partitions, np.bool_)
        """[partitions]: its snapshot is on its way, and what comes before it passes by."""
        self.sealed_for: dict[int, Process] = {}
        """The heir of each partition that was handed over to it with every record."""
        self.arrays = RoleArrays(self.role, self.whole, self.spoiled, self.unproven, self.awaiting, self.sources)
        """The same arrays, for kernels."""
        self.kernels = assignment_kernels(numba.typeof(self.arrays))
        self._version = 0
        self._epochs: npt.NDArray[np.uint64] = np.zeros(partitions, np.uint64)
        self._lists = np.zeros((LISTS, partitions), np.int64)

    @property
    def primary(self) -> Partitions:
        """The partitions that this worker serves."""
        return np.flatnonzero(self.role == PRIMARY)

    def obey(self, view: View) -> Change:
        """Takes the roles of a newer view."""
        first = view.version if self._version == 0 else 0
        seats = np.zeros(len(view.members), np.uint8)
        lists = self._lists
        lengths = self.kernels.take_roles(
            self.arrays,
            view.table,
            view.replicas,
            view.learners,
            view.heirs,
            view.epochs,
            self._epochs,
            seat_of(view, self.process),
            first,
            self._handed(view),
            seats,
            lists,
        )
        lost, deposed, _, learning, sealing = (lists[row, :length].tolist() for row, length in enumerate(lengths))
        led = lists[LED, : lengths[LED]].copy()
        for partition in deposed:
            self.sealed_for.pop(partition, None)
        self._version, self._epochs = view.version, view.epochs
        marks = seats.tolist()
        copied = [seat for seat, mark in enumerate(marks) if mark & COPIED]
        copying = [seat for seat, mark in enumerate(marks) if mark & COPYING]
        return Change(lost, deposed, led, learning, sealing, copied, copying)

    def _handed(self, view: View) -> npt.NDArray[np.uint8]:
        """uint8[partitions]: 1 where this worker had sealed its partition for who is its primary now."""
        handed = np.zeros(view.partitions, np.uint8)
        for partition, heir in self.sealed_for.items():
            handed[partition] = heir == process_at(view, int(view.table[partition]))
        return handed


def seat_of(view: View, process: Process) -> int:
    """Place of this very process among the members; NOBODY if another has its seat, or it has none."""
    index = view.index(process[0])
    return index if index != NOBODY and view.members[index].incarnation == process[1] else NOBODY


def process_at(view: View, index: int) -> Process | None:
    """The process on a seat; None for NOBODY."""
    return (view.members[index].name, view.members[index].incarnation) if index != NOBODY else None
