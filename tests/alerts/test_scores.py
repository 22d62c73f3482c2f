"""Scores by hand, by formulas that share nothing with ours, by scikit-learn, and intervals by how often they hold."""

from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score, roc_curve

from hews_gpu.alerts.decide import CITY
from hews_gpu.alerts.judged import judge_all
from hews_gpu.alerts.scores import mean_ratio, summary
from hews_gpu.evaluation.metrics import reliability
from tests.alerts.invented_timeline import NAN, alone, drawn, ten, warning, windows

A, B = np.log2(4 / 3), np.log2(8 / 7)


def summed(timeline, given, which=None):
    which = np.ones(len(timeline.windows), dtype=bool) if which is None else which
    return summary(timeline, judge_all(timeline, {"p": given}), which)


def test_the_ten_forecasts_that_were_made_by_hand():
    """Made: 0 to 5 and 7; 6 came late. With a = log2(4/3), b = log2(8/7), bits lost are 1 a b 1 1 1 b = 4 + a + 2b.

    The calendar loses 2 at each of the three targets and a at the four others: 6 + 4a. So (2 + 3a - 2b) / 7 is gained.
    Squares: 1/4 at 0, 3, 4, 5, 1/16 at 1, 1/64 at 2 and 7: 1.09375; the calendar's 3 (9/16) + 4/16 = 1.9375.
    Of 12 pairs of a window with a target and one without, both say 1/2 in 3, else the first says more: 10.5 / 12.
    Warned of the highest, 1/2: 4 of 7 windows, and nothing is missed: the area under Molchan's curve is (4/7) / 2.
    """
    scored = summed(*ten())["as_made"]
    model = scored["forecasts"]["p"]
    assert (scored["windows"], scored["positives"], scored["effective_windows"]) == (7, 3, 7)
    assert model["log_loss_bits"] == pytest.approx((4 + A + 2 * B) / 7)
    gained = model["against"]["climatology"]
    assert gained["log_skill_bits"]["value"] == pytest.approx((2 + 3 * A - 2 * B) / 7)
    assert gained["brier_skill"]["value"] == pytest.approx(1 - 1.09375 / 1.9375)
    assert gained["log_skill_bits"]["interval"] is None  # ten windows are too few
    assert model["roc"]["auc"] == pytest.approx(10.5 / 12)
    assert model["roc"]["curve"] == [[0, 0], [1 / 4, 1], [2 / 4, 1], [1, 1]]
    assert model["molchan"]["area"] == pytest.approx(2 / 7)
    assert model["molchan"]["curve"][:2] == [[0, 1], [4 / 7, 0]]
    assert [(row["p_mean"], row["y_rate"], row["count"]) for row in model["reliability"]] == [
        (0.125, 0, 2),
        (0.25, 0, 1),
        (0.5, 3 / 4, 4),
    ]


def test_the_ten_as_they_were_served_by_hand():
    """Issued in time: 0, 1, 2, 3, 5, 7, where 3 + a + 2b bits are lost; at 4, 6, 8, 9 the calendar stands: 6 + a.

    The calendar loses 10 + 5a in all, so (1 + 3a - 2b) / 10 is gained. Squares: 0.84375 + 1.75 against 3.125.
    """
    scored = summed(*ten())["as_served"]
    gained = scored["forecasts"]["p"]["against"]["climatology"]
    assert (scored["windows"], scored["positives"], scored["base_rate"]) == (10, 5, 0.5)
    assert gained["log_skill_bits"]["value"] == pytest.approx((1 + 3 * A - 2 * B) / 10)
    assert gained["brier_skill"]["value"] == pytest.approx(1 - 2.59375 / 3.125)


def test_the_tiers_of_the_ten_by_hand():
    """In force: a warning at 0, watches at 3 and 5. Risks are 0.2 and 0.4.

    Of at least a watch: false at 5, 0.2; missed at 4, 6, 8, 0.8 each: 2.6. Of a warning: missed at 3, 4, 6, 8, 0.6:
    2.4. Mean over ten: 0.26 and 0.24. Who never warns misses five of each: (4 + 3) / 10.
    """
    by_tier = summed(*ten())["warnings"]["city"]["p"]["matrix"]
    assert by_tier["score"] == pytest.approx(0.5) and by_tier["never"] == pytest.approx(0.7)
    assert by_tier["tiers"]["watch"] == pytest.approx({"probability": 0.2, "firm": 0.26, "over": 0.02, "under": 0.24})
    assert by_tier["tiers"]["warning"] == pytest.approx({"probability": 0.4, "firm": 0.24, "over": 0, "under": 0.24})


