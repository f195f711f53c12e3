"""What clients sent and what they were told, and whether the state in the end bears it out.

An outcome names the place of its event: how many events its key has had, and a digest of all of them. So everything is
linear in time: acknowledged events are in their key's list, once, at the place that was told, in their sender's order,
and behind all that was acknowledged before they were sent. An end of the stream is "unknown", never "no".
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from ringmill.core.errors import Reason
from tests.sim.checker import KEPT, PRODUCER_SHIFT, chained
from tests.sim.scheduler import Violation

NEVER = frozenset({Reason.OUT_OF_ORDER, Reason.OVERLOADED, Reason.UNAVAILABLE, Reason.DEADLINE})
"""Reasons that say: not applied, now or ever."""


@dataclass(slots=True)
class Sent:
    """One event."""

    name: int
    key: str
    floor: int
    """Highest place of its key that anybody had been told when it was first sent."""
    stream: int = 0
    """That it was sent on, if its sender has no name: nobody can know whose the late events of an older stream are, and
    they may come behind those of the next."""
    sure: tuple[int, int] | None = None
    """The place that was told for good."""
    refused: int = 0
    """The reason that was told."""
    refused_before: bool = False
    """Whether an earlier life of its sender was told so: a refusal is final for its sequence, and whoever replays it
    may hear that it is known."""
    applied: bool = False
    """Whether it was told to have been applied, with or without its place."""


@dataclass(frozen=True, slots=True)
class Row:
    """What a key's state says in the end."""

    count: int
    digest: int
    names: Sequence[int]


class Oracle:
    """Hears all senders."""

    def __init__(self) -> None:
        self.events: dict[int, Sent] = {}
        self.begun_anew: Callable[[str], bool] = lambda key: False
        """Whether a key has lost its state, which only reckless schedules allow."""
        self.told = 0
        """Events whose fate was told."""
        self._highest: dict[str, int] = defaultdict(int)
        self._places: dict[tuple[str, int], int] = {}
        self._last: dict[int, int] = defaultdict(int)

    def name(self, producer: int, key: str, stream: int) -> int:
        """A new event of a sender is about to be sent for the first time. stream: 0 for a sender with a name."""
        self._last[producer] += 1
        name = producer << PRODUCER_SHIFT | self._last[producer]
        self.events[name] = Sent(name, key, self._highest[key], stream)
        return name

    def sent_again(self, name: int) -> None:
        """A client that replays what an earlier one of its name sent sends an event once more.

        What was refused because no worker could be given it may be applied now.
        """
        event = self.events[name]
        event.refused_before |= event.refused != 0
        event.refused = 0

    def applied(self, name: int, count: int, digest: int) -> None:
        """A client was told an event's place, for good."""
        event = self.events[name]
        if self.begun_anew(event.key):
            return
        if event.refused:
            raise Violation(f"{event} was refused, and applied at {count}")
        if event.sure is not None and event.sure != (count, digest):
            raise Violation(f"{event} is told to stand at {count} with {digest}")
        if count <= event.floor:
            raise Violation(f"{event} stands at {count}, before what was acknowledged when it was sent")
        taken = self._places.setdefault((event.key, count), name)
        if taken != name:
            raise Violation(f"{self.events[taken]} and {event} are both told to stand at {count}")
        self.told += event.sure is None
        event.sure = (count, digest)
        event.applied = True
        self._highest[event.key] = max(self._highest[event.key], count)

    def refused(self, name: int, reason: int, first: bool = False) -> None:
        """A client was told why an event was not applied, or that it is no longer known where.

        first: it was sent once, on the sender's only stream: then nothing later can have passed it.
        """
        event = self.events[name]
        if first and reason in (Reason.ALREADY_APPLIED, Reason.OUT_OF_ORDER):
            raise Violation(f"{event} was sent once, and refused with {reason}")
        if self.begun_anew(event.key):
            return
        if reason == Reason.ALREADY_APPLIED:
            event.applied |= not event.refused_before
        elif reason in NEVER:
            if event.applied:
                raise Violation(f"{event} was applied, and refused with {reason}")
            event.refused = reason
        else:
            raise Violation(f"{event} was refused with {reason}, which it gives no reason for")
        self.told += 1

    def provisional(self, name: int) -> None:
        """A client was told that the primary has an event; no more."""
        event = self.events[name]
        if event.refused:
            raise Violation(f"{event} was refused, and is held by a primary")

    def committed(self, name: int) -> None:
        """A client was told that all copies have an event."""
        self.events[name].applied = True

    def check(self, state: Mapping[str, Row], lost: frozenset[str]) -> None:
        """Compares with the final state. lost: keys whose every copy was lost on the way; little is known of them."""
        seen: Counter[int] = Counter()
        for key, row in state.items():
            seen.update(row.names)
            self._check_row(key, row, key in lost)
        for name, event in self.events.items():
            if event.key in lost:
                continue
            if seen[name] > 1:
                raise Violation(f"{event} was applied {seen[name]} times")
            row = state.get(event.key)
            if event.applied and not seen[name] and (row is None or row.count <= KEPT):
                raise Violation(f"{event} was acknowledged, and is lost")
            if event.refused and seen[name]:
                raise Violation(f"{event} was refused with {event.refused}, and applied")

    def _check_row(self, key: str, row: Row, lost: bool) -> None:
        digest = 0
        last: dict[tuple[int, int], int] = defaultdict(int)
        for place, name in enumerate(row.names, 1):
            event = self.events.get(name)
            if event is None or event.key != key:
                raise Violation(f"{key} holds {name}, which nobody sent")
            digest = chained(digest, name)
            sender = name >> PRODUCER_SHIFT, event.stream
            if name <= last[sender]:
                raise Violation(f"{key} holds {name} after {last[sender]}: out of order")
            last[sender] = name
            if event.sure is not None and event.sure != (place, digest) and not lost:
                raise Violation(f"{event} stands at {place} with {digest}")
        if row.count <= KEPT and digest != row.digest:
            raise Violation(f"{key} has the digest {row.digest}, and a replay {digest}")
