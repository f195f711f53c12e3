"""What waits for a stream goes as messages that end where a record ends."""

from typing import Any, cast

from ringmill.internal.v1.link_pb2 import Part, ReplicateRequest
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
