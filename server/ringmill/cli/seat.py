"""A child's place: who sits there, and when it is started again. Time comes in as an argument."""

from collections.abc import Callable

from ringmill.cli.children import Child

RESTART_FIRST_S = 0.2
RESTART_MAX_S = 10.0
STEADY_S = 10.0
"""A child that ran this long has proved itself: its next death is taken for its first."""


def restart_pause_s(failures: int) -> float:
    """Pause before the next start after this many failures in a row: none after the first, then doubling."""
    return 0.0 if failures <= 1 else min(RESTART_FIRST_S * 2.0 ** (failures - 2), RESTART_MAX_S)


class Seat:
    """One name's process. `check` starts it again when it is due, and tells what became of it."""

    def __init__(self, name: str, spawn: Callable[[], Child]) -> None:
        self.name = name
        self.child: Child | None = None
        self.wanted = True
        """Whether it is started again when it ends."""
        self.failures = 0
        """In a row."""
        self.last_error = ""
        """Why it last ended."""
        self._spawn = spawn
        self._started_s = 0.0
        self._start_at_s = 0.0
        self._starts = 0
        self._is_awaited = False
        """Started by `check`, and not yet ready."""

    @property
    def has_ended(self) -> bool:
        """Whether its process is over and `check` has not been told yet."""
        return self.child is not None and self.child.exit_status() is not None

    @property
    def is_over(self) -> bool:
        """Whether nobody sits here, and nobody is to."""
        return self.child is None and not self.wanted

    def start(self, now_s: float) -> Child:
        """Starts the process."""
        self.child = self._spawn()
        self._started_s = now_s
        self._starts += 1
        return self.child

    def check(self, now_s: float) -> str:
        """Starts the process again if it is due. Returns what is new, in words; empty: nothing."""
        if self.child is None:
            if self.wanted and now_s >= self._start_at_s:
                self.start(now_s)
                self._is_awaited = True
            return ""
        status = self.child.exit_status()
        return self._welcome(self.child) if status is None else self._end(self.child, status, now_s)

    def _welcome(self, child: Child) -> str:
        """Tells once that a process is there."""
        if not self._is_awaited or child.ready is None:
            return ""
        self._is_awaited = False
        return f"{'is back' if self._starts > 1 else 'has joined'}, process {child.pid}"

    def _end(self, child: Child, status: int, now_s: float) -> str:
        self.child = None
        self.last_error = child.why(status)
        why = child.why(status)
        if not self.wanted:
            return "was let go" if status == 0 else why
        if status == 0 and child.ready is not None:  # asked to, as in a rolling restart
            self.failures, self._start_at_s = 0, now_s
            return "left in good order; starting it anew"
        steady = child.ready is not None and now_s - self._started_s > STEADY_S
        self.failures = 1 if steady else self.failures + 1
        pause_s = restart_pause_s(self.failures)
        self._start_at_s = now_s + pause_s
        return f"{why}; starting it again" + (f" in {pause_s:.1f} s" if pause_s else "")
