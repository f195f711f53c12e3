"""Both subscription machines: what the protocol asks of a server, case by case and under a random client."""

import random
from collections.abc import Callable

import pytest

from ringmill.balancer.xds.delta import Delta
from ringmill.balancer.xds.requests import Answer, Ask, DeltaAsk, Verdict
from ringmill.balancer.xds.resources import ASSIGNMENT, CLUSTER, COMPLETE, LISTENER, ROUTES, TYPES
from ringmill.balancer.xds.state_of_the_world import StateOfTheWorld
from tests.balancer.xds.machines import Content, DeltaClient, WholeClient, snapshot

ONE: Content = {
    CLUSTER: {"a": "1"},
    ASSIGNMENT: {"a": "1"},
    LISTENER: {"l": "1"},
    ROUTES: {"r": "1"},
}


def names(answers: list[Answer]) -> list[tuple[str, list[str]]]:
    return [(each.type_url, [one.name for one in each.resources]) for each in answers]


def changed(content: Content, kind: str, **versions: str) -> Content:
    return content | {kind: content.get(kind, {}) | versions}


# State of the world


def test_naming_nothing_at_first_is_wanting_everything_and_later_nothing() -> None:
    server = StateOfTheWorld(snapshot(ONE))
    (first,) = server.ask(Ask(CLUSTER))
    assert names([first]) == [(CLUSTER, ["a"])]
    assert server.ask(Ask(CLUSTER, nonce=first.nonce, version=first.version)) == []
    (named,) = server.ask(Ask(CLUSTER, ("a",), first.nonce, first.version))
    assert names([named]) == [(CLUSTER, ["a"])]
    (nothing,) = server.ask(Ask(CLUSTER, (), named.nonce, named.version))
    assert names([nothing]) == [(CLUSTER, [])]


def test_what_must_be_asked_for_by_name_is_not_among_everything() -> None:
    whole = StateOfTheWorld(snapshot({LISTENER: {"l": "1", "hidden": "1"}}, unlisted=["hidden"]))
    assert names(whole.ask(Ask(LISTENER))) == [(LISTENER, ["l"])]
    delta = Delta(snapshot({LISTENER: {"l": "1", "hidden": "1"}}, unlisted=["hidden"]))
    (first,) = delta.ask(DeltaAsk(LISTENER))
    assert names([first]) == [(LISTENER, ["l"])]
    (named,) = delta.ask(DeltaAsk(LISTENER, ("hidden",), nonce=first.nonce))
    assert names([named]) == [(LISTENER, ["hidden"])]
    (without,) = delta.ask(DeltaAsk(LISTENER, (), ("hidden",), nonce=named.nonce))
    assert without.removed == ("hidden",), "it is there, but not for who only wants everything"


def test_an_acknowledged_version_is_not_sent_again() -> None:
    server = StateOfTheWorld(snapshot(ONE))
    (first,) = server.ask(Ask(CLUSTER))
    server.ask(Ask(CLUSTER, nonce=first.nonce, version=first.version))
    assert server.publish(snapshot(ONE)) == []
    assert server.verdicts == [Verdict(CLUSTER, first.version, ("a",))]


def test_a_refused_version_is_told_of_and_not_sent_again_until_it_changes() -> None:
    server = StateOfTheWorld(snapshot(ONE))
    (first,) = server.ask(Ask(LISTENER))
    assert server.ask(Ask(LISTENER, nonce=first.nonce, error="port is taken")) == []
    assert server.verdicts == [Verdict(LISTENER, first.version, ("l",), "port is taken")]
    assert server.publish(snapshot(ONE)) == []
    assert names(server.publish(snapshot(changed(ONE, LISTENER, l="2")))) == [(LISTENER, ["l"])]


