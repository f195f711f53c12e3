"""The report of chaos says what trials and runs found, over several runs, and after one that was cut off."""

import io
import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from ringmill.core.errors import RingmillError
from ringmill.loadtest.chaos import report
from ringmill.loadtest.chaos.cluster import Shape
from ringmill.loadtest.chaos.main import run_chaos
from ringmill.loadtest.chaos.run import Traffic
from ringmill.loadtest.chaos.trials import Plan


def run(name: str, **changed: Any) -> dict[str, Any]:
    findings = {"placed": 1000, "unplaced": 2, "doubts": 3, "refused": 0, "filled": 1, "unverified": 0}
    findings |= {"wrong": {}, "examples": []}
    kept = {"name": name, "seconds": 60.0, "findings": findings | changed, "failures": {"UNAVAILABLE: gone": 2}}
    shape = {"workers": 4, "replicas": 2}
    return kept | {"crashes": [], "shape": shape, "traffic": {"interval_ms": 5.0, "producers": 16}}


def kill(gap_ms: float | None, others_ms: float = 6.0) -> dict[str, Any]:
    return {"kind": "kill", "gap_ms": gap_ms, "others_ms": others_ms, "whole_s": 1.0, "views": 3}


def figures(folder: Path) -> dict[str, Any]:
    return {figure.name: figure for figure in report.save(folder, {"cores": "2"})}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("a", "b"):
        (tmp_path / f"run-{name}.json").write_text(json.dumps(run(name)))
    trials = [kill(50.0), kill(70.0), kill(400.0), {"kind": "quiet", "seconds": 60, "views": 0, "events_s": 2e6}]
    trials[-1]["others_ms"] = 12.0
    (tmp_path / report.TRIALS).write_text("".join(json.dumps(trial) + "\n" for trial in trials))
    return tmp_path


def test_runs_add_up_and_goals_are_judged(folder: Path) -> None:
    found = figures(folder)
    assert (found["acknowledged"].measured, found["doubts"].measured, found["failures"].measured) == (2004, 6, 4)
    assert (found["kill-p50"].measured, found["kill-p50"].verdict) == (70.0, "pass")
    assert found["kill-p99"].verdict == "short"
    assert (found["lost"].measured, found["lost"].verdict, found["quiet"].verdict) == (0, "pass", "pass")
    assert "3 trials" in found["kill-p50"].detail
    assert json.loads((folder / "report.json").read_text())["figures"]
    assert "| 2,004 |" in (folder / "report.md").read_text()


def test_a_trial_that_was_cut_off_is_left_out(folder: Path) -> None:
    with (folder / report.TRIALS).open("a") as kept:
        kept.write('{"kind": "kill", "gap_ms": 5')
    assert "3 trials" in figures(folder)["kill-p50"].detail


def test_what_is_wrong_is_told_with_examples(folder: Path) -> None:
    wrong = run("c", wrong={"lost": 2}, examples=["lost: key 1, place 2"])
    wrong["crashes"] = ["worker-1 ended with 1: Traceback"]
    (folder / "run-c.json").write_text(json.dumps(wrong))
    with (folder / report.TRIALS).open("a") as kept:
        kept.write(json.dumps({"kind": "kill", "failed": "not whole after 120 s"}) + "\n")
    found = figures(folder)
    assert [found[name].verdict for name in ("lost", "crashes", "failed")] == ["short"] * 3
    assert "key 1, place 2" in found["lost"].detail
    console = Console(file=io.StringIO(), width=200)
    report.show(console, folder, list(found.values()), {"cores": "2"})
    assert "not whole after 120 s" in console.file.getvalue()  # type: ignore[attr-defined]


def test_an_empty_folder_is_an_empty_report(tmp_path: Path) -> None:
    assert figures(tmp_path)["acknowledged"].measured == 0


def test_two_at_once_need_three_copies(tmp_path: Path) -> None:
    with pytest.raises(RingmillError, match="--replicas 3"):
        run_chaos(Plan(both=1), Shape(4, 2), Traffic(), tmp_path, 0.0, 1)


def test_a_plan_is_the_same_for_one_seed() -> None:
    plan = Plan(kills=5, stops=5, scales=1, restarts=1, quiet_minutes=1.5)
    assert plan.kinds(7) == plan.kinds(7)
    assert sorted(plan.kinds(7)[:10]) == ["kill"] * 5 + ["stop"] * 5
    assert plan.kinds(7)[10:] == ["scale", "restart", "quiet", "quiet"]
