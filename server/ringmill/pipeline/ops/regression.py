"""Linear and logistic regression, learnt event by event."""

import math
from collections.abc import Sequence

from ringmill.pipeline.fields import Array, Event, Input, Inputs, State, array
from ringmill.pipeline.operators import Operator, Step, operator
from ringmill.pipeline.ops.parameters import checked_names, checked_number

FEATURES_MAX = 64
GRADIENT_MAX = 1e12


def sigmoid(value: float) -> float:
    """1 / (1 + exp(-value)), without overflow."""
    if value >= 0.0:
        return 1.0 / (1.0 + math.exp(-value))
    grown = math.exp(value)
    return grown / (1.0 + grown)


def linear_regression(target: str, features: Sequence[str], rate: float = 0.01, l2: float = 0.0) -> Step:
    """Predicts `target` from `features` by a linear model of the key's own, which then learns from the event.

    The output is the prediction made before learning. Learning is a step down the gradient of the squared error:
    weights -= rate * (2 * (prediction - target) * features + l2 * weights), and the same for the intercept, without l2.
    Weights begin at 0. features: 1 to 64 names; rate: above 0, and small against the features' squares: standardise
    them (`zscore`). A missing target is predicted and not learnt; a missing feature gives NaN and teaches nothing. A
    weight that a double cannot hold rejects its event. State: 8 * features + 8 bytes. Does not merge: steps hang on
    order.
    Source: Robbins, Monro, "A stochastic approximation method", Annals of Mathematical Statistics 22 (1951); as
    `river.linear_model.LinearRegression(optim.SGD(rate), intercept_lr=rate, l2=l2)`.
    """
    names = checked_names("linear_regression", "features", features, FEATURES_MAX)
    rate = checked_number("linear_regression", "rate", rate, above=0.0)
    return _regression(len(names), False)(target, names, rate=rate, l2=_checked_l2("linear_regression", l2))


def logistic_regression(target: str, features: Sequence[str], rate: float = 0.01, l2: float = 0.0) -> Step:
    """The probability that `target` is true, by a logistic model of the key's own, which then learns from the event.

    As `linear_regression`, with the gradient of the logarithmic loss, (probability - target) * features. target: a
    bool, or a number that is true unless 0. State: 8 * features + 8 bytes. Does not merge.
    Source: Cox 1958; Robbins, Monro 1951; as `river.linear_model.LogisticRegression(optim.SGD(rate), l2=l2,
    intercept_lr=rate)`.
    """
    names = checked_names("logistic_regression", "features", features, FEATURES_MAX)
    rate = checked_number("logistic_regression", "rate", rate, above=0.0)
    return _regression(len(names), True)(target, names, rate=rate, l2=_checked_l2("logistic_regression", l2))


def _checked_l2(name: str, l2: float) -> float:
    return checked_number(name, "l2", l2, at_least=0.0)


def _regression(count: int, logistic: bool) -> Operator:
    class Model(State):
        """One weight for each feature."""

        weights: Array = array(count, fill=0.0)
        intercept: float = 0.0

    @operator
    def _learn(state: Model, event: Event, target: Input, features: Inputs, rate: float, l2: float) -> float | None:
        score = state.intercept
        for place in range(count):
            if math.isnan(features[place]):
                return math.nan
            score += state.weights[place] * features[place]
        if not math.isfinite(score):
            raise ArithmeticError("a sum that a double cannot hold: lower the rate")
        prediction = sigmoid(score) if logistic else score
        if not math.isnan(target):
            wanted = (1.0 if target != 0.0 else 0.0) if logistic else target
            gradient = (1.0 if logistic else 2.0) * (prediction - wanted)
            gradient = max(-GRADIENT_MAX, min(GRADIENT_MAX, gradient))
            state.intercept -= rate * gradient
            for place in range(count):
                state.weights[place] -= rate * (gradient * features[place] + l2 * state.weights[place])
                if not math.isfinite(state.weights[place]):
                    raise ArithmeticError("a weight that a double cannot hold: lower the rate")
        return prediction

    return _learn
