"""What `hews verify` writes, made up: three months of a city's warnings, as `hews_gpu.alerts.verify` states the file.

Numbers are plausible, not right: scores come from random forecasts, warnings and events from a few rows.
"""

from __future__ import annotations

from typing import Any

import numpy as np

OUTCOMES = ("issued", "abstained", "refused", "stopped", "late", "missing")


def verification(
    *, seed: int = 0, where: bool = True, outcome: str = "issued", names: list[str] = ()
) -> dict[str, Any]:
    """Return the object; nearly all forecasts have the given `outcome`."""
    rng = np.random.default_rng(seed)
    months = ["2017-06", "2017-07", "2017-08"]
    periods = [_period(rng, month, 4000, outcome, where, published=month != months[-1]) for month in months]
    return {
        "kind": "verification",
        "run": "run-7",
        "model": "boosting",
        "made": "2017-09-02T06:00:00Z",
        "record": {
            "entries": 13_214,
            "head": "9f" * 32,
            "first": "2017-06-01T04:00:00Z",
            "last": "2017-09-02T05:50:00Z",
        },
        "task": {"stride_s": 600, "lead_s": 1800, "horizon_s": 7200, "minimum_lead_s": 0},
        "policies": [
            {"from": "2017-06-01T00:00:00", "fingerprint": "ab" * 32},
            {"from": "2017-07-11T12:00:00", "fingerprint": "cd" * 32},
        ],
        "neighborhoods": [*names, "Quarter 1", "Quarter 2"] if where else None,
        "periods": periods,
        "all": _period(rng, "all", 12_100, outcome, where, published=False),
        "warnings": _rows([*names, "Quarter 1"] if where else []),
        "delay": {
            "settled_share": 0.99,
            "settled_s": 9 * 86_400,
            "curve": [[share, 3600 * 10 ** (3 * share - 0.5)] for share in (0.05, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99)],
            "nowcast": [
                {"day": f"2017-09-0{day}", "known": 120.0 - 30 * day, "expected": 124.6, "low": 118.0, "high": 131.0}
                for day in (1, 2)
            ],
        },
        "rebaselines": [{"instant": "2017-08-03T07:10:00Z", "why": "two rows of July were withdrawn", "moved": 4}],
    }


