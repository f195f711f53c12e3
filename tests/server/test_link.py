"""The worker's link, with a stream that only remembers what was sent on it."""

from collections.abc import Sequence

import numpy as np

from ringmill.core.errors import Code, RingmillError
from ringmill.core.frame import part_prefix
from ringmill.internal.v1.link_pb2 import JoinRequest, JoinResponse, PartResult, Registration
from ringmill.server.adapters.link import Link
from ringmill.telemetry import Counts


class Wire:
    """Stands for loop, channel and stream."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []
        self.writing = False
        self.later: list[float] = []

    def open(self, method: str, handler: object) -> "Wire":
        return self

    def send(self, message: bytes) -> None:
        self.sent.append(message)

    def call_later(self, delay_s: float, callback: object) -> None:
        self.later.append(delay_s)

    def results(self) -> list[PartResult]:
        return [result for frame in self.sent for result in JoinRequest.FromString(frame).results]


class Table:
    count = 0
    state_bytes = 0


class Engine:
    table = Table()


class EchoLane:
    """Answers with the request, or fails as it says."""

    engine = Engine()
    counts = Counts()

    def handle(self, buffer: np.ndarray, start: int, stop: int, arrived_ns: int) -> bytes:
        request = buffer[start:stop].tobytes()
        if request == b"refuse":
            raise RingmillError(Code.INVALID_ARGUMENT, "refused")
        if request == b"defect":
            raise AssertionError("a defect")
        return request


def joined() -> tuple[Link, Wire]:
    wire = Wire()
    link = Link(
        wire,  # type: ignore[arg-type]
        wire,  # type: ignore[arg-type]
        Registration(name="w"),
        [EchoLane()],  # type: ignore[list-item]
        lambda: 0,
        reconnect_s=1.0,
        on_view=lambda view: None,
        on_fatal=lambda error: None,
    )
    link.dial()
    return link, wire


def frame(requests: Sequence[bytes], pipeline: int = 0) -> bytes:
    return b"".join(part_prefix(n, pipeline, len(each)) + each for n, each in enumerate(requests, start=1))


def test_each_part_is_answered_once() -> None:
    link, wire = joined()
    link.on_message(frame([b"one", b"two", b""]))
    assert [(result.id, result.response) for result in wire.results()] == [(1, b"one"), (2, b"two"), (3, b"")]


def test_a_part_that_fails_takes_no_other_with_it() -> None:
    link, wire = joined()
    link.on_message(frame([b"one", b"refuse", b"defect", b"two"]))
    assert [(result.id, result.code) for result in wire.results()] == [
        (1, 0),
        (2, Code.INVALID_ARGUMENT),
        (3, Code.INTERNAL),
        (4, 0),
    ]


def test_a_part_for_an_unknown_pipeline_is_told_so() -> None:
    link, wire = joined()
    link.on_message(frame([b"one"], pipeline=5))
    assert [result.code for result in wire.results()] == [Code.INTERNAL]


def test_answers_gather_while_a_write_is_in_flight() -> None:
    link, wire = joined()
    wire.sent.clear()
    wire.writing = True
    link.on_message(frame([b"one", b"two"]))
    link.on_message(frame([b"three"]))
    assert wire.sent == []
    wire.writing = False
    link.on_drain()
    assert len(wire.sent) == 1
    assert [result.response for result in wire.results()] == [b"one", b"two", b"three"]


def test_the_first_frame_sets_the_heartbeat() -> None:
    link, wire = joined()
    link.on_message(JoinResponse(heartbeat_ms=40).SerializeToString())
    link._beat()
    assert wire.later[-1] == 0.04
    assert JoinRequest.FromString(wire.sent[-1]).HasField("heartbeat")
