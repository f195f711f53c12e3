"""Redis doing the same work in Lua, driven as cheaply as it can be: commands made before, replies only counted."""

import contextlib
import hashlib
import socket
import struct
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from time import perf_counter_ns

import numpy as np

from ringmill.loadtest import workload
from ringmill.loadtest.peers import protocol

SCRIPTS = ("hash", "packed")


def script(name: str) -> str:
    """The Lua source of a way to hold the state."""
    return Path(__file__).with_name(f"redis_{name}.lua").read_text()


@contextlib.contextmanager
def running(program: str) -> Iterator[int]:
    """A Redis server on a free loopback port without persistence; gives the port."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    command = [program, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        _wait_listening(port)
        yield port
    finally:
        server.terminate()
        server.wait()


def server(program: str) -> None:
    """Runs Redis for as long as the benchmark runs, however that ends."""
    with running(program) as port:
        protocol.serve_until_end(address=f"127.0.0.1:{port}")


def _wait_listening(port: int, timeout_s: float = 10.0) -> None:
    deadline_s = time.monotonic() + timeout_s
    while True:
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=1.0):
                return
        except OSError:
            if time.monotonic() > deadline_s:
                raise
            time.sleep(0.02)


def encode_command(*parts: bytes) -> bytes:
    """One command in Redis's protocol (RESP2)."""
    return b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%s\r\n" % (len(part), part) for part in parts)


def encode_batch(script_sha1: bytes, keys: Sequence[bytes], values: bytes) -> bytes:
    """The EVALSHA of one batch; values: two little-endian doubles for each key."""
    layout = b"<" + b"dd" * len(keys)
    return encode_command(b"EVALSHA", script_sha1, b"%d" % len(keys), *keys, values, layout)


class Client:
    """One connection."""

    def __init__(self, port: int, source: str) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._buffer = bytearray(1 << 20)
        self.sha1 = hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest().encode()
        self._socket.sendall(encode_command(b"SCRIPT", b"LOAD", source.encode()))
        self._read(len(b"$40\r\n") + 42)

    def batches(self, count: int, size: int, key_count: int, seed: int = 0) -> list[bytes]:
        """Commands of `size` events each, with keys drawn uniformly from `key_count`."""
        rng = np.random.default_rng(seed)
        values = rng.normal((20.0, 50.0), (5.0, 10.0), (count, size, 2))
        return [
            encode_batch(self.sha1, workload.key_names(rng.integers(0, key_count, size).tolist()), values[i].tobytes())
            for i in range(count)
        ]

    def call(self, command: bytes, size: int) -> list[float]:
        """Runs one batch and gives its results."""
        self._socket.sendall(command)
        reply = self._read(reply_bytes(size))
        header = reply.index(b"\r\n") + 2
        return list(struct.unpack(f"<{2 * size}d", reply[header:-2]))

    def stream(self, commands: Sequence[bytes], count: int, size: int, in_flight: int) -> float:
        """Sends `count` batches with up to `in_flight` unanswered; returns events a second."""
        began = perf_counter_ns()
        for i in range(count):
            if i >= in_flight:
                self._read(reply_bytes(size))
            self._socket.sendall(commands[i % len(commands)])
        self._read(min(count, in_flight) * reply_bytes(size))
        return count * size / (perf_counter_ns() - began) * 1e9

    def _read(self, length: int) -> bytes:
        view = memoryview(self._buffer)
        got = 0
        while got < length:
            received = self._socket.recv_into(view[got:length])
            if not received:
                raise ConnectionError("Redis closed the connection")
            got += received
            if self._buffer[0] == ord("-"):
                raise RuntimeError(bytes(self._buffer[:got]).decode())
        return bytes(view[:length])


def reply_bytes(size: int) -> int:
    """Length of the reply to a batch: a bulk string of two doubles for each event."""
    return len(b"$%d\r\n" % (16 * size)) + 16 * size + 2


def client(address: str, name: str) -> None:
    """Measures a Redis server."""
    made = Client(int(address.rpartition(":")[2]), script(name))
    prepared: dict[tuple[int, int], list[bytes]] = {}

    def stream(count: int, size: int, key_count: int, in_flight: int) -> protocol.Answer:
        if (size, key_count) not in prepared:
            prepared[size, key_count] = made.batches(max(1, 65536 // size), size, key_count)
        return {"events_s": made.stream(prepared[size, key_count], count, size, in_flight)}

    protocol.obey({"stream": stream})
