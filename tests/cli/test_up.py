"""`ringmill up`, `ringmill send` and the operators' commands with real processes: nothing is lost, and nothing left."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import psutil
import pytest

from ringmill.cli.main import main
from ringmill.client import Client

RINGMILL = [sys.executable, "-m", "ringmill.cli.main"]
APP = """
from ringmill.pipeline import Event, Pipeline, ops


class Payment(Event):
    amount: float


payments = Pipeline("payments", version="1.0.0", event=Payment, steps={"total": ops.sum("amount")})
"""
START_S = 240.0  # a cold compile on a busy machine


def environment(cache: Path | None) -> dict[str, str]:
    """This process's, with another folder for machine code if one is given."""
    return dict(os.environ) if cache is None else {**os.environ, "RINGMILL_CACHE_DIR": str(cache)}


class Up:
    """`ringmill up` in a process of its own."""

    def __init__(self, folder: Path, *more: str, cache: Path | None = None) -> None:
        (folder / "app.py").write_text(APP)
        self.log = folder / "up.log"
        command = [*RINGMILL, "up", str(folder / "app.py"), "--port", "0", *more]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, env=environment(cache))
        self.address = ""

    def wait(self, pattern: str, timeout_s: float = START_S) -> str:
        """Waits until the log matches, and returns the first group."""
        deadline_s = time.monotonic() + timeout_s
        while not (found := re.search(pattern, self.log.read_text())):
            assert time.monotonic() < deadline_s, self.log.read_text()
            assert self.process.poll() is None, self.log.read_text()
            time.sleep(0.05)
        return found[1]

    def worker(self, name: str) -> psutil.Process:
        """The process of one worker, or of the balancer."""
        return next(child for child in psutil.Process(self.process.pid).children() if name in child.cmdline())


@pytest.fixture
def up(tmp_path: Path) -> Iterator[Up]:
    started = Up(tmp_path)
    try:
        started.address = started.wait(r"listening on (\S+)")
        yield started
    finally:
        started.process.kill()
        started.process.wait()


@pytest.fixture
def payments(tmp_path: Path) -> Path:
    path = tmp_path / "payments.csv"
    pd.DataFrame({"who": [f"u{row % 50}" for row in range(5_000)], "amount": 2.0}).to_csv(path, index=False)
    return path


class Payer:
    """Sends the same table again and again, and knows what must come back."""

    def __init__(self, up: Up, payments: Path, results: Path) -> None:
        self._results = results
        self._send = ["send", str(payments), "--to", up.address, "--pipeline", "payments", "--key", "who"]
        self.rounds = 0

    def pay(self) -> None:
        """One more round: every total goes on from where the last round left it, so nothing was lost or doubled."""
        assert main([*self._send, "--out", str(self._results)]) == 0
        got = pd.read_parquet(self._results)
        sums = got.groupby("who")["amount"]
        expected = sums.cumsum() + self.rounds * sums.transform("sum")
        assert got["total"].tolist() == expected.tolist()
        assert got["rejection"].isna().all()
        self.rounds += 1


@pytest.fixture
def payer(up: Up, payments: Path, tmp_path: Path) -> Payer:
    return Payer(up, payments, tmp_path / "results.parquet")


@pytest.fixture
def ask(up: Up, capsys: pytest.CaptureFixture[str]) -> Callable[..., Any]:
    """Runs a command against the cluster and gives the JSON that it prints."""

    def run_json(*words: str) -> Any:
        capsys.readouterr()
        assert main([*words, "--address", up.address, "--json"]) == 0
        return json.loads(capsys.readouterr().out)

    return run_json


def until_whole(ask: Callable[..., Any], workers: int) -> dict[str, Any]:
    """Waits until so many workers serve and nothing is short of a copy; returns what `ringmill workers` says."""
    deadline_s = time.monotonic() + START_S
    while True:
        told: dict[str, Any] = ask("workers")
        serving = [worker for worker in told["workers"] if worker["state"] == "serving"]
        if len(serving) == len(told["workers"]) == workers and not told["partitions_short"]:
            return told
        assert time.monotonic() < deadline_s, told
        time.sleep(0.05)


@pytest.mark.timeout(300)
def test_a_cluster_survives_its_processes_and_leaves_nothing(up: Up, payer: Payer, ask: Callable[..., Any]) -> None:
    payer.pay()
    up.worker("worker-1").kill()
    payer.pay()
    assert up.wait("worker-1: (was killed by SIGKILL); starting it again\n")
    assert up.wait(r"worker-1: is back, process (\d+)") == str(up.worker("worker-1").pid)
    until_whole(ask, 2)

    up.worker("worker-0").kill()  # the other one: by now all its keys have a copy on the newcomer
    payer.pay()
    until_whole(ask, 2)

    with Client(up.address, "payments") as client:
        assert client.process_one("ada", amount=1.0)["total"] == 1.0
        up.worker("balancer").kill()
        assert client.process_one("ada", amount=1.0)["total"] == 2.0  # at the same address, with all state
    assert up.wait(r"balancer: is back, process (\d+)") == str(up.worker("balancer").pid)
    assert "no link to the balancer" not in up.log.read_text()  # it was told already, and once
    until_whole(ask, 2)
    payer.pay()

    children = psutil.Process(up.process.pid).children()
    assert len(children) == 3
    up.process.send_signal(signal.SIGTERM)
    assert up.process.wait(60) == 0
    assert up.log.read_text().endswith("stopped\n")
    assert [child for child in children if child.is_running()] == []


