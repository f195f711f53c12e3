"""How two things are compared: in turn, several times, by medians. Nothing here knows what is measured."""

import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

Samples = dict[str, list[float]]


class Unavailable(Exception):  # noqa: N818 - not a failure: something is not installed here
    """A section cannot be measured on this machine; says why."""


@dataclass(frozen=True, slots=True)
class Effort:
    """How long a run takes."""

    rounds: int
    """Times that each side is measured, in turn with the others."""
    scale: float
    """Factor on the amount of work in one measurement; 1 is for figures worth keeping."""
    tell: Callable[[str], None]
    """Hears what is measured now."""

    def amount(self, full: int) -> int:
        """The amount of work in this run for what is `full` in a whole one."""
        return max(8, int(full * self.scale))


@dataclass(frozen=True, slots=True)
class Goal:
    """What a figure should be."""

    bound: float
    at_least: bool
    unit: str = ""

    def met(self, measured: float) -> bool:
        """Whether the figure is on the right side of the bound."""
        return measured >= self.bound if self.at_least else measured <= self.bound

    def __str__(self) -> str:
        return f"{'at least' if self.at_least else 'at most'} {self.bound:g}{self.unit}"


def at_least(bound: float, unit: str = "") -> Goal:
    """The more, the better."""
    return Goal(bound, True, unit)


def at_most(bound: float, unit: str = "") -> Goal:
    """The less, the better."""
    return Goal(bound, False, unit)


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of the report."""

    name: str
    what: str
    goal: Goal | None
    """None: only reported."""
    measured: float | None
    """None: not measured."""
    detail: str = ""
    """The two sides in their own units, or why nothing was measured."""
    samples: Samples = field(default_factory=dict)
    """Every measurement of each side, in the order of the rounds."""
    unit: str = ""
    broken: bool = False
    """Nothing was measured because something failed."""

    @property
    def verdict(self) -> str:
        """pass, short, reported, skipped or broken."""
        if self.broken:
            return "broken"
        if self.measured is None:
            return "skipped"
        if self.goal is None:
            return "reported"
        return "pass" if self.goal.met(self.measured) else "short"


def alternate(effort: Effort, title: str, sides: Mapping[str, Callable[[], float]]) -> Samples:
    """Measures each side once to warm up, then all in turn, round by round."""
    samples: Samples = {name: [] for name in sides}
    for number in range(effort.rounds + 1):
        for name, side in sides.items():
            effort.tell(f"{title}: {name}" + (f", round {number} of {effort.rounds}" if number else ", warming up"))
            value = side()
            if number:
                samples[name].append(value)
    return samples


def ratio(samples: Samples, over: str, under: str) -> float:
    """Median of the rounds' ratios: each compares two measurements that were made one after the other."""
    return statistics.median(a / b for a, b in zip(samples[over], samples[under], strict=True))


def compare(
    name: str, what: str, goal: Goal | None, samples: Samples, over: str, under: str, show: Callable[[float], str]
) -> Figure:
    """A figure that is a ratio of two sides."""
    kept = {side: samples[side] for side in (over, under)}
    detail = " / ".join(f"{show(statistics.median(values))} ({side})" for side, values in kept.items())
    return Figure(name, what, goal, ratio(samples, over, under), detail, kept)


def microseconds(value: float) -> str:
    """42 us."""
    return f"{value:.1f} us" if value < 100 else f"{value:.0f} us"


def each_second(value: float) -> str:
    """14.3 M/s."""
    for factor, letter in ((1e6, " M"), (1e3, " k")):
        if value >= factor:
            return f"{value / factor:.3g}{letter}/s"
    return f"{value:.0f}/s"