def test_the_rest_of_the_ten_by_hand():
    """Made forecasts average (4/2 + 1/4 + 2/8) / 7, and 3 / 7 came true; the calendar expects 10 log(4/3)."""
    whole = summed(*ten())
    assert whole["outcomes"] == {
        "due": 10, "issued": 6, "abstained": 1, "refused": 1, "stopped": 0, "late": 1, "missing": 1
    }  # fmt: skip
    assert whole["open"] == 0 and whole["events"] == {"city": 5}
    assert whole["drift"]["mean_forecast"] == pytest.approx(2.5 / 7)
    assert whole["drift"]["difference"]["value"] == pytest.approx(0.5 / 7)
    assert whole["drift"]["events"] == 5
    assert whole["drift"]["expected_events"] == pytest.approx(10 * np.log(4 / 3))


def test_tiers_of_changing_risks_are_scored_by_the_risk_of_their_time_and_no_risk_is_no_tier():
    """With risks (0.2, never) up to 4 and (0.1, never) from 5 on: 0.8 for 4; 0.1 for 5, 0.9 for 6 and 8: 2.7."""
    timeline, given = ten()
    risks = np.array([[0.2, np.inf]] * 5 + [[0.1, np.inf]] * 5)
    by_tier = summed(replace(timeline, thresholds={"city": risks}), given)["warnings"]["city"]["p"]["matrix"]
    assert by_tier["score"] == pytest.approx(0.27)
    assert list(by_tier["tiers"]) == ["watch"] and by_tier["tiers"]["watch"]["firm"] == pytest.approx(0.27)
    never = replace(timeline, thresholds={"city": np.full((10, 2), np.inf)})
    assert summed(never, given)["warnings"]["city"]["p"]["matrix"] is None


def dense_matrix(timeline, given, kind):
    """The risk-matrix score by a loop over all windows and places."""
    places = [CITY] if kind == "city" else range(timeline.neighborhoods)
    late = {int(s) for s, o in zip(timeline.windows.issue_s, timeline.outcome, strict=True) if o == "late"}
    acting = [one for one in given if not one.withheld and one.issue_s not in late]
    costs = []
    for s, y in zip(timeline.windows.issue_s.tolist(), timeline.y.tolist(), strict=True):
        inside = (timeline.event_s >= s) & (timeline.event_s < s + 7200)
        for place in places if y >= 0 else ():
            came = y == 1 if kind == "city" else (timeline.event_place[inside] == place).any()
            cost = 0.0
            for tiers, risk in zip((("watch", "warning"), ("warning",)), timeline.thresholds[kind][0], strict=True):
                is_on = any(one.place == place and one.tier in tiers and one.issue_s <= s < one.end_s for one in acting)
                cost += risk * (is_on and not came) + (1 - risk) * (came and not is_on)
            costs.append(cost)
    return np.mean(costs)


@pytest.mark.parametrize("seed", range(12))
def test_tiers_are_scored_as_a_loop_over_all_windows_and_places_scores_them(seed):
    timeline, given = drawn(seed)
    scored = summed(timeline, given)["warnings"]
    for kind in ("city", "neighborhoods"):
        by_tier = scored[kind]["p"]["matrix"]
        assert by_tier["score"] == pytest.approx(dense_matrix(timeline, given, kind))
        assert by_tier["never"] == pytest.approx(dense_matrix(timeline, [], kind))
        assert by_tier["score"] == pytest.approx(sum(tier["firm"] for tier in by_tier["tiers"].values()))


