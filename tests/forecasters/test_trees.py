"""Trees as arrays say what scikit-learn's say."""

import numpy as np
from sklearn.ensemble import HistGradientBoostingClassifier

from hews_gpu.forecasters.trees import grow_trees

SETTINGS = {"max_iter": 30, "learning_rate": 0.1, "max_leaf_nodes": 6, "min_samples_leaf": 20, "max_features": 0.5}


def test_they_give_the_bits_of_scikit_learn():
    rng = np.random.default_rng(0)
    x = np.hstack([rng.poisson(1.0, (4000, 3)), rng.normal(size=(4000, 3))]).astype(np.float32)
    y = rng.random(4000) < 1 / (1 + np.exp(2 - x[:, 0] + x[:, 4] * (x[:, 3] > 0)))
    trees = grow_trees(x, y, 7, l2_regularization=5.0, **SETTINGS)
    known = HistGradientBoostingClassifier(l2_regularization=5.0, early_stopping=False, random_state=7, **SETTINGS)
    asked = np.vstack([x[:500], np.full((1, 6), -1e9, np.float32), np.full((1, 6), 1e9, np.float32)])
    np.testing.assert_array_equal(trees.probability(asked), known.fit(x, y).predict_proba(asked)[:, 1])
    assert len(trees.root) == 30 and trees.probability(asked).std() > 0.05


def test_without_anything_to_tell_apart_there_is_one_leaf_a_tree():
    x, y = np.zeros((100, 2), np.float32), np.arange(100) < 30
    trees = grow_trees(x, y, 0, **SETTINGS)
    np.testing.assert_allclose(trees.probability(x), 0.3, rtol=1e-6)
