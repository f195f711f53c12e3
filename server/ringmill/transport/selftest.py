"""An echo through a real loopback socket: what a transport must do before it is trusted with anything."""

from ringmill.core.errors import Code, RingmillError
from ringmill.transport.api import Limits, Loop, Status, Stream

_METHOD = "/ringmill.SelfTest/Echo"
_LARGE_BYTES = 1 << 20
_TIMEOUT_S = 5.0
_END = Status(Code.OUT_OF_RANGE, "end of the self-test", (("ringmill-test", "trailer"),))


class _Echo:
    """Sends back what it hears, and ends with a status that a stream ends with by no other way."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream

    def on_message(self, message: bytes) -> None:
        self._stream.send(message)

    def on_half_close(self) -> None:
        self._stream.finish(_END)

    def on_drain(self) -> None:
        pass

    def on_close(self, status: Status) -> None:
        pass


class _Caller:
    """Keeps what it hears."""

    def __init__(self) -> None:
        self.messages: list[bytes] = []
        self.status: Status | None = None

    def on_message(self, message: bytes) -> None:
        self.messages.append(message)

    def on_half_close(self) -> None:
        pass

    def on_drain(self) -> None:
        pass

    def on_close(self, status: Status) -> None:
        self.status = status


def check_transport(loop: Loop) -> None:
    """Raises RingmillError or whatever the transport raises unless messages, order, half-close and status arrive."""
    sent = [b"", b"a message", bytes(range(256)) * (_LARGE_BYTES // 256), b"and one behind it"]
    server = loop.server({_METHOD: _Echo}, Limits())
    port = server.listen("127.0.0.1:0")
    server.start()
    channel = loop.channel(f"127.0.0.1:{port}", None, Limits())
    caller = _Caller()
    stream = channel.open(_METHOD, caller, (), _TIMEOUT_S)
    for message in sent:
        stream.send(message)
    stream.finish()
    loop.run_until(lambda: caller.status is not None, _TIMEOUT_S)
    channel.close()
    server.stop()
    stopped = loop.run_until(lambda: server.stopped, _TIMEOUT_S)
    if caller.messages != sent:
        raise RingmillError(Code.INTERNAL, f"self-test: {len(caller.messages)} of {len(sent)} messages came back")
    if caller.status is None or (caller.status.code, caller.status.details) != (_END.code, _END.details):
        raise RingmillError(Code.INTERNAL, f"self-test: the call ended with {caller.status}")
    if not set(_END.trailers) <= {tuple(item) for item in caller.status.trailers}:
        raise RingmillError(Code.INTERNAL, "self-test: the trailers were lost")
    if not stopped:
        raise RingmillError(Code.INTERNAL, "self-test: the server did not stop")
