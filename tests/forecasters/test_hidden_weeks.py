"""Hidden weeks: the weekday, chances and factors that rows were drawn by, and Bayes' rule as a loop would apply it."""

import numpy as np
import pytest

from hews_gpu.data.windows import Windows
from hews_gpu.forecasters.catalog import TARGETS, make_catalog, outcomes
from hews_gpu.forecasters.count_columns import WEEKS as HOT
from hews_gpu.forecasters.counts import Counts, CountsFit
from hews_gpu.forecasters.hidden_weeks import HiddenWeeks
from hews_gpu.forecasters.level import Level
from hews_gpu.forecasters.stored import pack, unpack
from hews_gpu.units import DAY_S, HOUR_S, WEEK_S
from tests.forecasters.test_level import fitted

AREAS, WEEKS, DAY = 6, 120, 3  # weeks begin on the third day after the epoch's
STREAMS = (TARGETS, "ASSAULT", "THEFT")
USUAL = np.linspace(0.5, 2, AREAS)[:, None] * [0.3, 4.0, 10.0]
LOG_FACTOR = np.log([8.0, 1.8, 1.0])
TO_HOT, TO_QUIET = 0.15, 0.7


def catalog_of(hot, seed):
    """Rows at random in weeks [W, N] that are hot or not."""
    rng = np.random.default_rng(seed)
    count = rng.poisson(USUAL * np.exp(hot[..., None] * LOG_FACTOR))
    week, area, kind = np.nonzero(count)
    week, area, kind = (np.repeat(each, count[count > 0]) for each in (week, area, kind))
    return make_catalog(
        time_s=DAY * DAY_S + week * WEEK_S + rng.integers(0, WEEK_S // 60, len(week)) * 60,
        category=kind,
        area=area,
        xy_m=np.zeros((len(week), 2)),
        is_target=kind == 0,
        categories=("SHOOTING", "ASSAULT", "THEFT"),
        areas=AREAS,
    )


@pytest.fixture(scope="module")
def city():
    """A week in five is hot, each neighborhood on its own."""
    rng = np.random.default_rng(0)
    hot = np.zeros((WEEKS, AREAS), dtype=bool)
    hot[0] = rng.random(AREAS) < TO_HOT / (TO_HOT + TO_QUIET)
    for week in range(1, WEEKS):
        hot[week] = rng.random(AREAS) < np.where(hot[week - 1], 1 - TO_QUIET, TO_HOT)
    begin_s = DAY * DAY_S + np.arange(WEEKS * 7 * 12, dtype=np.int64) * 2 * HOUR_S
    catalog = catalog_of(hot, 1)
    windows = Windows(issue_s=begin_s, begin_s=begin_s, end_s=begin_s + 2 * HOUR_S)
    learned = windows.select(np.arange(len(windows) - 40))  # to the middle of a week
    return catalog, windows, hot, HiddenWeeks.fitted(catalog, learned, STREAMS)


def test_it_finds_the_weekday_the_factors_and_the_chances(city):
    *_, weeks = city
    assert weeks.begin_s % WEEK_S == DAY * DAY_S
    np.testing.assert_allclose(weeks.log_factor, LOG_FACTOR, atol=0.35)
    np.testing.assert_allclose(weeks.usual.sum(axis=0), USUAL.sum(axis=0), rtol=0.2)
    assert weeks.to_hot == pytest.approx(TO_HOT, abs=0.04) and weeks.to_quiet == pytest.approx(TO_QUIET, abs=0.15)


def test_hot_weeks_stand_out(city):
    catalog, windows, hot, weeks = city
    last, first = windows.issue_s[83::84], (weeks.begin_s - int(windows.begin_s[0])) // WEEK_S
    told, hot = weeks.log_rate(catalog, last)[first:], hot[first:]  # at the last window of each week
    assert told[hot].mean() > 1.4 > 0.4 > told[~hot].mean()


def test_it_is_the_rule_of_bayes(city):
    catalog, _, _, weeks = city
    when_s = np.array([weeks.begin_s - HOUR_S, weeks.begin_s + 3 * WEEK_S, weeks.begin_s + 9 * WEEK_S + 100_000])
    told, column = weeks.log_rate(catalog, when_s), catalog.columns(STREAMS)
    for s, now_s in enumerate(when_s.tolist()):
        for n in range(AREAS):
            hot = weeks.to_hot / (weeks.to_hot + weeks.to_quiet)
            for begin_s in range(weeks.begin_s, now_s, WEEK_S):
                if begin_s > weeks.begin_s:
                    hot = hot * (1 - weeks.to_quiet) + (1 - hot) * weeks.to_hot
                until_s = min(begin_s + WEEK_S, now_s)
                mine = (catalog.area == n) & (column >= 0)
                mine &= (catalog.known_s >= begin_s) & (catalog.known_s < until_s)
                count = np.bincount(column[mine], minlength=len(STREAMS))
                expected = weeks.usual[n] * (until_s - begin_s) / WEEK_S
                likely = [
                    np.exp((count * np.log(mean) - mean).sum())
                    for mean in (expected, expected * np.exp(weeks.log_factor))
                ]
                hot = hot * likely[1] / (hot * likely[1] + (1 - hot) * likely[0])
            if now_s == weeks.begin_s + 3 * WEEK_S:
                hot = hot * (1 - weeks.to_quiet) + (1 - hot) * weeks.to_hot
            assert told[s, n] == pytest.approx(np.log(1 - hot + hot * np.exp(weeks.log_factor[0])), rel=1e-6)


def test_what_is_known_later_changes_no_bit(city):
    catalog, windows, _, weeks = city
    full = weeks.log_rate(catalog, windows.issue_s)
    just_now = np.flatnonzero(np.isin(windows.issue_s, catalog.known_s[catalog.known_s > weeks.begin_s]))
    assert len(just_now) > 10
    for s in (1, 500, *just_now[:10].tolist()):
        alone = weeks.log_rate(catalog.until(int(windows.issue_s[s])), windows.issue_s[s : s + 1])
        np.testing.assert_array_equal(alone[0], full[s])


def test_without_hot_weeks_none_is_hotter(city):
    _, windows, hot, _ = city
    plain = catalog_of(np.zeros_like(hot), 2)
    weeks = HiddenWeeks.fitted(plain, windows, STREAMS)
    assert weeks is None or np.ptp(weeks.log_rate(plain, windows.issue_s)) < 1.0


def test_a_year_is_asked_for(city):
    catalog, windows, *_ = city
    assert HiddenWeeks.fitted(catalog, windows.select(np.arange(52 * 84)), STREAMS) is None
    assert HiddenWeeks.fitted(catalog, windows, STREAMS[1:]) is None


def test_a_law_of_counts_uses_them_and_is_stored_with_them(city):
    catalog, windows, hot, _ = city
    counts = fitted(Counts(Level()), catalog, outcomes(catalog, windows))
    assert HOT in [source for term in counts.fitted.terms for source in term.sources]
    last = windows.select(np.arange(83, len(windows), 84))
    areas = counts.predict_areas(catalog, last) / USUAL[:, 0]
    assert areas[hot].mean() > 3 * areas[~hot].mean()
    arrays = {}
    packed = pack(counts.fitted, arrays)
    again = Counts(counts.parts["base"])
    again.fitted = unpack(CountsFit, packed, arrays)
    np.testing.assert_array_equal(again.predict_areas(catalog, last), counts.predict_areas(catalog, last))
