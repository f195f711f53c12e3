"""Recorded events, sent again in their order at their own pace or a multiple of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ringmill.client.arrays import numpy_of
from ringmill.client.columns import event_columns
from ringmill.client.schema import Schema
from ringmill.client.times import times_of
from ringmill.loadtest.runner import fields
from ringmill.loadtest.runner.events import Supply
from ringmill.loadtest.runner.scenario import ARRIVALS_MAX, Recording, Scenario
from ringmill.loadtest.runner.settings import ScenarioError

SCALES_NS = {"s": 1_000_000_000, "ms": 1_000_000, "us": 1_000, "ns": 1}


@dataclass(frozen=True, slots=True)
class Recorded:
    """A file of events, in the order of their times."""

    keys: npt.NDArray[Any]
    """[n] Text."""
    groups: npt.NDArray[np.int64]
    """[n] The number of each event's key, in the order in which keys first appear."""
    times_us: npt.NDArray[np.int64]
    columns: Mapping[str, npt.NDArray[Any]]
    """Every column of the file, by name."""


def read(recording: Recording) -> Recorded:
    """Reads a .parquet, .csv or .csv.gz file. Raises ScenarioError."""
    table = _table(recording.file)
    for name in (recording.key, recording.time):
        if name not in table.column_names:
            raise ScenarioError(f"{recording.file} has no column {name!r}; there is: {', '.join(table.column_names)}")
    if not len(table) or len(table) > ARRIVALS_MAX:
        raise ScenarioError(f"{recording.file} has {len(table):,} rows; from 1 to {ARRIVALS_MAX:,} can be sent")
    times_us = _times(recording, table.column(recording.time).combine_chunks())
    order = np.argsort(times_us, kind="stable")
    keys = table.column(recording.key).combine_chunks().cast("string").fill_null("")
    groups = numpy_of(keys.dictionary_encode().indices).astype(np.int64)
    columns = {name: numpy_of(table.column(name).combine_chunks())[order] for name in table.column_names}
    return Recorded(numpy_of(keys)[order], groups[order], times_us[order], columns)


def _table(file: str) -> Any:
    import pyarrow as pa
    from pyarrow import csv, parquet

    try:
        if file.endswith(".parquet"):
            return parquet.read_table(file)
        if file.endswith((".csv", ".csv.gz")):
            return csv.read_csv(file)
    except (OSError, pa.ArrowInvalid) as error:
        raise ScenarioError(f"recording.file: {error}") from None
    raise ScenarioError(f"recording.file must be .parquet, .csv or .csv.gz, not {Path(file).name!r}")


def _times(recording: Recording, column: Any) -> npt.NDArray[np.int64]:
    if column.null_count:
        raise ScenarioError(f"column {recording.time!r} of {recording.file} has no time in {column.null_count:,} rows")
    numbers = numpy_of(column)
    if numbers.dtype.kind == "M":
        return times_of(numbers, numbers.size)
    if numbers.dtype.kind not in "iuf":
        raise ScenarioError(f"column {recording.time!r} of {recording.file} holds {column.type}, which is no time")
    scale_ns = SCALES_NS[recording.time_unit]
    if np.abs(numbers.astype(np.float64)).max() * scale_ns / 1000 >= 2.0**63:
        raise ScenarioError(f"column {recording.time!r} of {recording.file} holds times too far away")
    if numbers.dtype.kind == "f":
        return np.rint(numbers * (scale_ns / 1000)).astype(np.int64)
    return numbers.astype(np.int64) * (scale_ns // 1000) if scale_ns >= 1000 else numbers.astype(np.int64) // 1000


def supplies(
    scenario: Scenario, schema: Schema, recorded: Recorded, process: int, streams: range
) -> tuple[list[Supply], int]:
    """What each of these streams sends, and how many keys they have. A key's events are on one stream, in order.

    What is due after the end of the step is left out. Raises ScenarioError.
    """
    load = scenario.load
    due_ns = ((recorded.times_us - recorded.times_us[0]) * (1000 / scenario.recording.pace)).astype(np.int64)
    inside = due_ns < (load.warmup_seconds + load.seconds) * 1e9
    rng = np.random.default_rng((20, load.seed, process))
    values = fields.columns(schema, scenario.fields, rng, due_ns.size, recorded.columns)
    made, keys = [], 0
    for stream in streams:
        rows = np.flatnonzero(inside & (recorded.groups % load.streams == stream))
        mine = {name: column[rows] for name, column in values.items()}
        ring = event_columns(schema, recorded.keys[rows], recorded.times_us[rows], mine)
        made.append(Supply(ring, 0, due_ns[rows]))
        keys += np.unique(recorded.groups[rows]).size
    return made, keys