@pytest.mark.parametrize("seed", range(12))
def test_curves_are_those_of_scikit_learn_and_reliability_is_that_of_an_evaluation(seed):
    timeline, given = drawn(seed, stride_s=7200)
    made = np.isin(timeline.outcome, ["issued", "abstained"]) & (timeline.y >= 0)
    y, p = timeline.y[made], timeline.p["p"][made]
    scored = summed(timeline, given)["as_made"]["forecasts"]["p"]
    if 0 < y.sum() < len(y):
        assert scored["roc"]["auc"] == pytest.approx(roc_auc_score(y, p))
        false, hit, _ = roc_curve(y, p, drop_intermediate=False)
        assert np.allclose(scored["roc"]["curve"], np.stack([false, hit], axis=1))
        alarmed = y.mean() * hit + (1 - y.mean()) * false
        assert np.allclose(scored["molchan"]["curve"], np.stack([alarmed, 1 - hit], axis=1))
        assert scored["molchan"]["area"] == pytest.approx(np.trapezoid(1 - hit, alarmed))
    else:
        assert scored["roc"] is None
    for ours, theirs in zip(scored["reliability"], reliability(y, p), strict=True):
        assert ours == pytest.approx(theirs)


@pytest.mark.parametrize("seed", range(12))
def test_scores_by_neighborhood_are_those_of_all_its_cells(seed):
    timeline, given = drawn(seed)
    made = np.isin(timeline.outcome, ["issued", "abstained"]) & (timeline.y >= 0)
    cut, places = timeline.windows.select(made), np.arange(4)
    inside = (timeline.event_s >= cut.begin_s[:, None]) & (timeline.event_s < cut.end_s[:, None])
    y = np.array([[(row & (timeline.event_place == n)).any() for n in places] for row in inside])
    p, calendar = timeline.areas[made], 1 - (1 - timeline.p["climatology"][made, None]) ** timeline.shares
    scored = summed(timeline, given)["areas"]
    losses = [-np.log2(np.where(y, q, 1 - q)).mean() for q in (p, calendar)]
    squares = [((q - y) ** 2).mean() for q in (p, calendar)]
    model = scored["forecasts"]["p"]
    assert (scored["windows"], scored["positives"]) == (y.size, y.sum())
    assert [scored["forecasts"][name]["log_loss_bits"] for name in ("p", "climatology")] == pytest.approx(losses)
    assert [scored["forecasts"][name]["brier"] for name in ("p", "climatology")] == pytest.approx(squares)
    assert model["against"]["climatology"]["log_skill_bits"]["value"] == pytest.approx(losses[1] - losses[0])
    assert model["against"]["climatology"]["brier_skill"]["value"] == pytest.approx(1 - squares[0] / squares[1])
    if y.any():
        assert model["roc"]["auc"] == pytest.approx(roc_auc_score(y.ravel(), p.ravel()))
    for ours, theirs in zip(model["reliability"], reliability(y.ravel(), p.ravel()), strict=True):
        assert {name: ours[name] for name in ("p_mean", "y_rate", "count")} == pytest.approx(
            {name: theirs[name] for name in ("p_mean", "y_rate", "count")}
        )


