"""The report: a page that fetches nothing, charts that show what was measured, and JSON that can be run again."""

import io
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from ringmill.loadtest.runner import report, rows
from ringmill.loadtest.runner.charts import Axis, Line, Mark, chart, number
from ringmill.loadtest.runner.child import window_of
from ringmill.loadtest.runner.html import milliseconds, page
from ringmill.loadtest.runner.live import Words
from ringmill.loadtest.runner.page import Page, Progress
from ringmill.loadtest.runner.scenario import Scenario, from_tables, parse
from ringmill.loadtest.runner.step import Step, summarise

MS = 1_000_000
VOID = {"meta"}


def scenario(**sections: Any) -> Scenario:
    usual = {"load": {"seconds": 2, "warmup_seconds": 0}}
    return from_tables({"target": {"pipeline": "read<ings"}, **usual, **sections})


def step(made: Scenario, rate: float, slow_ms: int = 3) -> Step:
    """A step of one process, in which one event in ten is slow."""
    count = int(rate * made.load.seconds)
    due = (np.arange(count) / rate * 1e9).astype(np.int64)
    took = np.where(np.arange(count) % 10, MS, slow_ms * MS)
    ends = np.arange(1, count + 1)
    tally = rows.Tally(window_of(made))
    noted = np.stack([ends, due, np.maximum.accumulate(due + took)], 1)
    tally.add(rows.Rows(due, 1, np.stack([ends, due], 1), noted), 10_000 * MS)
    answer = {"messages": count, "answered_events": count, "rejections": {}, "failures": {}, "stopped": False}
    return summarise(made, rate, window_of(made), [tally.report() | answer | {"cpu_share": 0.2, "memory_bytes": 1}])


def made_report(made: Scenario, *steps: Step, **search: Any) -> report.Report:
    run = report.begin(made, {"processor": "a & b", "cores": "2"})
    for each in steps:
        report.add(run, each, {"version": "1.0.0"})
    run["search"] = search or None
    return run


