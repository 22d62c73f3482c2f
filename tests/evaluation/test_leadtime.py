"""Skill over the lead: it falls where the law's memory is short, and every lead is judged on the same windows."""

from dataclasses import replace

import numpy as np
import pytest

from hews_gpu.data.windows import Task, Windows, issue_windows
from hews_gpu.errors import UserError
from hews_gpu.evaluation import folds
from hews_gpu.evaluation.alarms import alarm_scores
from hews_gpu.evaluation.backtest import forecast_blocks
from hews_gpu.evaluation.bootstrap import Blocks
from hews_gpu.evaluation.folds import Experiment, Plan
from hews_gpu.evaluation.leadtime import few_fits, foresees, judge_point, put_together, require_times, tasks_of
from hews_gpu.evaluation.mean_interval import holm
from hews_gpu.evaluation.neighborhood_scores import hot_spot_curve
from hews_gpu.evaluation.tables import lead_table
from hews_gpu.forecasters.catalog import area_counts
from hews_gpu.forecasters.city import generated_city
from hews_gpu.forecasters.registry import FORECASTERS

HOUR_S, DAY_S = 3600, 86_400
LEADS_S = (1800, 6 * HOUR_S, 7 * DAY_S)
ENTRIES = {name: FORECASTERS[name] for name in ("climatology", "level", "hawkes")}


def points_of(city, horizons_s=(7200,), leads_s=LEADS_S, entries=ENTRIES):
    points = []
    for task in tasks_of(Task(), horizons_s=horizons_s, leads_s=leads_s):
        experiment = Experiment.open(city, few_fits(Plan(task=task)))
        points.append(judge_point(experiment, forecast_blocks(experiment, entries)))
    return points


@pytest.fixture(scope="module")
def found():
    """Four years: of two a gain that is there cannot be told from none."""
    return put_together(points_of(generated_city("strong", years=4)))


def over_level(point, name):
    return point["forecasts"][name]["against"]["level"]["log_skill_bits"]


def test_skill_falls_with_the_lead_and_is_gone_after_a_week(found):
    """The law forgets within hours: whoever foresees at a week has looked at what was not known."""
    oracle, hawkes = ([over_level(point, name)["value"] for point in found["points"]] for name in ("oracle", "hawkes"))
    assert oracle[0] > oracle[1] > 3 * abs(oracle[2]) and hawkes[0] > hawkes[1] > hawkes[2]
    assert abs(hawkes[2]) < 0.1 * hawkes[0]
    assert [foresees(point, "hawkes") for point in found["points"]][::2] == [True, False]
    (longest,) = found["longest"]
    assert (longest["model"], longest["horizon_s"]) == ("hawkes", 7200) and 1800 <= longest["lead_s"] < 7 * DAY_S
    assert found["verdict"].startswith("The longest lead at which anything beats the calendar at its recent level is")
    assert "hawkes, in windows of 2h, gains +" in found["verdict"] and "3 comparisons" in found["verdict"]


def test_where_nothing_can_be_found_nobody_foresees():
    found = put_together(points_of(generated_city("null", years=3), leads_s=(1800, DAY_S)))
    assert [one["lead_s"] for one in found["longest"]] == [None]
    assert found["verdict"].startswith("No foresight shown at any lead from 30min to 24h, in windows of 2h: nothing")


def test_forecasts_that_are_issued_at_the_begin_of_their_windows_are_seen(strong, monkeypatch):
    """The lead is left out: every point would be as good as the first."""

    def at_the_begin(begin_s, end_s, task):
        windows = issue_windows(begin_s, end_s, task)
        return Windows(issue_s=windows.begin_s, begin_s=windows.begin_s, end_s=windows.end_s)

    monkeypatch.setattr(folds, "issue_windows", at_the_begin)
    with pytest.raises(AssertionError, match="issued its lead before"):
        points_of(strong, leads_s=(6 * HOUR_S,), entries={"climatology": ENTRIES["climatology"]})


def test_all_leads_are_of_the_same_windows(found):
    strong = generated_city("strong", years=4)
    windows = [
        Experiment.open(strong, few_fits(Plan(task=task))).test.windows
        for task in tasks_of(Task(), horizons_s=(7200,), leads_s=LEADS_S)
    ]
    for one, lead_s in zip(windows, LEADS_S, strict=True):
        np.testing.assert_array_equal(one.begin_s, windows[0].begin_s)
        np.testing.assert_array_equal(one.issue_s, one.begin_s - lead_s)
    assert len({point["digest"] for point in found["points"]}) == 1
    assert {point["windows"] for point in found["points"]} == {len(windows[0])}


def test_points_of_other_windows_are_not_compared(strong, found):
    (other,) = points_of(strong, leads_s=(HOUR_S,), entries={"climatology": ENTRIES["climatology"]})
    begin_s = strong.begin_s + (strong.end_s - strong.begin_s) * 3 // 5 + 7200
    plan = replace(few_fits(Plan(task=Task(lead_s=HOUR_S))), first_test_s=begin_s)
    experiment = Experiment.open(strong, plan)
    later = judge_point(experiment, forecast_blocks(experiment, {"climatology": ENTRIES["climatology"]}))
    assert other["digest"] != later["digest"]
    with pytest.raises(ValueError, match="windows of 2h differ between the leads 1h and 1h"):
        put_together([other, later])


