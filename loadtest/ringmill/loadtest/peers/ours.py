"""Clients on Ringmill's own transport, with the classic poller. They send bytes made before and only count answers."""

import itertools
import sys
import threading
from collections import deque
from collections.abc import Callable
from time import perf_counter_ns

import numpy as np

from ringmill.loadtest import workload
from ringmill.loadtest.latencies import percentiles, since_due
from ringmill.loadtest.peers import protocol
from ringmill.transport import make_loop
from ringmill.transport.api import Limits, Loop, Status
from ringmill.transport.api import Stream as ApiStream
from ringmill.v1.processing_pb2 import ProcessResponse

METHOD = "/ringmill.v1.ProcessingService/Process"
TIMEOUT_S = 60.0
_LIMITS = Limits(message_bytes_max=64 << 20)


class _Echo:
    """Sends back what comes."""

    def __init__(self, stream: ApiStream) -> None:
        self._stream = stream
        self.on_message = stream.send

    def on_half_close(self) -> None:
        self._stream.finish()

    def on_drain(self) -> None:
        pass

    def on_close(self, status: Status) -> None:
        pass


def echo_server() -> None:
    """Echoes raw bytes over our transport: what a worker would do if decoding, applying and encoding cost nothing."""
    loop = make_loop()
    server = loop.server({METHOD: _Echo}, _LIMITS)
    address = f"127.0.0.1:{server.listen('127.0.0.1:0')}"
    server.start()
    threading.Thread(target=_stop_at_end, args=(loop,), daemon=True).start()
    protocol.say({"ready": True, "address": address})
    loop.run()


def _stop_at_end(loop: Loop) -> None:
    sys.stdin.read()
    loop.stop()


class EventsRejectedError(Exception):
    """Answers came, but they refuse events: their rate would be no figure of the work."""


class StreamEndedError(Exception):
    """The server ended the stream in the middle of a measurement."""


class Stream:
    """One Process stream; what to do with an answer changes from command to command."""

    def __init__(self, address: str) -> None:
        self.loop: Loop = make_loop()
        self._status: Status | None = None
        self._on_answer: Callable[[bytes], None] = self._count
        self._on_drain: Callable[[], None] = _nothing
        self._answers = 0
        self._last = b""
        channel = self.loop.channel(address, limits=_LIMITS)
        self._stream = channel.open(METHOD, self)
        self.send = self._stream.send
        self.send(workload.opening())
        self.run(lambda: self._answers > 0)

    def run(self, done: Callable[[], bool]) -> None:
        """Drives the loop until done."""
        if not self.loop.run_until(lambda: done() or self._status is not None, TIMEOUT_S):
            raise TimeoutError(f"no end after {TIMEOUT_S:.0f} s")
        if self._status is not None:
            raise StreamEndedError(str(self._status))

    def check(self) -> None:
        """Raises EventsRejectedError if the last answer refuses events."""
        rejected = ProcessResponse.FromString(self._last).rejected
        if rejected:
            raise EventsRejectedError(f"{rejected} events of the last request were rejected")

    def hear(self, on_answer: Callable[[bytes], None], on_drain: Callable[[], None] | None = None) -> None:
        """Sets what to do from now on with an answer, and when all is written."""
        self._on_answer = on_answer
        self._on_drain = on_drain or _nothing

    @property
    def writing(self) -> bool:
        """Whether a write is in flight."""
        return self._stream.writing

    def on_message(self, message: bytes) -> None:
        """Hears an answer."""
        self._last = message
        self._on_answer(message)

    def on_drain(self) -> None:
        """Hears that all is written."""
        self._on_drain()

    def on_half_close(self) -> None:
        """Comes on servers only."""

    def on_close(self, status: Status) -> None:
        """Hears the end, which is a failure here."""
        self._status = status

    def _count(self, _: bytes) -> None:
        self._answers += 1


def _nothing() -> None:
    pass


class Client:
    """The measurements of one stream that keeps the server busy."""

    def __init__(self, address: str) -> None:
        self._stream = Stream(address)

    def round_trip(self, count: int) -> protocol.Answer:
        """Times one-event messages, one at a time."""
        messages = workload.messages(64, 1, 1000)
        times = [0] * (count + 1)
        number = 0

        def next_one(_: bytes) -> None:
            nonlocal number
            number += 1
            times[number] = perf_counter_ns()
            if number < count:
                self._stream.send(messages[number % 64])

        self._stream.hear(next_one)
        times[0] = perf_counter_ns()
        self._stream.send(messages[0])
        self._stream.run(lambda: number >= count)
        self._stream.check()
        took = np.diff(np.array(times))
        return {"p50_us": float(np.median(took)) / 1e3, "p99_us": float(np.percentile(took, 99)) / 1e3}

    def stream(self, count: int, size: int, key_count: int, in_flight: int) -> protocol.Answer:
        """Sends `count` messages of `size` events with up to `in_flight` unanswered."""
        supply = itertools.cycle(workload.messages(64, size, key_count))
        send = self._stream.send
        left = count
        got = 0

        def answered(_: bytes) -> None:
            nonlocal left, got
            got += 1
            if left:
                left -= 1
                send(next(supply))

        self._stream.hear(answered)
        began = perf_counter_ns()
        for _ in range(min(in_flight, count)):
            left -= 1
            send(next(supply))
        self._stream.run(lambda: got >= count)
        took_ns = perf_counter_ns() - began
        self._stream.check()
        return {"messages_s": count / took_ns * 1e9}


def client(address: str) -> None:
    """Measures a worker or a balancer."""
    made = Client(address)
    protocol.obey({"round_trip": made.round_trip, "stream": made.stream})


class OpenLoop:
    """Offers single events at a fixed rate, whatever the answers do, and times each from when it was due.

    Natural batching: an event that is due goes out at once if fewer than `in_flight` requests are unanswered; else it
    waits, and all that wait go out as one request. Nothing here is done for each event: a request is a slice of the
    encoded events, and latencies are computed from the slices afterwards.
    """

    def __init__(self, address: str) -> None:
        self._stream = Stream(address)

    def offer(self, rate: float, seconds: float, in_flight: int, key_count: int, seed: int) -> protocol.Answer:
        """Offers `rate` events a second for some seconds; gives latencies in microseconds by percentile."""
        count = int(rate * seconds)
        rng = np.random.default_rng(seed)
        encoded = workload.events(rng.integers(0, key_count, count), seed).tobytes()
        sent: deque[int] = deque()
        answered: list[tuple[int, int]] = []
        first = 0
        began = perf_counter_ns()

        def pump() -> None:
            nonlocal first
            due = min(count, int((perf_counter_ns() - began) * rate * 1e-9))
            if due > first and len(sent) < in_flight:
                self._stream.send(encoded[first * workload.EVENT.itemsize : due * workload.EVENT.itemsize])
                sent.append(due)
                first = due

        def on_answer(_: bytes) -> None:
            answered.append((sent.popleft(), perf_counter_ns()))
            pump()

        def tick() -> None:
            pump()
            if first < count:
                self._stream.loop.call_later(0.0005, tick)

        self._stream.hear(on_answer)
        tick()
        self._stream.run(lambda: first == count and not sent)
        self._stream.check()
        took = since_due(np.array(answered), began, rate)
        return percentiles(took) | {"events": count, "requests": len(answered)}


def open_loop(address: str) -> None:
    """Measures latency under a load that does not wait."""
    made = OpenLoop(address)
    protocol.obey({"offer": made.offer})
