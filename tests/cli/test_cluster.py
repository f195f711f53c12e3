"""The supervision of child processes, with a stand-in for the processes themselves."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from ringmill.cli.children import Child, how_it_ended
from ringmill.cli.cluster import Cluster, ClusterConfig, pinned_cores, restart_pause_s
from ringmill.core.errors import RingmillError

STAND_IN = """
import json, signal, sys, time
sys.path[:0] = %r
from ringmill.cli.process import die_with_parent
die_with_parent()
role = sys.argv[1]
app = open(sys.argv[2]).read() if role != "balancer" else ""
if role == "check":
    if "broken" in app:
        sys.exit("error: app.py:3: no such field")
    print(json.dumps({"event": "pipeline", "name": "payments"}))
    sys.exit()
if "unready" in app and role == "worker":
    sys.exit("error: port 7400 is taken")
if "stubborn" in app:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
else:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
print("warming up", file=sys.stderr)
addresses = {"address": "127.0.0.1:1", "link": "127.0.0.1:2"}
print(json.dumps({"event": "ready", "arguments": sys.argv, **addresses}), flush=True)
print(json.dumps({"event": "status", "events": 12}), flush=True)
while True:
    time.sleep(60)
"""


@pytest.fixture
def make_cluster(tmp_path: Path) -> Callable[..., Cluster]:
    program = tmp_path / "stand_in.py"
    program.write_text(STAND_IN % sys.path)

    def make(app: str = "", **settings: float | int) -> Cluster:
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
        assert cluster.pipelines == [{"event": "pipeline", "name": "payments"}]
        ready = [line.report["arguments"] for line in heard if line.report.get("event") == "ready"]
        assert [arguments[1] for arguments in ready] == ["balancer", "worker", "worker", "worker"]
        assert all(arguments[3:5] == ["--join", "127.0.0.1:2"] for arguments in ready[1:])
        until(lambda said: cluster.status == {"event": "status", "events": 12}, cluster)
        assert len(psutil.Process().children()) == 4
    assert psutil.Process().children() == []


def test_a_worker_that_dies_is_started_again(make_cluster: Callable[..., Cluster]) -> None:
    with make_cluster(workers=2) as cluster:
        cluster.start()
        victim = cluster.workers[1]
        os.kill(victim.pid, signal.SIGKILL)
        said = until(lambda said: "is back" in said, cluster)
        assert "worker-1: was killed by SIGKILL; starting it again in 0.2 s" in said
        assert cluster.workers[1].pid != victim.pid
        assert cluster.workers[1].name == "worker-1"


@pytest.mark.parametrize(
    ("app", "says"),
    [("broken", r"^app\.py:3: no such field"), ("unready", "^port 7400 is taken")],
)
def test_what_cannot_start_is_told_in_its_own_words(app: str, says: str, make_cluster: Callable[..., Cluster]) -> None:
    with make_cluster(app) as cluster, pytest.raises(RingmillError, match=says):
        cluster.start()
    assert psutil.Process().children() == []


def test_a_balancer_that_dies_is_an_error(make_cluster: Callable[..., Cluster]) -> None:
    with make_cluster(workers=1) as cluster:
        cluster.start()
        balancer = next(child for child in psutil.Process().children() if "balancer" in child.cmdline())
        balancer.kill()
        with pytest.raises(RingmillError, match="balancer: was killed by SIGKILL"):
            until(lambda said: False, cluster)


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
    finally:
        child.kill()
        for pipe in child.pipes:
            pipe.close()


def test_pauses_double_up_to_a_limit() -> None:
    assert [restart_pause_s(failures) for failures in (1, 2, 3, 7, 100)] == [0.2, 0.4, 0.8, 10.0, 10.0]


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
