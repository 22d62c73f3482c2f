"""Ten issue times of which every score can be worked out by hand, and random ones."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from hews_gpu.alerts.decide import Warning
from hews_gpu.alerts.judged import Timeline
from hews_gpu.data.windows import Windows

HORIZON_S = 7200
NAN = float("nan")


def windows(count, stride_s=HORIZON_S, horizon_s=HORIZON_S, lead_s=0):
    issue_s = np.arange(count, dtype=np.int64) * stride_s
    return Windows(issue_s=issue_s, begin_s=issue_s + lead_s, end_s=issue_s + lead_s + horizon_s)


def warning(k, tier="watch", place=-1, *, stride_s=HORIZON_S, horizon_s=HORIZON_S, **more):
    issue_s = k * stride_s
    name = f"00000000-{k}-{place}-{tier}"
    own = {"probability": 0.5, "threshold": 0.2, "begin_s": issue_s, "end_s": issue_s + horizon_s}
    return Warning(id=name, place=place, tier=tier, issue_s=issue_s, **{**own, **more})


def ten():
    """The timeline and the warnings of the city that tests work out.

    ```
    k        0    1    2    3    4    5    6    7    8    9
    outcome  iss  iss  iss  iss  abs  iss  late iss  ref  missing
    p        1/2  1/4  1/8  1/2  1/2  1/2  1/2  1/8  -    -         the calendar says 1/4, always
    y        1    0    0    1    1    0    1    0    1    0
    event    +1800          +600 +0        +60       +7199
    warned   warning        watch (watch) watch (watch)             (withheld, late)
    ```
    """
    outcome = "issued issued issued issued abstained issued late issued refused missing".split()
    timeline = Timeline(
        windows=windows(10),
        stride_s=HORIZON_S,
        minimum_lead_s=0,
        outcome=np.array(outcome),
        y=np.array([1, 0, 0, 1, 1, 0, 1, 0, 1, 0], dtype=np.int8),
        p={
            "p": np.array([0.5, 0.25, 0.125, 0.5, 0.5, 0.5, 0.5, 0.125, NAN, NAN]),
            "climatology": np.full(10, 0.25),
        },
        areas=None,
        shares=None,
        thresholds={"city": np.tile([0.2, 0.4], (10, 1))},
        event_s=np.array([1800, 3 * 7200 + 600, 4 * 7200, 6 * 7200 + 60, 8 * 7200 + 7199]),
        event_place=np.array([0, 2, -1, 1, 1]),
    )
    given = [
        warning(0, "warning"),
        warning(3),
        warning(4, withheld=True),
        warning(5),
        warning(6),
    ]
    return timeline, given


def drawn(seed, count=60, neighborhoods=4, stride_s=600, minimum_lead_s=0):
    """A random timeline with overlapping windows, its last ones open, and random warnings of all kinds."""
    rng = np.random.default_rng(seed)
    cut = windows(count, stride_s=stride_s)
    events = int(rng.integers(0, 12))
    event_s = np.sort(rng.integers(0, count * stride_s + HORIZON_S, size=events))
    y = np.array([np.any((event_s >= b) & (event_s < e)) for b, e in zip(cut.begin_s, cut.end_s, strict=True)])
    outcome = rng.choice(["issued", "abstained", "refused", "late", "missing"], p=[0.6, 0.1, 0.1, 0.1, 0.1], size=count)
    has = np.isin(outcome, ["issued", "abstained", "late"])
    areas = np.where(has[:, None], rng.uniform(0.001, 0.2, (count, neighborhoods)).round(6), np.nan)
    shares = rng.dirichlet(np.ones(neighborhoods))
    timeline = Timeline(
        windows=cut,
        stride_s=stride_s,
        minimum_lead_s=minimum_lead_s,
        outcome=outcome,
        y=np.where(np.arange(count) < count - 5, y, -1).astype(np.int8),
        p={
            "p": np.where(has, rng.uniform(0.05, 0.9, count).round(2), np.nan),
            "climatology": rng.uniform(0.1, 0.5, count).round(1),
        },
        areas=areas,
        shares=shares,
        thresholds={"city": np.tile([0.3, 0.6], (count, 1)), "neighborhoods": np.tile([0.05, 0.1], (count, 1))},
        event_s=event_s,
        event_place=rng.integers(-1, neighborhoods, size=events),
    )
    given = [
        warning(k, tier, place, stride_s=stride_s, withheld=bool(outcome[k] == "abstained"))
        for k in np.flatnonzero(has).tolist()
        for place in range(-1, neighborhoods)
        for tier in ("watch", "warning")
        if rng.random() < 0.08
    ]
    return timeline, given


def alone(y, p):
    """Forecasts at every ten minutes of two-hour windows, and no warnings."""
    count = len(y)
    return Timeline(
        windows=windows(count, stride_s=600),
        stride_s=600,
        minimum_lead_s=0,
        outcome=np.full(count, "issued"),
        y=y.astype(np.int8),
        p=p,
        areas=None,
        shares=None,
        thresholds={"city": np.full((count, 2), np.inf)},
        event_s=np.zeros(0, dtype=np.int64),
        event_place=np.zeros(0, dtype=np.int64),
    )


def with_refusal(timeline, given, k):
    """The same, had the system refused to forecast at one of the times."""
    outcome, p = timeline.outcome.copy(), timeline.p["p"].copy()
    outcome[k], p[k] = "refused", np.nan
    left = [one for one in given if one.issue_s != timeline.windows.issue_s[k]]
    return replace(timeline, outcome=outcome, p={**timeline.p, "p": p}), left