def test_a_request_that_crossed_a_newer_response_is_not_answered() -> None:
    server = StateOfTheWorld(snapshot(ONE))
    (first,) = server.ask(Ask(ASSIGNMENT, ("a",)))
    server.ask(Ask(ASSIGNMENT, ("a",), first.nonce, first.version))
    (second,) = server.publish(snapshot(changed(ONE, ASSIGNMENT, a="2")))
    assert server.ask(Ask(ASSIGNMENT, ("a", "b"), first.nonce, first.version)) == []
    assert server.ask(Ask(ASSIGNMENT, ("a",), second.nonce, second.version)) == []


def test_only_the_newest_is_sent_once_the_one_before_is_acknowledged() -> None:
    server = StateOfTheWorld(snapshot(ONE))
    (first,) = server.ask(Ask(CLUSTER))
    for version in "234":
        assert server.publish(snapshot(changed(ONE, CLUSTER, a=version))) == []
    (newest,) = server.ask(Ask(CLUSTER, nonce=first.nonce, version=first.version))
    assert [each.version for each in newest.resources] == ["4"]


def test_nobody_is_told_of_members_that_are_not_there() -> None:
    server = StateOfTheWorld(snapshot({}))
    assert server.ask(Ask(ASSIGNMENT, ("a",))) == []
    assert names(server.publish(snapshot(ONE))) == [(ASSIGNMENT, ["a"])]


def test_an_unknown_type_is_left_alone() -> None:
    assert StateOfTheWorld(snapshot(ONE)).ask(Ask("type.googleapis.com/other")) == []
    assert Delta(snapshot(ONE)).ask(DeltaAsk("type.googleapis.com/other")) == []


# Delta


def test_only_what_has_changed_is_sent_and_what_is_gone_is_named() -> None:
    server = Delta(snapshot({CLUSTER: {"a": "1", "b": "1", "c": "1"}}))
    (first,) = server.ask(DeltaAsk(CLUSTER))
    server.ask(DeltaAsk(CLUSTER, nonce=first.nonce))
    (second,) = server.publish(snapshot({CLUSTER: {"a": "2", "b": "1"}}))
    assert names([second]) == [(CLUSTER, ["a"])]
    assert second.removed == ("c",)


def test_who_comes_back_is_not_sent_what_it_has() -> None:
    server = Delta(snapshot({CLUSTER: {"a": "1", "b": "2"}}))
    (first,) = server.ask(DeltaAsk(CLUSTER, known={"a": "1", "b": "1", "gone": "1"}))
    assert names([first]) == [(CLUSTER, ["b"])]
    assert first.removed == ("gone",)


def test_who_comes_back_and_has_everything_is_told_so_once() -> None:
    server = Delta(snapshot({CLUSTER: {"a": "1"}}))
    (first,) = server.ask(DeltaAsk(CLUSTER, known={"a": "1"}))
    assert (first.resources, first.removed) == ((), ())
    assert server.ask(DeltaAsk(CLUSTER, nonce=first.nonce)) == []


def test_what_was_asked_for_and_is_not_there_is_said_so() -> None:
    server = Delta(snapshot(ONE))
    (first,) = server.ask(DeltaAsk(ASSIGNMENT, ("nobody",)))
    assert first.removed == ("nobody",)
    server.ask(DeltaAsk(ASSIGNMENT, nonce=first.nonce))
    assert names(server.publish(snapshot(changed(ONE, ASSIGNMENT, nobody="1")))) == [(ASSIGNMENT, ["nobody"])]


def test_what_is_wanted_again_is_sent_again() -> None:
    server = Delta(snapshot(ONE))
    (first,) = server.ask(DeltaAsk(ASSIGNMENT, ("a",)))
    server.ask(DeltaAsk(ASSIGNMENT, nonce=first.nonce))
    assert server.ask(DeltaAsk(ASSIGNMENT, (), ("a",))) == []
    assert names(server.ask(DeltaAsk(ASSIGNMENT, ("a",)))) == [(ASSIGNMENT, ["a"])]


