"""The pipelines that chaos runs on: a history for each key, of which every outcome names its place, and plain readings.

An operator appends (producer, sequence) to its key's history and returns the history's length and a rolling hash of all
of it. So each acknowledgement says which place its event took, and what stands before it.
"""

from typing import NamedTuple

from ringmill.loadtest.app import readings
from ringmill.pipeline import Event, Pipeline, State, operator

__all__ = ["history", "readings"]


class Entry(Event):
    """Who sent it, and the sender's own number for it."""

    producer: int
    sequence: int


class History(State):
    """All entries of a key, in the order in which they were applied."""

    length: int = 0
    digest: int = 0


class Place(NamedTuple):
    """Where an entry stands, from 1, and the digest of everything up to it."""

    length: int
    digest: int


def mix(producer: int, sequence: int) -> int:
    """A number for an entry; 64 bits that wrap around."""
    mixed = producer * 7046029254386353131 + sequence * 1609587929392839161
    mixed ^= mixed >> 29
    mixed *= 5871781006564002453
    return mixed ^ (mixed >> 32)


@operator
def append(state: History, event: Entry) -> Place:
    """Appends the entry. The digest is linear in what came before, so that one missing entry can be solved for."""
    state.length += 1
    state.digest = state.digest * 6364136223846793005 + mix(event.producer, event.sequence)
    return Place(state.length, state.digest)


history = Pipeline("history", version="1.0.0", event=Entry, steps={"place": append()})