def overlapping(rng, days, skill=0.0):
    """Ten-minute issue times of two-hour windows; two forecasts with errors of half a day, equally good on average."""
    count, overlap, run = days * 144, 12, 72
    event = rng.random(count + overlap) < 0.02
    y = np.convolve(event, np.ones(overlap), "valid")[:count] > 0

    def odds():
        return np.repeat(rng.normal(0, 0.5, count // run + 1), run)[:count]

    base = np.log(0.215 / 0.785)
    return y, {name: 1 / (1 + np.exp(-(base + odds()))) for name in ("p", "climatology")}


@pytest.mark.parametrize("days", [1, 30])
def test_intervals_hold_their_level_where_windows_overlap(days):
    """Of exchangeable forecasts 5 % of intervals leave out 0; by windows taken for independent, 55 to 60 %."""
    rng, covered, naive = np.random.default_rng(days), [], []
    for _ in range(600):
        y, p = overlapping(rng, days)
        lost = [-np.log2(np.where(y, p[name], 1 - p[name])) for name in ("climatology", "p")]
        gained = lost[0] - lost[1]
        low, high = mean_ratio((600, 7200), gained, np.ones(len(y)))["interval"]
        covered.append(low <= 0 <= high)
        naive.append(abs(gained.mean()) <= 1.96 * gained.std(ddof=1) / np.sqrt(len(y)))
    assert 0.92 < np.mean(covered) < 0.98
    assert np.mean(naive) < 0.6


@pytest.mark.parametrize(("rate", "least", "most"), [(0.02, 0.02, 0.09), (0.03, 0.9, 1)])
def test_a_month_without_drift_is_called_drifted_once_in_twenty_and_one_with_it_is_seen(rate, least, most):
    """Observed less forecast over 30 days; where windows overlap; forecasts are the true chances of a rate of 0.02."""
    rng, drifted = np.random.default_rng(5), []
    for _ in range(400):
        count = 30 * 144
        event = rng.random(count + 12) < rate
        y = np.convolve(event, np.ones(12), "valid")[:count] > 0
        low, high = summed(alone(y, {"p": np.full(count, 1 - 0.98**12)}), [])["drift"]["difference"]["interval"]
        drifted.append(low > 0 or high < 0)
    assert least < np.mean(drifted) <= most


def test_bands_of_a_reliability_diagram_are_as_wide_as_of_windows_that_do_not_overlap():
    """Twelve windows that share their time tell as much as one: bands of 1,200 are those of 100."""
    count = 1200
    timeline = alone(np.arange(count) % 4 == 0, {"p": np.full(count, 0.3)})
    (row,) = summed(timeline, [])["as_made"]["forecasts"]["p"]["reliability"]
    (fewer,) = reliability(np.arange(100) % 4 == 0, np.full(100, 0.3))
    assert (row["low"], row["high"]) == (fewer["low"], fewer["high"]) and row["count"] == 1200


def test_months_are_scored_apart_and_an_event_belongs_to_the_last_that_could_have_warned():
    timeline, given = ten()
    first = np.arange(10) < 5
    parts = [summed(timeline, given, which) for which in (first, ~first)]
    assert [part["events"]["city"] for part in parts] == [3, 2]
    assert [part["warnings"]["city"]["p"]["any"]["given"] for part in parts] == [2, 1]
    assert parts[1]["as_served"]["windows"] == 5


def test_without_a_forecast_there_are_no_scores_but_misses():
    timeline, _ = ten()
    silent = replace(
        timeline, outcome=np.full(10, "refused"), p={"p": np.full(10, NAN), "climatology": np.full(10, NAN)}
    )
    whole = summed(silent, [])
    assert whole["as_made"] is whole["as_served"] is whole["drift"] is None
    assert whole["warnings"]["city"]["p"]["any"]["pod"] == 0
    assert whole["warnings"]["city"]["p"]["any"]["far"] is None


def test_a_lead_shifts_windows_and_the_chance_to_warn():
    """With a lead of one window, the event in window 3 is of the forecast issued at 2."""
    cut = windows(10, lead_s=7200)
    timeline, _ = ten()
    ahead = replace(timeline, windows=cut)
    one = warning(2, begin_s=3 * 7200, end_s=4 * 7200)
    row = summed(ahead, [one])["warnings"]["city"]["p"]["any"]
    assert (row["hits"], row["caught"], row["median_lead_s"]) == (1, 1, 7200 + 600)
    assert row["events"] == 4  # that of the first window lies before all that was due


def test_a_change_of_stride_or_minimum_lead_leaves_what_was_before_as_it_was():
    """The ten at two hours, then twelve at ten minutes: the first ten score as they did alone."""
    timeline, given = ten()
    issue_s = np.append(timeline.windows.issue_s, 10 * 7200 + 600 * np.arange(12))
    more = {name: np.append(p, np.full(12, 0.25)) for name, p in timeline.p.items()}
    longer = replace(
        timeline,
        windows=replace(timeline.windows, issue_s=issue_s, begin_s=issue_s, end_s=issue_s + 7200),
        stride_s=600,
        minimum_lead_s=7199,
        minimum_leads_s=np.append(np.zeros(10, dtype=np.int64), np.full(12, 7199)),
        outcome=np.append(timeline.outcome, np.full(12, "issued")),
        y=np.append(timeline.y, np.zeros(12, dtype=np.int8)),
        p=more,
        thresholds={"city": np.tile([0.2, 0.4], (22, 1))},
    )
    alone, before = summed(timeline, given), summed(longer, given, np.arange(22) < 10)
    assert before == alone
