"""What an operator is shown of a cluster: its workers, a key's place, the ledger."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from rich.table import Table

from ringmill.cli import console
from ringmill.cli.news import plural
from ringmill.core.errors import Code, RingmillError
from ringmill.v1 import admin_pb2 as pb

ROWS_SHOWN = 20
"""Partitions of the ledger that are shown unless all are asked for."""


def workers_table(answer: pb.ListWorkersResponse) -> Table:
    """One row for each worker."""
    table = Table(box=None, pad_edge=False)
    table.add_column("worker")
    table.add_column("state")
    for heading in ("serves", "copies", "learning", "keys", "state"):
        table.add_column(heading, justify="right")
    has_hosts = any(worker.host for worker in answer.workers)
    if has_hosts:
        table.add_column("host")
    for worker in answer.workers:
        colour = {"serving": "green", "dead": "red"}.get(worker.state, "yellow")
        counts = (worker.partitions, worker.copies, worker.learning)
        cells = [worker.name, f"[{colour}]{worker.state}[/{colour}]"]
        if worker.state == "dead":  # what it last said to hold went with its process
            cells += ["-"] * 5
        else:
            cells += [*(f"{count:,}" for count in counts), console.count(worker.keys), console.size(worker.state_bytes)]
        host = f"{worker.host} ({worker.zone})" if worker.zone else worker.host
        table.add_row(*cells, *([host] if has_hosts else []))
    return table


def standing(answer: pb.ListWorkersResponse) -> str:
    """One line on how the cluster stands as a whole."""
    if not answer.epoch:
        return "the cluster has not formed yet: it serves once all expected workers have joined"
    text = f"view {answer.epoch}"
    if answer.cluster:
        text += f" of cluster {answer.cluster}"
    if not answer.copies_wanted:
        return text
    amiss = []
    if answer.partitions_refused:
        amiss.append(f"[red]{plural(answer.partitions_refused, 'partition takes', 'partitions take')} no events[/red]")
    if answer.partitions_short:
        amiss.append(f"[yellow]{plural(answer.partitions_short, 'partition')} short of a copy[/yellow]")
    copies = plural(answer.copies_wanted, "copy", "copies")
    whole = f"[green]whole[/green]: {copies} of each of {answer.partitions:,} partitions"
    return f"{text}; {', '.join(amiss) or whole}"


def workers_fields(answer: pb.ListWorkersResponse) -> dict[str, Any]:
    """All of it for JSON."""
    return _fields(answer) | {"workers": [_fields(worker) for worker in answer.workers]}


def explanation(key: str, answer: pb.ExplainKeyResponse) -> Table:
    """Where a key lives."""
    location = answer.location
    table = Table(box=None, pad_edge=False, show_header=False, title=f"key {key!r}", title_justify="left")
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    table.add_row("partition", str(location.partition))
    table.add_row("served by", location.primary or "nobody")
    table.add_row("copies on", ", ".join(location.replicas) or "nobody else")
    if location.primary and location.replicas:
        table.add_row("goes on at", f"{location.replicas[0]}, if {location.primary} dies")
    table.add_row("view", str(answer.epoch))
    table.add_row("why", answer.why)
    return table


def explanation_fields(key: str, answer: pb.ExplainKeyResponse) -> dict[str, Any]:
    """All of it for JSON."""
    location = _fields(answer.location) | {"replicas": list(answer.location.replicas)}
    return {"key": key} | _fields(answer) | {"location": location}


@dataclass(frozen=True, slots=True)
class Account:
    """What became of events: all that were received were applied, known already, or rejected."""

    partition: int | None
    """None: of all together."""
    received: int
    applied: int
    duplicate: int
    rejected: int

    @property
    def balances(self) -> bool:
        """Whether each event that came is accounted for, once."""
        return self.received == self.applied + self.duplicate + self.rejected


def accounts(answer: pb.GetLedgerResponse, asked: Iterable[int]) -> list[Account]:
    """One account for each partition, in their order. Raises RingmillError if one that was asked for is missing."""
    rows = [
        Account(row.partition, row.received, row.applied, row.duplicate, row.rejected)
        for row in sorted(answer.rows, key=lambda row: row.partition)
    ]
    missing = set(asked) - {row.partition for row in rows}
    if missing:
        names = ", ".join(str(partition) for partition in sorted(missing))
        raise RingmillError(Code.NOT_FOUND, f"nobody tells of partition {names}: `ringmill workers` says who is there")
    return rows


def total(rows: Iterable[Account]) -> Account:
    """All accounts together."""
    sums = [0, 0, 0, 0]
    for row in rows:
        for place, count in enumerate((row.received, row.applied, row.duplicate, row.rejected)):
            sums[place] += count
    return Account(None, *sums)


def ledger_table(rows: list[Account], every: bool) -> Table:
    """The accounts of those partitions that had events, and the total: by default the busiest, and all that are odd."""
    table = Table(box=None, pad_edge=False)
    for heading in ("partition", "received", "applied", "duplicate", "rejected"):
        table.add_column(heading, justify="right")
    table.add_column("")
    shown = rows if every else _notable(rows)
    for row in shown:
        _add(table, str(row.partition), row)
    if len(shown) < len(rows):
        _add(table, f"{len(rows) - len(shown):,} others", total(row for row in rows if row not in shown))
    _add(table, f"all {len(rows):,}", total(rows))
    return table


def verdict(rows: list[Account]) -> str:
    """One line: whether every event is accounted for."""
    odd = [row for row in rows if not row.balances]
    if not odd:
        return "[green]balances[/green]: received = applied + duplicate + rejected, in every partition"
    names = ", ".join(str(row.partition) for row in odd[:ROWS_SHOWN])
    return f"[red]does NOT balance[/red] in {plural(len(odd), 'partition')}: {names}"


def ledger_fields(rows: list[Account]) -> dict[str, Any]:
    """All of it for JSON."""
    whole = total(rows)
    fields = ("received", "applied", "duplicate", "rejected")
    return {
        **{name: getattr(whole, name) for name in fields},
        "balances": all(row.balances for row in rows),
        "partitions": [{name: getattr(row, name) for name in ("partition", *fields)} for row in rows],
    }


def _notable(rows: list[Account]) -> list[Account]:
    busiest = sorted((row for row in rows if row.received), key=lambda row: -row.received)[:ROWS_SHOWN]
    return [row for row in rows if row in busiest or not row.balances]


def _add(table: Table, name: str, row: Account) -> None:
    counts = (row.received, row.applied, row.duplicate, row.rejected)
    table.add_row(name, *(f"{count:,}" for count in counts), "" if row.balances else "[red]does not balance[/red]")


def _fields(message: Any) -> dict[str, Any]:
    """The plain fields of a message: numbers and texts; lists and messages are left to the caller."""
    return {
        field.name: getattr(message, field.name)
        for field in message.DESCRIPTOR.fields
        if not field.is_repeated and field.message_type is None
    }
