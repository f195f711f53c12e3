"""Our clients against real workers, alone and behind a balancer, with pandas as oracle."""

import asyncio
from typing import Any

import numpy as np
import pandas as pd

from ringmill.client import AsyncClient, Client, Reason

PIPELINE = "readings"


def frame_of(prefix: str, count: int) -> pd.DataFrame:
    random = np.random.default_rng(7)
    keys = [f"{prefix}-{key}" for key in random.integers(0, 300, count)]
    places = random.choice(["Zürich", "Oslo", ""], count)
    return pd.DataFrame({"key": keys, "value": random.normal(0, 1, count), "place": places})


def expected(frame: pd.DataFrame) -> pd.DataFrame:
    groups = frame.groupby("key")["value"]
    seen = groups.cumcount() + 1
    before = frame.groupby("key")["place"].shift(1).fillna("nowhere")
    return pd.DataFrame({"total": groups.cumsum(), "seen": seen, "mean": groups.cumsum() / seen, "where": before})


def test_columns_agree_with_pandas(site: Any) -> None:
    frame = frame_of("columns", 50_000)
    with Client(site.address, PIPELINE, batch_events_max=1000) as client:
        got = client.process_frame(frame, key="key")
    wanted = expected(frame)
    for name in ("total", "seen", "mean"):
        np.testing.assert_allclose(got[name], wanted[name], rtol=1e-9, atol=1e-9)
    assert (got["where"] == wanted["where"]).all()
    assert got["rejection"].isna().all()


def test_single_events_agree_with_columns(site: Any) -> None:
    rows = [(f"single-{i % 3}", 0, float(i)) for i in range(200)]
    with Client(site.address, PIPELINE) as client:
        outcomes = [outcome for _, outcome in client.stream(rows)]
    totals = pd.Series([float(i) for i in range(200)]).groupby([i % 3 for i in range(200)]).cumsum()
    assert [outcome.total for outcome in outcomes] == totals.tolist()


def test_tasks_share_a_stream(site: Any) -> None:
    async def main() -> list[float]:
        async with AsyncClient(site.address, PIPELINE) as client:
            outcomes = await asyncio.gather(*(client.submit((f"task-{i}", 0, float(i))) for i in range(300)))
            again = await client.process([f"task-{i}" for i in range(300)], value=1.0)
            assert again["seen"].tolist() == [2] * 300
            return [outcome.total for outcome in outcomes]

    assert asyncio.run(main()) == [float(i) for i in range(300)]


def test_rejections_of_a_worker(site: Any) -> None:
    with Client(site.address, PIPELINE) as client:
        got = client.process(["bad", "", "bad", "bad"], value=[1.0, 1.0, np.nan, 666.0])
        assert got.reasons.tolist() == [0, Reason.KEY_INVALID, Reason.VALUES_INVALID, Reason.OPERATOR_FAILED]
        details = {row: rejection.detail for row, rejection in got.rejections()}
        assert all(details.values())
        assert client.process_one("bad", value=1.0).total == 2.0  # the failed events left no trace
