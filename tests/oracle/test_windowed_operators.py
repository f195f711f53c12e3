"""Every operator that can have a window says of it what it says of the window's events alone."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from ringmill.core.errors import RingmillError
from ringmill.pipeline import Pipeline, count, ops, session, tumbling
from ringmill.pipeline.windows import Window
from tests.oracle.catalogue import STEPS, Point, events, run
from tests.oracle.test_ops_contract import OTHERWISE_NAMED

EVERY = 40
BELONGS_TO_ITS_EVENT = {"adwin.change"}


def loads(name: str, window: Window) -> bool:
    steps = {"z": ops.zscore("x"), "f": STEPS[name].over(window)}
    try:
        Pipeline("one", version="1.0.0", event=Point, steps=steps)
    except RingmillError as refused:
        if "cannot have" not in refused.message:
            raise
        return False
    return True


ALONE = [name for name in STEPS if loads(name, count(EVERY))]
MERGED = [name for name in ALONE if loads(name, session(minutes=1))]


def told(begin: str) -> set[str]:
    """The operators of the paragraph of the docs that begins so."""
    text = (Path(__file__).parents[2] / "docs" / "operators.md").read_text().partition("\n## Windows\n")[2]
    line = next(line for line in text.splitlines() if line.startswith(begin))
    return set(re.findall(r"`(\w+)`", line.partition(":")[2]))


def test_the_docs_tell_which_operators_can_have_which_windows() -> None:
    made = {name: OTHERWISE_NAMED.get(name, name) for name in STEPS}
    assert told("Any [window]") == {made[name] for name in MERGED}
    assert told("`tumbling` and `count` only") == {made[name] for name in ALONE} - {made[name] for name in MERGED}
    assert all(loads(name, tumbling(minutes=1)) == (name in ALONE) for name in STEPS)


windowed = Pipeline(
    "windowed",
    version="1.0.0",
    event=Point,
    steps={"z": ops.zscore("x"), **{name: STEPS[name].over(count(EVERY)) for name in ALONE}},
)


@pytest.fixture(scope="module")
def emissions() -> Any:
    frame = events(600).assign(key="k")
    got = run(frame, windowed)
    assert got.rejected == 0
    return frame, got.emissions


def test_a_window_says_what_its_events_alone_would(emissions: Any) -> None:
    """As the operator says without a window after the last of them, from a new state."""
    frame, emitted = emissions
    parts = [run(frame[first : first + EVERY]) for first in range(0, 600, EVERY)]
    for name in ALONE:
        table = emitted[name]
        assert len(table) == len(parts)
        for output, column in table.outputs.items():
            full = f"{name}.{output}" if STEPS[name].operator.is_tuple else name
            if full not in BELONGS_TO_ITS_EVENT:
                wanted = [part[full][-1] for part in parts]
                assert pd.Series(column).equals(pd.Series(wanted)), full


def test_every_emission_is_finite_or_missing(emissions: Any) -> None:
    for table in emissions[1].values():
        for column in table.outputs.values():
            assert column.dtype != np.float64 or not np.isinf(column).any()
