"""Completions in an order that gRPC allows and a test over a socket cannot bring about at will."""

from types import SimpleNamespace
from typing import Any

import pytest

from ringmill.core.errors import Code
from ringmill.transport.api import Status
from ringmill.transport.cq.client import CqClientStream


class Handler:
    def __init__(self) -> None:
        self.heard: list[object] = []

    def on_message(self, message: bytes) -> None:
        self.heard.append(message)

    def on_close(self, status: Status) -> None:
        self.heard.append(status)

    def on_half_close(self) -> None: ...

    def on_drain(self) -> None: ...


class EndedCall:
    """A call that takes no more operations."""

    def operate(self, operations: Any, tag: Any) -> bool:
        return False

    def cancel(self, code: int, details: str) -> None: ...


def event(*operations: Any) -> Any:
    return SimpleNamespace(batch_operations=operations, success=True)


STATUS = SimpleNamespace(
    code=lambda: Code.DEADLINE_EXCEEDED.value, details=lambda: "too late", trailing_metadata=lambda: ()
)


@pytest.mark.parametrize("paused", [False, True])
def test_status_that_overtakes_the_last_message(paused: bool) -> None:
    handler = Handler()
    queue: Any = SimpleNamespace(calls=set())
    stream = CqClientStream("/t.T/Call", None, "target", queue, handler)
    stream._call = EndedCall()
    stream._receiving = True
    if paused:
        stream.pause()
    stream._ended(event(None, STATUS))
    assert handler.heard == []
    stream._received(event(SimpleNamespace(message=lambda: b"last")))
    assert handler.heard == [b"last", Status(Code.DEADLINE_EXCEEDED, "too late")]
