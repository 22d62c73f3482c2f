"""Maps as files: what is stored equals what is drawn, by workers too, is read by xarray, and is resumed whole."""

import dataclasses
import json
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import xarray
import zarr

from hews_gpu.cluster.dask_workers import Cluster
from hews_gpu.data.events import open_prepared
from hews_gpu.data.windows import make_windows
from hews_gpu.errors import UserError
from hews_gpu.feed import maps
from hews_gpu.feed.maps import all_windows, rasterize
from hews_gpu.raster.rasterizer import channels_rasterizer, reference_rasterizer
from hews_gpu.workers import Unfinished, in_this_process
from tests.feed.toy import BEGIN_S, HOUR_S, write_prepared


@pytest.fixture
def prepared(tmp_path):
    return write_prepared(tmp_path / "prepared")


@pytest.mark.parametrize("style", ["reference", "channels"])
def test_stored_maps_are_the_drawn_ones_in_every_chunk(prepared, tmp_path, style, monkeypatch):
    monkeypatch.setattr(maps, "CHUNK_WINDOWS", 10)  # two files of two chunks, and half a chunk more
    monkeypatch.setattr(maps, "SHARD_CHUNKS", 2)
    result = rasterize(prepared, tmp_path / "maps", style=style)
    opened = open_prepared(prepared)
    windows = all_windows(opened, style)
    assert len(windows) == {"reference": 48, "channels": 47}[style]  # these end half an hour before others begin
    if style == "reference":
        expected = reference_rasterizer(opened, backend="numpy").maps(windows.pairs)
    else:
        expected = channels_rasterizer(opened, steps=1, backend="numpy").maps(windows.pairs[:, None])
    group = zarr.open_group(tmp_path / "maps" / "maps.zarr", mode="r")
    assert group.metadata.zarr_format == 3
    assert np.array_equal(group["maps"][:], expected)
    assert group["maps"].chunks[0] == 10 and group["maps"].shards[0] == 20
    assert np.array_equal(group["start_s"][:], windows.start_s)
    assert np.array_equal(group["pairs"][:], windows.pairs)
    assert result["bytes"] == expected.nbytes
    assert result["bytes_stored"] > 0
    assert (tmp_path / "maps" / "preview.png").stat().st_size > 5000


