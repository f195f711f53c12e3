"""Commands as a person types them: help, mistakes, exit statuses."""

import subprocess
import sys
from pathlib import Path
from typing import cast

import pytest
from typer.core import TyperGroup
from typer.main import get_command

from ringmill.cli.main import app, main

COMMANDS = sorted(cast(TyperGroup, get_command(app)).commands)


def test_the_commands_are_these() -> None:
    processes = ["balancer", "bench", "certs", "chaos", "check", "demo", "envoy", "loadtest", "send", "up", "version"]
    processes += ["worker"]
    operators = ["drain", "explain", "ledger", "restart", "scale", "workers"]
    assert sorted(processes + operators) == COMMANDS


@pytest.mark.parametrize("command", COMMANDS)
def test_help_shows_an_example(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([command, "--help"]) == 0
    assert f"$ ringmill {command}" in capsys.readouterr().out


def test_no_command_is_answered_by_help_alone(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    got = capsys.readouterr()
    assert "ringmill demo" in got.out
    assert got.err == ""


@pytest.mark.parametrize("command", COMMANDS)
def test_a_bad_flag_is_one_line(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([command, "--no-such-flag"]) == 2
    got = capsys.readouterr()
    assert got.out == ""
    assert got.err.startswith("error: No such option: --no-such-flag")
    assert got.err.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["fly"], "No such command 'fly'"),
        (["check"], "Missing argument"),
        (["up", "app.py", "--workers", "0"], "--workers"),
        (["up", "app.py", "--port", "70000"], "--port"),
        (["up", "app.py", "--replicas", "0"], "--replicas"),
        (["up", "app.py", "--on-total-loss", "hope"], "hope"),
        (["scale", "0"], "'workers'"),
        (["drain"], "Missing argument"),
        (["send", "flights.csv"], "--pipeline"),
        (["send", "flights.csv"], "(ringmill send --help lists what there is)"),
        (["worker", "app.py", "--transport", "pigeon"], "pigeon"),
        (["worker", "app.py", "--prometheus-port", "70000"], "--prometheus-port"),
    ],
)
def test_a_misunderstood_command_has_status_2(
    arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    got = capsys.readouterr()
    assert says in got.err
    assert got.err.count("\n") == 1


@pytest.mark.parametrize("command", ["check", "up"])
def test_an_app_that_is_not_there(command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([command, str(tmp_path / "nothing.py")]) == 1
    got = capsys.readouterr()
    assert "nothing.py" in got.err
    assert got.err.startswith("error: ")
    assert got.err.count("\n") == 1


def test_debug_shows_the_traceback(tmp_path: Path) -> None:
    arguments = [sys.executable, "-m", "ringmill.cli.main", "--debug", "up", str(tmp_path / "nothing.py")]
    got = subprocess.run(arguments, capture_output=True, text=True, check=False)
    assert got.returncode == 1
    assert "Traceback" in got.stderr


def test_help_imports_nothing_heavy() -> None:
    heavy = {"numpy", "numba", "llvmlite", "grpc", "google.protobuf", "pyarrow", "pandas", "opentelemetry"}
    code = f"import sys; from ringmill.cli.main import main; main(['--help']); print({heavy} & set(sys.modules))"
    got = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert got.returncode == 0, got.stderr
    assert got.stdout.rstrip().endswith("set()")


@pytest.mark.parametrize("words", ["version", "--version"])
def test_version_names_what_machine_code_depends_on(words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([words]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("ringmill 0.")
    assert "numba" in shown