@pytest.mark.timeout(300)
def test_a_cluster_is_changed_while_it_serves(
    up: Up, payer: Payer, ask: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    at = ["--address", up.address]
    payer.pay()
    before = ask("workers")
    assert main(["scale", "3", "--dry-run", *at]) == 0
    assert "would move" in capsys.readouterr().out
    assert ask("workers")["epoch"] == before["epoch"]  # a dry run changes nothing

    assert main(["scale", "3", *at]) == 0
    assert "done: moved" in capsys.readouterr().out
    told = until_whole(ask, 3)
    assert sum(worker["partitions"] for worker in told["workers"]) == 1021
    assert sum(worker["copies"] for worker in told["workers"]) == 1021
    assert min(worker["partitions"] for worker in told["workers"]) > 300
    payer.pay()

    assert main(["drain", "worker-7", *at]) == 1
    assert "worker-0, worker-1, worker-2" in capsys.readouterr().err
    assert main(["drain", "worker-1", *at]) == 0
    assert {worker["name"] for worker in until_whole(ask, 2)["workers"]} == {"worker-0", "worker-2"}
    up.wait("worker-1: (was let go)")
    payer.pay()

    processes = {up.worker("worker-0").pid, up.worker("worker-2").pid}
    assert main(["restart", *at]) == 0
    until_whole(ask, 2)
    assert not processes & {up.worker("worker-0").pid, up.worker("worker-2").pid}
    payer.pay()

    place = ask("explain", "u7")["location"]
    assert {place["primary"], *place["replicas"]} == {"worker-0", "worker-2"}
    ledger = ask("ledger")
    assert ledger["balances"]
    assert (ledger["applied"], ledger["rejected"]) == (5_000 * payer.rounds, 0)


@pytest.mark.timeout(300)
def test_what_cannot_be_sent_is_one_line(up: Up, payments: Path, capsys: pytest.CaptureFixture[str]) -> None:
    send = ["send", str(payments), "--to", up.address, "--pipeline", "payments"]
    assert main([*send, "--key", "whom"]) == 1
    assert capsys.readouterr().err == f"error: {payments}: has no column 'whom'. Its columns are who, amount\n"
    assert main(["send", str(payments), "--to", up.address, "--pipeline", "nothing", "--key", "who"]) == 1
    assert "payments" in capsys.readouterr().err  # what there is


def run(arguments: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*RINGMILL, *arguments], capture_output=True, text=True, check=False, timeout=START_S)


@pytest.mark.timeout(300)
def test_a_taken_port_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(APP)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        got = run(["up", str(tmp_path / "app.py"), "--port", str(port)])
    assert got.returncode == 1
    assert got.stderr.startswith("error: ")
    assert f":{port}: Address already in use; --port 0 is any free one" in got.stderr
    assert got.stderr.count("\n") == 1
    assert got.stdout == ""  # before anything was started


@pytest.mark.timeout(600)
def test_after_a_check_nothing_is_left_to_compile(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    app = tmp_path / "app.py"
    app.write_text(APP)
    subprocess.run([*RINGMILL, "check", str(app)], env=environment(cache), check=True, timeout=START_S)
    compiled = set(cache.rglob("*.nbc"))
    up = Up(tmp_path, cache=cache)
    try:
        address = up.wait(r"listening on (\S+)")
        with Client(address, "payments") as client:
            assert client.process(["ada", "bob"], amount=1.0)["total"].tolist() == [1.0, 1.0]
        up.worker("worker-1").kill()
        up.wait("(whole again)")  # by then one has exported its partitions, and the other restored them
    finally:
        up.process.kill()
        up.process.wait()
    assert compiled
    assert {path.name for path in set(cache.rglob("*.nbc")) - compiled} == set()


@pytest.mark.parametrize(
    "arguments", [["worker", "app.py", "--join", "127.0.0.1:1"], ["balancer"], ["check", "app.py"]]
)
def test_a_child_whose_parent_is_gone_leaves_at_once(arguments: list[str]) -> None:
    """The start of the promise that a killed `up` leaves nothing; test_cluster.py has the rest."""
    nobody = {**os.environ, "RINGMILL_PARENT_PID": "1"}
    got = subprocess.run([*RINGMILL, *arguments], env=nobody, capture_output=True, text=True, check=False, timeout=60)
    assert (got.returncode, got.stdout, got.stderr) == (0, "", "")


@pytest.mark.timeout(300)
def test_a_broken_app_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(APP.replace('"amount"', '"amuont"'))
    got = run(["up", str(tmp_path / "app.py"), "--port", "0"])
    assert got.returncode == 1
    assert "app.py:9: " in got.stderr
    assert "amuont" in got.stderr
    assert got.stderr.count("\n") == 1
