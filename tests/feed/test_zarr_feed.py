"""Maps from files: refused where they are others, damaged or too few; the same however little is kept in memory."""

import shutil

import numpy as np
import pytest
import torch
import zarr

from hews_gpu.data.events import open_prepared
from hews_gpu.data.windows import make_windows
from hews_gpu.errors import UserError
from hews_gpu.feed import maps
from hews_gpu.feed.batch import MapSource
from hews_gpu.feed.zarr_feed import ZarrFeed
from hews_gpu.raster.rasterizer import channels_rasterizer
from tests.feed.toy import BEGIN_S, CITY, HOUR_S, toy_source, write_prepared


@pytest.fixture
def store(toy_stores, tmp_path):
    """The reference maps, to be damaged."""
    return shutil.copytree(toy_stores["reference"], tmp_path / "store")


def chunk_file(store):
    (found,) = (store / "maps.zarr" / "maps" / "c").rglob("0/0/0/0")
    return found


def read_all(feed):
    return torch.cat([batch.maps.clone() for batch in feed.in_order(5)])


@pytest.mark.parametrize("style", ["reference", "channels"])
def test_little_memory_gives_the_same_maps(toy_prepared, toy_stores, style, monkeypatch):
    monkeypatch.setattr("hews_gpu.feed.zarr_feed.CACHE_BYTES", 1)
    source = toy_source(toy_prepared, style)
    feed = ZarrFeed(source, store=toy_stores[style])
    plan = np.array_split(np.random.default_rng(0).permutation(len(source)), 2)
    found = [batch.maps.clone() for batch in feed.batches(plan)]
    expected = [torch.from_numpy(source.rasterizer.maps(source.pairs[ids])).permute(0, 3, 1, 2) for ids in plan]
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))
    assert feed._chunk.cache_info().currsize == 1
    feed.close()
    assert feed._chunk.cache_info().currsize == 0


def test_a_chunk_is_read_once_while_it_is_kept(toy_prepared, toy_stores):
    feed = ZarrFeed(toy_source(toy_prepared), store=toy_stores["reference"])
    for _ in range(2):
        read_all(feed)
    assert feed._chunk.cache_info().misses == 3  # 48 windows, 16 to a chunk


def test_the_group_itself_may_be_named(toy_prepared, toy_stores):
    source = toy_source(toy_prepared)
    feed = ZarrFeed(source, store=toy_stores["reference"] / "maps.zarr")
    assert torch.equal(read_all(feed), read_all(ZarrFeed(source, store=toy_stores["reference"])))


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"height = 30": "height = 32"}, r"height 30, here 32"),
        ({"height = 30": "height = 30\ndisc_radius_px = 3.0"}, r"incidents, outlines or colors are others"),
    ],
)
def test_maps_of_other_settings_are_refused_with_the_difference(tmp_path, toy_stores, changed, told):
    prepared = write_prepared(tmp_path / "prepared")
    text = CITY
    for old, new in changed.items():
        assert old in text
        text = text.replace(old, new)
    (prepared / "city.toml").write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=told) as error:
        ZarrFeed(toy_source(prepared), store=toy_stores["reference"])
    assert "\n" not in str(error.value) and "hews rasterize" in str(error.value)


def test_maps_of_other_incidents_or_another_style_are_refused(tmp_path, toy_prepared, toy_stores):
    more = write_prepared(tmp_path / "more", events=90)
    with pytest.raises(UserError, match=r"incidents \d+, here \d+"):
        ZarrFeed(toy_source(more), store=toy_stores["reference"])
    moved = toy_source(toy_prepared)
    moved.rasterizer.tables.x[3] += 16
    with pytest.raises(UserError, match="incidents, outlines or colors are others"):
        ZarrFeed(moved, store=toy_stores["reference"])
    with pytest.raises(UserError, match=r"style 'reference', here 'channels'.*height 30, here 6"):
        ZarrFeed(toy_source(toy_prepared, "channels"), store=toy_stores["reference"])


