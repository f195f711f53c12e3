"""Windows as users write them: what loads, what is refused, what fails, and what is told."""

import math
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ringmill.core.errors import Reason, RingmillError
from ringmill.engine.engine import Engine
from ringmill.pipeline import (
    Event,
    Label,
    Pipeline,
    count,
    days,
    hopping,
    hours,
    label,
    load_pipelines,
    minutes,
    ops,
    seconds,
    session,
    sliding,
    tumbling,
)
from ringmill.v1 import processing_pb2 as pb

SECOND = 1_000_000
HEAD = """\
from datetime import timedelta
from ringmill.pipeline import *
class E(Event):
    x: float
    tag: Label = label("")
"""


class Trade(Event):
    x: float
    tag: Label = label("")


STEPS = {
    "bars": ops.ohlcv("x", "x").over(tumbling(minutes=1)),
    "spread": ops.variance("x").over(hopping(seconds=20, every=seconds(10))),
    "top": ops.top_k("tag", k=2, counters=8).over(tumbling(minutes=1)),
    "median": ops.quantiles("x", 0.5).over(session(seconds=30)),
    "seen": ops.count(),
}
trades = Pipeline("trades", version="1.0.0", event=Trade, steps=STEPS, ahead=hours(1))


def run(times_s: list[float], x: list[float] | None = None, tags: list[str] | None = None) -> Any:
    moments = [round(time * SECOND) for time in times_s]
    return trades.run(keys=["k"] * len(times_s), times=moments, x=x or [1.0] * len(times_s), tag=tags)


def test_bars_by_the_minute() -> None:
    got = run([1, 20, 59, 60, 119, 300], [5.0, 9.0, 7.0, 3.0, 4.0, 1.0])
    bars = got.emissions["bars"]
    assert len(bars) == 2
    assert bars["open"].tolist() == [5.0, 3.0]
    assert bars["high"].tolist() == [9.0, 4.0]
    assert bars["close"].tolist() == [7.0, 4.0]
    assert bars["trades"].tolist() == [3, 2]
    assert bars.keys.tolist() == ["k", "k"]
    assert bars.starts_us.tolist() == [0, 60 * SECOND]
    assert bars.times_us.tolist() == [60 * SECOND, 120 * SECOND]
    assert bars.events.tolist() == [3, 5]
    assert bars.revisions.tolist() == [0, 0]
    assert list(got.outputs) == ["seen"]
    with pytest.raises(KeyError, match="the outputs are open, high"):
        bars["value"]


def test_labels_come_out_as_text() -> None:
    got = run([1, 2, 3, 4, 60], tags=["b", "a", "b", "", "a"])
    assert {name: column.tolist() for name, column in got.emissions["top"].outputs.items() if "label" in name} == {
        "label1": ["b"],
        "label2": ["a"],
    }


def test_a_sketch_is_asked_when_the_session_has_ended() -> None:
    got = run([1, 2, 3, 40, 80], [1.0, 2.0, 3.0, 4.0, 5.0])
    assert got.emissions["median"]["p50"] == pytest.approx([2.0, 4.0], rel=0.02)
    assert got.emissions["median"].times_us.tolist() == [33 * SECOND, 70 * SECOND]


def test_no_events_emit_nothing() -> None:
    got = trades.run(keys=[], times=[], x=[])
    assert {name: len(rows) for name, rows in got.emissions.items()} == {"bars": 0, "spread": 0, "top": 0, "median": 0}
    assert got.emissions["bars"]["open"].dtype == np.float64


def test_a_late_event_is_rejected_and_leaves_no_trace() -> None:
    got = run([10, 5, 10, 70])
    assert got.reasons.tolist() == [0, Reason.LATE, 0, 0]
    assert got["seen"].tolist() == [1, 0, 2, 3]
    assert got.emissions["bars"]["trades"].tolist() == [2]


@pytest.mark.parametrize(
    ("x", "times"),
    [(1e200, [55]), (-1.0, [55, 200])],
    ids=["the squares are too large", "a guard refuses it"],
)
def test_an_event_that_fails_closes_no_window_and_is_in_none(x: float, times: list[float]) -> None:
    """Whatever step fails, and wherever its time is."""
    good = run([1, 2, 50, 61, 130], [1.0, 2.0, 3.0, 4.0, 5.0])
    bad = run([1, 2, 50, *times, 61, 130], [1.0, 2.0, 3.0, *(x for _ in times), 4.0, 5.0])
    assert bad.reasons.tolist() == [0, 0, 0, *(int(Reason.OPERATOR_FAILED) for _ in times), 0, 0]
    for name in STEPS.keys() - {"seen"}:
        assert len(good.emissions[name]) > 0
        for output, column in good.emissions[name].outputs.items():
            assert str(column.tolist()) == str(bad.emissions[name][output].tolist()), (name, output)


