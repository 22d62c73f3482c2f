"""Columns as numbers: each has the same variance in all, whatever its number of levels; then principal components.

A column is a table from its levels to numbers: categories one number per level, 0 or 1; the hour two, its place on the
clock's face; the neighborhood two, kilometers east and north of the city's middle; a census column one, the
neighborhood's. So a row is encoded by looking its codes up, and its principal components are sums of looked-up rows.

Shapes: R rows, L levels of a column, D numbers of a row, M components, N neighborhoods, C census columns.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from hews_gpu.arrays import Float32, Float64, Int64
from hews_gpu.groups.victims import PLACE, Victims

__all__ = ["EXPLAINED", "Column", "Components", "columns_of", "components", "permuted", "with_census"]

EXPLAINED = 0.9
"""Of the variance, by as many components as it takes."""
MOST_COMPONENTS = 30
FAR = 3.0  # standard deviations; census columns end there, so that one odd place does not make a group


@dataclass(frozen=True)
class Column:
    """What is looked up for each row."""

    codes: Int64  # [R]
    numbers: Float64  # [L, D of the column], of variance 1 in all over the rows

    def take(self, rows: Any) -> Column:
        """Return the column of some rows."""
        return Column(self.codes[rows], self.numbers)


def _column(codes: Int64, numbers: Float64, *, each: bool = False) -> Column:
    """Scale a column's numbers [L, D] to variance 1 in all, or `each`, over its rows."""
    share = np.bincount(codes, minlength=len(numbers)) / len(codes)
    centered = numbers - share @ numbers
    variance = share @ centered**2
    spread = np.sqrt(variance if each else variance.sum())
    return Column(codes, centered / np.where(spread > 0, spread, 1.0))


def columns_of(victims: Victims, middles_km: Float64) -> dict[str, Column]:
    """Return the columns of the crime table itself; `middles_km` [N, 2] is where the neighborhoods lie."""
    angle = 2 * np.pi * np.arange(24) / 24
    special = {"hour": np.column_stack([np.cos(angle), np.sin(angle)]), PLACE: middles_km}
    return {
        name: _column(codes, special.get(name, np.eye(len(victims.levels[name]))))
        for name, codes in victims.codes.items()
    }


def with_census(columns: Mapping[str, Column], census: Float64) -> dict[str, Column]:
    """Add census columns [N, C], each of variance 1 over the rows."""
    place = columns[PLACE].codes
    numbers = _column(place, census, each=True).numbers
    return {**columns, "census": _column(place, np.clip(numbers, -FAR, FAR), each=True)}


def permuted(columns: Mapping[str, Column], rng: np.random.Generator) -> dict[str, Column]:
    """Permute each column within the neighborhoods: what columns have to do with each other is gone, nothing else."""
    place = columns[PLACE].codes
    by_place = np.argsort(place, kind="stable")
    result = dict(columns)
    for name, column in columns.items():
        if name not in (PLACE, "census"):
            codes = np.empty_like(column.codes)
            codes[by_place] = column.codes[np.lexsort([rng.random(len(place)), place])]
            result[name] = Column(codes, column.numbers)
    return result


@dataclass(frozen=True)
class Components:
    """Principal components, as what to look up for each level of each column."""

    tables: Mapping[str, Float64]  # column -> [L, M]
    explained: tuple[float, ...]
    """Shares of the variance, one per component."""

    def scores(self, columns: Mapping[str, Column]) -> Float32:
        """Return the components [R, M] of rows."""
        total: Any = sum(self.tables[name][column.codes] for name, column in columns.items())
        return np.asarray(total, np.float32)


def components(columns: Mapping[str, Column], pca: Any, count: int | None = None) -> Components:
    """Fit principal components to rows.

    Args:
        columns: of the rows.
        pca: the class to fit, of scikit-learn or cuML.
        count: how many; as many as explain `EXPLAINED` of the variance unless given.
    """
    rows = np.hstack([column.numbers[column.codes] for column in columns.values()])
    most = min(MOST_COMPONENTS, rows.shape[1], len(rows) - 1)
    fitted = pca(n_components=most, svd_solver="full").fit(rows)
    explained = np.asarray(fitted.explained_variance_ratio_)
    if count is None:
        count = min(most, int(np.searchsorted(np.cumsum(explained), EXPLAINED)) + 1)
    axes, middle = np.asarray(fitted.components_)[:count], np.asarray(fitted.mean_)
    edges = np.cumsum([0, *(column.numbers.shape[1] for column in columns.values())])
    tables = {}
    for (name, column), begin, end in zip(columns.items(), edges, edges[1:], strict=False):
        tables[name] = (column.numbers - middle[begin:end]) @ axes[:, begin:end].T
    return Components(tables, tuple(explained[:count].tolist()))
