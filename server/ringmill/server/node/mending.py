"""What a new primary does for the copies that it finds: it tells them its histories, and mends those that differ.

The old primary may have died between sending a record to one copy and to the next: such records were acknowledged to
nobody, and yet one copy has them. Until the copies are equal again each of them holds all that was ever acknowledged,
and may be the next primary, should this one die, too. So a copy stays a copy while it is mended, and what it has not
got is acknowledged to nobody; the view need not change for it. If it takes too long, the copy is given up.
"""

from collections.abc import Callable

import numpy as np

from ringmill.core.view import View
from ringmill.engine.ledger import Ledger
from ringmill.internal.v1.link_pb2 import Audit, Entry, ReplicateRequest
from ringmill.server.node.channel import Channel
from ringmill.server.node.channels import Channels
from ringmill.server.node.identity import Rules
from ringmill.server.node.roles import PRIMARY, Partitions, Process, Roles
from ringmill.server.node.store import Store


class Mend:
    """One partition that differs at one copy."""

    __slots__ = ("begun_ns", "bytes", "copy", "given_up", "is_sent", "partition")

    def __init__(self, copy: Process, partition: int, begun_ns: int) -> None:
        self.copy = copy
        self.partition = partition
        self.begun_ns = begun_ns
        self.is_sent = False
        """Whether its snapshot is on its way."""
        self.bytes = 0
        self.given_up = False
        """Whether it took too long, and was reported."""


class Mending:
    """All copies of the partitions that this worker has taken over. Used by one thread."""

    def __init__(
        self,
        ledger: Ledger,
        store: Store,
        roles: Roles,
        channels: Channels,
        rules: Rules,
        mended: Callable[[int, Channel, int], None],
        differs: Callable[[int, Channel], None],
    ) -> None:
        """mended: hears of each partition that a copy took, and by which record. differs: of each that is given up."""
        self._ledger = ledger
        self._store = store
        self._roles = roles
        self._channels = channels
        self._rules = rules
        self._mended = mended
        self._differs = differs
        self._version = 0
        self._told: set[tuple[str, int]] = set()
        """Histories that were told, by channel and record."""
        self._sent: dict[tuple[str, int], Mend] = {}
        """Snapshots on their way, by channel and record."""
        self._mends: dict[tuple[str, int], Mend] = {}
        """All that differs, by channel and partition."""

    def obey(self, view: View, led: Partitions, now_ns: int) -> None:
        """Tells the copies of what this worker has begun to serve what it has of it."""
        self._version = view.version
        taken = set(led.tolist())
        for key, mend in list(self._mends.items()):
            if mend.partition in taken or not self._is_owed(mend):
                self._remove(key)
        for channel in self._channels:
            partitions = led[(self._ledger.channels[led] & np.uint64(channel.bit)) != 0]
            if partitions.size:
                self._tell(channel, partitions, now_ns)

    def is_under_way(self, channel: Channel, partition: int) -> bool:
        """Whether a copy differs, and is being mended."""
        return (channel.name, partition) in self._mends

    def forget(self, channel: Channel) -> None:
        """A channel is no more."""
        self._told = {key for key in self._told if key[0] != channel.name}
        self._sent = {key: mend for key, mend in self._sent.items() if key[0] != channel.name}

    def verdict(self, channel: Channel, number: int, missing: list[int], now_ns: int) -> None:
        """Hears in which partitions a copy differs, or whether it took a snapshot."""
        key = (channel.name, number)
        if key in self._told:
            self._told.remove(key)
            for partition in missing:
                if 0 <= partition < self._ledger.partitions:
                    mend = Mend(channel.copy, partition, now_ns)
                    if self._is_owed(mend):
                        self._mends[channel.name, partition] = mend
            return
        mended = self._end(channel, number)
        if mended is None:
            return
        if missing:
            self._differs(mended.partition, channel)
        else:
            self._mended(mended.partition, channel, number)

    def refused(self, channel: Channel, number: int) -> None:
        """Hears that a copy did not take a snapshot: its view differs."""
        mend = self._end(channel, number)
        if mend is not None:
            self._differs(mend.partition, channel)

    def _end(self, channel: Channel, number: int) -> Mend | None:
        """What the snapshot of this number was for, if that is still wanted: it is over, whatever came of it."""
        mend = self._sent.pop((channel.name, number), None)
        if mend is None or self._mends.get((channel.name, mend.partition)) is not mend:
            return None
        self._remove((channel.name, mend.partition))
        return mend

    def _remove(self, key: tuple[str, int]) -> None:
        del self._mends[key]
        if not self._mends:
            self._store.rest()

    def pump(self, now_ns: int) -> None:
        """Sends as many snapshots as may be on their way, and gives up what took too long."""
        if not self._mends:
            return
        rules = self._rules
        for channel in self._channels:
            mends = [mend for mend in self._mends.values() if mend.copy == channel.copy]
            if channel.up and mends:
                self._send_some(channel, mends, now_ns)
        for mend in self._mends.values():
            if not mend.given_up and now_ns - mend.begun_ns >= rules.mending_ns:
                mend.given_up = True
                channel_of = self._channels.get(mend.copy[0])
                if channel_of is not None:
                    self._differs(mend.partition, channel_of)

    def _is_owed(self, mend: Mend) -> bool:
        """Whether the copy is still one of a partition of this worker."""
        channel = self._channels.get(mend.copy[0])
        if channel is None or channel.copy != mend.copy or self._roles.role[mend.partition] != PRIMARY:
            return False
        return self._channels.carries(channel, mend.partition)

    def _tell(self, channel: Channel, partitions: Partitions, now_ns: int) -> None:
        self._told.add((channel.name, channel.next_number))
        audit = Audit(
            partitions=partitions.tolist(),
            indexes=self._ledger.index[partitions].tolist(),
            digests=self._ledger.digest[partitions].tolist(),
            succession=True,
        )
        self._put(channel, Entry(id=channel.next_number, version=self._version, audit=audit), now_ns)
        channel.recount()

    def _send_some(self, channel: Channel, mends: list[Mend], now_ns: int) -> None:
        rules = self._rules
        sending = [mend for mend in mends if mend.is_sent]
        sizes, many = sum(mend.bytes for mend in sending), len(sending)
        burst = burst_bytes = 0
        for mend in mends:
            if mend.is_sent:
                continue
            if many >= rules.seeding_partitions or sizes >= rules.seeding_bytes:
                return
            if burst >= rules.seeding_burst or burst_bytes >= rules.seeding_burst_bytes:
                return
            mend.is_sent = True
            self._sent[channel.name, channel.next_number] = mend
            snapshot = self._store.export(mend.partition)
            entry = Entry(id=channel.next_number, version=self._version, snapshot=snapshot)
            mend.bytes = self._put(channel, entry, now_ns)
            burst, burst_bytes = burst + 1, burst_bytes + mend.bytes
            sizes += mend.bytes
            many += 1

    def _put(self, channel: Channel, entry: Entry, now_ns: int) -> int:
        encoded = ReplicateRequest(entries=[entry]).SerializeToString()
        channel.put(encoded, b"", None, 0, now_ns)
        return len(encoded)
