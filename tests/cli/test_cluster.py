"""The supervision of child processes, with a stand-in for the processes themselves."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from ringmill.cli.children import Child, Line, how_it_ended
from ringmill.cli.cluster import Cluster, ClusterConfig, pinned_cores
from ringmill.cli.commands.up import show_logs, show_start, status_line
from ringmill.core.errors import RingmillError

STAND_IN = """
import json, pathlib, signal, sys, time
sys.path[:0] = %r
from ringmill.cli.process import die_with_parent
die_with_parent()
role = sys.argv[1]
app = open(sys.argv[2]).read() if role not in ("balancer", "envoy") else ""
if role == "check":
    if "broken" in app:
        sys.exit("error: app.py:3: no such field")
    print(json.dumps({"event": "pipeline", "name": "p", "version": "1", "digest": "d", "cold": 0, "compile_s": 0.0}))
    sys.exit()
if "unready" in app and role == "worker":
    sys.exit("error: port 7400 is taken")
if pathlib.Path(sys.argv[0]).with_name("unready-" + role).exists():
    sys.exit("error: port 7400 is taken")
if "stubborn" in app:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
else:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
print("warming up", file=sys.stderr)
addresses = {"address": "127.0.0.1:1", "link": "127.0.0.1:2", "xds": "127.0.0.1:3"} if role == "balancer" else {}
early = pathlib.Path(sys.argv[0]).with_name("early-" + role)
if early.exists():
    print(early.read_text(), flush=True)
print(json.dumps({"event": "ready", "arguments": sys.argv, **addresses}), flush=True)
print(json.dumps({"event": "status", "events": 12}), flush=True)
while True:
    # What a real balancer would find out, a test writes to a file beside the app.
    time.sleep(0.02)
    news = pathlib.Path(sys.argv[0]).with_name("news-" + role)
    if news.exists():
        text = news.read_text()
        news.unlink()
        if text.startswith("exit"):
            sys.exit(int(text.removeprefix("exit ")))
        print(text, flush=True)
"""


@pytest.fixture
def make_cluster(tmp_path: Path) -> Callable[..., Cluster]:
    program = tmp_path / "stand_in.py"
    program.write_text(STAND_IN % sys.path)

    def make(app: str = "", **settings: Any) -> Cluster:
        (tmp_path / "app.py").write_text(app)
        return Cluster(ClusterConfig(tmp_path / "app.py", program=(sys.executable, str(program)), **settings))

    return make


def until(done: Callable[[str], bool], cluster: Cluster) -> str:
    """Steps the cluster until something is so; returns what was said meanwhile."""
    said = ""
    deadline_s = time.monotonic() + 30.0
    while not done(said):
        assert time.monotonic() < deadline_s, said
        said += "".join(f"{line.child}: {line.text}\n" for line in cluster.step(0.05) if line.text)
    return said


def test_everything_is_started_and_stopped(make_cluster: Callable[..., Cluster]) -> None:
    with make_cluster(workers=3) as cluster:
        heard = cluster.start()
        assert cluster.address == "127.0.0.1:1"
        assert [pipeline["name"] for pipeline in cluster.pipelines] == ["p"]
        ready = [line.report["arguments"] for line in heard if line.report.get("event") == "ready"]
        assert [arguments[1] for arguments in ready] == ["balancer", "worker", "worker", "worker"]
        assert all(arguments[3:5] == ["--join", "127.0.0.1:2"] for arguments in ready[1:])
        until(lambda said: cluster.status == {"event": "status", "events": 12}, cluster)
        assert len(psutil.Process().children()) == 4
    assert psutil.Process().children() == []


def arguments_of(name: str) -> list[str]:
    """The command line of a running child; a balancer or a worker's name."""
    return next(child.cmdline() for child in psutil.Process().children() if name in child.cmdline())


def tell(cluster: Cluster, role: str, text: str) -> None:
    """Has a stand-in say this, or exit."""
    news = Path(cluster.config.program[1]).with_name(f"news-{role}")
    new = news.with_suffix(".new")
    new.write_text(text)
    new.rename(news)  # whole, or not there


