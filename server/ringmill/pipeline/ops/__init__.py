"""The built-in operators. Each makes a step: `"z": ops.zscore("delay")` reads the field or earlier output "delay".

Rules they share. A missing value (NaN of a nullable field or output) changes no state but where the operator says so;
the output is then what it was, or NaN where it belongs to that one value. An output is NaN until it is defined. Whole
numbers and bools are read as doubles, so beyond 2**53 they are rounded. A result that a double cannot hold, such as a
sum beyond 1.8e308, rejects its event with OPERATOR_FAILED and leaves the state as it was; it is never infinite.
Every docstring names the definition, its source, the bytes that a key's state takes, and whether two states merge into
one: by any events, or only with later ones.
"""

from ringmill.pipeline.ops.adwin import adwin
from ringmill.pipeline.ops.alarms import alarm
from ringmill.pipeline.ops.averages import ewma, mean, variance, zscore
from ringmill.pipeline.ops.covariance import correlation, covariance
from ringmill.pipeline.ops.cusum import cusum
from ringmill.pipeline.ops.distinct import distinct
from ringmill.pipeline.ops.ew_variance import ew_variance
from ringmill.pipeline.ops.extremes import maximum as max  # noqa: A004 - read as ops.max, never imported by itself
from ringmill.pipeline.ops.extremes import minimum as min  # noqa: A004 - read as ops.min
from ringmill.pipeline.ops.frequency import frequency
from ringmill.pipeline.ops.gcra import gcra
from ringmill.pipeline.ops.geofence import geofence
from ringmill.pipeline.ops.histogram import histogram
from ringmill.pipeline.ops.holt_winters import holt_winters
from ringmill.pipeline.ops.inference import model
from ringmill.pipeline.ops.kalman import kalman, kalman_motion
from ringmill.pipeline.ops.ohlcv import ohlcv
from ringmill.pipeline.ops.page_hinkley import page_hinkley
from ringmill.pipeline.ops.quantiles import quantiles
from ringmill.pipeline.ops.recent import delta, first, lag, last
from ringmill.pipeline.ops.regression import linear_regression, logistic_regression
from ringmill.pipeline.ops.sequence import sequence
from ringmill.pipeline.ops.streak import streak
from ringmill.pipeline.ops.token_bucket import token_bucket
from ringmill.pipeline.ops.top_k import top_k
from ringmill.pipeline.ops.totals import count, rate
from ringmill.pipeline.ops.totals import total as sum  # noqa: A004 - read as ops.sum
from ringmill.pipeline.ops.trend import trend
from ringmill.pipeline.ops.twap import twap
from ringmill.pipeline.ops.vwap import vwap

__all__ = [
    "adwin",
    "alarm",
    "correlation",
    "count",
    "covariance",
    "cusum",
    "delta",
    "distinct",
    "ew_variance",
    "ewma",
    "first",
    "frequency",
    "gcra",
    "geofence",
    "histogram",
    "holt_winters",
    "kalman",
    "kalman_motion",
    "lag",
    "last",
    "linear_regression",
    "logistic_regression",
    "max",
    "mean",
    "min",
    "model",
    "ohlcv",
    "page_hinkley",
    "quantiles",
    "rate",
    "sequence",
    "streak",
    "sum",
    "token_bucket",
    "top_k",
    "trend",
    "twap",
    "variance",
    "vwap",
    "zscore",
]
