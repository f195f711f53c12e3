"""Tells the dead from the cut off: where a process has ended, its machine refuses the connection at once."""

import socket
import threading
from collections.abc import Callable, Iterator
from functools import partial

from ringmill.balancer.orders import Probe

TIMEOUT_S = 1.0
_TRIES = 10
"""Connections that break at once before it is given up."""


class Prober:
    """Connects on threads, one for each probe: they are rare, and a machine that is gone answers nothing for long."""

    def __init__(self, call_soon: Callable[[Callable[[], None]], None], done: Callable[[str, bool, int], None]) -> None:
        """done: hears the name, whether anybody listens, and the incarnation that was to be there, through call_soon;
        nothing where that cannot be told."""
        self._call_soon = call_soon
        self._done = done

    def probe(self, order: Probe) -> None:
        """Begins a probe."""
        threading.Thread(target=self._run, args=(order,), name="ringmill-probe", daemon=True).start()

    def _run(self, order: Probe) -> None:
        for alive in watch(order.address):
            self._call_soon(partial(self._done, order.name, alive, order.incarnation))


def watch(address: str, timeout_s: float = TIMEOUT_S) -> Iterator[bool]:
    """Whether anybody listens at host:port; nothing if that cannot be told: no answer, no way there, no such name.

    A process that is killed takes connections until the kernel gets to its port, which it may do well after it has
    broken the others: so a connection that breaks at once is tried again, until it is refused. Who lives says
    something, as HTTP/2 wants it.
    """
    for _ in range(_TRIES):
        connected = _connected(address, timeout_s)
        if isinstance(connected, socket.socket):
            yield True
            if not _breaks(connected):
                return
        else:
            if connected:
                yield False
            return


def _connected(address: str, timeout_s: float) -> socket.socket | bool:
    """A connection; True if it is refused, False if nothing can be told."""
    host, _, port = address.rpartition(":")
    try:
        connected = socket.create_connection((host.strip("[]"), int(port)), timeout_s)
    except ConnectionRefusedError:
        return True
    except (OSError, ValueError):
        return False
    # On loopback a connection may meet itself when its own port is drawn for it: then nobody listens.
    if connected.getsockname() == connected.getpeername():
        connected.close()
        return True
    return connected


def _breaks(connected: socket.socket) -> bool:
    """Whether the other side ends a connection without a word. A silent one is none of those."""
    with connected:
        try:
            return not connected.recv(1)
        except TimeoutError:
            return False
        except OSError:
            return True
