"""A server loop in a thread and a client loop in the test's own, in every pairing of the two implementations."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from typing import Any, TypeVar

import pytest

from ringmill.transport import make_loop
from ringmill.transport.api import Accept, Channel, ClientTls, Limits, Loop, Server, ServerTls, Status, Stream

T = TypeVar("T")
KINDS = ("cq", "aio")
WAIT_S = 20.0


class Heard:
    """A handler that keeps all it hears; `react` may answer."""

    def __init__(self, react: Callable[["Heard", bytes], None] | None = None) -> None:
        self.stream: Stream
        self.messages: list[bytes] = []
        self.half_closes = 0
        self.drains = 0
        self.statuses: list[Status] = []
        self._react = react

    @property
    def status(self) -> Status | None:
        return self.statuses[0] if self.statuses else None

    def on_message(self, message: bytes) -> None:
        self.messages.append(message)
        if self._react is not None:
            self._react(self, message)

    def on_half_close(self) -> None:
        self.half_closes += 1

    def on_drain(self) -> None:
        self.drains += 1

    def on_close(self, status: Status) -> None:
        self.statuses.append(status)


class Echo(Heard):
    """Sends back what it hears and ends when the client does."""

    def __init__(self, stream: Stream) -> None:
        super().__init__()
        self.stream = stream

    def on_message(self, message: bytes) -> None:
        super().on_message(message)
        self.stream.send(message)

    def on_half_close(self) -> None:
        super().on_half_close()
        self.stream.finish()


class Wire:
    """Both ends of a connection."""

    Heard = Heard
    Echo = Echo

    def __init__(self, server_kind: str, client_kind: str) -> None:
        self.server_loop: Loop = make_loop(server_kind)  # type: ignore[arg-type]
        self.client_loop: Loop = make_loop(client_kind)  # type: ignore[arg-type]
        self.accepted: list[Any] = []
        self.port = 0
        self.server: Server
        self._channels: list[Channel] = []
        self._thread = threading.Thread(target=self.server_loop.run, daemon=True)

    def serve(
        self,
        accept: Callable[[Stream], Any] = Echo,
        limits: Limits = Limits(),
        tls: ServerTls | None = None,
        routes: dict[str, Accept] | None = None,
    ) -> int:
        def accepting(stream: Stream) -> Any:
            handler = accept(stream)
            handler.stream = stream
            self.accepted.append(handler)
            return handler

        self.server = self.server_loop.server(routes or {"/t.T/Call": accepting}, limits)
        self.port = self.server.listen("127.0.0.1:0", tls)
        self.server.start()
        self._thread.start()
        return self.port

    def channel(self, tls: ClientTls | None = None, limits: Limits = Limits(), port: int = 0) -> Channel:
        channel = self.client_loop.channel(f"127.0.0.1:{port or self.port}", tls, limits)
        self._channels.append(channel)
        return channel

    def open(self, handler: Heard | None = None, channel: Channel | None = None, **options: Any) -> Heard:
        heard = handler or Heard()
        heard.stream = (channel or self.channel()).open("/t.T/Call", heard, **options)
        return heard

    def until(self, done: Callable[[], object], timeout_s: float = WAIT_S) -> None:
        """Runs the client until something holds at either end."""
        assert self.client_loop.run_until(_polling(self.client_loop, done), timeout_s), "it did not come to pass"

    def on_server(self, work: Callable[[], T]) -> T:
        """Runs something in turn with the server's handlers."""
        result: Future[T] = Future()
        self.server_loop.call_soon(lambda: result.set_result(work()))
        return result.result(WAIT_S)

    def stop(self) -> None:
        for channel in self._channels:
            channel.close()
        if not self._thread.is_alive():
            return
        self.on_server(lambda: self.server.stop())
        self.until(lambda: self.server.stopped)
        self.server_loop.stop()
        self._thread.join(WAIT_S)
        assert not self._thread.is_alive()


def _polling(loop: Loop, done: Callable[[], object]) -> Callable[[], bool]:
    """The other end's doings do not wake this loop: a timer looks again."""

    def again() -> None:
        if not done():
            loop.call_later(0.005, again)

    loop.call_later(0.005, again)
    return lambda: bool(done())


@pytest.fixture(params=[(server, client) for server in KINDS for client in KINDS], ids="-".join)
def wire(request: pytest.FixtureRequest) -> Iterator[Wire]:
    made = Wire(*request.param)
    yield made
    made.stop()


@pytest.fixture
def wire_of() -> Iterator[Callable[[str], Wire]]:
    """Makes wires with the same implementation at both ends."""
    made: list[Wire] = []

    def make(kind: str) -> Wire:
        made.append(Wire(kind, kind))
        return made[-1]

    yield make
    for wire in made:
        wire.stop()


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)
