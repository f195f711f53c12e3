"""Departure delays of real flights, by aircraft and by route: what `ringmill demo` runs.

    ringmill check examples/flights.py
    ringmill up examples/flights.py

A flight that was cancelled has no delay: it counts as an event but leaves mean, z-score and average as they were.
"""

from ringmill.pipeline import Event, Pipeline, Step, ops


class Flight(Event):
    """One departure. Its key is the aircraft's tail number or the route; its time is the scheduled departure."""

    delay: float | None  # minutes late, negative: early; missing: cancelled


def delays() -> dict[str, Step]:
    """What is kept of the delays of one key."""
    return {
        "flights": ops.count(),
        "mean": ops.mean("delay"),
        "z": ops.zscore("delay"),
        "ewma": ops.ewma("delay", alpha=0.1),
        "alarm": ops.alarm("z", above=4.0, clear=1.0),
    }


by_tail = Pipeline("flights_by_tail", version="1.0.0", event=Flight, steps=delays())
by_route = Pipeline("flights_by_route", version="1.0.0", event=Flight, steps=delays())
