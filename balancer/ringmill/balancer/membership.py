"""Who the workers are, and which of them are alive: a pure state machine. Messages and time in, effects out.

A cluster *forms* once the expected number of workers has registered; only then is there a view, so that no key
moves while a cluster starts. From then on a worker that dies keeps its seat, and its partitions are refused until a
process of the same name is back: nobody else has its state.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType

import numpy as np

from ringmill.core.agreement import Served
from ringmill.core.errors import Code, RingmillError
from ringmill.core.maglev import NOBODY, WEIGHT_MAX, Table, is_prime, maglev, settle
from ringmill.core.view import Member, View
from ringmill.internal.v1.link_pb2 import Heartbeat, Registration

NAME_BYTES_MAX = 255

EVENTS_MAX = 16_384
"""Events a request may hold when the workers do not say."""


@dataclass(frozen=True, slots=True)
class Rules:
    """What the membership goes by."""

    expected_workers: int = 1
    """The cluster forms when this many have registered; more are refused."""
    partitions: int = 1021
    """A prime. More partitions balance better and make views longer."""
    cluster: str = ""
    """Name of the cluster; a worker that asks for another is refused. Empty: not checked."""
    heartbeat_ms: int = 250
    """How often a worker shows that it is alive when it has nothing else to say."""
    silence_ms: int = 5000
    """A worker silent for so long is taken for dead. A process that ends breaks its link at once and is noticed then;
    this is for those that hang, and a machine under load must not be taken for one."""
    tick_ms: int = 250
    """How often `tick` is meant to be called."""

    def validate(self) -> None:
        """Raises INVALID_ARGUMENT when the rules contradict each other."""
        if not is_prime(self.partitions):
            raise RingmillError(Code.INVALID_ARGUMENT, f"{self.partitions} partitions: the number must be a prime")
        if not 1 <= self.expected_workers < self.partitions:
            raise RingmillError(Code.INVALID_ARGUMENT, f"workers: give from 1 to {self.partitions - 1}")
        if self.heartbeat_ms < 1 or self.tick_ms < 1 or self.silence_ms < 3 * self.heartbeat_ms:
            raise RingmillError(Code.INVALID_ARGUMENT, "silence_ms must be at least three times heartbeat_ms")


@dataclass(frozen=True, slots=True)
class Admit:
    """Answer the registration on this link."""

    link: int
    name: str


@dataclass(frozen=True, slots=True)
class Refuse:
    """End this link with a reason: the worker cannot join."""

    link: int
    code: Code
    reason: str


@dataclass(frozen=True, slots=True)
class Drop:
    """Cut this link: its worker is silent, or has dialled again."""

    link: int
    reason: str


@dataclass(frozen=True, slots=True)
class Publish:
    """Obey a new view, and tell every worker."""

    view: View
    links: tuple[int | None, ...]
    """Link of each member, in the view's order; None where it is dead."""


Effect = Admit | Refuse | Drop | Publish


@dataclass(slots=True)
class _Seat:
    name: str
    incarnation: int
    weight: int
    address: str
    link: int | None
    heard_ms: int
    draining: bool = False
    health: Heartbeat = field(default_factory=Heartbeat)


@dataclass(frozen=True, slots=True)
class WorkerState:
    """One worker as an operator sees it."""

    name: str
    state: str
    """joining, serving, draining or dead."""
    partitions: int
    keys: int
    state_bytes: int
    events: int


