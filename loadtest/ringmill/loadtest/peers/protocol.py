"""How a process of the benchmark talks to it: lines of JSON, commands on stdin and answers on stdout.

Every such process ends when its stdin closes, so none outlives the benchmark, however that ends.
"""

import json
import sys
from collections.abc import Callable, Mapping
from typing import Any

Answer = Mapping[str, Any]


def say(answer: Answer) -> None:
    """Writes one answer."""
    print(json.dumps(answer), flush=True)


def obey(commands: Mapping[str, Callable[..., Answer]]) -> None:
    """Says that it is ready, then answers commands until stdin closes."""
    say({"ready": True})
    for line in sys.stdin:
        order = json.loads(line)
        say(commands[order.pop("do")](**order))


def serve_until_end(**ready: Any) -> None:
    """Says that it is ready and where it listens, then waits until stdin closes: for servers that work in threads."""
    say({"ready": True, **ready})
    sys.stdin.read()
