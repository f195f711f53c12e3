"""`ringmill worker` and `ringmill balancer`: the processes that `ringmill up` starts, for who starts them by hand."""

import logging
import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from ringmill.cli import process

Transport = Literal["auto", "cq", "aio"]

OnTotalLoss = Literal["refuse", "restart-empty"]

EdgeTls = Literal["none", "server", "mutual"]

PartitionsOption = Annotated[
    int, typer.Option(help="Into how many the keys are divided, a prime; the same for balancer and workers.", min=2)
]

PrometheusPortOption = Annotated[
    int | None, typer.Option(help="Serve metrics on this loopback port; 0 is any.", min=0, max=65_535)
]

TransportOption = Annotated[
    Transport, typer.Option(help="cq: completion queue, fastest. aio: grpc.aio. auto: cq where its self-test passes.")
]


def worker(
    app: Annotated[Path, typer.Argument(help="Python file whose pipelines are served.", show_default=False)],
    join: Annotated[str | None, typer.Option(help="Link address of a balancer, host:port.")] = None,
    listen: Annotated[
        str | None, typer.Option(help="Own public address, host:port; port 0 is any. Alone it owns every key.")
    ] = None,
    name: Annotated[str, typer.Option(help="Stable across restarts: it decides which keys are its own.")] = "worker-0",
    peer_listen: Annotated[
        str, typer.Option(help="Address where other workers reach it, host:port; port 0 is any.")
    ] = "127.0.0.1:0",
    peer_advertise: Annotated[
        str, typer.Option(help="Address that other workers are told; by default the one that is bound.")
    ] = "",
    host_label: Annotated[
        str, typer.Option(help="Host it runs on: copies are kept on different ones. By default the system's name.")
    ] = "",
    zone: Annotated[str, typer.Option(help="Zone of the host; copies are kept in different ones.")] = "",
    weight: Annotated[int, typer.Option(help="Relative share of the keys.", min=1, max=128)] = 1,
    cpu: Annotated[int | None, typer.Option(help="Core to run on.", min=0)] = None,
    partitions: PartitionsOption = 1021,
    keys_max: Annotated[int, typer.Option(help="Keys a partition may hold; more are refused.", min=1)] = 65_536,
    drain_time: Annotated[
        float | None,
        typer.Option(
            help="Seconds that SIGTERM waits at most, even if what is held here is then lost.",
            min=0,
            show_default="until others have it",
        ),
    ] = None,
    prometheus_port: PrometheusPortOption = None,
    transport: TransportOption = "auto",
) -> None:
    """Run one worker until SIGTERM.

    It prints a line of JSON when it is ready, and logs to standard error.

    [dim]$ ringmill worker app.py --join 127.0.0.1:7401 --name worker-2[/dim]
    [dim]$ ringmill worker app.py --listen 127.0.0.1:7400        (alone, without a balancer)[/dim]
    """
    process.begin()
    _log_to_stderr()
    from ringmill.server.config import WorkerConfig
    from ringmill.server.main import run

    status = run(
        WorkerConfig(
            app=app,
            join=join,
            listen=listen,
            name=name,
            peer_listen=peer_listen,
            peer_advertise=peer_advertise,
            host_label=host_label,
            zone=zone,
            weight=weight,
            cpu=cpu,
            partitions=partitions,
            keys_max=keys_max,
            drain_s=drain_time,
            prometheus_port=prometheus_port,
            transport=transport,
        )
    )
    process.end(status)


def balancer(
    listen: Annotated[str, typer.Option(help="Public address, host:port; port 0 is any.")] = "127.0.0.1:7400",
    link: Annotated[str, typer.Option(help="Address where workers join, host:port; port 0 is any.")] = "127.0.0.1:0",
    workers: Annotated[
        int, typer.Option(help="A new cluster serves once so many have joined; more may join later.", min=1, max=512)
    ] = 1,
    replicas: Annotated[
        int | None,
        typer.Option(
            help="Copies of each partition, the primary included.",
            min=1,
            max=8,
            show_default="2 where there are at least 2 workers",
        ),
    ] = None,
    min_in_sync: Annotated[
        int, typer.Option(help="Copies without which a partition takes no events.", min=1, max=8)
    ] = 1,
    on_total_loss: Annotated[
        OnTotalLoss | None,
        typer.Option(
            help="A partition whose every copy is lost is refused, or begins anew without state.",
            show_default="restart-empty with one copy, else refuse",
        ),
    ] = None,
    state_dir: Annotated[
        Path | None, typer.Option(help="Folder where the view outlives this process. Without it the cluster does not.")
    ] = None,
    cluster: Annotated[str, typer.Option(help="Identity of a new cluster.", show_default="random")] = "",
    xds_listen: Annotated[
        str | None,
        typer.Option(
            help="Serve proxies (Envoy) their configuration here, host:port; port 0 is any.", show_default="not served"
        ),
    ] = None,
    edge: Annotated[
        str, typer.Option(help="Where those proxies listen for clients, ip:port.", metavar="IP:PORT")
    ] = "127.0.0.1:7400",
    edge_tls: Annotated[
        EdgeTls,
        typer.Option(help="Have them speak TLS with clients (server), and ask clients for certificates (mutual)."),
    ] = "none",
    advertise: Annotated[
        str, typer.Option(help="Where they reach this balancer, ip:port.", show_default="the bound --listen")
    ] = "",
    direct: Annotated[
        bool,
        typer.Option(help="Have them send a stream about one key straight to its worker; needs workers with --listen."),
    ] = False,
    heartbeat_ms: Annotated[int, typer.Option(help="How often an idle worker shows that it is alive.", min=1)] = 100,
    silence_ms: Annotated[
        int, typer.Option(help="A worker silent for so long is taken for dead, in milliseconds.", min=3)
    ] = 600,
    partitions: PartitionsOption = 1021,
    status_interval: Annotated[
        float, typer.Option(help="Report counters as JSON this often, in seconds; 0: never.", min=0)
    ] = 0.0,
    prometheus_port: PrometheusPortOption = None,
    transport: TransportOption = "auto",
) -> None:
    """Run one balancer until SIGTERM.

    It prints a line of JSON with its addresses when it listens, and logs to standard error.

    [dim]$ ringmill balancer --listen 127.0.0.1:7400 --link 127.0.0.1:7401 --workers 3[/dim]
    [dim]$ ringmill balancer --workers 3 --replicas 2 --state-dir /var/lib/ringmill[/dim]
    """
    process.begin()
    _log_to_stderr()
    from ringmill.balancer.config import BalancerConfig
    from ringmill.balancer.main import run

    status = run(
        BalancerConfig(
            listen=listen,
            link=link,
            partitions=partitions,
            expected_workers=workers,
            replicas=min(2, workers) if replicas is None else replicas,
            min_in_sync=min_in_sync,
            on_total_loss=on_total_loss or "",
            state_dir=state_dir,
            cluster=cluster,
            xds_listen=xds_listen,
            edge=edge,
            edge_tls=edge_tls,
            advertise=advertise,
            direct=direct,
            heartbeat_ms=heartbeat_ms,
            silence_ms=silence_ms,
            status_interval_s=status_interval,
            prometheus_port=prometheus_port,
            transport=transport,
        )
    )
    process.end(status)


def _log_to_stderr() -> None:
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
