"""Line charts as SVG, drawn here so that a report needs nothing but itself. Pure."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from html import escape

Point = tuple[float, float]
Ticks = Sequence[tuple[float, str]]

_WIDTH, _HEIGHT = 760, 300
_LEFT, _RIGHT, _TOP, _BOTTOM = 76, 16, 14, 44
_TICKS = 5
_DOTS_MAX = 60
"""A line of more points is drawn without a dot at each."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a chart."""

    name: str
    points: Sequence[Point]


@dataclass(frozen=True, slots=True)
class Mark:
    """A moment, or a bound, that a chart points at."""

    at: float
    name: str
    horizontal: bool = False


@dataclass(frozen=True, slots=True)
class Axis:
    """One axis of a chart."""

    label: str
    logarithmic: bool = False
    ticks: Ticks = ()
    """Places and their names; none: chosen by the range."""
    show: Callable[[float], str] = field(default=lambda value: number(value))


def number(value: float) -> str:
    """950, 12.3 k, 4.56 M."""
    for bound, unit in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if abs(value) >= bound:
            return f"{value / bound:.3g}{unit}"
    return f"{value:.3g}"


def chart(title: str, x: Axis, y: Axis, lines: Sequence[Line], marks: Sequence[Mark] = ()) -> str:
    """A chart as an SVG element; its colours are the style sheet's classes l0, l1, ...

    Points at or below 0 are left out where an axis is logarithmic.
    """
    shown = [Line(line.name, [p for p in line.points if _fits(x, p[0]) and _fits(y, p[1])]) for line in lines]
    points = [point for line in shown for point in line.points]
    if not points:
        return f'<p class="none">{escape(title)}: nothing was measured.</p>'
    across = _Scale(x, [p[0] for p in points] + [m.at for m in marks if not m.horizontal], _LEFT, _WIDTH - _RIGHT)
    up = _Scale(y, [p[1] for p in points] + [m.at for m in marks if m.horizontal], _HEIGHT - _BOTTOM, _TOP)
    parts = [
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{escape(title)}">',
        *_grid(across, up),
        *(_mark(mark, across, up) for mark in marks),
        *(part for place, line in enumerate(shown) for part in _drawn(line, place, across, up)),
        "</svg>",
    ]
    legend = "".join(f'<span class="l{place}">{escape(line.name)}</span>' for place, line in enumerate(shown))
    return f'<figure><figcaption>{escape(title)}</figcaption>{"".join(parts)}<p class="legend">{legend}</p></figure>'


class _Scale:
    """From a number to a place on the page."""

    def __init__(self, axis: Axis, values: Sequence[float], begin: float, end: float) -> None:
        self.axis = axis
        self._begin, self._end = begin, end
        named = [place for place, _ in axis.ticks]
        low, high = min([*values, *named]), max([*values, *named])
        if axis.logarithmic:
            low, high = 10 ** math.floor(math.log10(low)), 10 ** math.ceil(math.log10(high))
        else:
            low = min(0.0, low)
        self.low, self.high = low, high if high > low else low + 1.0

    def __call__(self, value: float) -> float:
        low, high, value = self.low, self.high, min(max(value, self.low), self.high)
        if self.axis.logarithmic:
            low, high, value = math.log10(low), math.log10(high), math.log10(value)
        return self._begin + (value - low) / (high - low) * (self._end - self._begin)

    def ticks(self) -> Ticks:
        """Places of the grid, and their names."""
        if self.axis.ticks:
            return self.axis.ticks
        if self.axis.logarithmic:
            decades = range(round(math.log10(self.low)), round(math.log10(self.high)) + 1)
            return [(10.0**decade, self.axis.show(10.0**decade)) for decade in decades]
        step = _round_step((self.high - self.low) / _TICKS)
        first, last = math.ceil(self.low / step), math.floor(self.high / step)
        return [(place * step, self.axis.show(place * step)) for place in range(first, last + 1)]


def _round_step(step: float) -> float:
    """The next of 1, 2, 5, 10, 20, 50, ..."""
    power = 10.0 ** math.floor(math.log10(step))
    return next(times * power for times in (1, 2, 5, 10) if times * power >= step * 0.999)


def _fits(axis: Axis, value: float) -> bool:
    return math.isfinite(value) and (value > 0 or not axis.logarithmic)


def _grid(across: _Scale, up: _Scale) -> list[str]:
    bottom, right = _HEIGHT - _BOTTOM, _WIDTH - _RIGHT
    parts = []
    for value, name in across.ticks():
        parts.append(_line("grid", across(value), _TOP, across(value), bottom))
        parts.append(_text(across(value), bottom + 16, name, "middle"))
    for value, name in up.ticks():
        parts.append(_line("grid", _LEFT, up(value), right, up(value)))
        parts.append(_text(_LEFT - 6, up(value) + 4, name, "end"))
    parts.append(_text((_LEFT + right) / 2, _HEIGHT - 8, across.axis.label, "middle"))
    parts.append(f'<text class="up" transform="translate(14 {(_TOP + bottom) / 2:.0f}) rotate(-90)" '
                 f'text-anchor="middle">{escape(up.axis.label)}</text>')  # fmt: skip
    return parts


def _mark(mark: Mark, across: _Scale, up: _Scale) -> str:
    if mark.horizontal:
        line = _line("mark", _LEFT, up(mark.at), _WIDTH - _RIGHT, up(mark.at))
        return line + _text(_WIDTH - _RIGHT, up(mark.at) - 4, mark.name, "end")
    line = _line("mark", across(mark.at), _TOP, across(mark.at), _HEIGHT - _BOTTOM)
    return line + _text(across(mark.at) + 4, _TOP + 10, mark.name, "start")


def _drawn(line: Line, place: int, across: _Scale, up: _Scale) -> list[str]:
    places = " ".join(f"{across(x):.1f},{up(y):.1f}" for x, y in line.points)
    parts = [f'<polyline class="l{place}" points="{places}"/>']
    if len(line.points) <= _DOTS_MAX:
        for x, y in line.points:
            told = f"{line.name}: {up.axis.show(y)} at {across.axis.show(x)}"
            dot = f'<circle class="l{place}" cx="{across(x):.1f}" cy="{up(y):.1f}" r="3">'
            parts.append(f"{dot}<title>{escape(told)}</title></circle>")
    return parts


def _line(kind: str, x1: float, y1: float, x2: float, y2: float) -> str:
    return f'<line class="{kind}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def _text(x: float, y: float, words: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(words)}</text>'
