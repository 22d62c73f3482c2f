"""Whether groups are real: against tables whose columns have nothing to do with each other, and under resampling.

The null tables are the rows themselves with every column but the place permuted within the neighborhoods: each
neighborhood keeps its crimes, hours and premises, and its census row, but they no longer go together. Whatever
silhouette such a table has comes from the shares of the levels, and with census columns from the join alone, as all
victims of a neighborhood share one census row. Groups are said to be real where three things hold at the chosen k:

- the gap, log within-variance of the null tables minus that of the data (Tibshirani, Walther and Hastie, 2001, doi
  10.1111/1467-9868.00293), and the silhouette are both beyond the null tables by more than Student's t allows at
  `LEVEL`, corrected for all k that were tried;
- partitions of resampled rows agree: mean adjusted Rand index at least `STABLE` (Hennig, 2007, doi
  10.1016/j.csda.2006.11.025).

The k is the smallest whose silhouette exceeds that of the null tables by as much as the best, but for one standard
error. All of it is done on `SAMPLE` rows, silhouettes on `SILHOUETTE_ROWS` of them.

Shapes: R rows, M components, K numbers of groups tried, B null tables.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from hews_gpu.arrays import Float32, Float64, Int64
from hews_gpu.groups.encoding import Column, Components, components, permuted, with_census
from hews_gpu.groups.engine import Engine, nearest
from hews_gpu.groups.victims import LEAST_GROUP
from hews_gpu.progress import step

__all__ = ["BOOTSTRAPS", "KS", "LEVEL", "NULLS", "SAMPLE", "SILHOUETTE_ROWS", "STABLE", "Evidence", "Finder"]

KS = tuple(range(2, 9))
SAMPLE, SILHOUETTE_ROWS = 10_000, 2_000
NULLS, BOOTSTRAPS, STARTS = 20, 40, 5
LEVEL, STABLE = 0.01, 0.75
ALTERNATIVE_ROWS = 5_000
Columns = Mapping[str, Column]


@dataclass(frozen=True)
class Evidence:
    """What was found in a sample."""

    components: Components
    centers: Float64  # [k, M]
    result: dict[str, Any]
    """As ``groups.json`` holds it."""


@dataclass(frozen=True)
class Finder:
    """Clusters rows, and everything they are held against, in the same way."""

    engine: Engine
    seed: int = 0

    def evidence(self, columns: Columns, census: Float64 | None) -> Evidence:
        """Choose k, and say whether the groups are real.

        Args:
            columns: of the sample, without census columns.
            census: [N, C] of the neighborhoods; None for part 1.
        """
        own = columns if census is None else with_census(columns, census)
        with step("null tables", NULLS * (1 if census is None else 2) + 2, "tables") as bar:
            basis = components(own, self.engine.pca)
            scores, count = basis.scores(own), len(basis.explained)
            data, fits = self._curve(scores)
            bar.advance()

            def of_tables(make: Callable[[np.random.Generator], Columns], salt: int) -> Float64:
                curves = []
                for b in range(NULLS):
                    table = make(np.random.default_rng((self.seed, salt, b)))
                    curves.append(self._curve(components(table, self.engine.pca, count).scores(table))[0])
                    bar.advance()
                return np.array(curves)

            null = of_tables(lambda rng: permuted(own, rng), 1)
            tested = _tested(data, null)
            k = tested["k"]
            stability, silhouettes = self._resampled(scores, fits[k])
            result = {
                **tested,
                "components": {"count": count, "explained": [round(one, 4) for one in basis.explained]},
                "stability": _spread(stability),
                "null_stability": self._null_stability(own, count, k),
                "silhouette": {**_spread(silhouettes), "value": float(data[KS.index(k), 1])},
                "alternatives": self._alternatives(scores, nearest(scores, fits[k])),
            }
            result["reasons"] = _reasons(result)
            result["is_real"] = not result["reasons"]
            if census is not None:
                swapped = of_tables(lambda rng: with_census(columns, _swapped(census, columns, rng)), 2)
                result["join"] = self._join(columns, result, null, swapped)
            bar.advance()
        return Evidence(basis, fits[k], result)

    def _curve(self, scores: Float32) -> tuple[Float64, dict[int, Float64]]:
        """Return log within-variance and silhouette [K, 2] of rows, and the centers for each k."""
        total = np.log(((scores - scores.mean(axis=0)) ** 2).sum(dtype=np.float64))
        chosen = self._silhouette_rows(len(scores))
        distances = _distances(scores[chosen])
        values, fits = [], {}
        for k in KS:
            fits[k] = centers = self.engine.centers(scores, k, seed=self.seed, starts=STARTS)
            labels = nearest(scores, centers)
            within = ((scores - centers[labels]) ** 2).sum(dtype=np.float64)
            values.append((np.log(within) - total, _silhouette(distances, labels[chosen])))
        return np.array(values), fits

    def _silhouette_rows(self, rows: int, b: int = 0) -> Int64:
        return np.random.default_rng((self.seed, 3, b)).permutation(rows)[:SILHOUETTE_ROWS]

    def _resampled(self, scores: Float32, centers: Float64, times: int = BOOTSTRAPS) -> tuple[list[float], list[float]]:
        """Return, for resampled rows, how far their groups agree with these, and their silhouette."""
        from sklearn.metrics import adjusted_rand_score

        labels, agree, silhouettes = nearest(scores, centers), [], []
        for b in range(times):
            drawn = scores[np.random.default_rng((self.seed, 4, b)).integers(0, len(scores), len(scores))]
            own = self.engine.centers(drawn, len(centers), seed=self.seed + b, starts=STARTS)
            agree.append(float(adjusted_rand_score(labels, nearest(scores, own))))
            rows = drawn[self._silhouette_rows(len(drawn), b)]
            silhouettes.append(_silhouette(_distances(rows), nearest(rows, own)))
        return agree, silhouettes

    def _null_stability(self, own: Columns, count: int, k: int) -> dict[str, Any]:
        """Return how far resampled null tables agree with themselves: a cut of a cloud may be stable, too."""
        agree = []
        for b in range(NULLS // 4):
            table = permuted(own, np.random.default_rng((self.seed, 1, b)))
            scores = components(table, self.engine.pca, count).scores(table)
            centers = self.engine.centers(scores, k, seed=self.seed, starts=STARTS)
            agree += self._resampled(scores, centers, 4)[0]
        return _spread(agree)

    def _join(self, columns: Columns, result: dict[str, Any], null: Float64, swapped: Float64) -> dict[str, Any]:
        """Return the silhouettes that tell how much of part 2's comes from the join alone, all at its k."""
        k = result["k"]
        at = KS.index(k)
        basis = components(columns, self.engine.pca)
        scores = basis.scores(columns)
        curve, fits = self._curve(scores)
        part_1 = {**_spread(self._resampled(scores, fits[k])[1]), "value": float(curve[at, 1])}
        one, two = part_1["value"], result["silhouette"]["value"]
        gain = {
            name: _spread(((table[:, at, 1] - one) / (two - one)).tolist()) if two > one else None
            for name, table in (("gain_permuted", null), ("gain_swapped", swapped))
        }
        return {
            **gain,
            "part_1": part_1,
            "part_2": result["silhouette"],
            "part_2_permuted": _spread(null[:, at, 1].tolist()),
            "part_2_swapped": _spread(swapped[:, at, 1].tolist()),
            "curves": {"part_1": curve[:, 1].tolist(), "part_2_swapped": swapped[:, :, 1].mean(axis=0).tolist()},
        }

    def _alternatives(self, scores: Float32, labels: Int64) -> list[dict[str, Any]]:
        """Return what Gaussian mixtures and HDBSCAN make of some of the rows, and how far they agree with k-means."""
        from sklearn.cluster import HDBSCAN
        from sklearn.metrics import adjusted_rand_score
        from sklearn.mixture import GaussianMixture

        scores, labels = scores[:ALTERNATIVE_ROWS].astype(np.float64), labels[:ALTERNATIVE_ROWS]
        mixture = GaussianMixture(
            len(set(labels.tolist())), covariance_type="diag", reg_covar=1e-3, random_state=self.seed
        )
        least = max(LEAST_GROUP, len(scores) // 100)
        results = []
        for name, own in (
            ("Gaussian mixture", mixture.fit_predict(scores)),
            ("HDBSCAN", HDBSCAN(min_cluster_size=least, copy=True).fit_predict(scores)),
        ):
            agree = float(adjusted_rand_score(labels, own))
            noise = float((own < 0).mean())
            results.append({"method": name, "groups": int(own.max()) + 1, "agreement": agree, "in_no_group": noise})
        return results


def _distances(scores: Float32) -> Float32:
    """Return how far rows [R, M] are from each other [R, R]; equal ones not at all, as silhouettes want it."""
    from sklearn.metrics import pairwise_distances

    distances: Float32 = pairwise_distances(scores)
    np.fill_diagonal(distances, 0)
    return distances


def _silhouette(distances: Float32, labels: Int64) -> float:
    """Return the mean silhouette of rows; 0 where all are in one group."""
    from sklearn.metrics import silhouette_samples

    several = 1 < len(np.unique(labels)) < len(labels)
    return float(silhouette_samples(distances, labels, metric="precomputed").mean()) if several else 0.0


def _swapped(census: Float64, columns: Columns, rng: np.random.Generator) -> Float64:
    """Return census rows exchanged between the neighborhoods that have victims."""
    there = np.unique(columns["neighborhood"].codes)
    result = census.copy()
    result[there] = census[rng.permutation(there)]
    return result


def _spread(values: list[float]) -> dict[str, Any]:
    """Return the mean of values and the ends between which 95 % of them lie."""
    return {"value": float(np.mean(values)), "interval": np.quantile(values, [0.025, 0.975]).tolist()}


def _tested(data: Float64, null: Float64) -> dict[str, Any]:
    """Hold a curve [K, 2] against those of null tables [B, K, 2], and choose k."""
    from scipy.stats import t

    error = null.std(axis=0, ddof=1) * np.sqrt(1 + 1 / len(null))  # of one more table
    beyond = (data - null.mean(axis=0)) * [-1, 1]  # [K, 2]: the gap, and the silhouette's excess
    ratio = beyond / np.maximum(error, 1e-9)
    excess = beyond[:, 1]
    best = int(excess.argmax())
    at = int(np.flatnonzero(excess >= excess[best] - error[best, 1])[0])
    ends = np.quantile(null, [0.025, 0.975], axis=0)
    curve = [
        {
            "k": k,
            "within": float(np.exp(data[i, 0])),
            "silhouette": float(data[i, 1]),
            "null_within": float(np.exp(null[:, i, 0].mean())),
            "null_silhouette": {"value": float(null[:, i, 1].mean()), "interval": ends[:, i, 1].tolist()},
            "gap": float(beyond[i, 0]),
            "gap_error": float(error[i, 0]),
        }
        for i, k in enumerate(KS)
    ]
    needed = float(t.ppf(1 - LEVEL / len(KS), len(null) - 1))
    return {
        **{"k": KS[at], "curve": curve, "t_needed": needed},
        **{"gap_t": float(ratio[at, 0]), "silhouette_t": float(ratio[at, 1])},
    }


def _reasons(result: Mapping[str, Any]) -> list[str]:
    """Return why the groups are not real; none where they are."""
    reasons = []
    for name, key in (("gap", "gap_t"), ("silhouette", "silhouette_t")):
        if result[key] <= result["t_needed"]:
            told = f"t {result[key]:.1f}, more than {result['t_needed']:.1f} is needed"
            reasons.append(f"the {name} is not beyond that of tables whose columns are permuted ({told})")
    if (agree := result["stability"]["value"]) < STABLE:
        reasons.append(f"resampled rows give other groups (adjusted Rand index {agree:.2f}, {STABLE} is needed)")
    return reasons
