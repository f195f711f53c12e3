"""The compiled codec as the client uses it: loaded when columns are first sent, which single events never need."""

import threading
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from ringmill.client.columns import EventColumns
from ringmill.client.errors import ClientError
from ringmill.client.responses import parse_response
from ringmill.client.schema import Schema
from ringmill.core.errors import Code
from ringmill.v1 import processing_pb2 as pb

_loading = threading.Lock()
"""Clients of several threads may need the codec at the same moment, and Numba compiles a function once."""


def _kernels() -> Any:
    with _loading:
        return _load()


@cache
def _load() -> Any:
    """(encode, decode). Importing Numba takes 0.3 s; the first use on a machine compiles for seconds."""
    from ringmill.core.codec.request_encoder import ENCODE_EVENTS, encode_events
    from ringmill.core.codec.response_decoder import DECODE_OUTCOMES, decode_outcomes
    from ringmill.core.jit import compile_kernel

    compile_kernel(encode_events, [ENCODE_EVENTS])
    compile_kernel(decode_outcomes, [DECODE_OUTCOMES])
    return encode_events, decode_outcomes


def load_codec() -> None:
    """Compiles or loads the codec now, so that the first batch does not wait for it."""
    _kernels()


class EventWriter:
    """Encodes slices of columns into one buffer that it uses again for every batch."""

    def __init__(self) -> None:
        self._out = np.empty(0, np.uint8)
        self._length = 0

    def start(self, bytes_max: int) -> None:
        """Begins a batch of at most this many bytes."""
        if self._out.size < bytes_max:
            self._out = np.empty(bytes_max, np.uint8)
        self._bytes_max = bytes_max
        self._length = 0

    def add(self, columns: EventColumns, first: int, last: int) -> int:
        """Writes events first to last - 1, as many as fit, and returns how many did."""
        encode, _ = _kernels()
        out = self._out[self._length : self._bytes_max]
        length, count = encode(*columns.arrays, first, last, out)
        if length < 0:
            raise ClientError(Code.INVALID_ARGUMENT, f"event {count}: a string's range lies outside its heap")
        if count == 0 and self._length == 0:
            raise ClientError(
                Code.RESOURCE_EXHAUSTED,
                f"event {first} alone is larger than a request may be ({self._bytes_max} bytes)",
            )
        self._length += length
        return int(count)

    @property
    def written(self) -> memoryview:
        """The batch so far; valid until the next `start`."""
        return self._out[: self._length].data


@dataclass(frozen=True, slots=True)
class OutcomeColumns:
    """Room for the outcomes of n events, in order."""

    values: npt.NDArray[np.float64]  # [n, k]; NaN: no value
    integers: npt.NDArray[np.int64]  # [n, m]
    labels: npt.NDArray[np.int64]  # [n, l, 2]: start and stop in the message that the outcome came in
    reasons: npt.NDArray[np.uint8]  # [n]; 0: applied
    ranges: npt.NDArray[np.int64]  # [n, 2]: where the outcome stands in its message

    @classmethod
    def allocate(cls, schema: Schema, count: int) -> "OutcomeColumns":
        """Makes room for `count` outcomes, all of them without a value until decoded."""
        return cls(
            values=np.full((count, schema.out_values), np.nan),
            integers=np.zeros((count, schema.out_integers), np.int64),
            labels=np.zeros((count, schema.out_labels, 2), np.int64),
            reasons=np.zeros(count, np.uint8),
            ranges=np.zeros((count, 2), np.int64),
        )

    def decode(self, message: bytes, first: int, count: int) -> pb.ProcessResponse:
        """Reads a response of `count` outcomes into the rows from `first` on, and returns the rest of it.

        Raises ClientError INTERNAL when it does not parse or holds another number of outcomes.
        """
        _, decode = _kernels()
        buffer = np.frombuffer(message, np.uint8)
        rows = slice(first, first + count)
        head = np.empty(buffer.size, np.uint8)
        columns = (self.values, self.integers, self.labels, self.reasons, self.ranges)
        found, head_length = decode(buffer, *(column[rows] for column in columns), head)
        if found != count:
            what = "does not parse" if found == -1 else "does not answer each event of its request"
            raise ClientError(Code.INTERNAL, f"the server sent a response that {what}")
        return parse_response(head[:head_length].tobytes())
