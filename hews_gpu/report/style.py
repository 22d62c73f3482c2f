"""The look of every figure: one palette, one set of matplotlib settings, one lock, one way into the page.

A figure is drawn once and serves the light page, the dark page and the printed one. It is drawn in *roles* rather than
colors (the ink of the page, the model's line, step 3 of the count ramp): each role has a placeholder color that no
one would choose, and `svg` replaces it by a CSS variable, which the page sets for each scheme. Text stays text, so it
takes the page's font, can be searched and read aloud, and weighs little.
"""

from __future__ import annotations

import base64
import io
import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import matplotlib
import numpy as np
from markupsafe import Markup, escape

from hews_gpu.arrays import UInt8

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "DARK",
    "ID",
    "LIGHT",
    "RAMP_STEPS",
    "css_variables",
    "figure",
    "light_svg",
    "png",
    "ramp",
    "role",
    "soften",
    "svg",
]

DRAWING = threading.RLock()  # matplotlib's settings belong to the whole process
RAMP_STEPS = 7  # more classes than this can't be told apart in a legend
ID = "fig0-"
"""What every id of a figure begins with, until the page numbers its figures."""

# Okabe and Ito's color-blind-safe hues (https://jfly.uni-koeln.de/color/), shifted in lightness until each has a
# contrast of at least 3 with its background and text of at least 4.5 (WCAG 2.1 AA); the tests measure both.
_ROLES = {  # on the light page, on the dark page
    "page": ("#f6f4ef", "#14161a"),
    "card": ("#fffefb", "#1c1f25"),
    "ink": ("#1d1f24", "#eceae4"),
    "soft": ("#5b5f68", "#a6a9b2"),
    "line": ("#d9d5ca", "#363a43"),
    "land": ("#e9e5da", "#2a2e36"),
    "model": ("#0068a6", "#62b6ee"),
    "own": ("#6a3d9a", "#b89cf2"),
    "network": ("#8a6100", "#d9c04a"),
    "stack": ("#00737f", "#56cbd8"),
    "climatology": ("#b05000", "#f0a23c"),
    "oracle": ("#007a58", "#35c795"),
    "base_rate": ("#6c7079", "#9a9da6"),
    "target": ("#a3195b", "#f47cb5"),
    "quiet": ("#a9c3d3", "#3f5a6c"),
    "link": ("#0068a6", "#7cc3f3"),
    "good": ("#00694b", "#4fd3a5"),
    "flat": ("#5b5f68", "#a6a9b2"),
    "bad": ("#a3195b", "#f47cb5"),
}


def _scheme(which: int, low: float, high: float) -> dict[str, str]:
    """Return a color for each role; the ramp is magma's, which is even in lightness and safe for the color-blind."""
    steps = matplotlib.colormaps["magma"](np.linspace(low, high, RAMP_STEPS))
    magma = {f"ramp{step}": matplotlib.colors.to_hex(color) for step, color in enumerate(steps)}
    return {name: colors[which] for name, colors in _ROLES.items()} | magma


LIGHT = _scheme(0, 0.93, 0.18)
"""Color of each role on the light page; the count ramp grows darker."""
DARK = _scheme(1, 0.24, 0.97)
"""Color of each role on the dark page; the count ramp grows brighter."""

_PLACEHOLDERS = {name: f"#01fe{index:02x}" for index, name in enumerate(LIGHT)}
_NAMES = {placeholder: name for name, placeholder in _PLACEHOLDERS.items()}


def role(name: str) -> str:
    """Return the placeholder color of a role, to be given to matplotlib."""
    return _PLACEHOLDERS[name]


def ramp() -> tuple[str, ...]:
    """Return the placeholders of the count ramp, from few to many."""
    return tuple(role(f"ramp{step}") for step in range(RAMP_STEPS))


def _settings() -> Any:  # matplotlib's stub lists every key as a literal, one list per release
    ink, soft, line = role("ink"), role("soft"), role("line")
    text = {"text.color": ink, "text.parse_math": False, "font.size": 11, "axes.titlesize": 11}
    axes = {"axes.edgecolor": line, "axes.labelcolor": soft, "axes.facecolor": "none", "axes.spines.top": False}
    more = {"axes.spines.right": False, "axes.titlelocation": "left", "axes.axisbelow": True, "axes.titlepad": 8}
    grid = {"axes.grid": True, "grid.color": line, "grid.linewidth": 0.7, "lines.linewidth": 1.8}
    ticks = {"xtick.color": line, "ytick.color": line, "xtick.labelcolor": soft, "ytick.labelcolor": soft}
    sizes = {"xtick.labelsize": 10, "ytick.labelsize": 10, "xtick.major.size": 3, "ytick.major.size": 3}
    legend = {"legend.frameon": False, "legend.fontsize": 10, "legend.labelcolor": ink, "legend.handlelength": 1.6}
    # Fixed ids: the same numbers give the same page, byte for byte.
    output = {"svg.fonttype": "none", "svg.hashsalt": "hews", "figure.facecolor": "none", "savefig.facecolor": "none"}
    return text | axes | more | grid | ticks | sizes | legend | output


