"""Level, trend and season: Holt-Winters."""

import math
from typing import NamedTuple

from ringmill.pipeline.fields import Array, Event, Input, State, array
from ringmill.pipeline.operators import Step, operator
from ringmill.pipeline.ops.parameters import checked_bool, checked_number, checked_whole

SEASON_MAX = 2048


class Forecast(NamedTuple):
    """NaN until the first values have been seen; `error` is NaN for a missing value too."""

    forecast: float | None
    error: float | None


def holt_winters(
    source: str,
    alpha: float,
    beta: float | None = None,
    gamma: float | None = None,
    season: int = 0,
    multiplicative: bool = False,
) -> Step:
    """Forecasts the key's next value from its level, its trend (with beta) and its season (with gamma and season).

    forecast: of the next value; error: this value less what was forecast for it. The first max(2, season) values begin
    it: level, their mean; trend, the mean of their differences; season, each less the level, or over it if
    multiplicative. Then, with s the season m events ago, additive (multiplicative: y / s, forecast (l + b) * s):

        l' = alpha * (y - s) + (1 - alpha) * (l + b)        b' = beta * (l' - l) + (1 - beta) * b
        s' = gamma * (y - l - b) + (1 - gamma) * s          forecast = l' + b' + s of the next

    alpha, beta, gamma: 0 to 1, alpha above 0. season: events in one, 2 to 2,048. A missing value changes nothing.
    State: 8 * season + 40 bytes. Does not merge: the weights of values hang on how many came after.
    Source: Winters, "Forecasting sales by exponentially weighted moving averages", Management Science 6 (1960).
    """
    alpha = checked_number("holt_winters", "alpha", alpha, above=0.0, at_most=1.0)
    trend = 0.0 if beta is None else checked_number("holt_winters", "beta", beta, at_least=0.0, at_most=1.0)
    if gamma is not None or season:
        gamma = checked_number("holt_winters", "gamma", gamma, at_least=0.0, at_most=1.0)
        season = checked_whole("holt_winters", "season", season, 2, SEASON_MAX)
    rate = 0.0 if gamma is None else gamma
    factor = checked_bool("holt_winters", "multiplicative", multiplicative)
    has_trend, has_season = beta is not None, season > 0
    first = max(2, season)

    class Components(State):
        """Until `seen` is `first`, seasons holds the first values."""

        level: float = 0.0
        trend: float = 0.0
        seen: int = 0
        place: int = 0
        seasons: Array = array(first, fill=0.0)

    def begin(state: Components) -> None:
        mean = 0.0
        for place in range(first):
            mean += (state.seasons[place] - mean) / (place + 1)
        state.level = mean
        if has_trend:
            state.trend = (state.seasons[first - 1] - state.seasons[0]) / (first - 1)
        for place in range(first):
            state.seasons[place] = state.seasons[place] / mean if factor else state.seasons[place] - mean

    def learn(state: Components, y: float) -> None:
        level, slope = state.level, state.trend
        old = state.seasons[state.place] if has_season else (1.0 if factor else 0.0)
        state.level = alpha * (y / old if factor else y - old) + (1.0 - alpha) * (level + slope)
        if has_trend:
            state.trend = trend * (state.level - level) + (1.0 - trend) * slope
        if has_season:
            plain = level + slope
            state.seasons[state.place] = rate * (y / plain if factor else y - plain) + (1.0 - rate) * old
            state.place += 1
            if state.place == season:
                state.place = 0

    def forecast_of(state: Components) -> float:
        if state.seen < first:
            return math.nan
        plain = state.level + state.trend
        if not has_season:
            return plain
        old: float = state.seasons[state.place]
        return plain * old if factor else plain + old

    @operator
    def _holt_winters(state: Components, event: Event, source: Input) -> Forecast:
        before = forecast_of(state)
        if math.isnan(source):
            return Forecast(before, math.nan)
        if state.seen < first:
            state.seasons[state.seen] = source
            state.seen += 1
            if state.seen == first:
                begin(state)
        else:
            learn(state, source)
        forecast = forecast_of(state)
        if state.seen == first and math.isnan(forecast):
            raise ArithmeticError("a double cannot hold the components")
        return Forecast(forecast, source - before)

    return _holt_winters(source)
