"""The uniform grid that finds a point's polygon: built in NumPy, read by every kernel.

The bounding box of all polygons is cut into cells. A cell that no edge touches lies in the same polygons throughout, so
it holds its answer. Any other cell holds the edges that touch it, as runs of vertices by polygon, and an anchor: a
point on no edge of which it is known, polygon by polygon, whether it lies inside. Walking from a point to the anchor
crosses only edges of the cell, and each crossing changes sides; so a point's polygon follows from a few edges.

Anchors lie on one line per row and one per column of cells. Which are inside comes from scanning each row for the
edges that cross its line, where plain float64 tells every anchor's side beyond doubt; a row where it cannot gets
another line.

Shapes: N polygons, V vertices, E edges, M rows and X columns of cells, K cells with edges, R runs.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hews_gpu.kernels.pip_scalars import SIGN_ERROR

__all__ = ["OUTSIDE", "PipTables", "build_tables"]

OUTSIDE = -1
"""The polygon of a point that no polygon covers."""
CELLS_PER_EDGE = 8
"""Enough that most cells of a city hold no edge, few enough that 129k edges need 4 MiB, which a core's cache holds."""
MOST_CELLS = 2**22
PAIRS_PER_EDGE = 16
"""Long edges touch many cells; beyond this average (or `FEW_PAIRS` in all) the grid is made coarser."""
FEW_PAIRS = 2**16
REACH = 1e-6
"""Cells count as this much larger on every side, in cells, when edges are listed: a million times the rounding error of
a position in cells, so that no point that rounding puts into a cell can miss an edge."""
FINEST = 2**20
"""A cell is at least this many float64 steps wide and high; a box that is smaller than that is one cell."""
LINES = 64
"""Lines tried per row of cells. Each can fail only where an edge passes within rounding of an anchor or a vertex
lies on it."""

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Int32 = NDArray[np.int32]


class PipTables(NamedTuple):
    """What `pip_walk.find` reads."""

    bounds: Floats  # [4] west, south, east, north of all polygons
    cells_per_unit: Floats  # [2] along x and y
    shape: Int32  # [2] rows and columns of cells, M and X
    cell: Int32  # [M * X] polygon or OUTSIDE where no edge is; else -2 - k, cell k of those with edges
    run_start: Int32  # [K + 1] cell k has the runs [run_start[k], run_start[k + 1]), by polygon
    around: Int32  # [K] the first polygon that covers the whole cell without an edge in it, or OUTSIDE
    anchor: Floats  # [K, 2] x and y
    run: Int32  # [R, 4] polygon; whether this is its first run in the cell and the anchor inside; first, last vertex
    vertex: Floats  # [V, 2] x and y, ring after ring, each ring's first vertex repeated at its end


def build_tables(vertex: Floats, ring_start: Ints, polygon_of_ring: Ints) -> PipTables:
    """Build the grid of some polygons; tens of milliseconds for 100,000 vertices, memory in proportion to them.

    Args:
        vertex: float64[V, 2], finite, ring after ring; the last vertex of a ring repeats its first.
        ring_start: int64[rings + 1], ring r has the vertices [ring_start[r], ring_start[r + 1]).
        polygon_of_ring: int64[rings], ascending. Shells and holes alike: a point is inside a polygon if a ray from it
            crosses the polygon's rings an odd number of times.
    """
    is_edge = np.ones(len(vertex), bool)
    is_edge[ring_start[1:] - 1] = False
    edge = np.flatnonzero(is_edge)  # [E] its first vertex
    polygon = np.repeat(polygon_of_ring, np.diff(ring_start))[edge]
    if not len(edge):
        return _nothing()
    grid = _fitting_grid(vertex, edge)
    pair_edge, pair_cell = grid.pairs(vertex, edge)
    order = np.argsort(pair_cell, kind="stable")  # by cell, then in the order of edges: by polygon, then along rings
    pair_edge, pair_cell = pair_edge[order], pair_cell[order]
    first = edge[pair_edge]
    is_new = np.ones(len(first), bool)
    is_new[1:] = (np.diff(pair_cell) != 0) | (np.diff(first) != 1)
    begin = np.flatnonzero(is_new)
    run_cell, run_polygon = pair_cell[begin], polygon[pair_edge[begin]]
    last = first[np.append(begin[1:], len(first)) - 1] + 1
    spans, lines = _spans(grid, vertex, edge, polygon)
    is_inside, cell = _scan(grid, run_cell, run_polygon, spans)
    busy, run_start = np.unique(run_cell, return_index=True)
    row, column = np.divmod(busy, grid.columns)
    around = cell[busy].copy()
    cell[busy] = -2 - np.arange(len(busy))
    return PipTables(
        bounds=grid.bounds,
        cells_per_unit=grid.cells_per_unit,
        shape=np.array([grid.rows, grid.columns], np.int32),
        cell=cell,
        run_start=np.append(run_start, len(begin)).astype(np.int32),
        around=around,
        anchor=np.column_stack([grid.column_lines()[column], lines[row]]),
        run=np.column_stack([run_polygon, is_inside, first[begin], last]).astype(np.int32),
        vertex=np.ascontiguousarray(vertex, np.float64),
    )


