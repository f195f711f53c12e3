"""Recorded events are sent at their own pace or a multiple of it, each key's in their order."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest

from ringmill.loadtest.runner import recording
from ringmill.loadtest.runner.scenario import Scenario, from_tables
from ringmill.loadtest.runner.sender import Sender
from ringmill.loadtest.runner.settings import ScenarioError
from ringmill.transport.api import Loop
from tests.loadtest.virtual import MS, SCHEMA, VirtualLoop, VirtualServer

BEGAN = datetime(2026, 1, 1, tzinfo=UTC)
KEYS = ["a", "b", "a", "c", "b", "a"]
SECONDS = [0.0, 1.0, 4.0, 2.0, 3.0, 8.0]


def table(**columns: Any) -> pa.Table:
    times = [BEGAN + timedelta(seconds=each) for each in SECONDS]
    usual = {"who": KEYS, "at": times, "temperature": [float(each) for each in range(6)], "where": ["x"] * 6}
    return pa.table({**usual, **columns})


def scenario(
    path: Path, load: dict[str, Any] | None = None, fields: dict[str, Any] | None = None, **own: Any
) -> Scenario:
    usual = {"file": str(path), "key": "who", "time": "at"}
    sections = {"load": {"seconds": 10, "warmup_seconds": 0, **(load or {})}, "recording": {**usual, **own}}
    return from_tables({"target": {"pipeline": "readings"}, "fields": fields or {}, **sections})


@pytest.fixture
def file(tmp_path: Path) -> Path:
    pa.parquet.write_table(table(), tmp_path / "events.parquet")
    return tmp_path / "events.parquet"


def text(strings: Any) -> list[str]:
    heap = strings.heap.tobytes().decode()
    return [heap[start:stop] for start, stop in zip(strings.starts.tolist(), strings.stops.tolist(), strict=True)]


def test_events_are_due_in_the_order_of_their_times(file: Path) -> None:
    made = scenario(file, fields={"room": {"column": "where"}})
    (supply,), keys = recording.supplies(made, SCHEMA, recording.read(made.recording), 0, range(1))
    assert (supply.due_ns / 1e9).tolist() == [0, 1, 2, 3, 4, 8]
    assert (text(supply.ring.keys), keys) == (["a", "b", "c", "b", "a", "a"], 3)
    assert supply.ring.values[:, 0].tolist() == [0, 1, 3, 4, 2, 5]
    assert supply.ring.times[0] == int(BEGAN.timestamp() * 1e6)
    assert supply.ring.label_heap.tobytes().count(b"x") >= 1


@pytest.mark.parametrize(("pace", "last_s"), [(2.0, 4.0), (0.5, 8.0)])
def test_pace_is_multiplied_and_what_comes_after_the_end_is_left_out(file: Path, pace: float, last_s: float) -> None:
    made = scenario(file, pace=pace)
    (supply,), _ = recording.supplies(made, SCHEMA, recording.read(made.recording), 0, range(1))
    assert supply.due_ns[-1] == last_s * 1e9


def test_a_key_stays_on_its_stream(file: Path) -> None:
    made = scenario(file, load={"streams": 4, "processes": 2})
    recorded = recording.read(made.recording)
    both = [recording.supplies(made, SCHEMA, recorded, process, range(process, 4, 2))[0] for process in range(2)]
    assert [[sorted(set(text(supply.ring.keys))) for supply in given] for given in both] == [
        [["a"], ["c"]],
        [["b"], []],
    ]
    assert sum(supply.due_ns.size for given in both for supply in given) == 6


def test_it_is_sent_as_it_was_recorded(file: Path) -> None:
    made = scenario(file)
    loop = VirtualLoop()
    server = VirtualServer(loop)
    sender = Sender(cast(Loop, loop), server, made, loop.clock)
    sender.open(SCHEMA, recording.supplies(made, SCHEMA, recording.read(made.recording), 0, range(1))[0])
    sender.run(loop.now_ns + MS, loop.at, lambda _: True)
    assert server.keys == ["a", "b", "c", "b", "a", "a"]
    assert sender.closed_ns == pytest.approx(8e9, abs=60 * MS)


@pytest.mark.parametrize(
    ("times", "unit"),
    [(np.array(SECONDS), "s"), (np.array(SECONDS) * 1000, "ms"), ((np.array(SECONDS) * 1e9).astype(np.int64), "ns")],
)
def test_times_may_be_numbers_of_a_csv(tmp_path: Path, times: Any, unit: str) -> None:
    pa.csv.write_csv(table(at=times), tmp_path / "events.csv")
    made = scenario(tmp_path / "events.csv", time_unit=unit)
    assert (recording.read(made.recording).times_us / 1e6).tolist() == sorted(SECONDS)


@pytest.mark.parametrize(
    ("own", "words"),
    [
        ({"key": "whom"}, "has no column 'whom'; there is: who, at, temperature, where"),
        ({"time": "where"}, "column 'where' of .* holds string, which is no time"),
        ({"file": "events.xlsx"}, "must be .parquet, .csv or .csv.gz, not 'events.xlsx'"),
        ({"file": "missing.csv"}, "recording.file: .*missing.csv"),
    ],
)
def test_what_cannot_be_read_is_told(file: Path, own: dict[str, Any], words: str) -> None:
    with pytest.raises(ScenarioError, match=words):
        recording.read(scenario(file, **own).recording)


def test_missing_times_and_empty_files_are_told(tmp_path: Path) -> None:
    pa.parquet.write_table(table(at=pa.array([1, None, 3, 4, 5, 6])), tmp_path / "gaps.parquet")
    with pytest.raises(ScenarioError, match="has no time in 1 rows"):
        recording.read(scenario(tmp_path / "gaps.parquet").recording)
    pa.parquet.write_table(table().slice(0, 0), tmp_path / "empty.parquet")
    with pytest.raises(ScenarioError, match="has 0 rows"):
        recording.read(scenario(tmp_path / "empty.parquet").recording)


def test_a_rule_for_a_column_that_is_not_there_is_told(file: Path) -> None:
    made = scenario(file, fields={"room": {"column": "wher"}})
    with pytest.raises(ScenarioError, match="'wher'; there is: who, at"):
        recording.supplies(made, SCHEMA, recording.read(made.recording), 0, range(1))


@pytest.mark.parametrize(
    ("sections", "words"),
    [
        ({"load": {"loop": "closed"}}, "a recording needs an open loop"),
        ({"load": {"batch": 8}}, "a recording needs load.batch = 0"),
        ({"search": {"p99_ms": 5}}, "change recording.pace"),
    ],
)
def test_what_does_not_go_with_a_recording_is_told(sections: dict[str, Any], words: str) -> None:
    with pytest.raises(ScenarioError, match=words):
        from_tables({"target": {"pipeline": "readings"}, "recording": {"file": "a.csv"}, **sections})
