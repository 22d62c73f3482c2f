"""Every two-hour window of the real table, and the published maps: needs real data."""

import numpy as np
import pandas as pd
import pytest

from hews_gpu.config import MapConfig
from hews_gpu.data.windows import make_windows
from hews_gpu.raster.geometry import MapGeometry
from hews_gpu.raster.rasterizer import Rasterizer
from hews_gpu.raster.style import ChannelsStyle
from tests.inputs.baltimore import load_baltimore
from tests.inputs.matplotlib_maps import draw_with_matplotlib

pytestmark = pytest.mark.real_data
BEGIN_S, END_S = (int(pd.Timestamp(day).timestamp()) for day in ("2014-01-01", "2017-09-01"))


@pytest.fixture(scope="module")
def city(real_data):
    return load_baltimore(real_data, areas=55)


@pytest.fixture(scope="module")
def windows(city):
    return make_windows(city.time_s, begin_s=BEGIN_S, end_s=END_S, length_s=7200, stride_s=7200, anchor_s=BEGIN_S)


def test_the_cut_table_has_as_many_windows_as_the_calendar(city, windows):
    assert len(windows) == 1339 * 12
    assert (windows.last - windows.first).sum() == np.sum((city.time_s >= BEGIN_S) & (city.time_s < END_S))
    assert 0 < (windows.first == windows.last).sum() < 200


def test_every_window_of_three_months_is_identical_in_both_backends(city, windows):
    pairs = windows.pairs[:1080]
    config = MapConfig(height=108, width=86, disc_radius_px=2.5)
    compiled = city.reference(config)
    slow = city.reference(config, backend="numpy")
    for begin in range(0, len(pairs), 216):
        assert np.array_equal(compiled.maps(pairs[begin : begin + 216]), slow.maps(pairs[begin : begin + 216]))


def test_counts_of_all_windows_are_identical_and_complete(city, windows):
    geometry = MapGeometry.around(city.neighborhoods.total_bounds, "auto", height=54, width=43)
    style = ChannelsStyle(groups={"targets": ("HOMICIDE", "SHOOTING"), "larceny": ("LARCENY",)})
    maps = []
    for backend in ("numba", "numpy"):
        rasterizer = Rasterizer.channels(geometry, style, city.places, backend=backend)
        maps.append(rasterizer.maps(windows.pairs[::4, None]))
    assert np.array_equal(*maps)
    inside = geometry.to_cells(city.places.longitude, city.places.latitude) >= 0
    expected = [inside[first:last].sum() for first, last in windows.pairs[::4]]
    assert maps[0].sum(axis=(1, 2, 3)).tolist() == expected


def test_maps_are_as_near_to_matplotlib_as_on_a_made_up_city(city, windows):
    rasterizer = city.reference(MapConfig())
    for pair in windows.pairs[100:16000:3200]:
        theirs = draw_with_matplotlib(city, rasterizer.geometry, *pair)
        ours = rasterizer.maps(pair[None])[0]
        assert np.abs(ours.astype(float) - theirs).mean() < 1.5
