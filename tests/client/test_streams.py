"""When events leave and outcomes arrive: sources that wait, natural batching, spans, and connections of other kinds."""

import asyncio
import queue
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent import futures
from typing import Any

import pytest
import trustme
from opentelemetry import trace

from ringmill.client import AsyncClient, Client, ClientError, ClientTls, Code, ProcessError

Connect = Callable[..., Any]


@pytest.mark.parametrize("transport", ["cq", "aio"])
def test_outcomes_do_not_wait_for_the_next_event(server: Any, transport: str) -> None:
    events: queue.Queue[Any] = queue.Queue()
    with Client(server.address, "flights", transport=transport) as client:
        stream = client.stream(iter(events.get, None))
        for number in range(5):
            events.put(("k", 0, float(number)))  # the source then blocks until this outcome was seen
            assert next(stream)[1].double == 2.0 * number
        events.put(None)
        assert list(stream) == []


def test_outcomes_do_not_wait_for_the_next_event_of_an_async_source(server: Any) -> None:
    async def main() -> None:
        events: asyncio.Queue[float] = asyncio.Queue()

        async def source() -> AsyncIterator[Any]:
            for _ in range(5):
                yield ("k", 0, await events.get())

        async with AsyncClient(server.address, "flights") as client:
            stream = client.stream(source())
            for number in range(5):
                events.put_nowait(number)
                assert (await anext(stream))[1].double == 2.0 * number
            assert [item async for item in stream] == []

    asyncio.run(main())


def test_a_source_is_read_only_so_far_ahead(server: Any) -> None:
    read = []

    def source() -> Iterator[Any]:
        for number in range(1000):
            read.append(number)
            yield ("k", 0, float(number))

    with Client(server.address, "mute", batch_events_max=10, timeout_s=0.2) as client:
        with pytest.raises(ProcessError):
            next(client.stream(source()))
        assert len(read) <= 2 * 10 + 10 + 1  # on their way, read ahead, and in the source's hand


def test_a_stream_without_end_is_left_while_its_source_blocks(server: Any) -> None:
    events: queue.Queue[Any] = queue.Queue()
    with Client(server.address, "flights") as client:
        stream = client.stream(iter(events.get, None))
        events.put(("k", 0, 1.0))
        next(stream)
        stream.close()
    events.put(None)  # lets the reading thread go


def test_events_of_many_tasks_travel_together(server: Any) -> None:
    async def main() -> list[int]:
        async with AsyncClient(server.address, "flights") as client:
            outcomes = await asyncio.gather(*(client.submit(("k", 0, float(i))) for i in range(300)))
            assert [o.double for o in outcomes] == [2.0 * i for i in range(300)]
            return [o.seen.count for o in outcomes]

    assert asyncio.run(main()) == list(range(1, 301))
    assert len(server.requests) < 20


def test_a_cancelled_task_leaves_the_others_their_outcomes(server: Any) -> None:
    async def main() -> None:
        async with AsyncClient(server.address, "flights") as client:
            await client.submit(("k", 0, 0.0))
            server.gate.clear()
            first, second = (asyncio.create_task(client.submit(("k", 0, float(i)))) for i in (1, 2))
            bulk = asyncio.create_task(client.process(["k"] * 500, delay=1.0))
            await asyncio.sleep(0)
            first.cancel()
            bulk.cancel()
            server.gate.set()
            assert (await second).double == 4.0
            assert (await client.submit(("k", 0, 3.0))).double == 6.0

    asyncio.run(main())


def test_tasks_connect_once(server: Any) -> None:
    async def main() -> None:
        client = AsyncClient(server.address, "flights")
        await asyncio.gather(*(client.process(["k"], delay=1.0) for _ in range(10)))
        await client.close()
        with pytest.raises(ClientError, match="the client is closed"):
            await client.process(["k"], delay=1.0)

    asyncio.run(main())
    assert len(server.metadata) == 1


