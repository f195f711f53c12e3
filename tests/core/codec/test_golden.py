"""The golden requests: still what the official library says, and what our decoder says."""

import json
import runpy
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ringmill.core.codec.decoder import build_decoder
from ringmill.core.codec.layout import MALFORMED, FieldRules, event_layout
from ringmill.core.columns import Columns, Shape
from ringmill.v1.processing_pb2 import ProcessRequest

FOLDER = Path(__file__).resolve().parents[2] / "golden" / "wire"
ENTRIES: list[dict[str, Any]] = json.loads((FOLDER / "requests.json").read_text())
RULES = FieldRules(4, 0, (0.0,) * 4, (True,) * 4, 3, 0, 3, 0, (0,) * 3, (False,) * 3, uses_time=False)
DECODE = build_decoder(event_layout(ProcessRequest.DESCRIPTOR), RULES)


def test_the_file_is_what_the_official_library_says() -> None:
    assert (FOLDER / "requests.json").read_text() == runpy.run_path(str(FOLDER / "make.py"))["golden"]()


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry["name"])
def test_decodes(entry: dict[str, Any]) -> None:
    message = bytes.fromhex(entry["request"])
    columns = Columns.allocate(16, Shape(4, 3, 3, 0, 0, 0))
    head = np.empty(len(message), np.uint8)
    buffer = np.frombuffer(message, np.uint8)
    count, _ = DECODE(
        buffer, 0, len(message), 1021, head, columns.events, columns.values, columns.labels, columns.integers
    )
    if "refused" in entry:
        assert count == MALFORMED
        return
    assert count == len(entry["events"])
    for index, event in enumerate(entry["events"]):
        row = columns.events[index]
        start, stop = int(row["key_start"]), int(row["key_start"]) + int(row["key_length"])
        assert message[start:stop].decode() == event["key"]
        assert f"{int(row['hash']):016x}" == event["hash"]
        assert row["partition"] == event["partition"]
        assert row["time_us"] == event["time_us"]
        assert columns.values[index, : len(event["values"])].tolist() == event["values"]
        assert columns.integers[index, : len(event["integers"])].tolist() == event["integers"]
        labels = [message[start : start + length].decode() for _, start, length in columns.labels[index].tolist()]
        assert labels[: len(event["labels"])] == event["labels"]
