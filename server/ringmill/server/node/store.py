"""All that a worker keeps of a partition, over its pipelines: state, labels, history and recorded outcomes."""

from collections.abc import Iterable, Sequence

from ringmill.core.errors import RingmillError
from ringmill.core.hashing import xxh64
from ringmill.engine.engine import Engine
from ringmill.engine.ledger import OWN, Ledger, OpenResult
from ringmill.engine.outcomes import Outcomes
from ringmill.internal.v1.link_pb2 import Open, Snapshot
from ringmill.server.lane import Lane


class Store:
    """The partitions of one worker."""

    def __init__(self, lanes: Sequence[Lane], ledger: Ledger, outcomes: Outcomes) -> None:
        self._engines: list[Engine] = [lane.engine for lane in lanes]
        self._ledger = ledger
        self._outcomes = outcomes
        xxh64(b"")  # compiles it, or loads it: a sealed process cannot
        for engine in self._engines:
            engine.table.prepare()
            if _keeps_labels(engine):
                engine.labels.prepare()

    def export(self, partition: int) -> Snapshot:
        """The whole partition, for a copy that is to be made of it."""
        recorded = self._outcomes.export(partition, self._ledger.producers(partition))
        return Snapshot(
            partition=partition,
            index=int(self._ledger.index[partition]),
            digest=int(self._ledger.digest[partition]),
            ledger=self._ledger.export(partition, recorded),
            tables=[engine.table.export(partition) for engine in self._engines],
            labels=[engine.labels.export(partition) if _keeps_labels(engine) else b"" for engine in self._engines],
        )

    def rest(self) -> None:
        """No more partitions are exported for a while."""
        self._outcomes.rest()

    def restore(self, snapshot: Snapshot) -> None:
        """Puts a snapshot in the place of what there was.

        Raises RingmillError where it is damaged, of other pipelines, or too large; then the partition is empty.
        """
        partition = snapshot.partition
        self.drop([partition])
        try:
            recorded = self._ledger.restore(partition, snapshot.ledger)
            self._outcomes.restore(partition, recorded)
            for engine, table, labels in zip(self._engines, snapshot.tables, snapshot.labels, strict=True):
                engine.table.restore(partition, table)
                if _keeps_labels(engine):
                    engine.labels.restore(partition, labels)
        except (RingmillError, ValueError):
            self.drop([partition])
            raise

    def drop(self, partitions: Iterable[int]) -> None:
        """Forgets partitions and gives their memory back."""
        for partition in partitions:
            self._ledger.drop(partition)
            self._outcomes.drop(partition)
            for engine in self._engines:
                engine.table.drop(partition)
                if _keeps_labels(engine):
                    engine.labels.drop(partition)
        forget(self._ledger, self._outcomes)

    def state_bytes(self, partition: int) -> int:
        """Roughly the bytes that an export of the partition's state has."""
        total = 0
        for engine in self._engines:
            segment = engine.table.arrays.segments[partition]
            total += int(segment["count"]) * engine.table.rows.itemsize + int(segment["used"])
        return total

    def state_digest(self, partition: int) -> int:
        """xxh64 of the partition's state and labels, never 0: equal for equal histories."""
        parts = [engine.table.export(partition) for engine in self._engines]
        parts += [engine.labels.export(partition) for engine in self._engines if _keeps_labels(engine)]
        return xxh64(b"".join(parts)) or 1


def open_session(ledger: Ledger, outcomes: Outcomes, opening: Open, source: int = OWN, version: int = 0) -> OpenResult:
    """Opens a producer's stream in all partitions of a source, and forgets what it says is to be forgotten."""
    opened = ledger.open(
        opening.producer,
        opening.session,
        opening.fence,
        opening.floor,
        opening.forget,
        source,
        version,
        opening.unforgotten,
    )
    forget(ledger, outcomes)
    return opened


def forget(ledger: Ledger, outcomes: Outcomes) -> None:
    """Drops the outcomes of producers that no partition knows any more."""
    for producer in ledger.forgotten:
        outcomes.forget(producer)
    ledger.forgotten.clear()


def _keeps_labels(engine: Engine) -> bool:
    """Whether partitions remember labels: only a pipeline that returns some needs them."""
    return engine.labels.arrays.segments.size > engine.compiled.partitions
