"""What users import to define pipelines: typed classes for events and states, operators, and their order."""

from ringmill.pipeline import ops
from ringmill.pipeline.fields import Array, Event, Input, Inputs, Label, LabelInput, State, Token, array, label
from ringmill.pipeline.load import load_pipelines
from ringmill.pipeline.operators import Columns, Operator, Step, operator
from ringmill.pipeline.pipeline import Pipeline
from ringmill.pipeline.result import RunResult
from ringmill.pipeline.windows import (
    Window,
    count,
    days,
    hopping,
    hours,
    minutes,
    seconds,
    session,
    sliding,
    tumbling,
)

__all__ = [
    "Array",
    "Columns",
    "Event",
    "Input",
    "Inputs",
    "Label",
    "LabelInput",
    "Operator",
    "Pipeline",
    "RunResult",
    "State",
    "Step",
    "Token",
    "Window",
    "array",
    "count",
    "days",
    "hopping",
    "hours",
    "label",
    "load_pipelines",
    "minutes",
    "operator",
    "ops",
    "seconds",
    "session",
    "sliding",
    "tumbling",
]