class Membership:
    """The seats of a cluster."""

    def __init__(self, rules: Rules) -> None:
        rules.validate()
        self._rules = rules
        self._seats: dict[str, _Seat] = {}
        self._names: dict[int, str] = {}
        self._view = View(0, rules.cluster, (), np.full(rules.partitions, NOBODY, np.int32))
        self._catalogue: Mapping[str, Served] = MappingProxyType({})
        self._version_seen = 0
        """The newest view that any worker has obeyed: of a balancer before this one, if it is newer than ours."""
        self._ticked_ms: int | None = None

    @property
    def view(self) -> View:
        """The newest view; version 0 until the cluster has formed."""
        return self._view

    @property
    def formed(self) -> bool:
        """Whether all expected workers have been there at once."""
        return self._view.version > 0

    @property
    def catalogue(self) -> Mapping[str, Served]:
        """The pipelines that the workers serve, by name, in the order that Part.pipeline counts."""
        return self._catalogue

    def missing(self) -> str:
        """Why nothing is served yet, for people."""
        return f"waiting for workers: {len(self._seats)} of {self._rules.expected_workers} have joined"

    def register(self, link: int, registration: Registration, now_ms: int) -> Sequence[Effect]:
        """Gives a worker its seat, or refuses it with a reason. First message of a link; a second one is refused."""
        try:
            self._check(link, registration)
        except RingmillError as error:
            return [Refuse(link, error.code, error.message)]
        seat = self._seats.get(registration.name)
        effects: list[Effect] = []
        if seat is not None and seat.link is not None:
            self._names.pop(seat.link, None)
            effects.append(Drop(seat.link, "its worker has dialled again"))
        self._catalogue = MappingProxyType(_catalogue_of(registration))  # the same as before, unless all were dead
        self._version_seen = max(self._version_seen, registration.view_version)
        self._names[link] = registration.name
        self._seats[registration.name] = _Seat(
            name=registration.name,
            incarnation=registration.incarnation,
            weight=registration.weight or 1,
            address=registration.address,
            link=link,
            heard_ms=now_ms,
        )
        effects.append(Admit(link, registration.name))
        if self.formed or len(self._seats) == self._rules.expected_workers:
            effects.append(self._publish())
        return effects

    def heard(self, link: int, now_ms: int) -> None:
        """Any bytes of a worker are a sign of life."""
        name = self._names.get(link)
        if name is not None:
            self._seats[name].heard_ms = now_ms

    def beat(self, link: int, heartbeat: Heartbeat) -> None:
        """Remembers what a worker tells of itself."""
        name = self._names.get(link)
        if name is not None:
            self._seats[name].health = heartbeat

    def drain(self, link: int) -> Sequence[Effect]:
        """A worker wants no new events. It keeps its seat and is unserved from now on."""
        name = self._names.get(link)
        if name is None or self._seats[name].draining:
            return []
        self._seats[name].draining = True
        return [self._publish()] if self.formed else []

    def broken(self, link: int) -> Sequence[Effect]:
        """A link ended: its worker is dead, until a process of its name registers."""
        name = self._names.pop(link, None)
        if name is None:
            return []
        if not self.formed:
            del self._seats[name]
            return []
        self._seats[name].link = None
        return [self._publish()]

    def tick(self, now_ms: int) -> Sequence[Effect]:
        """Finds the silent. A tick that comes late was our own sleep, and says nothing about anybody else."""
        late = self._ticked_ms is not None and now_ms - self._ticked_ms > 2 * self._rules.tick_ms
        self._ticked_ms = now_ms
        effects: list[Effect] = []
        for seat in self._seats.values():
            if seat.link is None:
                continue
            if late:
                seat.heard_ms = now_ms
            elif now_ms - seat.heard_ms > self._rules.silence_ms:
                effects.append(Drop(seat.link, f"worker {seat.name} was silent for {now_ms - seat.heard_ms} ms"))
        return effects

    def workers(self) -> Sequence[WorkerState]:
        """Every seat, in the order of names."""
        counts = dict(zip((member.name for member in self._view.members), self._view.counts(), strict=True))
        return [
            WorkerState(
                name=name,
                state=self._state(seat),
                partitions=counts.get(name, 0),
                keys=seat.health.keys,
                state_bytes=seat.health.state_bytes,
                events=seat.health.events,
            )
            for name, seat in sorted(self._seats.items())
        ]

    def _state(self, seat: _Seat) -> str:
        if seat.link is None:
            return "dead"
        if seat.draining:
            return "draining"
        return "serving" if self.formed else "joining"

    def _check(self, link: int, registration: Registration) -> None:
        name = registration.name
        if link in self._names:
            raise RingmillError(Code.INVALID_ARGUMENT, "a link registers once")
        if not name or len(name.encode()) > NAME_BYTES_MAX:
            raise RingmillError(Code.INVALID_ARGUMENT, f"a worker needs a name of 1 to {NAME_BYTES_MAX} bytes")
        if not registration.incarnation:
            raise RingmillError(Code.INVALID_ARGUMENT, f"worker {name} has no incarnation")
        if (registration.weight or 1) > WEIGHT_MAX:
            raise RingmillError(Code.INVALID_ARGUMENT, f"worker {name}: weight must be 1 to {WEIGHT_MAX}")
        if self._rules.cluster and registration.cluster not in ("", self._rules.cluster):
            raise RingmillError(
                Code.FAILED_PRECONDITION,
                f"worker {name} wants to join cluster {registration.cluster!r}; this is {self._rules.cluster!r}",
            )
        self._check_seat(registration)
        self._check_pipelines(registration)

    def _check_seat(self, registration: Registration) -> None:
        name = registration.name
        seat = self._seats.get(name)
        if seat is None:
            if len(self._seats) >= self._rules.expected_workers:
                raise RingmillError(
                    Code.FAILED_PRECONDITION,
                    f"worker {name} is one more than the {self._rules.expected_workers} this cluster was started for "
                    f"({', '.join(sorted(self._seats))}), and adding workers is not served yet: "
                    f"start the balancer with --workers {self._rules.expected_workers + 1}",
                )
            return
        if seat.link is not None and seat.incarnation != registration.incarnation:
            raise RingmillError(Code.ALREADY_EXISTS, f"another process is already worker {name}: give this one a name")
        if self.formed and seat.weight != (registration.weight or 1):
            raise RingmillError(
                Code.FAILED_PRECONDITION,
                f"worker {name} had weight {seat.weight}; changing weights is not served yet",
            )

    def _check_pipelines(self, registration: Registration) -> None:
        if not registration.pipelines or len(registration.pipelines) != len(registration.pipeline_names):
            raise RingmillError(Code.INVALID_ARGUMENT, f"worker {registration.name} serves no named pipelines")
        others = [seat.name for seat in self._seats.values() if seat.link is not None]
        if not set(others) - {registration.name}:
            return
        offered = _catalogue_of(registration)
        if {name: _identity(served) for name, served in offered.items()} != {
            name: _identity(served) for name, served in self._catalogue.items()
        }:
            raise RingmillError(
                Code.FAILED_PRECONDITION,
                f"worker {registration.name} serves {_spell(offered)}, but {', '.join(sorted(others))} "
                f"{'serves' if len(others) == 1 else 'serve'} {_spell(self._catalogue)}: start all from the same app",
            )

    def _publish(self) -> Publish:
        seats = [self._seats[name] for name in sorted(self._seats)]
        members = tuple(
            Member(seat.name, seat.incarnation, seat.weight, seat.link is not None and not seat.draining, seat.address)
            for seat in seats
        )
        table = _place(self._view, members, self._rules.partitions)
        version = max(self._view.version, self._version_seen) + 1
        self._view = replace(self._view, version=version, members=members, table=table)
        return Publish(self._view, tuple(seat.link for seat in seats))


def _place(before: View, members: Sequence[Member], partitions: int) -> Table:
    """The table of these members, reached from the last view with as few moves as it takes."""
    target = maglev({member.name: member.weight for member in members}, partitions)
    places = {member.name: place for place, member in enumerate(members)}
    moved = np.array([places.get(member.name, NOBODY) for member in before.members] + [NOBODY], np.int32)
    newcomers = frozenset(places[name] for name in places if before.index(name) == NOBODY)
    return settle(moved[before.table], target, newcomers)


def _catalogue_of(registration: Registration) -> dict[str, Served]:
    limits = registration.events_max
    return {
        name: Served(name, index, description, limits[index] if index < len(limits) else EVENTS_MAX)
        for index, (name, description) in enumerate(
            zip(registration.pipeline_names, registration.pipelines, strict=True)
        )
    }


def _identity(served: Served) -> tuple[int, str, str, int]:
    return served.index, served.description.version, served.description.digest, served.events_max


def _spell(catalogue: Mapping[str, Served]) -> str:
    return ", ".join(
        f"{served.name} {served.description.version} ({served.description.digest[:12] or 'no digest'}, "
        f"up to {served.events_max} events a request)"
        for served in catalogue.values()
    )
