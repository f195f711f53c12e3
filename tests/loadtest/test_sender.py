"""The sender against a server in virtual time: what a stall costs, and who is charged for it."""

from typing import Any, cast

import pytest

from ringmill.client.errors import ClientError
from ringmill.core.errors import Code
from ringmill.loadtest.runner import rows
from ringmill.loadtest.runner.child import window_of
from ringmill.loadtest.runner.events import Supply, make_ring, supplies
from ringmill.loadtest.runner.scenario import Scenario, from_tables
from ringmill.loadtest.runner.sender import Sender
from ringmill.loadtest.runner.step import Step, summarise
from ringmill.transport.api import Loop
from tests.loadtest.virtual import MS, SCHEMA, VirtualLoop, VirtualServer


def scenario(**load: Any) -> Scenario:
    usual = {"rate": 1000, "seconds": 5, "warmup_seconds": 1, "arrivals": "constant"}
    return from_tables({"target": {"pipeline": "readings"}, "load": {**usual, **load}, "keys": {"count": 100}})


class Trial:
    """One step of one process."""

    def __init__(self, **load: Any) -> None:
        self.scenario = scenario(**load)
        self.loop = VirtualLoop()
        self.server = VirtualServer(self.loop)
        self.begin_ns = self.loop.now_ns + 1000 * MS
        self.sender = Sender(cast(Loop, self.loop), self.server, self.scenario, self.loop.clock)
        self.looks = 0

    def pause(self, at_ms: int, took_ms: int) -> None:
        """Has the server stall, counted from the beginning of the warm-up."""
        self.server.pauses.append((self.begin_ns + at_ms * MS, self.begin_ns + (at_ms + took_ms) * MS))

    def run(self, ring: int = 0) -> Step:
        load = self.scenario.load
        given, _ = supplies(self.scenario, SCHEMA, load.rate[0], 0, range(load.streams))
        if ring:
            shorter, _ = make_ring(self.scenario, SCHEMA, 0, ring)
            given = [Supply(shorter, 0, supply.due_ns) for supply in given]
        self.ring = given[0].ring
        self.sender.open(SCHEMA, given)
        self.sender.run(self.begin_ns, self.loop.at, self._look)
        self.sender.close()
        window = window_of(self.scenario)
        tally = rows.Tally(window)
        for stream in self.sender.streams:
            tally.add(stream.rows(), self.sender.closed_ns)
        feeds = [stream.feed for stream in self.sender.streams]
        rejections = rows.add_counts([dict(feed.rejections) for feed in feeds])
        failures = {feed.error.message: 1 for feed in feeds if feed.error is not None}
        answer = {
            "messages": len(self.server.messages),
            "answered_events": sum(feed.answered for feed in feeds),
            "rejections": rejections,
            "failures": failures,
            "stopped": False,
            "cpu_share": 0.1,
            "memory_bytes": 0,
        }
        return summarise(self.scenario, load.rate[0], window, [tally.report() | answer])

    def _look(self, _: Sender) -> bool:
        self.looks += 1
        return True


def test_a_stall_is_charged_to_all_that_it_delayed_and_not_only_to_what_was_on_its_way() -> None:
    trial = Trial()
    trial.pause(3000, 200)
    step = trial.run()
    # 200 of 5,000 events were due while the server stalled: 4 in 100 waited, evenly up to 200 ms.
    assert step["latency"]["p99_us"] == pytest.approx(150_000, rel=0.02)
    assert step["latency"]["max_us"] == pytest.approx(200_000, rel=0.02)
    # From when they were sent only the 8 messages on their way waited: 8 of 5,000, which no p99 shows.
    assert step["served"]["p99_us"] < 5_000
    assert step["late"]["p99_us"] < 1_000
    assert step["warnings"] == ["only 5,000 samples: fewer than 10 lie beyond p99.9"]


def test_a_closed_loop_hides_the_same_stall_and_says_so() -> None:
    trial = Trial(loop="closed", in_flight=1, rate=1)
    trial.pause(3000, 200)
    step = trial.run()
    assert step["latency"]["p9999_us"] < 5_000 < 190_000 < step["latency"]["max_us"]
    assert any("closed loop" in line for line in step["warnings"])
    assert step["rate"] is None


def test_what_happens_in_the_warm_up_is_left_out() -> None:
    trial = Trial()
    trial.pause(100, 200)
    step = trial.run()
    assert step["latency"]["max_us"] < 5_000
    assert (step["events"], step["offered_s"], step["answered_s"]) == (5000, 1000.0, 1000.0)


def test_every_event_goes_once_and_in_order_however_often_the_ring_goes_round() -> None:
    trial = Trial(seconds=1, warmup_seconds=0)
    trial.pause(500, 100)  # so that also messages of several events go round
    trial.run(ring=37)
    names = trial.ring.keys
    heap = names.heap.tobytes().decode()
    ring = [heap[start:stop] for start, stop in zip(names.starts.tolist(), names.stops.tolist(), strict=True)]
    assert trial.server.keys == (ring * 28)[:1000]


def test_events_that_come_one_by_one_gather_while_the_server_stalls() -> None:
    trial = Trial(in_flight=1)
    trial.pause(3000, 200)
    step = trial.run()
    assert sorted(trial.server.messages)[-1] == pytest.approx(200, abs=3)
    assert step["message_events"] < 1.1


