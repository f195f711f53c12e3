"""The blocking client: it drives the fast transport in the caller's own thread, without an event loop."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from types import TracebackType
from typing import Any

from ringmill.client.codec import EventWriter
from ringmill.client.columns import EventColumns, event_columns
from ringmill.client.connection import LIMITS, Connection, call
from ringmill.client.errors import ClientError, unconfirmed_error
from ringmill.client.feeds import ColumnsFeed, OutcomeBatch, RowsFeed, SpanFeed
from ringmill.client.frames import frame_fields, joined_frame
from ringmill.client.outcome import Outcome
from ringmill.client.puller import Puller
from ringmill.client.result import Result
from ringmill.client.rows import RowEncoder
from ringmill.client.schema import Schema
from ringmill.client.session import Session
from ringmill.client.settings import Settings, make_settings
from ringmill.client.tracing import metadata_of
from ringmill.core.errors import Code
from ringmill.transport import make_loop
from ringmill.transport.api import ClientTls, Metadata
from ringmill.transport.choice import Kind
from ringmill.v1 import processing_pb2 as pb

_POLL_MIN_S = 50e-6
"""Shortest time that a poll looks for what has come."""


class Client:
    """Processes events on a pipeline, over one stream. Belongs to one thread; make one for each thread.

        with Client("localhost:7400", "flights") as client:
            result = client.process(keys, times, delay=delays)

    It connects when first used. When the stream breaks under a call it dials again, and sends what was not answered
    again: a server that deduplicates applies each event once. A call that fails raises ClientError; one that fails
    while events were unanswered raises ProcessError, which tells how many. Rejected events raise nothing.
    """

    def __init__(
        self,
        address: str,
        pipeline: str,
        producer: str = "",
        *,
        version: str = "",
        ack: str = "",
        batch_events_max: int = 4096,
        in_flight_max: int = 8,
        timeout_s: float | None = 30.0,
        connect_timeout_s: float = 10.0,
        deadline_ms: int = 0,
        retry_s: float = 30.0,
        resend: bool = False,
        replay: bool = False,
        metadata: Metadata = (),
        tls: ClientTls | None = None,
        transport: Kind = "auto",
    ) -> None:
        """address: host:port. tls: certificates; None: plain text. transport: "auto", "cq" or "aio".

        producer: a stable name by which a restarted client goes on as the same; without one the client makes up its
        own for as long as it lives. metadata: sent with every call; a traceparent is added from the current span when
        there is none in it. The other settings are those of `settings.Settings`.
        """
        self._settings = make_settings(
            pipeline=pipeline,
            producer=producer,
            version=version,
            ack=ack,
            batch_events_max=batch_events_max,
            in_flight_max=in_flight_max,
            timeout_s=timeout_s,
            deadline_ms=deadline_ms,
            retry_s=retry_s,
            resend=resend,
            replay=replay,
        )
        self._address = address
        self._connect_timeout_s = connect_timeout_s
        self._metadata = tuple(metadata)
        self._loop = make_loop(transport)
        self._channel = self._loop.channel(address, tls, LIMITS)
        self._connection: Connection | None = None
        self._lost: deque[ClientError] = deque(maxlen=1)
        """How the last stream ended, or the last attempt to open one failed."""
        self._unconfirmed = 0
        self._schema: Schema | None = None
        self._rows: RowEncoder | None = None
        self._writer = EventWriter()
        self._closed = False

    def __enter__(self) -> "Client":
        self._connected()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    @property
    def schema(self) -> Schema:
        """The pipeline's fields and outputs, as its server describes them."""
        self._connected()
        assert self._schema is not None  # connecting reads it
        return self._schema

    @property
    def info(self) -> pb.StreamInfo:
        """What the server said of this stream: its limits and the version served."""
        info = self._connected().session.info
        assert info is not None  # connecting waits for it
        return info

    @property
    def last_sequence(self) -> int:
        """Highest sequence of this producer that the server had applied when this client came.

        A client that begins under an old name goes on after it, unless `replay` is set.
        """
        return self._connected().session.last_sequence

    @property
    def sequence(self) -> int:
        """Sequence of the last batch sent."""
        return self._connected().session.sequence

    @property
    def committed_through(self) -> int:
        """Highest sequence up to which every in-sync replica holds all that this client sent; 0: nothing yet."""
        return self._connected().session.committed_through

    def process(self, keys: Sequence[str] | Any, times: Any = None, /, **fields: Any) -> Result:
        """Processes columns of events and waits for all outcomes.

        keys: n strings. times: n times, one for all, or None; integers are microseconds since 1970 UTC.
        fields: a column of n entries, or one value for all, by the name of each declared field; None and NaN are
        missing. Columns may be lists or come from NumPy, pandas, polars or pyarrow.
        """
        connection = self._connected()
        return self._process(connection, event_columns(self.schema, keys, times, fields))

    def process_columns(self, columns: EventColumns) -> Result:
        """Processes columns that `columns` has made, as often as wanted."""
        return self._process(self._connected(), columns)

    def columns(self, keys: Any, times: Any = None, /, **fields: Any) -> EventColumns:
        """Checks and converts columns without sending them."""
        return event_columns(self.schema, keys, times, fields)

    def process_frame(self, frame: Any, *, key: str, time: str | None = None, **fields: str) -> Any:
        """Processes the rows of a pandas or polars frame, and returns it with a column more for each output.

        key, time, fields: names of columns. The column `rejection` holds the reason of each rejected row.
        """
        keys, times, columns = frame_fields(self.schema, frame, key, time, fields)
        return joined_frame(frame, self.process(keys, times, **columns))

    def process_one(self, key: str, time: Any = None, /, **fields: Any) -> Outcome:
        """Processes one event and waits for its outcome: the shortest way there and back."""
        connection = self._connected()
        return self._one(connection, self._row_encoder.encode_fields(key, time, fields))

    def send(self, event: Any) -> Outcome:
        """Processes one event object, mapping or tuple (key, time, fields in order) and waits for its outcome."""
        connection = self._connected()
        return self._one(connection, self._row_encoder.encode(event))

    def stream(self, events: Iterable[Any]) -> Iterator[tuple[Any, Outcome]]:
        """Processes single events as they come, and yields each with its outcome, in order.

        Events are objects of the pipeline's Event class, mappings, or tuples (key, time, fields in order). What comes
        while a write is in flight goes as one message. A source that is no list or tuple is read in a thread of its
        own, at most two batches ahead, so that outcomes never wait for the next event.
        """
        connection = self._connected()
        outcomes: deque[Outcome] = deque()
        failures: list[ClientError] = []
        feed = RowsFeed(self.schema, outcomes.append, failures.append)
        sent: deque[Any] = deque()
        in_flight_max = 2 * self._settings.batch_events_max
        source = _Listed(events) if isinstance(events, list | tuple) else self._pull(events)
        try:
            while True:
                for event in source.take(in_flight_max - len(sent)):
                    feed.add(self._row_encoder.encode(event), connection.session.limits)
                    sent.append(event)
                if feed.waiting:
                    connection.offer(feed)
                self._await_any(connection, source, sent, outcomes, failures, in_flight_max)
                while outcomes:
                    yield sent.popleft(), outcomes.popleft()
                if failures:
                    raise failures[0]
                if source.finished and not source.ready_items and not sent:
                    break
            if source.error is not None:
                raise source.error
        finally:
            source.stop()
            connection.session.withdraw(feed)

    def _await_any(
        self,
        connection: Connection,
        source: "_Listed | Puller",
        sent: deque[Any],
        outcomes: deque[Outcome],
        failures: list[ClientError],
        in_flight_max: int,
    ) -> None:
        """Waits for an outcome, for the end, or, where another event may be sent, for one to come."""
        if sent:
            self._wait(
                connection,
                lambda: bool(outcomes or failures) or (bool(source.ready_items) and len(sent) < in_flight_max),
            )
        else:  # nothing is on its way, so it is the source's turn, however long it takes
            self._loop.run_until(lambda: source.ready or bool(failures) or connection.error is not None)
            if connection.error is not None and not failures and not source.ready:
                raise connection.error

    def open_stream(self) -> "EventStream":
        """The low-level way: submit spans of prepared columns as they fall due, and poll for outcomes."""
        return EventStream(self, self._connected())

    def flush(self, timeout_s: float | None = None) -> None:
        """Waits until every in-sync replica holds all that was sent: what ack="primary" leaves open.

        timeout_s: None stands for the client's own. Raises ClientError: DEADLINE_EXCEEDED, after which it may be tried
        again; DATA_LOSS if events that a primary alone had answered were rejected after its loss, or may have been.
        """
        connection = self._connection
        if connection is None:
            return
        session = connection.session
        target = session.sequence
        session.flushes += 1
        try:
            session.beat()
            connection.send()
            limit_s = self._settings.timeout_s if timeout_s is None else timeout_s
            if not self._loop.run_until(lambda: session.error is not None or not session.holds(target), limit_s):
                raise ClientError(Code.DEADLINE_EXCEEDED, f"not all is committed after {limit_s} s")
        finally:
            session.flushes -= 1
        lost = session.take_unconfirmed() + self._unconfirmed
        self._unconfirmed = 0
        if lost:
            raise unconfirmed_error(lost)

    def close(self) -> None:
        """Ends the stream in good order and lets the connection go. Unanswered events stay unanswered."""
        if self._closed:
            return
        self._closed = True
        connection = self._connection
        if connection is not None and connection.error is None:
            if connection.half_close():
                self._loop.run_until(lambda: not connection.connected, 1.0)
            connection.abandon(ClientError(Code.CANCELLED, "the client was closed"))
        self._channel.close()

    @property
    def _row_encoder(self) -> RowEncoder:
        if self._rows is None:
            self._rows = RowEncoder(self.schema)
        return self._rows

    def _pull(self, events: Iterable[Any]) -> Puller:
        return Puller(events, lambda: self._loop.call_soon(_nothing), self._settings.batch_events_max)

    def _process(self, connection: Connection, columns: EventColumns) -> Result:
        feed = ColumnsFeed(self.schema, columns, self._writer)
        if len(columns):
            connection.offer(feed)
        try:
            self._wait(connection, lambda: feed.done)
        finally:
            connection.session.withdraw(feed)
        if feed.error is not None:
            raise feed.error
        return feed.result

    def _one(self, connection: Connection, event: bytes) -> Outcome:
        outcomes: list[Outcome] = []
        failures: list[ClientError] = []
        feed = RowsFeed(self.schema, outcomes.append, failures.append)
        feed.add(event, connection.session.limits)
        connection.offer(feed)
        self._wait(connection, lambda: bool(outcomes or failures))
        if failures:
            raise failures[0]
        return outcomes[0]

    def _wait(self, connection: Connection, done: Callable[[], bool]) -> None:
        """Runs the loop until done() is true, as long as something comes in each `timeout_s`."""
        timeout_s = self._settings.timeout_s
        session = connection.session
        heard = session.progress
        while not self._loop.run_until(done, timeout_s):
            if session.progress == heard:
                why = f"no outcome came for {timeout_s} s"
                if not session.opened and self._lost:  # while it dialled
                    why += f": {self._lost[-1].message}"
                connection.abandon(ClientError(Code.DEADLINE_EXCEEDED, why))
            heard = session.progress

    def _connected(self) -> Connection:
        """The open stream; opens one where there is none."""
        if self._closed:
            raise ClientError(Code.FAILED_PRECONDITION, "the client is closed")
        connection = self._connection
        if connection is not None and connection.error is None:
            return connection
        if connection is not None and connection.session.fenced:
            raise connection.error or ClientError(Code.ABORTED, "")
        return self._connect(0 if connection is None else connection.session.sequence)

    def _connect(self, sequence: int) -> Connection:
        metadata = metadata_of(self._metadata)
        target, patience_s = self._address, self._connect_timeout_s
        name = self._settings.pipeline
        request = pb.DescribePipelineRequest(pipeline=name).SerializeToString()
        answer = call(self._loop, self._channel, "DescribePipeline", request, target, metadata, patience_s)
        self._schema = Schema.of(name, pb.DescribePipelineResponse.FromString(answer))
        self._rows = None
        session = _Session(self._settings, sequence, self._lost)
        connection = Connection(self._loop, self._channel, session, target, metadata, patience_s)

        def opened() -> bool:
            return session.opened or session.error is not None

        if not self._loop.run_until(opened, patience_s):
            connection.abandon(
                ClientError(Code.DEADLINE_EXCEEDED, f"{target} did not open a stream within {patience_s} s")
            )
        if session.error is not None:
            raise session.error
        if self._connection is not None:
            self._unconfirmed += self._connection.session.take_unconfirmed()
        self._connection = connection
        return connection


