"""A limit to a rate, with bursts: the token bucket."""

from typing import NamedTuple

from ringmill.pipeline.fields import Event, Input, State
from ringmill.pipeline.operators import Step, operator
from ringmill.pipeline.ops.parameters import checked_number

SECOND_US = 1e6


class Drawn(State):
    """16 bytes. What has been drawn from a full bucket and has not flowed back."""

    drawn: float = 0.0
    newest_us: int = 0


class Bucket(NamedTuple):
    """Whether the event may pass, and the tokens left after it."""

    allowed: bool
    tokens: float


def draw(state: Drawn, time_us: int, cost: float, rate: float, burst: float) -> Bucket:
    """Lets flow back what has by this time, and draws the cost if it is there."""
    if not cost >= 0.0:
        raise ValueError("a cost that is negative or missing")
    if time_us > state.newest_us:
        state.drawn = max(0.0, state.drawn - (time_us - state.newest_us) * rate / SECOND_US)
        state.newest_us = time_us
    allowed = state.drawn + cost <= burst
    if allowed:
        state.drawn += cost
    return Bucket(allowed, burst - state.drawn)


@operator
def _bucket_of_events(state: Drawn, event: Event, rate: float, burst: float) -> Bucket:
    return draw(state, event.time_us, 1.0, rate, burst)


@operator
def _bucket_of_costs(state: Drawn, event: Event, cost: Input, rate: float, burst: float) -> Bucket:
    return draw(state, event.time_us, cost, rate, burst)


def token_bucket(rate: float, burst: float, cost: str | None = None) -> Step:
    """Whether an event may pass a limit of `rate` a second with bursts of `burst`, and the tokens that are left.

    The bucket is full at the key's first event, and refills by event time; what passes takes 1 token, or the value of
    `cost`, and what does not takes none. An event older than the newest finds the bucket as it is. A cost that is
    negative or missing is rejected. State: 16 bytes. Needs event times. Does not merge.
    Source: Turner, "New directions in communications", IEEE Communications 24 (1986); RFC 2697, section 3.
    """
    rate = checked_number("token_bucket", "rate", rate, above=0.0)
    burst = checked_number("token_bucket", "burst", burst, above=0.0)
    if cost is None:
        return _bucket_of_events(rate=rate, burst=burst)
    return _bucket_of_costs(cost, rate=rate, burst=burst)
