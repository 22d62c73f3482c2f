"""The store of maps: files drawn by workers, again only where one is missing, and read by xarray."""

import dataclasses
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import xarray
import zarr

from hews_gpu.cluster.dask_workers import Cluster
from hews_gpu.data.events import open_prepared
from hews_gpu.feed import maps
from hews_gpu.feed import zarr_store as store
from hews_gpu.feed.maps import all_windows, rasterize
from hews_gpu.workers import Unfinished, in_this_process
from tests.feed.toy import write_prepared


@pytest.fixture
def prepared(tmp_path):
    return write_prepared(tmp_path / "prepared")


@pytest.fixture
def small_files(monkeypatch):
    """Files of six windows, of which a store of 48 has eight."""
    monkeypatch.setattr(maps, "CHUNK_WINDOWS", 3)
    monkeypatch.setattr(maps, "SHARD_CHUNKS", 2)


def stored(folder):
    return zarr.open_group(folder / "maps.zarr", mode="r")["maps"][:]


def test_a_file_holds_256_windows(prepared, tmp_path):
    windows = all_windows(open_prepared(prepared))
    assert maps.CHUNK_WINDOWS * maps.SHARD_CHUNKS == 256
    many = dataclasses.replace(
        windows, **{name: np.resize(getattr(windows, name), 600) for name in ("first", "last", "start_s")}
    )
    assert maps._per_file(many) == 256


@pytest.mark.usefixtures("small_files")
@pytest.mark.parametrize("style", ["reference", "channels"])
def test_two_workers_draw_what_one_process_draws(prepared, tmp_path, two_workers, style):
    where = Cluster(kind="address", where=two_workers.scheduler_address)
    alone = rasterize(prepared, tmp_path / "alone", style=style)
    together = rasterize(prepared, tmp_path / "together", style=style, workers=where)
    assert np.array_equal(stored(tmp_path / "alone"), stored(tmp_path / "together"))
    files = [
        sorted(p.name for p in (tmp_path / name / "maps.zarr" / "maps" / "c").iterdir())
        for name in ("alone", "together")
    ]
    assert files[0] == files[1] == [str(n) for n in range(8)]
    costs = {"seconds", "maps_per_s", "drawing_maps_per_s", "out"}
    assert {k: v for k, v in alone.items() if k not in costs} == {k: v for k, v in together.items() if k not in costs}
    assert not list(tmp_path.glob(".*"))


@pytest.mark.usefixtures("small_files")
def test_files_of_windows_without_incidents_are_there_too(prepared, tmp_path, monkeypatch):
    """A file that is missing must mean that it was lost: Zarr reads it as zeros, which is what such windows hold."""
    monkeypatch.setattr(store, "draw", lambda rasterizer, pairs, out: out.fill(0))
    rasterize(prepared, tmp_path / "maps", style="channels")
    assert not stored(tmp_path / "maps").any()
    files = [store.file_of(tmp_path / "maps" / "maps.zarr", number) for number in range(8)]
    assert all(file.is_file() for file in files)
    assert {file.name for file in files} == {"0"} and not (tmp_path / "maps/maps.zarr/maps/c/8").exists()


def test_memory_is_the_same_again_and_each_threads_own():
    first = store._memory(10)
    assert store._memory(7).base is first.base and store._memory(10).base is first.base
    with ThreadPoolExecutor(1) as other:
        assert other.submit(store._memory, 10).result().base is not first.base
    assert len(store._memory(20)) == 20


class Stopping:
    """Threads that stop after some files, as if the scheduler were lost."""

    backend = "pandas"

    def __init__(self, team, files):
        self.team, self.files = team, files

    def run(self, job, folder, numbers):
        for done, found in enumerate(self.team.run(job, folder, numbers), 1):
            yield found
            if done == self.files:
                raise Unfinished("--cluster", allowed="the scheduler was lost")


def stopping_after(files):
    from contextlib import contextmanager

    @contextmanager
    def opened(rows, folder):
        with in_this_process(rows, folder) as team:
            yield Stopping(team, files)

    return opened


