"""What has events to send on a session: whole columns, spans of columns as they fall due, or single events."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from ringmill.client.codec import EventWriter
from ringmill.client.columns import EventColumns
from ringmill.client.errors import ClientError
from ringmill.client.outcome import Outcome
from ringmill.client.responses import check_sequence, parse_response
from ringmill.client.result import Result
from ringmill.client.schema import Schema
from ringmill.client.session import BatchLimits
from ringmill.client.tracing import current_traceparent
from ringmill.core.errors import Code
from ringmill.v1 import processing_pb2 as pb


class ColumnsFeed:
    """Sends all of some columns, in batches that are encoded only when the stream can take them."""

    def __init__(self, schema: Schema, columns: EventColumns, writer: EventWriter) -> None:
        self.result = Result(schema, len(columns))
        self.traceparent = current_traceparent()
        self.answered = 0
        self.error: ClientError | None = None
        self._columns = columns
        self._writer = writer
        self._next = 0

    @property
    def done(self) -> bool:
        """Whether nothing more will be heard."""
        return self.error is not None or self.answered == len(self._columns)

    def take(self, limits: BatchLimits) -> tuple[bytes | memoryview, int]:
        """Encodes the next batch."""
        last = min(self._next + limits.events_max, len(self._columns))
        if self._next == last:
            return b"", 0
        self._writer.start(limits.bytes_max)
        count = self._writer.add(self._columns, self._next, last)
        self._next += count
        return self._writer.written, count

    def deliver(self, message: bytes, count: int, sequence: int) -> pb.ProcessResponse:
        """Puts the outcomes into the result."""
        head = self.result.fill(message, count, sequence)
        self.answered += count
        return head

    def fail(self, error: ClientError) -> None:
        """Keeps the error for whoever waits."""
        self.error = error


@dataclass(frozen=True, slots=True)
class OutcomeBatch:
    """The outcomes of one message."""

    first: int
    """Place of its first event among all that were submitted."""
    result: Result

    def __len__(self) -> int:
        return len(self.result)


class SpanFeed:
    """Sends spans of columns in the order they were submitted; what gathers while a write is in flight goes at once."""

    traceparent = ""
    """A message mixes events of several callers."""

    def __init__(self, schema: Schema, writer: EventWriter) -> None:
        self.answered = 0
        self.submitted = 0
        self.batches: deque[OutcomeBatch] = deque()
        self.error: ClientError | None = None
        self._schema = schema
        self._writer = writer
        self._spans: deque[tuple[EventColumns, int, int]] = deque()

    def add(self, columns: EventColumns, first: int, last: int) -> None:
        """Appends a span; one that continues the last span costs nothing more to send."""
        self.submitted += last - first
        if self._spans and self._spans[-1][0] is columns and self._spans[-1][2] == first:
            _, first, _ = self._spans.pop()
        self._spans.append((columns, first, last))

    def take(self, limits: BatchLimits) -> tuple[bytes | memoryview, int]:
        """Encodes all that has gathered, up to the limits."""
        self._writer.start(limits.bytes_max)
        taken = 0
        while self._spans and taken < limits.events_max:
            columns, first, last = self._spans[0]
            wanted = min(last - first, limits.events_max - taken)
            count = self._writer.add(columns, first, first + wanted)
            taken += count
            if first + count == last:
                self._spans.popleft()
            else:
                self._spans[0] = (columns, first + count, last)
            if count < wanted:
                break
        return self._writer.written, taken

    def deliver(self, message: bytes, count: int, sequence: int) -> pb.ProcessResponse:
        """Keeps the outcomes until they are polled."""
        result = Result(self._schema, count)
        head = result.fill(message, count, sequence)
        self.batches.append(OutcomeBatch(self.answered, result))
        self.answered += count
        return head

    def fail(self, error: ClientError) -> None:
        """Keeps the error for whoever polls."""
        self.error = error


class RowsFeed:
    """Sends single events; what gathers while a write is in flight goes as one message."""

    traceparent = ""
    """A message mixes events of several callers."""

    def __init__(
        self, schema: Schema, on_outcome: Callable[[Outcome], None], on_fail: Callable[[ClientError], None]
    ) -> None:
        self.answered = 0
        self._schema = schema
        self._on_outcome = on_outcome
        self._on_fail = on_fail
        self._waiting: deque[bytes] = deque()

    @property
    def waiting(self) -> int:
        """Events that are not sent yet."""
        return len(self._waiting)

    def add(self, event: bytes, limits: BatchLimits) -> None:
        """Appends one encoded event. Raises ClientError when no request could hold it."""
        if len(event) > limits.bytes_max:
            raise ClientError(
                Code.RESOURCE_EXHAUSTED,
                f"an event of {len(event)} bytes is larger than a request may be ({limits.bytes_max} bytes)",
            )
        self._waiting.append(event)

    def take(self, limits: BatchLimits) -> tuple[bytes | memoryview, int]:
        """Joins all that has gathered, up to the limits."""
        taken: list[bytes] = []
        size = 0
        while self._waiting and len(taken) < limits.events_max and size + len(self._waiting[0]) <= limits.bytes_max:
            taken.append(self._waiting.popleft())
            size += len(taken[-1])
        return b"".join(taken), len(taken)

    def deliver(self, message: bytes, count: int, sequence: int) -> pb.ProcessResponse:
        """Passes each outcome on."""
        response = parse_response(message)
        check_sequence(response, sequence)
        if len(response.outcomes) != count:
            raise ClientError(Code.INTERNAL, f"the server sent {len(response.outcomes)} outcomes for {count} events")
        self.answered += count
        for outcome in response.outcomes:
            self._on_outcome(Outcome(self._schema, outcome))
        return response

    def fail(self, error: ClientError) -> None:
        """Passes the error on."""
        self._waiting.clear()
        self._on_fail(error)
