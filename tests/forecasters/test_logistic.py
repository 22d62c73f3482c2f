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


def test_what_a_prior_does_not_make_regular_is_solved_all_the_same():
    """Two columns that rounding makes one, of which any share may go to either."""
    y = np.array([0.0, 1.0, 1.0, 0.0, 1.0])
    x = np.repeat(np.array([[1e9], [2e9], [3e9], [1e9], [2e9]]), 2, axis=1)
    both = fit_with_offset(x, y, ridge=1e-3)
    assert both[0] == pytest.approx(both[1]) and both.sum() == pytest.approx(fit_with_offset(x[:, :1], y)[0], rel=1e-6)


@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
def test_what_is_no_number_is_refused():
    with pytest.raises(ValueError, match="must be finite"):
        fit_with_offset(np.array([[1.0, np.nan], [1.0, 2.0]]), np.array([0.0, 1.0]), ridge=1.0)
