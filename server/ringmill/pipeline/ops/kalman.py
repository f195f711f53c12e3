"""Kalman filters: a level that drifts, and a position with its velocity."""

import math
from typing import NamedTuple

from ringmill.pipeline.fields import Event, Input, State
from ringmill.pipeline.operators import Step, operator
from ringmill.pipeline.ops.parameters import checked_number

SECOND_US = 1e6


class Level(State):
    """16 bytes."""

    level: float = math.nan
    variance: float = 0.0


class Estimate(NamedTuple):
    """NaN before the first value."""

    level: float | None
    variance: float | None


def estimate_of(state: Level) -> Estimate:
    """The level, and how sure it is."""
    return Estimate(state.level, math.nan if math.isnan(state.level) else state.variance)


@operator(result=estimate_of)
def _kalman(state: Level, event: Event, source: Input, process: float, noise: float) -> Estimate:
    if math.isnan(state.level):
        if not math.isnan(source):
            state.level, state.variance = source, noise
    elif not math.isnan(source):
        predicted = state.variance + process
        gain = predicted / (predicted + noise)
        state.level += gain * (source - state.level)
        state.variance = (1.0 - gain) * predicted
    return estimate_of(state)


def kalman(source: str, process: float, noise: float) -> Step:
    """The key's true level, of which each value is a noisy reading and which drifts from event to event.

    process: variance of the drift from one event to the next; noise: variance of a reading. It begins with the first
    value and its noise. Outputs level and variance; NaN before the first value; a missing value repeats them. State: 16
    bytes. Does not merge: the gain hangs on what came before.
    Source: Kalman, "A new approach to linear filtering and prediction problems", Journal of Basic Engineering 82
    (1960), with one state and transition 1.
    """
    return _kalman(
        source,
        process=checked_number("kalman", "process", process, at_least=0.0),
        noise=checked_number("kalman", "noise", noise, above=0.0),
    )


class Motion(State):
    """48 bytes. The covariances of position and velocity are pp, pv, vv."""

    position: float = math.nan
    velocity: float = 0.0
    pp: float = 0.0
    pv: float = 0.0
    vv: float = 0.0
    newest_us: int = 0


class Moving(NamedTuple):
    """NaN before the first value. velocity: a second."""

    position: float | None
    velocity: float | None
    variance: float | None


def moving_of(state: Motion) -> Moving:
    """Where it was at the newest value, and how fast."""
    if math.isnan(state.position):
        return Moving(math.nan, math.nan, math.nan)
    return Moving(state.position, state.velocity, state.pp)


def move(state: Motion, dt: float, acceleration: float) -> None:
    """Predicts the state dt seconds later."""
    state.position += state.velocity * dt
    state.pp += dt * (2.0 * state.pv + dt * state.vv) + acceleration * dt * dt * dt * dt / 4.0
    state.pv += dt * state.vv + acceleration * dt * dt * dt / 2.0
    state.vv += acceleration * dt * dt


@operator(result=moving_of)
def _kalman_motion(
    state: Motion, event: Event, source: Input, acceleration: float, noise: float, speed: float
) -> Moving:
    if math.isnan(source):
        return moving_of(state)
    if math.isnan(state.position):
        state.position, state.pp, state.vv, state.newest_us = source, noise, speed, event.time_us
        return moving_of(state)
    if event.time_us > state.newest_us:
        move(state, float(event.time_us - state.newest_us) / SECOND_US, acceleration)
        state.newest_us = event.time_us
    total = state.pp + noise
    gain_p, gain_v = state.pp / total, state.pv / total
    surprise = source - state.position
    state.position += gain_p * surprise
    state.velocity += gain_v * surprise
    state.vv -= gain_v * state.pv
    state.pv -= gain_p * state.pv
    state.pp -= gain_p * state.pp
    if not math.isfinite(state.position + state.velocity + state.pp + state.pv + state.vv):
        raise ArithmeticError("a double cannot hold the covariances")
    return moving_of(state)


def kalman_motion(source: str, acceleration: float, noise: float, speed: float) -> Step:
    """Position and velocity of what moves and is pushed at random, from noisy positions at uneven event times.

    Two states, transition [[1, dt], [0, 1]], process noise acceleration * [[dt**4 / 4, dt**3 / 2], [dt**3 / 2, dt**2]]
    for dt seconds since the newest value; an older event counts as if of that time. acceleration, noise: variances of
    the push and of a reading; speed: variance of the velocity at the start, which is 0 with the first value as
    position. NaN before the first value; a missing value repeats it. State: 48 bytes. Needs event times. Does not
    merge.
    Source: Kalman 1960; the noise as in Bar-Shalom, Li, Kirubarajan, "Estimation with applications to tracking and
    navigation", 2001, 6.3.2.
    """
    return _kalman_motion(
        source,
        acceleration=checked_number("kalman_motion", "acceleration", acceleration, at_least=0.0),
        noise=checked_number("kalman_motion", "noise", noise, above=0.0),
        speed=checked_number("kalman_motion", "speed", speed, at_least=0.0),
    )