def test_a_window_that_cannot_be_computed_is_left_out_and_counted() -> None:
    """Each slice is good by itself, but a double does not hold the squares of both."""
    engine = Engine(trades.compile(), events_max=8, keys_max=8)
    request = pb.ProcessRequest()
    for time, x in ((11, 1e200), (21, 1.0), (61, 1.0)):
        request.events.add(key="k", time_us=time * SECOND, values=[x], labels=["t"])
    message = request.SerializeToString()
    buffer = np.frombuffer(message, np.uint8)
    engine.decode(buffer, 0, len(message))
    assert engine.apply(buffer, 3) == 0
    heads = engine.emissions.heads[: engine.emissions.counts[0]]
    spread = heads[heads["emitter"] == 1]
    assert (spread["start_us"] // SECOND).tolist() == [0, 20]
    assert engine.emissions.counts[1] == 1


def test_a_response_holds_emissions_only_where_they_are_asked_for() -> None:
    engine = Engine(trades.compile(), events_max=8, keys_max=8)
    request = pb.ProcessRequest()
    for time in (1, 61):
        request.events.add(key="k", time_us=time * SECOND, values=[2.0], labels=["t"])
    message = request.SerializeToString()
    buffer = np.frombuffer(message, np.uint8)
    engine.decode(buffer, 0, len(message))
    engine.apply(buffer, 2)
    plain = pb.ProcessResponse.FromString(engine.encode(2, b""))
    assert not any(outcome.emissions for outcome in plain.outcomes)
    full = pb.ProcessResponse.FromString(engine.encode(2, pb.ProcessResponse(sequence=9).SerializeToString(), True))
    assert full.sequence == 9
    assert [list(outcome.integers) for outcome in full.outcomes] == [[1], [2]]
    assert not full.outcomes[0].emissions
    names = [trades.describe().emitters[emission.emitter].name for emission in full.outcomes[1].emissions]
    assert names == ["bars", "spread", "spread", "top", "median"]
    bar = full.outcomes[1].emissions[0]
    assert (bar.start_us, bar.time_us, list(bar.values), list(bar.integers)) == (0, 60 * SECOND, [2.0] * 5, [1])
    assert full.outcomes[1].emissions[3].labels[0] == "t"


FAR = 10 * 3600.0


@pytest.mark.parametrize(
    ("times", "refused"),
    [
        ([1, FAR, 2, 61], [1]),
        ([1, FAR, FAR + 1, FAR + 2], [1]),
        ([1, FAR, 5 * FAR, 2], [1, 2]),
        ([1, FAR, 5 * FAR, 5 * FAR - 1], [1, 2]),
        ([FAR, FAR + 3600, FAR + 3601], []),
    ],
    ids=["alone", "two agree", "two do not agree", "the last two agree", "the first, and an hour"],
)
def test_a_time_far_ahead_is_believed_when_the_next_agrees(times: list[float], refused: list[int]) -> None:
    got = run(times)
    assert np.flatnonzero(got.reasons).tolist() == refused
    assert set(got.reasons[refused].tolist()) <= {int(Reason.TIME_INVALID)}
    if refused == [1] and times[2] == 2:
        assert got.emissions["bars"]["trades"].tolist() == [2]


def test_a_time_is_needed() -> None:
    got = run([0, 1])
    assert got.reasons.tolist() == [Reason.TIME_INVALID, 0]
    assert trades.describe().uses_time


def test_windows_are_described_as_emitters() -> None:
    told = trades.describe()
    assert [emitter.name for emitter in told.emitters] == ["bars", "spread", "top", "median"]
    assert [output.name for output in told.emitters[0].outputs] == ["open", "high", "low", "close", "volume", "trades"]
    assert [(output.name, output.kind) for output in told.emitters[1].outputs] == [("value", 1)]
    assert [output.name for output in told.outputs] == ["seen"]
    assert {field.name.partition(".")[0] for field in told.state} == {"seen"}


@pytest.mark.parametrize(
    ("step", "said"),
    [
        ('ops.mean("x").over(tumbling())', r"tumbling\(\) of 0:00:00: write how long, above 0"),
        ('ops.mean("x").over(tumbling(minutes=-1))', "above 0"),
        ('ops.mean("x").over(tumbling(minutes=float("nan")))', "is no duration"),
        ('ops.mean("x").over(tumbling(minutes="1"))', "is no duration"),
        ('ops.mean("x").over(tumbling(days=40_000))', "up to 100 years"),
        ('ops.mean("x").over(hopping(seconds=5, every=seconds(6)))', r"hopping\(every=.*up to the window's size"),
        ('ops.mean("x").over(hopping(seconds=5, every=seconds(0)))', r"hopping\(every="),
        ('ops.mean("x").over(session())', "above 0"),
        ('ops.mean("x").over(sliding(seconds=1, events=0))', "a whole number of events"),
        ('ops.mean("x").over(count(0))', "a whole number of events"),
        ('ops.mean("x").over(count(True))', "a whole number of events"),
        ('ops.mean("x").over(tumbling)', r"over\(.*write a window, as in over\(tumbling\(minutes=1\)\)"),
        ('ops.mean("x").over(tumbling(minutes=1), lateness=seconds(-1))', "lateness=.*from 0 to 100 years"),
        ('ops.mean("x").over(tumbling(minutes=1), lateness=5)', "lateness=5: write a duration"),
        ('ops.mean("x").over(count(3), lateness=seconds(1))', "never late: take lateness away"),
        ('ops.mean("nothing").over(tumbling(minutes=1))', '"f" reads "nothing", which is no field'),
        ('ops.zscore("x").over(tumbling(minutes=1))', '"f": zscore cannot have a window: what it says belongs to one'),
        ('ops.alarm("x", above=1.0, clear=0.0).over(tumbling(minutes=1))', "cannot have a window"),
        ('ops.ew_variance("x", alpha=0.1).over(session(minutes=1))', "two of its states cannot be made one"),
        ('ops.mean("x").over(hopping(days=1, every=seconds(1)))', "86,400 parts of windows for each key.* is the most"),
        ('ops.mean("x").over(tumbling(seconds=1), lateness=days(1))', "86,401 parts of windows"),
        (
            'ops.mean("x").over(hopping(hours=1, every=seconds(10)))',
            "close or correct 360 windows, and 256 is",
        ),
        ('ops.distinct("tag").over(hopping(hours=1, every=minutes(1)))', "60 parts of windows for each key, 27"),
    ],
)
def test_what_cannot_be_windowed_is_refused_at_its_line(tmp_path: Path, step: str, said: str) -> None:
    tail = f'p = Pipeline("p", version="1.0.0", event=E, steps={{\n  "f": {step},\n}})\n'
    app = tmp_path / "app.py"
    app.write_text(HEAD + tail)
    with pytest.raises(RingmillError, match=said) as caught:
        load_pipelines(app)
    assert caught.value.message.startswith(f"{app}:7: ") or ".over(tumbling" not in step


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("out_of_order=seconds(-1)", "out_of_order=.*from 0 to 100 years"),
        ("out_of_order=3", "out_of_order=3"),
        ("ahead=seconds(0)", "ahead=.*above 0"),
    ],
)
def test_times_that_are_refused_at_the_pipelines_line(tmp_path: Path, arguments: str, said: str) -> None:
    app = tmp_path / "app.py"
    steps = '{"f": ops.mean("x").over(tumbling(minutes=1))}'
    app.write_text(f'{HEAD}p = Pipeline("p", version="1.0.0", event=E, steps={steps}, {arguments})\n')
    with pytest.raises(RingmillError, match=said) as caught:
        load_pipelines(app)
    assert caught.value.message.startswith(f"{app}:6: ")


