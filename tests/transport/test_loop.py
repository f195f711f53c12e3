"""Timers, wake-ups, signals and threads of the loops themselves."""

import asyncio
import contextlib
import os
import signal
import threading
import time
from typing import Any

import grpc
import pytest

from ringmill.core.errors import RingmillError
from ringmill.transport import choice, make_loop, selftest
from ringmill.transport.aio.loop import AioLoop
from ringmill.transport.api import Loop

SHAPES = ("nothing", "server", "used server", "channel", "both")


@contextlib.contextmanager
def shaped(wire: Any, shape: str) -> Any:
    """The wire's client loop with these things to drive; a used server has had a call."""
    loop = wire.client_loop
    if shape in ("server", "used server", "both"):
        server = loop.server({"/t.T/Call": wire.Echo})
        port = server.listen("127.0.0.1:0")
        server.start()
    if shape == "used server":
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            answer = channel.unary_unary("/t.T/Call").future(b"x")
            assert loop.run_until(_looking(loop, answer.done), 20)
            assert answer.result() == b"x"
    if shape in ("channel", "both"):
        wire.serve()
        call = wire.open()
        call.stream.send(b"x")
        assert loop.run_until(lambda: bool(call.messages), 20)
    yield loop
    if shape in ("server", "used server", "both"):
        server.stop()
        assert loop.run_until(lambda: server.stopped, 20)


@pytest.fixture(params=SHAPES)
def loop(request: pytest.FixtureRequest, kind: str, wire_of: Any) -> Any:
    with shaped(wire_of(kind), request.param) as made:
        yield made


def test_timers_come_in_order_and_not_early(loop: Loop) -> None:
    rang: list[tuple[str, float]] = []
    start = time.monotonic()
    loop.call_later(0.06, lambda: rang.append(("c", time.monotonic() - start)))
    loop.call_later(0.02, lambda: rang.append(("a", time.monotonic() - start)))
    cancelled = loop.call_later(0.03, lambda: rang.append(("cancelled", 0)))
    loop.call_later(0.04, lambda: loop.call_later(0.0, lambda: rang.append(("b", time.monotonic() - start))))
    cancelled.cancel()
    assert loop.run_until(lambda: len(rang) == 3, 10)
    assert [name for name, _ in rang] == ["a", "b", "c"]
    for (_, at), due in zip(rang, (0.02, 0.04, 0.06), strict=True):
        assert at >= due - 0.002


def test_run_until_times_out(loop: Loop) -> None:
    start = time.monotonic()
    assert loop.run_until(lambda: False, 0.05) is False
    assert 0.045 <= time.monotonic() - start < 10
    assert loop.run_until(lambda: True, 0.0) is True


def test_run_until_times_out_by_a_hasty_timer() -> None:
    """Timers have milliseconds: one may ring before the clock says so, and it rings once."""

    class Hasty(asyncio.SelectorEventLoop):
        def call_later(self, delay: float, callback: Any, *args: Any, context: Any = None) -> asyncio.TimerHandle:
            return super().call_later(delay / 2, callback, *args, context=context)

    with contextlib.closing(Hasty()) as event_loop:
        rescue = threading.Timer(10.0, lambda: event_loop.call_soon_threadsafe(event_loop.stop))
        rescue.start()
        assert AioLoop(event_loop).run_until(lambda: False, 0.1) is False
        assert rescue.is_alive(), "the time-out was missed"
        rescue.cancel()


def test_call_soon_from_another_thread_wakes_an_idle_loop(loop: Loop) -> None:
    ran: list[int] = []

    def call() -> None:
        time.sleep(0.05)
        loop.call_soon(lambda: ran.append(threading.get_ident()))

    thread = threading.Thread(target=call)
    thread.start()
    assert loop.run_until(lambda: bool(ran), 10)
    thread.join()
    assert len(ran) == 1


def test_call_soon_within_a_callback_runs_after_it(loop: Loop) -> None:
    order: list[str] = []

    def first() -> None:
        loop.call_soon(lambda: order.append("second"))
        order.append("first")

    loop.call_soon(first)
    assert loop.run_until(lambda: len(order) == 2, 10)
    assert order == ["first", "second"]


def test_signal_handler_stops_a_loop_that_waits(loop: Loop) -> None:
    before = signal.signal(signal.SIGUSR1, lambda *_: loop.stop())
    timer = threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGUSR1))
    timer.start()
    try:
        loop.run()
    finally:
        signal.signal(signal.SIGUSR1, before)
        timer.join()


def test_exception_of_a_signal_handler_ends_the_run(loop: Loop) -> None:
    before = signal.signal(signal.SIGUSR1, signal.default_int_handler)
    timer = threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGUSR1))
    timer.start()
    try:
        with pytest.raises(KeyboardInterrupt):
            loop.run_until(lambda: False, 20)
    finally:
        signal.signal(signal.SIGUSR1, before)
        timer.join()
    ran: list[int] = []
    loop.call_soon(lambda: ran.append(1))
    assert loop.run_until(lambda: bool(ran), 10)


