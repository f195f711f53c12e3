"""What a probe says of a port: refused is dead, and nothing else is."""

import socket
import threading
from collections.abc import Callable

import pytest

from ringmill.balancer.adapters.probe import Prober, watch
from ringmill.balancer.orders import Probe


def listener() -> tuple[socket.socket, str]:
    listening = socket.create_server(("127.0.0.1", 0))
    return listening, f"127.0.0.1:{listening.getsockname()[1]}"


def test_a_refusal_is_a_death() -> None:
    listening, address = listener()
    listening.close()
    assert list(watch(address)) == [False]


def test_who_speaks_lives() -> None:
    listening, address = listener()
    with listening:
        threading.Thread(target=lambda: listening.accept()[0].sendall(b"settings"), daemon=True).start()
        assert list(watch(address)) == [True]


def test_who_is_frozen_is_not_dead() -> None:
    """Its kernel takes the connection, and nothing comes."""
    listening, address = listener()
    with listening:
        assert list(watch(address, timeout_s=0.05)) == [True]


def test_a_port_that_goes_after_the_first_connection_is_a_death() -> None:
    """As of a process that is killed: its port is still open when its connections have broken already."""
    listening, address = listener()
    told = watch(address, timeout_s=20.0)
    assert next(told) is True
    listening.close()  # resets what it had not accepted
    assert list(told) == [False]


def test_connections_that_break_for_ever_are_no_death() -> None:
    listening, address = listener()
    with listening:

        def break_all() -> None:
            while True:
                try:
                    listening.accept()[0].close()
                except OSError:
                    return

        threading.Thread(target=break_all, daemon=True).start()
        assert set(watch(address)) == {True}


@pytest.mark.parametrize("address", ["nowhere", "127.0.0.1:http", "no.such.name.invalid:1"])
def test_what_is_no_address_tells_nothing(address: str) -> None:
    assert list(watch(address)) == []


def test_the_prober_tells_the_loop() -> None:
    listening, address = listener()
    listening.close()
    told: list[tuple[str, bool, int]] = []
    heard = threading.Event()

    def call_soon(callback: Callable[[], None]) -> None:
        callback()
        heard.set()

    Prober(call_soon, lambda *answer: told.append(answer)).probe(Probe("worker-1", address, 7))
    assert heard.wait(20)
    assert told == [("worker-1", False, 7)]
