"""What a copy does with a primary's records: the same kernels on the same bytes, or a refusal."""

from collections.abc import Sequence
from contextlib import suppress
from typing import NamedTuple

import numpy as np

from ringmill.core.errors import Code, RingmillError
from ringmill.core.frame import PartEntry
from ringmill.core.memory import Bytes
from ringmill.engine.ledger import NOBODY, Ledger
from ringmill.engine.ledger_arrays import ADMIT, ADMITTED, CORRUPT, FULL, REFUSED
from ringmill.engine.outcomes import Outcomes
from ringmill.internal.v1.link_pb2 import Audit, Open, Snapshot
from ringmill.server.lane import Lane
from ringmill.server.node.effects import UnfitError
from ringmill.server.node.roles import LEARNER, REPLICA, Roles
from ringmill.server.node.store import Store, open_session


class Applied(NamedTuple):
    """What became of a record."""

    outcomes: int
    """Digest of what it led to here."""
    refused: list[int]
    """Partitions in which it was not applied, though it should have been."""
    whole: bool
    """Whether all of it was applied."""


class Copying:
    """The copies that this worker holds. Used by one thread."""

    def __init__(self, lanes: Sequence[Lane], ledger: Ledger, outcomes: Outcomes, store: Store, roles: Roles) -> None:
        self._lanes = lanes
        self._ledger = ledger
        self._outcomes = outcomes
        self._store = store
        self._roles = roles

    def apply(self, buffer: Bytes, part: PartEntry, source: int) -> Applied:
        """Applies a part that the peer of this number admitted.

        Raises RingmillError INTERNAL for a record that no primary would send, UnfitError if applying failed half-way.
        """
        if part.pipeline >= len(self._lanes):
            raise RingmillError(Code.INTERNAL, f"a record for pipeline {part.pipeline}, which is not served")
        lane, ledger = self._lanes[part.pipeline], self._ledger
        engine = lane.engine
        count, _ = engine.decode(buffer, part.start, part.stop)
        if count < 0:
            raise RingmillError(Code.INTERNAL, f"record {part.id} holds no request that a primary would take")
        columns = engine.columns
        judged = ledger.examine(columns, count, buffer, part, source)
        if judged.status == CORRUPT:
            raise RingmillError(Code.INTERNAL, f"record {part.id} contradicts itself")
        if judged.status not in (ADMITTED, ADMIT):  # this copy is not what its primary takes it for
            touched = ledger.arrays.touched["partition"][: judged.touched]
            if judged.status == FULL:  # nothing was looked at
                touched = np.unique(columns.events["partition"][:count])
            return Applied(0, touched[ledger.held[touched] == 0].tolist(), whole=False)
        if judged.known:
            self._recall(part)
        try:
            if judged.status == ADMIT:
                ledger.admit(columns, count, part)
            engine.apply(buffer, count)
            settled = ledger.settle(columns, count)
            if judged.fresh:
                self._outcomes.keep_columns(part, settled.record, columns, count)
        except Exception as error:
            raise UnfitError(f"record {part.id} could not be applied: {error!r}") from error
        refused = ledger.listed(REFUSED) if judged.refused else []
        return Applied(settled.outcomes, refused, whole=not judged.refused and not judged.skipped)

    def _recall(self, part: PartEntry) -> None:
        """Tells what was applied before from what never was, so that each is counted as at the primary."""
        with suppress(RingmillError):  # it is other content than is kept here: the primary keeps nothing of it
            self._outcomes.recall(self._ledger, part)

    def open(self, opening: Open, source: int, version: int) -> list[int]:
        """Opens a producer's stream in the partitions that the peer is primary of.

        Returns those in which it could not: the primary has opened it there.
        """
        ledger, roles = self._ledger, self._roles
        opened = open_session(ledger, self._outcomes, opening, source, version)
        failed = (roles.role == REPLICA) & (roles.sources == source) & (ledger.sources != source)
        if opened.code != Code.OK:
            failed |= (ledger.sources == source) & (ledger.held == 0)
        return np.flatnonzero(failed & (ledger.epochs <= version)).tolist()

    def succeed(self, audit: Audit, source: int, version: int) -> list[int]:
        """Hears what a new primary has of the partitions that it took over.

        From here on its records are taken where this copy has the same. Returns where it has not: in these it refuses
        them until a snapshot comes. Raises RingmillError INTERNAL for what no primary would send.
        """
        roles, ledger = self._roles, self._ledger
        partitions = np.array(audit.partitions, np.int64)
        lengths = {len(partitions), len(audit.indexes), len(audit.digests)}
        if len(lengths) > 1 or (partitions >= ledger.partitions).any():
            raise RingmillError(Code.INTERNAL, "a succession contradicts itself")
        mine = (roles.role[partitions] == REPLICA) & (roles.sources[partitions] == source)
        mine &= ledger.epochs[partitions] <= version
        same = mine & roles.whole[partitions] & ~roles.spoiled[partitions]
        same &= ledger.index[partitions] == np.array(audit.indexes, np.uint64)
        same &= ledger.digest[partitions] == np.array(audit.digests, np.uint64)
        roles.unproven[partitions[mine]] = ~same[mine]
        ledger.sources[partitions[mine]] = np.where(same[mine], source, NOBODY)
        differ: list[int] = partitions[mine & ~same].tolist()
        return differ

    def snapshot(self, snapshot: Snapshot, source: int, version: int) -> list[int] | None:
        """Takes an offer, or all of a partition: the partitions that are still missing, or None: refused.

        To accept is to obey the view that it was made under, which has come before.
        """
        partition, roles = snapshot.partition, self._roles
        if not self._is_from(partition, source, version):
            return None
        if not snapshot.offer:
            if roles.role[partition] == LEARNER:
                return self._restore(snapshot, source)
            return self._mend(snapshot, source) if roles.unproven[partition] else None
        same = not roles.spoiled[partition] and self._has(partition, snapshot.index, snapshot.digest)
        if roles.role[partition] == REPLICA:
            return [] if same and roles.whole[partition] and not roles.unproven[partition] else None
        self._mark(partition, source, same)
        return [] if same else [partition]

    def _restore(self, snapshot: Snapshot, source: int) -> list[int]:
        partition = snapshot.partition
        try:
            self._store.restore(snapshot)
        except (RingmillError, ValueError):
            self._mark(partition, source, False)
            return [partition]
        self._roles.spoiled[partition] = False
        self._mark(partition, source, True)
        return []

    def _mend(self, snapshot: Snapshot, source: int) -> list[int]:
        """Takes what a new primary has in the place of what this copy has. If it cannot, that stays: it holds all that
        was ever acknowledged, and may be the last that does."""
        partition = snapshot.partition
        own = self._store.export(partition)
        try:
            self._store.restore(snapshot)
        except (RingmillError, ValueError):
            self._put_back(own)
            return [partition]
        self._roles.unproven[partition] = self._roles.spoiled[partition] = False
        self._mark(partition, source, True)
        if not self._roles.unproven.any():
            self._store.rest()
        return []

    def _put_back(self, own: Snapshot) -> None:
        """Takes its own again. Without it this copy would be empty, and count as whole: then better none."""
        try:
            self._store.restore(own)
        except Exception as error:
            raise UnfitError(f"partition {own.partition} could not be kept: {error!r}") from error

    def _mark(self, partition: int, source: int, whole: bool) -> None:
        """From here on records are applied if the copy is whole, and pass by if it awaits its snapshot."""
        self._roles.whole[partition] = whole
        self._roles.awaiting[partition] = not whole
        self._ledger.sources[partition] = source
        self._ledger.held[partition] = not whole

    def audit(self, audit: Audit, source: int, version: int) -> list[int]:
        """Compares histories, and one partition's state: the partitions that differ."""
        compared = zip(audit.partitions, audit.indexes, audit.digests, strict=False)
        heard = [each for each in compared if self._copies(each[0], source, version)]
        differ = [partition for partition, index, digest in heard if not self._has(partition, index, digest)]
        first = audit.partitions[0] if audit.partitions else -1
        asked = audit.state and heard and heard[0][0] == first and first not in differ
        if asked and self._store.state_digest(first) != audit.state:
            self._roles.spoiled[first] = True
            differ.append(first)
        return differ

    def _has(self, partition: int, index: int, digest: int) -> bool:
        ledger = self._ledger
        return int(ledger.index[partition]) == index and int(ledger.digest[partition]) == digest

    def _is_from(self, partition: int, source: int, version: int) -> bool:
        """Whether this worker copies, or is to copy, the partition from that peer, under a view as new."""
        if not 0 <= partition < self._ledger.partitions or self._roles.role[partition] not in (REPLICA, LEARNER):
            return False
        return int(self._roles.sources[partition]) == source and int(self._ledger.epochs[partition]) <= version

    def _copies(self, partition: int, source: int, version: int) -> bool:
        roles = self._roles
        return self._is_from(partition, source, version) and bool(roles.whole[partition] & ~roles.unproven[partition])
