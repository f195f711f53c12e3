"""The command as a user runs it, against a real worker."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from ringmill.loadtest.processes import lone_worker

LOADTEST = [sys.executable, "-m", "ringmill.cli.main", "loadtest"]
QUICK = ["--pipeline", "readings", "--seconds", "0.5", "--warmup", "0.1"]


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with lone_worker() as service:
        yield service.address


def run(address: str, out: Path, *arguments: str) -> tuple[subprocess.CompletedProcess[str], dict[str, Any]]:
    command = [*LOADTEST, *QUICK, "--to", address, "--out", str(out), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100)
    saved = out / "report.json"
    return done, json.loads(saved.read_text()) if saved.exists() else {}


def test_two_rates_by_two_processes_and_the_same_again_from_the_report(address: str, tmp_path: Path) -> None:
    flags = ["--rate", "400", "--rate", "800", "--streams", "2", "--processes", "2", "--arrivals", "constant"]
    done, report = run(address, tmp_path, *flags, "--keys", "zipf")
    assert done.returncode == 0, done.stderr
    assert [step["events"] for step in report["steps"]] == [200, 400]
    assert all(step["latency"]["p50_us"] > 0 and not step["unanswered"] for step in report["steps"])
    assert not any(step["rejections"] for step in report["steps"])
    assert len(report["steps"][0]["processes"]) == 2
    assert report["machine"]["cores"]
    assert "<svg" in (tmp_path / "report.html").read_text()
    again = subprocess.run(
        [*LOADTEST, str(tmp_path / "report.json"), "--out", str(tmp_path / "again")], capture_output=True, timeout=100
    )
    assert again.returncode == 0, again.stderr
    repeated = json.loads((tmp_path / "again" / "report.json").read_text())
    assert repeated["scenario"] == report["scenario"]
    assert [step["events"] for step in repeated["steps"]] == [200, 400]


def test_a_search_stops_at_its_bound(address: str, tmp_path: Path) -> None:
    scenario = tmp_path / "scenario.toml"
    scenario.write_text("[load]\nrate = 100\nbatch = 10\n[search]\np99_ms = 60000\nrate_max = 200\n")
    done, report = run(address, tmp_path / "out", str(scenario))
    assert done.returncode == 0, done.stderr
    assert [step["rate"] for step in report["steps"]] == [100, 200]
    assert report["search"]["kept"] == 200
    assert "200 events/s kept a p99 of 60000 ms" in done.stdout


def test_a_closed_loop_runs(address: str, tmp_path: Path) -> None:
    done, report = run(address, tmp_path, "--closed", "--batch", "8", "--in-flight", "2")
    assert done.returncode == 0, done.stderr
    (step,) = report["steps"]
    assert step["events"] > 0
    assert step["events"] % 8 == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--pipeline", "flights"], "no pipeline 'flights' is served"),
        (["--rate", "-5"], "load.rate must be above 0"),
        (["no-such-file.toml"], "no-such-file.toml: No such file"),
    ],
)
def test_what_cannot_be_run_is_one_line(address: str, tmp_path: Path, arguments: list[str], words: str) -> None:
    done, report = run(address, tmp_path, *arguments)
    assert (done.returncode, report) == (1, {})
    assert words in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_field_that_is_not_there_is_told(address: str, tmp_path: Path) -> None:
    scenario = tmp_path / "scenario.toml"
    scenario.write_text("[fields]\nhumidty = { value = 5.0 }\n")
    done, _ = run(address, tmp_path, str(scenario))
    assert done.returncode == 1
    assert "did you mean 'humidity'?" in done.stderr


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_an_end_at_any_moment_leaves_no_process(address: str, tmp_path: Path, how: signal.Signals) -> None:
    command = [*LOADTEST, *QUICK, "--to", address, "--out", str(tmp_path), "--rate", "100", "--seconds", "60"]
    test = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert test.stdout is not None
        assert "events/s" in test.stdout.readline()  # it is under way
        started = psutil.Process(test.pid).children(recursive=True)
        test.send_signal(how)
        status = test.wait(30)
        test.stdout.close()
    finally:
        test.kill()
    assert status == (1 if how == signal.SIGINT else -signal.SIGKILL)
    assert started
    _, alive = psutil.wait_procs(started, timeout=15)
    assert not alive
    if how == signal.SIGINT:
        (step,) = json.loads((tmp_path / "report.json").read_text())["steps"]
        assert step["events"] > 0
        assert "stopped before its end" in step["warnings"]