@pytest.mark.usefixtures("small_files")
def test_resume_draws_only_the_files_that_are_missing(prepared, tmp_path, monkeypatch, capsys):
    rasterize(prepared, tmp_path / "whole")
    with pytest.raises(Unfinished):
        rasterize(prepared, tmp_path / "maps", workers=stopping_after(3))
    group = tmp_path / ".maps.work" / "maps.zarr"
    assert not (tmp_path / "maps").exists()
    done = {n: store.file_of(group, n).stat().st_mtime_ns for n in range(8) if store.file_of(group, n).is_file()}
    assert 3 <= len(done)
    for n in sorted(done)[2:]:  # as if the others had not come so far
        store.file_of(group, n).unlink()
        del done[n]
    drawn, write = [], store.write_maps
    monkeypatch.setattr(store, "write_maps", lambda *given: drawn.append(given[3]) or write(*given))
    rasterize(prepared, tmp_path / "maps", resume=True)
    assert sorted(drawn) == [6 * n for n in range(8) if n not in done] and len(drawn) == 6
    assert "rasterizing: 2 of 8 files are there already" in capsys.readouterr().err
    assert np.array_equal(stored(tmp_path / "maps"), stored(tmp_path / "whole"))
    assert not list(tmp_path.glob(".*"))


@pytest.mark.usefixtures("small_files")
def test_what_was_left_of_other_maps_is_not_used(prepared, tmp_path, capsys):
    with pytest.raises(Unfinished):
        rasterize(prepared, tmp_path / "maps", style="channels", workers=stopping_after(2))
    rasterize(prepared, tmp_path / "maps", style="reference", resume=True)
    assert "its files or settings have changed since; everything is done anew" in capsys.readouterr().err
    rasterize(prepared, tmp_path / "whole", style="reference")
    assert np.array_equal(stored(tmp_path / "maps"), stored(tmp_path / "whole"))


@pytest.mark.parametrize("style", ["reference", "channels"])
def test_xarray_reads_time_places_categories_and_the_coordinate_system(prepared, tmp_path, style):
    rasterize(prepared, tmp_path / "maps", style=style)
    opened = open_prepared(prepared)
    windows = all_windows(opened)
    with xarray.open_zarr(tmp_path / "maps" / "maps.zarr", consolidated=False, decode_coords="all") as read:
        drawn = read["maps"]
        assert drawn.dims == ("window", "row", "column", "channel")
        assert np.array_equal(drawn.values, stored(tmp_path / "maps"))
        assert np.array_equal(read["time"].values, windows.start_s.astype("datetime64[s]"))
        assert {"time", "row", "column", "channel", "spatial_ref"} <= set(drawn.coords)
        from pyproj import CRS

        assert CRS.from_wkt(read["spatial_ref"].attrs["crs_wkt"]).equals(CRS.from_epsg(4326))
        west, south, east, north = read.attrs["bounds_west_south_east_north"]
        assert west < read["column"].values[0] < read["column"].values[-1] < east
        assert south < read["row"].values[-1] < read["row"].values[0] < north
        assert read["row"].attrs["standard_name"] == "latitude" and read["column"].attrs["units"] == "degrees_east"
        names = read["channel"].attrs["flag_meanings"].split()
        assert len(names) == drawn.sizes["channel"] and names == ["_".join(n.split()) for n in read.attrs["channels"]]
        key = "color_of_category" if style == "reference" else "channel_of_category"
        assert set(read.attrs[key]) == set(opened.events.categories)
        busy = int(np.argmax(windows.last - windows.first))
        assert drawn.isel(window=busy).time.values == np.datetime64(int(windows.start_s[busy]), "s")


def test_a_pixel_lies_where_its_coordinates_say(prepared, tmp_path):
    """Counting cells: the incident of a window is in the cell whose middle is nearest to it."""
    rasterize(prepared, tmp_path / "maps", style="channels")
    opened = open_prepared(prepared)
    windows, events = all_windows(opened), opened.events
    with xarray.open_zarr(tmp_path / "maps" / "maps.zarr", consolidated=False) as read:
        west, south, east, north = read.attrs["bounds_west_south_east_north"]
        checked = 0
        for w in np.flatnonzero(windows.last - windows.first == 1).tolist():
            x, y = (float(column[windows.first[w]]) for column in (events.longitude, events.latitude))
            if west < x < east and south < y < north:
                cell = read["maps"].isel(window=w).sum("channel")
                assert int(cell.sum()) == 1
                assert int(cell.sel(row=y, column=x, method="nearest")) == 1
                checked += 1
    assert checked > 3