def _nothing() -> PipTables:
    """Return the grid of no polygons: bounds that hold no point."""
    none = np.zeros(0, np.int32)
    return PipTables(
        bounds=np.array([np.inf, np.inf, -np.inf, -np.inf]),
        cells_per_unit=np.zeros(2),
        shape=np.ones(2, np.int32),
        cell=np.full(1, OUTSIDE, np.int32),
        run_start=np.zeros(1, np.int32),
        around=none,
        anchor=np.zeros((0, 2)),
        run=np.zeros((0, 4), np.int32),
        vertex=np.zeros((0, 2)),
    )


class _Grid(NamedTuple):
    """Where the cells are."""

    bounds: Floats  # [4] west, south, east, north
    rows: int
    columns: int

    @property
    def cells_per_unit(self) -> Floats:
        """[2] along x and y; 0 where there is but one cell, which everything then is in."""
        size = self.bounds[2:] - self.bounds[:2]
        counts = np.array([self.columns, self.rows])
        return np.where(counts > 1, counts / np.where(counts > 1, size, 1.0), 0.0)

    def positions(self, vertex: Floats) -> Floats:
        """Return [.., 2] in cells from the south-west corner, by the very arithmetic that gives a point's cell."""
        at: Floats = (vertex - self.bounds[:2]) * self.cells_per_unit
        return at

    def halved(self) -> _Grid:
        """Return the grid with cells twice as long."""
        return self._replace(rows=(self.rows + 1) // 2, columns=(self.columns + 1) // 2)

    def column_lines(self) -> Floats:
        """Return float64[X], x of the anchors, ascending. A single column has it outside: all its edges are listed."""
        west, _, east, _ = self.bounds
        return _lines(west, east, np.full(self.columns, 0.47))

    def row_lines(self, fraction: Floats) -> Floats:
        """Return float64[M], y of the anchors, ascending, at such a fraction [M] of each row's height."""
        _, south, _, north = self.bounds
        return _lines(south, north, fraction)

    def pairs(self, vertex: Floats, edge: Ints) -> tuple[Ints, Ints]:
        """Return every edge (index into `edge`) with every cell that it touches or nearly touches, edge by edge."""
        at = self.positions(vertex)
        (ua, va), (ub, vb) = at[edge].T, at[edge + 1].T
        low, high = _covered(np.minimum(va, vb), np.maximum(va, vb), self.rows)
        of, row = _ranges(low, high)  # each edge with each row that it touches
        ua, va, du, dv = ua[of], va[of], (ub - ua)[of], (vb - va)[of]
        flat = dv == 0
        slope = 1 / np.where(flat, 1.0, dv)
        t = np.clip(np.stack([row - REACH - va, row + 1 + REACH - va]) * slope, 0, 1)
        t[:, flat] = [[0], [1]]
        u = ua + t * du  # [2, ..] where it enters and leaves the row
        left, right = _covered(u.min(axis=0), u.max(axis=0), self.columns)
        which, column = _ranges(left, right)
        return of[which], row[which] * self.columns + column


def _lines(low: float, high: float, fraction: Floats) -> Floats:
    """Return one line per interval of [low, high]; below it where there is only one interval."""
    count = len(fraction)
    if count == 1:
        return np.array([low - max(1.0, abs(low), high - low)])
    return low + (np.arange(count) + fraction) * ((high - low) / count)


def _covered(low: Floats, high: Floats, count: int) -> tuple[Ints, Ints]:
    """Return first and last of `count` unit intervals that [low, high], made longer by REACH, touches."""
    first = np.clip(np.floor(low - REACH), 0, count - 1)
    last = np.clip(np.floor(high + REACH), 0, count - 1)
    return first.astype(np.int64), last.astype(np.int64)


def _ranges(first: Ints, last: Ints) -> tuple[Ints, Ints]:
    """Return all integers of each range first .. last (inclusive), range by range: whose, and which."""
    counts = np.maximum(last - first + 1, 0)
    whose = np.repeat(np.arange(len(first)), counts)
    return whose, np.arange(len(whose)) - np.repeat(np.cumsum(counts) - counts - first, counts)


def _fitting_grid(vertex: Floats, edge: Ints) -> _Grid:
    """Choose as many cells as pay, nearly square, but not so many that long edges fill the memory."""
    bounds = np.concatenate([vertex.min(axis=0), vertex.max(axis=0)])
    size = bounds[2:] - bounds[:2]
    steps = size / (FINEST * np.spacing(np.maximum(np.abs(bounds[:2]), np.abs(bounds[2:]))))
    most = np.clip(steps, 1, MOST_CELLS)  # cells along x and y
    cells = min(CELLS_PER_EDGE * len(edge), MOST_CELLS)
    aspect = size[0] / size[1] if size.min() > 0 else 1.0
    columns = int(np.clip(np.sqrt(cells * aspect), 1, min(most[0], cells)))
    rows = int(np.clip(cells / columns, 1, most[1]))
    grid = _Grid(bounds, rows, columns)
    limit = max(PAIRS_PER_EDGE * len(edge), FEW_PAIRS)
    while grid.rows * grid.columns > 1 and _most_pairs(grid, vertex, edge) > limit:
        grid = grid.halved()
    return grid


def _most_pairs(grid: _Grid, vertex: Floats, edge: Ints) -> float:
    """Return at least as many pairs as there are: a line through r rows and c columns touches at most r + c cells."""
    at = np.floor(grid.positions(vertex))
    return float((np.abs(at[edge + 1] - at[edge]).sum(axis=1) + 1).sum())


class _Spans(NamedTuple):
    """Stretches of anchors inside a polygon: columns [begin, end) of a row, by polygon."""

    polygon: Ints
    row: Ints
    begin: Ints
    end: Ints


def _spans(grid: _Grid, vertex: Floats, edge: Ints, polygon: Ints) -> tuple[_Spans, Floats]:
    """Return which anchors lie inside, and the y of the anchors of each row, moved until no edge is near one."""
    a, b = vertex[edge], vertex[edge + 1]
    swap = (a[:, 1] > b[:, 1])[:, None]
    lower, upper = np.where(swap, b, a), np.where(swap, a, b)  # [E, 2]
    fraction = np.full(grid.rows, 0.47)
    for attempt in range(LINES):
        lines = grid.row_lines(fraction)
        which, row, column, is_sure = _crossings(lines, grid.column_lines(), lower, upper)
        if is_sure.all():
            order = np.lexsort((column, row, polygon[which]))
            owner, row, column = polygon[which][order], row[order], column[order]
            # rings are closed: a line crosses each polygon an even number of times, and is inside every other stretch
            return _Spans(owner[::2], row[::2], column[::2], column[1::2]), lines
        fraction[row[~is_sure]] = 0.1 + 0.8 * ((0.5 + 0.618034 * (attempt + 1)) % 1)
    raise AssertionError(f"no line without an edge within rounding of an anchor in {LINES} tries")


def _crossings(
    lines: Floats, columns: Floats, lower: Floats, upper: Floats
) -> tuple[Ints, Ints, Ints, NDArray[np.bool_]]:
    """Return each edge with each row whose line it meets, the first anchor to its right, and whether that is sure."""
    first = np.searchsorted(lines, lower[:, 1], side="left")
    last = np.searchsorted(lines, upper[:, 1], side="right") - 1
    which, row = _ranges(first, last)
    low, high, y = lower[which], upper[which], lines[row]
    rise = high[:, 1] - low[:, 1]
    x = low[:, 0] + (y - low[:, 1]) / np.where(rise > 0, rise, 1.0) * (high[:, 0] - low[:, 0])
    column = np.searchsorted(columns, x)
    is_sure = (low[:, 1] < y) & (y < high[:, 1])
    before, after = np.maximum(column - 1, 0), np.minimum(column, len(columns) - 1)
    is_sure &= (column == 0) | (_sure_side(low, high, columns[before], y) > 0)
    is_sure &= (column == len(columns)) | (_sure_side(low, high, columns[after], y) < 0)
    return which, row, column, is_sure


def _sure_side(a: Floats, b: Floats, x: Floats, y: Floats) -> Floats:
    """Compute `pip_scalars.side`, but zero wherever rounding leaves a doubt."""
    left = (a[:, 0] - x) * (b[:, 1] - y)
    right = (a[:, 1] - y) * (b[:, 0] - x)
    determinant = left - right
    return np.where(np.abs(determinant) > SIGN_ERROR * (np.abs(left) + np.abs(right)), determinant, 0.0)


def _scan(grid: _Grid, run_cell: Ints, run_polygon: Ints, spans: _Spans) -> tuple[NDArray[np.bool_], Int32]:
    """Return for each run whether it is its polygon's first in a cell whose anchor is inside; and each cell's cover.

    Polygons are painted from last to first over all cells of their spans but those that their own edges touch.
    """
    cell = np.full(grid.rows * grid.columns, OUTSIDE, np.int32)
    is_inside = np.zeros(len(run_cell), bool)
    order = np.argsort(run_polygon, kind="stable")
    polygons = np.unique(run_polygon)
    run_bounds = np.searchsorted(run_polygon[order], polygons), np.searchsorted(run_polygon[order], polygons, "right")
    span_bounds = np.searchsorted(spans.polygon, polygons), np.searchsorted(spans.polygon, polygons, "right")
    for i in range(len(polygons))[::-1]:
        runs = order[run_bounds[0][i] : run_bounds[1][i]]
        own = run_cell[runs]
        mine = slice(span_bounds[0][i], span_bounds[1][i])
        of, column = _ranges(spans.begin[mine], spans.end[mine] - 1)
        before = cell[own]
        cell[spans.row[mine][of] * grid.columns + column] = polygons[i]
        is_first = np.ones(len(own), bool)
        is_first[1:] = own[1:] != own[:-1]
        is_inside[runs] = is_first & (cell[own] == polygons[i])
        cell[own] = before
    return is_inside, cell
