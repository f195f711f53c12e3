"""Signals while a loop runs: their handlers are called between two completions, never in the middle of one.

A handler that raises, as the one for Ctrl-C does, may do so after any instruction: also after a completion has left
its queue and before anybody has heard of it. Such a completion would be lost, and whoever waits for it would wait for
ever.
"""

import signal
import sys
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any

# Below `signal`, which makes enumerations of all numbers and takes ten times as long: each blocking call is a run.
_signals: Any = sys.modules.get("_signal", signal)

_HELD = (signal.SIGINT, signal.SIGTERM)


class Interrupts:
    """Holds signals back while a loop runs in the main thread; in any other thread Python delivers none."""

    def __init__(self, wake: Callable[[], None]) -> None:
        """wake: makes the loop come round. It is called inside a signal handler."""
        self._wake = wake
        self._handlers: dict[int, Callable[[int, FrameType | None], Any]] = {}
        """Those that stand back meanwhile."""
        self._held: list[tuple[int, FrameType | None]] = []
        self._mine = self._hold
        """One object, so that it is known again."""
        self._active = False

    def begin(self) -> None:
        """A run begins."""
        if threading.current_thread() is not threading.main_thread():
            return
        self._active = True
        for number in _HELD:
            handler = _signals.getsignal(number)
            if callable(handler) and handler is not self._mine:
                self._handlers[number] = handler
                _signals.signal(number, self._mine)

    def deliver(self) -> None:
        """Calls the handlers of what came. Raises what they raise."""
        while self._held:
            number, frame = self._held.pop(0)
            self._handlers[number](number, frame)

    def end(self) -> None:
        """The run is over: handlers that were not replaced meanwhile are in their place again."""
        self._active = False
        for number, handler in self._handlers.items():
            if _signals.getsignal(number) is self._mine:
                _signals.signal(number, handler)
        held, self._held, handlers = self._held, [], dict(self._handlers)
        self._handlers.clear()
        for number, frame in held:
            handlers[number](number, frame)

    def _hold(self, number: int, frame: FrameType | None) -> None:
        """Stands in for a handler. Whoever is asked twice is not to wait for the loop: perhaps that does not come
        round."""
        if not self._active or any(held == number for held, _ in self._held):
            self._handlers[number](number, frame)
            return
        self._held.append((number, frame))
        self._wake()
