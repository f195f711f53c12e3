"""Requests as bytes, made before any clock runs.

Every event has the same length, because its key has a fixed width: so a batch is a NumPy array of records whose memory
is the Protobuf encoding itself, and a million events take milliseconds. The tests read them with the official library.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from ringmill.v1.processing_pb2 import ProcessRequest

PIPELINE = "readings"
KEY_BYTES = 15
_PREFIX = b"sensor-"
_DIGITS = KEY_BYTES - len(_PREFIX)

_KEY = np.dtype([("prefix", f"V{len(_PREFIX)}"), ("digits", "u1", (_DIGITS,))])
# Field 4 of ProcessRequest holds an Event: key (1, string), time_us (2, sfixed64), values (3, packed doubles).
EVENT = np.dtype(
    [
        ("event_tag", "u1"),
        ("event_length", "u1"),
        ("key_tag", "u1"),
        ("key_length", "u1"),
        ("key", _KEY),
        ("time_tag", "u1"),
        ("time_us", "<i8"),
        ("values_tag", "u1"),
        ("values_length", "u1"),
        ("values", "<f8", (2,)),
    ]
)
"""One event of a request as it stands on the wire."""

_START_US = 1_767_225_600_000_000  # 2026-01-01 UTC


def events(keys: npt.NDArray[np.int64], seed: int = 0) -> npt.NDArray[np.void]:
    """One event for each key number: EVENT[n], whose bytes are the `events` of a ProcessRequest."""
    rng = np.random.default_rng(seed)
    rows = np.zeros(len(keys), EVENT)
    rows["event_tag"] = 4 << 3 | 2
    rows["event_length"] = EVENT.itemsize - 2
    rows["key_tag"] = 1 << 3 | 2
    rows["key_length"] = KEY_BYTES
    rows["key"]["prefix"] = np.void(_PREFIX)
    left = keys.copy()
    for place in reversed(range(_DIGITS)):
        rows["key"]["digits"][:, place] = ord("0") + left % 10
        left //= 10
    rows["time_tag"] = 2 << 3 | 1
    rows["time_us"] = _START_US + np.arange(len(keys))
    rows["values_tag"] = 3 << 3 | 2
    rows["values_length"] = rows["values"].itemsize * 2
    rows["values"] = rng.normal((20.0, 50.0), (5.0, 10.0), (len(keys), 2))
    return rows


def messages(count: int, size: int, key_count: int, seed: int = 0) -> list[bytes]:
    """`count` requests of `size` events each, with keys drawn uniformly from `key_count`."""
    keys = np.random.default_rng(seed).integers(0, key_count, count * size)
    rows = events(keys, seed)
    return [rows[first : first + size].tobytes() for first in range(0, count * size, size)]


def every_key(key_count: int, size: int) -> list[bytes]:
    """Requests of up to `size` events that name each of `key_count` keys once, in an order far from sorted."""
    rows = events(np.random.default_rng(7).permutation(key_count))
    return [rows[first : first + size].tobytes() for first in range(0, key_count, size)]


def opening() -> bytes:
    """The first message of a stream: it names the pipeline and holds no event."""
    return ProcessRequest(pipeline=PIPELINE).SerializeToString()


def key_names(numbers: Sequence[int]) -> list[bytes]:
    """The keys of these numbers, as bytes."""
    return [_PREFIX + str(number).zfill(_DIGITS).encode() for number in numbers]