def want(*names: str) -> str:
    return json.dumps({"event": "want", "workers": names})


def test_a_worker_that_dies_is_started_again_at_once(make_cluster: Callable[..., Cluster]) -> None:
    with make_cluster(workers=2) as cluster:
        cluster.start()
        victim = cluster.workers[1]
        os.kill(victim.pid, signal.SIGKILL)
        said = until(lambda said: "is back" in said, cluster)
        assert "worker-1: was killed by SIGKILL; starting it again\n" in said
        assert cluster.workers[1].pid != victim.pid
        assert cluster.workers[1].name == "worker-1"


Capture = pytest.CaptureFixture[str]


def test_the_start_tells_every_process(make_cluster: Callable[..., Cluster], capsys: Capture) -> None:
    with make_cluster(workers=2) as cluster:
        show_start(cluster)
        pids = {child.pid for child in psutil.Process().children()}
        shown = capsys.readouterr().out
        assert "2 workers, 2 copies of each key  listening on 127.0.0.1:1" in shown
        told = re.search(r"processes: balancer (\d+), worker-0 (\d+), worker-1 (\d+)\n", shown)
        assert told
        assert {int(pid) for pid in told.groups()} == pids
        assert "ringmill scale" not in shown


def test_a_cluster_of_another_size_goes_on_and_says_so(
    make_cluster: Callable[..., Cluster], tmp_path: Path, capsys: Capture
) -> None:
    (tmp_path / "early-balancer").write_text(want("worker-0", "worker-1", "worker-3"))  # what the state folder says
    with make_cluster(workers=2, state_dir=tmp_path / "st") as cluster:
        show_start(cluster)
    shown = capsys.readouterr().out
    assert "3 workers, 2 copies of each key  listening" in shown
    assert "st has a cluster of 3 workers, which goes on with all of them" in shown
    assert "ringmill scale 2 --address 127.0.0.1:1 makes them 2" in shown


def test_that_the_balancer_is_away_is_told_once(capsys: Capture) -> None:
    warning = "WARNING ringmill.worker: "
    lines = [Line(f"worker-{number}", f"{warning}no link to the balancer (UNAVAILABLE: RST)") for number in range(3)]
    show_logs([Line("balancer", "was killed by SIGKILL"), *lines, Line("worker-0", f"{warning}disk full")])
    assert capsys.readouterr().out == f"balancer: was killed by SIGKILL\nworker-0: {warning}disk full\n"
    show_logs(lines, verbose=True)
    assert capsys.readouterr().out.count("no link to the balancer") == 3


def test_the_status_says_what_is_counted() -> None:
    status = {"keys": 2_000, "events": 600, "in_flight": 1}
    line = status_line(status, 5.0, alive=1, workers=2, held=2)
    assert line == "5 events/s  2 k keys with copies  1 in flight  600 events since the balancer began  1 of 2 workers"
    assert "  2 k keys  " in status_line(status, 5.0, alive=2, workers=2)


def test_envoy_takes_the_public_address_and_comes_back_to_it(make_cluster: Callable[..., Cluster]) -> None:
    with make_cluster(workers=1, envoy=True, port=0) as cluster:
        cluster.start()
        assert cluster.operators == "127.0.0.1:1"
        asked = arguments_of("--edge")
        assert asked[asked.index("--edge") + 1] == cluster.address
        assert asked[asked.index("--listen") + 1] == "127.0.0.1:0", "only Envoy is to be reached from outside"
        run = arguments_of("envoy")
        assert run[run.index("--xds") + 1] == "127.0.0.1:3"
        tell(cluster, "envoy", "exit 1")
        until(lambda said: "envoy: is back" in said, cluster)
        assert arguments_of("envoy") == run
        os.kill(next(child.pid for child in psutil.Process().children() if "--edge" in child.cmdline()), signal.SIGKILL)
        until(lambda said: "balancer: is back" in said, cluster)
        again = arguments_of("--edge")
        assert again[again.index("--edge") + 1] == cluster.address
        assert again[again.index("--xds-listen") + 1] == "127.0.0.1:3"
    assert psutil.Process().children() == []


