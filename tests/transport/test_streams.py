"""What a call does, on both implementations at either end."""

import logging
import threading
import time
from typing import Any

import pytest

from ringmill.core.errors import Code, RingmillError
from ringmill.transport.api import Limits, Status

METADATA = (("trace", "a b"), ("blob-bin", b"\x00\xff"))


def test_echo_then_half_close(wire: Any) -> None:
    wire.serve()
    call = wire.open()
    call.stream.send(b"hello")
    call.stream.send(b"")
    wire.until(lambda: len(call.messages) == 2)
    assert call.messages == [b"hello", b""]
    assert call.status is None
    call.stream.finish()
    wire.until(lambda: call.status)
    assert call.status.code is Code.OK
    wire.until(lambda: wire.accepted[0].status)
    served = wire.accepted[0]
    assert (served.half_closes, served.statuses, call.half_closes) == (1, [Status(Code.OK)], 0)
    assert call.statuses == [call.status]


def test_many_queued_sends_keep_their_order(wire: Any) -> None:
    wire.serve()
    call = wire.open()
    sent = [b"%d" % number for number in range(2000)]
    for message in sent:
        call.stream.send(message)
    assert call.stream.writing
    assert call.stream.queued_bytes == sum(map(len, sent[1:]))
    call.stream.finish()
    wire.until(lambda: call.status)
    assert call.messages == sent
    assert call.stream.queued_bytes == 0


def test_large_messages(wire: Any) -> None:
    wire.serve()
    call = wire.open()
    sent = [bytes([number]) * (4 << 20) for number in range(3)]
    for message in sent:
        call.stream.send(message)
    call.stream.finish()
    wire.until(lambda: call.status)
    assert call.messages == sent


def test_drain_comes_after_the_last_write_and_batches(wire: Any) -> None:
    """Who waits for on_drain sends all that has accumulated as one message."""
    wire.serve()

    class Batcher(wire.Heard):  # type: ignore[misc, name-defined]
        waiting = b""

        def add(self, item: bytes) -> None:
            self.waiting += item
            if not self.stream.writing:
                self.on_drain()

        def on_drain(self) -> None:
            super().on_drain()
            if self.waiting:
                self.stream.send(self.waiting)
                self.waiting = b""

    call = wire.open(Batcher())
    for _ in range(100):
        call.add(b"x")
    wire.until(lambda: sum(map(len, call.messages)) == 100)
    assert call.messages == [b"x", b"x" * 99]
    wire.until(lambda: not call.stream.writing)


def test_metadata_and_trailers(wire: Any) -> None:
    def accept(stream: Any) -> Any:
        stream.finish(Status(Code.ABORTED, "näh \n why", METADATA))
        return wire.Heard()

    wire.serve(accept)
    call = wire.open(metadata=METADATA)
    wire.until(lambda: call.status)
    wire.until(lambda: wire.accepted)
    assert (call.status.code, call.status.details) == (Code.ABORTED, "näh \n why")
    assert set(METADATA) <= {tuple(item) for item in call.status.trailers}
    served = wire.accepted[0].stream
    assert set(METADATA) <= {tuple(item) for item in served.metadata}
    assert served.method == call.stream.method == "/t.T/Call"
    assert "127.0.0.1" in served.peer
    assert str(wire.port) in call.stream.peer


def test_refused_metadata(wire: Any) -> None:
    wire.serve()
    for bad in (("Upper", "x"), ("plain", "ä"), ("plain", b"x"), ("", "x")):
        with pytest.raises(RingmillError) as caught:
            wire.open(metadata=(bad,))
        assert caught.value.code is Code.INVALID_ARGUMENT


def test_status_follows_what_was_queued(wire: Any) -> None:
    def accept(stream: Any) -> Any:
        for number in range(50):
            stream.send(b"%d" % number)
        stream.finish(Status(Code.DATA_LOSS, "over"))
        stream.send(b"too late")
        return wire.Heard()

    wire.serve(accept)
    call = wire.open()
    wire.until(lambda: call.status)
    assert call.messages == [b"%d" % number for number in range(50)]
    assert call.status.code is Code.DATA_LOSS
    wire.until(lambda: wire.accepted[0].status)
    assert wire.accepted[0].status.code is Code.DATA_LOSS


def test_status_reaches_a_client_that_is_still_writing(wire: Any) -> None:
    def react(heard: Any, _message: bytes) -> None:
        heard.stream.finish(Status(Code.FAILED_PRECONDITION, "enough"))

    wire.serve(lambda _stream: wire.Heard(react))
    channel = wire.channel()
    for _ in range(20):
        call = wire.open(channel=channel)
        for _ in range(300):
            call.stream.send(b"x" * 10_000)
        wire.until(lambda call=call: call.status)
        assert (call.status.code, call.status.details) == (Code.FAILED_PRECONDITION, "enough")
        assert call.stream.queued_bytes == 0
        assert not call.stream.writing


