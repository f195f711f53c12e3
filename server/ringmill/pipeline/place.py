"""Where in the user's own files something stands, so that every message can name it."""

import linecache
import re
import sys
from dataclasses import dataclass
from pathlib import Path

from ringmill.core.errors import Code, RingmillError

_OWN_PACKAGE = "ringmill.pipeline"


@dataclass(frozen=True, slots=True)
class Place:
    """A line of a file."""

    file: str
    line: int

    def __str__(self) -> str:
        path = Path(self.file)
        if path.is_absolute() and path.is_relative_to(Path.cwd()):
            path = path.relative_to(Path.cwd())
        return f"{path}:{self.line}"

    def of_field(self, name: str) -> "Place":
        """The line of an annotated field below this line, where a class begins; this line if it is not found."""
        pattern = re.compile(rf"\s+{re.escape(name)}\s*:")
        lines = linecache.getlines(self.file)
        for line in range(self.line + 1, len(lines) + 1):
            if pattern.match(lines[line - 1]):
                return Place(self.file, line)
        return self


def caller() -> Place:
    """The line of the nearest caller outside this package: the user's own."""
    frame = sys._getframe(1)
    while frame.f_back is not None and str(frame.f_globals.get("__name__", "")).startswith(_OWN_PACKAGE):
        frame = frame.f_back
    return Place(frame.f_code.co_filename, frame.f_lineno)


def wrong(place: Place, message: str) -> RingmillError:
    """An error in the user's code: where, what is wrong, and what to write instead."""
    return RingmillError(Code.INVALID_ARGUMENT, f"{place}: {message}")
