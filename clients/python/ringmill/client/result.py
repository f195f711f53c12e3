"""The outcomes of many events as columns."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from ringmill.client.codec import OutcomeColumns
from ringmill.client.errors import RejectedError
from ringmill.client.outcome import Rejection, reason_name
from ringmill.client.responses import check_sequence
from ringmill.client.schema import BOOL, DOUBLE, INTEGER, Schema
from ringmill.core.errors import Code
from ringmill.v1 import processing_pb2 as pb

_NAMES = np.array([reason_name(number) or None for number in range(256)], object)


class Result:
    """Outcomes in the order of the events: `result["z"]` is a NumPy array with one entry for each event.

    Doubles are float64, NaN where there is no value; integers int64; bools bool; labels str. A rejected event has NaN,
    0, False and "" there, and its reason in `reasons`.
    """

    def __init__(self, schema: Schema, count: int) -> None:
        self._schema = schema
        self._columns = OutcomeColumns.allocate(schema, count)
        self._messages: list[tuple[int, int, bytes]] = []  # first row, number of rows, message
        self._filled = 0

    def fill(self, message: bytes, count: int, sequence: int) -> pb.ProcessResponse:
        """Takes the next response, of `count` outcomes, and returns what else it holds. For the clients."""
        first = self._filled
        head = self._columns.decode(message, first, count)
        check_sequence(head, sequence)
        if self._schema.out_labels or self._columns.reasons[first : first + count].any():
            self._messages.append((first, count, message))  # its bytes are read again when somebody asks for text
        self._filled += count
        return head

    def __len__(self) -> int:
        return self._columns.reasons.size

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the outputs."""
        return tuple(self._schema.output)

    def __getitem__(self, name: str) -> npt.NDArray[Any]:
        column = self._schema.output.get(name)
        if column is None:
            raise KeyError(f"{self._schema.pipeline} has no output {name!r}; its outputs are {list(self.names)}")
        if column.kind == DOUBLE:
            values: npt.NDArray[Any] = self._columns.values[:, column.place]
            return values
        if column.kind == INTEGER:
            return self._columns.integers[:, column.place]
        if column.kind == BOOL:
            return np.asarray(self._columns.integers[:, column.place] != 0)
        return self._text(column.place)

    def _text(self, place: int) -> npt.NDArray[Any]:
        text = np.full(len(self), "", object)
        seen: dict[bytes, str] = {}  # labels repeat: one string object for each distinct one
        for first, count, message in self._messages:
            ranges = self._columns.labels[first : first + count, place].tolist()
            for row, (start, stop) in enumerate(ranges, first):
                raw = message[start:stop]
                known = seen.get(raw)
                if known is None:
                    known = seen[raw] = raw.decode()
                text[row] = known
        return text

    @property
    def reasons(self) -> npt.NDArray[np.uint8]:
        """Why each event was rejected: numbers of `ringmill.core.errors.Reason`; 0 for an applied event."""
        return self._columns.reasons

    @property
    def applied(self) -> npt.NDArray[np.bool_]:
        """Which events were applied."""
        return np.asarray(self._columns.reasons == 0)

    @property
    def rejected(self) -> int:
        """How many events were rejected."""
        return int(np.count_nonzero(self._columns.reasons))

    @property
    def rejection(self) -> npt.NDArray[Any]:
        """The name of each event's rejection reason; None for an applied event."""
        return np.asarray(_NAMES[self._columns.reasons])

    def rejections(self) -> Iterator[tuple[int, Rejection]]:
        """Each rejected event's place and rejection, with its detail."""
        for first, count, message in self._messages:
            for row in (first + np.flatnonzero(self._columns.reasons[first : first + count])).tolist():
                start, stop = self._columns.ranges[row].tolist()
                yield row, Rejection.of(pb.Outcome.FromString(message[start:stop]).rejection)

    def raise_for_rejections(self) -> None:
        """Raises RejectedError if any event was rejected; it tells how many, and about the first."""
        for row, rejection in self.rejections():
            code = Code.UNAVAILABLE if rejection.retryable else Code.INVALID_ARGUMENT
            raise RejectedError(code, f"{self.rejected} of {len(self)} events were rejected; event {row}: {rejection}")

    def to_dict(self) -> dict[str, npt.NDArray[Any]]:
        """Every output by name, and `rejection`."""
        return {**{name: self[name] for name in self.names}, "rejection": self.rejection}

    def to_pandas(self) -> Any:
        """A pandas DataFrame with a column for each output, and `rejection`."""
        import pandas as pd  # optional

        return pd.DataFrame(self.to_dict())

    def to_polars(self) -> Any:
        """A polars DataFrame with a column for each output, and `rejection`."""
        import polars as pl  # optional

        return pl.DataFrame([polars_series(name, column) for name, column in self.to_dict().items()])

    def __repr__(self) -> str:
        return f"Result({len(self)} events, {self.rejected} rejected, outputs {', '.join(self.names)})"


def polars_series(name: str, column: npt.NDArray[Any]) -> Any:
    """One column for polars, which does not read text from NumPy's objects."""
    import polars as pl  # optional

    return pl.Series(name, column.tolist(), pl.String) if column.dtype == object else pl.Series(name, column)
