"""What is expensive to make, kept from schedule to schedule: compiled code, engines with their tables, ledgers."""

from dataclasses import dataclass

import numpy as np

from ringmill.core.maglev import NOBODY
from ringmill.core.split import Splitter
from ringmill.engine.engine import Engine
from ringmill.engine.ledger import Ledger
from tests.sim.checker import pipeline
from tests.sim.plan import PARTITIONS

EVENTS_MAX = 64
KEYS_MAX = 64
REQUEST_BYTES_MAX = 1 << 16
PRODUCERS_MAX = 64


@dataclass(slots=True, eq=False)
class Kit:
    """What one worker needs."""

    engine: Engine
    ledger: Ledger


class Pool:
    """One a process."""

    def __init__(self) -> None:
        self.compiled = pipeline.compile(PARTITIONS)
        self.nobody = np.full(PARTITIONS, NOBODY, np.int32)
        self.splitter = Splitter(PARTITIONS, EVENTS_MAX, REQUEST_BYTES_MAX)
        self._free: list[Kit] = []

    def take(self) -> Kit:
        """A kit without any state."""
        if self._free:
            return self._free.pop()
        engine = Engine(self.compiled, events_max=EVENTS_MAX, keys_max=KEYS_MAX)
        engine.table.prepare()
        return Kit(engine, Ledger(PARTITIONS, PRODUCERS_MAX))

    def give_back(self, kit: Kit) -> None:
        """A kit that is used no more."""
        segments = kit.engine.table.arrays.segments
        for partition in range(PARTITIONS):
            if segments[partition]["count"]:
                kit.engine.table.drop(partition)
        kit.ledger.reset()
        self._free.append(kit)
