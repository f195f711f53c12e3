"""The floor: a plain TCP ping-pong in Python, blocking sockets, two processes."""

import socket
import threading
from time import perf_counter_ns

import numpy as np

from ringmill.loadtest.peers import protocol


def server() -> None:
    """Echoes what comes, byte for byte."""
    listener = socket.create_server(("127.0.0.1", 0))
    threading.Thread(target=_accept, args=(listener,), daemon=True).start()
    protocol.serve_until_end(address=f"127.0.0.1:{listener.getsockname()[1]}")


def _accept(listener: socket.socket) -> None:
    while True:
        connection, _ = listener.accept()
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while message := connection.recv(65536):
            connection.sendall(message)


def client(address: str) -> None:
    """Measures round trips of one connection."""
    host, _, port = address.rpartition(":")
    connection = socket.create_connection((host, int(port)))
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def round_trip(size: int, count: int) -> protocol.Answer:
        message = b"x" * size
        took = np.empty(count, np.int64)
        for i in range(count):
            began = perf_counter_ns()
            connection.sendall(message)
            left = size
            while left:
                left -= len(connection.recv(left))
            took[i] = perf_counter_ns() - began
        return {"p50_us": float(np.median(took)) / 1e3, "p99_us": float(np.percentile(took, 99)) / 1e3}

    protocol.obey({"round_trip": round_trip})
