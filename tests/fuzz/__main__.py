"""Fuzzes the codec against the official library: python -m tests.fuzz --cases 10000000 --seed 1 --minutes 30.

Ends with status 1 and the message in hex at the first difference; the same seed gives the same messages. An access
outside a buffer raises IndexError in every build, and so ends it too.
"""

import argparse
import sys
import time
from typing import Protocol

from tests.fuzz.check import PARTS, Checker
from tests.fuzz.client import ClientChecker, ResponseGenerator
from tests.fuzz.generate import Generator


class _Checker(Protocol):
    accepted: int
    events: int

    def check(self, message: bytes) -> None: ...


def main() -> int:
    """Runs cases until one fails, or all are done, or the time is over."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--codec", choices=("both", "server", "client"), default="both", help="whose messages")
    parser.add_argument("--parts", nargs="*", choices=PARTS, default=PARTS, help="of the server's, beside its scanner")
    parser.add_argument("--cases", type=int, default=100_000, help="messages to try with each codec")
    parser.add_argument("--seed", type=int, default=1, help="seed of the generator")
    parser.add_argument("--minutes", type=float, default=60.0, help="stop after this time, for each codec")
    options = parser.parse_args()
    status = 0
    if options.codec != "client":
        checker = Checker(options.seed, options.parts)
        status = _fuzz("server", Generator(options.seed), checker, options.cases, options.seed, options.minutes)
    if options.codec != "server":
        client, responses = ClientChecker(options.seed), ResponseGenerator(options.seed)
        status = max(status, _fuzz("client", responses, client, options.cases, options.seed, options.minutes))
    return status


def _fuzz(codec: str, generator: Generator, checker: _Checker, cases: int, seed: int, minutes: float) -> int:
    started = time.monotonic()
    done = 0
    while done < cases and time.monotonic() - started < minutes * 60:
        for _ in range(min(50_000, cases - done)):
            message = generator.case()
            try:
                checker.check(message)
            except Exception as error:
                print(f"{codec}: case {done}, seed {seed}: {error!r}\n{message.hex()}", file=sys.stderr)
                raise
            done += 1
        seconds = time.monotonic() - started
        print(
            f"{codec}: {done:,} cases in {seconds:.0f} s ({done / seconds:,.0f}/s): "
            f"{checker.accepted:,} accepted with {checker.events:,} events, no difference",
            flush=True,
        )
    return 0 if done == cases else 2


if __name__ == "__main__":
    sys.exit(main())
