"""`ringmill check`: what it says of an app file that is in order, and of one that is not."""

import json
from pathlib import Path

import pytest

from ringmill.cli.main import main

APP = """
from ringmill.pipeline import Event, Label, Pipeline, State, label, operator


class Payment(Event):
    amount: float
    tip: float | None = None
    shop: Label = label("")


class Spending(State):
    usual: float = 0.0


@operator
def surprise(state: Spending, event: Payment, memory: float = 0.9) -> float:
    over = event.amount - state.usual
    state.usual = memory * state.usual + (1.0 - memory) * event.amount
    return over


payments = Pipeline("payments", version="1.2.0", event=Payment, steps={"surprise": surprise(memory=0.95)})
"""


@pytest.fixture
def app(tmp_path: Path) -> Path:
    path = tmp_path / "app.py"
    path.write_text(APP)
    return path


def test_it_tells_what_a_pipeline_takes_and_gives(app: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", str(app)]) == 0
    shown = capsys.readouterr().out
    for text in ("payments 1.2.0", "amount: float", "tip: float | None", "shop: Label", "surprise: float", "8 bytes"):
        assert text in shown
    assert main(["check", str(app), "--json"]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    told = json.loads(line)
    assert (told["event"], told["name"], told["version"], told["state_bytes"]) == ("pipeline", "payments", "1.2.0", 8)
    assert len(told["digest"]) == 64
    assert told["digest"] in shown


@pytest.mark.parametrize(
    ("right", "wrong", "line"),
    [
        ("event.amount - state.usual", "event.amuont - state.usual", 17),
        ("return over", "return over +", 19),
        ("    usual: float = 0.0", "    usual: float", 12),
        ("memory=0.95", "memroy=0.95", 22),
    ],
)
def test_a_mistake_is_one_line_with_its_place(
    right: str, wrong: str, line: int, app: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    app.write_text(APP.replace(right, wrong))
    assert main(["check", str(app)]) == 1
    got = capsys.readouterr()
    assert got.out == ""
    assert got.err.startswith("error: ")
    assert f"app.py:{line}: " in got.err
    assert got.err.count("\n") == 1
