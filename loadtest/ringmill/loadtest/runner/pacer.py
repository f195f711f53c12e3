"""Wakes a loop at a moment, within a tenth of a millisecond.

A loop's own timer is a call that gRPC lets expire: milliseconds late, and a quarter of a millisecond of work each time.
This is a thread that sleeps and then wakes the loop.
"""

import contextlib
import sys
import threading
import time
from collections.abc import Callable, Iterator

from ringmill.transport.api import Loop

_SWITCH_S = 1e-4
"""How long Python lets one thread run while another one wants to; 5 ms by default, which would be the lateness."""


class Pacer:
    """Has one callback at a time wait for its moment."""

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._at_ns = 0
        self._callback: Callable[[], None] = _nothing
        self._given = threading.Event()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="ringmill-pacer", daemon=True)
        self._thread.start()

    def call_at(self, at_ns: int, callback: Callable[[], None]) -> None:
        """Runs a callback in turn with the loop's handlers, at a moment of time.monotonic_ns().

        The one before must have run.
        """
        self._at_ns, self._callback = at_ns, callback
        self._given.set()

    def close(self) -> None:
        """Ends the thread; what still waits is not run."""
        self._closed = True
        self._given.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._closed:
            self._given.wait()
            self._given.clear()
            while not self._closed and (left_ns := self._at_ns - time.monotonic_ns()) > 0:
                time.sleep(min(left_ns / 1e9, 0.1))
            if not self._closed:
                self._loop.call_soon(self._callback)


@contextlib.contextmanager
def pacer(loop: Loop) -> Iterator[Pacer]:
    """A pacer, for whose time threads take turns quickly."""
    usual_s = sys.getswitchinterval()
    sys.setswitchinterval(_SWITCH_S)
    made = Pacer(loop)
    try:
        yield made
    finally:
        made.close()
        sys.setswitchinterval(usual_s)


def _nothing() -> None:
    """Waits for nothing."""
