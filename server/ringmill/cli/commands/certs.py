"""`ringmill certs`: certificates to begin with."""

from pathlib import Path
from typing import Annotated

import typer

from ringmill.cli import console, extras

certs = typer.Typer(
    help="""Make certificates for development: an authority of your own, and what it signs.

    [dim]$ ringmill certs init certs[/dim]
    """,
    no_args_is_help=True,
)

FolderArgument = Annotated[Path, typer.Argument(help="Where the authority is.", show_default=False)]
DaysOption = Annotated[int, typer.Option(help="How long they are valid.", min=1, max=3650)]
HostOption = Annotated[
    list[str] | None,
    typer.Option(help="DNS name or IP address under which it is dialled; may be given again.", show_default=False),
]

EDGE_HOSTS = ("localhost", "127.0.0.1", "::1")


@certs.command("init")
def init(
    folder: FolderArgument,
    trust_domain: Annotated[str, typer.Option(help="Begins every identity: spiffe://TRUST-DOMAIN/...")] = "ringmill",
    days: DaysOption = 365,
) -> None:
    """Make an authority, and a certificate for the edge and for one client on this machine.

    [dim]$ ringmill certs init certs[/dim]
    """
    extras.need("cryptography", "envoy")
    from ringmill.cli.certs.authority import CA_FILE, issue, make_authority

    make_authority(folder, trust_domain, days)
    edge = issue(folder, "edge", "edge", EDGE_HOSTS, days)
    client = issue(folder, "client", "client", (), days)
    console.out().print(f"{folder / CA_FILE}: give it to clients, to trust\n{edge}: Envoy's own\n{client}: a client's")


@certs.command("issue")
def issue_one(
    folder: FolderArgument,
    name: Annotated[str, typer.Argument(help="Whose it is.", show_default=False)],
    role: Annotated[str, typer.Option(help="What it is: edge, client, ...")] = "client",
    host: HostOption = None,
    days: DaysOption = 90,
) -> None:
    """Make a key and a certificate, signed by the authority; or replace them, while they are in use.

    [dim]$ ringmill certs issue certs edge --role edge --host ringmill.example.com[/dim]
    """
    extras.need("cryptography", "envoy")
    from ringmill.cli.certs.authority import issue

    console.out().print(str(issue(folder, role, name, host or (), days)))
