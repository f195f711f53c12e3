"""The pipeline that the benchmarks serve: an EWMA and a z-score for each sensor."""

from ringmill.pipeline import Event, Pipeline, ops


class Reading(Event):
    """What a sensor says."""

    temperature: float
    humidity: float


readings = Pipeline(
    "readings",
    version="1.0.0",
    event=Reading,
    steps={
        "ewma": ops.ewma("humidity", alpha=0.1),
        "z": ops.zscore("temperature"),
    },
)
