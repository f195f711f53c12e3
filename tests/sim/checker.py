"""The pipeline of the simulator: each key keeps the list of its events, and each outcome names its place in it."""

from typing import NamedTuple

from ringmill.pipeline import Event, Pipeline, State
from ringmill.pipeline.fields import Array, array
from ringmill.pipeline.operators import operator

KEPT = 96
"""Events of a key whose names stand in its state; the digest covers the others too."""
PRODUCER_SHIFT = 20
"""An event's name: producer << 20 | number."""
MODULUS = 2**43 - 57
FACTOR = 2**19 - 1


class Told(Event):
    """One event: who sent it, and its number among all of that sender's."""

    name: int


class Chain(State):
    """All events of a key."""

    count: int = 0
    digest: int = 0
    names: Array = array(96, fill=0)


class Place(NamedTuple):
    """Where an event stands."""

    count: int
    digest: int


@operator
def _chain(state: Chain, event: Told) -> Place:
    if state.count < 96:
        state.names[state.count] = event.name
    state.count += 1
    state.digest = (state.digest * 524287 + event.name) % 8796093022151
    return Place(state.count, state.digest)


def chained(digest: int, name: int) -> int:
    """The digest after one more event, in plain Python."""
    return (digest * FACTOR + name) % MODULUS


pipeline = Pipeline("checker", version="1.0.0", event=Told, steps={"place": _chain()})
