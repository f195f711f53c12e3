"""Bars: open, high, low, close and volume."""

import math
from typing import NamedTuple

from ringmill.pipeline.fields import Event, Input, State
from ringmill.pipeline.operators import Step, operator


class Traded(State):
    """64 bytes."""

    open: float = math.nan
    high: float = math.nan
    low: float = math.nan
    close: float = math.nan
    volume: float = 0.0
    trades: int = 0
    first_us: int = 0
    newest_us: int = 0


class Bar(NamedTuple):
    """NaN before the first price."""

    open: float | None
    high: float | None
    low: float | None
    close: float | None
    volume: float
    trades: int


def bar_of(state: Traded) -> Bar:
    """The bar of all trades so far."""
    return Bar(state.open, state.high, state.low, state.close, state.volume, state.trades)


def merge_bars(state: Traded, other: Traded) -> None:
    """By time; of prices at one time, open is of `state` and close of `other`."""
    if other.trades == 0:
        return
    if state.trades == 0 or other.first_us < state.first_us:
        state.open, state.first_us = other.open, other.first_us
    if state.trades == 0 or other.newest_us >= state.newest_us:
        state.close, state.newest_us = other.close, other.newest_us
    if state.trades == 0 or other.high > state.high:
        state.high = other.high
    if state.trades == 0 or other.low < state.low:
        state.low = other.low
    state.volume += other.volume
    state.trades += other.trades


@operator(merge=merge_bars, result=bar_of)
def _ohlcv(state: Traded, event: Event, price: Input, volume: Input) -> Bar:
    if volume < 0.0:
        raise ValueError("a negative volume")
    if not math.isnan(price):
        if state.trades == 0 or event.time_us < state.first_us:
            state.open, state.first_us = price, event.time_us
        if state.trades == 0 or event.time_us >= state.newest_us:
            state.close, state.newest_us = price, event.time_us
        if state.trades == 0 or price > state.high:
            state.high = price
        if state.trades == 0 or price < state.low:
            state.low = price
        state.trades += 1
        if not math.isnan(volume):
            state.volume += volume
    return bar_of(state)


def ohlcv(price: str, volume: str) -> Step:
    """The bar of the key's trades so far: open, high, low, close, volume and the number of trades.

    Open is the price with the earliest event time, close the one with the latest; of equal times the first and the last
    to arrive. So late trades are put where they belong. A missing price changes nothing, a missing volume counts as
    none, a negative one is rejected. State: 64 bytes. Needs event times. Merges.
    Definition: the bar of a period, as pandas' `resample().ohlc()`, whose period is the key's life.
    """
    return _ohlcv(price, volume)
