"""The asyncio client: grpc.aio on the caller's own event loop."""

import asyncio
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Sequence
from types import TracebackType
from typing import Any

import grpc
import grpc.aio

from ringmill.client.aio_connection import AwaitedConnection
from ringmill.client.codec import EventWriter, load_codec
from ringmill.client.columns import EventColumns, event_columns
from ringmill.client.connection import LIMITS
from ringmill.client.errors import ClientError, status_error, unconfirmed_error
from ringmill.client.feeds import ColumnsFeed, RowsFeed
from ringmill.client.frames import frame_fields, joined_frame
from ringmill.client.outcome import Outcome
from ringmill.client.result import Result
from ringmill.client.rows import RowEncoder
from ringmill.client.schema import Schema
from ringmill.client.session import Session
from ringmill.client.settings import make_settings
from ringmill.client.tracing import metadata_of
from ringmill.core.errors import Code
from ringmill.transport.api import ClientTls, Metadata
from ringmill.transport.options import channel_credentials, channel_options
from ringmill.v1 import processing_pb2 as pb

_aio: Any = grpc.aio  # grpc-stubs lack EOF and the defaults of parameters
_SERVICE = "/ringmill.v1.ProcessingService/"


class AsyncClient:
    """Processes events on a pipeline, over one stream, for the tasks of one event loop.

        async with AsyncClient("localhost:7400", "flights") as client:
            result = await client.process(keys, times, delay=delays)

    Any number of tasks may use it at once: their events share the stream, and what gathers while a write is in flight
    goes as one message. It connects when first used, dials again when the stream breaks, and
    resumes; errors are those of `Client`.
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
    ) -> None:
        """Takes what `Client` takes."""
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
        self._tls = tls
        self._channel: Any = None
        self._connecting = asyncio.Lock()
        self._connection: AwaitedConnection | None = None
        self._singles: _Singles | None = None
        self._schema: Schema | None = None
        self._unconfirmed = 0
        self._closed = False

    async def __aenter__(self) -> "AsyncClient":
        await self._connected()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def describe(self) -> Schema:
        """The pipeline's fields and outputs, as its server describes them."""
        await self._connected()
        assert self._schema is not None  # connecting reads it
        return self._schema

    async def process(self, keys: Sequence[str] | Any, times: Any = None, /, **fields: Any) -> Result:
        """Processes columns of events and waits for all outcomes; arguments as in `Client.process`."""
        connection = await self._connected()
        schema = await self.describe()
        return await self._process(connection, event_columns(schema, keys, times, fields))

    async def process_frame(self, frame: Any, *, key: str, time: str | None = None, **fields: str) -> Any:
        """Processes the rows of a pandas or polars frame, and returns it with a column more for each output."""
        keys, times, columns = frame_fields(await self.describe(), frame, key, time, fields)
        return joined_frame(frame, await self.process(keys, times, **columns))

    async def submit(self, event: Any) -> Outcome:
        """Processes one event object, mapping or tuple (key, time, fields in order).

        Events of all tasks travel together: what gathers while a write is in flight goes as one message.
        """
        connection = await self._connected()
        singles = self._singles
        if singles is None or singles.connection is not connection:
            singles = self._singles = _Singles(await self.describe(), connection)
        return await singles.add(event)

    async def stream(self, events: AsyncIterable[Any] | Iterable[Any]) -> AsyncIterator[tuple[Any, Outcome]]:
        """Processes single events as they come, and yields each with its outcome, in order.

        The source is read at most two batches ahead of the outcomes, and outcomes never wait for the next event.
        """
        connection = await self._connected()
        singles = _Singles(await self.describe(), connection)
        sent: asyncio.Queue[tuple[Any, asyncio.Future[Outcome]] | Exception | None] = asyncio.Queue(
            2 * self._settings.batch_events_max
        )
        reading = asyncio.create_task(_read_source(events, singles, sent))
        try:
            while (item := await sent.get()) is not None:
                if isinstance(item, Exception):
                    raise item
                event, outcome = item
                yield event, await outcome
        finally:
            reading.cancel()
            connection.session.withdraw(singles.feed)

    def subscribe(self, *emitters: str, key_prefixes: Sequence[str] = ()) -> AsyncIterator[Any]:
        """Emissions of windows and alarms as they happen. Not served yet: raises ClientError UNIMPLEMENTED."""
        return self._subscribe(emitters, key_prefixes)

    async def _subscribe(self, emitters: Sequence[str], key_prefixes: Sequence[str]) -> AsyncIterator[Any]:
        request = pb.SubscribeRequest(
            pipeline=self._settings.pipeline, emitters=emitters, key_prefixes=key_prefixes
        ).SerializeToString()
        responses = self._open_channel().unary_stream(f"{_SERVICE}Subscribe")(
            request, metadata=metadata_of(self._metadata)
        )
        try:
            async for response in responses:
                for emission in pb.SubscribeResponse.FromString(response).emissions:
                    yield emission
        except grpc.aio.AioRpcError as error:
            raise self._error_of(error) from None

    async def last_sequence(self) -> int:
        """Highest sequence of this producer that the server had applied when this client came."""
        return (await self._connected()).session.last_sequence

    @property
    def committed_through(self) -> int:
        """Highest sequence up to which every in-sync replica holds all that this client sent; 0: nothing yet."""
        return 0 if self._connection is None else self._connection.session.committed_through

    async def flush(self, timeout_s: float | None = None) -> None:
        """Waits until every in-sync replica holds all that was sent; raises what `Client.flush` raises."""
        connection = self._connection
        if connection is None:
            return
        limit_s = self._settings.timeout_s if timeout_s is None else timeout_s
        try:
            await connection.flush(limit_s)
        except TimeoutError:
            raise ClientError(Code.DEADLINE_EXCEEDED, f"not all is committed after {limit_s} s") from None
        lost = connection.session.take_unconfirmed() + self._unconfirmed
        self._unconfirmed = 0
        if lost:
            raise unconfirmed_error(lost)

    async def close(self) -> None:
        """Ends the stream in good order and lets the connection go. Unanswered events stay unanswered."""
        self._closed = True
        if self._connection is not None:
            await self._connection.close()
        if self._channel is not None:
            await self._channel.close()

    async def _process(self, connection: AwaitedConnection, columns: EventColumns) -> Result:
        schema = await self.describe()
        await asyncio.to_thread(load_codec)  # the first use on a machine compiles for seconds
        feed = _AwaitedFeed(schema, columns)
        if not len(columns):
            return feed.result
        connection.offer(feed)
        try:
            await feed.finished
        finally:
            connection.session.withdraw(feed)
        return feed.result

    async def _connected(self) -> AwaitedConnection:
        connection = self._connection
        if connection is not None and connection.error is None and not self._closed:
            return connection
        async with self._connecting:
            return await self._connect()

    async def _connect(self) -> AwaitedConnection:
        if self._closed:
            raise ClientError(Code.FAILED_PRECONDITION, "the client is closed")
        connection = self._connection
        if connection is not None:
            if connection.error is None:  # another task has connected in the meantime
                return connection
            if connection.session.fenced:
                raise connection.error
        channel = self._open_channel()
        metadata = metadata_of(self._metadata)
        name = self._settings.pipeline
        try:
            described = await channel.unary_unary(f"{_SERVICE}DescribePipeline")(
                pb.DescribePipelineRequest(pipeline=name).SerializeToString(),
                metadata=metadata,
                timeout=self._connect_timeout_s,
            )
        except grpc.aio.AioRpcError as error:
            raise self._error_of(error) from None
        self._schema = Schema.of(name, pb.DescribePipelineResponse.FromString(described))
        fresh = AwaitedConnection(
            lambda: channel.stream_stream(f"{_SERVICE}Process")(metadata=metadata),
            Session(self._settings, 0 if connection is None else connection.session.sequence),
            self._address,
            self._settings.timeout_s,
            self._connect_timeout_s,
        )
        await fresh.open()
        if connection is not None:
            self._unconfirmed += connection.session.take_unconfirmed()
        self._connection = fresh
        return fresh

    def _open_channel(self) -> Any:
        if self._channel is None:
            options = channel_options(LIMITS, self._tls)
            if self._tls is None:
                self._channel = _aio.insecure_channel(self._address, options=options)
            else:
                credentials = channel_credentials(self._tls)
                self._channel = _aio.secure_channel(self._address, credentials, options=options)
        return self._channel

    def _error_of(self, error: grpc.aio.AioRpcError) -> ClientError:
        return status_error(Code(error.code().value[0]), error.details() or "", self._address)