def test_a_port_that_is_taken_is_told_before_envoy_would_share_it(make_cluster: Callable[..., Cluster]) -> None:
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with (
            make_cluster(envoy=True, port=taken.getsockname()[1]) as cluster,
            pytest.raises(RingmillError, match=f"127.0.0.1:{taken.getsockname()[1]}: .*; --port 0 is any free one"),
        ):
            cluster.start()


def test_a_balancer_that_dies_is_started_again_where_it_was(make_cluster: Callable[..., Cluster]) -> None:
    with make_cluster(workers=1) as cluster:
        cluster.start()
        before = arguments_of("balancer")
        workers = [child.pid for child in cluster.workers]
        tell(cluster, "balancer", "exit 3")
        said = until(lambda said: "balancer: is back" in said, cluster)
        assert "balancer: exited with status 3; starting it again\n" in said
        after = arguments_of("balancer")
        assert after[after.index("--listen") + 1] == "127.0.0.1:1"
        assert after[after.index("--link") + 1] == "127.0.0.1:2"
        assert after[after.index("--state-dir") + 1] == before[before.index("--state-dir") + 1]
        assert [child.pid for child in cluster.workers] == workers  # they keep their state


def test_a_balancer_that_cannot_be_started_again_is_an_error(make_cluster: Callable[..., Cluster]) -> None:
    with make_cluster(workers=1) as cluster:
        cluster.start()
        Path(cluster.config.program[1]).with_name("unready-balancer").touch()
        tell(cluster, "balancer", "exit 3")
        with pytest.raises(RingmillError, match="balancer: port 7400 is taken"):
            until(lambda said: False, cluster)
    assert psutil.Process().children() == []


def test_the_workers_that_the_balancer_wants_are_there(make_cluster: Callable[..., Cluster]) -> None:
    with make_cluster(workers=1) as cluster:
        cluster.start()
        tell(cluster, "balancer", want("worker-0", "worker-1"))
        said = until(lambda said: "worker-1: has joined" in said, cluster)
        assert cluster.wanted == len(cluster.workers) == 2
        assert "worker-0" not in said

        tell(cluster, "balancer", want("worker-1"))
        until(lambda said: cluster.wanted == 1, cluster)
        assert len(cluster.workers) == 2  # it leaves by itself, once it holds nothing
        os.kill(cluster.workers[0].pid, signal.SIGTERM)
        assert until(lambda said: len(cluster.workers) == 1, cluster) == "worker-0: was let go\n"
        assert [child.name for child in cluster.workers] == ["worker-1"]


def test_a_worker_that_leaves_and_is_wanted_is_started_anew(make_cluster: Callable[..., Cluster]) -> None:
    with make_cluster(workers=1) as cluster:
        cluster.start()
        os.kill(cluster.workers[0].pid, signal.SIGTERM)  # the stand-in exits with status 0, as one that is let go
        said = until(lambda said: "is back" in said, cluster)
        assert "worker-0: left in good order; starting it anew\n" in said


def test_what_the_balancer_finds_is_told(make_cluster: Callable[..., Cluster]) -> None:
    with make_cluster(workers=1) as cluster:
        cluster.start()
        found = {"event": "failover", "worker": "worker-1", "partitions": 507, "by": ["worker-0"]}
        tell(cluster, "balancer", json.dumps(found))
        said = until(bool, cluster)
        assert said == "balancer: worker-1 is gone; its 507 partitions went on at worker-0\n"


@pytest.mark.parametrize(
    ("settings", "copies"), [({"workers": 1}, 1), ({"workers": 3}, 2), ({"workers": 3, "replicas": 3}, 3)]
)
def test_the_balancer_is_told_how_many_copies(
    settings: dict[str, int], copies: int, make_cluster: Callable[..., Cluster]
) -> None:
    with make_cluster(**settings) as cluster:
        cluster.start()
        arguments = arguments_of("balancer")
        assert arguments[arguments.index("--replicas") + 1] == str(copies)
        assert arguments[arguments.index("--min-in-sync") + 1] == "1"
        assert arguments[arguments.index("--on-total-loss") + 1] == "restart-empty"


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"workers": 2, "replicas": 3}, "3 replicas need as many workers: say --workers 3"),
        ({"workers": 2, "min_in_sync": 3}, "--min-in-sync 3 is more than the 2 copies"),
    ],
)
def test_what_can_never_be_is_refused(
    settings: dict[str, int], says: str, make_cluster: Callable[..., Cluster]
) -> None:
    with pytest.raises(RingmillError, match=says):
        make_cluster(**settings)


