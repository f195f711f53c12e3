"""`ringmill up`: a balancer and workers on this machine."""

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ringmill.cli import console, extras, process
from ringmill.cli.children import Line
from ringmill.cli.cluster import Cluster, ClusterConfig, TotalLoss, free_port
from ringmill.cli.commands.serve import TransportOption
from ringmill.cli.news import copies, plural

if TYPE_CHECKING:
    from rich.status import Status

UNLINKED = "no link to the balancer"
"""What every worker says when the balancer has ended, with gRPC's words for it; that it has is told once anyway."""
PLAIN_STATUS_S = 10.0
"""How often the status is printed where it cannot be redrawn in place."""


def up(
    app: Annotated[Path, typer.Argument(help="Python file whose pipelines are served.", show_default=False)],
    workers: Annotated[int, typer.Option("--workers", "-w", help="Worker processes, one a core.", min=1, max=64)] = 2,
    port: Annotated[int, typer.Option("--port", "-p", help="Public port; 0 is any.", min=0, max=65_535)] = 7400,
    host: Annotated[
        str, typer.Option(help="Public address to bind; keep it private, gRPC is not an edge.")
    ] = "127.0.0.1",
    replicas: Annotated[
        int | None,
        typer.Option(
            help="Copies of each partition, on different workers. Default: 2 where there are 2 workers.", min=1
        ),
    ] = None,
    min_in_sync: Annotated[int, typer.Option(help="Copies without which a partition takes no events.", min=1)] = 1,
    on_total_loss: Annotated[
        TotalLoss, typer.Option(help="When every copy of a partition is gone: refuse its keys, or begin them anew.")
    ] = "restart-empty",
    state_dir: Annotated[
        Path | None, typer.Option(help="Folder where the balancer keeps its view. Default: a temporary one.")
    ] = None,
    envoy: Annotated[
        bool, typer.Option("--envoy", help="Put Envoy in front: clients reach it, and it the balancer.")
    ] = False,
    tls: Annotated[
        Path | None, typer.Option(help="Envoy's certificate and key in PEM, in one file.", show_default="no TLS")
    ] = None,
    client_ca: Annotated[
        Path | None, typer.Option(help="What clients' certificates must come from, in PEM.", show_default="none asked")
    ] = None,
    pin: Annotated[bool, typer.Option(help="Give each worker its own core where there are enough.")] = True,
    transport: TransportOption = "auto",
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Show what the processes log, too.")] = False,
) -> int:
    """Serve the pipelines of a file on this machine: one balancer, some workers, one address.

    Each key has copies on other workers: when a worker dies, another one goes on with its keys, and it is started
    again. So is the balancer. Ctrl-C or SIGTERM stops everything, and so does the end of this process.

    [dim]$ ringmill up examples/flights.py[/dim]
    [dim]$ ringmill up app.py --workers 4 --port 9000[/dim]
    [dim]$ ringmill up app.py --workers 3 --replicas 3 --min-in-sync 2[/dim]
    [dim]$ ringmill up app.py --envoy --host 0.0.0.0[/dim]
    """
    process.die_with_parent()
    if envoy:
        extras.need("envoy_data_plane", "envoy")
    with app.open("rb"):
        pass  # an unreadable file is told here, before anything is started, and so is a taken port
    free_port(host, port)
    config = ClusterConfig(
        app,
        workers=workers,
        replicas=replicas,
        min_in_sync=min_in_sync,
        on_total_loss=on_total_loss,
        state_dir=state_dir,
        host=host,
        port=port,
        envoy=envoy,
        tls=tls,
        client_ca=client_ca,
        transport=transport,
        pin=pin,
    )
    with Cluster(config) as cluster, stopped_by_signals(cluster):
        show_start(cluster, verbose)
        if not cluster.stopping:
            _watch(cluster, verbose)
        console.out().print("stopping: draining what is in flight")
    console.out().print("stopped")
    return 0


