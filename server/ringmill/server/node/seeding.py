"""How copies are made: an offer, which a learner that has the same accepts as it is, or all of the partition.

From the offer on the learner gets the partition's records and is waited for; nobody but a view takes that back.
A view may name learners for all partitions at once: offers and snapshots go a few at a time, so that parts are not
held up behind them, and no learner is waited for long before its turn.
"""

import enum
from collections import deque
from collections.abc import Callable, Sequence

from ringmill.core.view import View
from ringmill.engine.ledger import Ledger
from ringmill.internal.v1.link_pb2 import Entry, ReplicateRequest, Snapshot
from ringmill.server.node.channel import Channel
from ringmill.server.node.channels import Channels
from ringmill.server.node.identity import Rules
from ringmill.server.node.roles import Process, process_at
from ringmill.server.node.store import Store


class Stage(enum.Enum):
    """How far a learner is with one partition."""

    NEW = 1
    OFFERED = 2
    LACKING = 3
    """It awaits its snapshot, which was not sent yet."""
    SENT = 4
    REFUSED = 5
    """Not before the next tick or view is it offered again."""
    CAUGHT_UP = 6


class Seed:
    """One partition on its way to its learner."""

    __slots__ = ("bytes", "counted", "learner", "number", "stage", "version")

    def __init__(self, learner: Process) -> None:
        self.learner = learner
        self.stage = Stage.NEW
        self.number = 0
        """Of the offer or snapshot that awaits its verdict."""
        self.version = 0
        """View that the offer was made under, or that has left all as it was: a new manager believes no older one."""
        self.counted = False
        self.bytes = 0


class _Line:
    """What one learner is to have, and has on its way."""

    __slots__ = ("bytes", "fresh", "lacking", "sent", "underway")

    def __init__(self) -> None:
        self.fresh: deque[int] = deque()
        """Partitions to be offered."""
        self.lacking: deque[int] = deque()
        """Partitions whose snapshot is to be sent."""
        self.underway = 0
        """Partitions that were offered and have not caught up."""
        self.sent = 0
        self.bytes = 0


