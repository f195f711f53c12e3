"""The pacer wakes a loop: in order, never early, and no more once it is closed."""

import sys
import time

from ringmill.loadtest.runner.pacer import pacer
from ringmill.transport import make_loop


def test_a_callback_runs_on_the_loop_and_never_before_its_moment() -> None:
    loop = make_loop()
    ran: list[tuple[int, int]] = []
    usual_s = sys.getswitchinterval()
    with pacer(loop) as pace:

        def step(at_ns: int) -> None:
            ran.append((at_ns, time.monotonic_ns()))
            if len(ran) < 20:
                following_ns = at_ns + (0 if len(ran) % 5 == 0 else 1_000_000)  # also one that is due already
                pace.call_at(following_ns, lambda: step(following_ns))

        first_ns = time.monotonic_ns() + 1_000_000
        pace.call_at(first_ns, lambda: step(first_ns))
        assert loop.run_until(lambda: len(ran) == 20, 60.0)
        pace.call_at(time.monotonic_ns() + 3_600_000_000_000, lambda: step(0))
    assert all(at_ns <= ran_ns for at_ns, ran_ns in ran)
    assert sys.getswitchinterval() == usual_s
    assert not loop.run_until(lambda: len(ran) > 20, 0.01)