@contextmanager
def stopped_by_signals(cluster: Cluster) -> Iterator[None]:
    """Lets SIGINT and SIGTERM ask the cluster to stop; a second one interrupts the stopping itself."""

    def ask(_number: int, _frame: Any) -> None:
        if cluster.stopping:
            raise KeyboardInterrupt
        cluster.stopping = True

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def show_start(cluster: Cluster, verbose: bool = False) -> None:
    """Starts the cluster and prints what was compiled, for how long, and the address."""
    began_s = time.monotonic()
    screen = console.out()
    config = cluster.config
    screen.print(
        f"starting a balancer and {plural(config.workers, 'worker')}; what was never compiled here is compiled first, "
        "which may take a minute"
    )
    with screen.status("compiling"):
        heard = cluster.start()
    show_logs(heard, verbose)
    if cluster.stopping:
        return
    for pipeline in cluster.pipelines:
        screen.print(f"ringmill {_version()}  {_pipeline(pipeline)}")
    took_s = time.monotonic() - began_s
    screen.print(
        f"{plural(cluster.wanted, 'worker')}, {plural(config.copies, 'copy', 'copies')} of each key  "
        f"listening on [bold]{cluster.address}[/bold]  ready in {took_s:.1f} s"
    )
    screen.print(f"processes: {', '.join(f'{child.name} {child.pid}' for child in cluster.processes)}")
    if cluster.wanted != config.workers:
        screen.print(
            f"{config.state_dir} has a cluster of {plural(cluster.wanted, 'worker')}, which goes on with all of them: "
            f"ringmill scale {config.workers} --address {cluster.operators} makes them {config.workers}"
        )
    if config.envoy:
        screen.print(
            f"Envoy is in front; ringmill workers, scale and the like reach the balancer at {cluster.operators}"
        )


def show_logs(lines: list[Line], verbose: bool = False) -> None:
    """Relays what children said to people: warnings, or all of it. Why one ended is told when it is started again."""
    from rich.markup import escape

    for line in lines:
        if line.text and (verbose or not (line.text.startswith(("INFO ", "error: ")) or UNLINKED in line.text)):
            # In one call: under a live status, the end of a line that is printed in pieces erases its beginning.
            console.out().print(f"[dim]{line.child}:[/dim] {escape(line.text)}")


def status_line(status: dict[str, Any], events_per_s: float, alive: int, workers: int, held: int = 1) -> str:
    """What the live status says: rate, keys, what is in flight, how the copies stand, and who is missing.

    held: copies of each key; keys are counted with them, as workers hold them, and events by this process of the
    balancer.
    """
    keys = f"{console.count(status.get('keys', 0))} keys{' with copies' if held > 1 else ''}"
    parts = [f"{console.count(events_per_s)} events/s", keys]
    parts.append(f"{console.count(status.get('in_flight', 0))} in flight")
    parts.append(f"{console.count(status.get('events', 0))} events since the balancer began")
    if alive < workers:
        parts.append(f"{alive} of {workers} workers")
    if standing := copies(status):
        parts.append(standing)
    return "  ".join(parts)


class _Rate:
    """Events a second between two reports."""

    def __init__(self) -> None:
        self._seen: tuple[float, int] | None = None
        self._report: dict[str, Any] = {}
        self.events_per_s = 0.0

    def hear(self, status: dict[str, Any], now_s: float) -> bool:
        """Takes the newest report; true if it is a new one."""
        if status is self._report or not status:
            return False
        events = int(status["events"])
        if self._seen is not None and now_s > self._seen[0]:
            self.events_per_s = max(0, events - self._seen[1]) / (now_s - self._seen[0])
        self._seen, self._report = (now_s, events), status
        return True


def _watch(cluster: Cluster, verbose: bool) -> None:
    screen = console.out()
    rate = _Rate()
    if not screen.is_terminal:
        _watch_plainly(cluster, rate, verbose)
        return
    with screen.status("waiting for events") as live:
        while not cluster.stopping:
            show_logs(cluster.step(0.25), verbose)
            if rate.hear(cluster.status, time.monotonic()):
                _redraw(live, cluster, rate)


def _redraw(live: "Status", cluster: Cluster, rate: _Rate) -> None:
    live.update(_line(cluster, rate))


def _line(cluster: Cluster, rate: _Rate) -> str:
    alive, held = len(cluster.workers), cluster.config.copies
    return status_line(cluster.status, rate.events_per_s, alive, cluster.wanted, held)


def _watch_plainly(cluster: Cluster, rate: _Rate, verbose: bool) -> None:
    """Without a terminal: a line now and then, and only while something is going on."""
    next_s, last = 0.0, ""
    while not cluster.stopping:
        show_logs(cluster.step(0.25), verbose)
        now_s = time.monotonic()
        if now_s < next_s or not rate.hear(cluster.status, now_s):
            continue
        line = _line(cluster, rate)
        if line != last:
            console.out().print(line)
        next_s, last = now_s + PLAIN_STATUS_S, line


def _pipeline(report: dict[str, Any]) -> str:
    how = "compiled" if report["cold"] else "loaded from the cache"
    name = f"[bold]{report['name']}[/bold] {report['version']}"
    return f"{name}  (digest {report['digest'][:8]}, {how} in {report['compile_s']:.1f} s)"


def _version() -> str:
    from importlib import metadata

    return metadata.version("ringmill")
