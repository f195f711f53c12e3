"""Peers that die, freeze, dawdle or stop, on both implementations at either end."""

import contextlib
import gc
import pathlib
import signal
import socket
import subprocess
import sys
import time
import weakref
from collections.abc import Iterator
from typing import Any

import pytest

from ringmill.core.errors import Code, RingmillError
from ringmill.transport import make_loop
from ringmill.transport.api import Limits

PROGRAM = pathlib.Path(__file__).with_name("echo_process.py")
WAIT_S = 20.0
GONE = (Code.UNAVAILABLE, Code.CANCELLED)


@pytest.fixture
def child(wire: Any, request: pytest.FixtureRequest) -> Iterator[subprocess.Popen[str]]:
    """The echo server as a process, of the kind that the wire's server has; the wire's client calls it."""
    with subprocess.Popen(
        [sys.executable, str(PROGRAM), wire.server_loop.name], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        wire.port = int(process.stdout.readline())
        yield process
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGCONT)
        process.kill()


def test_unreachable(wire: Any) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        call = wire.open(channel=wire.channel(port=taken.getsockname()[1]))
        wire.until(lambda: call.status)
    assert call.status.code is Code.UNAVAILABLE


def test_server_killed_then_back(wire: Any, child: Any) -> None:
    channel = wire.channel()
    call = wire.open(channel=channel)
    call.stream.send(b"x")
    wire.until(lambda: call.messages)
    child.kill()
    wire.until(lambda: call.status)
    assert call.status.code is Code.UNAVAILABLE
    call.stream.send(b"nobody hears")
    again = wire.open(channel=channel)
    wire.until(lambda: again.status)
    assert again.status.code is Code.UNAVAILABLE


def test_frozen_server_breaks_by_keepalive(wire: Any, child: Any) -> None:
    call = wire.open(channel=wire.channel(limits=Limits(keepalive_interval_s=0.2, keepalive_timeout_s=0.3)))
    call.stream.send(b"x")
    wire.until(lambda: call.messages)
    child.send_signal(signal.SIGSTOP)
    wire.until(lambda: call.status)
    assert call.status.code is Code.UNAVAILABLE


def test_idle_connection_survives_keepalive(wire: Any) -> None:
    limits = Limits(keepalive_interval_s=0.05, keepalive_timeout_s=5.0)
    wire.serve(limits=limits)
    call = wire.open(channel=wire.channel(limits=limits))
    wire.client_loop.run_until(lambda: False, 1.0)
    call.stream.send(b"x")
    wire.until(lambda: call.messages)
    assert call.status is None


def test_sigterm_lets_open_calls_finish(wire: Any, child: Any) -> None:
    channel = wire.channel()
    call = wire.open(channel=channel)
    call.stream.send(b"x")
    wire.until(lambda: call.messages)
    child.send_signal(signal.SIGTERM)
    late = wire.Heard()

    def refused() -> bool:
        nonlocal late
        if late.status is None or late.status.code not in GONE:
            late = wire.open(channel=channel)
            late.stream.finish()
            wire.client_loop.run_until(lambda: late.status is not None, 5.0)
        return late.status is not None and late.status.code in GONE

    give_up = time.monotonic() + 20
    while not refused():
        assert time.monotonic() < give_up
    call.stream.send(b"y")
    call.stream.finish()
    wire.until(lambda: call.status)
    assert (call.messages, call.status.code) == ([b"x", b"y"], Code.OK)
    assert child.stdout.read() == "stopped\n"
    assert child.wait(20) == 0


def test_stop_cancels_what_outlives_the_grace(wire: Any) -> None:
    wire.serve(lambda _stream: wire.Heard())
    call = wire.open()
    wire.until(lambda: wire.accepted)
    wire.on_server(lambda: wire.server.stop(0.1))
    wire.until(lambda: call.status and wire.accepted[0].status and wire.server.stopped)
    assert call.status.code in GONE
    assert wire.accepted[0].status.code is Code.CANCELLED


def test_channel_close_cancels_its_calls(wire: Any) -> None:
    wire.serve()
    channel = wire.channel()
    call = wire.open(channel=channel)
    call.stream.send(b"x")
    wire.until(lambda: call.messages)
    channel.close()
    channel.close()
    assert call.status.code is Code.CANCELLED
    wire.until(lambda: wire.accepted[0].status)
    with pytest.raises(RingmillError):
        wire.open(channel=channel)


