"""The built-in operators. Each makes a step: `"z": ops.zscore("delay")` reads the field or earlier output "delay".

Rules they share. A missing value (NaN of a nullable field or output) changes no state but where the operator says so;
the output is then what it was, or NaN where it belongs to that one value. An output is NaN until it is defined. Whole
numbers and bools are read as doubles, so beyond 2**53 they are rounded. A result that a double cannot hold, such as a
sum beyond 1.8e308, rejects its event with OPERATOR_FAILED and leaves the state as it was; it is never infinite.
Every docstring names the definition, its source and the bytes that a key's state takes.
"""

from ringmill.pipeline.ops.alarms import alarm
from ringmill.pipeline.ops.averages import ewma, mean, variance, zscore
from ringmill.pipeline.ops.extremes import maximum as max  # noqa: A004 - read as ops.max, never imported by itself
from ringmill.pipeline.ops.extremes import minimum as min  # noqa: A004 - read as ops.min
from ringmill.pipeline.ops.recent import lag, last
from ringmill.pipeline.ops.totals import count, rate
from ringmill.pipeline.ops.totals import total as sum  # noqa: A004 - read as ops.sum

__all__ = ["alarm", "count", "ewma", "lag", "last", "max", "mean", "min", "rate", "sum", "variance", "zscore"]
