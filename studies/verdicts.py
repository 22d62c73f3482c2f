"""How often the judge is wrong: verdicts on pairs of forecasts that are equally good, and on cities without foresight.

Pairs: two forecasts of the same truth whose errors in log-odds are alike and remember 1, 8 or 26 weeks, over two to
four years of two-hour windows; neither is better, so each "better" and each "worse" is false. The judge's t-interval of
cosines stands beside percentiles of resampled blocks of one week, of one and four, and of one, four and 26 weeks (all
of which must leave out zero), studentized blocks, the dependent wild bootstrap (both again of all three lengths) and
the t-interval of eight batches. Their power: the same with errors of unequal size.

Cities: `clock`, where nothing but hours, seasons and chance decides, and `wave`, whose level rises and falls slowly
over years. No forecast can foresee anything in them: a verdict of foresight is false, and so is a "better" or "worse"
that the truth, which is known, contradicts. ``--forecasters A,B`` names the forecasters, climatology and level always
among them; ``--cities N`` the number of each kind. The stack as `hews train` makes it is held against both references
on the first ``--stacked N`` of each kind, by one fit a city, as it takes long. Each judged city is kept in
``.local/verdicts-COMMIT``: a run that was cut short, or one of more cities, goes on there. ``--quick``: few of all,
nothing saved.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from functools import cache, partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # also when started as a script

import numpy as np
from scipy.signal import lfilter
from scipy.special import expit, stdtrit

from benchmarks.common import ROOT, finish, header, parse_flags
from hews_gpu.arrays import Float64
from hews_gpu.cli.printing import print_table
from hews_gpu.evaluation.backtest import forecast_blocks
from hews_gpu.evaluation.bootstrap import Blocks, interval
from hews_gpu.evaluation.folds import Experiment, Plan
from hews_gpu.evaluation.judge import sign
from hews_gpu.evaluation.mean_interval import mean_interval
from hews_gpu.evaluation.metrics import wilson_interval
from hews_gpu.files import write_json
from hews_gpu.forecasters.base import CLIMATOLOGY, LEVEL
from hews_gpu.forecasters.city import generated_city
from hews_gpu.forecasters.logistic import log_loss_each_bits
from hews_gpu.forecasters.registry import FORECASTERS
from hews_gpu.units import WEEK_S
from hews_gpu.workers import processes

MEMORY_WEEKS, YEARS = (1, 8, 26), (2, 3, 4)
PAIRS, CITIES, DRAWS = 1000, 200, 400
ERROR_SD, SMALLER_SD = 0.4, 0.2  # in log-odds; 0.4 costs about 0.008 bits per window
KINDS, CITY_YEARS, BLOCKS = ("clock", "wave"), 6, 4
STACK, STACKED = "stack", 60
WEEK = 84  # windows
LENGTHS = (1, 4, 26)


def remembered(rng: np.random.Generator, weeks: float, length: int) -> Float64:
    """Return a series [S] of variance 1 that forgets with a time constant of some weeks."""
    kept = np.exp(-1 / (weeks * WEEK))
    steps = rng.standard_normal(length) * np.sqrt(1 - kept**2)
    steps[0] /= np.sqrt(1 - kept**2)
    return np.asarray(lfilter([1.0], [1.0, -kept], steps))


def saved_weekly(rng: np.random.Generator, weeks: float, years: int, sds: tuple[float, float]) -> Float64:
    """Return the bits per window, by week, that the first of two forecasts with errors of these sizes saves."""
    length = years * 52 * WEEK
    hour, day = np.arange(length) % 12, np.arange(length) // 12 % 7
    truth = -2.7 + 0.8 * np.cos(2 * np.pi * (hour - 11) / 12) + 0.3 * (day > 4)
    y = rng.random(length) < expit(truth)
    lost = [log_loss_each_bits(y, expit(truth + sd * remembered(rng, weeks, length))) for sd in sds]
    return np.asarray((lost[1] - lost[0]).reshape(-1, WEEK).mean(axis=1))


# ------------------------------------------------------------ intervals of the mean of weekly values [W]


def percentiles(weekly: Float64, weeks: int) -> list[float]:
    """Return the moving-block percentiles."""
    return interval(Blocks.drawn(len(weekly), weeks, draws=DRAWS).means(weekly))


def studentized(weekly: Float64, weeks: int) -> list[float]:
    """Return the interval of the block bootstrap of (mean - truth) / error (Goetze and Kuensch, 1996)."""
    size = min(weeks, len(weekly) // 4)
    count = len(weekly) // size
    means = np.convolve(weekly[: count * size], np.full(size, 1 / size), "valid")
    drawn = means[np.random.default_rng(0).integers(0, len(means), size=(DRAWS, count))]
    value, error = weekly.mean(), np.sqrt(np.mean((means - weekly.mean()) ** 2) / count)
    low, high = interval((drawn.mean(axis=1) - means.mean()) / (drawn.std(axis=1) / np.sqrt(count) + 1e-12))
    return [value - high * error, value - low * error]


def wild(weekly: Float64, weeks: int) -> list[float]:
    """Return the interval of the dependent wild bootstrap, Bartlett weights (Shao, 2010)."""
    weights = _wild_weights(len(weekly), min(weeks, len(weekly) // 4))
    low, high = interval(weights @ (weekly - weekly.mean()) / len(weekly))
    return [weekly.mean() - high, weekly.mean() - low]


@cache
def _wild_weights(length: int, weeks: int) -> Float64:
    """Return the weights [D, W] of all draws."""
    apart = np.abs(np.arange(length)[:, None] - np.arange(length))
    root = np.linalg.cholesky(np.maximum(0, 1 - apart / weeks) + 1e-9 * np.eye(length))
    return np.asarray(np.random.default_rng(0).standard_normal((DRAWS, length)) @ root.T)


def batches(weekly: Float64, count: int = 8) -> list[float]:
    """Return the t-interval of the means of equal batches (Ibragimov and Mueller, 2010)."""
    means = np.array([part.mean() for part in np.array_split(weekly, count)])
    half = means.std(ddof=1) / np.sqrt(count) * float(stdtrit(count - 1, 0.975))
    return [weekly.mean() - half, weekly.mean() + half]


def widest(one: Callable[[Float64, int], list[float]], lengths: Iterable[int], weekly: Float64) -> list[float]:
    """Return the hull of the intervals over blocks of several lengths: all must leave out zero."""
    ends = np.array([one(weekly, weeks) for weeks in lengths])
    return [ends[:, 0].min(), ends[:, 1].max()]


PROCEDURES: dict[str, Callable[[Float64], list[float]]] = {
    "t of cosines": lambda weekly: mean_interval(weekly, WEEK_S)["interval"],
    "percentiles, 1 week": partial(widest, percentiles, LENGTHS[:1]),
    "percentiles, 1 and 4 weeks": partial(widest, percentiles, LENGTHS[:2]),
    "percentiles, 1, 4 and 26 weeks": partial(widest, percentiles, LENGTHS),
    "studentized, 1, 4 and 26 weeks": partial(widest, studentized, LENGTHS),
    "wild, 1, 4 and 26 weeks": partial(widest, wild, LENGTHS),
    "t of 8 batches": batches,
}
"""The judge's own is the first."""


