"""Maps as files: what is stored equals what is drawn, and a mistake leaves nothing behind."""

import dataclasses
import json

import numpy as np
import pytest
import zarr

from hews_gpu.data.events import open_prepared
from hews_gpu.data.windows import make_windows
from hews_gpu.errors import UserError
from hews_gpu.feed import maps
from hews_gpu.feed.maps import all_windows, rasterize
from hews_gpu.raster.rasterizer import channels_rasterizer, reference_rasterizer
from tests.feed.toy import BEGIN_S, HOUR_S, write_prepared


@pytest.fixture
def prepared(tmp_path):
    return write_prepared(tmp_path / "prepared")


@pytest.mark.parametrize("style", ["reference", "channels"])
def test_stored_maps_are_the_drawn_ones_in_every_chunk(prepared, tmp_path, style, monkeypatch):
    monkeypatch.setattr(maps, "CHUNK_WINDOWS", 10)  # 48 windows: two files of two chunks, and half a chunk more
    monkeypatch.setattr(maps, "SHARD_CHUNKS", 2)
    result = rasterize(prepared, tmp_path / "maps", style=style)
    opened = open_prepared(prepared)
    windows = all_windows(opened)
    assert len(windows) == 48
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
    held = [[BEGIN_S + 2 * HOUR_S * w <= t < BEGIN_S + 2 * HOUR_S * (w + 1) for t in events.time_s] for w in range(48)]
    assert result["windows"] == 48
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
    pairs = all_windows(opened).pairs[:, None]
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


def test_windows_are_the_same_whatever_the_style(prepared):
    opened = open_prepared(prepared)
    channels = dataclasses.replace(opened.city, map=dataclasses.replace(opened.city.map, style="channels"))
    assert np.array_equal(all_windows(opened).pairs, all_windows(dataclasses.replace(opened, city=channels)).pairs)
