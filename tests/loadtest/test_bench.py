"""The command as a user runs it, with real processes."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

BENCH = [sys.executable, "-m", "ringmill.cli.main", "bench", "--quick"]


def test_a_section_runs_against_a_real_worker(tmp_path: Path) -> None:
    done = subprocess.run([*BENCH, "--only", "messages", "--out", str(tmp_path)], capture_output=True, timeout=110)
    assert done.returncode == 0, done.stdout.decode()
    report = json.loads((tmp_path / "bench.json").read_text())
    assert report["quick"]
    assert {figure["name"] for figure in report["figures"]} == {"messages-stock", "messages-transport"}
    assert all(figure["measured"] > 0 for figure in report["figures"])
    assert report["machine"].keys() >= {"processor", "cores", "kernel", "python", "versions"}


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_an_end_at_any_moment_leaves_no_process(tmp_path: Path, how: signal.Signals) -> None:
    bench = subprocess.Popen([*BENCH, "--only", "round-trip", "--out", str(tmp_path)], stdout=subprocess.DEVNULL)
    try:
        started = wait_for_children(psutil.Process(bench.pid), 3)
        bench.send_signal(how)
        status = bench.wait(30)
    finally:
        bench.kill()
    assert status == (1 if how == signal.SIGINT else -signal.SIGKILL)
    _, alive = psutil.wait_procs(started, timeout=15)
    assert not alive


def wait_for_children(process: psutil.Process, count: int) -> list[psutil.Process]:
    """Waits until a process has started at least so many others."""
    deadline_s = time.monotonic() + 60
    while len(children := process.children(recursive=True)) < count:
        assert time.monotonic() < deadline_s
        assert process.is_running()
        time.sleep(0.05)
    return children