class _AwaitedFeed(ColumnsFeed):
    """Columns whose last outcome resolves a future."""

    def __init__(self, schema: Schema, columns: EventColumns) -> None:
        super().__init__(schema, columns, EventWriter())
        self.finished: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def deliver(self, message: bytes, count: int, sequence: int) -> pb.ProcessResponse:
        """Puts the outcomes into the result."""
        head = super().deliver(message, count, sequence)
        if self.done and not self.finished.done():
            self.finished.set_result(None)
        return head

    def fail(self, error: ClientError) -> None:
        """Passes the error to whoever awaits."""
        super().fail(error)
        if not self.finished.done():
            self.finished.set_exception(error)
            self.finished.exception()  # its task may have been cancelled, and nobody else asks


class _Singles:
    """Single events, each with a future for its outcome."""

    def __init__(self, schema: Schema, connection: AwaitedConnection) -> None:
        self.connection = connection
        self.feed = RowsFeed(schema, self._resolve, self._fail)
        self._rows = RowEncoder(schema)
        self._futures: deque[asyncio.Future[Outcome]] = deque()

    def add(self, event: Any) -> "asyncio.Future[Outcome]":
        """Sends the event when the stream is free."""
        if self.connection.error is not None:
            raise self.connection.error
        self.feed.add(self._rows.encode(event), self.connection.session.limits)
        future: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self._futures.append(future)
        self.connection.offer(self.feed)
        return future

    def _resolve(self, outcome: Outcome) -> None:
        future = self._futures.popleft()
        if not future.done():  # its task may have been cancelled
            future.set_result(outcome)

    def _fail(self, error: ClientError) -> None:
        for future in self._futures:
            if not future.done():
                future.set_exception(error)
                future.exception()  # a stream that nobody reads to its end must not complain
        self._futures.clear()


async def _read_source(
    events: AsyncIterable[Any] | Iterable[Any],
    singles: _Singles,
    sent: "asyncio.Queue[tuple[Any, asyncio.Future[Outcome]] | Exception | None]",
) -> None:
    """Sends what the source gives. The queue ends with None, or with what the source raised."""
    try:
        async for event in _each(events):
            await sent.put((event, singles.add(event)))
    except Exception as error:  # it belongs to whoever reads the outcomes, after those that came before it
        await sent.put(error)
    else:
        await sent.put(None)


async def _each(events: AsyncIterable[Any] | Iterable[Any]) -> AsyncIterator[Any]:
    if isinstance(events, AsyncIterable):
        async for event in events:
            yield event
    else:
        for event in events:
            yield event
