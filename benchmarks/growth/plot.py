"""Curves of how time grows, one panel per question, both axes logarithmic."""

from __future__ import annotations

from pathlib import Path
from typing import Any

__all__ = ["NAMES", "save_curves"]

NAMES = {"ours": "hews", "floor": "copy floor", "shapely": "shapely, fastest way"}
LOOKS: dict[str, dict[str, Any]] = {
    "ours": {"color": "#4E79A7", "marker": "o", "linewidth": 2},
    "floor": {"color": "#777777", "marker": "", "linestyle": "--"},
    "shapely": {"color": "#F28E2B", "marker": "s"},
}
PANEL_INCHES = (4.2, 3.2)


def save_curves(series: list[dict[str, Any]], title: str, path: Path) -> Path:
    """Write the curves of each series (`x`, `y`, rows of x and values) as SVG or PNG, and return the path."""
    from matplotlib import rc_context
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    columns = min(len(series), 2)
    rows = -(-len(series) // columns)
    with rc_context({"svg.hashsalt": title, "svg.fonttype": "none", "font.family": "sans-serif"}):
        figure = Figure(figsize=(PANEL_INCHES[0] * columns, PANEL_INCHES[1] * rows + 0.4), layout="constrained")
        FigureCanvasAgg(figure)
        figure.suptitle(title)
        for k, one in enumerate(series):
            _draw(figure.add_subplot(rows, columns, k + 1), one)
        metadata = {"Date": None} if path.suffix == ".svg" else {}
        figure.savefig(path, dpi=110, metadata=metadata)
    return path


def _draw(axes: Any, series: dict[str, Any]) -> None:
    """One panel."""
    from matplotlib.ticker import FuncFormatter, LogLocator

    x = [row["x"] for row in series["rows"]]
    for name in (name for name in NAMES if name in series["rows"][0]):
        axes.plot(x, [row[name] for row in series["rows"]], label=NAMES[name], markersize=4, **LOOKS[name])
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.minorticks_off()
    axes.set_xticks(x, [f"{value:,}" for value in x], fontsize=8, rotation=30)
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
    axes.set_xlabel(series["x"])
    axes.set_ylabel(series["y"])
    axes.grid(visible=True, which="major", alpha=0.3)
    axes.legend(frameon=False)
