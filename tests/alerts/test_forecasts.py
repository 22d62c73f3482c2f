import numpy as np

from hews_gpu.alerts.forecasts import forecast, forecast_in_chunks, issue_times
from hews_gpu.data.windows import Task
from hews_gpu.forecasters.climatology import HourOfWeekMonth
from hews_gpu.runs.run import given, open_run


def test_issue_times_are_multiples_of_the_stride_from_midnight():
    assert issue_times(86_400, 86_400 + 1800, 600).tolist() == [86_400, 87_000, 87_600]
    assert issue_times(86_401, 87_001, 600).tolist() == [87_000]
    assert issue_times(86_401, 86_402, 600).tolist() == []


def test_a_window_begins_one_lead_after_its_issue(trained):
    run = open_run(trained("level"))
    experiment, task = run.experiment, Task(lead_s=1800, horizon_s=3600)
    issue_s = issue_times(*experiment.plan.splits_s["test"], 7200)[:5]
    said = forecast(run.forecaster, experiment.catalog, task, issue_s)
    assert (said.windows.begin_s - said.windows.issue_s).tolist() == [1800] * 5
    assert (said.windows.end_s - said.windows.begin_s).tolist() == [3600] * 5
    assert said.areas.shape == (5, 2)
    assert np.allclose(1 - said.p, np.prod(1 - said.areas, axis=1))


def test_a_model_that_does_not_say_where_says_nothing_of_neighborhoods(trained):
    experiment = open_run(trained("level")).experiment
    calendar = HourOfWeekMonth()
    calendar.fit(*given(experiment))
    issue_s = issue_times(*experiment.plan.splits_s["test"], 600)
    chunks = list(forecast_in_chunks(calendar, experiment.catalog, Task(), issue_s, at_once=1000))
    assert [len(chunk) for chunk in chunks] == [1000, 1000, 1000, 1000, 32]
    assert all(chunk.areas is None for chunk in chunks)
    whole = forecast(calendar, experiment.catalog, Task(), issue_s)
    assert np.array_equal(np.concatenate([chunk.p for chunk in chunks]), whole.p)
