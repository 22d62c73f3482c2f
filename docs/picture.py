"""Draw docs/_static/forecast.png: a map, the forecast and the truth of a generated city at one issue time.

Run it again when the picture should change: python docs/picture.py
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import hews_gpu as hews
from hews_gpu.data.events import Prepared
from hews_gpu.synthetic import load_truth, write_city

OUT = Path(__file__).parent / "_static" / "forecast.png"
ISSUE = "2022-08-13T19:30"  # one of the highest forecasts of the test split
SEEN = ("2022-08-13T16:00", "2022-08-13T18:00")
HIGHEST = 0.4  # of the color scale, the same for forecast and truth


def main() -> None:
    """Generate the city of the notebook, train on it, and draw."""
    with tempfile.TemporaryDirectory() as folder:
        city_file = write_city(Path(folder) / "city", preset="spatial", years=2)
        city = hews.prepare(city_file, Path(folder) / "prepared")
        forecast = hews.train(city, Path(folder) / "run", model="hewsnet").forecast(ISSUE)
        truth = load_truth(city_file.parent / "truth.npz")
        assert forecast.by_neighborhood is not None
        moments = (forecast.issue_time, forecast.window_start, forecast.window_end)
        true = truth.by_area(*(np.array([moment.astype("datetime64[s]").astype(np.int64)]) for moment in moments))[0]
        draw(city, city.neighborhoods["name"].map(forecast.by_neighborhood), true)


def draw(city: Prepared, forecast: np.ndarray, true: np.ndarray) -> None:
    """Draw the three panels."""
    (image,) = hews.rasterize(city, *SEEN)
    colors = {"cmap": "YlOrRd", "vmin": 0, "vmax": HIGHEST}
    figure, axes = plt.subplots(1, 3, figsize=(10, 3.4), layout="constrained")
    axes[0].imshow(image)
    axes[0].set_title("incidents, 16:00 to 18:00", fontsize=11)
    panels = (("forecast at 19:30 for 20:00 to 22:00", forecast), ("true probability", true))
    for axis, (title, p) in zip(axes[1:], panels, strict=True):
        city.neighborhoods.assign(p=p).plot("p", ax=axis, edgecolor="0.6", linewidth=0.3, **colors)
        axis.set_title(title, fontsize=11)
    for axis in axes:
        axis.set_axis_off()
    figure.colorbar(axes[2].collections[0], ax=axes, shrink=0.75, label="probability of a shooting")
    figure.savefig(OUT, dpi=120, facecolor="white")


if __name__ == "__main__":
    main()
