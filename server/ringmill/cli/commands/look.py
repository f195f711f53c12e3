"""`ringmill workers`, `ringmill explain` and `ringmill ledger`: what a running cluster tells an operator."""

import json
from typing import Annotated

import typer

from ringmill.cli import console, process

AddressOption = Annotated[
    str, typer.Option("--address", "-a", help="Public address of the balancer, host:port.", metavar="HOST:PORT")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one line of JSON.")]

ADDRESS = "127.0.0.1:7400"


def workers(address: AddressOption = ADDRESS, as_json: JsonOption = False) -> int:
    """List the workers of a cluster: how each is, what it serves, and what it holds copies of.

    The last line says whether the cluster is whole, or how many partitions are short of a copy.

    [dim]$ ringmill workers[/dim]
    [dim]$ watch -n 1 ringmill workers --address 10.0.0.7:7400[/dim]
    """
    process.begin()
    from ringmill.cli.admin import show
    from ringmill.cli.admin.connect import connected

    with connected(address) as admin:
        answer = admin.workers()
    if as_json:
        print(json.dumps(show.workers_fields(answer)))
        return 0
    console.out().print(show.workers_table(answer))
    console.out().print(show.standing(answer))
    return 0


def explain(
    key: Annotated[str, typer.Argument(help="The key.", show_default=False)],
    address: AddressOption = ADDRESS,
    as_json: JsonOption = False,
) -> int:
    """Tell where a key lives, and why there.

    Its partition, the worker that serves it, the workers that hold copies, the next one to serve first.

    [dim]$ ringmill explain N14228[/dim]
    """
    process.begin()
    from ringmill.cli.admin import show
    from ringmill.cli.admin.connect import connected

    with connected(address) as admin:
        answer = admin.explain(key)
    if as_json:
        print(json.dumps(show.explanation_fields(key, answer)))
    else:
        console.out().print(show.explanation(key, answer))
    return 0


def ledger(
    partition: Annotated[
        list[int] | None, typer.Option(help="Only this partition; repeatable.", min=0, show_default=False)
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="Show every partition, not only the busiest.")] = False,
    address: AddressOption = ADDRESS,
    as_json: JsonOption = False,
) -> int:
    """Account for every event: received = applied + duplicate + rejected.

    In total and by partition. Status 1 if it does not balance.

    [dim]$ ringmill ledger[/dim]
    [dim]$ ringmill ledger --partition 12 --partition 700[/dim]
    """
    process.begin()
    from ringmill.cli.admin import show
    from ringmill.cli.admin.connect import connected

    asked = partition or []
    with connected(address) as admin:
        rows = show.accounts(admin.ledger(asked), asked)
    if as_json:
        print(json.dumps(show.ledger_fields(rows)))
    else:
        console.out().print(show.ledger_table(rows, every or bool(asked)))
        console.out().print(show.verdict(rows))
    return 0 if all(row.balances for row in rows) else 1