def test_counts_and_labels_match_a_plain_loop(prepared, tmp_path):
    result = rasterize(prepared, tmp_path / "maps", style="channels")
    events = open_prepared(prepared).events
    group = zarr.open_group(tmp_path / "maps" / "maps.zarr", mode="r")
    begins_s = [BEGIN_S - HOUR_S // 2 + 2 * HOUR_S * w for w in range(1, 48)]
    held = [[begin_s <= t < begin_s + 2 * HOUR_S for t in events.time_s] for begin_s in begins_s]
    assert result["windows"] == 47
    assert result["empty"] == sum(not any(window) for window in held) > 0
    assert group["has_target"][:].tolist() == [bool(np.any(events.is_target[window])) for window in held]
    assert result["positives"] == int(group["has_target"][:].sum()) > 0
    west, south, east, north = group.attrs["bounds_west_south_east_north"]
    shown = (events.longitude >= west) & (events.longitude < east)
    shown &= (events.latitude > south) & (events.latitude <= north)
    assert 0 < shown.sum() < len(events)
    counted = group["maps"][:].sum(axis=(1, 2, 3))
    assert counted.tolist() == [int((np.array(window) & shown).sum()) for window in held]


def test_attributes_say_what_a_stranger_needs(prepared, tmp_path):
    rasterize(prepared, tmp_path / "maps", style="channels")
    attributes = dict(zarr.open_group(tmp_path / "maps" / "maps.zarr", mode="r").attrs)
    assert attributes["channels"] == ["property", "other"]
    assert attributes["city"] == "Toy" and attributes["style"] == "channels"
    assert attributes["window_length_s"] == 7200
    west, south, east, north = attributes["bounds_west_south_east_north"]
    assert west < -77.0 and east > -76.8 and south < 39.0 and north > 39.2
    manifest = json.loads((tmp_path / "maps" / "hews.json").read_text())
    assert manifest["kind"] == "maps" and manifest["style"] == "channels"


def test_a_city_that_asks_for_discs_gets_them_with_their_unit(prepared, tmp_path):
    path = prepared / "city.toml"
    text = path.read_text().replace("[channels]\n", '[channels]\ndraw = "discs"\ndisc_radius_px = 0.8\n')
    counted = rasterize(prepared, tmp_path / "counts", style="channels")
    path.write_text(text)
    drawn = rasterize(prepared, tmp_path / "discs", style="channels")
    opened = open_prepared(prepared)
    groups = [zarr.open_group(tmp_path / name / "maps.zarr", mode="r") for name in ("counts", "discs")]
    counts, discs = (group["maps"][:] for group in groups)
    pairs = all_windows(opened, "channels").pairs[:, None]
    assert np.array_equal(discs, channels_rasterizer(opened, steps=1, backend="numpy").maps(pairs))
    assert "discs" not in groups[0].attrs
    assert groups[1].attrs["discs"] == "radius 0.8 cells, 32 where one covers a cell; sums up to 255"
    assert counted["windows"] == drawn["windows"] and counts.max() < 8 < discs.max()


def test_a_shorter_table_bounds_the_windows(tmp_path):
    opened = open_prepared(write_prepared(tmp_path / "short", hours=(30, 40)))
    windows = all_windows(opened)
    assert windows.first[0] == 0 and windows.last[-1] == len(opened.events)
    assert windows.last[0] > 0 and windows.first[-1] < len(opened.events)
    whole = make_windows(
        opened.events.time_s, begin_s=BEGIN_S, end_s=BEGIN_S + 96 * HOUR_S, length_s=7200, stride_s=7200
    )
    assert len(windows) == int((whole.last > 0).sum() - (whole.first == len(opened.events)).sum())


def test_the_style_is_the_citys_unless_given(prepared, tmp_path):
    assert rasterize(prepared, tmp_path / "maps")["style"] == "reference"


def test_mistakes_are_one_line_and_leave_nothing(prepared, tmp_path):
    with pytest.raises(UserError, match="--style"):
        rasterize(prepared, tmp_path / "maps", style="referenz")
    with pytest.raises(UserError, match=r"does not exist"):
        rasterize(tmp_path / "nothing", tmp_path / "maps")
    far = write_prepared(tmp_path / "far", hours=(500, 600))
    with pytest.raises(UserError, match=r"\[splits\]"):
        rasterize(far, tmp_path / "maps")
    assert not (tmp_path / "maps").exists()
    rasterize(prepared, tmp_path / "maps", style="channels")
    with pytest.raises(UserError, match="--force"):
        rasterize(prepared, tmp_path / "maps", style="channels")
    assert rasterize(prepared, tmp_path / "maps", style="reference", force=True)["style"] == "reference"


def test_a_failure_while_drawing_leaves_no_folder(prepared, tmp_path, monkeypatch):
    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(maps, "_write_preview", stop)
    with pytest.raises(KeyboardInterrupt):
        rasterize(prepared, tmp_path / "maps", style="channels")
    assert [path.name for path in tmp_path.iterdir()] == ["prepared"]


def test_windows_of_channels_end_when_the_forecasts_of_the_others_are_issued(prepared):
    opened = open_prepared(prepared)
    reference, channels = (all_windows(opened, style) for style in ("reference", "channels"))
    issued_s = reference.start_s - opened.city.task.lead_s
    assert opened.city.task.lead_s == 1800
    assert np.array_equal((channels.start_s + channels.length_s)[:-1], issued_s[2:])


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
    monkeypatch.setattr(maps, "_draw", lambda rasterizer, pairs, out: out.fill(0))
    rasterize(prepared, tmp_path / "maps", style="channels")
    assert not stored(tmp_path / "maps").any()
    files = [maps._file_of(tmp_path / "maps" / "maps.zarr", number) for number in range(8)]
    assert all(file.is_file() for file in files)
    assert {file.name for file in files} == {"0"} and not (tmp_path / "maps/maps.zarr/maps/c/8").exists()


def test_memory_is_the_same_again_and_each_threads_own():
    first = maps._memory(10)
    assert maps._memory(7).base is first.base and maps._memory(10).base is first.base
    with ThreadPoolExecutor(1) as other:
        assert other.submit(maps._memory, 10).result().base is not first.base
    assert len(maps._memory(20)) == 20


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
    done = {n: maps._file_of(group, n).stat().st_mtime_ns for n in range(8) if maps._file_of(group, n).is_file()}
    assert 3 <= len(done)
    for n in sorted(done)[2:]:  # as if the others had not come so far
        maps._file_of(group, n).unlink()
        del done[n]
    drawn, write = [], maps._write_maps
    monkeypatch.setattr(maps, "_write_maps", lambda *given: drawn.append(given[3]) or write(*given))
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
    windows = all_windows(opened, style)
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
    windows, events = all_windows(opened, "channels"), opened.events
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