def test_client_cancels(wire: Any) -> None:
    wire.serve()
    call = wire.open()
    call.stream.send(b"x")
    wire.until(lambda: call.messages)
    for _ in range(100):
        call.stream.send(b"y" * 100_000)
    call.stream.cancel()
    assert call.stream.queued_bytes == 0
    wire.until(lambda: call.status and wire.accepted[0].status)
    assert call.status.code is Code.CANCELLED
    assert wire.accepted[0].status.code is Code.CANCELLED
    call.stream.send(b"after the end")
    call.stream.cancel()
    call.stream.finish()


def test_server_cancels(wire: Any) -> None:
    def react(heard: Any, _message: bytes) -> None:
        heard.stream.cancel()
        heard.stream.send(b"after the end")

    wire.serve(lambda _stream: wire.Heard(react))
    call = wire.open()
    call.stream.send(b"x")
    wire.until(lambda: call.status and wire.accepted[0].status)
    assert call.status.code is Code.CANCELLED
    assert wire.accepted[0].status.code is Code.CANCELLED
    assert call.messages == []


def test_deadline(wire: Any) -> None:
    wire.serve(lambda _stream: wire.Heard())
    call = wire.open(timeout_s=0.3)
    wire.until(lambda: wire.accepted)
    left = wire.on_server(lambda: wire.accepted[0].stream.deadline_s)
    assert 0 < left <= 0.31
    assert 0 <= call.stream.deadline_s <= 0.31
    wire.until(lambda: call.status and wire.accepted[0].status)
    assert call.status.code is Code.DEADLINE_EXCEEDED
    assert wire.accepted[0].status.code is Code.CANCELLED


def test_no_deadline(wire: Any) -> None:
    wire.serve()
    call = wire.open()
    wire.until(lambda: wire.accepted)
    assert call.stream.deadline_s is None
    assert wire.on_server(lambda: wire.accepted[0].stream.deadline_s) is None


def test_unknown_method(wire: Any) -> None:
    wire.serve()
    heard = wire.Heard()
    wire.channel().open("/t.T/Nothing", heard)
    wire.until(lambda: heard.status)
    assert heard.status.code is Code.UNIMPLEMENTED
    assert "/t.T/Nothing" in heard.status.details


def test_message_too_large(wire: Any) -> None:
    wire.serve(limits=Limits(message_bytes_max=1000))
    channel = wire.channel()
    call = wire.open(channel=channel)
    call.stream.send(b"x" * 1001)
    wire.until(lambda: call.status)
    assert call.status.code is Code.RESOURCE_EXHAUSTED
    assert "1001" in call.status.details
    again = wire.open(channel=channel)
    again.stream.send(b"x" * 1000)
    wire.until(lambda: again.messages)


def test_answer_too_large(wire: Any) -> None:
    wire.serve()
    call = wire.open(channel=wire.channel(limits=Limits(message_bytes_max=1000)))
    call.stream.send(b"x" * 1001)
    wire.until(lambda: call.status)
    assert call.status.code is Code.RESOURCE_EXHAUSTED


@pytest.mark.parametrize("hook", ["accept", "on_message", "on_half_close", "on_drain"])
def test_failing_server_handler_ends_its_call_alone(wire: Any, hook: str, caplog: Any) -> None:
    class Failing(wire.Echo):  # type: ignore[misc, name-defined]
        def __getattribute__(self, name: str) -> Any:
            return _raise if name == hook else super().__getattribute__(name)

    def accept(stream: Any) -> Any:
        if stream.metadata and ("fail", "yes") in [tuple(item) for item in stream.metadata]:
            return _raise() if hook == "accept" else Failing(stream)
        return wire.Echo(stream)

    wire.serve(accept)
    channel = wire.channel()
    sound = wire.open(channel=channel)
    with caplog.at_level(logging.ERROR):
        call = wire.open(channel=channel, metadata=(("fail", "yes"),))
        call.stream.send(b"x")
        if hook == "on_half_close":
            call.stream.finish()
        wire.until(lambda: call.status)
    assert call.status.code is Code.INTERNAL
    assert "ZeroDivisionError" in call.status.details
    assert any("ZeroDivisionError" in str(record.exc_info) for record in caplog.records)
    sound.stream.send(b"still here")
    wire.until(lambda: sound.messages)


def test_failing_client_handler_ends_its_call_alone(wire: Any, caplog: Any) -> None:
    wire.serve()
    channel = wire.channel()
    call = wire.open(wire.Heard(_raise), channel=channel)
    sound = wire.open(channel=channel)
    with caplog.at_level(logging.ERROR):
        call.stream.send(b"x")
        wire.until(lambda: call.status and any(served.status for served in wire.accepted))
    assert call.status.code is Code.INTERNAL
    assert len(call.messages) == 1
    sound.stream.send(b"still here")
    wire.until(lambda: sound.messages)