def pairs(kind: tuple[int, int, tuple[float, float]]) -> dict[str, Any]:
    """Return how often each procedure calls the first forecast of a pair better, and worse.

    Args:
        kind: weeks that errors remember, number of pairs, and the sizes of both errors.
    """
    weeks, count, sds = kind
    rng = np.random.default_rng(weeks)
    series = [saved_weekly(rng, weeks, YEARS[k % len(YEARS)], sds) for k in range(count)]
    told = {}
    for name, procedure in PROCEDURES.items():
        signs = np.array([sign({"interval": procedure(one)}) for one in series])
        told[name] = {"better": share(signs > 0), "worse": share(signs < 0)}
    return told


def share(is_so: Any) -> dict[str, Any]:
    """Return a share with its 95 % interval."""
    hits, count = int(np.sum(is_so)), len(is_so)
    return {"value": hits / count, "interval": list(wilson_interval(hits, count)), "of": count}


# ------------------------------------------------------------ cities


def judge_city(kind_and_seed: tuple[str, int], names: tuple[str, ...], blocks: int, folder: Path) -> dict[str, Any]:
    """Return, by forecaster and reference, the gain in bits, what the judge calls it, and what it truly is.

    With the processor seconds that it took; what lies in the folder already is not judged again.
    """
    kind, seed = kind_and_seed
    path, begin = folder / f"{kind}-{seed}-{'-'.join(names)}-{blocks}.json", time.process_time()
    if path.is_file():
        return dict(json.loads(path.read_text(encoding="utf-8")))
    city = generated_city(kind, years=CITY_YEARS, seed=seed)
    experiment = Experiment.open(city, Plan(blocks=blocks, seeds=(0,)))
    judged = forecast_blocks(experiment, {name: FORECASTERS[name] for name in names})
    test, truth = experiment.test, experiment.oracle()
    assert truth is not None
    stride_s, losses = experiment.plan.task.stride_s, {name: one.losses(test.y) for name, one in judged.items()}
    expected = {name: _expected_loss(truth, one.p[0]) for name, one in judged.items()}
    result: dict[str, Any] = {
        name: {
            other: {"sign": sign(bits := mean_interval(losses[other] - losses[name], stride_s)), "bits": bits["value"]}
            | {"true_bits": expected[other] - expected[name]}
            for other in names
            if other != name
        }
        for name in names
    }
    write_json(path, {**result, "processor_seconds": time.process_time() - begin})
    return result


def _expected_loss(truth: Float64, p: Float64) -> float:
    return float(np.mean(-truth * np.log2(p) - (1 - truth) * np.log2(1 - p)))


