"""What a load test does: read from TOML, from the flags, or from the report of an earlier one. Pure.

A scenario is complete: with its seed it names every event's key, values and due moment, so that its report reproduces
it.
"""

import json
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from ringmill.loadtest.runner.fields import Rule, read_rule
from ringmill.loadtest.runner.settings import ScenarioError, Table, check_names, read, setting

ARRIVALS_MAX = 20_000_000
"""Due moments of one process, which are made before the clock runs: 8 bytes each."""
SECTIONS = ("target", "load", "keys", "recording", "search", "fields")


@dataclass(frozen=True, slots=True)
class Target:
    """Who is loaded."""

    address: str = setting("127.0.0.1:7400")
    pipeline: str = setting("")
    ack: str = setting("", among=("", "primary", "all"))


@dataclass(frozen=True, slots=True)
class Load:
    """How events are sent."""

    loop: str = setting("open", among=("open", "closed"))
    """open: events come when they are due, whatever the answers do; closed: each answer lets the next batch go."""
    rate: tuple[float, ...] = setting((10_000.0,), above=0)
    """Events a second of all streams together; several: one step after the other."""
    seconds: float = setting(10.0, above=0)
    """Measured, after the warm-up."""
    warmup_seconds: float = setting(2.0, least=0)
    """The same load before, which is left out of every figure."""
    drain_seconds: float = setting(10.0, above=0)
    """How long answers are waited for after the last event was due."""
    arrivals: str = setting("poisson", among=("poisson", "constant", "bursty", "ramp"))
    batch: int = setting(0, least=0, most=65_536)
    """Events that arrive together and go as one message; 0: each by itself, and a message takes what has gathered."""
    batch_max: int = setting(4096, least=1, most=65_536)
    """Without `batch`: most events of a message."""
    in_flight: int = setting(8, least=1, most=64)
    """Messages of a stream on their way at once; of a closed loop, always so many."""
    streams: int = setting(1, least=1, most=4096)
    """Of all processes together, each with a producer of its own."""
    processes: int = setting(1, least=1, most=64)
    burst_period_ms: float = setting(1000.0, above=0)
    burst_share: float = setting(0.1, above=0, most=1)
    """Part of each period, at its beginning, in which all its events come."""
    ramp_from: float = setting(1.0, above=0)
    """Rate at which a ramp begins; it ends at `rate`."""
    seed: int = setting(1, least=0)


@dataclass(frozen=True, slots=True)
class Keys:
    """Which keys the events have."""

    distribution: str = setting("uniform", among=("uniform", "zipf", "hot"))
    count: int = setting(10_000, least=1, most=10_000_000)
    alpha: float = setting(0.9, above=0, most=10)
    """Of `zipf`: the key of rank r comes in proportion to r^-alpha."""
    hot_keys: int = setting(1, least=1)
    """Of `hot`: how many keys are hot."""
    hot_share: float = setting(0.5, above=0, most=1)
    """Of `hot`: their part of all events, together."""
    prefix: str = setting("key-")


@dataclass(frozen=True, slots=True)
class Recording:
    """Events of a file, in place of drawn ones."""

    file: str = setting("")
    """.parquet, .csv or .csv.gz; empty: events are drawn."""
    key: str = setting("key")
    """Its column of keys."""
    time: str = setting("time_us")
    """Its column of times: timestamps, or numbers."""
    time_unit: str = setting("us", among=("s", "ms", "us", "ns"))
    """Of times that are numbers."""
    pace: float = setting(1.0, above=0)
    """Times as fast as it was recorded."""