def _period(
    rng: np.random.Generator, name: str, due: int, outcome: str, where: bool, *, published: bool
) -> dict[str, Any]:
    other = {"refused": due // 50, "missing": due // 200}
    counted = dict.fromkeys(OUTCOMES, 0) | other
    counted[outcome] += due - sum(other.values())
    scored = [_scored(rng, due, ("p", "climatology", "level")) for _ in range(2)]
    begin = "2017-06" if name == "all" else name
    by = _by(rng, due)
    return {
        "period": name,
        "begin": f"{begin}-01T00:00:00",
        "end": "2017-09-01T00:00:00" if name == "all" else f"2017-{int(name[-2:]) + 1:02d}-01T00:00:00",
        "published": published,
        "outcomes": {"due": due, **counted},
        "reasons": {"newest row is 3 days old": other["refused"]},
        "open": 0 if published else 130,
        "events": {"city": due // 100, "neighborhoods": due // 101},
        "as_made": scored[0],
        "as_served": scored[1],
        "areas": _scored(rng, due, ("p", "climatology")) if where else None,
        "warnings": {"city": by, "neighborhoods": _by(rng, due) if where else None},
        "drift": {
            "mean_forecast": 0.142,
            "observed": 0.151,
            "difference": {"value": 0.009, "interval": [-0.012, 0.03], "p": 0.4},
            "events": due // 100,
            "expected_events": due / 108.5,
        },
    }


def _scored(rng: np.random.Generator, windows: int, names: tuple[str, ...]) -> dict[str, Any]:
    truth = rng.beta(2, 12, windows)
    y = rng.random(windows) < truth
    forecasts = {}
    for k, name in enumerate(names):
        p = np.clip(truth * np.exp(rng.normal(0, 0.2 + 0.2 * k, windows)), 0.001, 0.9)
        edges = np.quantile(p, np.linspace(0, 1, 11))
        bins = np.clip(np.searchsorted(edges, p, side="right") - 1, 0, 9)
        rows = []
        for b in range(10):
            inside = bins == b
            rate = float(y[inside].mean())
            rows.append(
                {"p_mean": float(p[inside].mean()), "y_rate": rate, "low": max(0.0, rate - 0.05), "high": rate + 0.05}
                | {"count": int(inside.sum())}
            )
        order = np.argsort(-p)
        hit = np.append(0, np.cumsum(y[order]) / y.sum())
        false = np.append(0, np.cumsum(~y[order]) / (~y).sum())
        some = np.linspace(0, windows, 101).astype(int)
        alarmed = some / windows
        gain = {"value": 0.004 - 0.001 * k, "interval": [-0.001 - 0.001 * k, 0.009]}
        forecasts[name] = {
            "log_loss_bits": float(-np.log2(np.where(y, p, 1 - p)).mean()),
            "brier": float(((p - y) ** 2).mean()),
            "reliability": rows,
            "roc": {"auc": 0.7 - 0.03 * k, "curve": np.stack([false[some], hit[some]], axis=1).tolist()},
            "molchan": {"area": 0.3 + 0.03 * k, "curve": np.stack([alarmed, 1 - hit[some]], axis=1).tolist()},
            "against": {
                other: {"log_skill_bits": gain, "brier_skill": {"value": gain["value"], "interval": None}}
                for other in names
                if other != name
            },
        }
    rates = {
        "windows": windows,
        "positives": int(y.sum()),
        "base_rate": float(y.mean()),
        "effective_windows": windows / 12,
    }
    return rates | {"forecasts": forecasts}


def _by(rng: np.random.Generator, due: int) -> dict[str, Any]:
    return {name: _tiers(rng, due) for name in ("p", "climatology", "level")}


def _tiers(rng: np.random.Generator, due: int) -> dict[str, Any]:
    weeks = due * 600 / 604_800
    tiers: dict[str, Any] = {}
    for tier, weekly in (("watch", 7), ("warning", 3), ("any", 10)):
        given = round(weekly * weeks)
        hits, events = int(given * rng.uniform(0.2, 0.4)), due // 100
        caught = min(hits, events)
        pod, far = caught / events, (given - hits) / given
        tiers[tier] = {
            **{"given": given, "per_week": given / weeks, "hits": hits, "false_alarms": given - hits, "open": 0},
            **{"events": events, "caught": caught, "pod": pod, "pod_interval": [0.8 * pod, min(1, 1.2 * pod)]},
            **{"far": far, "far_interval": [0.9 * far, min(1, 1.1 * far)], "median_lead_s": 4800.0},
            **{"withheld": 0, "undelivered": 1, "cancelled": 1},
        }
    parts = {"probability": 0.3, "firm": 0.05, "over": 0.02, "under": 0.03}
    return tiers | {"matrix": {"score": 0.1, "never": 0.12, "tiers": {"watch": parts, "warning": parts}}}


def _rows(names: list[str]) -> list[dict[str, Any]]:
    rows = []
    for k, outcome in enumerate(("hit", "false_alarm", "miss", "open", "false_alarm")):
        day = f"2017-07-{10 + k}"
        missed = outcome == "miss"
        row = {
            **{"id": f"0a1b2c3d-201707{10 + k}T2000-city-watch", "place": None, "tier": "watch"},
            **{"issue_time": f"{day}T20:00:00", "window_start": f"{day}T20:30:00", "window_end": f"{day}T22:30:00"},
            **{"probability": 0.24, "threshold": 0.2, "replaces": None, "outcome": outcome, "withheld": k == 4},
            **{
                "undelivered": False,
                "cancelled": False,
                "event_time": None,
                "lead_s": None,
                "events": 0,
                "system": None,
            },
        }
        if outcome == "hit":
            row |= {"event_time": f"{day}T21:12:00", "lead_s": 4320, "events": 1}
        if missed:
            row |= dict.fromkeys(("id", "tier", "issue_time", "window_start", "window_end", "probability", "threshold"))
            row |= {"event_time": f"{day}T21:12:00", "events": 1, "system": "refused"}
        rows.append(row)
    return rows + [rows[1] | {"place": name, "tier": "warning", "probability": 0.0123} for name in names]