def test_one_loop_serves_itself(kind: str, wire_of: Any) -> None:
    """Server and channel of one loop: two queues, so a second thread, and still one handler at a time."""
    wire = wire_of(kind)
    with shaped(wire, "server") as loop:
        servers = [loop.server({"/t.T/Call": wire.Echo}) for _ in range(2)]
        calls = []
        for server in servers:
            port = server.listen("127.0.0.1:0")
            server.start()
            calls += [wire.open(channel=wire.channel(port=port)) for _ in range(3)]
        for number in range(100):
            for call in calls:
                call.stream.send(b"%d" % number)
        assert loop.run_until(lambda: all(len(call.messages) == 100 for call in calls), 20)
        for server in servers:
            server.stop()
        assert loop.run_until(lambda: all(server.stopped for server in servers), 20)


def test_made_while_running(kind: str, wire_of: Any) -> None:
    wire = wire_of(kind)
    loop = wire.client_loop
    made: list[Any] = []

    def make() -> None:
        server = loop.server({"/t.T/Call": wire.Echo})
        port = server.listen("127.0.0.1:0")
        server.start()
        made.append(server)
        call = wire.open(channel=wire.channel(port=port))
        call.stream.send(b"x")
        made.append(call)

    loop.call_soon(make)
    assert loop.run_until(lambda: bool(made and made[-1].messages), 20)
    made[0].stop()
    assert loop.run_until(lambda: made[0].stopped, 20)


def test_auto_takes_the_completion_queue(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RINGMILL_TRANSPORT", raising=False)
    assert make_loop().name == "cq"


def test_auto_falls_back_with_one_line(monkeypatch: pytest.MonkeyPatch, caplog: Any) -> None:
    def broken(_loop: Loop) -> None:
        raise AttributeError("integrated_call")

    monkeypatch.delenv("RINGMILL_TRANSPORT", raising=False)
    monkeypatch.setattr(selftest, "check_transport", broken)
    choice._cq_works.cache_clear()
    try:
        assert [make_loop().name, make_loop().name] == ["aio", "aio"]
    finally:
        choice._cq_works.cache_clear()
    assert len(caplog.records) == 1
    assert "integrated_call" in caplog.text


def test_environment_decides_for_auto_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RINGMILL_TRANSPORT", "aio")
    assert (make_loop().name, make_loop("cq").name) == ("aio", "cq")
    monkeypatch.setenv("RINGMILL_TRANSPORT", "tcp")
    with pytest.raises(RingmillError, match="tcp"):
        make_loop()


def test_self_test_passes_on_both(kind: str) -> None:
    selftest.check_transport(make_loop(kind))  # type: ignore[arg-type]


def _looking(loop: Loop, done: Any) -> Any:
    """A condition that no handler of this loop brings about, so that a timer looks."""

    def again() -> None:
        if not done():
            loop.call_later(0.01, again)

    again()
    return done


@pytest.fixture
def calling(wire_of: Any) -> Any:
    """A completion queue's client loop with a call that has been answered once."""
    with shaped(wire_of("cq"), "channel") as loop:
        yield loop


@pytest.fixture
def ctrl_c() -> Any:
    """Python's own handler, which a test runner may have replaced."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@contextlib.contextmanager
def interrupted(loop: Any, number: int) -> Any:
    """A signal comes whenever a completion has just left its queue, and nobody has heard of it."""
    poll = loop._lead.poll

    def interrupted_poll(deadline: float | None) -> Any:
        event = poll(deadline)
        if event is not None:
            signal.raise_signal(number)
        return event

    loop._lead.poll = interrupted_poll
    try:
        yield
    finally:
        loop._lead.poll = poll


@pytest.mark.usefixtures("ctrl_c")
def test_an_interrupt_loses_no_completion(wire_of: Any) -> None:
    wire = wire_of("cq")
    wire.serve()
    loop, call = wire.client_loop, wire.open()
    loop.run_until(lambda: False, 0.2)
    interrupts = 0
    with interrupted(loop, signal.SIGINT):
        call.stream.send(b"y")
        until_s = time.monotonic() + 20
        while not call.messages and time.monotonic() < until_s:  # waking up completes something, and so interrupts too
            try:
                loop.run_until(lambda: bool(call.messages), 2)
            except KeyboardInterrupt:
                interrupts += 1
    assert interrupts
    assert call.messages, "what came when Ctrl-C did is lost"


def test_handlers_of_a_program_s_own_are_called_and_stand_again_afterwards(calling: Any) -> None:
    heard: list[int] = []

    def handler(number: int, frame: object) -> None:
        heard.append(number)

    before = {number: signal.signal(number, handler) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        calling.call_soon(lambda: signal.raise_signal(signal.SIGTERM))
        calling.call_soon(lambda: signal.raise_signal(signal.SIGINT))
        assert calling.run_until(lambda: len(heard) == 2, 20)
        assert heard == [signal.SIGTERM, signal.SIGINT]
        assert signal.getsignal(signal.SIGINT) is handler
        calling.call_soon(lambda: signal.signal(signal.SIGINT, signal.default_int_handler) and None)
        calling.run_until(lambda: False, 0.05)
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler, "replaced by the program meanwhile"
    finally:
        for number, old in before.items():
            signal.signal(number, old)


@pytest.mark.usefixtures("ctrl_c")
def test_who_is_interrupted_twice_does_not_wait_for_the_loop(calling: Any) -> None:
    passed: list[int] = []

    def stuck() -> None:
        signal.raise_signal(signal.SIGINT)
        passed.append(1)
        signal.raise_signal(signal.SIGINT)
        passed.append(2)

    calling.call_soon(stuck)
    with pytest.raises(KeyboardInterrupt):
        calling.run_until(lambda: False, 5)
    assert passed == [1]
