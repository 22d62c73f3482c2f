"""Gate 6 on a drawn table, and against loops over all samples.

row      0    1    2    3    4    5     events: 1 and 2 (a twin before the shooting), 3 and 5 (victims a split apart)
time     10   110  130  210  250  310
target             x    x         x
"""

import numpy as np
import pytest

from hews_gpu.audit.crossing import folds_gate, splits_gate, straddling, used
from hews_gpu.audit.future import Pipeline
from hews_gpu.data.events import Events
from hews_gpu.data.windows import Samples
from hews_gpu.forecasters.city import event_groups

TIME_S = np.array([10, 110, 130, 210, 250, 310])
TARGET = np.array([False, False, True, True, False, True])
GROUP = np.array([0, 1, 1, 2, 3, 2])


def table():
    zeros = np.zeros(6)
    marks = {"is_target": TARGET, "is_duplicate": zeros > 0, "is_twin": zeros > 0}
    areas = {"category": zeros.astype(np.int16), "neighborhood": zeros.astype(np.int16)}
    return Events(time_s=TIME_S, longitude=zeros, latitude=zeros, **areas, **marks, categories=("A",))


def sample(*issues_s):
    """History of 120, horizon of 80."""
    issue_s = np.array(issues_s)
    edges = [np.searchsorted(TIME_S, issue_s + shift) for shift in (-120, 0, 80)]
    history = np.stack(edges[:2], axis=1)[:, None, :]
    y = np.array([TARGET[a:b].any() for a, b in zip(edges[1], edges[2], strict=True)])
    return Samples(issue_s=issue_s, history=history, target_begin_s=issue_s, target_end_s=issue_s + 80, y=y)


def test_rows_that_a_split_uses():
    part = used(table(), sample(120, 200))
    assert part.inputs.tolist() == [True, True, True, False, False, False]
    assert part.labels.tolist() == [False, False, True, True, False, False]
    hidden = used(table(), sample(120, 200), TARGET)
    assert hidden.inputs.tolist() == [True, True, False, False, False, False]


def test_a_twin_before_the_issue_time_straddles_it():
    assert straddling(table(), GROUP, sample(120, 200)) == 1  # row 1 is seen, row 2 asked for
    assert straddling(table(), np.arange(6), sample(120, 200)) == 0
    assert straddling(table(), GROUP, sample(120), hidden=np.arange(6) == 1) == 0
    assert straddling(table(), GROUP, sample(300)) == 1  # row 3 is seen, row 5, a victim of the same event, asked for


def test_an_event_with_victims_on_both_sides_crosses():
    found = splits_gate(table(), GROUP, {"train": sample(200), "test": sample(300)})
    assert found.verdict == "fail" and found.figures["crossing"] == {"train > test": 1}
    found = splits_gate(table(), np.arange(6), {"train": sample(40), "test": sample(300)})
    assert found.verdict == "pass" and found.figures["straddling"] == {"train": 0, "test": 0}


def test_what_is_judged_later_may_see_what_was_asked_before():
    found = splits_gate(table(), np.arange(6), {"train": sample(120), "test": sample(200)})
    assert found.figures["crossing"] == {"train > test": 0}
    found = splits_gate(table(), np.arange(6), {"train": sample(200), "test": sample(120)})
    assert found.figures["crossing"] == {"train > test": 1}


def test_the_toy_city_is_clean_and_counted_right(prepared):
    splits, group = Pipeline(prepared).samples, event_groups(prepared)
    found = splits_gate(prepared.events, group, splits)
    assert found.verdict == "pass" and sum(found.figures["crossing"].values()) == 0
    samples, events = splits["calibration"], prepared.events
    expected = 0
    for s in range(len(samples)):
        inside = (events.time_s >= samples.target_begin_s[s]) & (events.time_s < samples.target_end_s[s])
        known_s = samples.issue_s[s] - 1800
        before = (events.time_s >= known_s - 86_400) & (events.time_s < known_s)
        expected += len(set(group[inside & events.is_target]) & set(group[before])) > 0
    assert straddling(events, group, samples) == expected


def test_a_twin_dated_before_its_shooting_is_seen_unless_it_is_waited_for(cities):
    """Rows a quarter of an hour before targets report the same: so long must be waited, and no longer."""
    from dataclasses import replace

    events = cities.strong.events
    targets = np.flatnonzero(events.is_target)
    twins = np.searchsorted(events.time_s, events.time_s[targets] - 900)
    group = np.arange(len(events))
    group[twins] = targets
    apart_s = int((events.time_s[targets] - events.time_s[twins]).max())
    assert 0 < apart_s <= 900
    found = folds_gate(cities.experiment(replace(cities.strong, group=group)))
    seen = {key: count for key, count in found.figures["crossing"].items() if "seen before" in key}
    assert found.verdict == "fail" and all(count > 5 for count in seen.values()) and len(seen) == 3
    windows = cities.experiment(cities.strong).all.windows
    part = np.searchsorted(windows.begin_s, events.time_s[targets], side="right") - 1
    straddle = (
        (part >= 0) & (events.time_s[twins] < windows.issue_s[part]) & (events.time_s[targets] < windows.end_s[part])
    )
    assert sum(seen.values()) <= len(np.unique(part[straddle]))
    for embargo_s, result in ((apart_s, "pass"), (60, "fail")):
        assert folds_gate(cities.experiment(replace(cities.strong, group=group, embargo_s=embargo_s))).verdict == result


@pytest.mark.parametrize("part", ["train", "calibration"])
def test_a_label_that_is_known_only_within_the_next_parts_history_is_counted(cities, part):
    """A target reported half a history before the next part's first issue; then the fit's labels end at that issue."""
    from dataclasses import replace

    from hews_gpu.audit.planted import ONE_BLOCK
    from hews_gpu.evaluation.folds import Experiment

    plan = replace(ONE_BLOCK, as_reported=True)
    honest = Experiment.open(cities.strong, plan)
    fold, windows = honest.folds[0], honest.all.windows
    until_s, history_s = {"train": fold.train_until_s, "calibration": fold.known_until_s}[part], plan.task.history_s
    targets = np.flatnonzero(cities.strong.events.is_target)
    part_of = np.searchsorted(windows.begin_s, cities.strong.events.time_s[targets], side="right") - 1
    learned = getattr(fold, part)
    alone = [w for w in learned if (part_of == w).sum() == 1]
    reported_s = cities.strong.reported_s.copy()
    reported_s[targets[part_of == alone[-1]]] = until_s + history_s // 2
    late = Experiment.open(replace(cities.strong, reported_s=reported_s), plan)
    key = f"block 1, {part} labels not known"
    assert folds_gate(late).figures["crossing"][key] == 0
    name = "train_until_s" if part == "train" else "known_until_s"
    eager = replace(late, folds=[replace(late.folds[0], **{name: until_s + history_s})])
    found = folds_gate(eager)
    assert found.figures["crossing"][key] == 1 and found.verdict == "fail"


@pytest.mark.parametrize("seed", range(2))
def test_folds_are_clean_with_events_of_any_shape(cities, seed):
    """Groups of neighboring rows, as victims and twins are, none of which lasts longer than its city waits."""
    from dataclasses import replace

    rng = np.random.default_rng(seed)
    group = np.cumsum(rng.random(len(cities.strong.events)) < 0.5)
    found = folds_gate(cities.experiment(replace(cities.strong, group=group, embargo_s=6 * 3600)))
    assert found.verdict == "pass" and len(found.figures["crossing"]) == 9
