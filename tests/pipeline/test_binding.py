"""Inputs of other kinds than a number, outputs by columns, merges and results."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ringmill.core.errors import RingmillError
from ringmill.engine.plan import label_hash
from ringmill.pipeline import (
    Array,
    Columns,
    Event,
    Input,
    Inputs,
    Label,
    LabelInput,
    Pipeline,
    State,
    Token,
    array,
    label,
    operator,
    ops,
)
from ringmill.pipeline.binding import token_of
from ringmill.pipeline.combine import combiner

TABLE = np.array([1.0, 10.0, 100.0])
TABLE.flags.writeable = False


class Sale(Event):
    price: float
    weight: float | None = None
    pieces: int = 0
    gift: bool = False
    shop: Label = label("none")


class Peak(State):
    highest: float = -1e300


def merge_peaks(state: Peak, other: Peak) -> None:
    state.highest = max(state.highest, other.highest)


def highest_of(state: Peak, floor: float) -> float:
    return max(floor, state.highest)


@operator(merge=merge_peaks, result=highest_of)
def peak(state: Peak, event: Event, source: Input, floor: float) -> float:
    state.highest = max(state.highest, source)
    return highest_of(state, floor)


class Seen(State):
    tokens: Array = array(4, fill=label(""))
    last: Label = label("")


def token_at(state: Seen, index: int) -> int:
    found: int = state.tokens[index]
    return np.int64(found)  # type: ignore[no-any-return]  # a kernel's word for its bits


@operator(columns=(Columns(("price", "pieces", "gift", "shop"), token_at),))
def tokens(state: Seen, event: Event, price: Token, pieces: Token, gift: Token, shop: Token) -> None:
    state.tokens[0] = price
    state.tokens[1] = pieces
    state.tokens[2] = gift
    state.tokens[3] = shop


@operator
def before(state: Seen, event: Event, shop: LabelInput) -> Label:
    last = state.last
    state.last = shop
    return last


@operator
def weighed(state: Peak, event: Event, sources: Inputs, scale: float) -> float | None:
    total = 0.0
    for place in range(len(sources)):
        total += TABLE[place] * sources[place]
    return total * scale


class Large(State):
    sums: Array = array(600, fill=0.0)


def refuse_dear(state: Large, event: Event, price: Input) -> None:
    if price > 100.0:
        raise ValueError("too dear")


@operator(guard=refuse_dear)
def spent(state: Large, event: Event, price: Input) -> float:
    state.sums[599] += price
    return state.sums[599]  # type: ignore[no-any-return]  # of an Array


@operator
def refuse_many(state: Peak, event: Sale) -> bool:
    state.highest = float(event.pieces)
    if event.pieces == 99:
        raise ValueError("too many")
    return event.pieces < 0


sales = Pipeline(
    "sales",
    version="1.0.0",
    event=Sale,
    steps={
        "peak": peak("price", floor=2.0),
        "tokens": tokens("price", "pieces", "gift", "shop"),
        "before": before("shop"),
        "weighed": weighed(("price", "pieces", "gift"), scale=2.0),
        "lacking": weighed(["weight", "peak"], scale=1.0),
        "distinct": ops.distinct("peak"),
        "spent": spent("price"),
        "read": spent("price"),
        "few": refuse_many(),
        "count": ops.sum("read"),
        "flags": ops.mean("few"),
    },
)


def test_inputs_of_every_kind_arrive() -> None:
    got = sales.run(
        keys=["k"] * 3,
        times=[1, 2, 3],
        price=[1.0, 5.0, -0.0],
        weight=[math.nan, 1.0, 2.0],
        pieces=[3, -1, 2**62],
        gift=[True, False, True],
        shop=["a", "", "a"],
    )
    assert got.rejected == 0
    assert got["peak"].tolist() == [2.0, 5.0, 5.0]
    assert got["before"].tolist() == ["", "a", "none"]
    assert got["weighed"].tolist() == [2 * (1 + 30 + 100), 2 * (5 - 10), 2 * (10 * 2.0**62 + 100)]
    np.testing.assert_array_equal(got["lacking"], [math.nan, 51.0, 52.0])
    assert got["distinct"].tolist() == [1, 2, 2]
    signed = np.int64
    for name, values in (("price", [1.0, 5.0, 0.0]), ("pieces", [3, -1, 2**62]), ("gift", [1, 0, 1])):
        expected = [int(np.uint64(token_of(value)).astype(signed)) for value in values]
        assert got[f"tokens.{name}"].tolist() == expected
    shops = [int(np.uint64(label_hash(text)).astype(signed)) for text in ("a", "none", "a")]
    assert got["tokens.shop"].tolist() == shops


def test_what_cannot_fail_runs_last_and_leaves_no_trace_of_a_failed_event() -> None:
    """`distinct` stands before `few`, which fails. What is not ours runs in its place, with a copy of its state."""
    assert [sales.plan.steps[number].name for number in sales.plan.late] == ["distinct"]
    assert sales.plan.row_order[-1].name == "distinct"
    got = sales.run(keys=["k"] * 5, times=range(1, 6), price=[1.0, 2.0, 200.0, 4.0, 8.0], pieces=[0, 99, 0, -1, 0])
    assert got.reasons.tolist() == [0, 8, 8, 0, 0]
    for name in ("spent", "read"):
        np.testing.assert_array_equal(got[name], [1.0, math.nan, math.nan, 5.0, 13.0])
    np.testing.assert_array_equal(got["count"], [1.0, math.nan, math.nan, 6.0, 19.0])
    np.testing.assert_allclose(got["flags"], [0.0, math.nan, math.nan, 0.5, 1 / 3])
    assert got["distinct"].tolist() == [1, 0, 0, 2, 3]


def test_a_guard_that_lies_leaves_no_trace_of_a_failed_event() -> None:
    """What `spent` has summed is infinite, though its guard let the price pass: nobody has seen this event."""
    steps = {"distinct": ops.distinct("price"), "fair": spent("price"), "lying": spent("weight")}
    pipeline = Pipeline("lies", version="1.0.0", event=Sale, steps=steps)
    got = pipeline.run(
        keys=["k"] * 4, times=range(1, 5), price=[1.0, 2.0, 3.0, 1.0], weight=[-1e308, -1.0, -1e308, -1.0]
    )
    assert got.reasons.tolist() == [0, 0, 8, 0]
    np.testing.assert_array_equal(got["fair"], [1.0, 3.0, math.nan, 4.0])
    assert got["lying"].tolist()[3] == -1e308, "nor is the sum infinite for ever"
    assert got["distinct"].tolist() == [1, 2, 0, 2], "a step that may run last has not run for it, either"


def test_a_guard_takes_what_its_operator_takes_and_changes_nothing() -> None:
    def other(state: Peak, event: Event, sauce: Input) -> None: ...

    with refused("other takes what keeps takes, by the same names"):

        @operator(guard=other)
        def keeps(state: Peak, event: Event, source: Input) -> float:
            return source

    def writes(state: Peak, event: Event) -> None:
        state.highest = 1.0

    @operator(guard=writes)
    def stays(state: Peak, event: Event) -> float:
        return 1.0

    with refused("so is a guard's state"):
        Pipeline("p", version="1.0.0", event=Sale, steps={"a": stays()})


def test_merges_and_results_are_compiled_for_rows() -> None:
    compiled = sales.compile()
    both = combiner(sales.steps, compiled.row_dtype)
    rows, others = (np.repeat(compiled.template, 3) for _ in range(2))
    rows["peak"]["highest"], others["peak"]["highest"] = [1.0, 7.0, 3.0], [4.0, 5.0, math.inf]
    assert both.merge(rows, others) == 3
    assert both.read(rows)["peak"].tolist() == [4.0, 7.0, math.inf]


def test_a_merge_that_fails_leaves_its_row_and_those_after_it() -> None:
    steps = {"sum": ops.sum("price")}
    compiled = Pipeline("sums", version="1.0.0", event=Sale, steps=steps).plan.steps[0]
    row = np.dtype([("sum", compiled.state)], align=True)
    rows, others = np.zeros(3, row), np.zeros(3, row)
    rows["sum"]["total"], others["sum"]["total"] = [1.0, 1.7e308, 1.0], [2.0, 1.7e308, 2.0]
    assert combiner(steps, row).merge(rows, others) == 1
    assert rows["sum"]["total"].tolist() == [3.0, 1.7e308, 1.0]


def test_equal_numbers_have_equal_tokens_and_others_have_others() -> None:
    for values in ([0, 1, -1, 2**63 - 1, -(2**63)], [0.0, 1.0, -1.0, 5e-324, math.inf]):
        assert len({token_of(value) for value in values}) == len(values)
    assert token_of(-0.0) == token_of(0.0)
    assert token_of(math.nan) == 0


def test_the_digest_covers_columns_tables_and_what_is_bound() -> None:
    def digest(**steps: Any) -> str:
        return Pipeline("p", version="1.0.0", event=Sale, steps=steps).digest

    assert digest(a=ops.quantiles("price", 0.5)) != digest(a=ops.quantiles("price", 0.6))
    assert digest(a=ops.histogram("price", [1.0, 2.0])) != digest(a=ops.histogram("price", [1.0, 3.0]))
    assert digest(a=ops.distinct("price")) != digest(a=ops.distinct("pieces"))
    assert digest(a=weighed(("price", "weight"), scale=1.0)) != digest(a=weighed(("weight", "price"), scale=1.0))
    assert digest(a=ops.top_k("shop")) == digest(a=ops.top_k("shop"))


def refused(mend: str) -> Any:
    return pytest.raises(RingmillError, match=rf"{Path(__file__).name}:\d+: .*{mend}")


def test_a_merge_takes_two_states_and_constants() -> None:
    def three(state: Peak, other: Peak, source: float) -> None: ...

    with refused(r"three takes \(state, other, floor\), the first 2 of them always"):

        @operator(merge=three)
        def keeps(state: Peak, event: Event, source: Input, floor: float) -> float:
            return source


def test_a_merge_is_a_kernel_and_checked_as_one() -> None:
    def prints(state: Peak, other: Peak) -> None:
        print(other.highest)

    @operator(merge=prints)
    def keeps(state: Peak, event: Event, source: Input) -> float:
        return source

    with refused("print does input or output"):
        Pipeline("p", version="1.0.0", event=Sale, steps={"a": keeps("price")})


def test_columns_are_the_outputs() -> None:
    with refused("has columns, which are its outputs"):

        @operator(columns=(Columns(("a",), token_at),))
        def both(state: Seen, event: Event) -> float:
            return 1.0


def test_a_table_that_could_change_is_refused() -> None:
    loose = np.zeros(3)

    @operator
    def reads(state: Peak, event: Event) -> float:
        return float(loose[0])

    with refused("flags.writeable = False"):
        Pipeline("p", version="1.0.0", event=Sale, steps={"a": reads()})


def test_an_input_needs_a_name() -> None:
    for wrong in (3.0, (), ("price", 1)):
        with refused("write the name of a field"):
            weighed(wrong, scale=1.0)  # type: ignore[arg-type]  # the mistake under test


def test_a_label_of_an_earlier_step_is_no_input_yet() -> None:
    with refused("a label of an earlier step"):
        Pipeline("p", version="1.0.0", event=Sale, steps={"a": before("shop"), "b": ops.distinct("a")})
