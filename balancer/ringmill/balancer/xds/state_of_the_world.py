"""One stream of the state-of-the-world variant: what a client wants of each type, and what it is sent, and when.

Each response of a type holds all that is wanted of it (of clusters and listeners), or at least all that has changed (of
the rest: here it is all that is wanted as well). At most one response of a type is out: what changes until it is
acknowledged or refused goes into the next, so a slow client is sent the newest and nothing in between. Types wait for
those before them, in the order of `TYPES`: no route is sent to a client that has yet to hear of its cluster.
"""

from collections.abc import Mapping

from ringmill.balancer.xds.requests import Answer, Ask, Verdict
from ringmill.balancer.xds.resources import ASSIGNMENT, CLUSTER, COMPLETE, TYPES, Resource, Snapshot

WILDCARD = "*"


class _Subscription:
    """What a stream wants of one type, and was sent."""

    def __init__(self) -> None:
        self.names: frozenset[str] = frozenset()
        self.wildcard = False
        self.due = False
        """Whether something must be sent even if nothing has changed."""
        self.nonce = ""
        self.awaited = False
        """Whether the newest response has been neither acknowledged nor refused."""
        self.version = ""
        """Of the newest response."""
        self.sent: Mapping[str, str] = {}
        """Versions in the newest response, by name."""

    def wants(self, snapshot: Snapshot, type_url: str) -> list[Resource]:
        """What there is of what is wanted."""
        there = snapshot.kind(type_url)
        return [each for name, each in there.items() if name in self.names or (self.wildcard and each.listed)]


class StateOfTheWorld:
    """One stream. Hand it requests and snapshots, and send what it answers, in order."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot
        self._subscriptions: dict[str, _Subscription] = {}
        self._nonces = 0
        self.verdicts: list[Verdict] = []
        """What the client made of responses; for who looks, to be cleared."""

    def ask(self, ask: Ask) -> list[Answer]:
        """Hears a request."""
        if ask.type_url not in TYPES:
            return []  # it asks for everything that it knows, and may well know more than there is here
        first = ask.type_url not in self._subscriptions
        subscription = self._subscriptions.setdefault(ask.type_url, _Subscription())
        if not first and ask.nonce != subscription.nonce:
            return []  # it crossed a newer response, and will be said again in answer to that one
        if subscription.awaited:
            subscription.awaited = False
            self.verdicts.append(
                Verdict(ask.type_url, subscription.version, tuple(sorted(subscription.sent)), ask.error)
            )
        self._subscribe(subscription, ask, first)
        return self._send()

    def publish(self, snapshot: Snapshot) -> list[Answer]:
        """Takes a newer snapshot."""
        self._snapshot = snapshot
        return self._send()

    def _subscribe(self, subscription: _Subscription, ask: Ask, first: bool) -> None:
        names = frozenset(ask.names)
        # The old way of wanting everything is to name nothing, before anything was ever named.
        unnamed = not names and (first or (subscription.wildcard and not subscription.names))
        wildcard = WILDCARD in names or (unnamed and ask.type_url in COMPLETE)
        names -= {WILDCARD}
        more = bool(names - subscription.names) or (wildcard and not subscription.wildcard)
        subscription.names, subscription.wildcard = names, wildcard
        subscription.due |= more or first  # what is wanted again may have been thrown away meanwhile

    def _send(self) -> list[Answer]:
        answers = []
        for type_url in TYPES:
            subscription = self._subscriptions.get(type_url)
            if subscription is None:
                continue
            wanted = subscription.wants(self._snapshot, type_url)
            if not self._is_due(subscription, wanted, type_url):
                continue
            if subscription.awaited:
                break
            answers.append(self._answer(subscription, wanted, type_url))
        return answers

    def _is_due(self, subscription: _Subscription, wanted: list[Resource], type_url: str) -> bool:
        if type_url not in COMPLETE:
            # Nothing can be said of what is not there: such a client waits until it is.
            if not wanted:
                return False
            changed = any(subscription.sent.get(each.name) != each.version for each in wanted)
        else:
            changed = {each.name: each.version for each in wanted} != subscription.sent
        return subscription.due or changed

    def _answer(self, subscription: _Subscription, wanted: list[Resource], type_url: str) -> Answer:
        before, subscription.sent = subscription.sent, {each.name: each.version for each in wanted}
        self._nonces += 1
        subscription.nonce = str(self._nonces)
        subscription.version = self._snapshot.versions[type_url]
        subscription.awaited, subscription.due = True, False
        if type_url == CLUSTER:
            self._resend_assignments(before, subscription.sent)
        return Answer(type_url, subscription.version, subscription.nonce, tuple(wanted))

    def _resend_assignments(self, before: Mapping[str, str], now: Mapping[str, str]) -> None:
        """A cluster that has changed is made anew, and waits for its members, whom the client may not ask for again."""
        subscription = self._subscriptions.get(ASSIGNMENT)
        if subscription is not None and any(version != before[name] for name, version in now.items() if name in before):
            subscription.due = True
