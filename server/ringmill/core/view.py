"""The view: who the workers are and which of them owns each partition. Immutable; every change makes a new version."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ringmill.core.errors import Code, RingmillError
from ringmill.core.maglev import NOBODY, Table
from ringmill.internal.v1 import link_pb2


@dataclass(frozen=True, slots=True)
class Member:
    """One worker's seat. A dead or draining worker keeps its seat: its partitions are refused until it is back."""

    name: str
    incarnation: int
    """Identity of the process that has the seat, not 0."""
    weight: int = 1
    alive: bool = True
    """Whether it takes new events: its link is up and it is not draining."""
    address: str = ""
    """host:port of the worker's own public port; empty if it has none."""


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """Membership and assignment at one version."""

    version: int
    """Grows with every change; 0 stands for no view yet."""
    cluster: str
    members: tuple[Member, ...]
    """In the order of their names."""
    table: Table
    """int32[partitions]: index in `members` of each partition's owner, or NOBODY."""

    def __post_init__(self) -> None:
        names = [member.name for member in self.members]
        if names != sorted(set(names)):
            raise RingmillError(Code.INTERNAL, f"members must be unique and in the order of their names: {names}")
        if self.table.size and not NOBODY <= int(self.table.min()) <= int(self.table.max()) < len(self.members):
            raise RingmillError(Code.INTERNAL, f"the table names a worker that is none of the {len(self.members)}")
        self.table.flags.writeable = False

    @property
    def partitions(self) -> int:
        """Number of partitions."""
        return len(self.table)

    @property
    def routes(self) -> Table:
        """int32[partitions]: the owner where it takes events, NOBODY where it does not."""
        served = np.array([member.alive for member in self.members] + [False])  # NOBODY, -1, finds the last: False
        return np.where(served[self.table], self.table, NOBODY).astype(np.int32)

    def index(self, name: str) -> int:
        """Place of a worker in `members`; NOBODY if it has no seat."""
        return next((i for i, member in enumerate(self.members) if member.name == name), NOBODY)

    def owned(self, name: str) -> npt.NDArray[np.uint8]:
        """uint8[partitions]: 1 where this worker is the owner."""
        index = self.index(name)
        return (self.table == index).astype(np.uint8) if index != NOBODY else np.zeros(self.partitions, np.uint8)

    def counts(self) -> Sequence[int]:
        """How many partitions each member owns."""
        owners = self.table[self.table != NOBODY]
        return [int(count) for count in np.bincount(owners, minlength=len(self.members))]


def view_to_proto(view: View) -> link_pb2.View:
    """The view as it travels on a link."""
    return link_pb2.View(
        version=view.version,
        cluster=view.cluster,
        partitions=view.partitions,
        members=[
            link_pb2.Member(
                name=member.name,
                incarnation=member.incarnation,
                weight=member.weight,
                alive=member.alive,
                address=member.address,
            )
            for member in view.members
        ],
        owners=view.table.tolist(),
    )


def view_from_proto(message: link_pb2.View) -> View:
    """Reads a view from a link. Raises INTERNAL when it contradicts itself."""
    if len(message.owners) != message.partitions:
        raise RingmillError(Code.INTERNAL, f"{message.partitions} partitions have {len(message.owners)} owners")
    members = tuple(
        Member(member.name, member.incarnation, member.weight, member.alive, member.address)
        for member in message.members
    )
    return View(message.version, message.cluster, members, np.array(message.owners, np.int32))