def cities(
    kind: str, count: int, names: tuple[str, ...], jobs: int, folder: Path, blocks: int = BLOCKS
) -> dict[str, Any]:
    """Return how often each verdict was given on cities of one kind, and how often the truth contradicts it."""
    judge = partial(judge_city, names=names, blocks=blocks, folder=folder)
    with processes(jobs) as run:
        judged = list(run(judge, [(kind, seed) for seed in range(count)]))
    result: dict[str, Any] = {}
    for name in names[1:]:
        others = [other for other in (CLIMATOLOGY, LEVEL) if other != name]
        told = result[name] = {other: _verdicts([one[name][other] for one in judged]) for other in others}
        if name != LEVEL:
            told["foresight"] = share([all(one[name][other]["sign"] > 0 for other in others) for one in judged])
    return result


def _verdicts(each: list[Mapping[str, Any]]) -> dict[str, Any]:
    signs, true = (np.array([one[key] for one in each]) for key in ("sign", "true_bits"))
    return {
        "better": share(signs > 0),
        "worse": share(signs < 0),
        "falsely_better": share((signs > 0) & (true <= 0)),
        "falsely_worse": share((signs < 0) & (true >= 0)),
        "equal": share(true == 0),
        "bits": float(np.mean([one["bits"] for one in each])),
        "true_bits": float(true.mean()),
    }


def show(result: dict[str, Any]) -> None:
    """Print the shares, in percent."""
    for title, key in (("equally good", "pairs"), ("the first is better", "power")):
        rows = [["errors remember", *(f"{weeks} weeks" for weeks in result[key])]]
        for name in PROCEDURES:
            each = [result[key][weeks][name] for weeks in result[key]]
            rows.append([name, *(f"{_percent(one['better'])} / {_percent(one['worse'])}" for one in each)])
        print_table(f"pairs, {title}: called better / worse, %", rows)
    for kind, told in ((kind, {**told, **result["stack"][kind]}) for kind, told in result["cities"].items()):
        rows = [["forecaster", "against", "better", "worse", "falsely better", "falsely worse", "bits", "true bits"]]
        for name, by_reference in told.items():
            for other, one in by_reference.items():
                if "better" in one:
                    keys = ("better", "worse", "falsely_better", "falsely_worse")
                    numbers = [f"{one['bits']:+.5f}", f"{one['true_bits']:+.5f}"]
                    rows.append([name, other, *(_percent(one[key]) for key in keys), *numbers])
                else:
                    rows.append([name, "both: foresight", _percent(one), *[""] * 5])
        print_table(f"cities: {kind}, %", rows)


def _percent(one: Mapping[str, Any]) -> str:
    return f"{100 * one['value']:.1f}"


def main() -> None:
    """Measure, print, and save unless quick."""
    flags = parse_flags(
        __doc__ or "",
        forecasters={"default": "", "metavar": "A,B", "help": "beside climatology and level"},
        cities={"type": int, "default": CITIES, "metavar": "N"},
        stacked={"type": int, "default": STACKED, "metavar": "N"},
        pairs={"type": int, "default": PAIRS, "metavar": "N"},
        jobs={"type": int, "default": header()["cores"], "metavar": "N"},
    )
    names = tuple(dict.fromkeys((CLIMATOLOGY, LEVEL, *filter(None, flags.forecasters.split(",")))))
    count, stacked, many = (3, 1, 20) if flags.quick else (flags.cities, flags.stacked, flags.pairs)
    jobs, equal, unequal = 1 if flags.quick else flags.jobs, (ERROR_SD, ERROR_SD), (SMALLER_SD, ERROR_SD)
    kinds = [
        *((weeks, many, equal) for weeks in MEMORY_WEEKS),
        *((weeks, many // 4, unequal) for weeks in MEMORY_WEEKS),
    ]
    with processes(jobs) as run:
        told = list(run(pairs, kinds))
    weeks, pairs_s = [str(each) for each in MEMORY_WEEKS], sum(os.times()[:4])  # of all processes
    commit = header()["commit"]
    folder = ROOT / ".local" / f"verdicts-{commit}"
    if flags.quick or commit == "unknown" or commit.endswith("-dirty"):  # other code may have left what lies there
        shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    result = {
        "years": list(YEARS),
        "error_sd": ERROR_SD,
        "pairs": dict(zip(weeks, told[: len(weeks)], strict=True)),
        "smaller_error_sd": SMALLER_SD,
        "power": dict(zip(weeks, told[len(weeks) :], strict=True)),
        "forecasters": list(names[1:]),
        "city_years": CITY_YEARS,
        "cities": {kind: cities(kind, count, names, jobs, folder) for kind in KINDS},
        "stack": {kind: cities(kind, stacked, (CLIMATOLOGY, LEVEL, STACK), jobs, folder, blocks=1) for kind in KINDS},
    }
    cities_s = sum(json.loads(path.read_text(encoding="utf-8"))["processor_seconds"] for path in folder.iterdir())
    finish("verdicts", {**result, "processor_seconds": round(pairs_s + cities_s, 1)}, flags, show)


if __name__ == "__main__":
    main()
