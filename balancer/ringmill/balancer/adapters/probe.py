"""Tells the dead from the cut off: where a process has ended, its machine refuses the connection at once."""

import socket
import threading
from collections.abc import Callable

from ringmill.balancer.orders import Probe

TIMEOUT_S = 1.0


class Prober:
    """Connects on threads, one for each probe: they are rare, and a machine that is gone answers nothing for long."""

    def __init__(self, call_soon: Callable[[Callable[[], None]], None], done: Callable[[str, bool], None]) -> None:
        """done: hears the name and whether anybody listens, through call_soon; nothing where that cannot be told."""
        self._call_soon = call_soon
        self._done = done

    def probe(self, order: Probe) -> None:
        """Begins a probe."""
        threading.Thread(target=self._run, args=(order,), name="ringmill-probe", daemon=True).start()

    def _run(self, order: Probe) -> None:
        alive = listens(order.address)
        if alive is not None:
            self._call_soon(lambda: self._done(order.name, alive))


def listens(address: str, timeout_s: float = TIMEOUT_S) -> bool | None:
    """Whether anybody listens at host:port; None if that cannot be told: no answer, no way there, no such name."""
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), timeout_s) as connected:
            # On loopback a connection may meet itself when its own port is drawn for it: then nobody listens.
            return bool(connected.getsockname() != connected.getpeername())
    except ConnectionRefusedError:
        return False
    except (OSError, ValueError):
        return None
