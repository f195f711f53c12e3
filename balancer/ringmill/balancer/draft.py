"""The next view while it is made: a copy of the last one in arrays that may be written.

Every change of the assignment is one of the few methods here, so that the rules of a view stand in one place: copies
come only from learners that caught up, a primary only from the copies, and an epoch changes exactly when another
process becomes the primary. None of them walks over partitions in Python: the removal of a dead worker is on the way
of every failover.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from ringmill.core.maglev import NOBODY, Table
from ringmill.core.view import Member, View

Mask = npt.NDArray[np.bool_]

_SPARE = 2
"""Columns for copies that are there only while partitions move."""


class Draft:
    """One view on its way to the next. `copies` is int32[partitions, width]: the primary, then the other copies in the
    order of succession, filled with NOBODY: which is what a view says in two arrays."""

    def __init__(self, view: View, replicas: int) -> None:
        """Begins with everything as the view has it. replicas: copies of each partition that may be needed."""
        self.before = view
        self.version = view.version + 1
        self.members = list(view.members)
        self._places = {member.name: place for place, member in enumerate(self.members)}
        width = max(view.replicas.shape[1] + 1, replicas) + _SPARE
        self.copies = np.full((view.partitions, width), NOBODY, np.int32)
        self.copies[:, 0] = view.table
        self.copies[:, 1 : view.replicas.shape[1] + 1] = view.replicas
        self.epochs = view.epochs.copy()
        self.learners = view.learners.copy()
        self.heirs = view.heirs.copy()
        self.min_in_sync = view.min_in_sync

    @property
    def table(self) -> Table:
        """int32[partitions]: index of each primary, or NOBODY."""
        return self.copies[:, 0]

    @property
    def counts(self) -> npt.NDArray[np.int64]:
        """int64[partitions]: copies, the primary included."""
        counted: npt.NDArray[np.int64] = (self.copies != NOBODY).sum(axis=1)
        return counted

    def view(self) -> View | None:
        """The next view; None if nothing has changed."""
        before = self.before
        width = max(1, int(self.counts.max(initial=1))) - 1
        replicas = self.copies[:, 1 : width + 1].copy()
        same = (
            tuple(self.members) == before.members
            and np.array_equal(self.table, before.table)
            and np.array_equal(replicas, before.replicas[:, :width])
            and bool((before.replicas[:, width:] == NOBODY).all())
            and np.array_equal(self.epochs, before.epochs)
            and np.array_equal(self.learners, before.learners)
            and np.array_equal(self.heirs, before.heirs)
            and self.min_in_sync == before.min_in_sync
        )
        if same:
            return None
        return View(
            self.version,
            before.cluster,
            tuple(self.members),
            self.table.copy(),
            self.epochs,
            replicas,
            self.learners,
            self.heirs,
            self.min_in_sync,
        )

    def flags(self, name: str) -> Mask:
        """bool[members + 1]: a field of each member; the last is False, so that NOBODY finds it."""
        return np.array([bool(getattr(member, name)) for member in self.members] + [False])

    def index(self, name: str) -> int:
        """Place of a member; NOBODY if it is none."""
        return self._places.get(name, NOBODY)

    def holds(self, index: int) -> bool:
        """Whether a member is a copy, learner or heir of anything."""
        return bool((self.copies == index).any() or (self.learners == index).any() or (self.heirs == index).any())

    # Members

    def seat(self, member: Member) -> None:
        """Puts a member in its place, or in the place of the one of its name and process."""
        index = self.index(member.name)
        if index != NOBODY:
            self.members[index] = member
            return
        names = [each.name for each in self.members] + [member.name]
        place = sorted(names).index(member.name)
        self.members.insert(place, member)
        shifted = np.arange(len(names), dtype=np.int32)
        self._renumber(shifted[shifted != place])

    def unseat(self, name: str) -> None:
        """Removes a member that is nowhere a copy any more."""
        index = self.index(name)
        self._withdraw(index)
        del self.members[index]
        places = np.arange(len(self.members) + 1, dtype=np.int32)
        self._renumber(np.where(places > index, places - 1, places))

    def _renumber(self, places: Table) -> None:
        """Names each member by its new place. places: int32[members before]."""
        self._places = {member.name: place for place, member in enumerate(self.members)}
        places = np.append(places, np.int32(NOBODY)).astype(np.int32)  # -1 finds the last
        self.copies, self.learners, self.heirs = (places[array] for array in (self.copies, self.learners, self.heirs))

    # Copies

    def fail_over(self) -> None:
        """Removes the dead everywhere. Where nobody else has a copy they stay, and nobody serves the partition."""
        alive = self.flags("alive")
        kept = alive[self.copies]
        served: Mask = np.any(kept, axis=1)
        self._keep(kept, only=served)
        self.learners[~(alive[self.learners] & alive[self.table])] = NOBODY
        self.heirs[~(alive[self.heirs] & alive[self.table])] = NOBODY
        self._mend_heirs()

    def forget(self, index: int) -> Mask:
        """A member's process is gone for ever, and its copies with it. Returns where that was the last copy."""
        kept = (self.copies != index) & (self.copies != NOBODY)
        had = (self.copies == index).any(axis=1)
        self._keep(kept, only=had)
        self._withdraw(index)
        self._mend_heirs()
        lost: Mask = had & (self.table == NOBODY)
        return lost

    def restart(self, partitions: Mask, primaries: Table) -> None:
        """Begins partitions anew, without state. primaries: int32[partitions], read where the mask says so."""
        self._lead(np.where(partitions, primaries, self.table).astype(np.int32), changed=partitions)

    def demote(self, partitions: Mask, index: int) -> None:
        """Takes a copy that is not the primary off the list; as learner, too."""
        self._keep((self.copies != index) & (self.copies != NOBODY), only=partitions & (self.table != index))
        self.learners[partitions & (self.learners == index)] = NOBODY
        self._mend_heirs()

    def demote_slots(self, partitions: npt.NDArray[np.int64], slots: npt.NDArray[np.int64]) -> None:
        """Takes one copy that is not the primary off each of these partitions. slots: columns of `copies`, from 1."""
        kept = self.copies != NOBODY
        kept[partitions, slots] = False
        only = np.zeros(len(kept), np.bool_)
        only[partitions] = True
        self._keep(kept, only)
        self._mend_heirs()

    def count(self, partition: int) -> None:
        """A learner has caught up: it is the last of the copies."""
        self.copies[partition, int((self.copies[partition] != NOBODY).sum())] = self.learners[partition]
        self.learners[partition] = NOBODY

    def succeed(self, partition: int) -> None:
        """The heir takes over; the old primary is the next after it."""
        heir = self.heirs[partition]
        row = self.copies[partition]
        others = [int(index) for index in row[1:] if index not in (heir, NOBODY)]
        order = [int(heir), int(row[0]), *others]
        self.copies[partition] = order + [NOBODY] * (len(row) - len(order))
        self.heirs[partition] = NOBODY
        self.epochs[partition] = self.version

    def _keep(self, kept: Mask, only: Mask) -> None:
        """Closes the ranks of those kept, in these partitions. kept: bool[partitions, width]."""
        rows = np.flatnonzero(only & (kept != (self.copies != NOBODY)).any(axis=1))
        if not len(rows):
            return
        mask = kept[rows]
        order = np.argsort(~mask, axis=1, kind="stable")
        ranked = np.take_along_axis(np.where(mask, self.copies[rows], NOBODY), order, axis=1)
        led = self.copies[rows, 0]
        self.copies[rows] = ranked
        self._new_epoch(rows[ranked[:, 0] != led])

    def _lead(self, primaries: Table, changed: Mask) -> None:
        self.copies[changed] = NOBODY
        self.copies[changed, 0] = primaries[changed]
        self.learners[changed] = NOBODY
        self._new_epoch(np.flatnonzero(changed))

    def _new_epoch(self, partitions: npt.NDArray[np.int64]) -> None:
        self.epochs[partitions] = self.version
        self.heirs[partitions] = NOBODY
        orphans = partitions[self.copies[partitions, 0] == NOBODY]
        self.learners[orphans] = NOBODY
        own = partitions[self.learners[partitions] == self.copies[partitions, 0]]
        self.learners[own] = NOBODY

    def _withdraw(self, index: int) -> None:
        self.learners[self.learners == index] = NOBODY
        self.heirs[self.heirs == index] = NOBODY

    def _mend_heirs(self) -> None:
        """An heir that is no copy any more is none."""
        rows = np.flatnonzero(self.heirs != NOBODY)
        gone = ~(self.copies[rows, 1:] == self.heirs[rows, None]).any(axis=1)
        self.heirs[rows[gone]] = NOBODY


def first_view(cluster: str, members: Sequence[Member], copies: Table, min_in_sync: int, version: int) -> View:
    """The view of a cluster that has just formed. copies: int32[partitions, width], the primary first."""
    return View(
        version,
        cluster,
        tuple(members),
        copies[:, 0].copy(),
        np.full(len(copies), version, np.uint64),
        copies[:, 1:].copy(),
        min_in_sync=min_in_sync,
    )
