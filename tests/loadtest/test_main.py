"""A run as a whole: what is measured, what is printed and saved, and what a failure leaves behind."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from ringmill.core.errors import RingmillError
from ringmill.loadtest import main
from ringmill.loadtest.measure import Effort, Figure, Unavailable, at_least
from ringmill.loadtest.processes import ProcessFailedError


def good(effort: Effort) -> Iterator[Figure]:
    yield Figure("fast", "how fast | it is", at_least(4), 5.25, "5.25 (ours) / 1 (theirs)", {"ours": [5.25]})
    yield Figure("slow", "how slow it is", at_least(4), 3.0)


def lacking(effort: Effort) -> Iterator[Figure]:
    raise Unavailable("redis-server is not installed")
    yield


def broken(effort: Effort) -> Iterator[Figure]:
    raise ProcessFailedError("worker: Traceback")
    yield


def interrupted(effort: Effort) -> Iterator[Figure]:
    raise KeyboardInterrupt
    yield


def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, **sections: main.Section) -> tuple[int, dict[str, str]]:
    monkeypatch.setattr(main, "SECTIONS", sections)
    status = main.run_bench(out=tmp_path / "report")
    saved = json.loads((tmp_path / "report" / "bench.json").read_text())
    return status, {figure["name"]: figure["verdict"] for figure in saved["figures"]}


def test_a_figure_that_falls_short_is_no_failure(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert run(monkeypatch, tmp_path, good=good) == (0, {"fast": "pass", "slow": "short"})


def test_what_is_not_installed_is_skipped(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    status, verdicts = run(monkeypatch, tmp_path, redis=lacking, good=good)
    assert (status, verdicts["redis"]) == (0, "skipped")


def test_a_broken_section_is_told_and_the_rest_is_measured(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status, verdicts = run(monkeypatch, tmp_path, bad=broken, good=good)
    assert (status, verdicts) == (1, {"bad": "broken", "fast": "pass", "slow": "short"})
    assert "worker: Traceback" in capsys.readouterr().out


def test_an_interrupt_keeps_what_was_measured(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    status, verdicts = run(monkeypatch, tmp_path, good=good, stop=interrupted, never=broken)
    assert (status, verdicts.keys()) == (1, {"fast", "slow"})


def test_the_table_is_printed_with_goal_figure_and_verdict(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(monkeypatch, tmp_path, good=good)
    printed = capsys.readouterr().out
    assert all(word in printed for word in ("how fast | it is", "at least 4", "5.25", "pass", "short"))


def test_markdown_keeps_a_bar_inside_its_cell(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    run(monkeypatch, tmp_path, good=good)
    rows = [line for line in (tmp_path / "report" / "bench.md").read_text().splitlines() if "how fast" in line]
    assert rows == ["| how fast \\| it is | at least 4 | 5.25 | pass | 5.25 (ours) / 1 (theirs) |"]


def test_sections_are_chosen_by_name_in_the_order_of_the_report() -> None:
    assert list(main.choose(["start", "round-trip"], 0)) == ["round-trip", "start"]
    assert list(main.choose(None, 4))[-1] == "scaling"


def test_an_unknown_section_is_refused_with_the_names_there_are() -> None:
    with pytest.raises(RingmillError, match="round-trip"):
        main.choose(["latency"], 0)
