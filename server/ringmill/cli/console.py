"""What the commands print: results on standard output, errors and logs on standard error."""

import json
import sys
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console


@cache
def out() -> "Console":
    """The console for what a command is asked for. Made on first use: importing rich costs 40 ms."""
    from rich.console import Console

    return Console(highlight=False, soft_wrap=True)


def error(message: str) -> None:
    """Prints one line on standard error. Line breaks inside the message are folded, so that it stays one."""
    line = " ".join(part.strip() for part in message.splitlines() if part.strip())
    sys.stderr.write(f"error: {line}\n")
    sys.stderr.flush()


def report(event: str, **fields: Any) -> None:
    """Prints one line of JSON on standard output: how a child process tells `ringmill up` of its state."""
    sys.stdout.write(json.dumps({"event": event, **fields}) + "\n")
    sys.stdout.flush()


def count(number: float) -> str:
    """A count for people: 950, 12.3 k, 4.56 M."""
    for bound, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(number) >= bound:
            return f"{number / bound:.3g} {unit}" if abs(number) < 999.5 * bound else f"{number / bound:.0f} {unit}"
    return f"{number:.0f}"


def size(number: float) -> str:
    """Bytes for people: 512 B, 1.5 MiB."""
    for bound, unit in ((1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")):
        if number >= bound:
            return f"{number / bound:.1f} {unit}"
    return f"{number:.0f} B"


def seconds(number: float) -> str:
    """A duration for people: 81 us, 3.2 ms, 1.25 s."""
    if number < 1e-3:
        return f"{number * 1e6:.0f} us"
    if number < 1:
        return f"{number * 1e3:.3g} ms"
    return f"{number:.3g} s"