class Reader(HTMLParser):
    """Checks that elements are closed, and collects what a browser would fetch."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.fetched: list[str] = []
        self.tags: list[str] = []
        self.words: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag not in VOID:
            self.open.append(tag)
        self.fetched += [str(value) for name, value in attrs if name in ("src", "href", "srcset", "data", "action")]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_startendtag(self, tag: str, attrs: Any) -> None:
        self.tags.append(tag)

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def read(html: str) -> Reader:
    reader = Reader()
    reader.feed(html)
    assert reader.open == []
    return reader


def test_a_page_is_whole_and_fetches_nothing() -> None:
    made = scenario()
    html = page(made_report(made, step(made, 500), step(made, 1000)))
    reader = read(html)
    assert reader.fetched == []
    assert {"script", "link", "img", "iframe", "object"}.isdisjoint(reader.tags)
    assert not re.search(r"https?:|url\(|@import", html)
    assert reader.tags.count("svg") == 4


@pytest.mark.parametrize(
    ("steps", "load", "charts"),
    [
        ([500], {}, ["Latency by percentile", "Throughput over time", "Latency over time"]),
        ([500, 1000], {}, ["Latency against rate", "Latency by percentile"]),
        ([500], {"arrivals": "ramp"}, ["Latency against rate, of each interval of the ramp"]),
    ],
)
def test_charts_are_those_of_the_run(steps: list[float], load: dict[str, Any], charts: list[str]) -> None:
    made = scenario(load={"seconds": 2, "warmup_seconds": 0, **load})
    words = " ".join(read(page(made_report(made, *(step(made, rate) for rate in steps)))).words)
    assert [title for title in charts if title not in words] == []
    assert ("Latency against rate" in words) == ("Latency against rate" in charts[0])


def test_names_are_escaped_and_figures_and_scenario_are_there() -> None:
    made = scenario()
    html = page(made_report(made, step(made, 1000, slow_ms=7)))
    words = " ".join(read(html).words)
    assert "read<ings" in words
    assert "a & b" in words
    assert "<ings" not in html
    assert all(word in words for word in ("[load]", "seed = 1", "1,000", "7", "p99.99", "fewer than 10 lie beyond"))


def test_percentiles_go_to_four_nines() -> None:
    made = scenario()
    percents = [percent for percent, _ in step(made, 10_000)["curve"]]
    assert max(percents) == pytest.approx(99.99)


def test_intervals_show_when_it_was_slow() -> None:
    made = scenario()
    found = step(made, 1000)["intervals"]
    assert len(found) == 20
    assert [each["offered_s"] for each in found] == [1000.0] * 20
    assert found[5]["at_s"] == 0.5
    assert found[5]["max_us"] == pytest.approx(3000, rel=0.01)


def test_a_search_is_told_in_words_and_its_best_step_is_shown() -> None:
    made = scenario(search={"p99_ms": 5})
    kept, failed = step(made, 500), step(made, 1000, slow_ms=9)
    kept["held"], failed["held"] = True, False
    run = made_report(made, kept, failed, p99_ms=5.0, kept=500.0, failed=1000.0, limit="the <runner>")
    words = " ".join(read(page(run)).words)
    assert "500 events/s kept a p99 of 5 ms." in words
    assert "Over time: 500/s" in words
    assert "the <runner>" in words
    assert report.told_search(run["search"]) == "500 events/s kept a p99 of 5 ms; 1,000 did not. the <runner>"
    none = {"p99_ms": 5.0, "kept": None, "failed": None, "limit": ""}
    assert report.told_search(none) == "no rate kept a p99 of 5 ms"


def test_what_is_saved_can_be_run_again(tmp_path: Path) -> None:
    made = scenario(keys={"distribution": "zipf"}, fields={"a": {"normal": [0.0, 1.0]}})
    saved = report.save(tmp_path / "new", made_report(made, step(made, 500)))
    assert [path.name for path in saved] == ["report.json", "report.html"]
    assert parse(saved[0].read_text()) == made
    assert json.loads(saved[0].read_text())["steps"][0]["events"] == 1000


def test_a_table_fits_a_narrow_terminal() -> None:
    made = scenario()
    console = Console(file=io.StringIO(), width=80)
    report.show(console, made_report(made, step(made, 500), step(made, 1000)))
    printed = console.file.getvalue()  # type: ignore[attr-defined]  # a StringIO
    assert "…" not in printed
    assert all(word in printed for word in ("offered", "500/s", "1 k/s", "p99.99", "late p99"))


def test_a_step_without_anything_is_a_page_too() -> None:
    made = scenario()
    empty = step(made, 0.4)
    assert "nothing was measured" in " ".join(read(page(made_report(made, empty))).words)
    assert report.status(made_report(made, empty)) == 1


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ([{}, {}], 0),
        ([{}, {"failures": {"gone": 1}}], 1),
        ([{}, {"stopped": True}], 1),
        ([{}, {"failures": {"gone": 1}, "held": False}], 0),  # a search went too far
        ([{"held": False}], 1),  # and here it found nothing
        ([{}, {"held": False, "stopped": True}], 1),
    ],
)
def test_the_status_tells_whether_it_did_what_it_says(changes: list[dict[str, Any]], status: int) -> None:
    made = scenario()
    assert report.status(made_report(made, *({**step(made, 100), **each} for each in changes))) == status


@pytest.mark.parametrize(("us", "told"), [(0, "0"), (0.06, "0"), (82, "0.082"), (240_000, "240"), (1.2e7, "12,000")])
def test_milliseconds(us: float, told: str) -> None:
    assert milliseconds(us) == told


def test_a_chart_puts_points_where_they_belong() -> None:
    x, y = Axis("seconds"), Axis("ms", logarithmic=True)
    drawn = chart("it", x, y, [Line("p<99", [(0, 1), (5, 10), (10, 100), (11, 0)])], [Mark(10, "here", True)])
    places = re.findall(r"([\d.]+),([\d.]+)", drawn.split('points="')[1].split('"')[0])
    across = [float(place) for place, _ in places]
    up = [float(place) for _, place in places]
    assert len(places) == 3  # 0 has no logarithm
    assert across[1] - across[0] == pytest.approx(across[2] - across[1], abs=0.2)
    assert up[0] - up[1] == pytest.approx(up[1] - up[2], abs=0.2)
    assert up[0] > up[1]  # down is up on a page
    assert "p&lt;99: 10 at 5" in drawn
    assert 'class="mark"' in drawn
    read(drawn)


def test_numbers_are_short() -> None:
    assert [number(each) for each in (0.5, 950, 12_345, 4.56e6, 2e9)] == ["0.5", "950", "12.3 k", "4.56 M", "2 G"]


def test_live_words_tell_rate_and_wait() -> None:
    words = Words()
    assert words([Progress(10, 0, 0, 0)], 0.0) == "0 events/s, 10 unanswered, the oldest for 0.0 ms"
    told = words([Progress(1000, 900, 5, 7 * MS), Progress(500, 500, 0, 0)], 2.0)
    assert told == "700 events/s, 100 unanswered, the oldest for 7.0 ms, 5 rejected"


def test_a_page_of_memory_is_seen_from_both_sides(tmp_path: Path) -> None:
    ours, theirs = Page(str(tmp_path / "page")), Page(str(tmp_path / "page"))
    theirs.tell(5, 4, 1, 99)
    assert ours.read() == Progress(5, 4, 1, 99)
    assert not theirs.stopped
    ours.stop()
    assert theirs.stopped
    assert ours.read() == Progress(5, 4, 1, 99)
