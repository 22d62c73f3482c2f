"""The truth of foreign laws against plain Python, against all paths of the hidden states, and against what happened."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from hews_gpu.errors import UserError
from hews_gpu.synthetic.foreign_law import ForeignLaw, Hidden, Past, Recent, Rows
from hews_gpu.synthetic.foreign_presets import FOREIGN
from hews_gpu.synthetic.foreign_truth import ForeignTruth
from hews_gpu.synthetic.law import LogOddsRhythm
from tests.synthetic.histories import BEGIN_S, foreign_history, happened, happened_by_area
from tests.synthetic.plain_foreign import by_enumeration, plain_mean

WINDOW_S = 7200


def tiny_truth(*, by_area, on_odds=False, every_h=4, windows=6):
    """Two neighborhoods in five windows; a hidden chain, one category that tells of it, and one that inhibits."""
    rng = np.random.default_rng(3)

    def rows(count):
        return Rows(np.sort(rng.integers(0, 120 * windows, count)), rng.integers(0, 2, count))

    hidden = Hidden(
        values=(-0.5, 1.0),
        transition=((0.8, 0.2), (0.4, 0.6)),
        every_h=every_h,
        by_area=by_area,
        strength=1.4,
        categories=(("LARCENY", 0.9),),
    )
    law = ForeignLaw(
        name="tiny",
        base=LogOddsRhythm(p=0.1),
        categories=(),
        effects=(Recent(source="BURGLARY", gain=-0.7, since_h=5.0), Recent(source="LARCENY", gain=0.3, since_h=3.0)),
        hidden=hidden,
        on_odds=on_odds,
        areas=2,
    )
    targets = rows(6)
    return ForeignTruth(
        law=law,
        begin_s=BEGIN_S,
        base=rng.uniform(0.3, 1.0, windows),
        area_share=np.array([0.7, 0.3]),
        past=Past(
            windows=windows, neighbors=np.eye(2)[::-1], origin=0, rows={"BURGLARY": rows(8), "LARCENY": rows(14)}
        ),
        category_means=rng.uniform(1.0, 3.0, (1, windows)),
        category_shares=np.array([[0.4, 0.6]]),
        target_s=BEGIN_S + 60 * targets.minute,
        target_area=targets.area,
    )


def windows_of(truth, window):
    begin_s = truth.begin_s + WINDOW_S * np.asarray(window)
    return begin_s, begin_s, begin_s + WINDOW_S


@pytest.mark.parametrize(("by_area", "on_odds", "every_h"), [(True, False, 4), (False, True, 2), (False, False, 6)])
@pytest.mark.parametrize("late", [0, 20])
def test_the_filter_agrees_with_all_paths_of_the_hidden_state(by_area, on_odds, every_h, late):
    truth = tiny_truth(by_area=by_area, on_odds=on_odds, every_h=every_h, windows=4 if by_area else 6)
    every = np.arange(truth.past.windows)
    issue_s, begin_s, end_s = windows_of(truth, every)
    lead_s = 300 * (late > 0)
    times = issue_s - lead_s, begin_s, end_s
    city = truth.probability(*times, delay_s=60 * late - lead_s)
    areas = truth.by_area(*times, delay_s=60 * late - lead_s)
    wanted = [by_enumeration(truth, window, late) for window in every]
    assert np.abs(city - [one for one, _ in wanted]).max() < 1e-12
    assert np.abs(areas - [many for _, many in wanted]).max() < 1e-12


@pytest.mark.parametrize("name", FOREIGN)
def test_means_are_those_of_plain_python(name):
    truth = foreign_history(name, days=12, areas=5, base=LogOddsRhythm(p=0.6)).truth
    assert len(truth.target_s) > 40
    value = 0.8 if truth.law.hidden is not None else 0.0
    assert truth.mean(value) == pytest.approx(np.array(plain_mean(truth, value)), rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("name", FOREIGN)
@pytest.mark.parametrize("late", [0, 30])
def test_what_is_not_known_yet_changes_nothing(name, late):
    truth = foreign_history(name, days=20, areas=5, base=LogOddsRhythm(p=0.6)).truth
    for window in range(1, 240, 12):
        issue_s, begin_s, end_s = windows_of(truth, window)
        known = (int(issue_s) - truth.begin_s) // 60 - late
        rows = {key: Rows(*(column[each.minute < known] for column in each)) for key, each in truth.past.rows.items()}
        then = truth.target_s < int(issue_s) - 60 * late
        cut = replace(
            truth,
            past=replace(truth.past, rows=rows),
            target_s=truth.target_s[then],
            target_area=truth.target_area[then],
        )
        for ask in ("probability", "by_area"):
            one, other = (getattr(each, ask)(issue_s, begin_s, end_s, delay_s=60 * late) for each in (truth, cut))
            assert np.array_equal(one, other)


@pytest.mark.parametrize(
    ("issue", "begin", "end", "named"),
    [(0, 3600, 10800, "target window"), (7200, 7200, 10800, "target window"), (0, 7200, 14400, "lead and delay")],
)
def test_windows_off_the_grid_are_refused(issue, begin, end, named):
    truth = tiny_truth(by_area=True)
    with pytest.raises(UserError, match=named):
        truth.probability(*(BEGIN_S + edge for edge in (issue, begin, end)))
    with pytest.raises(UserError, match="lead and delay"):
        truth.by_area(*windows_of(truth, 2), delay_s=1860)


# ---------------------------------------------------------------- against what happened


def slope(p, y):
    """Slope of the outcomes' log-odds in those of the forecast, by Newton's method, and its standard error."""
    x = np.log(p / (1 - p)).ravel()
    design, beta = np.stack([np.ones_like(x), x], axis=1), np.array([0.0, 1.0])
    for _ in range(6):
        q = 1 / (1 + np.exp(-design @ beta))
        information = design.T @ (design * (q * (1 - q))[:, None])
        beta = beta + np.linalg.solve(information, design.T @ (y.ravel() - q))
    return beta[1], np.sqrt(np.linalg.inv(information)[1, 1])


def gain(p, worse, y):
    """How much better a forecast is than another, in standard errors of the mean log score."""
    each = np.where(y, np.log(p / worse), np.log((1 - p) / (1 - worse)))
    return each.mean() / each.std() * np.sqrt(len(each))


@pytest.mark.parametrize("name", FOREIGN)
def test_the_oracle_is_calibrated_and_beats_what_is_late_or_blurred(name):
    truth = foreign_history(name, seed=11, days=3 * 365).truth
    issue_s, begin_s, end_s = windows_of(truth, np.arange(truth.past.windows))
    p, y = truth.probability(issue_s, begin_s, end_s), happened(truth, begin_s, end_s)
    areas, where = truth.by_area(issue_s, begin_s, end_s), happened_by_area(truth, begin_s, end_s)
    for chance, outcome in ((p, y), (areas, where)):
        steep, error = slope(chance, outcome)
        assert abs(steep - 1) < 4 * error < 0.4
        assert abs((outcome - chance).sum()) < 4 * np.sqrt((chance * (1 - chance)).sum())
    assert 0.05 < y.mean() < 0.15
    assert gain(p, np.roll(p, 1), y) > 2  # the other way round is no test: the next window's oracle has seen this one
    if name not in ("clock", "wave"):  # these have nothing but what the same hours of the days around have, too
        blurred = np.mean([np.roll(p, 12 * days) for days in range(-7, 8)], axis=0)
        assert gain(p, blurred, y) > 2
