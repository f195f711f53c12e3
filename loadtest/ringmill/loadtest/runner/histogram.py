"""HdrHistograms of nanoseconds, filled from arrays: the library is asked once for each distinct bucket. Pure.

Its buckets have three significant digits. Encoded, they are what every HdrHistogram tool reads.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt
from hdrh.histogram import HdrHistogram

Nanoseconds = npt.NDArray[np.int64]

LONGEST_NS = 3_600_000_000_000
"""One hour; what took longer counts as this."""
PERCENTILES = (50.0, 90.0, 99.0, 99.9, 99.99)
_SHORTEST_NS = 100
_DIGITS = 3
_BITS = 11
"""Bits of a value that decide its bucket: 2^11 is above 2 * 10^3."""


def make() -> Any:
    """An empty histogram."""
    return HdrHistogram(_SHORTEST_NS, LONGEST_NS, _DIGITS)


def record(histogram: Any, took_ns: Nanoseconds) -> None:
    """Adds durations. A negative one, of a clock that is read twice, counts as 0."""
    clipped = np.clip(took_ns, 0, LONGEST_NS)
    shift = np.maximum(np.frexp(clipped.astype(np.float64))[1] - _BITS, 0)
    values, counts = np.unique(clipped >> shift << shift, return_counts=True)
    for value, count in zip(values.tolist(), counts.tolist(), strict=True):
        histogram.record_value(value, count)


def of(took_ns: Nanoseconds) -> Any:
    """A histogram of durations."""
    histogram = make()
    record(histogram, took_ns)
    return histogram


def encode(histogram: Any) -> str:
    """As text: base64 of the compressed form, version 2."""
    text: bytes = histogram.encode()
    return text.decode()


def merge(encoded: Iterable[str]) -> Any:
    """One histogram of several that were encoded."""
    whole = make()
    for each in encoded:
        whole.decode_and_add(each)
    return whole


def percentiles(histogram: Any) -> dict[str, float]:
    """Microseconds by percentile, and the longest; all 0 if nothing was recorded."""
    if not histogram.get_total_count():
        return dict.fromkeys([*map(name_of, PERCENTILES), "max_us"], 0.0)
    found = histogram.get_percentile_to_value_dict(list(PERCENTILES))
    named = {name_of(percent): found[percent] / 1e3 for percent in PERCENTILES}
    return named | {"max_us": histogram.get_max_value() / 1e3}


def name_of(percent: float) -> str:
    """p99_us, p9999_us."""
    return f"p{percent:g}".replace(".", "") + "_us"


def curve(histogram: Any, points_a_nine: int = 20) -> list[tuple[float, float]]:
    """(percentile, microseconds) up to 99.99 and as far as there are events to tell it, dense towards the end."""
    total = histogram.get_total_count()
    nines = min(4.0, float(np.log10(max(total, 2))))
    wanted = (100.0 * (1.0 - 10.0 ** -np.linspace(0.0, nines, int(points_a_nine * nines) + 1))).tolist()
    found = histogram.get_percentile_to_value_dict(wanted) if total else {}
    return [(percent, found[percent] / 1e3) for percent in sorted(found)]
