"""`ringmill scale`, `ringmill drain` and `ringmill restart`: changes of a cluster that goes on serving."""

from typing import TYPE_CHECKING, Annotated

import typer

from ringmill.cli import process
from ringmill.cli.commands.look import ADDRESS, AddressOption

if TYPE_CHECKING:
    from ringmill.v1.admin_pb2 import MoveWorkersRequest

DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and change nothing.")]


def scale(
    workers: Annotated[int, typer.Argument(help="How many workers there are to be.", min=1, show_default=False)],
    dry_run: DryRunOption = False,
    address: AddressOption = ADDRESS,
) -> int:
    """Make this the number of workers, while the cluster goes on serving.

    `ringmill up` starts the new ones itself; workers that are started by hand are waited for. Each key waits for
    some milliseconds when it moves. Ends when everything has moved and has its copies.

    [dim]$ ringmill scale 4[/dim]
    [dim]$ ringmill scale 2 --dry-run[/dim]
    """
    process.begin()
    from ringmill.v1.admin_pb2 import MoveWorkersRequest

    return _move(f"scaling to {workers}", MoveWorkersRequest(scale_to=workers, validate_only=dry_run), address)


def drain(
    worker: Annotated[str, typer.Argument(help="Name of the worker.", show_default=False)],
    dry_run: DryRunOption = False,
    address: AddressOption = ADDRESS,
) -> int:
    """Empty a worker and let it go, while the cluster goes on serving.

    What it serves and what it holds copies of is moved to the others first.

    [dim]$ ringmill drain worker-1[/dim]
    [dim]$ ringmill drain worker-1 --dry-run[/dim]
    """
    process.begin()
    from ringmill.v1.admin_pb2 import MoveWorkersRequest

    return _move(f"draining {worker}", MoveWorkersRequest(drain=worker, validate_only=dry_run), address)


def restart(dry_run: DryRunOption = False, address: AddressOption = ADDRESS) -> int:
    """Restart all workers, one after the other, while the cluster goes on serving.

    Each is emptied, let go, started anew by `ringmill up` or by whoever started it, and given its share again.

    [dim]$ ringmill restart[/dim]
    """
    process.begin()
    from ringmill.v1.admin_pb2 import MoveWorkersRequest

    return _move("restarting all", MoveWorkersRequest(restart_all=True, validate_only=dry_run), address)


def _move(name: str, request: "MoveWorkersRequest", address: str) -> int:
    from ringmill.cli.admin.connect import connected
    from ringmill.cli.admin.move import move

    with connected(address) as admin:
        move(admin, name, request)
    return 0
