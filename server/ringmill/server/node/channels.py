"""The channels of a worker to all who copy its partitions, and what of a part goes to which."""

from collections.abc import Collection, Iterator, Sequence

import numpy as np
import numpy.typing as npt

from ringmill.core.maglev import NOBODY, Table
from ringmill.core.view import Member, View
from ringmill.engine.ledger import Ledger
from ringmill.server.node.channel import Channel
from ringmill.server.node.effects import Dial, Effect, Hangup, UnfitError
from ringmill.server.node.roles import Roles

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

    def copied(self, view: View) -> npt.NDArray[np.bool_]:
        """bool[partitions]: whether a replica has every record of this worker, can be reached, and is to stay."""
        sure = np.zeros(len(view.members) + 1, np.bool_)  # the last stands for NOBODY
        for seat, member in enumerate(view.members):
            channel = self._by_name.get(member.name)
            if channel is not None and channel.copy == (member.name, member.incarnation):
                sure[seat] = channel.has_all and not member.draining
        copied: npt.NDArray[np.bool_] = np.any(sure[view.replicas], axis=1)
        return copied

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

    def obey(self, view: View, copying: Sequence[int], counted: Collection[int]) -> list[Channel]:
        """Dials who copies this worker's partitions now, and hangs up on all others: returns these.

        copying: their seats, growing. counted: partitions whose learner gets their records.
        """
        wanted = {(view.members[seat].name, view.members[seat].incarnation) for seat in copying}
        dropped = [channel for channel in self if channel.copy not in wanted]
        for channel in dropped:
            del self._by_name[channel.name]
            self._effects.append(Hangup(channel.name))
        bits = np.zeros(len(view.members), np.uint64)
        for seat in copying:
            bits[seat] = self._reach(view.members[seat], view.version).bit
        marks = np.zeros(view.partitions, np.uint8)
        if counted:
            marks[list(counted)] = 1
        roles = self._roles
        roles.kernels.connect(roles.arrays, self._ledger.arrays.pages, view.replicas, view.learners, marks, bits)
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
