"""The channels of a worker to all who copy its partitions, and what of a part goes to which."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from ringmill.core.maglev import NOBODY, Table
from ringmill.core.view import Member, View
from ringmill.engine.ledger import Ledger
from ringmill.server.node.channel import Channel
from ringmill.server.node.effects import Dial, Effect, Hangup, UnfitError
from ringmill.server.node.roles import PRIMARY, Process, Roles

CHANNELS_MAX = 64
"""Each has a bit of a word in the ledger."""


class Channels:
    """Makes and drops channels as views say. Used by one thread."""

    def __init__(self, ledger: Ledger, roles: Roles, effects: list[Effect]) -> None:
        self._ledger = ledger
        self._roles = roles
        self._effects = effects
        self._by_name: dict[str, Channel] = {}
        self._by_mask: dict[int, tuple[Channel, ...]] = {}
        self._selections: dict[int, tuple[npt.NDArray[np.uint8], Table]] = {}

    def __iter__(self) -> Iterator[Channel]:
        return iter(list(self._by_name.values()))

    def get(self, name: str) -> Channel | None:
        """The channel to the worker of this name."""
        return self._by_name.get(name)

    def of(self, mask: int) -> tuple[Channel, ...]:
        """The channels whose bits are set, the lowest first."""
        found = self._by_mask.get(mask)
        if found is None:
            chosen = (channel for channel in self._by_name.values() if channel.bit & mask)
            found = self._by_mask[mask] = tuple(sorted(chosen, key=lambda channel: channel.bit))
        return found

    def used(self) -> tuple[Channel, ...]:
        """The channels that any partition's records go to."""
        return self.of(int(np.bitwise_or.reduce(self._ledger.channels)))

    def carries(self, channel: Channel, partition: int) -> bool:
        """Whether a partition's records go to this channel."""
        return bool(int(self._ledger.channels[partition]) & channel.bit)

    def selection(self, channel: Channel) -> tuple[npt.NDArray[np.uint8], Table]:
        """The partitions of a channel: uint8[partitions], and as a table in which all of them are worker 0's."""
        found = self._selections.get(channel.bit)
        if found is None:
            select = (self._ledger.channels & np.uint64(channel.bit)) != 0
            table = np.where(select, 0, NOBODY).astype(np.int32)
            found = self._selections[channel.bit] = (select.astype(np.uint8), table)
        return found

    def count(self, partition: int, channel: Channel) -> None:
        """From here on a learner gets the partition's records and is waited for."""
        self._ledger.channels[partition] |= np.uint64(channel.bit)
        self._selections.clear()

    def obey(self, view: View, counted: dict[int, Process]) -> list[Channel]:
        """Dials who copies this worker's partitions now, and hangs up on all others: returns these.

        counted: learners that get the records of their partitions.
        """
        own = self._roles.role == PRIMARY
        copies = np.where(own[:, None], view.replicas, NOBODY)
        learners = np.where(own, view.learners, NOBODY)
        seats = [seat for seat in np.union1d(copies, learners).tolist() if seat != NOBODY]
        wanted = {(view.members[seat].name, view.members[seat].incarnation) for seat in seats}
        dropped = [channel for channel in self if channel.copy not in wanted]
        for channel in dropped:
            del self._by_name[channel.name]
            self._effects.append(Hangup(channel.name))
        masks = np.zeros(view.partitions, np.uint64)
        for seat in seats:
            channel = self._reach(view.members[seat], view.version)
            masks[(copies == seat).any(axis=1)] |= np.uint64(channel.bit)
            for partition in np.flatnonzero(learners == seat).tolist():
                if counted.get(partition) == channel.copy:
                    masks[partition] |= np.uint64(channel.bit)
        self._ledger.channels[:] = masks
        self._by_mask.clear()
        self._selections.clear()
        return dropped

    def _reach(self, member: Member, version: int) -> Channel:
        channel = self._by_name.get(member.name)
        if channel is None:
            taken = [each.bit for each in self._by_name.values()]
            bit = next((1 << place for place in range(CHANNELS_MAX) if 1 << place not in taken), 0)
            if not bit:
                raise UnfitError(f"more than {CHANNELS_MAX} workers copy the partitions of this one: keep fewer copies")
            channel = Channel((member.name, member.incarnation), member.peer_address, version, bit, self._effects)
            self._by_name[member.name] = channel
            self._effects.append(Dial(member.name, member.peer_address))
        return channel