class Seeding:
    """All learners of this worker's partitions. Used by one thread."""

    def __init__(
        self,
        ledger: Ledger,
        store: Store,
        channels: Channels,
        rules: Rules,
        caught_up: Callable[[int, Seed], None],
    ) -> None:
        """caught_up: hears of each partition whose learner may be counted as a copy."""
        self.sent = 0
        """Snapshots that learners took."""
        self._ledger = ledger
        self._store = store
        self._channels = channels
        self._rules = rules
        self._caught_up = caught_up
        self._version = 0
        self._seeds: dict[int, Seed] = {}
        self._asked: dict[tuple[str, int], int] = {}
        self._lines: dict[str, _Line] | None = None
        """By the learner's name; None: to be drawn up anew."""

    def obey(self, view: View, learning: Sequence[int]) -> dict[int, Process]:
        """Takes the learners of a newer view; returns those that get their partition's records.

        learning: this worker's partitions that have a learner. If a view was missed, a learner may have been dropped
        and set anew since: it is offered its partition again.
        """
        missed, self._version = view.version != self._version + 1, view.version
        seeds: dict[int, Seed] = {}
        for partition in learning:
            learner = process_at(view, int(view.learners[partition]))
            assert learner is not None
            seed = self._seeds.get(partition)
            if seed is None or seed.learner != learner:
                seed = Seed(learner)
            elif missed or seed.stage is Stage.REFUSED:
                seed.stage = Stage.NEW
            else:
                seed.version = view.version
            seeds[partition] = seed
        if self._seeds and not seeds:
            self._store.rest()
        self._seeds, self._lines = seeds, None
        self._asked = {
            (seed.learner[0], seed.number): partition
            for partition, seed in seeds.items()
            if seed.stage in (Stage.OFFERED, Stage.SENT)
        }
        return {partition: seed.learner for partition, seed in seeds.items() if seed.counted}

    def learner_of(self, partition: int) -> Process | None:
        """Whom a partition is being copied to."""
        seed = self._seeds.get(partition)
        return seed.learner if seed is not None else None

    def pump(self, now_ns: int) -> None:
        """Makes offers and sends snapshots, as many as may be on their way."""
        if not self._seeds:
            return
        if self._lines is None:
            self._lines = self._line_up()
        for name, line in self._lines.items():
            channel = self._channels.get(name)
            if channel is not None and channel.up:  # one that cannot be reached must hold nobody up
                self._offer_some(channel, line, now_ns)
                self._send_some(channel, line, now_ns)

    def _line_up(self) -> dict[str, _Line]:
        lines: dict[str, _Line] = {}
        for partition, seed in self._seeds.items():
            line = lines.setdefault(seed.learner[0], _Line())
            if seed.stage is Stage.NEW:
                line.fresh.append(partition)
            elif seed.stage is Stage.LACKING:
                line.lacking.append(partition)
            elif seed.stage is Stage.SENT:
                line.sent, line.bytes = line.sent + 1, line.bytes + seed.bytes
            line.underway += seed.stage in (Stage.OFFERED, Stage.LACKING, Stage.SENT)
        return lines

    def retry(self) -> None:
        """Offers again what was refused."""
        for seed in self._seeds.values():
            if seed.stage is Stage.REFUSED:
                seed.stage, self._lines = Stage.NEW, None

    def verdict(self, channel: Channel, number: int, missing: bool) -> None:
        """Hears what a learner found of an offer or a snapshot."""
        partition = self._asked.pop((channel.name, number), None)
        if partition is None:
            return
        seed = self._seeds[partition]
        line = self._lines[channel.name] if self._lines is not None else _Line()
        if missing and seed.stage is Stage.OFFERED:
            seed.stage = Stage.LACKING
            line.lacking.append(partition)
            return
        if missing:  # a snapshot that could not be taken is tried again with the next offer, no sooner
            seed.stage, self._lines = Stage.REFUSED, None
            return
        if seed.stage is Stage.SENT:
            self.sent += 1
            line.sent, line.bytes = line.sent - 1, line.bytes - seed.bytes
        line.underway -= 1
        seed.stage = Stage.CAUGHT_UP
        self._caught_up(partition, seed)

    def refused(self, channel: Channel, number: int) -> None:
        """Hears that a learner took neither offer nor snapshot: its view differs."""
        partition = self._asked.pop((channel.name, number), None)
        if partition is not None:
            self._seeds[partition].stage, self._lines = Stage.REFUSED, None

    def missed(self, partition: int) -> None:
        """Hears that the learner refused a record of the partition: it begins anew."""
        seed = self._seeds.get(partition)
        if seed is not None and seed.stage in (Stage.CAUGHT_UP, Stage.LACKING):
            seed.stage, self._lines = Stage.REFUSED, None

    def _offer_some(self, channel: Channel, line: _Line, now_ns: int) -> None:
        while line.fresh and line.underway < self._rules.seeding_offers:
            partition = line.fresh.popleft()
            line.underway += 1
            self._offer(channel, partition, self._seeds[partition], now_ns)

    def _offer(self, channel: Channel, partition: int, seed: Seed, now_ns: int) -> None:
        if not seed.counted:
            seed.counted = True
            self._channels.count(partition, channel)
        index, digest = int(self._ledger.index[partition]), int(self._ledger.digest[partition])
        seed.version = self._version
        offer = Snapshot(partition=partition, index=index, digest=digest, offer=True)
        self._ask(channel, partition, seed, offer, now_ns)
        seed.stage = Stage.OFFERED

    def _send_some(self, channel: Channel, line: _Line, now_ns: int) -> None:
        rules = self._rules
        burst = burst_bytes = 0
        while (
            line.lacking
            and line.sent < rules.seeding_partitions
            and line.bytes < rules.seeding_bytes
            and burst < rules.seeding_burst
            and burst_bytes < rules.seeding_burst_bytes
        ):
            partition = line.lacking.popleft()
            seed = self._seeds[partition]
            seed.bytes = self._ask(channel, partition, seed, self._store.export(partition), now_ns)
            seed.stage = Stage.SENT
            burst, burst_bytes = burst + 1, burst_bytes + seed.bytes
            line.sent, line.bytes = line.sent + 1, line.bytes + seed.bytes

    def _ask(self, channel: Channel, partition: int, seed: Seed, snapshot: Snapshot, now_ns: int) -> int:
        seed.number = channel.next_number
        self._asked[channel.name, seed.number] = partition
        entry = Entry(id=seed.number, version=self._version, snapshot=snapshot)
        encoded = ReplicateRequest(entries=[entry]).SerializeToString()
        channel.put(encoded, b"", None, 0, now_ns)
        return len(encoded)
