"""The view: who the workers are, and which of them serve and copy each partition. Immutable; a change is a new version.

Sources: the outside view of PacificA (Lin et al., MSR-TR-2008-25) and Vertical Paxos (Lamport et al., 2009), with one
configuration for each partition. A partition's *epoch* is the version that last made another process its primary:
what a primary admitted under an older version than that is refused by every copy.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from numba import types

from ringmill.core.errors import Code, RingmillError
from ringmill.core.jit import compile_kernel, entry_point, kernel
from ringmill.core.maglev import NOBODY, Table
from ringmill.internal.v1 import link_pb2

HELD = -2
"""In `View.routes`: nobody takes events of the partition just now, and somebody soon will."""

Replicas = npt.NDArray[np.int32]
"""int32[partitions, width]: indices of the in-sync copies besides the primary, the next primary first; NOBODY fills."""

Epochs = npt.NDArray[np.uint64]

_KINDS = (
    ("table", np.int32),
    ("epochs", np.uint64),
    ("replicas", np.int32),
    ("learners", np.int32),
    ("heirs", np.int32),
)


@dataclass(frozen=True, slots=True)
class Member:
    """One worker's seat."""

    name: str
    incarnation: int
    """Identity of the process that has the seat, not 0."""
    weight: int = 1
    alive: bool = True
    """Whether the process is believed to live. The dead are nowhere a copy, unless they were the last one."""
    address: str = ""
    """host:port of the worker's own public port; empty if it has none."""
    peer_address: str = ""
    """host:port where primaries reach it; empty: it can hold no copies."""
    host: str = ""
    zone: str = ""
    draining: bool = False
    """Whether its partitions are being moved elsewhere. It serves them until they are."""


def _nobody() -> Table:
    return np.empty(0, np.int32)


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """Membership and assignment at one version. Arrays that are left out are filled: no copies, epoch 0."""

    version: int
    """Grows with every change; 0 stands for no view yet."""
    cluster: str
    members: tuple[Member, ...]
    """In the order of their names."""
    table: Table
    """int32[partitions]: index in `members` of each partition's primary, or NOBODY."""
    epochs: Epochs = field(default_factory=lambda: np.empty(0, np.uint64))
    """uint64[partitions]: the version that last made another process the primary."""
    replicas: Replicas = field(default_factory=lambda: np.empty((0, 0), np.int32))
    learners: Table = field(default_factory=_nobody)
    """int32[partitions]: the worker that the partition is being copied to, or NOBODY."""
    heirs: Table = field(default_factory=_nobody)
    """int32[partitions]: the in-sync copy that is to be primary next, or NOBODY. Until then nothing is admitted."""
    min_in_sync: int = 1
    """Copies, the primary included, without which a partition takes no events."""
    _encoded: bytes = field(default=b"", init=False, repr=False)
    """As it travels, once that was asked for, or as it came."""

    def __post_init__(self) -> None:
        partitions = len(self.table)
        if not len(self.epochs):
            object.__setattr__(self, "epochs", np.zeros(partitions, np.uint64))
        if not len(self.replicas):
            object.__setattr__(self, "replicas", np.empty((partitions, 0), np.int32))
        for name in ("learners", "heirs"):
            if not len(getattr(self, name)):
                object.__setattr__(self, name, np.full(partitions, NOBODY, np.int32))
        for name, kind in _KINDS:  # kernels read these arrays without looking at their types
            array = np.ascontiguousarray(getattr(self, name), kind)
            array.flags.writeable = False
            object.__setattr__(self, name, array)
        self._check(partitions)

    def _check(self, partitions: int) -> None:
        names = [member.name for member in self.members]
        if names != sorted(set(names)):
            raise RingmillError(Code.INTERNAL, f"members must be unique and in the order of their names: {names}")
        for array in (self.table, self.replicas, self.learners, self.heirs):
            if len(array) != partitions:
                raise RingmillError(Code.INTERNAL, f"a view of {partitions} partitions says {len(array)}")
        if not _kernels().are_seats(self.table, self.replicas, self.learners, self.heirs, len(names)):
            raise RingmillError(Code.INTERNAL, f"the table names a worker that is none of the {len(self.members)}")
        if len(self.epochs) != partitions:
            raise RingmillError(Code.INTERNAL, f"a view of {partitions} partitions has {len(self.epochs)} epochs")

    @property
    def partitions(self) -> int:
        """Number of partitions."""
        return len(self.table)

    @property
    def routes(self) -> Table:
        """int32[partitions]: the primary where it takes events, else NOBODY.

        HELD where an heir takes over, and where a copy that is being made is all that is missing.
        """
        routes = np.empty(self.partitions, np.int32)
        alive = np.array([member.alive for member in self.members], np.bool_)
        _kernels().route(self.table, self.replicas, self.learners, self.heirs, alive, self.min_in_sync, routes)
        return routes

    def copies(self) -> npt.NDArray[np.int64]:
        """int64[partitions]: in-sync copies, the primary included."""
        others: npt.NDArray[np.int64] = (self.replicas != NOBODY).sum(axis=1)
        return np.where(self.table != NOBODY, others + 1, 0)

    def index(self, name: str) -> int:
        """Place of a worker in `members`; NOBODY if it has no seat."""
        return next((i for i, member in enumerate(self.members) if member.name == name), NOBODY)

    def owned(self, name: str) -> npt.NDArray[np.uint8]:
        """uint8[partitions]: 1 where this worker is the primary."""
        index = self.index(name)
        return (self.table == index).astype(np.uint8) if index != NOBODY else np.zeros(self.partitions, np.uint8)

    def copied_by(self, index: int) -> npt.NDArray[np.bool_]:
        """bool[partitions]: where this member is an in-sync copy and not the primary."""
        copied: npt.NDArray[np.bool_] = (self.replicas == index).any(axis=1)
        return copied

    def counts(self) -> Sequence[int]:
        """How many partitions each member is primary of."""
        owners = self.table[self.table != NOBODY]
        return [int(count) for count in np.bincount(owners, minlength=len(self.members))]