def test_shifts_begin_their_windows_and_the_rest_stay_on_the_citys_grid():
    shifts_s = tuple(hour * HOUR_S for hour in (7, 15, 23))
    horizons_s = (7200, 8 * HOUR_S, DAY_S)
    tasks = tasks_of(Task(), horizons_s=horizons_s, leads_s=(1800, DAY_S), shifts_s=shifts_s)
    assert [(task.horizon_s, task.lead_s) for task in tasks] == [
        (h, lead) for h in horizons_s for lead in (1800, DAY_S)
    ]
    begins = [
        sorted({int(one) // HOUR_S for one in issue_windows(0, 9 * DAY_S, task).begin_s % DAY_S}) for task in tasks[::2]
    ]
    assert begins == [list(range(0, 24, 2)), [7, 15, 23], [7]]
    assert all(task.stride_s == task.horizon_s for task in tasks)
    (plain, *_) = tasks_of(Task(anchor_s=HOUR_S), horizons_s=(DAY_S,), leads_s=(1800,))
    assert plain.anchor_s == HOUR_S


def test_p_values_are_corrected_for_all_points_and_models(found):
    for other in ("climatology", "level"):
        bits = [point["forecasts"]["hawkes"]["against"][other]["log_skill_bits"] for point in found["points"]]
        expected = holm({str(k): one["p"] for k, one in enumerate(bits)})
        assert [one["p_corrected"] for one in bits] == list(expected.values())
        assert "p_corrected" not in over_level(found["points"][0], "oracle")


def test_hit_rates_are_those_of_the_judge(strong):
    task = Task(lead_s=HOUR_S)
    experiment = Experiment.open(strong, few_fits(Plan(task=task)))
    entries = {name: FORECASTERS[name] for name in ("climatology", "level")}
    judged = forecast_blocks(experiment, entries, where=True)
    point = judge_point(experiment, judged)
    y, weeks = experiment.test.y, len(experiment.test) / 84
    told = alarm_scores(y, judged["level"].warned[3][0], weeks, 3)
    warned = point["forecasts"]["level"]["warned"]
    assert warned["value"] == pytest.approx(told["recall"]) and warned["interval"][0] <= warned["value"]
    assert warned["per_week"] == pytest.approx(told["warnings_per_week"]) and warned["budget_per_week"] == 3
    counts = area_counts(experiment.catalog, experiment.test.windows)
    area_km2, places = strong.ground.area_km2, point["places"]["forecasts"]
    week, before = Blocks.by_weeks(len(y), 7200, draws=9), np.ones(len(area_km2))
    rows = hot_spot_curve(counts, judged["level"].areas, area_km2, (0.01, 0.05), before, week)
    for spot, row in zip(places["level"]["hot_spots"], rows, strict=True):
        expected = row["hit_rate"]
        assert spot["hit_rate"]["value"] == pytest.approx(expected)
        usual = next(one for one in places["long_run"]["hot_spots"] if one["area_share"] == spot["area_share"])
        gained = expected - usual["hit_rate"]["value"]
        assert spot["over_long_run"]["value"] == pytest.approx(gained) and usual["over_long_run"]["value"] == 0
    assert list(places["level"]["against"]) == ["long_run"] and point["places"]["events"] == counts.sum()


def test_too_little_to_judge_is_no_verdict(found):
    few = [{**point, "too_little": ["5 weeks"]} for point in found["points"]]
    assert put_together(few)["verdict"] == "Too little to judge: 5 weeks."
    assert not any(foresees(point, "hawkes") for point in few)
    some = put_together([few[0], *found["points"][1:]])
    assert some["verdict"].endswith("At 1 of 3 points there is too little to judge by.")


def test_the_table_says_where_there_is_foresight(found):
    heading, *rows = lead_table(found)
    assert all(len(row) == len(heading) for row in rows) and len(rows) == 6
    assert rows[1][:3] == ["2h", "30min", "hawkes"] and rows[1][-1] == "foresight"
    assert rows[0][2] == "level" and rows[0][-1] == "" and rows[-1][-1] == ""


@pytest.mark.parametrize(
    ("step_s", "asked", "message"),
    [
        (DAY_S, {"horizons_s": (7200, DAY_S)}, "--horizons = '2h': is finer than the times: .*no time of the day"),
        (DAY_S, {"leads_s": (HOUR_S, DAY_S)}, "--leads = '1h': is finer than the times"),
        (HOUR_S, {"leads_s": (1800,)}, "--leads = '30min': is finer than the times.*steps of 1h"),
        (HOUR_S, {"shifts_s": (1800,)}, "--shifts = '30min': is finer than the times"),
        (HOUR_S, {}, ""),
        (60, {"leads_s": (1800,)}, ""),
    ],
)
def test_windows_finer_than_the_times_are_refused(strong, step_s, asked, message):
    time_s = strong.events.time_s // step_s * step_s
    city = replace(strong, events=replace(strong.events, time_s=time_s), prepared=None)
    times = {"horizons_s": (DAY_S,), "leads_s": (DAY_S,), **asked}
    if not message:
        require_times(city, **times)
        return
    with pytest.raises(UserError, match=message):
        require_times(city, **times)
