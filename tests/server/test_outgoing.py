"""What waits for a stream goes as messages that end where a record ends."""

import sys
from types import FrameType
from typing import Any, cast

import pytest

from ringmill.internal.v1.link_pb2 import Part, ReplicateRequest
from ringmill.server.adapters import outgoing
from ringmill.server.adapters.outgoing import Outgoing
from ringmill.server.node.channel import Channel
from ringmill.server.node.effects import Effect, ToPeer

BODY = 9 << 20


class Writer:
    """A stream that writes when told."""

    def __init__(self) -> None:
        self.writing = True
        self.sent: list[bytes] = []

    def send(self, message: bytes) -> None:
        self.sent.append(message)
        self.writing = True


def test_a_record_is_never_cut_in_two() -> None:
    """After a break all that a copy has not acknowledged waits at once: more than one message may hold."""
    effects: list[Effect] = []
    channel = Channel(("b", 1), "b:1", 1, 1, effects)
    channel.up = True
    encoded = ReplicateRequest(parts=[Part(id=1, request=bytes(BODY))]).SerializeToString()
    count = 9
    for _ in range(count):
        channel.put(encoded[:-BODY], memoryview(encoded)[-BODY:], None, 0, 0)
    writer = Writer()
    waiting = Outgoing(cast("Any", writer))
    for effect in effects:
        assert isinstance(effect, ToPeer)
        waiting.add(effect.chunk, effect.follows)
    while len(writer.sent) < 100 and (not writer.sent or writer.writing):
        writer.writing = False
        waiting.flush()
    assert sum(len(ReplicateRequest.FromString(message).parts) for message in writer.sent) == count
    assert len(writer.sent) > 1


def test_a_long_queue_is_sent_in_linear_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each chunk is looked at a few times, however many wait behind it. Counted are lines of Python."""
    monkeypatch.setattr(outgoing, "_JOINED_CHUNKS_MAX", 8)
    writer = Writer()
    waiting = Outgoing(cast("Any", writer))
    count, lines = 4_000, 0
    for place in range(count):
        waiting.add(b"%d " % place, follows=place % 2 == 1)

    def trace(_: FrameType, event: str, __: object) -> Any:
        nonlocal lines
        lines += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        for _ in range(count):
            writer.writing = False
            waiting.flush()
    finally:
        sys.settrace(before)
    assert b"".join(writer.sent).split() == [b"%d" % place for place in range(count)]
    assert all(int(message.split()[0]) % 2 == 0 for message in writer.sent)
    assert lines < 40 * count