def test_emissions_are_not_served_yet(server: Any) -> None:
    async def main() -> None:
        async with AsyncClient(server.address, "flights") as client:
            async for _ in client.subscribe("hourly"):
                pass

    with pytest.raises(ClientError) as caught:
        asyncio.run(main())
    assert caught.value.code == Code.UNIMPLEMENTED


def test_spans_gather_while_the_stream_is_busy(server: Any) -> None:
    with Client(server.address, "flights", in_flight_max=1) as client:
        stream, other = client.open_stream(), client.open_stream()
        columns = client.columns([f"k{i % 5}" for i in range(250)], delay=range(250))
        for row in range(250):
            stream.submit(columns, row, row + 1)
        other.submit(columns, 7, 9)
        rows = []
        while stream.answered < stream.submitted or other.answered < other.submitted:
            for batch in stream.poll(1.0):
                assert batch.first == len(rows)
                rows += batch.result["double"].tolist()
        assert rows == [2.0 * i for i in range(250)]
        assert [b.result["double"].tolist() for b in other.poll()] == [[14.0, 16.0]]
        sizes = [len(request.events) for request in server.requests[1:]]
        assert sum(sizes) == 252
        assert len(sizes) <= 5  # the first may have left alone; then 100, the server's limit, at once


def test_a_broken_stream_is_heard_by_poll_and_submit(server: Any) -> None:
    with Client(server.address, "breaks", batch_events_max=1) as client:
        stream = client.open_stream()
        columns = client.columns(["k"] * 5, delay=1.0)
        stream.submit(columns)
        seen = 0
        with pytest.raises(ProcessError, match="the third batch breaks"):
            while True:
                seen += sum(map(len, stream.poll(1.0)))
        assert seen == 2
        with pytest.raises(ProcessError):
            stream.submit(columns)


@pytest.mark.parametrize("transport", ["cq", "aio"])
def test_both_transports_carry_columns(server: Any, transport: str) -> None:
    with Client(server.address, "flights", transport=transport) as client:
        assert client.process(["k"] * 500, delay=2.0)["seen.count"].tolist() == list(range(1, 501))
        assert client.info.max_events == 100
        assert client.schema.version == "1.2.0"
        assert client.process_one("z", 5, delay=2.0).time == 5


def test_one_client_of_many_threads_each(server: Any) -> None:
    def work(key: str) -> int:
        with Client(server.address, "flights") as client:
            return int(client.process([key] * 200, delay=1.0)["seen.count"][-1])

    with futures.ThreadPoolExecutor(4) as pool:
        assert list(pool.map(work, "abcd")) == [200] * 4
    assert threading.active_count() < 40


def test_tls(secured: Any) -> None:
    server, authority = secured
    address = server.address
    tls = ClientTls(ca=authority)

    async def main() -> float:
        async with AsyncClient(address, "flights", tls=tls) as client:
            return float((await client.submit(("k", 0, 1.0))).double)

    with Client(address, "flights", tls=tls) as client:
        assert client.process(["k"], delay=1.0)["double"].tolist() == [2.0]
    assert asyncio.run(main()) == 2.0
    with pytest.raises(ClientError) as caught:
        Client(address, "flights", tls=ClientTls(ca=trustme.CA().cert_pem.bytes())).process(["k"], delay=1.0)
    assert caught.value.code == Code.UNAVAILABLE


def test_a_call_carries_the_span_it_was_made_in(server: Any) -> None:
    span = trace.NonRecordingSpan(trace.SpanContext(0xA, 0xB, is_remote=False, trace_flags=trace.TraceFlags(1)))
    expected = "00-0000000000000000000000000000000a-000000000000000b-01"
    with Client(server.address, "flights") as client:
        client.process(["k"], delay=1.0)
        with trace.use_span(span):
            client.process(["k"], delay=1.0)
    assert [request.traceparent for request in server.requests] == ["", "", expected]
