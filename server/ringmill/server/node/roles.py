"""Whose partitions are whose: what a view makes of this worker, and what it has to forget."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ringmill.core.maglev import NOBODY
from ringmill.core.view import View

Partitions = npt.NDArray[np.int64]
"""Numbers of partitions, growing."""

Process = tuple[str, int]
"""Name and incarnation of a worker's process."""

NONE = 0
PRIMARY = 1
REPLICA = 2
LEARNER = 3

_NOTHING: Partitions = np.empty(0, np.int64)


@dataclass(frozen=True, slots=True)
class Change:
    """What one view changed for this worker."""

    lost: Partitions
    """Partitions whose state and history must be forgotten."""
    deposed: Partitions
    """Partitions that another process serves now."""
    led: Partitions
    """Partitions that this worker has begun to serve."""


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
        self._version = 0
        self._epochs: npt.NDArray[np.uint64] = np.zeros(partitions, np.uint64)

    @property
    def primary(self) -> Partitions:
        """The partitions that this worker serves."""
        return np.flatnonzero(self.role == PRIMARY)

    def obey(self, view: View) -> Change:
        """Takes the roles of a newer view."""
        me = seat_of(view, self.process)
        before, role = self.role, _roles_in(view, me)
        kept = self._kept(view, before, role)
        had = (before != NONE) | self.whole
        lost = np.flatnonzero(had & ~kept)
        # A learner proves with each offer that it holds what the primary has: only a primary of its own makes it whole.
        whole = self.whole & kept & ((role != LEARNER) | ((before == LEARNER) & (self._epochs == view.epochs)))
        whole |= role == PRIMARY
        changed = self._epochs != view.epochs
        self.unproven = (self.unproven | changed) & (role == REPLICA)
        if self._version == 0:
            # The first view of a cluster: every partition begins empty, and every copy of it with it.
            first = view.epochs == view.version
            whole |= (role == REPLICA) & first
            self.unproven &= ~first
        self.awaiting &= (role == LEARNER) & (before == LEARNER) & (self._epochs == view.epochs) & ~whole
        self.spoiled &= kept & ((role == REPLICA) | (role == LEARNER))
        deposed = np.flatnonzero((before == PRIMARY) & (role != PRIMARY))
        for partition in deposed.tolist():
            self.sealed_for.pop(partition, None)
        self.role, self.whole = role, whole
        self._version, self._epochs = view.version, view.epochs
        return Change(lost, deposed, np.flatnonzero((role == PRIMARY) & changed))

    def _kept(self, view: View, before: npt.NDArray[np.int8], role: npt.NDArray[np.int8]) -> npt.NDArray[np.bool_]:
        """bool[partitions]: what this worker holds of it may be of use.

        A primary that another process followed may hold what was never acknowledged: it keeps a partition only if it
        had sealed it for that process.
        """
        kept: npt.NDArray[np.bool_] = role != NONE
        for partition in np.flatnonzero((before == PRIMARY) & kept & (role != PRIMARY)).tolist():
            heir = self.sealed_for.get(partition)
            kept[partition] = role[partition] == REPLICA and heir == process_at(view, int(view.table[partition]))
        kept &= (role != PRIMARY) | self.whole | (before == NONE)
        return kept


def _roles_in(view: View, me: int) -> npt.NDArray[np.int8]:
    role = np.zeros(view.partitions, np.int8)
    if me != NOBODY:
        role[view.learners == me] = LEARNER
        role[view.copied_by(me)] = REPLICA
        role[view.table == me] = PRIMARY
    return role


def seat_of(view: View, process: Process) -> int:
    """Place of this very process among the members; NOBODY if another has its seat, or it has none."""
    index = view.index(process[0])
    return index if index != NOBODY and view.members[index].incarnation == process[1] else NOBODY


def process_at(view: View, index: int) -> Process | None:
    """The process on a seat; None for NOBODY."""
    return (view.members[index].name, view.members[index].incarnation) if index != NOBODY else None
