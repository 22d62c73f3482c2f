"""Gates 2, 3, 4 and 7: what no honest forecast can do, but by chance.

2. Labels exchanged in blocks have nothing to do with anything that is known: the AUC of whoever was fitted on them is
   0.5 but for chance. The blocks hold a prime number of windows, so that exchanged labels keep neither the hour nor
   the weekday. How far chance goes is found by exchanging the test labels' blocks many times more; given that a
   forecast does not depend on the order of these blocks, the test is exact. (Permutation tests: Good, Permutation,
   Parametric and Bootstrap Tests of Hypotheses, 3rd ed., 2005.)
3. On a `null` city nothing but the clock matters. A model's gain over the climatology may come from one source only:
   the climatology is fitted, and the truth beats it by its fitting error. So the gain may not exceed what the truth
   itself gains on the same windows, in a paired moving-block bootstrap of that difference.
4. Nobody beats the truth: a model's log score is at most the oracle's plus two standard errors. A forecast as good as
   the truth passes that by chance 23 times in a thousand, so it is a warning; what happens by chance less than once in
   a thousand times, over all forecasts together, is a failure.
7. On real tables a city-wide AUC within hours of the week that is more than 0.05 above the climatology's is too good to
   be true. How often chance alone would say so is told with it, and how sure it is.

Shapes: S windows, B blocks of K windows, D draws.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hews_gpu.arrays import Bool, Float64
from hews_gpu.audit.future import AUDITED, Evaluate
from hews_gpu.audit.gate_result import ALPHA, GateResult
from hews_gpu.evaluation.backtest import forecast_blocks
from hews_gpu.evaluation.bootstrap import Blocks
from hews_gpu.evaluation.folds import Experiment
from hews_gpu.evaluation.strata import auc_gain_within, roc_auc_within
from hews_gpu.forecasters.base import CLIMATOLOGY, Entry
from hews_gpu.forecasters.catalog import Outcomes
from hews_gpu.forecasters.climatology import hour_of_week
from hews_gpu.forecasters.logistic import log_loss_each_bits
from hews_gpu.progress import SILENT
from hews_gpu.units import WEEK_S

__all__ = ["BLOCK", "beats_the_truth", "block_of", "null_skill", "permuted_gate", "permuted_labels", "strata_gate"]


BLOCK = 89
"""Windows per exchanged block: about a week, and prime."""
DRAWS = 20_000
STANDARD_ERRORS = 2.0
TOO_GOOD = 0.05
SURE = 1.96  # standard errors either way: 95 %


def permuted_labels(y: Bool, rng: np.random.Generator) -> Bool:
    """Put the blocks of outcomes [S] in another order; windows after the last whole block stay."""
    count = len(y) // BLOCK
    moved = y.copy()
    moved[: count * BLOCK] = y[: count * BLOCK].reshape(count, BLOCK)[rng.permutation(count)].ravel()
    return moved


def permuted_gate(
    experiment: Experiment,
    *,
    entries: Mapping[str, Entry] = AUDITED,
    evaluate: Evaluate = forecast_blocks,
    seed: int = 0,
) -> GateResult:
    """Fit, calibrate and test one block on exchanged labels (gate 2): every AUC must be that of guessing."""
    assert len(experiment.folds) == 1, "with more blocks the test labels of one are learned from in the next"
    rng = np.random.default_rng(seed)
    fold, y = experiment.folds[0], experiment.all.y.copy()
    for part in (fold.train, fold.calibration, fold.test):
        y[part] = permuted_labels(y[part], rng)
    exchanged = replace(experiment, all=Outcomes(windows=experiment.all.windows, y=y))
    judged = evaluate(exchanged, entries, SILENT)
    level = ALPHA / len(entries)
    scores = {name: _against_chance(y[fold.test], one.p[0], level, rng) for name, one in judged.items()}
    bad = [name for name, one in scores.items() if not one["low"] <= 0.5 <= one["high"]]
    worst = max(scores, key=lambda name: abs(scores[name]["auc"] - 0.5))
    summary = f"AUC of {worst} {scores[worst]['auc']:.3f} [{scores[worst]['low']:.3f}, {scores[worst]['high']:.3f}]"
    return GateResult(
        gate="2 permuted labels",
        tested=f"{', '.join(entries)} on {experiment.city.name}, labels exchanged in blocks of {BLOCK} windows",
        verdict="fail" if bad else "pass",
        summary=summary + (f"; not by chance: {', '.join(bad)}" if bad else " is the farthest from 0.5; all cover it"),
        figures={"false_alarms": ALPHA, "level_each": level, "windows": len(fold.test), "forecasters": scores},
    )


def _against_chance(
    y: Bool, p: Float64, level: float, rng: np.random.Generator, draws: int = DRAWS
) -> dict[str, float]:
    """Return the AUC with the interval that chance leaves it, and how often chance goes as far."""
    from scipy.stats import rankdata

    count, positives = len(y) // BLOCK, int(y.sum())
    rank, labels = rankdata(p), y.astype(float)
    blocks, ranks = (each[: count * BLOCK].reshape(count, BLOCK) for each in (labels, rank))
    table = blocks @ ranks.T  # [B, B] rank sum of the positives where block i lies in the place of block j
    orders = rng.permuted(np.tile(np.arange(count), (draws, 1)), axis=1)
    sums = np.concatenate([[np.trace(table)], table[np.arange(count), orders].sum(axis=1)])
    sums += rank[count * BLOCK :] @ labels[count * BLOCK :] - positives * (positives + 1) / 2
    auc = sums / max(positives * (len(y) - positives), 1)
    away = np.sort(np.abs(auc[1:] - 0.5))
    width = float(away[min(draws - 1, int(np.ceil((1 - level) * draws)))])
    chance = (1 + int((away >= abs(auc[0] - 0.5)).sum())) / (draws + 1)
    return {"auc": float(auc[0]), "low": float(auc[0]) - width, "high": float(auc[0]) + width, "p": chance}


def null_skill(name: str, y: Bool, p: Mapping[str, Float64], oracle: Float64, block: int) -> GateResult:
    """Test that no forecast [S] of a `null` city gains more over the climatology than the truth does (gate 3)."""
    reference = log_loss_each_bits(y, p[CLIMATOLOGY])
    skill = {key: float((reference - log_loss_each_bits(y, each)).mean()) for key, each in (*p.items(), ("", oracle))}
    scores = {key: {"log_skill_bits": skill[key], **one} for key, one in _beyond_truth(y, p, oracle, block).items()}
    level, allowed = ALPHA / len(p), skill[""]
    bad = [key for key, one in scores.items() if one["p"] < level]
    best = max(scores, key=lambda key: scores[key]["log_skill_bits"])
    summary = (
        f"best log skill {scores[best]['log_skill_bits']:+.4f} bits ({best}), the truth has {allowed:+.4f}; "
        f"a gain of {max(one['detectable_bits'] for one in scores.values()):.4f} beyond it would show"
    )
    return GateResult(
        gate="3 nothing to find",
        tested=f"{', '.join(p)} on {name}",
        verdict="fail" if bad else "pass",
        summary=summary + (f"; significant: {', '.join(bad)}" if bad else ""),
        figures={"false_alarms": ALPHA, "level_each": level, "allowed_bits": allowed, "forecasters": scores},
    )


def _beyond_truth(y: Bool, p: Mapping[str, Float64], oracle: Float64, block: int) -> dict[str, dict[str, float]]:
    """Test by how much each forecast [S] is better than the truth, in blocks of as many windows as a week has."""
    truth, blocks = log_loss_each_bits(y, oracle), Blocks.drawn(len(y), block, draws=DRAWS)
    return {key: _tested(truth - log_loss_each_bits(y, each), blocks) for key, each in p.items()}


def _tested(gain: Float64, blocks: Blocks) -> dict[str, float]:
    """Return a mean gain, how often chance gives as much, and how large one must be to be found 4 times out of 5."""
    from scipy.stats import norm

    drawn = blocks.means(gain)
    mean, error = float(gain.mean()), float(drawn.std())
    chance = (1 + int((drawn - drawn.mean() >= mean).sum())) / (len(drawn) + 1)
    detectable = float(norm.isf(ALPHA) + norm.isf(0.2)) * error
    return {"beyond_truth_bits": mean, "standard_error": error, "p": chance, "detectable_bits": detectable}


def beats_the_truth(name: str, y: Bool, p: Mapping[str, Float64], oracle: Float64, block: int) -> GateResult:
    """Test that no forecast [S] is better than the truth plus two standard errors (gate 4)."""
    scores = _beyond_truth(y, p, oracle, block)
    for one in scores.values():
        error = one["standard_error"]
        one["standard_errors"] = one["beyond_truth_bits"] / error if error > 0 else 0.0
    level = ALPHA / len(p)
    beyond = [key for key, one in scores.items() if one["standard_errors"] > STANDARD_ERRORS]
    bad = [key for key in beyond if scores[key]["p"] < level]
    best = max(scores, key=lambda key: scores[key]["standard_errors"])
    one = scores[best]
    summary = (
        f"closest: {best}, {one['beyond_truth_bits']:+.4f} bits of the truth "
        f"({one['standard_errors']:+.1f} SE, p = {one['p']:.2g})"
    )
    figures = {"most_standard_errors": STANDARD_ERRORS, "false_alarms": ALPHA, "level_each": level}
    return GateResult(
        gate="4 truth",
        tested=f"{', '.join(p)} on {name}",
        verdict="fail" if bad else "warning" if beyond else "pass",
        summary=summary + (f"; better than the truth: {', '.join(beyond)}" if beyond else ""),
        figures={**figures, "forecasters": scores},
    )


def strata_gate(name: str, y: Bool, begin_s: NDArray[np.int64], p: Mapping[str, Float64]) -> GateResult:
    """Warn of an AUC within hours of the week of more than 0.05 above the climatology's on a real table (gate 7)."""
    from scipy.stats import norm

    stratum = hour_of_week(begin_s)
    blocks = Blocks.drawn(len(y), max(1, round(WEEK_S / int(np.median(np.diff(begin_s))))))
    scores: dict[str, dict[str, Any]] = {}
    reference = roc_auc_within(y, p[CLIMATOLOGY], stratum)
    for key, each in p.items():
        above, share = auc_gain_within(y, each, p[CLIMATOLOGY], stratum)
        error = float(blocks.sums(share).std())
        by_chance = float(norm.sf(TOO_GOOD / error)) if error > 0 else 0.0
        scores[key] = {
            "auc": reference + above,
            "above": above,
            "interval": [above - SURE * error, above + SURE * error],
            "standard_error": error,
            "false_alarms": by_chance,
        }
    bad = [key for key, one in scores.items() if one["above"] > TOO_GOOD]
    best = max(scores, key=lambda key: scores[key]["above"])
    low, high = scores[best]["interval"]
    chance = max(one["false_alarms"] for one in scores.values())
    summary = (
        f"AUC within hours of the week: {best} {scores[best]['auc']:.3f}, climatology {reference:.3f}; "
        f"{scores[best]['above']:+.3f} [{low:+.3f}, {high:+.3f}]; chance alone gives {TOO_GOOD} with p = {chance:.1g}"
    )
    return GateResult(
        gate="7 too good",
        tested=f"{', '.join(p)} on {name}",
        verdict="warning" if bad else "pass",
        summary=summary + (f"; look for a leak in {', '.join(bad)}" if bad else ""),
        figures={"most": TOO_GOOD, "positives": int(y.sum()), "windows": len(y), "forecasters": scores},
    )


def block_of(stride_s: int) -> int:
    """Return how many windows a week has."""
    return max(1, round(WEEK_S / stride_s))
