"""What a balancer reports of its cluster, as lines for people."""

from typing import Any


def tell(report: dict[str, Any]) -> str:
    """One line about an event of the cluster; empty for reports that are no news."""
    teller = _TELLERS.get(report.get("event", ""))
    return teller(report) if teller is not None else ""


def copies(status: dict[str, Any]) -> str:
    """How the copies stand, from the balancer's counters: "whole", or what is amiss; empty if it does not say."""
    if not status.get("view") or "partitions_short" not in status:  # no view: the cluster has not formed
        return ""
    refused, short = int(status.get("partitions_refused", 0)), int(status["partitions_short"])
    amiss = [f"{plural(refused, 'partition')} refused"] if refused else []
    amiss += [f"{plural(short, 'partition')} short of a copy"] if short else []
    return ", ".join(amiss) or "whole"


def plural(number: int, word: str, several: str = "") -> str:
    """A number with its noun: 1 worker, 2 workers; `several` where an s does not do."""
    return f"{number:,} {word}" if number == 1 else f"{number:,} {several or word + 's'}"


def _failover(report: dict[str, Any]) -> str:
    by = " and ".join(report.get("by", ())) or "others"
    count = plural(int(report.get("partitions", 0)), "partition")
    return f"{report.get('worker', '?')} is gone; its {count} went on at {by}"


def _lost(report: dict[str, Any]) -> str:
    count = plural(int(report.get("partitions", 0)), "partition")
    return f"{report.get('worker', '?')} is gone; {count} of its take no events until a copy is back"


def _restarted(report: dict[str, Any]) -> str:
    count = plural(int(report.get("partitions", 0)), "partition")
    return f"{count} had lost every copy and began anew, empty, at {report.get('worker', '?')}"


def _whole(_report: dict[str, Any]) -> str:
    return "whole again: no partition is short of a copy"


_TELLERS = {"failover": _failover, "lost": _lost, "restarted": _restarted, "whole": _whole}
