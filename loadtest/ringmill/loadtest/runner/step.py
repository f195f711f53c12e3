"""What one step came to, as plain data: the figures of all processes together, and what is to be doubted. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any

from ringmill.loadtest.runner import histogram, rows
from ringmill.loadtest.runner.scenario import Load, Scenario

Answer = Mapping[str, Any]
Step = dict[str, Any]

LATE_SHARE_MAX = 0.25
"""The runner's own lateness may be so much of a latency before the latency says too much about the runner."""
LATE_US_MIN = 100.0
"""Less than this is never told."""
CPU_SHARE_MAX = 0.9
_TAIL = 10
"""Events that must lie beyond a percentile for it to mean anything."""


def summarise(scenario: Scenario, rate: float, window: rows.Window, answers: Sequence[Answer]) -> Step:
    """One step of what each process measured. rate: 0 where the load has one of its own."""
    load = scenario.load
    whole = rows.merge([dict(answer) for answer in answers])
    size = max(1, load.batch)
    latency = histogram.merge(whole["latency"])
    seconds = (window.end_ns - window.begin_ns) / 1e9
    offered = size * sum(whole["offered"])
    step: Step = {
        "rate": (rate or offered / seconds) if load.loop == "open" else None,
        "offered_s": offered / seconds,
        "answered_s": size * sum(whole["answered"]) / seconds,
        "events": offered,
        "unanswered": size * whole["unanswered"],
        "messages": sum(answer["messages"] for answer in answers),
        "message_events": sum(a["answered_events"] for a in answers) / max(1, sum(a["messages"] for a in answers)),
        "latency": histogram.percentiles(latency),
        "served": histogram.percentiles(histogram.merge([whole["served"]])),
        "late": histogram.percentiles(histogram.merge([whole["late"]])),
        "rejections": rows.add_counts([answer["rejections"] for answer in answers]),
        "failures": rows.add_counts([answer["failures"] for answer in answers]),
        "stopped": any(answer["stopped"] for answer in answers),
        "processes": [{"cpu_share": a["cpu_share"], "memory_bytes": a["memory_bytes"]} for a in answers],
        "intervals": _intervals(whole, window, size),
        "curve": histogram.curve(latency),
        "histogram": histogram.encode(latency),
    }
    step["warnings"] = warnings(step, load, latency.get_total_count())
    return step


def _intervals(whole: Mapping[str, Any], window: rows.Window, size: int) -> list[dict[str, float]]:
    found = []
    for place, (offered, answered, latency) in enumerate(
        zip(whole["offered"], whole["answered"], whole["latency"], strict=True)
    ):
        begin_ns = place * window.interval_ns
        seconds = (min(begin_ns + window.interval_ns, window.end_ns - window.begin_ns) - begin_ns) / 1e9
        told = histogram.percentiles(histogram.merge([latency]))
        found.append(
            {
                "at_s": begin_ns / 1e9,
                "offered_s": size * offered / seconds,
                "answered_s": size * answered / seconds,
                **{name: told[name] for name in ("p50_us", "p99_us", "max_us")},
            }
        )
    return found


def warnings(step: Step, load: Load, samples: int) -> list[str]:
    """What a reader must know before believing the figures."""
    told = []
    if limit := runner_limit(step):
        told.append(limit)
    if load.loop == "closed":
        told.append(
            "closed loop: while the server stalls nothing is sent, so what others would have felt is not in these "
            "latencies"
        )
    if step["unanswered"]:
        told.append(
            f"{step['unanswered']:,} events were not answered when the step ended; they count with the time that they "
            "had waited by then, which is less than the truth"
        )
    rejected = sum(step["rejections"].values())
    if rejected:
        reasons = ", ".join(f"{name} {count:,}" for name, count in sorted(step["rejections"].items()))
        told.append(f"{rejected:,} events were rejected ({reasons}): a rejected event is less work than an applied one")
    told += [f"{count} streams failed: {why}" for why, count in sorted(step["failures"].items())]
    if step["stopped"]:
        told.append("stopped before its end")
    thin = [percent for percent in histogram.PERCENTILES if 0 < samples * (100 - percent) / 100 < _TAIL]
    if thin:
        told.append(f"only {samples:,} samples: fewer than {_TAIL} lie beyond p{thin[0]:g}")
    return told


def runner_limit(step: Step) -> str:
    """Why the runner itself, not the server, may be what is seen; empty if it is not."""
    late, latency = step["late"], step["latency"]
    if late["p99_us"] > LATE_US_MIN and late["p99_us"] > LATE_SHARE_MAX * latency["p99_us"]:
        return (
            f"the runner is the limit: it sent late by {late['p99_us'] / 1e3:.2f} ms at p99 (longest "
            f"{late['max_us'] / 1e3:.2f} ms), of a p99 latency of {latency['p99_us'] / 1e3:.2f} ms. "
            "Give it more processes, or a machine of its own"
        )
    busiest = max((each["cpu_share"] for each in step["processes"]), default=0.0)
    if busiest > CPU_SHARE_MAX:
        return f"the runner is the limit: a process of it used {busiest:.0%} of a core. Give it more processes"
    return ""


def keeps(step: Step, p99_ms: float) -> bool:
    """Whether a step kept a p99: in time, all answered, and nothing failed."""
    return (
        step["latency"]["p99_us"] <= p99_ms * 1e3
        and step["events"] > 0
        and not step["unanswered"]
        and not step["failures"]
    )