def test_what_is_asked_for_once_more_is_sent_once_more() -> None:
    server = Delta(snapshot(ONE))
    (first,) = server.ask(DeltaAsk(ASSIGNMENT, ("a",)))
    assert names(server.ask(DeltaAsk(ASSIGNMENT, ("a",), nonce=first.nonce))) == [(ASSIGNMENT, ["a"])]


def test_who_wants_everything_again_is_sent_what_it_did_not_want_meanwhile() -> None:
    server = Delta(snapshot({CLUSTER: {"a": "1", "b": "1"}}))
    (first,) = server.ask(DeltaAsk(CLUSTER))
    assert server.ask(DeltaAsk(CLUSTER, (), ("*",), nonce=first.nonce)) == []
    (again,) = server.ask(DeltaAsk(CLUSTER, ("a",)))
    assert names([again]) == [(CLUSTER, ["a"])]
    assert names(server.ask(DeltaAsk(CLUSTER, ("*",), nonce=again.nonce))) == [(CLUSTER, ["b"])]


def test_what_is_no_longer_wanted_is_not_sent() -> None:
    server = Delta(snapshot(ONE))
    (first,) = server.ask(DeltaAsk(ASSIGNMENT, ("a",)))
    server.ask(DeltaAsk(ASSIGNMENT, (), ("a",), nonce=first.nonce))
    assert server.publish(snapshot(changed(ONE, ASSIGNMENT, a="2"))) == []


def test_a_refusal_of_a_delta_is_told_of_and_not_repeated() -> None:
    server = Delta(snapshot(ONE))
    (first,) = server.ask(DeltaAsk(LISTENER))
    assert server.ask(DeltaAsk(LISTENER, nonce=first.nonce, error="no such filter")) == []
    assert server.verdicts == [Verdict(LISTENER, first.version, ("l",), "no such filter")]
    assert server.publish(snapshot(ONE)) == []


def test_members_that_go_when_their_cluster_changes_are_named() -> None:
    server = Delta(snapshot(ONE))
    for kind in (CLUSTER, ASSIGNMENT):
        (first,) = server.ask(DeltaAsk(kind, ("a",)))
        server.ask(DeltaAsk(kind, nonce=first.nonce))
    told = server.publish(snapshot({CLUSTER: {"a": "2"}}))
    assert [(each.type_url, each.removed) for each in told] == [(CLUSTER, ()), (ASSIGNMENT, ("a",))]


def test_what_was_not_wanted_for_a_moment_while_it_was_on_its_way_is_known() -> None:
    server = Delta(snapshot({CLUSTER: {"a": "1", "b": "1"}}))
    (first,) = server.ask(DeltaAsk(CLUSTER))
    server.ask(DeltaAsk(CLUSTER, (), ("*",)))
    server.ask(DeltaAsk(CLUSTER, ("*",)))
    server.publish(snapshot({CLUSTER: {"a": "1"}}))
    (second,) = server.ask(DeltaAsk(CLUSTER, nonce=first.nonce))  # it has taken both: it wants everything
    assert names([second]) == [(CLUSTER, ["a"])]
    assert second.removed == ("b",)


# Both

Client = WholeClient | DeltaClient
Make = Callable[[Content, random.Random], Client]


def whole(content: Content, chance: random.Random) -> Client:
    return WholeClient(StateOfTheWorld(snapshot(content)), chance)


def delta(content: Content, chance: random.Random) -> Client:
    return DeltaClient(Delta(snapshot(content)), chance)


BOTH = pytest.mark.parametrize("make", [whole, delta])


