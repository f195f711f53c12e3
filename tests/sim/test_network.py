"""The virtual network keeps what a real one keeps, and breaks what a real one breaks."""

from random import Random
from typing import Any

import pytest

from ringmill.core.errors import Code
from ringmill.transport.api import Status, Stream
from tests.sim.network import Network, VirtualLoop, Weather, open_streams
from tests.sim.scheduler import MILLISECOND_NS, SECOND_NS, Process, Scheduler


class Heard:
    """A handler that writes down what it hears."""

    def __init__(self, stream: Stream | None = None) -> None:
        self.stream = stream
        self.messages: list[bytes] = []
        self.ended: Status | None = None
        self.half_closed = False

    def on_message(self, message: bytes) -> None:
        assert self.ended is None
        self.messages.append(message)

    def on_drain(self) -> None: ...

    def on_half_close(self) -> None:
        self.half_closed = True

    def on_close(self, status: Status) -> None:
        assert self.ended is None
        self.ended = status


class Pair:
    """A client and a server with one stream."""

    def __init__(self, seed: int) -> None:
        self.scheduler = Scheduler(Random(seed))
        self.network = Network(self.scheduler)
        self.network.weather = Weather(2 * MILLISECOND_NS, 0.2)
        self.server, self.client = Process(self.scheduler, "server"), Process(self.scheduler, "client")
        self.server.start()
        self.client.start()
        self.accepted: list[Heard] = []
        VirtualLoop(self.network, self.server).server({"/m": self._accept}).listen("server:1")
        self.caller = Heard()
        self.stream = VirtualLoop(self.network, self.client).channel("server:1").open("/m", self.caller)

    def _accept(self, stream: Stream) -> Heard:
        self.accepted.append(Heard(stream))
        return self.accepted[-1]

    def run(self, seconds: float = 10.0) -> None:
        self.scheduler.run(self.scheduler.now_ns + int(seconds * SECOND_NS), lambda: False)


NUMBERS = [b"%d" % number for number in range(50)]


@pytest.mark.parametrize("seed", range(5))
def test_messages_arrive_in_order(seed: int) -> None:
    pair = Pair(seed)
    for message in NUMBERS:
        pair.stream.send(message)
    pair.stream.finish()
    pair.run()
    assert pair.accepted[0].messages == NUMBERS
    assert pair.accepted[0].half_closed
    pair.accepted[0].stream.send(b"last")
    pair.accepted[0].stream.finish(Status(Code.ABORTED, "so"))
    pair.run()
    assert pair.caller.messages == [b"last"]
    assert pair.caller.ended == Status(Code.ABORTED, "so")
    assert not open_streams(pair.network)


@pytest.mark.parametrize("seed", range(20))
def test_a_break_keeps_a_beginning(seed: int) -> None:
    pair = Pair(seed)
    for message in NUMBERS:
        pair.stream.send(message)
    pair.run(seed / 1000)
    pair.network.reset(pair.stream, 50 * MILLISECOND_NS)
    pair.run()
    assert pair.caller.ended is not None
    for accepted in pair.accepted:
        assert accepted.messages == NUMBERS[: len(accepted.messages)]
        assert accepted.ended is not None


def test_a_cut_path_holds_back_and_lets_go() -> None:
    pair = Pair(1)
    pair.run(1)
    pair.network.cut(pair.client, pair.server)
    pair.stream.send(b"held")
    pair.accepted[0].stream.send(b"the other way")
    pair.run(1)
    assert pair.accepted[0].messages == []
    assert pair.caller.messages == [b"the other way"]
    pair.network.mend(pair.client, pair.server)
    pair.run(1)
    assert pair.accepted[0].messages == [b"held"]


def test_the_dead_are_noticed_and_their_successor_hears_nothing() -> None:
    pair = Pair(1)
    pair.run(1)
    pair.stream.send(b"too late")
    pair.server.crash()
    pair.network.lost(pair.server)
    pair.server.start()
    pair.run(1)
    assert pair.caller.ended is not None
    assert pair.caller.ended.code == Code.UNAVAILABLE
    assert pair.accepted[0].messages == []
    assert pair.accepted[0].ended is None


def test_a_paused_process_hears_all_when_it_thaws() -> None:
    pair = Pair(1)
    pair.run(1)
    pair.server.pause()
    for message in NUMBERS:
        pair.stream.send(message)
    pair.run(1)
    assert pair.accepted[0].messages == []
    pair.server.thaw(timers_first=False)
    pair.run(1)
    assert pair.accepted[0].messages == NUMBERS


def test_nobody_listens() -> None:
    pair = Pair(1)
    nobody = Heard()
    VirtualLoop(pair.network, pair.client).channel("elsewhere:1").open("/m", nobody)
    pair.run(1)
    assert nobody.ended is not None
    assert nobody.ended.code == Code.UNAVAILABLE


def test_the_same_seed_gives_the_same_trace() -> None:
    def trace(seed: int) -> int:
        pair = Pair(seed)
        for message in NUMBERS:
            pair.stream.send(message)
        pair.run()
        return pair.scheduler.trace

    traces: list[Any] = [trace(1), trace(1), trace(2)]
    assert traces[0] == traces[1] != traces[2]
