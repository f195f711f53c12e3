"""What ties manager and router to streams: the order in which each hears of the same thing."""

from collections.abc import Callable
from typing import Any, cast

import pytest

from ringmill.balancer import orders
from ringmill.balancer.adapters.hub import Hub
from ringmill.balancer.effects import Send, SendFrame
from ringmill.core.view import Member, View
from ringmill.internal.v1.link_pb2 import JoinResponse
from ringmill.transport.api import Status
from tests.balancer.conftest import CATALOGUE, PARTITIONS


class Wire:
    """A stream that closes only when the test says so."""

    metadata = ()
    peer = "test"
    queued_bytes = 0

    def __init__(self) -> None:
        self.sent: list[bytes] = []
        self.cancelled = False

    def send(self, message: bytes) -> None:
        self.sent.append(message)

    def cancel(self) -> None:
        self.cancelled = True

    def finish(self, status: Status) -> None:
        raise AssertionError(status)

    def parts(self) -> list[int]:
        return [part.sequence for message in self.sent for part in JoinResponse.FromString(message).parts]


class Manager:
    """Knows the catalogue, and wants nothing."""

    formed = True
    catalogue = CATALOGUE

    def missing(self) -> str:
        return ""

    def broken(self, link: int, now_ms: int) -> list[orders.Order]:
        return []


def make_hub(world: Any) -> Hub:
    return Hub(
        cast("Any", Manager()),
        world.router,
        lambda: world.now_ns,
        cast("Any", None),
        heartbeat_ms=100,
        response_bytes_max=1 << 20,
        on_view=lambda: None,
    )


def test_what_a_dropped_link_had_is_handed_to_the_next_one_at_once(
    make_world: Callable[..., Any], make_request: Callable[..., bytes]
) -> None:
    """A worker dials again before its old stream is known to be over: nothing else would share out what that had."""
    world = make_world(workers=1)
    hub = make_hub(world)
    view = View(1, "", (Member("worker-0", 1),), world.table)
    assert view.partitions == PARTITIONS
    first, second, client = Wire(), Wire(), Wire()
    link = hub.open_link(cast("Any", first))
    hub._obey([orders.Admit(link, "worker-0"), orders.Publish(view, (link,), ())])
    stream = hub.open_stream(cast("Any", client))
    hub.router.message(stream, make_request(["key"], 1), world.now_ns)
    hub.perform()
    assert first.parts() == [1]
    other = hub.open_link(cast("Any", second))
    hub._obey([orders.Drop(link, "again"), orders.Admit(other, "worker-0"), orders.Publish(view, (other,), ())])
    assert first.cancelled
    assert second.parts() == [1]
    hub.close_link(link)
    assert second.parts() == [1]


def test_what_was_done_is_not_done_again_after_something_failed(
    make_world: Callable[..., Any],
) -> None:
    world = make_world(workers=1)
    hub = make_hub(world)
    wire = Wire()
    number = hub.open_stream(cast("Any", wire))
    world.router.effects += (Send(number, b"one"), Send(99, b"nobody is there"))
    with pytest.raises(KeyError):
        hub.perform()
    hub.perform()
    assert wire.sent == [b"one"]


def test_what_follows_something_that_failed_is_done_next(make_world: Callable[..., Any]) -> None:
    """It belongs to other streams and links, and the router takes it for done."""
    world = make_world(workers=1)
    hub = make_hub(world)
    wire, link = Wire(), Wire()
    number, worker = hub.open_stream(cast("Any", wire)), hub.open_link(cast("Any", link))
    world.router.effects += (Send(99, b"nobody"), Send(number, b"one"), SendFrame(98, b"nobody"))
    world.router.effects += (SendFrame(worker, b"frame"), Send(number, b"two"))
    for _ in range(2):
        with pytest.raises(KeyError):
            hub.perform()
    world.router.effects.append(Send(number, b"three"))
    hub.perform()
    assert wire.sent == [b"one", b"two", b"three"]
    assert link.sent == [b"frame"]