@contextmanager
def figure(width: float, height: float, **layout: Any) -> Iterator[Figure]:
    """Yield a figure of `width` x `height` CSS pixels in the common style; text of size 11 is 11 px at that width.

    Further arguments go to `Figure.subplots_adjust`; without any, the layout is constrained to fit.
    """
    from matplotlib.figure import Figure

    with DRAWING, matplotlib.rc_context(_settings()):
        drawing = Figure(figsize=(width / 72, height / 72), dpi=72, layout=None if layout else "constrained")
        if layout:
            drawing.subplots_adjust(**layout)
        yield drawing


def soften(axes: Axes, *, grid: str = "y", percent: str = "") -> None:
    """Keep only the grid lines across the `grid` axis (x, y, both or none) and the frame's bottom.

    `percent` names the axes (x, y or both letters) whose values are shares, to be written as percent.
    """
    axes.grid(False)
    if grid != "none":
        axes.grid(True, axis=grid)  # type: ignore[arg-type]  # matplotlib's stub wants a literal
    axes.spines["left"].set_visible(False)
    axes.tick_params(axis="y", length=0)
    for axis in (getattr(axes, f"{letter}axis") for letter in percent):
        axis.get_major_locator().set_params(nbins=5)
        axis.set_major_formatter(lambda share, _: f"{100 * share:.4g} %")


def svg(drawing: Figure, alt: str) -> Markup:
    """Return a figure, inside its `figure` block, as inline SVG whose colors are CSS variables and ids begin with `ID`.

    `alt` says what it shows, for those who can't see it; it is escaped here.
    """
    buffer = io.StringIO()
    drawing.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>|<style type.*?</style>|<!--.*?-->", "", text, flags=re.DOTALL)
    text = _shorten(_own_ids(text.replace("xlink:href", "href")))
    view = re.search(r'viewBox="([^"]+)"', text)
    assert view is not None
    head = (
        f'<svg viewBox="{view.group(1)}" role="img" aria-labelledby="{ID}alt"><title id="{ID}alt">{escape(alt)}</title>'
    )
    return Markup(head + text[text.index(">") + 1 :])


def light_svg(inline: Markup) -> str:
    """Return an inline figure as a file of its own, in the light page's colors and a font that is there everywhere."""
    text = str(inline)
    for name, color in LIGHT.items():
        text = text.replace(f"var(--{name})", color)
    view = re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', text)
    assert view is not None
    width, height = view.groups()
    head = f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" font-family="sans-serif" '
    card = f'<rect width="{width}" height="{height}" fill="{LIGHT["card"]}"/>'
    return text.replace("<svg ", head, 1).replace("</title>", f"</title>{card}", 1)


def _own_ids(text: str) -> str:
    """Drop ids that nothing refers to, and put `ID` before the rest: a page has many figures and one name space."""
    used = set(re.findall(r'(?:href="#|url\(#)([^")]+)', text))
    text = re.sub(r' id="([^"]+)"', lambda m: f' id="{ID}{m.group(1)}"' if m.group(1) in used else "", text)
    return re.sub(r'(href="#|url\(#)', rf"\g<1>{ID}", text)


def _shorten(text: str) -> str:
    """Turn colors into CSS variables, fonts into the page's font, and round coordinates to hundredths of a pixel."""
    text = re.sub(r"#01fe[0-9a-f]{2}", lambda m: f"var(--{_NAMES[m.group(0)]})", text)
    text = re.sub(r"font: ([\d.]+px)[^;\"]*", r"font-size: \1", text)  # how matplotlib wrote it until 3.10
    text = re.sub(r"(?:; )?font-family: [^;\"]*", "", text)
    numbers = re.compile(r"-?\d+\.\d{3,}")
    attributes = re.compile(r'(?<= )(?:d|x|y|transform|points)="[^"]*"')
    text = attributes.sub(lambda m: numbers.sub(lambda n: f"{float(n.group(0)):.2f}", m.group(0)), text)
    return re.sub(r"\n\s*", " ", text)


def png(pixels: UInt8) -> str:
    """Return pixels [H, X, 3 or 4] as a PNG data URI."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def css_variables(colors: Mapping[str, str]) -> Markup:
    """Return the roles as CSS declarations."""
    return Markup("".join(f"--{name}:{color};" for name, color in colors.items()))
