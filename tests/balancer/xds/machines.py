"""Clients of both variants that keep to the protocol, in memory: what they want, and what they have come to hold."""

import random
from collections.abc import Sequence

from ringmill.balancer.xds.delta import Delta
from ringmill.balancer.xds.requests import Answer, Ask, DeltaAsk
from ringmill.balancer.xds.resources import COMPLETE, TYPES, Resource, Snapshot
from ringmill.balancer.xds.state_of_the_world import StateOfTheWorld

Content = dict[str, dict[str, str]]
"""Versions by type and name."""


def snapshot(content: Content, unlisted: Sequence[str] = ()) -> Snapshot:
    return Snapshot.of(
        {
            kind: {
                name: Resource(name, version, b"", b"", listed=name not in unlisted) for name, version in each.items()
            }
            for kind, each in content.items()
        }
    )


class WholeClient:
    """Speaks state of the world, as Envoy and gRPC do."""

    def __init__(self, server: StateOfTheWorld, chance: random.Random) -> None:
        self.server = server
        self.wants: dict[str, set[str]] = {}
        """Names by type; "*" is everything."""
        self.has: Content = {kind: {} for kind in TYPES}
        self.inbox: list[Answer] = []
        self.nonces: dict[str, str] = {}
        self.taken: dict[str, str] = {}
        self.heard: list[Answer] = []
        self._chance = chance

    def want(self, kind: str, names: set[str]) -> None:
        old = kind in COMPLETE and kind not in self.wants and self._chance.random() < 0.5
        self.wants[kind] = names
        self._say(kind, () if old and names == {"*"} else tuple(sorted(names)))

    def hear(self, refuse: bool = False) -> None:
        answer = self.inbox.pop(0)
        self.heard.append(answer)
        kind, names = answer.type_url, self.wants[answer.type_url]
        self.nonces[kind] = answer.nonce
        if not refuse:
            self.taken[kind] = answer.version
            wanted = {each.name: each.version for each in answer.resources if "*" in names or each.name in names}
            self.has[kind] = wanted if kind in COMPLETE else self.has[kind] | wanted
        self._say(kind, tuple(sorted(names)), "no" if refuse else "")

    def publish(self, snapshot: Snapshot) -> None:
        self.inbox += self.server.publish(snapshot)

    def _say(self, kind: str, names: tuple[str, ...], error: str = "") -> None:
        ask = Ask(kind, names, self.nonces.get(kind, ""), self.taken.get(kind, ""), error)
        self.inbox += self.server.ask(ask)
        for name in [name for name in self.has[kind] if "*" not in self.wants[kind] and name not in self.wants[kind]]:
            del self.has[kind][name]


class DeltaClient:
    """Speaks delta."""

    def __init__(self, server: Delta, chance: random.Random) -> None:
        self.server = server
        self.wants: dict[str, set[str]] = {}
        self.has: Content = {kind: {} for kind in TYPES}
        self.inbox: list[Answer] = []
        self.heard: list[Answer] = []
        self._chance = chance

    def want(self, kind: str, names: set[str]) -> None:
        first, before = kind not in self.wants, self.wants.get(kind, set())
        self.wants[kind] = set(names)
        subscribe, unsubscribe = tuple(sorted(names - before)), tuple(sorted(before - names))
        if first and kind in COMPLETE and names == {"*"} and self._chance.random() < 0.5:
            subscribe = ()
        # What is no longer wanted is thrown away; by name, even where it may still be among everything.
        for name in list(self.has[kind]):
            if name in unsubscribe or ("*" not in names and name not in names):
                del self.has[kind][name]
        self.inbox += self.server.ask(DeltaAsk(kind, subscribe, unsubscribe))

    def hear(self, refuse: bool = False) -> None:
        answer = self.inbox.pop(0)
        self.heard.append(answer)
        kind, names = answer.type_url, self.wants[answer.type_url]
        if not refuse:
            self.has[kind] |= {
                each.name: each.version for each in answer.resources if "*" in names or each.name in names
            }
            for name in answer.removed:
                self.has[kind].pop(name, None)
        self.inbox += self.server.ask(DeltaAsk(kind, nonce=answer.nonce, error="no" if refuse else ""))

    def publish(self, snapshot: Snapshot) -> None:
        self.inbox += self.server.publish(snapshot)
