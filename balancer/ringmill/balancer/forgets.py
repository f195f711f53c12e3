"""Has workers forget producers: a pure state machine.

Whoever serves a partition is told until it has said that it and its copies have forgotten; a new view may have other
primaries, so that all are told again. A row that was missed would stay in the ledgers of a worker until they are full.
"""

from collections import deque
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ringmill.balancer.routing import Routing
from ringmill.balancer.sessions import Identity, Sessions
from ringmill.core.maglev import NOBODY
from ringmill.internal.v1.link_pb2 import JoinResponse, Open

NUMBERS = 1 << 63
"""Opens that only forget are numbered above this, and all others below."""

BATCH_MAX = 1024
"""Producers that are forgotten with one message: a worker looks for each of them in all of its rows."""

WAITING_MAX = 1 << 16
"""Of more that nobody could be told of, the oldest are left to the floor."""


class Gone(NamedTuple):
    """A producer that is to be forgotten."""

    producer: int
    touched: bytes
    """A bit for each partition that may know it; nothing: any may."""


class Forgets:
    """All producers that some worker may still know, and none is to."""

    def __init__(self, routing: Routing, sessions: Sessions) -> None:
        """sessions: whoever is back there is not forgotten any more."""
        self._routing = routing
        self._sessions = sessions
        self._waiting: deque[Gone] = deque(maxlen=WAITING_MAX)
        self._batch: list[Gone] = []
        """Those that workers are being told of."""
        self._absent: deque[Gone] = deque(maxlen=WAITING_MAX)
        """Those that may be known where nobody served when the others were told."""
        self._asks: set[int] = set()
        """Numbers of the Opens without an answer."""
        self._under_way = self._whole = False
        self._has_floor = False
        """Whether there may be a floor by now."""
        self._floor_due = False
        """Whether those below the floor are to be forgotten although nobody else is."""
        self._last = NUMBERS

    def add(self, identities: Iterable[Identity]) -> None:
        """Nobody uses these any more."""
        for each in identities:
            touched = b"" if each.named else np.packbits(each.last != 0).tobytes()
            self._waiting.append(Gone(each.producer, touched))

    def pump(self, now_ns: int) -> None:
        """Tells of the next ones, if the last are done with."""
        may_have = self._sessions.may_have_floor(now_ns)
        self._floor_due |= may_have and not self._has_floor
        self._has_floor = may_have
        if self._under_way or not (self._waiting or (self._floor_due and self._sessions.floor())):
            return
        waiting = self._waiting
        self._batch = [waiting.popleft() for _ in range(min(len(waiting), BATCH_MAX))]
        self._ask()

    def ask_again(self) -> None:
        """Tells the primaries of a new view, or over new links."""
        if self._absent:
            self._waiting.extend(self._absent)
            self._absent.clear()
            self._floor_due = self._has_floor
        if self._under_way:
            self._ask()

    def answered(self, number: int) -> bool:
        """Takes a worker's answer, if it is one to this."""
        if number <= NUMBERS:
            return False
        if number in self._asks:
            self._asks.discard(number)
            self._look()
        return True

    def _ask(self) -> None:
        self._asks.clear()
        self._under_way = self._whole = True
        self._batch = [each for each in self._batch if not self._sessions.knows(each.producer)]
        forget = [each.producer for each in self._batch]
        floor = self._sessions.floor() if self._has_floor else 0
        self._floor_due &= not floor
        for outbox in self._routing.primaries():
            if outbox is None:
                self._whole = False
                continue
            self._last += 1
            self._asks.add(self._last)
            ask = Open(id=self._last, floor=floor, forget=forget)
            outbox.say(JoinResponse(opens=[ask]).SerializeToString())
        self._look()

    def _look(self) -> None:
        """Is done with a batch when all have answered; who is away may know some of it when it is back."""
        if self._asks or not self._whole:
            return
        self._under_way = False
        unserved = self._routing.routes == NOBODY
        if unserved.any():
            absent = np.packbits(unserved)
            self._absent.extend(each for each in self._batch if _may_know(absent, each))
        self._sessions.gone(each.producer for each in self._batch)
        self._batch = []


def _may_know(partitions: npt.NDArray[np.uint8], gone: Gone) -> bool:
    """Whether one of these partitions, a bit each, may know it."""
    return not gone.touched or bool((partitions & np.frombuffer(gone.touched, np.uint8)).any())