@kernel(allocates=False)
def _are_seats(table: Table, replicas: Replicas, learners: Table, heirs: Table, members: int) -> bool:
    """Whether all that is named is one of so many members, or NOBODY."""
    sound = True
    for partition in range(table.size):
        for seat in (table[partition], learners[partition], heirs[partition]):
            sound &= NOBODY <= seat < members
        for place in range(replicas.shape[1]):
            sound &= NOBODY <= replicas[partition, place] < members
    return sound


@kernel(allocates=False)
def _route(
    table: Table,
    replicas: Replicas,
    learners: Table,
    heirs: Table,
    alive: npt.NDArray[np.bool_],
    min_in_sync: int,
    routes: Table,
) -> None:
    """Fills `View.routes`. alive: bool[members]."""
    for partition in range(table.size):
        primary, learner = table[partition], learners[partition]
        if primary == NOBODY or not alive[primary]:
            routes[partition] = NOBODY
            continue
        copies = 1
        for place in range(replicas.shape[1]):
            copies += replicas[partition, place] != NOBODY
        soon = copies + (learner != NOBODY and alive[learner])
        if soon < min_in_sync:
            routes[partition] = NOBODY
        elif copies < min_in_sync or heirs[partition] != NOBODY:
            routes[partition] = HELD
        else:
            routes[partition] = primary


class _Kernels(NamedTuple):
    are_seats: Callable[..., bool]
    route: Callable[..., None]


TABLE = types.Array(types.int32, 1, "C")
"""Numba type of a column of a view."""
REPLICAS = types.Array(types.int32, 2, "C")


@cache
def _kernels() -> _Kernels:
    are_seats = types.boolean(TABLE, REPLICAS, TABLE, TABLE, types.int64)
    marks = types.Array(types.boolean, 1, "C")
    route = types.void(TABLE, REPLICAS, TABLE, TABLE, marks, types.int64, TABLE)
    compile_kernel(_are_seats, [are_seats])
    compile_kernel(_route, [route])
    return _Kernels(entry_point(_are_seats, are_seats), entry_point(_route, route))


def view_to_proto(view: View) -> link_pb2.View:
    """The view as it travels on a link, and as it is stored. It is encoded once, however many are told of it."""
    if not view._encoded:
        object.__setattr__(view, "_encoded", _encode(view))
    return link_pb2.View.FromString(view._encoded)


def _encode(view: View) -> bytes:
    return link_pb2.View(
        version=view.version,
        cluster=view.cluster,
        partitions=view.partitions,
        members=[_member_to_proto(member) for member in view.members],
        owners=view.table.tolist(),
        epochs=view.epochs.tolist(),
        replicas=view.replicas.ravel().tolist(),
        width=view.replicas.shape[1],
        learners=view.learners.tolist(),
        heirs=view.heirs.tolist(),
        min_in_sync=view.min_in_sync,
    ).SerializeToString()


def _member_to_proto(member: Member) -> link_pb2.Member:
    return link_pb2.Member(
        name=member.name,
        incarnation=member.incarnation,
        weight=member.weight,
        alive=member.alive,
        address=member.address,
        peer_address=member.peer_address,
        host=member.host,
        zone=member.zone,
        draining=member.draining,
    )


def view_from_proto(message: link_pb2.View) -> View:
    """Reads a view from a link or a store. Raises INTERNAL when it contradicts itself."""
    partitions, width = message.partitions, message.width
    if len(message.owners) != partitions:
        raise RingmillError(Code.INTERNAL, f"{partitions} partitions have {len(message.owners)} owners")
    if len(message.replicas) != partitions * width:
        raise RingmillError(Code.INTERNAL, f"{partitions} partitions have {len(message.replicas)} replicas")
    members = tuple(
        Member(
            name=member.name,
            incarnation=member.incarnation,
            weight=member.weight,
            alive=member.alive,
            address=member.address,
            peer_address=member.peer_address,
            host=member.host,
            zone=member.zone,
            draining=member.draining,
        )
        for member in message.members
    )
    view = View(
        message.version,
        message.cluster,
        members,
        np.array(message.owners, np.int32),
        epochs=np.array(message.epochs, np.uint64),
        replicas=np.array(message.replicas, np.int32).reshape(partitions, width),
        learners=np.array(message.learners, np.int32),
        heirs=np.array(message.heirs, np.int32),
        min_in_sync=message.min_in_sync or 1,
    )
    object.__setattr__(view, "_encoded", message.SerializeToString())
    return view
