"""Newton's method against scikit-learn's logistic regression, and what an offset does."""

import numpy as np
import pytest
from scipy.special import expit
from sklearn.linear_model import LogisticRegression

from hews_gpu.forecasters.logistic import fit_with_offset, logit


def data(n=4000, seed=0):
    rng = np.random.default_rng(seed)
    x = np.column_stack([np.ones(n), rng.normal(size=(n, 2))])
    return x, rng.random(n) < expit(x @ [-1.0, 0.7, -0.3])


def test_it_equals_scikit_learn():
    x, y = data()
    expected = LogisticRegression(C=np.inf, tol=1e-10, max_iter=1000).fit(x[:, 1:], y)
    found = fit_with_offset(x, y)
    np.testing.assert_allclose(found, [expected.intercept_[0], *expected.coef_[0]], atol=1e-5)


def test_a_ridge_equals_scikit_learns():
    x, y = data()
    expected = LogisticRegression(C=1 / 50, tol=1e-10, max_iter=1000).fit(x[:, 1:], y)
    found = fit_with_offset(x, y, ridge=np.array([0.0, 50.0, 50.0]))
    np.testing.assert_allclose(found, [expected.intercept_[0], *expected.coef_[0]], atol=1e-5)


def test_an_offset_takes_part_with_weight_one():
    x, y = data()
    whole = fit_with_offset(x, y)
    rest = fit_with_offset(x, y, offset=0.5 * x[:, 1])
    np.testing.assert_allclose(rest - whole, [0, -0.5, 0], atol=1e-6)


def test_separable_data_end_at_something_finite():
    x = np.array([[1.0, -1], [1, -2], [1, 1], [1, 2]])
    assert np.isfinite(fit_with_offset(x, x[:, 1] > 0)).all()


def test_certain_forecasts_have_finite_log_odds():
    assert logit([0.0, 0.5, 1.0]) == pytest.approx([-40, 0, 40])