def test_views_are_kept_where_they_are_asked_for_and_else_for_one_run(
    make_cluster: Callable[..., Cluster], tmp_path: Path
) -> None:
    with make_cluster(workers=1) as cluster:
        cluster.start()
        arguments = arguments_of("balancer")
        folder = Path(arguments[arguments.index("--state-dir") + 1])
        assert folder.is_dir()
    assert not folder.exists()
    kept = tmp_path / "state"
    kept.mkdir()
    with make_cluster(workers=1, state_dir=kept) as cluster:
        cluster.start()
        assert str(kept) in arguments_of("balancer")
    assert kept.is_dir()


@pytest.mark.parametrize(
    ("app", "says"),
    [("broken", r"^app\.py:3: no such field"), ("unready", "^port 7400 is taken")],
)
def test_what_cannot_start_is_told_in_its_own_words(app: str, says: str, make_cluster: Callable[..., Cluster]) -> None:
    with make_cluster(app) as cluster, pytest.raises(RingmillError, match=says):
        cluster.start()
    assert psutil.Process().children() == []


def test_a_worker_that_does_not_drain_is_killed(make_cluster: Callable[..., Cluster]) -> None:
    with make_cluster("stubborn", workers=1, stop_s=0.2) as cluster:
        cluster.start()
    assert psutil.Process().children() == []


def test_children_do_not_outlive_a_parent_that_is_killed(tmp_path: Path) -> None:
    """The parent is killed without a chance to clean up; its child must be gone soon after."""
    (tmp_path / "stand_in.py").write_text(STAND_IN % sys.path)
    (tmp_path / "app.py").write_text("")
    parent = f"""
import sys, time
from pathlib import Path
from ringmill.cli.cluster import Cluster, ClusterConfig
folder = Path({str(tmp_path)!r})
cluster = Cluster(ClusterConfig(folder / "app.py", workers=2, program=(sys.executable, str(folder / "stand_in.py"))))
cluster.start()
print("started", flush=True)
time.sleep(60)
"""
    with subprocess.Popen([sys.executable, "-c", parent], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "started\n"
        children = psutil.Process(process.pid).children()
        assert len(children) == 3
        process.kill()
    _, alive = psutil.wait_procs(children, timeout=10)
    assert alive == []


def test_a_child_is_heard_line_by_line() -> None:
    child = Child("x", [])
    try:
        assert child.hear('{"event": "ready", "address": "a:1"}', is_output=True).report["address"] == "a:1"
        assert child.ready == {"event": "ready", "address": "a:1"}
        assert child.hear("{not json", is_output=True).text == "{not json"
        assert child.hear("error: port 7400 is taken", is_output=False).text == "error: port 7400 is taken"
        assert child.last_error == "port 7400 is taken"
        assert child.why(1) == "port 7400 is taken"
        assert child.why(-9) == "was killed by SIGKILL"
        child.last_error = ""
        for line in ("Traceback (most recent call last):", "  File x", "ValueError: no"):
            child.hear(line, is_output=False)
        assert child.why(1) == "exited with status 1 (ValueError: no)"
    finally:
        child.kill()
        for pipe in child.pipes:
            pipe.close()


def test_workers_are_pinned_only_where_the_balancer_keeps_a_core() -> None:
    assert pinned_cores(2, [0, 1, 2, 3]) == [1, 2]
    assert pinned_cores(2, [0, 1]) == [None, None]
    assert pinned_cores(2, []) == [None, None]


@pytest.mark.parametrize(
    ("status", "says"),
    [(0, "exited with status 0"), (3, "exited with status 3"), (-9, "was killed by SIGKILL"), (-99, "signal 99")],
)
def test_ends_are_told_in_words(status: int, says: str) -> None:
    assert says in how_it_ended(status)
