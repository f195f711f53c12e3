"""Both clients against a server whose streams break: the caller sees neither gap nor double."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from ringmill.client import AsyncClient, Client, ClientError, Code, ProcessError
from tests.client.conftest import Break, DurableServer

Connect = Callable[..., Any]
KEYS = [f"k{number}" for number in range(100)]

BREAKS = {
    "at the first batch": [Break(0, applied=False)],
    "at the first batch, applied": [Break(0)],
    "after some answers": [Break(3, applied=False), Break(2, applied=False)],
    "after some answers, applied": [Break(3), Break(1), Break(2)],
    "before the opening's answer": [Break(2), Break(-1), Break(-1)],
    "again and again": [Break(1)] * 9,
    "with an internal error": [Break(2, code=Code.INTERNAL), Break(-1, code=Code.INTERNAL)],
    "in good order": [Break(2, code=Code.OK)],
    "as a proxy does": [Break(2, code=Code.CANCELLED), Break(2, code=Code.UNKNOWN)],
}


@pytest.mark.parametrize("breaks", BREAKS.values(), ids=BREAKS)
def test_columns_come_through_once_and_in_order(durable: DurableServer, connect: Connect, breaks: list[Break]) -> None:
    durable.breaks.extend(breaks)
    got = connect(durable.address, "p").process(KEYS)
    assert durable.ledger.applied == KEYS
    assert got["place"].tolist() == list(range(1, 101))
    assert got.rejected == 0
    assert durable.streams == len(breaks) + 1


@pytest.mark.parametrize("breaks", BREAKS.values(), ids=BREAKS)
def test_an_iterator_sees_neither_gap_nor_double(durable: DurableServer, connect: Connect, breaks: list[Break]) -> None:
    durable.breaks.extend(breaks)
    client = connect(durable.address, "p", batch_events_max=3)
    got = [(event[0], outcome.place) for event, outcome in client.stream([(key,) for key in KEYS])]
    assert got == [(key, place) for place, key in enumerate(KEYS, 1)]
    assert durable.ledger.applied == KEYS


def test_a_break_between_calls_is_not_noticed(durable: DurableServer, connect: Connect) -> None:
    client = connect(durable.address, "p")
    client.process(KEYS[:10])
    for first in (10, 20):
        durable.stop()
        durable.start()
        assert client.process(KEYS[first : first + 10])["place"].tolist() == list(range(first + 1, first + 11))
    assert durable.ledger.openings == [0, 1, 1]


def test_a_server_that_is_away_for_a_while(durable: DurableServer, connect: Connect) -> None:
    client = connect(durable.address, "p")
    client.process(KEYS[:10])
    durable.stop()
    back = threading.Timer(0.5, durable.start)
    back.start()
    assert client.process(KEYS[10:])["place"].tolist() == list(range(11, 101))
    back.join()


def test_tasks_do_not_notice_either(durable: DurableServer) -> None:
    durable.breaks.extend([Break(1), Break(-1), Break(2), Break(0, applied=False)])

    async def main() -> list[int]:
        async with AsyncClient(durable.address, "p", batch_events_max=4) as client:
            outcomes = await asyncio.gather(*(client.submit((key,)) for key in KEYS))
            return [outcome.place for outcome in outcomes]

    assert asyncio.run(main()) == list(range(1, 101))
    assert durable.ledger.applied == KEYS


def test_spans_do_not_notice_either(durable: DurableServer) -> None:
    durable.breaks.extend([Break(1), Break(2)])
    with Client(durable.address, "p") as client:
        stream, columns = client.open_stream(), client.columns(KEYS)
        stream.submit(columns)
        places: list[int] = []
        while stream.answered < stream.submitted:
            for batch in stream.poll(1.0):
                places += batch.result["place"].tolist()
        while len(places) < 100:
            places += [place for batch in stream.poll() for place in batch.result["place"].tolist()]
    assert places == list(range(1, 101))


def test_every_client_has_a_producer_of_its_own(durable: DurableServer, connect: Connect) -> None:
    for _ in range(3):
        connect(durable.address, "p").process(["k"])
    names = durable.ledger.producers
    assert len(set(names)) == 3
    assert all(name.startswith("client-") for name in names)


def test_a_newer_client_of_the_same_name_ends_the_older(durable: DurableServer, connect: Connect) -> None:
    older, newer = connect(durable.address, "p", "loader"), connect(durable.address, "p", "loader")
    older.process(KEYS[:10])
    assert newer.process(KEYS[10:20])["place"].tolist() == list(range(11, 21))
    for _ in range(2):  # it stays ended: dialling again would end the newer one
        with pytest.raises(ClientError, match="another client has taken over as producer 'loader'") as caught:
            older.process(KEYS[:10])
        assert caught.value.code == Code.ABORTED
    assert newer.process(KEYS[20:30])["place"].tolist() == list(range(21, 31))
    assert durable.ledger.applied == KEYS[:30]


def test_a_forgotten_session_is_told_and_the_next_call_opens_another(durable: DurableServer, connect: Connect) -> None:
    durable.breaks.append(Break(2, forgets=True))
    client = connect(durable.address, "p", in_flight_max=1)
    with pytest.raises(ProcessError, match="no longer knows the session") as caught:
        client.process(KEYS)
    assert (caught.value.code, caught.value.acknowledged, caught.value.unknown) == (Code.FAILED_PRECONDITION, 20, 10)
    client.process(["after"])
    assert durable.ledger.applied[-1] == "after"


def test_a_server_that_stays_away_is_given_up(durable: DurableServer, connect: Connect) -> None:
    durable.breaks.extend([Break(2)] + [Break(-1)] * 1000)
    client = connect(durable.address, "p", retry_s=0.3, in_flight_max=1)
    with pytest.raises(ProcessError, match=r"no stream could be opened for 0\.3 s.*of 10 sent after them") as caught:
        client.process(KEYS)
    assert (caught.value.code, caught.value.acknowledged, caught.value.unknown) == (Code.UNAVAILABLE, 20, 10)


def test_a_call_waits_no_longer_than_its_timeout_also_while_dialling(durable: DurableServer, connect: Connect) -> None:
    client = connect(durable.address, "p", timeout_s=0.3)
    client.process(KEYS[:10])
    durable.stop()
    says = rf"no outcome came for 0\.3 s: nothing answers at {durable.address}; is `ringmill up` running\?"
    with pytest.raises(ProcessError, match=says) as caught:
        client.process(KEYS[10:])
    assert caught.value.code == Code.DEADLINE_EXCEEDED


def test_a_poisoned_batch_is_not_sent_for_ever(durable: DurableServer, connect: Connect) -> None:
    durable.breaks.extend([Break(2, applied=False, code=Code.INTERNAL)] + [Break(0, False, Code.INTERNAL)] * 20)
    client = connect(durable.address, "p", in_flight_max=1)
    with pytest.raises(ProcessError, match="resumed 8 times in a row without any progress") as caught:
        client.process(KEYS)
    assert (caught.value.code, caught.value.acknowledged, caught.value.unknown) == (Code.INTERNAL, 20, 10)


@pytest.mark.parametrize("drain_ms", [50, 5000])
def test_a_server_that_wants_to_go_is_left(durable: DurableServer, connect: Connect, drain_ms: int) -> None:
    durable.breaks.append(Break(3, drain_ms=drain_ms, code=Code.FAILED_PRECONDITION))
    client = connect(durable.address, "p", in_flight_max=1)
    assert client.process(KEYS)["place"].tolist() == list(range(1, 101))
    assert durable.streams == 2
    assert durable.ledger.applied == KEYS


def test_a_drain_that_answers_no_more_is_cut_off_in_time(durable: DurableServer, connect: Connect) -> None:
    gate = threading.Event()
    ledger = durable.ledger
    process = durable.process

    def stalls(requests: Any, context: Any) -> Any:
        if durable.streams:
            yield from process(requests, context)
            return
        durable.streams += 1
        stream = ledger.open(next(requests))
        yield stream.opened()
        response = stream.handle(next(requests))
        response.stream.CopyFrom(stream.opened().stream)
        response.stream.drain_ms = 100
        yield response
        gate.wait()

    durable.stop()
    durable.process = stalls  # type: ignore[method-assign]
    durable.start()
    client = connect(durable.address, "p")
    assert client.process(KEYS)["place"].tolist() == list(range(1, 101))
    assert durable.streams == 2
    gate.set()


def test_what_a_primary_alone_answered_is_sent_again_until_it_is_committed(
    durable: DurableServer, connect: Connect
) -> None:
    durable.breaks.extend([Break(4), Break(3), Break(1)])
    client = connect(durable.address, "p", ack="primary")
    got = client.process(KEYS[:60])
    assert got.rejected == 0
    threading.Timer(0.1, durable.ledger.commit).start()
    client.flush()
    assert client.committed_through == durable.ledger.last == 6
    assert durable.ledger.applied == KEYS[:60]


@contextmanager
def committing(durable: DurableServer) -> Iterator[None]:
    """Replicas acknowledge all that there is, every so often."""
    stop = threading.Event()

    def commit() -> None:
        while not stop.wait(0.01):
            durable.ledger.commit()

    thread = threading.Thread(target=commit)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def test_flush_outlives_the_loss_of_a_primary(durable: DurableServer, connect: Connect) -> None:
    client = connect(durable.address, "p", ack="primary")
    client.process(KEYS[:20])
    assert client.committed_through == 0
    with pytest.raises(ClientError, match=r"not all is committed after 0\.05 s"):
        client.flush(0.05)
    durable.stop()
    durable.ledger.fail_over()
    assert durable.ledger.applied == []
    durable.start()
    with committing(durable):
        client.flush()
    assert durable.ledger.applied == KEYS[:20]


def test_flush_tells_of_answers_that_did_not_last(durable: DurableServer, connect: Connect) -> None:
    client = connect(durable.address, "p", ack="primary", retry_s=0.1)
    client.process(KEYS[:20])
    durable.stop()
    with pytest.raises(ClientError, match="20 events were answered by a primary alone") as caught:
        client.flush()
    assert caught.value.code == Code.DATA_LOSS
    client.flush()  # it is told once


def test_a_window_full_of_provisional_answers_opens_again(durable: DurableServer, connect: Connect) -> None:
    durable.ledger.info.max_in_flight = 3
    with committing(durable):
        got = connect(durable.address, "p", ack="primary").process(KEYS)
    assert got["place"].tolist() == list(range(1, 101))


def test_heartbeats_are_no_outcomes(durable: DurableServer, connect: Connect) -> None:
    durable.ledger.info.max_in_flight = 3
    client = connect(durable.address, "p", ack="primary", timeout_s=0.2)
    with pytest.raises(ProcessError, match=r"no outcome came for 0\.2 s$") as caught:  # it was connected
        client.process(KEYS)  # its copies never catch up
    assert (caught.value.acknowledged, caught.value.unknown) == (30, 0)


def test_a_restarted_client_goes_on_or_replays(durable: DurableServer, connect: Connect) -> None:
    first = connect(durable.address, "p", "loader")
    first.process(KEYS[:30])
    first.close()
    again = connect(durable.address, "p", "loader", replay=True)
    assert again.last_sequence == 3
    got = again.process(KEYS)
    assert durable.ledger.applied == KEYS
    assert got["place"][30:].tolist() == list(range(31, 101))
    again.close()
    goes_on = connect(durable.address, "p", "loader")
    assert goes_on.last_sequence == 10
    assert goes_on.process(["more"])["place"].tolist() == [101]


def test_a_replay_needs_a_name_and_retries_need_time(connect: Connect) -> None:
    with pytest.raises(ValueError, match="replay needs the producer's name"):
        connect("127.0.0.1:1", "p", replay=True)
    with pytest.raises(ValueError, match="retry_s must not be below 0"):
        connect("127.0.0.1:1", "p", retry_s=-1.0)


def test_what_is_resent_is_the_servers_to_recognise(durable: DurableServer, connect: Connect) -> None:
    durable.ledger.info.deduplicates = False
    durable.breaks.append(Break(2, applied=False))
    client = connect(durable.address, "p", in_flight_max=1)
    with pytest.raises(ProcessError) as caught:
        client.process(KEYS)
    assert (caught.value.acknowledged, caught.value.unknown) == (20, 10)
    assert client.process(["new"])["place"].tolist() == [21]
    assert durable.ledger.openings == [0, 0]
    allowed = connect(durable.address, "p", in_flight_max=1, resend=True)
    durable.breaks.append(Break(2, applied=False))
    assert allowed.process(KEYS)["place"].tolist() == list(range(22, 122))


def test_a_new_client_is_told_at_once_that_it_cannot_connect(durable: DurableServer, connect: Connect) -> None:
    durable.breaks.extend([Break(-1, code=Code.RESOURCE_EXHAUSTED)] * 5)
    with pytest.raises(ClientError):
        connect(durable.address, "p").process(KEYS)
    assert durable.streams <= 2  # grpc.aio may lose the status of the first