class _Session(Session):
    """Notes how its streams end."""

    def __init__(self, settings: Settings, sequence: int, lost: deque[ClientError]) -> None:
        super().__init__(settings, sequence)
        self._lost = lost

    def broke(self, error: ClientError, now_s: float, jitter: float) -> float | None:
        self._lost.append(error)
        return super().broke(error, now_s, jitter)


class EventStream:
    """Single events at a high rate with little cost for each: `submit` what has fallen due, `poll` for outcomes.

    Columns are checked and converted once, by `Client.columns`. Whatever was submitted while a write was in flight
    goes as one message (natural batching). Several may be open on one client.
    """

    def __init__(self, client: Client, connection: Connection) -> None:
        self._client = client
        self._connection = connection
        self._feed = SpanFeed(client.schema, EventWriter())

    @property
    def submitted(self) -> int:
        """Events submitted so far."""
        return self._feed.submitted

    @property
    def answered(self) -> int:
        """Events answered so far."""
        return self._feed.answered

    def submit(self, columns: EventColumns, first: int = 0, last: int | None = None) -> None:
        """Submits events first to last - 1 of the columns; never blocks, and sends at once where the stream is free."""
        self._raise_error()
        self._feed.add(columns, first, len(columns) if last is None else last)
        self._connection.offer(self._feed)

    def poll(self, timeout_s: float = 0.0) -> list[OutcomeBatch]:
        """The outcomes that have come, in order; waits up to `timeout_s` for the first. Sends what waits to be sent."""
        feed = self._feed
        if not feed.batches:
            self._client._loop.run_until(
                lambda: bool(feed.batches) or feed.error is not None, max(timeout_s, _POLL_MIN_S)
            )
        if not feed.batches:
            self._raise_error()
        batches = list(feed.batches)
        feed.batches.clear()
        return batches

    def _raise_error(self) -> None:
        if self._feed.error is not None:
            raise self._feed.error
        if self._connection.error is not None:
            raise self._connection.error


class _Listed:
    """A source that is at hand: no thread is needed to read it."""

    error: BaseException | None = None

    def __init__(self, events: Sequence[Any]) -> None:
        self._events = events
        self._next = 0

    @property
    def finished(self) -> bool:
        return True

    @property
    def ready(self) -> bool:
        return True

    @property
    def ready_items(self) -> int:
        return len(self._events) - self._next

    def take(self, count: int) -> Sequence[Any]:
        taken = self._events[self._next : self._next + count]
        self._next += len(taken)
        return taken

    def stop(self) -> None:
        pass


def _nothing() -> None:
    """Wakes the loop and no more."""
