"""Calibration against forecasts whose distortion is known, scikit-learn, and the package relplot."""

import numpy as np
import pytest
from scipy.optimize import brentq
from scipy.special import expit
from sklearn.linear_model import LogisticRegression

from hews_gpu.evaluation.bootstrap import Blocks, interval
from hews_gpu.evaluation.calibration import calibration, calibration_slope, slopes_drawn, smooth_calibration_error
from hews_gpu.evaluation.metrics import reliability
from hews_gpu.forecasters.logistic import logit


def rows_of(blocks, draw):
    """Return the windows of one drawn series."""
    return np.concatenate([np.arange(s, s + blocks.size) for s in blocks.starts[draw]])[: blocks.length]


def drawn(n=20_000, seed=0, slope=1.0, intercept=0.0):
    """Forecasts, and outcomes that follow them only after their log-odds are stretched and moved."""
    rng = np.random.default_rng(seed)
    p = rng.beta(2, 6, n)
    return rng.random(n) < expit(intercept + slope * logit(p)), p


@pytest.mark.parametrize(("slope", "intercept"), [(1.0, 0.0), (0.6, 0.2), (1.5, -0.3)])
def test_the_distortion_is_found(slope, intercept):
    y, p = drawn(slope=slope, intercept=intercept)
    found = calibration_slope(y, p)
    assert found == pytest.approx((slope, intercept), abs=0.08)
    expected = LogisticRegression(C=np.inf, tol=1e-10).fit(logit(p)[:, None], y)
    assert found == pytest.approx((expected.coef_[0, 0], expected.intercept_[0]), abs=1e-4)


def test_with_true_probabilities_the_distortion_is_found_without_noise():
    _, p = drawn(300)
    assert calibration_slope(expit(0.2 + 0.6 * logit(p)), p) == pytest.approx((0.6, 0.2), abs=1e-6)


def test_a_forecast_that_never_varies_has_no_slope():
    y, _ = drawn(400)
    found = calibration(y, np.full(400, 0.25), Blocks.drawn(400, 10, draws=20))
    assert found["slope"] is None and found["slope_interval"] is None
    assert found["intercept"] == pytest.approx(logit(y.mean()) - logit(0.25), abs=1e-6)


def test_calibration_in_the_large_is_the_shift_that_gives_as_many_events_as_there_were():
    y, p = drawn(400, slope=0.6, intercept=-0.4)
    found = calibration(y, p, Blocks.drawn(400, 10, draws=20))
    shift = brentq(lambda c: expit(logit(p) + c).sum() - y.sum(), -5, 5, xtol=1e-12)
    assert found["in_the_large"] == pytest.approx(shift, abs=1e-6)
    slope, intercept = calibration_slope(y, p)
    assert (found["slope"], found["intercept"]) == (slope, intercept) and abs(intercept - shift) > 0.1
    assert found["smooth_calibration_error"] == smooth_calibration_error(y, p)
    assert found["reliability"] == reliability(y, p)


def test_drawn_slopes_are_close_to_full_fits_of_the_drawn_series():
    y, p = drawn(4000, slope=0.8)
    blocks = Blocks.drawn(4000, 84, draws=40, seed=1)
    found = slopes_drawn(y, p, blocks)
    for draw in range(40):
        rows = rows_of(blocks, draw)
        assert found[draw] == pytest.approx(calibration_slope(y[rows], p[rows])[0], abs=0.015)
    assert found.std() > 0.02


def test_the_slopes_interval_covers_the_truth():
    inside = 0
    for seed in range(60):
        y, p = drawn(2000, seed=seed, slope=0.7)
        low, high = interval(slopes_drawn(y, p, Blocks.drawn(2000, 20, draws=300, seed=seed)))
        inside += low <= 0.7 <= high
    assert 51 <= inside <= 60


# smECE (normal kernel) by relplot 1.0.3, the authors' package, on the forecasts of `golden`: seed, shift, value
RELPLOT = [(0, 0.0, 0.01699144897110544), (1, 0.08, 0.07009708301155748), (2, -0.1, 0.019573694258548716)]
RELPLOT += [(3, 0.3, 0.14267954314499398)]


def golden(seed, shift):
    rng = np.random.default_rng(seed)
    p = rng.beta(1, 4, 3000)
    chance = np.clip(p * (1 - abs(shift)) + shift * 0.5 + 0.05 * (shift != 0), 0, 1)
    return (rng.random(3000) < chance).astype(int), p


@pytest.mark.parametrize(("seed", "shift", "value"), RELPLOT)
def test_smooth_calibration_error_is_relplots(seed, shift, value):
    assert smooth_calibration_error(*golden(seed, shift)) == pytest.approx(value, abs=5e-4)  # its grids are coarser


def test_smooth_calibration_error_by_hand():
    """All forecasts 0.5, a quarter come true: the miss of 0.25 stays 0.25 however it is smeared."""
    y = np.tile([1, 0, 0, 0], 50)
    assert smooth_calibration_error(y, np.full(200, 0.5)) == pytest.approx(0.25, abs=1e-3)
    assert smooth_calibration_error(np.tile([1, 0], 100), np.full(200, 0.5)) == pytest.approx(0, abs=1e-3)


def plainly_smeared(y, p, width):
    """The same, point by point: each miss is shared between two cells; the kernel ends at six widths, reflected."""
    points = max(400, int(np.ceil(12 / width)))
    cells = np.zeros(points)
    for outcome, forecast in zip(y, p, strict=True):
        place = forecast * points - 0.5
        left = int(np.floor(place))
        for cell, share in ((left, left + 1 - place), (left + 1, place - left)):
            cells[min(max(cell, 0), points - 1)] += share * (outcome - forecast) / len(y)
    reach = int(6 * width * points + 0.5)
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / (width * points)) ** 2)
    return np.abs(np.convolve(np.pad(cells, reach, mode="symmetric"), kernel / kernel.sum(), mode="valid")).sum()


@pytest.mark.parametrize("shift", [0.0, 0.08, 0.3])
def test_smooth_calibration_error_is_the_width_that_smears_as_much(shift):
    """To a 2^20th of the widths there are, of which it is the middle; forecasts of 0 and 1 are among them."""
    y, p = (part[:300] for part in golden(4, shift))
    p = np.concatenate([p, [0, 0.001, 1, 1]])
    y = np.concatenate([y, [1, 0, 0, 1]])
    width = brentq(lambda w: plainly_smeared(y, p, w) - w, 0.001, 1, xtol=1e-12)
    step = 0.999 / 2**20
    assert smooth_calibration_error(y, p) == pytest.approx(0.001 + (np.floor((width - 0.001) / step) + 0.5) * step)
    assert smooth_calibration_error(y, p) == pytest.approx(width, abs=step)


def test_an_error_below_the_narrowest_width_is_what_that_width_smears():
    p = np.array([0, 0.0002, 0.3, 0.304, 0.31, 0.7, 0.99995, 1])
    true = p + np.array([8, -6, 8, -8, 4, 4, 6, -8]) * 1e-4
    found = smooth_calibration_error(true, p)
    assert found == pytest.approx(plainly_smeared(true, p, 0.001), rel=1e-12) and 0.0002 < found < 0.0006
