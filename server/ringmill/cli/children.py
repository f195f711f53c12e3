"""A child process and the lines it prints."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from selectors import EVENT_READ, DefaultSelector
from typing import IO, Any

from ringmill.cli.process import PARENT_VARIABLE

_READ_BYTES = 1 << 16


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a child: a report (JSON on its standard output), or text for people."""

    child: str
    text: str = ""
    report: dict[str, Any] = field(default_factory=dict)


PROGRAM = (sys.executable, "-m", "ringmill.cli.main")
"""What children run: this very command line."""


class Child:
    """One process of ours.

    It leads a process group of its own, so that Ctrl-C reaches only the parent, which then stops children in order.
    """

    def __init__(self, name: str, arguments: Sequence[str], program: Sequence[str] = PROGRAM) -> None:
        self.name = name
        self.ready: dict[str, Any] | None = None
        """What it said when it was ready."""
        self.last_error = ""
        """The last error that it told in a line for people."""
        self.last_words = ""
        """Of its last traceback the last line: the exception."""
        self._is_traceback = False
        self._process = subprocess.Popen(
            [*program, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, PARENT_VARIABLE: str(os.getpid()), "PYTHONUNBUFFERED": "1"},
            process_group=0,
        )

    @property
    def pid(self) -> int:
        """Process id, for people who want to look."""
        return self._process.pid

    @property
    def pipes(self) -> tuple[IO[bytes], IO[bytes]]:
        """Standard output and standard error."""
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        return self._process.stdout, self._process.stderr

    def exit_status(self) -> int | None:
        """How it ended: None while it runs, minus the signal's number when a signal ended it."""
        return self._process.poll()

    def terminate(self) -> None:
        """Asks it to drain and leave."""
        if self._process.poll() is None:
            self._process.terminate()

    def kill(self) -> None:
        """Ends it now."""
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()

    def why(self, status: int) -> str:
        """Why it ended: its own words if it chose to, or crashed; else how."""
        if status <= 0:
            return how_it_ended(status)
        return self.last_error or f"{how_it_ended(status)}{f' ({self.last_words})' if self.last_words else ''}"

    def hear(self, line: str, is_output: bool) -> Line:
        """Understands one line that it printed."""
        if is_output and line.startswith("{"):
            try:
                report = json.loads(line)
            except ValueError:
                return Line(self.name, line)
            if report.get("event") == "ready":
                self.ready = report
            return Line(self.name, report=report)
        if not is_output:
            self._is_traceback |= line.startswith("Traceback (")
            self.last_words = line if self._is_traceback else ""
        if line.startswith("error: "):
            self.last_error = line.removeprefix("error: ")
        return Line(self.name, line)


def how_it_ended(status: int) -> str:
    """An exit status for people."""
    if status >= 0:
        return f"exited with status {status}"
    try:
        return f"was killed by {signal.Signals(-status).name}"
    except ValueError:
        return f"was killed by signal {-status}"


class Ears:
    """Listens to the pipes of all children at once and cuts what comes into lines."""

    def __init__(self) -> None:
        self._selector = DefaultSelector()

    def add(self, child: Child) -> None:
        """Listens to a child until it closes its pipes."""
        output, errors = child.pipes
        for pipe in (output, errors):
            os.set_blocking(pipe.fileno(), False)
            self._selector.register(pipe, EVENT_READ, _cutter(child, pipe is output))

    def listen(self, timeout_s: float) -> list[Line]:
        """Waits for lines, at most this long."""
        heard: list[Line] = []
        for key, _ in self._selector.select(timeout_s):
            data = os.read(key.fd, _READ_BYTES)
            heard += key.data(data)
            if not data:
                self._selector.unregister(key.fileobj)
        return heard

    def close(self) -> None:
        """Stops listening."""
        self._selector.close()


def _cutter(child: Child, is_output: bool) -> Callable[[bytes], list[Line]]:
    rest = b""

    def cut(data: bytes) -> list[Line]:
        nonlocal rest
        *whole, rest = (rest + data).split(b"\n") if data else (rest, b"")
        return [child.hear(line.decode(errors="replace"), is_output) for line in whole if line.strip()]

    return cut
