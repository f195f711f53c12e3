"""`ringmill up` and `ringmill send` with real processes: serve, lose a worker, recover, stop, leave nothing."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import psutil
import pytest

from ringmill.cli.main import main

RINGMILL = [sys.executable, "-m", "ringmill.cli.main"]
APP = """
from ringmill.pipeline import Event, Pipeline, ops


class Payment(Event):
    amount: float


payments = Pipeline("payments", version="1.0.0", event=Payment, steps={"total": ops.sum("amount")})
"""
START_S = 240.0  # a cold compile on a busy machine


class Up:
    """`ringmill up` in a process of its own."""

    def __init__(self, folder: Path) -> None:
        (folder / "app.py").write_text(APP)
        self.log = folder / "up.log"
        command = [*RINGMILL, "up", str(folder / "app.py"), "--port", "0"]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log)
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
        """The process of one worker."""
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


@pytest.mark.timeout(300)
def test_a_cluster_serves_recovers_and_leaves_nothing(
    up: Up, payments: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results = tmp_path / "results.parquet"
    send = ["send", str(payments), "--to", up.address, "--pipeline", "payments"]

    assert main([*send, "--key", "who", "--out", str(results)]) == 0
    assert "5,000 events" in capsys.readouterr().out
    got = pd.read_parquet(results)
    assert got["total"].tolist() == got.groupby("who")["amount"].cumsum().tolist()
    assert got["rejection"].isna().all()

    assert main([*send, "--key", "whom"]) == 1
    assert capsys.readouterr().err == f"error: {payments}: has no column 'whom'. Its columns are who, amount\n"
    assert main(["send", str(payments), "--to", up.address, "--pipeline", "nothing", "--key", "who"]) == 1
    assert "payments" in capsys.readouterr().err  # what there is

    up.worker("worker-1").kill()
    assert up.wait("worker-1: (was killed by SIGKILL); starting it again in 0.2 s")
    assert up.wait(r"worker-1: is back, process (\d+)") == str(up.worker("worker-1").pid)

    children = psutil.Process(up.process.pid).children()
    assert len(children) == 3
    up.process.send_signal(signal.SIGTERM)
    assert up.process.wait(60) == 0
    assert up.log.read_text().endswith("stopped\n")
    assert [child for child in children if child.is_running()] == []


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
    assert str(port) in got.stderr
    assert got.stderr.count("\n") == 1


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
