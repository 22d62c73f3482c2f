"""Predspot's forecasts of cells, month by month; run by a Python that has Predspot, apart from everything of ours.

    python predspot_cells.py IN.npz OUT.npy

IN holds `t` (days since 1970), `lon`, `lat` of events in order of time, `area` (lon, lat of two corners of the city),
`months` (first days) and `cells` (lon, lat). For each month the default pipeline of Predspot is fitted on the events
before it, on its grid of points half a kilometer apart, and asked for the month; a cell gets what the nearest point
has. OUT is the density [months, cells].
"""

import sys
import warnings

import geopandas
import numpy as np
import pandas as pd
from predspot.dataset_preparation import Dataset
from predspot.pipeline import build_default_pipeline
from scipy.spatial import cKDTree
from shapely.geometry import box

GRID_KM = 0.5
EVEN_KM = np.array([0.78, 1.0])
"""A degree of longitude over one of latitude, near enough to tell which point is the nearest."""


def main() -> None:
    """Forecast every month."""
    warnings.simplefilter("ignore")
    with np.load(sys.argv[1]) as given:
        t, lon, lat, area, months, cells = (given[name] for name in ("t", "lon", "lat", "area", "months", "cells"))
    city = geopandas.GeoDataFrame(geometry=[box(*area)], crs="EPSG:4326")
    crimes = pd.DataFrame({"tag": "target", "t": t.astype("datetime64[D]"), "lon": lon, "lat": lat})
    said = []
    for month in months.astype("datetime64[D]"):
        pipeline = build_default_pipeline(city, tfreq="M", grid_resolution=GRID_KM, random_state=0)
        pipeline.fit(Dataset(crimes[crimes["t"] < month], city))
        assert pipeline.next_time == pd.Timestamp(month) + pd.offsets.MonthEnd(1), "not the month after the events"
        density = pipeline.estimator.predict(pipeline.features.loc[[pipeline.next_time]])["crime_density"]
        points = pipeline.grid.loc[density.index.get_level_values("places"), ["lon", "lat"]].to_numpy()
        nearest = cKDTree(points * EVEN_KM).query(cells * EVEN_KM)[1]
        said.append(density.to_numpy()[nearest])
    np.save(sys.argv[2], np.stack(said))


if __name__ == "__main__":
    main()
