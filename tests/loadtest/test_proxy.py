"""The proxy of the chaos tests does to connections what it says, and nothing else."""

import socket
import threading
from collections.abc import Iterator

import pytest

from ringmill.loadtest.chaos.proxy import Fault, Proxy


@pytest.fixture
def echo() -> Iterator[str]:
    """Address of a server that sends back what comes."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=talk, args=(connection,), daemon=True).start()

    def talk(connection: socket.socket) -> None:
        with connection:
            try:
                while data := connection.recv(65536):
                    connection.sendall(data)
            except OSError:
                pass

    threading.Thread(target=serve, daemon=True).start()
    yield f"127.0.0.1:{listener.getsockname()[1]}"
    listener.close()


def dial(proxy: Proxy) -> socket.socket:
    host, _, port = proxy.address.rpartition(":")
    return socket.create_connection((host, int(port)), timeout=20)


def heard(connection: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        piece = connection.recv(size - len(data))
        assert piece
        data += piece
    return data


def test_bytes_pass_unchanged_and_in_order_whatever_the_delay(echo: str) -> None:
    data = bytes(range(256)) * 4096
    with Proxy(lambda: echo) as proxy, dial(proxy) as connection:
        proxy.hamper(Fault(delay_s=0.02), Fault(delay_s=0.01))
        threading.Thread(target=connection.sendall, args=(data,), daemon=True).start()
        assert heard(connection, len(data)) == data
        assert proxy.connections == 1


@pytest.mark.parametrize("to_target", [True, False])
def test_a_stalled_way_holds_everything_until_it_is_healed(echo: str, to_target: bool) -> None:
    with Proxy(lambda: echo) as proxy, dial(proxy) as connection:
        connection.sendall(b"a")
        assert heard(connection, 1) == b"a"
        stalled = Fault(stalled=True)
        proxy.hamper(stalled if to_target else None, None if to_target else stalled)
        connection.sendall(b"bcd")
        connection.settimeout(0.2)
        with pytest.raises(TimeoutError):
            connection.recv(1)
        proxy.heal()
        connection.settimeout(20)
        assert heard(connection, 3) == b"bcd"


def test_a_cut_resets_both_ends(echo: str) -> None:
    with Proxy(lambda: echo) as proxy, dial(proxy) as connection:
        connection.sendall(b"a")
        assert heard(connection, 1) == b"a"
        assert proxy.cut() == 1
        with pytest.raises(ConnectionResetError):
            connection.recv(1)
        with dial(proxy) as again:
            again.sendall(b"b")
            assert heard(again, 1) == b"b"


def test_a_refused_connection_is_reset(echo: str) -> None:
    with Proxy(lambda: echo) as proxy:
        proxy.refuse()
        with dial(proxy) as connection, pytest.raises(ConnectionResetError):
            connection.recv(1)
        proxy.heal()
        with dial(proxy) as connection:
            connection.sendall(b"b")
            assert heard(connection, 1) == b"b"


def test_a_throttled_way_lets_everything_through_in_the_end(echo: str) -> None:
    data = b"x" * 300_000
    with Proxy(lambda: echo) as proxy, dial(proxy) as connection:
        proxy.hamper(Fault(bytes_s=2e6))
        threading.Thread(target=connection.sendall, args=(data,), daemon=True).start()
        assert heard(connection, len(data)) == data
