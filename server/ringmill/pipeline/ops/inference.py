"""A trained model, applied to each event: tree ensembles and linear models that XGBoost saved."""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ringmill.pipeline.fields import Array, Event, Inputs, State, array
from ringmill.pipeline.operators import Operator, Step, operator
from ringmill.pipeline.ops.parameters import checked_names
from ringmill.pipeline.ops.regression import sigmoid
from ringmill.pipeline.place import Place, caller, wrong

FILE_BYTES_MAX = 64 << 20
NODES_MAX = 100_000
FEATURES_MAX = 1024
_IDENTITY, _LOGISTIC, _EXPONENTIAL = 0, 1, 2
_LINKS = {
    "reg:squarederror": _IDENTITY,
    "reg:absoluteerror": _IDENTITY,
    "reg:pseudohubererror": _IDENTITY,
    "binary:logitraw": _IDENTITY,
    "binary:logistic": _LOGISTIC,
    "reg:logistic": _LOGISTIC,
    "count:poisson": _EXPONENTIAL,
    "reg:gamma": _EXPONENTIAL,
    "reg:tweedie": _EXPONENTIAL,
}


class Nothing(State):
    """8 bytes, unused: no record is empty."""


def model(path: str | Path, features: str | Sequence[str] = ()) -> Step:
    """The prediction of a trained model for each event: trees (gbtree) or linear (gblinear), one output.

    path: a model that XGBoost has saved as JSON, beside the app file unless absolute; it is read when the pipeline is
    loaded, and is part of the digest. features: names of fields or earlier numbers, in the order of the model's; left
    out, the names that the file has. A missing feature goes where the tree sends missing ones; in a linear model it
    counts 0. Up to 100,000 nodes. Objectives with one output that is the sum itself, its logistic or its exponential.
    State: 8 bytes a feature; 8, unused, if linear. Does not merge. Source: Chen, Guestrin, "XGBoost: a scalable tree
    boosting system", KDD 2016; trees compare in 32 bits, as it does, and are summed in 64.
    """
    place = caller()
    file = Path(place.file).parent / path
    try:
        if file.stat().st_size > FILE_BYTES_MAX:
            raise wrong(place, f"model({str(path)!r}): larger than {FILE_BYTES_MAX >> 20} MiB")
        learner = json.loads(file.read_bytes())["learner"]
        return _step(learner, features, str(path), place)
    except OSError as problem:
        raise wrong(place, f"model({str(path)!r}): {problem.strerror}") from None
    except (ValueError, KeyError, TypeError, IndexError, AttributeError):
        raise wrong(
            place, f'model({str(path)!r}): not a model that XGBoost saved as JSON: booster.save_model("model.json")'
        ) from None


def _step(learner: Any, features: str | Sequence[str], path: str, place: Place) -> Step:
    parameters, objective = learner["learner_model_param"], learner["objective"]["name"]
    booster, count = learner["gradient_booster"], int(parameters["num_feature"])
    names = checked_names("model", "features", features or learner["feature_names"], FEATURES_MAX)
    if len(names) != count:
        raise wrong(place, f"model({path!r}): it takes {count} features, and {len(names)} are named")
    if objective not in _LINKS or int(parameters["num_class"]) > 1 or int(parameters.get("num_target", 1)) > 1:
        raise wrong(place, f"model({path!r}): {objective} is not served: train for one output, such as binary:logistic")
    link = _LINKS[objective]
    base = _base_score(parameters["base_score"], link)
    if booster["name"] == "gblinear":
        return _linear(np.array(booster["model"]["weights"], np.float64), base, link, count)(names)
    if booster["name"] != "gbtree":
        raise wrong(place, f"model({path!r}): {booster['name']} is not served: train with gbtree or gblinear")
    return _trees(*_read_trees(booster["model"]["trees"], count, path, place), base, link, count)(names)


def _base_score(text: str, link: int) -> float:
    """What the sum begins with: the file has it as a prediction, in brackets since version 3.1."""
    mean = float(text.strip("[]"))
    if link == _LOGISTIC:
        return math.log(mean / (1.0 - mean))
    return math.log(mean) if link == _EXPONENTIAL else mean


def _read_trees(trees: list[Any], features: int, path: str, place: Place) -> tuple[Any, Any, Any]:
    """All nodes in one table: feature or -1, child if less, with the other next to it, and which of the two if missing.

    Also each node's value, the threshold or the leaf's, and the roots.
    """
    nodes: list[tuple[int, int, int]] = []
    values: list[float] = []
    roots = []
    for tree in trees:
        if any(tree.get("split_type", ())) or tree.get("categories"):
            raise wrong(place, f"model({path!r}): splits by category are not served: encode them as numbers")
        roots.append(len(nodes))
        first, order = len(nodes), [0]
        for node in order:
            less, feature = int(tree["left_children"][node]), int(tree["split_indices"][node])
            values.append(float(tree["split_conditions"][node]))
            if less == -1:
                nodes.append((-1, 0, 0))
                continue
            if less < 0 or not 0 <= feature < features or len(order) > len(tree["left_children"]):
                raise ValueError("a node that is no tree's")
            nodes.append((feature, first + len(order), 0 if tree["default_left"][node] else 1))
            order += (less, int(tree["right_children"][node]))
        if len(nodes) > NODES_MAX:
            raise wrong(place, f"model({path!r}): more than {NODES_MAX:,} nodes")
    return np.array(nodes, np.int32), np.array(values, np.float32).astype(np.float64), np.array(roots, np.int32)


def answer(score: float, link: int) -> float:
    """The prediction from the sum."""
    if link == _LOGISTIC:
        return sigmoid(score)
    return math.exp(score) if link == _EXPONENTIAL else score


def _trees(nodes: Any, values: Any, roots: Any, base: float, link: int, count: int) -> Operator:
    features_of, children, missing = (np.ascontiguousarray(nodes[:, place]) for place in range(3))
    for table in (features_of, children, missing, values, roots):
        table.flags.writeable = False
    trees = len(roots)

    class Inputs32(State):
        """Room for the event's features in 32 bits: an array is read by index faster than a tuple."""

        values: Array = array(count, fill=0.0)

    @operator
    def _model(state: Inputs32, event: Event, features: Inputs) -> float:
        for place in range(count):
            state.values[place] = np.float64(np.float32(features[place]))
        score = base
        for tree in range(trees):
            node = roots[tree]
            feature = int(features_of[node])
            while feature >= 0:
                value = state.values[feature]
                more = missing[node] if math.isnan(value) else (1 if value >= values[node] else 0)
                node = children[node] + more
                feature = int(features_of[node])
            score += values[node]
        return answer(score, link)

    return _model


def _linear(weights: Any, base: float, link: int, count: int) -> Operator:
    if weights.shape != (count + 1,):
        raise ValueError("weights of another number")
    weights.flags.writeable = False

    @operator
    def _model(state: Nothing, event: Event, features: Inputs) -> float:
        score = base + weights[count]
        for place in range(count):
            if not math.isnan(features[place]):
                score += weights[place] * features[place]
        return answer(score, link)

    return _model
