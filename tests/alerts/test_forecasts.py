from dataclasses import replace
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from hews_gpu.alerts.forecasts import forecast, forecast_in_chunks, issue_times
from hews_gpu.data.windows import Task
from hews_gpu.forecasters.climatology import HourOfWeekMonth
from hews_gpu.runs.run import given, open_run
from hews_gpu.units import DAY_S

ZONE = ZoneInfo("America/New_York")


def test_issue_times_are_multiples_of_the_stride_from_midnight():
    assert issue_times(86_400, 86_400 + 1800, 600, ZONE).tolist() == [86_400, 87_000, 87_600]
    assert issue_times(86_401, 87_001, 600, ZONE).tolist() == [87_000]
    assert issue_times(86_401, 86_402, 600, ZONE).tolist() == []


def test_a_window_begins_one_lead_after_its_issue(trained):
    run = open_run(trained("level"))
    experiment, task = run.experiment, Task(lead_s=1800, horizon_s=3600)
    issue_s = issue_times(*experiment.plan.splits_s["test"], 7200, ZONE)[:5]
    said = forecast(run.forecaster, experiment.catalog, task, issue_s)
    assert (said.windows.begin_s - said.windows.issue_s).tolist() == [1800] * 5
    assert (said.windows.end_s - said.windows.begin_s).tolist() == [3600] * 5
    assert said.areas.shape == (5, 2)
    assert np.allclose(1 - said.p, np.prod(1 - said.areas, axis=1))


def test_a_model_that_does_not_say_where_says_nothing_of_neighborhoods(trained):
    experiment = open_run(trained("level")).experiment
    calendar = HourOfWeekMonth()
    calendar.fit(*given(experiment))
    issue_s = issue_times(*experiment.plan.splits_s["test"], 600, ZONE)
    chunks = list(forecast_in_chunks(calendar, experiment.catalog, Task(), issue_s, at_once=1000))
    assert [len(chunk) for chunk in chunks] == [1000, 1000, 1000, 1000, 32]
    assert all(chunk.areas is None for chunk in chunks)
    whole = forecast(calendar, experiment.catalog, Task(), issue_s)
    assert np.array_equal(np.concatenate([chunk.p for chunk in chunks]), whole.p)


MODELS = ("base_rate", "climatology", "level", "hawkes", "boosting", "counts", "hewsnet", "stack")


@pytest.mark.parametrize("model", [*MODELS, "cnn"])
def test_a_forecast_does_not_depend_on_what_is_asked_with_it_nor_on_what_became_known_later(trained, model):
    """In chunks of any size, and live: to the bit, but for the network on maps, whose arithmetic is torch's."""
    run = open_run(trained(model))
    experiment, task = run.experiment, run.experiment.plan.task
    time_s = experiment.city.events.time_s
    late_s = np.random.default_rng(0).exponential(12 * 3600, size=len(time_s)).astype(np.int64)
    seen = replace(experiment.city, reported_s=time_s + late_s).catalog(task.delay_s, as_reported=True)
    begin_s, _ = experiment.plan.splits_s["test"]
    issue_s = issue_times(begin_s + 3 * 3600, begin_s + 60 * 3600, 600 if model != "cnn" else 7200, ZONE)
    whole = forecast(run.forecaster, seen, task, issue_s)
    tolerance = 1e-6 if model == "cnn" else 0.0
    for at_once in (1, 7, 100):
        for first in range(0, len(issue_s), at_once if at_once > 1 else 29):
            asked = issue_s[first : first + at_once]
            live = forecast(run.forecaster, seen.until(int(asked[-1])), task, asked)
            part = slice(first, first + at_once)
            np.testing.assert_allclose(live.p, whole.p[part], rtol=tolerance, atol=0)
            if whole.areas is not None:
                np.testing.assert_allclose(live.areas, whole.areas[part], rtol=tolerance, atol=0)


def test_the_hour_that_a_spring_night_leaves_out_never_was():
    """New York's clocks go from 02:00 to 03:00; in the autumn night, and in Puerto Rico, nothing is left out."""
    hours = [
        issue_times(
            *np.array([day, f"{day}T04:00"], "datetime64[s]").astype(np.int64).tolist(),
            1800,
            ZoneInfo(f"America/{zone}"),
        )
        % DAY_S
        / 3600
        for day, zone in (("2017-03-12", "New_York"), ("2017-03-12", "Puerto_Rico"), ("2017-11-05", "New_York"))
    ]
    every = np.arange(8) / 2
    assert [one.tolist() for one in hours] == [[0, 0.5, 1, 1.5, 3, 3.5], every.tolist(), every.tolist()]
