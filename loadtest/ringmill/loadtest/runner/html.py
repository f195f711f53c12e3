"""The report as one page: no script, no font, no picture, nothing that a browser would have to fetch. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

from ringmill.loadtest.runner.charts import Axis, Line, Mark, chart, number

Report = Mapping[str, Any]
Step = Mapping[str, Any]

CURVES_MAX = 6
"""Steps whose percentiles are drawn into one chart."""

_STYLE = """
:root { color-scheme: light dark; --ink: #1c2330; --soft: #667; --grid: #d9dde3; --page: #fff; --warn: #8a4b00;
  --c0: #1666b0; --c1: #c2410c; --c2: #15803d; --c3: #7c3aed; --c4: #b3125b; --c5: #0f766e; }
@media (prefers-color-scheme: dark) { :root { --ink: #e3e7ee; --soft: #9aa3b2; --grid: #333b48; --page: #151a21;
  --warn: #f0b35a; --c0: #6cb2f0; --c1: #f2955f; --c2: #6fce8b; --c3: #b79bf5; --c4: #f07fb0; --c5: #63d2c6; } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--page); max-width: 900px;
  margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.1rem; margin-top: 2rem; }
.wide { overflow-x: auto; } table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .25rem .5rem; text-align: right; border-bottom: 1px solid var(--grid); white-space: nowrap; }
th:first-child, td:first-child, .pairs td { text-align: left; } .pairs td { white-space: normal; }
.warn { color: var(--warn); } .soft, figcaption, .legend { color: var(--soft); }
figure { margin: 1.2rem 0; } figcaption { font-weight: 600; } svg { width: 100%; height: auto; }
svg text { font-size: 11px; fill: var(--soft); } .grid { stroke: var(--grid); }
.mark { stroke: var(--warn); stroke-dasharray: 4 3; } polyline[class] { fill: none; stroke-width: 2; }
.legend span { margin-right: 1rem; } .legend span::before { content: "\\25cf\\00a0"; }
pre { overflow-x: auto; padding: .8rem; border: 1px solid var(--grid); }
""" + "".join(f".l{n} {{ stroke: var(--c{n}); fill: var(--c{n}); color: var(--c{n}); }}\n" for n in range(CURVES_MAX))

_LATENCIES = (
    ("p50_us", "p50"),
    ("p90_us", "p90"),
    ("p99_us", "p99"),
    ("p999_us", "p99.9"),
    ("p9999_us", "p99.99"),
    ("max_us", "longest"),
)
_NINES = ((1.0, "0"), (10.0, "90"), (100.0, "99"), (1_000.0, "99.9"), (10_000.0, "99.99"))


def page(report: Report) -> str:
    """The report of a run as HTML."""
    target, steps = report["scenario"]["target"], report["steps"]
    title = f"Load test of {target['pipeline']}"
    body = [
        f"<h1>{escape(title)}</h1>",
        f'<p class="soft">{escape(report["began"])}, {escape(target["address"])}, '
        f"version {escape(str(report['pipeline'].get('version', '?')))}</p>",
        *_found(report["search"]),
        *_warnings(steps),
        "<h2>Steps</h2>",
        _table(steps, report["scenario"]["load"]["loop"] == "open"),
        *_charts(report),
        "<h2>Machine</h2>",
        _pairs(report["machine"]),
        "<h2>Scenario</h2>",
        "<p>Saved to a file, or with the JSON report in its place, <code>ringmill loadtest FILE</code> runs it again:"
        " the same seed draws the same events at the same moments.</p>",
        f"<pre>{escape(report['toml'])}</pre>",
    ]
    head = f'<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{escape(title)}</title>'
    head += f"<style>{_STYLE}</style>"
    return f'<!doctype html>\n<html lang="en"><head>{head}</head>\n<body>{"".join(body)}</body></html>\n'


def _found(search: Mapping[str, Any] | None) -> Iterable[str]:
    if search:
        kept = "no rate" if search["kept"] is None else f"{search['kept']:,.0f} events/s"
        failed = "" if search["failed"] is None else f" {search['failed']:,.0f} events/s did not."
        yield f"<p><strong>{kept} kept a p99 of {search['p99_ms']:g} ms.</strong>{failed} {escape(search['limit'])}</p>"


def _warnings(steps: Sequence[Step]) -> Iterable[str]:
    lines = [f"<li>{escape(_name(step))}: {escape(line)}</li>" for step in steps for line in step["warnings"]]
    if lines:
        yield f'<h2>Before you believe it</h2><ul class="warn">{"".join(lines)}</ul>'


def _table(steps: Sequence[Step], is_open: bool) -> str:
    since = "from when it was due" if is_open else "from when it was sent"
    heads = ["rate", "offered/s", "answered/s", *(name for _, name in _LATENCIES), "late p99", "a message"]
    rows = [f"<tr>{''.join(f'<th>{escape(head)}</th>' for head in heads)}</tr>"]
    for step in steps:
        cells = [_name(step), f"{step['offered_s']:,.0f}", f"{step['answered_s']:,.0f}"]
        cells += [milliseconds(step["latency"][key]) for key, _ in _LATENCIES]
        cells += [milliseconds(step["late"]["p99_us"]), f"{step['message_events']:,.1f}"]
        rows.append(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in cells)}</tr>")
    note = f'<p class="soft">Latency of each event in ms, {since}. {_runner(steps)}</p>'
    return f'<div class="wide"><table>{"".join(rows)}</table></div>{note}'


def _runner(steps: Sequence[Step]) -> str:
    """What the runner itself used at most."""
    used = [each for step in steps for each in step["processes"]]
    if not used:
        return ""
    busiest, largest = max(each["cpu_share"] for each in used), max(each["memory_bytes"] for each in used)
    return (
        f"Of the runner's processes, the busiest used {busiest:.0%} of a core, the largest {largest / 2**20:.0f} MiB."
    )


def milliseconds(value_us: float) -> str:
    """0, 0.082, 1.25, 240, 12,345."""
    value_ms = value_us / 1e3
    if value_ms < 0.001:
        return "0"
    return f"{value_ms:.3g}" if value_ms < 1000 else f"{value_ms:,.0f}"


def _charts(report: Report) -> Iterable[str]:
    steps = report["steps"]
    if not steps:
        return
    rate = Axis("events/s offered")
    latency = Axis("latency, ms", logarithmic=True)
    if len(steps) > 1:
        order = sorted(steps, key=lambda step: float(step["offered_s"]))
        lines = [Line(name, [(s["offered_s"], s["latency"][key] / 1e3) for s in order]) for key, name in _LATENCIES[:5]]
        yield chart("Latency against rate", rate, latency, lines, _bounds(report))
    elif report["scenario"]["load"]["arrivals"] == "ramp":
        title = "Latency against rate, of each interval of the ramp"
        lines = _over(steps[0], "offered_s")
        yield chart(title, rate, latency, lines, _bounds(report))
    yield _percentiles(steps)
    shown = _best(report)
    seconds = Axis("seconds")
    flow = [
        Line("offered", [(each["at_s"], each["offered_s"]) for each in shown["intervals"]]),
        Line("answered", [(each["at_s"], each["answered_s"]) for each in shown["intervals"]]),
    ]
    yield f"<h2>Over time: {escape(_name(shown))}</h2>"
    yield chart("Throughput over time", seconds, Axis("events/s"), flow)
    title = "Latency over time, by when events were due"
    yield chart(title, seconds, latency, _over(shown, "at_s"), _bounds(report))


def _over(step: Step, across: str) -> list[Line]:
    """Latencies of each interval."""
    named = (("p50_us", "p50"), ("p99_us", "p99"), ("max_us", "longest"))
    return [Line(name, [(e[across], e[key] / 1e3) for e in step["intervals"] if e["max_us"]]) for key, name in named]


def _percentiles(steps: Sequence[Step]) -> str:
    """Percentiles on an axis of nines. With few steps also what is not counted from the due moment."""
    chosen = steps[:: max(1, -(-len(steps) // CURVES_MAX))]
    lines = [Line(_name(step), [(_nines(percent), us / 1e3) for percent, us in step["curve"]]) for step in chosen]
    across = Axis("percentile", True, _NINES, lambda value: f"p{100 - 100 / value:.4g}")
    told = chart("Latency by percentile", across, Axis("ms", logarithmic=True), lines)
    step = steps[-1]
    served = ", ".join(f"{name} {milliseconds(step['served'][key])}" for key, name in _LATENCIES)
    note = "The same in ms, counted only from when its message was sent"
    return told + f'<p class="soft">{note}, {escape(_name(step))}: {served}.</p>'


def _nines(percent: float) -> float:
    """1 for 0, 10 for 90, 100 for 99."""
    return 100.0 / max(100.0 - percent, 0.01)


def _best(report: Report) -> Step:
    """The step that is shown over time: of a search the highest that kept the p99, else the last."""
    steps: Sequence[Step] = report["steps"]
    kept = [step for step in steps if step.get("held")]
    return max(kept, key=lambda step: float(step["rate"])) if kept else steps[-1]


def _bounds(report: Report) -> list[Mark]:
    search = report["search"]
    return [Mark(search["p99_ms"], f"{search['p99_ms']:g} ms", horizontal=True)] if search else []


def _name(step: Step) -> str:
    return "closed loop" if step["rate"] is None else f"{number(step['rate'])}/s"


def _pairs(table: Mapping[str, str]) -> str:
    rows = "".join(f"<tr><td>{escape(name)}</td><td>{escape(value)}</td></tr>" for name, value in table.items())
    return f'<table class="pairs">{rows}</table>'
