"""What pandas makes of the same flights: the demo's independent check."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ringmill.cli.demo.flights import Events

TOLERANCE = 1e-9
EWMA_ALPHA = 0.1
"""Of `examples/flights.py`."""

Frame = Any
"""A pandas DataFrame."""

Outputs = Mapping[str, npt.NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Check:
    """How far our results are from pandas'."""

    keys: int
    events: int
    difference: float
    """The largest, relative where the figure is above 1; infinite where only one of the two has a value."""

    @property
    def passed(self) -> bool:
        """Whether every figure agrees."""
        return self.difference <= TOLERANCE


def check(events: Events, outputs: Outputs, keys: int, seed: int = 2013) -> Check:
    """Compares every outcome of a sample of keys with what pandas computes from their events, in the order sent."""
    frame = _frame(events, outputs)
    known = np.array(sorted(set(events.keys.dictionary.to_pylist()) - {""}))
    sample = np.random.default_rng(seed).choice(known, keys, replace=False)
    frame = frame[frame["key"].isin(sample)]
    expected = expectations(frame)
    difference = max(largest_difference(frame[name].to_numpy(), expected[name]) for name in expected)
    return Check(keys, len(frame), difference)


def miscounted(events: Events, outputs: Outputs) -> int:
    """Flights of known aircraft whose place is not what pandas counts: one lost or applied twice shifts all later."""
    import pandas as pd

    codes = events.keys.indices.to_numpy()
    known = codes != events.keys.dictionary.index("").as_py()
    expected = pd.Series(codes).groupby(codes, sort=False).cumcount().to_numpy() + 1
    return int(np.count_nonzero(outputs["flights"][known] != expected[known]))


def expectations(frame: Frame) -> dict[str, npt.NDArray[np.float64]]:
    """Mean, z-score and EWMA of `delay` for each `key`, row by row; a cancelled flight changes none of them."""
    delays = frame.groupby("key", sort=False)["delay"]
    mean = delays.transform(lambda column: column.expanding().mean())
    deviation = delays.transform(lambda column: column.expanding().std(ddof=0))
    ewma = delays.transform(lambda column: column.ewm(alpha=EWMA_ALPHA, adjust=False, ignore_na=True).mean())
    z = (frame["delay"] - mean) / deviation.where(deviation > 0)
    return {"mean": mean.to_numpy(), "z": z.to_numpy(), "ewma": ewma.to_numpy()}


def largest_difference(ours: npt.NDArray[np.float64], theirs: npt.NDArray[np.float64]) -> float:
    """Largest difference of two columns, relative above 1; infinite where only one of them is NaN."""
    if not np.array_equal(np.isnan(ours), np.isnan(theirs)):
        return float("inf")
    both = ~np.isnan(ours)
    if not both.any():
        return 0.0
    return float(np.max(np.abs(ours[both] - theirs[both]) / np.maximum(1.0, np.abs(theirs[both]))))


def abnormal_routes(events: Events, outputs: Outputs, flights_min: int = 365) -> Frame:
    """Routes by alarms raised for each 1,000 flights; at least one flight a day, so that chance alone does not win.

    Columns: key, flights, mean, alarms, per_1000, z (the highest).
    """
    import pandas as pd

    frame = _frame(events, outputs)
    alarm = frame["alarm"].astype(bool)
    before = alarm.groupby(frame["key"]).shift(fill_value=False)
    frame["raised"] = alarm & ~before
    grouped = frame.groupby("key", sort=False)
    table = pd.DataFrame(
        {
            "flights": grouped.size(),
            "mean": grouped["mean"].last(),
            "alarms": grouped["raised"].sum(),
            "z": grouped["z"].max(),
        }
    )
    table["per_1000"] = 1000.0 * table["alarms"] / table["flights"]
    busy = table.query("flights >= @flights_min")
    return busy.sort_values(["per_1000", "z"], ascending=False).reset_index()


def _frame(events: Events, outputs: Outputs) -> Frame:
    import pandas as pd

    keys = pd.Categorical.from_codes(events.keys.indices.to_numpy(), events.keys.dictionary.to_pylist())
    frame = pd.DataFrame({"key": np.asarray(keys, dtype=object), "delay": events.delay})
    return frame.assign(**{name: outputs[name] for name in ("mean", "z", "ewma", "alarm")})
