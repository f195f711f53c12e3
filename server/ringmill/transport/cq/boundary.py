"""The whole of grpcio's private layer that we use: untyped, so it is named and typed here and nowhere else."""

import importlib
import time
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import grpc

from ringmill.core.errors import Code
from ringmill.transport.api import Metadata, Status
from ringmill.transport.checks import cannot_listen
from ringmill.transport.options import Options

cygrpc: Any = importlib.import_module("grpc._cython.cygrpc")
"""Private and untyped; imported so that no type checker takes its stub, which knows nothing, for the truth."""

Batch = tuple[Any, ...]
"""Operations of one call that complete together."""

Tag = Callable[["Event"], None]
"""What to do with an operation's completion; gRPC carries it to the event and back to us."""


class Event(Protocol):
    """A completion: which tag, whether it went well, and the operations with what they received."""

    tag: Tag | None
    success: bool
    batch_operations: Sequence[Any]


class CallRequest(Event, Protocol):
    """A completion that brings a new call to a server."""

    call: "ServerCall"
    call_details: Any
    invocation_metadata: Metadata


class ServerCall(Protocol):
    """A call from the server's side. Every method may be called from any thread."""

    def start_server_batch(self, operations: Batch, tag: Tag) -> int:
        """Starts operations; 0 when they have begun. A refused batch has no completion."""
        ...

    def cancel(self, code: int, details: str) -> int:
        """Resets the stream."""
        ...

    def peer(self) -> bytes:
        """Address of the client."""
        ...


class ClientCall(Protocol):
    """A call from the client's side. Every method may be called from any thread."""

    def operate(self, operations: Batch, tag: Tag) -> bool:
        """Starts operations; False when the call has ended already, ValueError when they may not begin."""
        ...

    def cancel(self, code: int, details: str) -> None:
        """Ends the call; its status operation completes with this code."""


CompletionQueue: Any = cygrpc.CompletionQueue

_CODES = frozenset(Code)

NO_OPERATIONS: Batch = ()
"""An empty batch completes at once: a way to wake whoever waits on the call's queue."""


def send_message(message: bytes) -> Batch:
    """One message out."""
    return (cygrpc.SendMessageOperation(message, 0),)


def receive_message() -> Batch:
    """One message in; None at the end of the stream or of the call."""
    return (cygrpc.ReceiveMessageOperation(0),)


def send_headers(metadata: Metadata) -> Batch:
    """Initial metadata out; every call begins with it."""
    return (cygrpc.SendInitialMetadataOperation(metadata or None, 0),)


def receive_headers() -> Batch:
    """The server's initial metadata in."""
    return (cygrpc.ReceiveInitialMetadataOperation(0),)


def receive_close() -> Batch:
    """Server: completes when the call has ended, and says whether it was cancelled."""
    return (cygrpc.ReceiveCloseOnServerOperation(0),)


def send_status(code: Code, details: str, trailers: Metadata) -> Batch:
    """Server: ends the call."""
    return (cygrpc.SendStatusFromServerOperation(trailers or None, int(code), details.encode(), 0),)


def received_status(operation: Any) -> Status:
    """The status that a client's call ended with. A code that gRPC does not know reads as UNKNOWN."""
    code = operation.code()
    known = Code(code) if code in _CODES else Code.UNKNOWN
    return Status(known, operation.details(), operation.trailing_metadata() or ())


def receive_status() -> Batch:
    """Client: completes when the call has ended."""
    return (cygrpc.ReceiveStatusOnClientOperation(0),)


def half_close() -> Batch:
    """Client: nothing more will be sent."""
    return (cygrpc.SendCloseFromClientOperation(0),)


def channel(target: str, options: Options, credentials: grpc.ChannelCredentials | None) -> Any:
    """A connection with a completion queue of its own for all its calls."""
    return cygrpc.Channel(target.encode(), tuple(options), None if credentials is None else _private(credentials))


def server(options: Options) -> Any:
    """A server; its second argument would make it fetch its configuration over xDS."""
    return cygrpc.Server(tuple(options), False)


def start_call(
    channel: Any, method: str, deadline: float | None, metadata: Metadata, batches: Sequence[tuple[Batch, Tag]]
) -> ClientCall:
    """Starts a call whose completions arrive at the channel's own queue. Deadlines are seconds of time.time()."""
    call: ClientCall = channel.integrated_call(0, method.encode(), None, deadline, metadata or None, None, batches)
    return call


def start_alarm(channel: Any, delay_s: float | None, tag: Tag) -> ClientCall:
    """Makes the channel's queue deliver a tag after a delay, or never, without a byte on the wire.

    It is a call that waits for a status but sends no headers, so gRPC never gives it to a connection, and its deadline
    ends it. An empty batch on it wakes the queue at once.
    """
    deadline = None if delay_s is None else time.time() + delay_s
    return start_call(channel, "/ringmill/alarm", deadline, (), ((receive_status(), tag),))


def bind(server: Any, address: str, credentials: grpc.ServerCredentials | None) -> int:
    """Binds a server's port; raises RingmillError naming the address where that fails."""
    try:
        port = int(server.add_http2_port(address.encode(), *(() if credentials is None else (_private(credentials),))))
    except RuntimeError:
        port = 0
    if port == 0:
        raise cannot_listen(address)
    return port


def _private(credentials: grpc.ChannelCredentials | grpc.ServerCredentials) -> Any:
    """The credentials object of the private layer, which the public one wraps."""
    return credentials._credentials  # type: ignore[union-attr]  # not in the public stubs


def close_channel(channel: Any) -> None:
    """Cancels what is left on a channel, takes its completions off the queue, and frees it.

    grpcio's own `close` waits for another thread to take them; the variant made for forks takes them itself. No thread
    may be waiting on the queue.
    """
    channel.close_on_fork(int(Code.CANCELLED), "the channel was closed")
