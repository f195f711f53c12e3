"""Comparing copies: a channel's outcomes with each acknowledgement, and one partition's state now and then."""

from collections.abc import Callable

import numpy as np

from ringmill.engine.ledger import Ledger
from ringmill.internal.v1.link_pb2 import Audit, Entry, ReplicateRequest
from ringmill.server.node.channel import Channel
from ringmill.server.node.channels import Channels
from ringmill.server.node.identity import Rules
from ringmill.server.node.roles import PRIMARY, Roles
from ringmill.server.node.store import Store


class Auditor:
    """The audits of this worker's partitions. Used by one thread."""

    def __init__(
        self,
        ledger: Ledger,
        store: Store,
        roles: Roles,
        channels: Channels,
        rules: Rules,
        differs: Callable[[int, Channel], None],
    ) -> None:
        """differs: hears of each partition that a copy holds otherwise."""
        self.version = 0
        """Of the view that is obeyed."""
        self.audited = 0
        """Partitions whose state was compared."""
        self.differed = 0
        """Partitions that differed."""
        self._ledger = ledger
        self._store = store
        self._roles = roles
        self._channels = channels
        self._rules = rules
        self._differs = differs
        self._asked: dict[tuple[str, int], int] = {}
        self._next = 0
        self._audited_ns = 0

    def compare(self, channel: Channel, now_ns: int) -> None:
        """Asks which partitions of a channel differ: its outcomes did."""
        ledger = self._ledger
        partitions = np.flatnonzero((ledger.channels & np.uint64(channel.bit)) != 0)
        audit = Audit(
            partitions=partitions.tolist(),
            indexes=ledger.index[partitions].tolist(),
            digests=ledger.digest[partitions].tolist(),
        )
        self._ask(channel, audit, 0, now_ns)

    def tick(self, now_ns: int) -> None:
        """Compares the state of the next partition that has a copy, if it is time."""
        every_ns = self._rules.audit_ns
        if not every_ns or now_ns - self._audited_ns < every_ns:
            return
        self._audited_ns = now_ns
        own = np.flatnonzero((self._roles.role == PRIMARY) & (self._ledger.channels != 0))
        if not own.size:
            return
        partition = int(own[np.searchsorted(own, self._next) % own.size])
        self._next = partition + 1
        if self._store.state_bytes(partition) > self._rules.audit_bytes_max:
            return
        state = 0
        for channel in self._channels.of(int(self._ledger.channels[partition])):
            if not channel.up or channel.held:
                continue
            state = state or self._store.state_digest(partition)
            index, digest = int(self._ledger.index[partition]), int(self._ledger.digest[partition])
            audit = Audit(partitions=[partition], indexes=[index], digests=[digest], state=state)
            self._ask(channel, audit, 1, now_ns)

    def verdict(self, channel: Channel, number: int, missing: list[int]) -> None:
        """Hears which partitions differ."""
        states = self._asked.pop((channel.name, number), None)
        if states is None:
            return
        self.audited += states
        for partition in missing:
            if 0 <= partition < self._ledger.partitions and self._channels.carries(channel, partition):
                self.differed += 1
                self._differs(partition, channel)

    def acknowledged(self, channel: Channel, number: int) -> None:
        """A stream was welcomed with all that differs up to this record: what was asked before and has no verdict by
        now was found the same, and that was lost with the stream before."""
        for key in [key for key in self._asked if key[0] == channel.name and key[1] <= number]:
            self.audited += self._asked.pop(key)

    def forget(self, channel: Channel) -> None:
        """A channel is no more."""
        self._asked = {key: states for key, states in self._asked.items() if key[0] != channel.name}

    def _ask(self, channel: Channel, audit: Audit, states: int, now_ns: int) -> None:
        self._asked[channel.name, channel.next_number] = states
        entry = Entry(id=channel.next_number, version=self.version, audit=audit)
        channel.put(ReplicateRequest(entries=[entry]).SerializeToString(), b"", None, 0, now_ns)
        channel.recount()
