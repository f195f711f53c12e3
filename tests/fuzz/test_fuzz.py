"""A short run of the fuzzer; `make fuzz CASES=10000000` is the long one."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_100_000_messages_of_each_codec() -> None:
    run = subprocess.run(
        [sys.executable, "-m", "tests.fuzz", "--cases", "100000", "--seed", "7"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr[-2000:]
    assert "server: 100,000 cases" in run.stdout
    assert "client: 100,000 cases" in run.stdout
