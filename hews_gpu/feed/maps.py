"""Maps as files: every window of a prepared city drawn once and stored as a Zarr v3 group.

Training never needs this, it draws its maps as it goes; this is for people who want files. A file of the store is drawn
at a time, into memory that is reused, by threads of this process or by the workers of a cluster: memory does not grow
with the number of windows, and a job that was cut off goes on with the files that are missing.

Shapes: W windows, H rows, X columns, C channels.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hews_gpu.data.events import Prepared, open_prepared
from hews_gpu.data.origin import origin
from hews_gpu.data.windows import MapWindows, make_windows, targets_within
from hews_gpu.environment.device import choose_raster_backend
from hews_gpu.errors import UserError, did_you_mean
from hews_gpu.feed.zarr_store import DRAW_JOB, DrawJob, draw, draw_file, file_of, new_group, write_maps
from hews_gpu.files import new_folder
from hews_gpu.progress import log, step
from hews_gpu.raster.rasterizer import Rasterizer
from hews_gpu.raster.style import FULL_DISC, ChannelsStyle, ReferenceStyle
from hews_gpu.work_folder import open_work_folder, write_object
from hews_gpu.workers import Opener, Workers, in_this_process

__all__ = ["CHUNK_WINDOWS", "all_windows", "rasterize", "store_maps"]

CHUNK_WINDOWS = 16
"""MapWindows per Zarr chunk, which is read whole: few enough that one window can be had in a millisecond, enough to
compress twentyfold."""
SHARD_CHUNKS = 16
"""Chunks per file, which is written whole: 28 MB of reference maps."""
STYLES = ("reference", "channels")


def rasterize(
    prepared_folder: Path,
    out: Path,
    *,
    style: str | None = None,
    force: bool = False,
    resume: bool = False,
    workers: Opener = in_this_process,
) -> dict[str, str | int | float]:
    """Draw all windows of a prepared city into `out`/maps.zarr, and a contact sheet of six into `out`/preview.png.

    The group holds `maps` uint8[W, H, X, C], `start_s` int64[W] (local wall-clock seconds), `has_target` bool[W] and
    `pairs` int64[W, 2] (rows of the prepared table), and what `feed.store.describe` adds for other programs.

    Args:
        prepared_folder: what `hews prepare` wrote.
        out: folder to make.
        style: "reference" or "channels"; the city's own unless given.
        force: replace an `out` of an earlier run.
        resume: use the files that a run which was cut off has left.
        workers: who draws; those on other machines must see `prepared_folder` as well.

    Returns:
        windows, positives (windows that hold a target incident), empty, bytes (of the maps), bytes_stored, seconds of
        all, maps_per_s in these, drawing_maps_per_s (drawing alone, by one process), style and out.

    Raises:
        UserError: not a prepared folder, an unknown style, no windows, or `out` cannot be written.
    """
    began = time.perf_counter()
    prepared = open_prepared(prepared_folder)
    style = style or prepared.city.map.style
    if style not in STYLES:
        raise UserError("--style", style, allowed="is not known", remedy=did_you_mean(style, STYLES))
    windows, backend = all_windows(prepared, style), choose_raster_backend("auto").backend  # the same bytes from either
    notes = {"style": style, **origin(prepared)}
    with new_folder(out, kind="maps", force=force, notes=notes) as folder:
        job = DrawJob(
            prepared=prepared.folder, style=style, backend=backend, pairs=windows.pairs, per_file=_per_file(windows)
        )
        rasterizer = job.rasterizer(prepared)
        has_target = targets_within(prepared.events, windows.start_s, windows.start_s + windows.length_s) > 0
        attributes = {**_attributes(prepared, style, rasterizer, windows), "drawing": rasterizer.fingerprint()}
        about = {"drawing": attributes["drawing"], "windows": windows.pairs.tolist(), "per_file": job.per_file}
        is_long = resume or workers is not in_this_process
        events = len(prepared.events)
        with open_work_folder(out, about, resume=resume, keep=is_long) as work, workers(events, work) as team:
            if not (work / DRAW_JOB).is_file():  # the group is whole once the job is there
                new_group(work / "maps.zarr", rasterizer, windows, has_target, attributes, CHUNK_WINDOWS, job.per_file)
                write_object(work / DRAW_JOB, job)
            drawing_s = _draw_files(work, job, team)
            (work / "maps.zarr").rename(folder / "maps.zarr")
        _write_preview(prepared, rasterizer, windows, folder / "preview.png")
        seconds = time.perf_counter() - began
        stored = sum(file.stat().st_size for file in (folder / "maps.zarr").rglob("*") if file.is_file())
    return {
        "out": str(out),
        "style": style,
        "windows": len(windows),
        "positives": int(has_target.sum()),
        "empty": int((windows.first == windows.last).sum()),
        "bytes": len(windows) * int(np.prod(rasterizer.shape)),
        "bytes_stored": stored,
        "seconds": round(seconds, 3),
        "maps_per_s": round(len(windows) / seconds, 1),
        "drawing_maps_per_s": round(len(windows) / max(drawing_s, 1e-9), 1),
    }


def _per_file(windows: MapWindows) -> int:
    """MapWindows of a file: whole chunks, fewer where there are few windows."""
    chunk = min(CHUNK_WINDOWS, len(windows))
    return chunk * min(SHARD_CHUNKS, -(-len(windows) // chunk))


def _draw_files(work: Path, job: DrawJob, team: Workers) -> float:
    """Draw the files that are missing; returns the seconds that drawing alone took, over all who drew."""
    missing = [number for number in range(job.files) if not file_of(work / "maps.zarr", number).is_file()]
    if len(missing) < job.files:
        log(f"rasterizing: {job.files - len(missing)} of {job.files} files are there already")
    drawing_s = 0.0
    with step("rasterizing", sum(len(job.pairs_of(number)) for number in missing), "windows") as progress:
        for number, took_s in team.run(draw_file, work, missing):
            drawing_s += took_s
            progress.advance(len(job.pairs_of(number)))
    return drawing_s


def store_maps(
    path: Path,
    rasterizer: Rasterizer,
    windows: MapWindows,
    has_target: NDArray[np.bool_],
    attributes: dict[str, Any] | None = None,
) -> float:
    """Draw windows into a new Zarr group, as `rasterize` describes it, here and one file after the other.

    Returns:
        Seconds that drawing alone took.
    """
    attributes = {**(attributes or {}), "drawing": rasterizer.fingerprint()}
    per_file = _per_file(windows)
    maps = new_group(path, rasterizer, windows, has_target, attributes, CHUNK_WINDOWS, per_file)
    begins = range(0, len(windows), per_file)
    return sum(write_maps(maps, rasterizer, windows.pairs[begin : begin + per_file], begin) for begin in begins)


def all_windows(prepared: Prepared, style: str = "reference") -> MapWindows:
    """Every window between the first and last bound of the splits, or of the table where that is shorter.

    Windows of reference maps are those that are forecast; those of channels are the steps that their histories are cut
    into, which end when a forecast is issued.

    Raises:
        UserError: there is none.
    """
    city, times = prepared.city, prepared.events.time_s
    begin_s, end_s = city.splits.span_s("train")[0], city.splits.span_s("test")[1]
    length_s, stride_s, anchor_s = city.windows.length_s, city.windows.stride_s, city.windows.anchor_s
    anchor_s -= city.task.lead_s if style == "channels" else 0
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
    )
    if len(windows) == 0 or len(times) == 0:
        remedy = "Move the splits to where the table has incidents"
        raise UserError("[splits]", None, allowed="no window lies within both the splits and the table", remedy=remedy)
    return windows


def _attributes(prepared: Prepared, style: str, rasterizer: Rasterizer, windows: MapWindows) -> dict[str, Any]:
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
        **_categories(prepared, style),
    }


def _categories(prepared: Prepared, style: str) -> dict[str, Any]:
    """How the categories of incidents show: by color, or by channel."""
    categories = prepared.events.categories
    if style == "reference":
        look = ReferenceStyle.from_config(prepared.city.map)
        return {"color_of_category": {name: look.color(name) for name in categories}}
    groups = ChannelsStyle.from_config(prepared.city.channels)
    which = groups.group_of(categories).tolist()
    return {"channel_of_category": {name: groups.names[g] for name, g in zip(categories, which, strict=True)}}


def _write_preview(prepared: Prepared, rasterizer: Rasterizer, windows: MapWindows, path: Path) -> None:
    """Six windows with incidents, spread evenly over time."""
    from hews_gpu.feed.preview import draw_preview

    busy = np.flatnonzero(windows.last > windows.first)
    chosen = busy[np.linspace(0, len(busy) - 1, min(6, len(busy))).astype(np.int64)]
    maps = np.empty((len(chosen), *rasterizer.shape), np.uint8)
    draw(rasterizer, windows.pairs[chosen], maps)
    shown = {int(c) for w in chosen for c in prepared.events.category[windows.first[w] : windows.last[w]]}
    categories = [prepared.events.categories[c] for c in sorted(shown)]
    draw_preview(prepared.city, maps, windows.start_s[chosen], categories, rasterizer, path)