def test_ringmill_error_in_a_handler_is_the_answer(wire: Any) -> None:
    def react(_heard: Any, _message: bytes) -> None:
        raise RingmillError(Code.NOT_FOUND, "no such pipeline")

    wire.serve(lambda _stream: wire.Heard(react))
    call = wire.open()
    call.stream.send(b"x")
    wire.until(lambda: call.status)
    assert call.status == Status(Code.NOT_FOUND, "no such pipeline", call.status.trailers)


def test_failing_on_close_and_callbacks_do_not_stop_the_loop(wire: Any) -> None:
    class Failing(wire.Heard):  # type: ignore[misc, name-defined]
        def on_close(self, status: Status) -> None:
            super().on_close(status)
            _raise()

    wire.serve(lambda _stream: Failing())
    call = wire.open(Failing())
    wire.client_loop.call_soon(_raise)
    wire.client_loop.call_later(0.0, _raise)
    wire.until(lambda: wire.accepted)
    call.stream.cancel()
    wire.until(lambda: call.status and wire.accepted[0].status)
    assert wire.on_server(lambda: 7) == 7


def test_two_hundred_streams_at_once(wire: Any) -> None:
    wire.serve()
    channel = wire.channel()
    calls = [wire.open(channel=channel) for _ in range(200)]
    for number, call in enumerate(calls):
        for part in range(5):
            call.stream.send(b"%d.%d" % (number, part))
        call.stream.finish()
    wire.until(lambda: all(call.status for call in calls))
    for number, call in enumerate(calls):
        assert call.messages == [b"%d.%d" % (number, part) for part in range(5)]
        assert call.status.code is Code.OK


def test_handlers_run_one_at_a_time(wire: Any) -> None:
    inside = threading.Lock()
    nested = []

    def react(heard: Any, message: bytes) -> None:
        if not inside.acquire(blocking=False):
            nested.append(message)
            return
        heard.stream.send(message)
        heard.stream.send(message)
        inside.release()

    wire.serve(lambda _stream: wire.Heard(react))
    calls = [wire.open() for _ in range(5)]
    for call in calls:
        for _ in range(50):
            call.stream.send(b"x")
    wire.until(lambda: all(len(call.messages) == 100 for call in calls))
    assert nested == []


def test_paused_reader_holds_a_flooding_client(wire: Any) -> None:
    wire.serve(lambda stream: wire.Heard())
    call = wire.open()
    wire.until(lambda: wire.accepted)
    served = wire.accepted[0]
    wire.on_server(served.stream.pause)
    for _ in range(200):
        call.stream.send(b"x" * 500_000)
    wire.client_loop.run_until(lambda: False, 0.5)
    assert len(served.messages) <= 1
    assert call.stream.queued_bytes > 80_000_000
    assert call.drains == 0
    wire.on_server(served.stream.resume)
    wire.until(lambda: len(served.messages) == 200)
    wire.until(lambda: call.drains == 1)
    assert call.stream.queued_bytes == 0


def test_client_that_stops_reading_holds_its_server_stream_alone(wire: Any) -> None:
    def react(heard: Any, _message: bytes) -> None:
        for _ in range(200):
            heard.stream.send(b"x" * 500_000)

    def accept(stream: Any) -> Any:
        return wire.Heard(react) if ("flood", "yes") in [tuple(item) for item in stream.metadata] else wire.Echo(stream)

    wire.serve(accept)
    channel = wire.channel()
    call = wire.open(channel=channel, metadata=(("flood", "yes"),))
    call.stream.pause()
    call.stream.send(b"go")
    wire.until(lambda: wire.accepted and wire.accepted[0].stream.queued_bytes)
    other = wire.open(channel=channel)
    other.stream.send(b"unharmed")
    wire.until(lambda: other.messages)
    flooding = wire.accepted[0]
    assert flooding.stream.queued_bytes > 80_000_000
    assert flooding.drains == 0
    call.stream.resume()
    wire.until(lambda: len(call.messages) == 200)
    wire.until(lambda: flooding.drains == 1)
    assert flooding.stream.queued_bytes == 0


def test_pause_inside_a_handler_stops_before_the_next_message(wire: Any) -> None:
    wire.serve(lambda _stream: wire.Heard(lambda heard, _message: heard.stream.pause()))
    call = wire.open()
    for _ in range(5):
        call.stream.send(b"x")
    wire.until(lambda: wire.accepted and wire.accepted[0].messages)
    for taken in range(1, 6):
        wire.until(lambda taken=taken: len(wire.accepted[0].messages) == taken)
        time.sleep(0.02)
        assert len(wire.accepted[0].messages) == taken
        wire.on_server(wire.accepted[0].stream.resume)


def test_paused_call_still_hears_its_end(wire: Any) -> None:
    wire.serve(lambda _stream: wire.Heard())
    call = wire.open()
    call.stream.pause()
    wire.until(lambda: wire.accepted)
    wire.on_server(wire.accepted[0].stream.pause)
    call.stream.cancel()
    wire.until(lambda: call.status and wire.accepted[0].status)


def _raise(*_args: Any) -> Any:
    raise ZeroDivisionError("on purpose")
