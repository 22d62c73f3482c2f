"""Maps as files: every window of a prepared city drawn once and stored as a Zarr v3 group.

Training never needs this, it draws its maps as it goes; this is for people who want files. Maps are drawn into one
chunk that is reused, so memory does not grow with the number of windows.

Shapes: W windows, H rows, X columns, C channels.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hews_gpu.data.events import Prepared, open_prepared
from hews_gpu.data.origin import origin
from hews_gpu.data.windows import Windows, make_windows, targets_within
from hews_gpu.device import choose_raster_backend
from hews_gpu.errors import UserError, did_you_mean
from hews_gpu.feed.drawing import drawing_of
from hews_gpu.output import new_folder
from hews_gpu.progress import step
from hews_gpu.raster.rasterizer import Rasterizer, channels_rasterizer, reference_rasterizer
from hews_gpu.raster.style import FULL_DISC

if TYPE_CHECKING:
    import zarr

__all__ = ["CHUNK_WINDOWS", "all_windows", "rasterize", "store_maps"]

CHUNK_WINDOWS = 16
"""Windows per Zarr chunk, which is read whole: few enough that one window can be had in a millisecond, enough to
compress twentyfold."""
SHARD_CHUNKS = 16
"""Chunks per file, which is written whole: 28 MB of reference maps."""
STYLES = ("reference", "channels")


def rasterize(
    prepared_folder: Path, out: Path, *, style: str | None = None, force: bool = False
) -> dict[str, str | int | float]:
    """Draw all windows of a prepared city into `out`/maps.zarr, and a contact sheet of six into `out`/preview.png.

    The group holds `maps` uint8[W, H, X, C], `start_s` int64[W] (local wall-clock seconds), `has_target` bool[W] and
    `pairs` int64[W, 2] (rows of the prepared table); its attributes say what the channels, the bounds and the window
    length are.

    Args:
        prepared_folder: what `hews prepare` wrote.
        out: folder to make.
        style: "reference" or "channels"; the city's own unless given.
        force: replace an `out` of an earlier run.

    Returns:
        windows, positives (windows that hold a target incident), empty, bytes (of the maps), bytes_stored, seconds,
        maps_per_s (drawing alone), style and out.

    Raises:
        UserError: not a prepared folder, an unknown style, no windows, or `out` cannot be written.
    """
    began = time.perf_counter()
    prepared = open_prepared(prepared_folder)
    style = style or prepared.city.map.style
    if style not in STYLES:
        raise UserError("--style", style, allowed="is not known", remedy=did_you_mean(style, STYLES))
    windows, backend = all_windows(prepared), choose_raster_backend("auto").backend  # the same bytes from either
    notes = {"style": style, **origin(prepared)}
    with new_folder(out, kind="maps", force=force, notes=notes) as folder:
        if style == "reference":
            rasterizer = reference_rasterizer(prepared, backend=backend)
        else:
            rasterizer = channels_rasterizer(prepared, steps=1, backend=backend)
        has_target = targets_within(prepared.events, windows.start_s, windows.start_s + windows.length_s) > 0
        attributes = _attributes(prepared, style, rasterizer, windows)
        drawing_s = store_maps(folder / "maps.zarr", rasterizer, windows, has_target, attributes)
        _write_preview(prepared, rasterizer, windows, folder / "preview.png")
        stored = sum(file.stat().st_size for file in (folder / "maps.zarr").rglob("*") if file.is_file())
    return {
        "out": str(out),
        "style": style,
        "windows": len(windows),
        "positives": int(has_target.sum()),
        "empty": int((windows.first == windows.last).sum()),
        "bytes": len(windows) * int(np.prod(rasterizer.shape)),
        "bytes_stored": stored,
        "seconds": round(time.perf_counter() - began, 3),
        "maps_per_s": round(len(windows) / max(drawing_s, 1e-9), 1),
    }


def store_maps(
    path: Path,
    rasterizer: Rasterizer,
    windows: Windows,
    has_target: NDArray[np.bool_],
    attributes: dict[str, Any] | None = None,
) -> float:
    """Draw windows into a new Zarr group, as `rasterize` describes it.

    Returns:
        Seconds that drawing alone took.
    """
    attributes = {**(attributes or {}), "drawing": drawing_of(rasterizer)}
    return _write_maps(_new_group(path, rasterizer, windows, has_target, attributes), rasterizer, windows)


def all_windows(prepared: Prepared) -> Windows:
    """Every window between the first and last bound of the splits, or of the table where that is shorter.

    Raises:
        UserError: there is none.
    """
    city, times = prepared.city, prepared.events.time_s
    begin_s, end_s = city.splits.span_s("train")[0], city.splits.span_s("test")[1]
    length_s, stride_s, anchor_s = city.windows.length_s, city.windows.stride_s, city.windows.anchor_s
    if len(times):
        begin_s = max(begin_s, anchor_s + (int(times[0]) - anchor_s) // stride_s * stride_s)
        end_s = min(end_s, anchor_s + (int(times[-1]) - anchor_s) // stride_s * stride_s + length_s)
    windows = make_windows(
        times,
        begin_s=begin_s,
        end_s=end_s,
        length_s=length_s,
        stride_s=stride_s,
        anchor_s=anchor_s,
        timezone=city.city.timezone,
    )
    if len(windows) == 0 or len(times) == 0:
        remedy = "Move the splits to where the table has incidents"
        raise UserError("[splits]", None, allowed="no window lies within both the splits and the table", remedy=remedy)
    return windows


def _new_group(
    path: Path, rasterizer: Rasterizer, windows: Windows, has_target: NDArray[np.bool_], attributes: dict[str, Any]
) -> zarr.Array[Any]:
    """Make the group with everything in it but the maps, and return their array, still to be filled."""
    import zarr
    from zarr.codecs import ZstdCodec

    group = zarr.create_group(store=path, zarr_format=3, attributes=attributes)
    group.create_array("start_s", data=windows.start_s, dimension_names=["window"])
    group.create_array("has_target", data=has_target, dimension_names=["window"])
    group.create_array("pairs", data=windows.pairs, dimension_names=["window", "first_last"])
    chunk = min(CHUNK_WINDOWS, len(windows))
    shard = chunk * min(SHARD_CHUNKS, -(-len(windows) // chunk))
    return group.create_array(
        "maps",
        shape=(len(windows), *rasterizer.shape),
        chunks=(chunk, *rasterizer.shape),
        shards=(shard, *rasterizer.shape),
        dtype="uint8",
        # Its window spans several maps, which share their basemap: 30 times smaller, where Blosc's blocks give 5 times.
        compressors=[ZstdCodec(level=3, checksum=True)],
        config={"write_empty_chunks": True},  # or a file that was lost would pass for windows without incidents
        dimension_names=["window", "row", "column", "channel"],
    )


def _attributes(prepared: Prepared, style: str, rasterizer: Rasterizer, windows: Windows) -> dict[str, Any]:
    """What someone who finds the group without this program needs to know."""
    channels, discs = prepared.city.channels, {}
    if style == "channels" and channels.draw == "discs":
        discs = {
            "discs": f"radius {channels.disc_radius_px} cells, {FULL_DISC} where one covers a cell; sums up to 255"
        }
    return {
        "city": prepared.city.city.name,
        "timezone": prepared.city.city.timezone,
        "style": style,
        "channels": list(rasterizer.names),
        **discs,
        "bounds_west_south_east_north": list(rasterizer.geometry.bounds),
        "row_0": "north",
        "window_length_s": windows.length_s,
        "start_s": "start of each window, local wall-clock seconds since 1970-01-01T00:00, no zone; half-open windows",
        "categories": list(prepared.events.categories),
    }


def _write_maps(maps: zarr.Array[Any], rasterizer: Rasterizer, windows: Windows) -> float:
    """Draw and store file by file; returns the seconds that drawing alone took."""
    pairs = windows.pairs
    assert maps.shards is not None
    at_once = maps.shards[0]
    buffer = np.zeros((at_once, *rasterizer.shape), np.uint8)
    drawing_s = 0.0
    _draw(rasterizer, pairs[:1], buffer[:1])  # compiles; not to be counted
    with step("rasterizing", len(pairs), "windows") as progress:
        for begin in range(0, len(pairs), at_once):
            some = pairs[begin : begin + at_once]
            started = time.perf_counter()
            _draw(rasterizer, some, buffer[: len(some)])
            drawing_s += time.perf_counter() - started
            maps[begin : begin + len(some)] = buffer[: len(some)]
            progress.advance(len(some))
    return drawing_s


def _draw(rasterizer: Rasterizer, pairs: NDArray[np.int64], out: NDArray[np.uint8]) -> None:
    rasterizer.fill(pairs if rasterizer.steps == 0 else pairs[:, None, :], out)


def _write_preview(prepared: Prepared, rasterizer: Rasterizer, windows: Windows, path: Path) -> None:
    """Six windows with incidents, spread evenly over time."""
    from hews_gpu.feed.preview import draw_preview

    busy = np.flatnonzero(windows.last > windows.first)
    chosen = busy[np.linspace(0, len(busy) - 1, min(6, len(busy))).astype(np.int64)]
    maps = np.empty((len(chosen), *rasterizer.shape), np.uint8)
    _draw(rasterizer, windows.pairs[chosen], maps)
    shown = {int(c) for w in chosen for c in prepared.events.category[windows.first[w] : windows.last[w]]}
    categories = [prepared.events.categories[c] for c in sorted(shown)]
    draw_preview(prepared.city, maps, windows.start_s[chosen], categories, rasterizer, path)
