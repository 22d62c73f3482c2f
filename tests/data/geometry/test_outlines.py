"""Outlines read by hand are those that geopandas and shapely read."""

import geopandas
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import shapely
from shapely.geometry import MultiPolygon, Point, Polygon, box

from hews_gpu.data.geometry.outlines import read_outlines

RING = Polygon([(0, 0), (4, 0), (4, 3), (0, 3)], [[(1, 1), (2, 1), (2, 2)]])
SEVERAL = MultiPolygon([box(10, 0, 11, 1), RING])


def written(folder, shapes, **options):
    file = folder / "shapes.parquet"
    pq.write_table(pa.table({"geometry": pa.array(shapely.to_wkb(shapes, **options))}), file)
    return file


@pytest.mark.parametrize("byte_order", [0, 1])
def test_edges_of_outer_rings_and_holes(tmp_path, byte_order):
    found = read_outlines(written(tmp_path, np.array([RING, SEVERAL, box(-5, 7, -4, 8)]), byte_order=byte_order))
    assert len(found) == 3 and found.extent == (-5.0, 0.0, 11.0, 8.0)
    assert np.bincount(found.owner).tolist() == [4 + 3, 4 + 4 + 3, 4]
    length = np.hypot(*(found.ends[:, 2:] - found.ends[:, :2]).T)
    np.testing.assert_allclose(np.bincount(found.owner, length), [RING.length, SEVERAL.length, 4])


def test_a_file_of_geopandas(tmp_path):
    frame = geopandas.GeoDataFrame({"name": ["a", "b"]}, geometry=[RING, SEVERAL], crs=4326)
    frame.to_parquet(tmp_path / "areas.parquet")
    found = read_outlines(tmp_path / "areas.parquet")
    assert found.extent == tuple(frame.total_bounds)
    assert list(found.wkb) == list(frame.geometry.to_wkb())


@pytest.mark.parametrize("shape", [Point(1, 2), shapely.force_3d(RING)])
def test_other_shapes_are_refused(tmp_path, shape):
    with pytest.raises(ValueError, match=r"must be a polygon \(3\) or several \(6\)"):
        read_outlines(written(tmp_path, np.array([shape]), output_dimension=3, flavor="iso"))


def test_bytes_too_many_are_refused(tmp_path):
    pq.write_table(pa.table({"geometry": [shapely.to_wkb(RING) + b"\0"]}), tmp_path / "x.parquet")
    with pytest.raises(ValueError, match="1 bytes too many"):
        read_outlines(tmp_path / "x.parquet")