@BOTH
def test_what_is_named_comes_before_what_names_it(make: Make) -> None:
    client = make(ONE, random.Random(1))
    for kind, wanted in ((LISTENER, {"*"}), (ROUTES, {"r"}), (CLUSTER, {"*"}), (ASSIGNMENT, {"a"})):
        client.want(kind, wanted)
        while client.inbox:
            client.hear()
    client.heard.clear()
    newer = {kind: dict.fromkeys(each, "2") for kind, each in ONE.items()}
    client.publish(snapshot(newer))
    assert [each.type_url for each in client.inbox] == [CLUSTER, ASSIGNMENT, LISTENER, ROUTES]
    client.hear()
    client.publish(snapshot({kind: dict.fromkeys(each, "3") for kind, each in ONE.items()}))
    while client.inbox:
        client.hear()
    order = [TYPES.index(each.type_url) for each in client.heard if each.resources[0].version == "3"]
    assert order[0] == TYPES.index(CLUSTER)
    assert client.has[ROUTES] == {"r": "3"}


@BOTH
def test_what_names_it_waits_while_what_is_named_is_not_acknowledged(make: Make) -> None:
    client = make(ONE, random.Random(1))
    client.want(CLUSTER, {"*"})
    client.want(ROUTES, {"r"})
    while client.inbox:
        client.hear()
    client.publish(snapshot(changed(ONE, CLUSTER, a="2")))
    client.publish(snapshot(changed(changed(ONE, CLUSTER, a="2", b="1"), ROUTES, r="2")))
    assert [each.type_url for each in client.inbox] == [CLUSTER], "a route to b is not sent before b"
    client.hear()
    assert [each.type_url for each in client.inbox] == [CLUSTER, ROUTES]


@BOTH
def test_members_follow_a_cluster_that_has_changed(make: Make) -> None:
    client = make(ONE, random.Random(1))
    client.want(CLUSTER, {"*"})
    client.want(ASSIGNMENT, {"a"})
    while client.inbox:
        client.hear()
    client.publish(snapshot(changed(ONE, CLUSTER, a="2")))
    while client.inbox:
        client.hear()
    assert [each.type_url for each in client.heard[-2:]] == [CLUSTER, ASSIGNMENT]


@BOTH
@pytest.mark.parametrize("seed", range(300))
def test_a_client_comes_to_hold_what_it_wants(make: Make, seed: int) -> None:
    """Whatever happens in between: once all is said and taken, a client has the newest of all that it wants."""
    chance = random.Random(seed)
    content: Content = {kind: {} for kind in TYPES}
    client = make(content, chance)
    for _ in range(150):
        step(client, content, chance)
        assert all(len([each for each in client.inbox if each.type_url == kind]) <= 1 for kind in TYPES)
    refused = {each.type_url for each in client.server.verdicts if each.error}
    for kind in refused:  # what was refused is sent again once it is another
        content[kind] = dict.fromkeys("abcd", "new")
    client.publish(snapshot(content))
    steps = 0
    while client.inbox:
        client.hear()
        steps += 1
        assert steps < 100, "they never come to rest"
    for kind, wanted in client.wants.items():
        there = {name: v for name, v in content[kind].items() if "*" in wanted or name in wanted}
        held = client.has[kind]
        if isinstance(client, WholeClient) and kind not in COMPLETE:  # it is never told of what is gone
            held = {name: version for name, version in held.items() if name in content[kind]}
        assert held == there, (kind, wanted)


def step(client: Client, content: Content, chance: random.Random) -> None:
    match chance.choice(("want", "want", "change", "remove", "hear", "hear", "hear", "refuse", "publish")):
        case "want":
            kind = chance.choice(TYPES)
            wanted = {name for name in "abcd" if chance.random() < 0.5}
            if kind in COMPLETE and chance.random() < 0.5:
                wanted |= {"*"}
            if wanted or kind in client.wants:
                client.want(kind, wanted)
        case "change":
            content[chance.choice(TYPES)][chance.choice("abcd")] = str(chance.randrange(1000))
        case "remove":
            content[chance.choice(TYPES)].pop(chance.choice("abcd"), None)
        case "publish":
            client.publish(snapshot(content))
        case "hear" if client.inbox:
            client.hear()
        case "refuse" if client.inbox:
            client.hear(refuse=True)