def test_channel_closed_inside_a_handler(wire: Any) -> None:
    wire.serve()
    channel = wire.channel()
    call = wire.open(wire.Heard(lambda _heard, _message: channel.close()), channel=channel)
    call.stream.send(b"x")
    wire.until(lambda: call.status)
    assert call.status.code is Code.CANCELLED
    other = wire.open()
    other.stream.send(b"on another channel")
    wire.until(lambda: other.messages)


def test_slow_byte_by_byte_client_harms_nobody(wire: Any) -> None:
    wire.serve()
    with socket.create_connection(("127.0.0.1", wire.port)) as slow:
        slow.send(b"P")
        call = wire.open()
        call.stream.send(b"x")
        wire.until(lambda: call.messages)
        slow.send(b"R")
        call.stream.send(b"y")
        wire.until(lambda: len(call.messages) == 2)


def test_garbage_client_harms_nobody(wire: Any) -> None:
    wire.serve()
    with socket.create_connection(("127.0.0.1", wire.port)) as rude:
        rude.sendall(b"GET / HTTP/1.1\r\n\r\n" * 1000)
    call = wire.open()
    call.stream.send(b"x")
    wire.until(lambda: call.messages)


def test_path_that_is_no_text_harms_nobody(wire_of: Any) -> None:
    """Only on our own loop: grpc.aio's server stops serving at such a path."""
    wire = wire_of("cq")
    wire.serve()
    with socket.create_connection(("127.0.0.1", wire.port), WAIT_S) as rude:
        rude.sendall(_PREFACE + _http2_frame(_SETTINGS, 0, b"") + _http2_frame(_HEADERS, 1, _headers(b"/t.T/\xff\xfe")))
        answer = b""
        while b"grpc-status" not in answer:
            received = rude.recv(4096)
            assert received, "the server hung up"
            answer += received
    assert b"grpc-status\x0212" in answer
    call = wire.open()
    call.stream.send(b"x")
    wire.until(lambda: call.messages)


_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_HEADERS, _SETTINGS = 1, 4
_END_HEADERS = 4


def _http2_frame(kind: int, stream: int, payload: bytes) -> bytes:
    """One frame (RFC 9113, section 4.1)."""
    flags = _END_HEADERS if kind == _HEADERS else 0
    return len(payload).to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big") + payload


def _headers(path: bytes) -> bytes:
    """Headers of a call, each as a literal without Huffman coding (RFC 7541, section 6.2.2)."""
    pairs = {
        b":method": b"POST",
        b":scheme": b"http",
        b":path": path,
        b":authority": b"x",
        b"te": b"trailers",
        b"content-type": b"application/grpc",
    }
    return b"".join(b"\0" + bytes((len(name),)) + name + bytes((len(value),)) + value for name, value in pairs.items())


def test_port_taken(kind: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(RingmillError, match=address) as caught:
            make_loop(kind).server({}).listen(address)  # type: ignore[arg-type]
    assert caught.value.code is Code.UNAVAILABLE


def test_port_taken_by_another_of_ours(wire: Any) -> None:
    wire.serve()
    with pytest.raises(RingmillError, match=str(wire.port)):
        make_loop(wire.client_loop.name).server({}).listen(f"127.0.0.1:{wire.port}")


def test_ended_calls_are_forgotten(wire: Any) -> None:
    """Nothing holds on to a call that has ended, however it did: handlers and streams of both ends go."""
    wire.serve()
    channel = wire.channel()
    gone: list[weakref.ref[Any]] = []
    for number in range(30):
        call = wire.open(channel=channel)
        for _ in range(10):
            call.stream.send(b"x" * 1000)
        call.stream.finish() if number % 2 else call.stream.cancel()
        wire.until(lambda call=call: call.status)
        gone += [weakref.ref(call), weakref.ref(call.stream)]
    last = call = wire.open(channel=channel)
    last.stream.send(b"x")
    wire.until(lambda: last.messages and all(served.status for served in wire.accepted[:-1]))
    gone += [weakref.ref(served.stream) for served in wire.accepted[:-1]]
    wire.accepted.clear()

    def left() -> int:
        gc.collect()
        return sum(each() is not None for each in gone)

    wire.until(lambda: left() == 0)
