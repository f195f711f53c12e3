"""One stream of the delta variant: a client says what it wants more and less of, and is sent what has changed."""

from collections.abc import Iterable, Mapping

from ringmill.balancer.xds.requests import Answer, DeltaAsk, Verdict
from ringmill.balancer.xds.resources import ASSIGNMENT, CLUSTER, COMPLETE, TYPES, Resource, Snapshot
from ringmill.balancer.xds.state_of_the_world import WILDCARD


class _Subscription:
    """What a stream wants of one type, and has."""

    def __init__(self, known: Mapping[str, str]) -> None:
        self.names: set[str] = set()
        self.wildcard = False
        self.held = dict(known)
        """Versions of what the client has, or was sent, by name."""
        self.doubted: set[str] = set()
        """Names that it must be told of though they are not there, or not for it: it cannot know."""
        self.due = True
        """Whether it must be told something, be it nothing: the first answer ends its waiting."""
        self.nonce = ""
        self.awaited = False
        self.version = ""
        self.sent: tuple[str, ...] = ()
        """Names in the newest response, and of them those that came with content."""
        self.offered: tuple[str, ...] = ()

    def taken(self) -> None:
        """The newest response was. What the client did not want for a moment while it was on its way, it has, too."""
        again = [name for name in self.offered if self.wildcard or name in self.names]
        self.held = dict.fromkeys(again, "") | self.held

    def wants(self, resource: Resource) -> bool:
        return resource.name in self.names or (self.wildcard and resource.listed)


class Delta:
    """One stream. Hand it requests and snapshots, and send what it answers, in order.

    As in the other variant, at most one response of a type is out, and types wait for those before them.
    """

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot
        self._subscriptions: dict[str, _Subscription] = {}
        self._nonces = 0
        self.verdicts: list[Verdict] = []
        """What the client made of responses; for who looks, to be cleared."""

    def ask(self, ask: DeltaAsk) -> list[Answer]:
        """Hears a request. Unlike in the other variant it counts whatever response it answers: it is a change."""
        if ask.type_url not in TYPES:
            return []
        subscription = self._subscriptions.get(ask.type_url)
        if subscription is None:
            subscription = self._subscriptions[ask.type_url] = _Subscription(ask.known)
            subscription.wildcard = not ask.subscribe and ask.type_url in COMPLETE
            self._subscribe(subscription, ask.subscribe, first=True)
        else:
            self._subscribe(subscription, ask.subscribe)
        self._unsubscribe(subscription, ask.unsubscribe)
        if subscription.awaited and ask.nonce == subscription.nonce:
            subscription.awaited = False
            if not ask.error:
                subscription.taken()
            self.verdicts.append(Verdict(ask.type_url, subscription.version, subscription.sent, ask.error))
        return self._send()

    def publish(self, snapshot: Snapshot) -> list[Answer]:
        """Takes a newer snapshot."""
        self._snapshot = snapshot
        return self._send()

    def _subscribe(self, subscription: _Subscription, names: Iterable[str], first: bool = False) -> None:
        for name in names:
            if name == WILDCARD:
                subscription.due |= not subscription.wildcard
                subscription.wildcard = True
                continue
            subscription.names.add(name)
            subscription.doubted.add(name)
            if not first:
                subscription.held.pop(name, None)  # wanted again: the client may have thrown it away

    def _unsubscribe(self, subscription: _Subscription, names: Iterable[str]) -> None:
        for name in names:
            if name == WILDCARD:
                subscription.wildcard = False
                for held in [held for held in subscription.held if held not in subscription.names]:
                    del subscription.held[held]
                continue
            subscription.names.discard(name)
            subscription.doubted.discard(name)
            subscription.held.pop(name, None)
            if subscription.wildcard:
                subscription.doubted.add(name)  # it may still be among everything: the client cannot know

    def _send(self) -> list[Answer]:
        answers = []
        for type_url in TYPES:
            subscription = self._subscriptions.get(type_url)
            if subscription is None:
                continue
            changed, gone = self._news(subscription, type_url)
            if not changed and not gone and not (subscription.due and type_url in COMPLETE):
                continue
            if subscription.awaited:
                break
            answers.append(self._answer(subscription, changed, gone, type_url))
        return answers

    def _news(self, subscription: _Subscription, type_url: str) -> tuple[list[str], list[str]]:
        """Names of what the client lacks, and of what it has, or asked for, that is not there."""
        there = self._snapshot.kind(type_url)
        wanted = [name for name, each in there.items() if subscription.wants(each)]
        changed = [name for name in wanted if subscription.held.get(name) != there[name].version]
        return changed, sorted((subscription.held.keys() - there.keys()) | (subscription.doubted - set(wanted)))

    def _answer(self, subscription: _Subscription, changed: list[str], gone: list[str], type_url: str) -> Answer:
        there = self._snapshot.kind(type_url)
        if type_url == CLUSTER:
            self._resend_assignments([name for name in changed if name in subscription.held])
        for name in gone:
            subscription.held.pop(name, None)
        subscription.held |= {name: there[name].version for name in changed}
        subscription.doubted.clear()
        self._nonces += 1
        subscription.nonce = str(self._nonces)
        subscription.version = self._snapshot.versions[type_url]
        subscription.sent, subscription.offered = (*changed, *gone), tuple(changed)
        subscription.awaited, subscription.due = True, False
        resources = tuple(there[name] for name in changed)
        return Answer(type_url, subscription.version, subscription.nonce, resources, tuple(gone))

    def _resend_assignments(self, clusters: Iterable[str]) -> None:
        """A cluster that has changed is made anew, and waits for its members, whom the client may not ask for again."""
        subscription = self._subscriptions.get(ASSIGNMENT)
        if subscription is not None:
            # Another version, not none: should they be gone, it must be told so.
            subscription.held |= dict.fromkeys(subscription.held.keys() & set(clusters), "")
