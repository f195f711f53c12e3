"""Trains the models in `data/`: `python -m tests.oracle.make_model`. They are small, and learn a made-up rule."""

from pathlib import Path

import numpy as np
import xgboost

ROWS = 2_000
FOLDER = Path(__file__).parent / "data"


def main() -> None:
    chance = np.random.default_rng(5)
    features = chance.normal(size=(ROWS, 3)).astype(np.float32)
    features[chance.random(features.shape) < 0.1] = np.nan
    x, y, volume = np.nan_to_num(features).T
    data = xgboost.DMatrix(features, label=(x + y * y > 0.7 + 0.2 * volume).astype(int))
    trees = xgboost.train({"objective": "binary:logistic", "max_depth": 4, "seed": 1}, data, 8)
    trees.save_model(FOLDER / "model.json")
    linear = xgboost.DMatrix(features, label=2.0 * x - y)
    xgboost.train({"booster": "gblinear", "objective": "reg:squarederror", "seed": 1}, linear, 20).save_model(
        FOLDER / "linear.json"
    )


if __name__ == "__main__":
    main()