@pytest.mark.parametrize("left", [None, {}])
def test_a_store_that_does_not_say_how_it_was_drawn_is_refused(toy_prepared, store, left):
    attributes = zarr.open_group(store / "maps.zarr", mode="r+").attrs
    del attributes["drawing"]
    if left is not None:
        attributes["drawing"] = left
    with pytest.raises(UserError, match=r"holds maps of other data or settings: style None, here 'reference'"):
        ZarrFeed(toy_source(toy_prepared), store=store)


def test_windows_cut_at_other_times_are_refused(toy_prepared, toy_stores):
    source = toy_source(toy_prepared)
    pairs = source.pairs.copy()
    busy = np.flatnonzero(pairs[:, 1] > pairs[:, 0])[:4]
    pairs[busy, 1] += 1
    with pytest.raises(UserError, match="lacks windows of 4 of 48 samples"):
        ZarrFeed(MapSource.of_maps(source.rasterizer, pairs, source.y > 0), store=toy_stores["reference"])


def flip(file):
    content = bytearray(file.read_bytes())
    content[len(content) // 3] ^= 1
    file.write_bytes(content)


def truncate(file):
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def empty(file):
    file.write_bytes(b"")


@pytest.mark.parametrize("harm", [flip, truncate, empty])
def test_a_damaged_file_is_one_line(toy_prepared, store, harm):
    feed = ZarrFeed(toy_source(toy_prepared), store=store)
    harm(chunk_file(store))
    with pytest.raises(UserError, match=r"is damaged: windows \d+..\d+ cannot be read") as error:
        read_all(feed)
    assert "\n" not in str(error.value) and str(store) in str(error.value)


def test_a_missing_file_is_not_taken_for_empty_maps(toy_prepared, toy_stores, store, tmp_path):
    chunk_file(store).unlink()
    with pytest.raises(UserError, match=r"is damaged: .*missing"):
        ZarrFeed(toy_source(toy_prepared), store=store)


def test_no_flipped_bit_changes_a_map(toy_prepared, store):
    """Zstandard alone would take a good part of them for other pixels."""
    source, file = toy_source(toy_prepared), chunk_file(store)
    expected, content = read_all(ZarrFeed(source, store=store)), file.read_bytes()
    noticed = 0
    for place in np.linspace(0, len(content) - 1, 60).astype(int):
        file.write_bytes(content[:place] + bytes([content[place] ^ 4]) + content[place + 1 :])
        try:
            assert torch.equal(read_all(ZarrFeed(source, store=store)), expected)
        except UserError:
            noticed += 1
    assert noticed > 50


def test_quiet_days_are_written_too(tmp_path, monkeypatch):
    """Counts of windows without incidents are all zero: their files must not be left out."""
    monkeypatch.setattr(maps, "SHARD_CHUNKS", 1)
    opened = open_prepared(write_prepared(tmp_path / "prepared", hours=(0, 4)))
    drawn = channels_rasterizer(opened, steps=1)
    windows = make_windows(
        opened.events.time_s, begin_s=BEGIN_S, end_s=BEGIN_S + 96 * HOUR_S, length_s=2 * HOUR_S, stride_s=2 * HOUR_S
    )
    maps.store_maps(tmp_path / "m.zarr", drawn, windows, np.zeros(len(windows), bool))
    stored = zarr.open_group(tmp_path / "m.zarr", mode="r")["maps"]
    assert stored.nchunks_initialized >= stored.nchunks == 3


def test_what_is_no_store_is_one_line(toy_prepared, tmp_path):
    source = toy_source(toy_prepared)
    with pytest.raises(UserError, match="needs a folder of maps"):
        ZarrFeed(source)
    with pytest.raises(UserError, match="is not a folder of maps"):
        ZarrFeed(source, store=tmp_path / "nothing")
    zarr.create_group(store=tmp_path / "other").create_array("maps", shape=(4,), dtype="uint8")
    with pytest.raises(UserError, match="holds no pairs"):
        ZarrFeed(source, store=tmp_path / "other")
