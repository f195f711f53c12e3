"""Scenarios: read, refused in a user's words, and written so that they come back the same."""

import json
from typing import Any

import pytest

from ringmill.loadtest.runner.scenario import from_tables, parse, to_tables, to_toml
from ringmill.loadtest.runner.settings import ScenarioError

TEXT = """
[target]
pipeline = "readings"

[load]
rate = [1000, 2000.5]
arrivals = "bursty"
batch = 16
streams = 4
processes = 2

[keys]
distribution = "zipf"
alpha = 1.4
prefix = 'a"b-'

[fields]
temperature = { normal = [20.0, 5.0] }
room = { choice = ["kitchen", "hall"] }
"window open" = { value = true }
"""


def tables(**sections: Any) -> dict[str, Any]:
    return {"target": {"pipeline": "readings"}, **sections}


def test_a_scenario_is_read() -> None:
    made = parse(TEXT)
    assert (made.target.pipeline, made.load.rate, made.load.batch) == ("readings", (1000.0, 2000.5), 16)
    assert (made.keys.alpha, made.load.seconds) == (1.4, 10.0)
    assert made.fields["room"].arguments == ("kitchen", "hall")


def test_what_is_written_is_read_as_the_same() -> None:
    made = parse(TEXT)
    assert parse(to_toml(made)) == made
    assert from_tables(json.loads(json.dumps(to_tables(made)))) == made


def test_a_report_is_a_scenario() -> None:
    made = parse(TEXT)
    assert parse(json.dumps({"scenario": to_tables(made), "steps": []})) == made


def test_flags_come_first() -> None:
    made = parse(TEXT, {"load": {"rate": [5.0]}, "keys": {}, "search": {"p99_ms": 3.0}})
    assert (made.load.rate, made.load.batch, made.search.p99_ms) == ((5.0,), 16, 3.0)
    assert parse("", {"target": {"pipeline": "readings"}}).load.rate == (10_000.0,)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({}, "name the pipeline: target.pipeline, or --pipeline"),
        (tables(lod={}), "a scenario has no setting 'lod'; did you mean 'load'?"),
        (tables(load={"rat": 5}), "load has no setting 'rat'; did you mean 'rate'?"),
        (tables(load=5), "load must be a table, not 5"),
        (tables(load={"rate": 0}), "load.rate must be above 0, not 0"),
        (tables(load={"rate": [10, -1]}), "load.rate must be above 0, not -1"),
        (tables(load={"rate": []}), "load.rate must hold at least one number"),
        (tables(load={"rate": "fast"}), "load.rate must be a number, not 'fast'"),
        (tables(load={"seconds": float("inf")}), "load.seconds must be a number, not inf"),
        (tables(load={"seconds": True}), "load.seconds must be a number, not True"),
        (tables(load={"batch": 1.5}), "load.batch must be a whole number, not 1.5"),
        (tables(load={"batch": 70_000}), "load.batch must be at most 65536, not 70000"),
        (tables(target={"pipeline": 1}), "target.pipeline must be text, not 1"),
        (tables(load={"loop": "half"}), "load.loop must be one of open, closed, not 'half'"),
        (tables(load={"processes": 3}), "load.streams is 1, too few for load.processes, 3"),
        (tables(load={"rate": 1e7, "seconds": 100}), "1,020,000,000 arrivals for a process"),
        (tables(keys={"distribution": "hot", "count": 3, "hot_keys": 4}), "keys.hot_keys is 4, of only 3 keys"),
        (tables(load={"loop": "closed"}, search={"p99_ms": 5}), "search needs an open loop"),
        (tables(load={"rate": [1, 2]}, search={"p99_ms": 5}), "search begins at one rate"),
        (tables(fields={"a": 5}), "fields.a must be a table of one rule"),
        (tables(fields={"a": {"gauss": [0, 1]}}), "fields.a has no setting 'gauss'"),
        (tables(fields={"a": {"normal": [1]}}), "fields.a.normal must be two numbers, mean and deviation"),
        (tables(fields={"a": {"uniform": [2, 1]}}), "fields.a.uniform has its lowest above its highest"),
        (tables(fields={"a": {"integers": [0, 1.5]}}), "fields.a.integers must be two whole numbers"),
        (tables(fields={"a": {"choice": ["x", 1]}}), "fields.a.choice must hold texts alone or numbers alone"),
        (tables(fields={"a": {"choice": []}}), "fields.a.choice must be a list"),
    ],
)
def test_what_cannot_be_run_is_told_by_its_setting(given: dict[str, Any], words: str) -> None:
    with pytest.raises(ScenarioError) as error:
        from_tables(given)
    assert words in error.value.message


@pytest.mark.parametrize(
    ("text", "words"),
    [("[load\n", "this is no TOML"), ("{ 1", "this is no JSON"), ('{"steps": []}', "this JSON holds no scenario")],
)
def test_what_is_no_scenario_is_told(text: str, words: str) -> None:
    with pytest.raises(ScenarioError, match=words):
        parse(text)