@dataclass(frozen=True, slots=True)
class Search:
    """Looks for the highest rate that keeps a p99."""

    p99_ms: float = setting(0.0, least=0)
    """The p99 to be kept; 0: no search."""
    rate_max: float = setting(10_000_000.0, above=0)
    within: float = setting(0.05, above=0, most=1)
    """Ends when the lowest rate that failed is at most this much above the highest that was kept."""
    tries: int = setting(2, least=1, most=10)
    """A rate has failed when it has failed so many times in a row."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """A whole load test."""

    target: Target = field(default_factory=Target)
    load: Load = field(default_factory=Load)
    keys: Keys = field(default_factory=Keys)
    recording: Recording = field(default_factory=Recording)
    search: Search = field(default_factory=Search)
    fields: dict[str, Rule] = field(default_factory=dict)
    """How a field's values are drawn, by its name; the others' by their kind."""


def parse(text: str, flags: Table | None = None) -> Scenario:
    """Reads TOML, or the JSON report of an earlier run, and lets the flags decide where they say something.

    flags: tables by section. Raises ScenarioError.
    """
    return from_tables(merged(_tables(text), flags or {}))


def _tables(text: str) -> dict[str, Any]:
    if text.lstrip().startswith("{"):
        try:
            report = json.loads(text)
        except ValueError as error:
            raise ScenarioError(f"this is no JSON: {error}") from None
        if not isinstance(report.get("scenario"), dict):
            raise ScenarioError("this JSON holds no scenario: it must be the report of a load test")
        scenario: dict[str, Any] = report["scenario"]
        return scenario
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ScenarioError(f"this is no TOML: {error}") from None


def merged(tables: Table, over: Table) -> dict[str, Any]:
    """The tables, with the settings of others in place of their own."""
    result = dict(tables)
    for name, table in over.items():
        own = result.get(name, {})
        result[name] = {**own, **table} if isinstance(own, Mapping) else own
    return result


def from_tables(tables: Table) -> Scenario:
    """Makes a scenario from its sections. Raises ScenarioError, which names the setting."""
    check_names("a scenario", tables, SECTIONS)
    rules = tables.get("fields", {})
    if not isinstance(rules, Mapping):
        raise ScenarioError(f"fields must be a table, not {rules!r}")
    scenario = Scenario(
        target=read(Target, "target", tables.get("target", {})),
        load=read(Load, "load", tables.get("load", {})),
        keys=read(Keys, "keys", tables.get("keys", {})),
        recording=read(Recording, "recording", tables.get("recording", {})),
        search=read(Search, "search", tables.get("search", {})),
        fields={name: read_rule(f"fields.{name}", table) for name, table in rules.items()},
    )
    _check(scenario)
    return scenario


def _check(scenario: Scenario) -> None:
    """What no setting shows by itself."""
    target, load, keys, search = scenario.target, scenario.load, scenario.keys, scenario.search
    if not target.pipeline:
        raise ScenarioError("name the pipeline: target.pipeline, or --pipeline")
    if load.streams < load.processes:
        raise ScenarioError(f"load.streams is {load.streams}, too few for load.processes, {load.processes}")
    if keys.distribution == "hot" and keys.hot_keys > keys.count:
        raise ScenarioError(f"keys.hot_keys is {keys.hot_keys}, of only {keys.count} keys")
    if load.loop == "closed" and search.p99_ms:
        raise ScenarioError("search needs an open loop: a closed one has no rate of its own")
    if search.p99_ms and len(load.rate) > 1:
        raise ScenarioError("search begins at one rate, but load.rate has several")
    if scenario.recording.file:
        _check_recording(scenario)
    elif load.loop == "open":
        check_rate(scenario, max(load.rate))


def _check_recording(scenario: Scenario) -> None:
    if scenario.load.loop == "closed":
        raise ScenarioError("a recording needs an open loop: it says when its events are due")
    if scenario.load.batch:
        raise ScenarioError("a recording needs load.batch = 0: its events come one by one")
    if scenario.search.p99_ms:
        raise ScenarioError("a search needs a rate, but a recording has its own; change recording.pace")


def check_rate(scenario: Scenario, rate: float) -> None:
    """Raises ScenarioError for more arrivals than a process keeps."""
    load = scenario.load
    arrivals = rate * (load.seconds + load.warmup_seconds) / max(1, load.batch) / load.processes
    if arrivals > ARRIVALS_MAX:
        raise ScenarioError(
            f"{arrivals:,.0f} arrivals for a process, of which it keeps {ARRIVALS_MAX:,} at most: "
            "more load.processes, a load.batch, or fewer load.seconds"
        )


def to_tables(scenario: Scenario) -> dict[str, Any]:
    """The scenario as plain data, with every setting; `from_tables` makes the same scenario of it."""
    tables = asdict(scenario)
    tables["load"]["rate"] = list(scenario.load.rate)
    tables["fields"] = {name: rule.table() for name, rule in scenario.fields.items()}
    return tables


def to_toml(scenario: Scenario) -> str:
    """The scenario as a file, with every setting."""
    lines = []
    for section, table in to_tables(scenario).items():
        if table:
            lines += [f"[{section}]", *(f"{_key(name)} = {_toml(value)}" for name, value in table.items()), ""]
    return "\n".join(lines)


def _key(name: str) -> str:
    return name if name.replace("_", "").replace("-", "").isalnum() and name.isascii() else json.dumps(name)


def _toml(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{_key(name)} = {_toml(each)}" for name, each in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(_toml(each) for each in value) + "]"
    return json.dumps(value)
