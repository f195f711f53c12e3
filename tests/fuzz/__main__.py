"""Fuzzes the codec against the official library: python -m tests.fuzz --cases 10000000 --seed 1 --minutes 30.

Ends with status 1 and the request in hex at the first difference; the same seed gives the same requests. An access
outside a buffer raises IndexError in every build, and so ends it too.
"""

import argparse
import sys
import time

from tests.fuzz.check import Checker
from tests.fuzz.generate import Generator


def main() -> int:
    """Runs cases until one fails, or all are done, or the time is over."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--cases", type=int, default=100_000, help="requests to try")
    parser.add_argument("--seed", type=int, default=1, help="seed of the generator")
    parser.add_argument("--minutes", type=float, default=60.0, help="stop after this time")
    options = parser.parse_args()
    generator, checker = Generator(options.seed), Checker(options.seed)
    started = time.monotonic()
    done = 0
    while done < options.cases and time.monotonic() - started < options.minutes * 60:
        for _ in range(min(50_000, options.cases - done)):
            message = generator.case()
            try:
                checker.check(message)
            except Exception as error:
                print(f"case {done}, seed {options.seed}: {error!r}\n{message.hex()}", file=sys.stderr)
                raise
            done += 1
        seconds = time.monotonic() - started
        print(
            f"{done:,} cases in {seconds:.0f} s ({done / seconds:,.0f}/s): "
            f"{checker.accepted:,} accepted with {checker.events:,} events, no difference",
            flush=True,
        )
    return 0 if done == options.cases else 2


if __name__ == "__main__":
    sys.exit(main())
