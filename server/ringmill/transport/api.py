"""The one interface for serving and calling byte streams; two implementations stand behind it.

Messages are opaque bytes, so nothing here decodes them. A loop owns servers and channels and calls handlers one at a
time: never two at once, never nested inside a call that the handler itself made. Every method of a stream may be called
from inside a handler, or from another thread through `Loop.call_soon`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from ringmill.core.errors import Code

Metadata = Sequence[tuple[str, str | bytes]]


@dataclass(frozen=True, slots=True)
class Status:
    """How a call ended: a gRPC status code, a message for people, and trailing metadata."""

    code: Code
    details: str = ""
    trailers: Metadata = ()


OK = Status(Code.OK)


class StreamHandler(Protocol):
    """What the owner of a stream wants to hear."""

    def on_message(self, message: bytes) -> None:
        """Hears a whole message. The next one is asked for when this returns, unless the stream was paused."""

    def on_half_close(self) -> None:
        """Hears that the peer will send nothing more (server side only); answers may still be sent.

        A call that breaks may end its messages in the same way just before on_close says so: gRPC tells no difference.
        """

    def on_drain(self) -> None:
        """Hears that the last write is done and nothing is queued: the moment to send what has accumulated."""

    def on_close(self, status: Status) -> None:
        """Hears the end, once; nothing follows. The server side hears CANCELLED when the client went away."""


class Stream(Protocol):
    """One open call, from either side."""

    @property
    def method(self) -> str:
        """Full name of the method: "/ringmill.v1.ProcessingService/Process"."""
        ...

    @property
    def metadata(self) -> Metadata:
        """What the peer sent first: invocation metadata on the server, initial metadata on the client once it came."""
        ...

    @property
    def peer(self) -> str:
        """Address of the other side, for logs."""
        ...

    @property
    def deadline_s(self) -> float | None:
        """Seconds left until the call's deadline; None without one."""
        ...

    @property
    def writing(self) -> bool:
        """Whether a write is in flight. Who has a choice waits for on_drain then, and sends all it has at once."""
        ...

    @property
    def queued_bytes(self) -> int:
        """Bytes that wait behind the write in flight, for backpressure."""
        ...

    def send(self, message: bytes) -> None:
        """Sends a message after all earlier ones; never blocks. On a closed stream it does nothing."""

    def pause(self) -> None:
        """Stops asking for messages: HTTP/2 flow control then holds the peer back. One more may still arrive."""

    def resume(self) -> None:
        """Asks for messages again."""

    def finish(self, status: Status = OK) -> None:
        """Server: ends the call with this status after all that is queued. Client: half-closes; ignores the status."""

    def cancel(self) -> None:
        """Ends the call now and drops what is queued. on_close follows."""


class Timer(Protocol):
    """A callback that is yet to come."""

    def cancel(self) -> None:
        """Forgets it; nothing happens if it has already run."""


Accept = Callable[[Stream], StreamHandler]
"""What a server does with a new call: returns the handler that will hear of it."""


@dataclass(frozen=True, slots=True)
class ServerTls:
    """What a server shows, and whom it lets in. PEM bytes."""

    key: bytes
    chain: bytes
    client_ca: bytes | None = None
    """CA that client certificates must be signed by; None: clients need none."""


@dataclass(frozen=True, slots=True)
class ClientTls:
    """What a client trusts and shows. PEM bytes."""

    ca: bytes | None = None
    key: bytes | None = None
    chain: bytes | None = None
    override_name: str | None = None
    """Name to expect in the server's certificate instead of the host dialled; for tests."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of every connection. Each is a guard against one peer hurting the others."""

    message_bytes_max: int = 4 << 20
    """A larger message ends its call RESOURCE_EXHAUSTED."""
    metadata_bytes_max: int = 16 << 10
    streams_per_connection_max: int = 1024
    keepalive_interval_s: float | None = None
    """Sends an HTTP/2 ping after this long without any bytes; None: never."""
    keepalive_timeout_s: float = 5.0
    """Breaks a connection whose ping is not answered in this time."""


class Server(Protocol):
    """Listens for calls."""

    stopped: bool
    """Whether `stop` is through: every call has ended and the port is free. Wait for it with `Loop.run_until`."""

    def listen(self, address: str, tls: ServerTls | None = None) -> int:
        """Binds host:port (port 0: any free one) and returns the port. A taken port raises RingmillError."""
        ...

    def start(self) -> None:
        """Begins to accept calls."""

    def stop(self, grace_s: float = 0.0) -> None:
        """Sends GOAWAY and takes no new calls; after grace_s cancels those still open."""


class Channel(Protocol):
    """A connection to a server, made when first needed and again after a break."""

    def open(
        self, method: str, handler: StreamHandler, metadata: Metadata = (), timeout_s: float | None = None
    ) -> Stream:
        """Starts a bidirectional call. A server that cannot be reached closes it UNAVAILABLE."""
        ...

    def close(self) -> None:
        """Cancels its calls and lets the connection go."""


class Loop(Protocol):
    """Drives servers and channels and calls handlers one at a time."""

    name: str
    """ "cq" or "aio"."""

    def server(self, routes: dict[str, Accept], limits: Limits = ...) -> Server:
        """Makes a server of these methods, by full name; any other method answers UNIMPLEMENTED."""
        ...

    def channel(self, target: str, tls: ClientTls | None = None, limits: Limits = ...) -> Channel:
        """Makes a channel to host:port."""
        ...

    def call_soon(self, callback: Callable[[], None]) -> None:
        """Runs a callback in turn with the handlers. May be called from any thread, also from a signal handler."""

    def call_later(self, delay_s: float, callback: Callable[[], None]) -> Timer:
        """Runs a callback once, after a delay."""
        ...

    def run(self) -> None:
        """Runs until `stop`, in this thread."""

    def run_until(self, done: Callable[[], bool], timeout_s: float | None = None) -> bool:
        """Runs in this thread until done() is true; False when the time-out came first. For blocking callers."""
        ...

    def stop(self) -> None:
        """Makes `run` return once the current handler has."""
