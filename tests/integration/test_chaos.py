"""Real processes die, freeze, come and go under load: short slices of `ringmill chaos`, and networks that misbehave.

What is promised is checked by the histories that the load writes: every acknowledged event stands in exactly one place.
How long anything takes is no matter here.
"""

import json
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from ringmill.loadtest.chaos.checker import Findings
from ringmill.loadtest.chaos.cluster import Shape
from ringmill.loadtest.chaos.proxy import Fault, Proxy
from ringmill.loadtest.chaos.run import Run, Traffic
from ringmill.loadtest.chaos.trials import Trial, Trials

TRAFFIC = Traffic(producers=4, keys=300, events_s=3_000.0)
SEED = 7

pytestmark = pytest.mark.timeout(110)


def checked(run: Run, placed_min: int = 1_000) -> Findings:
    """Ends the traffic; fails if any acknowledged event is not where it must be."""
    found = run.close()
    assert found.violations == 0, found.examples
    assert found.placed >= placed_min, "the load was not served"
    assert run.cluster.crashes == []
    return found


@pytest.fixture
def runs() -> list[Run]:
    """The clusters of a test, the newest last."""
    return []


@pytest.fixture
def running(tmp_path: Path, runs: list[Run]) -> Iterator[Callable[..., Run]]:
    """Starts clusters under load, and stops them."""

    def start(workers: int = 3, replicas: int = 2, entrance: str = "", **shape: Any) -> Run:
        runs.append(Run(f"test-{len(runs)}", Shape(workers, replicas, **shape), TRAFFIC, tmp_path, SEED, entrance))
        return runs[-1].__enter__()

    yield start
    for run in runs:
        run.__exit__()


def make(run: Run, *kinds: str) -> list[Trial]:
    trials = Trials(run, SEED, quiet_s=2.0)
    return [trial for kind in kinds for trial in trials.make(kind)]


def test_workers_that_are_killed_and_frozen_take_nothing_with_them(running: Callable[..., Run]) -> None:
    run = running()
    trials = make(run, "kill", "stop", "kill", "kill")
    assert all(trial["gap_ms"] is not None and trial["views"] > 0 for trial in trials)
    checked(run)
    assert run.failures.total() == 0, "neither calls nor the probes' streams notice anything but a pause"


def test_two_deaths_take_nothing_with_them_where_there_are_three_copies(running: Callable[..., Run]) -> None:
    run = running(workers=4, replicas=3)
    make(run, "both", "row", "row")
    checked(run)
    assert run.failures.total() == 0


def test_a_balancer_that_is_killed_and_frozen_takes_nothing_with_it(running: Callable[..., Run]) -> None:
    run = running()
    _, frozen, _ = make(run, "balancer-kill", "balancer-stop", "balancer-kill")
    assert frozen["views"] == 0, "a balancer that wakes up must not take the living for dead"
    checked(run)
    assert not any("client" in failure for failure in run.failures)


def test_workers_come_and_go_under_load(running: Callable[..., Run]) -> None:
    run = running()
    trials = make(run, "scale", "kill")
    assert sum(trial["moved"] for trial in trials if "moved" in trial) > 0
    checked(run)
    assert run.failures.total() == 0


def test_a_rolling_restart_under_load(running: Callable[..., Run]) -> None:
    run = running(workers=2)
    before = {name: run.cluster.pid(name) for name in run.cluster.workers}
    make(run, "restart")
    after = {name: run.cluster.pid(name) for name in run.cluster.workers}
    assert before.keys() == after.keys()
    assert all(before[name] != after[name] for name in before)
    checked(run)
    assert run.failures.total() == 0


def test_nobody_is_taken_for_dead_at_full_load(running: Callable[..., Run]) -> None:
    run = running(workers=2)
    (trial,) = make(run, "quiet")
    assert trial["events_s"] > 0
    assert trial["views"] == 0
    checked(run)


@pytest.fixture
def proxied(runs: list[Run]) -> Iterator[Callable[[Callable[[Run], str]], Proxy]]:
    """Makes proxies for addresses of the cluster that is yet to be started."""
    with ExitStack() as stack:
        yield lambda target: stack.enter_context(Proxy(lambda: target(runs[-1]) if runs else ""))


def hampered(run: Run, proxy: Proxy) -> None:
    """Everything that a network may do to a connection, one after the other."""
    slow = Fault(delay_s=0.02, bytes_s=2e6)
    proxy.hamper(slow, slow)
    time.sleep(0.5)
    proxy.heal()
    for _ in range(3):
        assert proxy.cut() > 0
        time.sleep(0.4)
    for stalled in ((Fault(stalled=True), None), (None, Fault(stalled=True))):
        for stalled_s in (0.3, 1.5):  # less than what makes a worker silent, and more
            proxy.hamper(*stalled)
            time.sleep(stalled_s)
            proxy.heal()
            run.cluster.wait_whole()
    at_ns = run.now_ns()
    run.served_again(at_ns)


def test_a_bad_network_between_clients_and_balancer(
    running: Callable[..., Run], proxied: Callable[[Callable[[Run], str]], Proxy]
) -> None:
    proxy = proxied(lambda run: run.cluster.address)
    run = running(workers=2, entrance=proxy.address)
    epoch = run.cluster.epoch()
    hampered(run, proxy)
    assert run.cluster.epoch() == epoch, "clients' troubles are not the cluster's"
    checked(run)


def test_a_bad_network_between_balancer_and_worker(
    running: Callable[..., Run], proxied: Callable[[Callable[[Run], str]], Proxy]
) -> None:
    proxy = proxied(lambda run: run.cluster.link)
    run = running(workers=3, worker_flags={"worker-1": ("--join", proxy.address)})
    hampered(run, proxy)
    checked(run)


def test_a_bad_network_between_two_workers(
    running: Callable[..., Run], proxied: Callable[[Callable[[Run], str]], Proxy]
) -> None:
    """Records of the others reach worker-1 through the proxy; its own do not."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        listen = f"127.0.0.1:{free.getsockname()[1]}"
    proxy = proxied(lambda _: listen)
    run = running(workers=3, worker_flags={"worker-1": ("--peer-listen", listen, "--peer-advertise", proxy.address)})
    hampered(run, proxy)
    checked(run)


def test_the_command_keeps_what_it_found(tmp_path: Path) -> None:
    arguments = [
        "chaos",
        "--kills",
        "1",
        "--workers",
        "2",
        "--producers",
        "2",
        "--rate",
        "1000",
        "--out",
        str(tmp_path),
    ]
    done = subprocess.run([sys.executable, "-m", "ringmill.cli.main", *arguments], capture_output=True, timeout=100)
    assert done.returncode == 0, done.stdout.decode() + done.stderr.decode()
    figures = {figure["name"]: figure for figure in json.loads((tmp_path / "report.json").read_text())["figures"]}
    assert figures["acknowledged"]["measured"] > 0
    assert figures["kill-p50"]["measured"] > 0
    assert len((tmp_path / "trials.jsonl").read_text().splitlines()) == 1
