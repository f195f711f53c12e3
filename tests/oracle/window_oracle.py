"""Windows by their definition: after each event, over the whole stream of its key, in plain Python.

Nothing is kept but events and what was emitted of which of them. A window is emitted when the clock has reached its end
and it holds other events than when it was emitted last.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from ringmill.core.errors import Reason
from ringmill.engine.plan import WindowKind


class Spec(NamedTuple):
    """A window in the oracle's units of time."""

    kind: WindowKind
    size: int
    hop: int = 0
    events: int = 0


class Emitted(NamedTuple):
    """What a window emitted: by which event, and of which."""

    by: int
    key: str
    start: int
    end: int
    revision: int
    content: frozenset[int]


@dataclass
class History:
    """One key's."""

    applied: list[tuple[int, int]] = field(default_factory=list)
    """Time and number of each event, as they came."""
    emitted: dict[str, list[Emitted]] = field(default_factory=dict)

    @property
    def newest(self) -> int:
        return max((time for time, _ in self.applied), default=0)


@dataclass
class Oracle:
    """The windows of a pipeline."""

    windows: dict[str, Spec]
    out_of_order: int = 0
    lateness: int = 0
    histories: dict[str, History] = field(default_factory=dict)

    def run(self, events: Sequence[tuple[str, int]]) -> tuple[list[int], dict[str, list[Emitted]]]:
        """The reason of each event, given as key and time, and what each window emitted, in order."""
        reasons = []
        emitted: dict[str, list[Emitted]] = {name: [] for name in self.windows}
        for number, (key, time) in enumerate(events):
            history = self.histories.setdefault(key, History())
            reasons.append(self.refused(history, time))
            if reasons[-1] != Reason.NONE:
                continue
            history.applied.append((time, number))
            for name, spec in self.windows.items():
                for found in self.due(spec, history, history.emitted.setdefault(name, []), number, key):
                    history.emitted[name].append(found)
                    emitted[name].append(found)
        return reasons, emitted

    def refused(self, history: History, time: int) -> Reason:
        if history.applied and time < history.newest - self.out_of_order - self.lateness:
            return Reason.LATE
        clock = max(history.newest, time) - self.out_of_order
        times = {applied for applied, _ in history.applied}
        for spec in self.windows.values():
            needed = {applied for applied in times if applied > clock - self.lateness - spec.size}
            if spec.kind is WindowKind.SLIDING and len(needed | {time}) > spec.events:
                return Reason.OVERLOADED
        return Reason.NONE

    def due(self, spec: Spec, history: History, before: list[Emitted], by: int, key: str) -> Iterator[Emitted]:
        clock = history.newest - self.out_of_order
        for start, end, content in sorted(self.contents(spec, history), key=lambda found: found[1]):
            if spec.kind is WindowKind.SESSION:
                same = [old for old in before if old.content <= content]
            else:
                same = [old for old in before if (old.start, old.end) == (start, end) and old.content <= content]
            if spec.kind is WindowKind.COUNT:
                if not any(old.content == content for old in before):
                    yield Emitted(by, key, start, end, 0, content)
            elif end <= clock and all(old.content != content for old in same):
                revision = 1 + max((old.revision for old in same), default=-1)
                yield Emitted(by, key, start, end, revision, content)

    def contents(self, spec: Spec, history: History) -> Iterator[tuple[int, int, frozenset[int]]]:
        """Begin, end and events of every window that has any."""
        applied = history.applied
        match spec.kind:
            case WindowKind.TIME:
                last = max(time for time, _ in applied) // spec.hop
                for window in range(-spec.size // spec.hop, last + 1):
                    yield from self.between(applied, window * spec.hop, window * spec.hop + spec.size)
            case WindowKind.SESSION:
                ordered = sorted(applied)
                while ordered:
                    end = 1
                    while end < len(ordered) and ordered[end][0] - ordered[end - 1][0] < spec.size:
                        end += 1
                    yield ordered[0][0], ordered[end - 1][0] + spec.size, frozenset(n for _, n in ordered[:end])
                    ordered = ordered[end:]
            case WindowKind.SLIDING:
                for time in {time for time, _ in applied}:
                    inside = frozenset(n for other, n in applied if time - spec.size < other <= time)
                    yield time - spec.size, time, inside
            case WindowKind.COUNT:
                for first in range(0, len(applied) - spec.events + 1, spec.events):
                    some = applied[first : first + spec.events]
                    times = [time for time, _ in some]
                    yield min(times), max(times), frozenset(n for _, n in some)

    @staticmethod
    def between(applied: list[tuple[int, int]], start: int, end: int) -> Iterator[tuple[int, int, frozenset[int]]]:
        inside = frozenset(n for time, n in applied if start <= time < end)
        if inside:
            yield start, end, inside
