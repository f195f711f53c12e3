"""Event times of any library as int64 microseconds since 1970 UTC."""

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import numpy.typing as npt

from ringmill.client.arrays import timed_numpy_of

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_COARSE = frozenset(("Y", "M", "W", "D", "h", "m", "s", "ms"))
_TOO_FAR = "a time does not fit in 64 bits of microseconds"


def times_of(source: Any, count: int) -> npt.NDArray[np.int64]:
    """Converts a column of times, or one time for all; a missing one becomes 0, which means unset.

    source: None; integers, in microseconds; datetime64 of any unit; datetimes, pandas or polars timestamps. Times
    without a zone are taken as UTC. Raises TypeError for anything else, floats included; ValueError for a time that
    does not fit in 64 bits.
    """
    if source is None:
        return np.zeros(count, np.int64)
    if isinstance(source, int | np.integer | datetime | np.datetime64):
        return np.full(count, time_of(source), np.int64)
    array = _as_array(source)
    if array.dtype.kind == "M":
        return _instants(array)
    if array.dtype.kind == "u" and array.size and array.max() >= 2**63:
        raise ValueError(_TOO_FAR)
    if array.dtype.kind in "iu":
        return np.ascontiguousarray(array, np.int64)
    if array.dtype.kind == "O":
        try:
            return np.fromiter((time_of(item) for item in array), np.int64, array.size)
        except OverflowError:
            raise ValueError(_TOO_FAR) from None
    raise TypeError(f"times must be integer microseconds or timestamps, not {array.dtype}")


def time_of(source: Any) -> int:
    """One time in microseconds since 1970 UTC; None is 0."""
    if source is None:
        return 0
    if isinstance(source, datetime):
        if source != source:  # pandas.NaT
            return 0
        zoned = source if source.tzinfo else source.replace(tzinfo=UTC)
        return (zoned - _EPOCH) // _MICROSECOND
    if isinstance(source, np.datetime64):
        return 0 if np.isnat(source) else int(source.astype("datetime64[us]").astype(np.int64))
    if isinstance(source, int | np.integer) and not isinstance(source, bool):
        return int(source)
    raise TypeError(f"a time must be integer microseconds or a timestamp, not {type(source).__name__}: {source!r}")


def _instants(array: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    micros = array.astype("datetime64[us]")
    if np.datetime_data(array.dtype)[0] in _COARSE and (micros.astype(array.dtype) != array)[~np.isnat(array)].any():
        raise ValueError(_TOO_FAR)  # NumPy lets it wrap around
    return np.where(np.isnat(array), 0, micros.astype(np.int64))


def _as_array(source: Any) -> npt.NDArray[Any]:
    if getattr(getattr(source, "dtype", None), "tz", None) is not None:  # pandas with a zone: its instants in UTC
        return np.asarray(source.to_numpy(dtype="datetime64[us]"))
    if isinstance(source, np.ndarray | range):
        return np.asarray(source)
    if hasattr(source, "to_numpy"):
        return timed_numpy_of(source)
    items = list(source)
    array = np.empty(len(items), object)  # NumPy would drop the zones of datetimes
    array[:] = items
    if all(type(item) is int for item in items):
        try:
            return array.astype(np.int64)
        except OverflowError:
            raise ValueError(_TOO_FAR) from None
    return array