def pipeline(times: dict[str, Any] | None = None, **steps: Any) -> Pipeline:
    return Pipeline("p", version="1.0.0", event=Trade, steps=steps, **(times or {}))


def test_lateness_is_one_for_the_whole_pipeline() -> None:
    one = ops.mean("x").over(tumbling(minutes=1), lateness=minutes(5))
    with pytest.raises(RingmillError, match='"b" allows lateness of 0:00:00, "a" of 0:05:00'):
        pipeline(a=one, b=ops.mean("x").over(session(minutes=1)))
    pipeline(a=one, b=ops.mean("x").over(count(5)), c=ops.mean("x"))


def test_out_of_order_without_windows_of_time_is_refused() -> None:
    with pytest.raises(RingmillError, match="the pipeline has none"):
        pipeline({"out_of_order": seconds(1)}, a=ops.mean("x").over(count(5)))


def test_no_step_reads_a_window() -> None:
    with pytest.raises(RingmillError, match='"b" reads "a", which is no field and no earlier output'):
        pipeline(a=ops.mean("x").over(tumbling(minutes=1)), b=ops.mean("a"))


def test_the_digest_names_all_that_decides_what_is_emitted() -> None:
    mean = ops.mean("x")
    made = [
        pipeline(a=mean),
        pipeline(a=mean.over(tumbling(minutes=1))),
        pipeline(a=mean.over(tumbling(minutes=2))),
        pipeline(a=mean.over(hopping(minutes=2, every=minutes(1)))),
        pipeline(a=mean.over(session(minutes=1))),
        pipeline(a=mean.over(sliding(minutes=1))),
        pipeline(a=mean.over(sliding(minutes=1, events=9))),
        pipeline(a=mean.over(count(60))),
        pipeline(a=mean.over(tumbling(minutes=1), lateness=seconds(1))),
        pipeline({"out_of_order": seconds(1)}, a=mean.over(tumbling(minutes=1))),
        pipeline({"ahead": days(1)}, a=mean.over(tumbling(minutes=1))),
    ]
    assert len({one.digest for one in made}) == len(made)
    assert pipeline(a=mean.over(tumbling(seconds=60))).digest == made[1].digest


def test_durations() -> None:
    assert (days(1), hours(2), minutes(3), seconds(0.5)) == (
        timedelta(days=1),
        timedelta(hours=2),
        timedelta(minutes=3),
        timedelta(milliseconds=500),
    )
    with pytest.raises(RingmillError, match="is no duration"):
        seconds(math.inf)