def test_a_message_holds_no_more_than_it_may() -> None:
    trial = Trial(in_flight=1, batch_max=50)
    trial.pause(3000, 200)
    trial.run()
    assert max(trial.server.messages) == 50


def test_a_batch_goes_as_one_message() -> None:
    trial = Trial(batch=16, rate=16_000, seconds=1)
    trial.pause(1500, 100)
    step = trial.run()
    assert set(trial.server.messages) == {16}
    assert (step["events"], step["offered_s"]) == (16_000, 16_000.0)


def test_streams_share_the_rate_and_have_producers_of_their_own() -> None:
    trial = Trial(streams=4)
    step = trial.run()
    assert step["offered_s"] == 1000.0
    assert len(trial.server.producers) == 4
    assert [stream.feed.answered for stream in trial.sender.streams] == [1500] * 4


@pytest.mark.parametrize(("in_flight", "batch"), [(1, 1), (3, 10)])
def test_a_closed_loop_keeps_so_many_messages_on_their_way(in_flight: int, batch: int) -> None:
    trial = Trial(loop="closed", in_flight=in_flight, batch=batch, seconds=1, warmup_seconds=0)
    step = trial.run()
    assert trial.server.in_flight_most == in_flight
    assert set(trial.server.messages) == {batch}
    # One message after the other, 0.1 ms each.
    assert step["answered_s"] == pytest.approx(10_000 * batch, rel=0.1)
    assert step["unanswered"] == 0


def test_a_runner_that_is_late_is_found_out() -> None:
    trial = Trial()
    for at_ms in range(2000, 6000, 100):  # something else holds its thread for 20 of each 100 ms
        trial.loop.at(trial.begin_ns + at_ms * MS, lambda: setattr(trial.loop, "now_ns", trial.loop.now_ns + 20 * MS))
    step = trial.run()
    assert step["late"]["p99_us"] == pytest.approx(19_000, rel=0.1)
    assert step["late"]["max_us"] == pytest.approx(19_500, rel=0.01)  # the first was due half a millisecond later
    assert step["latency"]["p99_us"] > step["late"]["p99_us"]  # and it is charged all the same
    assert "the runner is the limit" in step["warnings"][0]


def test_what_is_never_answered_counts_with_its_wait() -> None:
    trial = Trial(drain_seconds=1)
    trial.pause(4000, 1_000_000)
    step = trial.run()
    assert step["unanswered"] == 2000
    assert step["latency"]["max_us"] == pytest.approx(3_000_000, rel=0.01)  # due at 4 s, given up at 7 s
    assert step["latency"]["p90_us"] > 2_000_000
    assert "2,000 events were not answered" in step["warnings"][0]


@pytest.mark.parametrize("batch", [1, 100])
def test_rejected_events_are_counted_by_reason(batch: int) -> None:
    trial = Trial(batch=batch, rate=1000 * batch, seconds=1, warmup_seconds=0)
    trial.server.reject_every = 10
    step = trial.run()
    assert step["rejections"] == {"DEADLINE": 100 * batch}
    assert any("DEADLINE" in line for line in step["warnings"])


def test_a_stream_that_fails_ends_the_step_and_is_told() -> None:
    trial = Trial(drain_seconds=1)
    trial.server.breaks = {3000: Code.INVALID_ARGUMENT}
    step = trial.run()
    assert list(step["failures"]) == [
        "no more of this (2999 events were answered; of 1 sent after them the outcome is unknown)"
    ]
    assert step["unanswered"] > 0


def test_a_stream_that_ends_while_it_is_idle_is_told_too() -> None:
    trial = Trial(rate=10, drain_seconds=1)
    trial.loop.at(trial.begin_ns + 3020 * MS, lambda: trial.server.streams[0].end(Code.PERMISSION_DENIED))
    step = trial.run()
    assert list(step["failures"]) == ["no more of this"]
    assert step["unanswered"] == 30  # 10 a second, from 3 s to 6 s


def test_a_stream_that_breaks_goes_on_and_its_pause_is_charged() -> None:
    trial = Trial()
    trial.server.breaks = {3000: Code.UNAVAILABLE}
    trial.pause(2900, 300)
    step = trial.run()
    assert (step["failures"], step["unanswered"]) == ({}, 0)
    assert len(trial.server.streams) == 2
    assert len(trial.server.keys) == 6000  # each once
    assert step["latency"]["max_us"] == pytest.approx(300_000, rel=0.1)


def test_whoever_watches_can_end_it() -> None:
    trial = Trial()
    trial._look = lambda sender: sender.now() < 2500 * MS  # type: ignore[method-assign,assignment]
    step = trial.run()
    assert trial.sender.closed_ns == pytest.approx(2500 * MS, abs=60 * MS)
    assert step["events"] == pytest.approx(1500, abs=60)


def test_a_server_that_does_not_open_is_an_error() -> None:
    trial = Trial()
    trial.server.open = lambda *_: VirtualMute()  # type: ignore[assignment,method-assign]
    with pytest.raises(ClientError, match="did not open a stream"):
        trial.run()


class VirtualMute:
    writing = False

    def send(self, message: bytes) -> None:
        pass
