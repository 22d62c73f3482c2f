"""Maps as files: every window of a prepared city drawn once and stored as a Zarr v3 group.

Training never needs this, it draws its maps as it goes; this is for people who want files. A file of the store holds
many windows in a few chunks that can be read apart (a shard, in Zarr's words). Files are drawn one at a time, into
memory that is reused, by threads of this process or by the workers of a cluster: memory does not grow with the number
of windows. A file is written under a temporary name at first, so that one which is there is whole, and a job that was
cut off goes on with those that are missing.

Shapes: W windows, H rows, X columns, C channels, K windows shown.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from threading import local
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hews_gpu.arrays import Bool, Int64, UInt8
from hews_gpu.data.events import Prepared, open_prepared
from hews_gpu.data.prepare.duplicates import NEAR_TWIN
from hews_gpu.data.windows import MapWindows, Task, make_windows, targets_within
from hews_gpu.environment.device import choose_raster_backend
from hews_gpu.errors import UserError, did_you_mean
from hews_gpu.files import new_folder
from hews_gpu.kernels._shim import ONE_AT_A_TIME
from hews_gpu.progress import log, step
from hews_gpu.raster.rasterizer import Backend, Rasterizer, channels_rasterizer, reference_rasterizer
from hews_gpu.raster.style import FULL_DISC, QUALITATIVE, ChannelsStyle, ReferenceStyle, rgb
from hews_gpu.units import HOUR_S
from hews_gpu.work_folder import code_digest, open_work_folder, read_shared, write_object
from hews_gpu.workers import Opener, Workers, in_this_process

if TYPE_CHECKING:
    import zarr

__all__ = ["all_windows", "rasterize", "store_maps"]

CHUNK_WINDOWS = 16
"""Windows per Zarr chunk, which is read whole: few enough that one window can be read in a millisecond, enough to
compress twentyfold."""
SHARD_CHUNKS = 16
"""Chunks per file, which is written whole: 28 MB of reference maps."""
STYLES = ("reference", "channels")
DRAW_JOB = "draw.job"
WRITE_ALL = {"array.write_empty_chunks": True}
"""Or a file that was lost would pass for windows without incidents, and looking for zeros costs twice the writing."""
OWN = local()
PREVIEW_COLUMNS = 3
INK = "#333333"


@dataclass(frozen=True, kw_only=True)
class DrawJob:
    """What all files of a store share."""

    prepared: Path
    style: str
    backend: Backend
    pairs: Int64  # [W, 2]
    per_file: int
    """Windows of a file."""

    @property
    def files(self) -> int:
        """How many there are."""
        return -(-len(self.pairs) // self.per_file)

    def pairs_of(self, number: int) -> Int64:
        """Return the windows of one file."""
        return self.pairs[number * self.per_file : (number + 1) * self.per_file]

    def rasterizer(self, prepared: Prepared) -> Rasterizer:
        """Return what draws them."""
        if self.style == "reference":
            return reference_rasterizer(prepared, backend=self.backend)
        return channels_rasterizer(prepared, steps=1, backend=self.backend)


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
    `pairs` int64[W, 2] (rows of the prepared table), and what `_describe` adds for other programs.

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
    with new_folder(out, kind="maps", force=force, notes={"style": style, **prepared.origin}) as folder:
        job = DrawJob(
            prepared=prepared.folder, style=style, backend=backend, pairs=windows.pairs, per_file=_per_file(windows)
        )
        rasterizer = job.rasterizer(prepared)
        has_target = targets_within(prepared.events, windows.start_s, windows.start_s + windows.length_s) > 0
        about = {"drawing": rasterizer.fingerprint(), "windows": windows.pairs.tolist(), "per_file": job.per_file}
        about |= {"data": prepared.fingerprint, "code": code_digest()}
        is_long = resume or workers is not in_this_process
        events = len(prepared.events)
        with open_work_folder(out, about, resume=resume, keep=is_long) as work, workers(events, work) as team:
            if not (work / DRAW_JOB).is_file():  # the group is whole once the job is there
                attributes = _attributes(prepared, style, rasterizer, windows)
                _new_group(work / "maps.zarr", rasterizer, windows, has_target, attributes)
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


def all_windows(prepared: Prepared, style: str = "reference") -> MapWindows:
    """Return every window between the first and last bound of the splits, or of the table where that is shorter.

    Windows of reference maps are those that are forecast; those of channels are the steps that their histories are cut
    into, which end where the knowledge of a forecast does.

    Raises:
        UserError: there is none.
    """
    city, times = prepared.city, prepared.events.time_s
    shown_s = times
    begin_s, end_s = city.splits.span_s("train")[0], city.splits.span_s("test")[1]
    length_s, stride_s, anchor_s = city.windows.length_s, city.windows.stride_s, city.windows.anchor_s
    if style == "channels":
        task = Task.of_city(city).apart(NEAR_TWIN.within_s)
        anchor_s -= task.lead_s + task.delay_s
    if len(times):
        begin_s = max(begin_s, anchor_s + (int(times[0]) - anchor_s) // stride_s * stride_s)
        end_s = min(end_s, anchor_s + (int(times[-1]) - anchor_s) // stride_s * stride_s + length_s)
    spacing = {"length_s": length_s, "stride_s": stride_s, "anchor_s": anchor_s}
    if style == "channels" and (prepared.placed_layers or prepared.events.span_s is not None):
        shown_s = channels_rasterizer(prepared, steps=1).shown_s
    windows = make_windows(shown_s, begin_s=begin_s, end_s=end_s, **spacing)
    if len(windows) == 0 or len(times) == 0:
        remedy = "Move the splits to where the table has incidents"
        raise UserError("[splits]", None, allowed="no window lies within both the splits and the table", remedy=remedy)
    return windows


def store_maps(path: Path, rasterizer: Rasterizer, windows: MapWindows, has_target: Bool) -> None:
    """Draw windows into a new Zarr group, as `rasterize` describes it, here and one file after the other."""
    maps, per_file = _new_group(path, rasterizer, windows, has_target, {}), _per_file(windows)
    for begin in range(0, len(windows), per_file):
        _write_maps(maps, rasterizer, windows.pairs[begin : begin + per_file], begin)


def _per_file(windows: MapWindows) -> int:
    """Return the windows of a file: whole chunks, fewer where there are few windows."""
    chunk = min(CHUNK_WINDOWS, len(windows))
    return chunk * min(SHARD_CHUNKS, -(-len(windows) // chunk))


def _draw_files(work: Path, job: DrawJob, team: Workers) -> float:
    """Draw the files that are missing; return the seconds that drawing alone took, over all who drew."""
    missing = [number for number in range(job.files) if not _file_of(work / "maps.zarr", number).is_file()]
    if len(missing) < job.files:
        log(f"rasterizing: {job.files - len(missing)} of {job.files} files are there already")
    drawing_s = 0.0
    with step("rasterizing", sum(len(job.pairs_of(number)) for number in missing), "windows") as progress:
        for number, took_s in team.run(draw_file, work, missing):
            drawing_s += took_s
            progress.advance(len(job.pairs_of(number)))
    return drawing_s


def draw_file(folder: Path, number: int) -> float:
    """Draw one file of the store in a work folder, as a partition of `workers`; return what `_write_maps` does."""
    import zarr

    path = folder / DRAW_JOB
    job: DrawJob = read_shared(path)
    with ONE_AT_A_TIME:
        rasterizer = _rasterizer(path, path.stat().st_mtime_ns)
        with zarr.config.set(WRITE_ALL):  # of an array that is opened this is the only way to say so
            maps = zarr.open_array(folder / "maps.zarr" / "maps", mode="r+")
    return _write_maps(maps, rasterizer, job.pairs_of(number), number * job.per_file)


@lru_cache(maxsize=1)
def _rasterizer(job: Path, modified_ns: int) -> Rasterizer:
    """Return the rasterizer of a job, made once in each process."""
    del modified_ns
    content: DrawJob = read_shared(job)
    return content.rasterizer(open_prepared(content.prepared))


def _write_maps(maps: zarr.Array[Any], rasterizer: Rasterizer, pairs: Int64, begin: int) -> float:
    """Draw windows and store them from place `begin` on; return the seconds that drawing alone took."""
    drawn = _memory(len(pairs) * int(np.prod(rasterizer.shape))).reshape(len(pairs), *rasterizer.shape)
    with ONE_AT_A_TIME:  # drawing uses all cores; the other threads compress and write meanwhile
        _draw(rasterizer, pairs[:1], drawn[:1])  # compiles; not to be counted
        started = time.perf_counter()
        _draw(rasterizer, pairs, drawn)
        took_s = time.perf_counter() - started
    maps[begin : begin + len(pairs)] = drawn
    return took_s


def _draw(rasterizer: Rasterizer, pairs: Int64, out: UInt8) -> None:
    """Draw windows [W, 2] into out uint8[W, H, X, C]."""
    rasterizer.fill(pairs if rasterizer.steps == 0 else pairs[:, None, :], out)


def _memory(size: int) -> UInt8:
    """Return uint8[size] of this thread's own, the same again: new memory costs as much as drawing into it."""
    kept: UInt8 | None = getattr(OWN, "memory", None)
    if kept is None or len(kept) < size:
        kept = OWN.memory = np.empty(size, np.uint8)
    return kept[:size]


def _file_of(group: Path, number: int) -> Path:
    """Return where a file of the maps lies in their group."""
    return group / "maps" / "c" / str(number) / "0" / "0" / "0"


def _new_group(
    path: Path, rasterizer: Rasterizer, windows: MapWindows, has_target: Bool, attributes: dict[str, Any]
) -> zarr.Array[Any]:
    """Make the group with everything in it but the maps, and return their array, still to be filled."""
    import zarr
    from zarr.codecs import ZstdCodec

    attributes = {**attributes, "drawing": rasterizer.fingerprint()}
    group = zarr.create_group(store=path, zarr_format=3, attributes=attributes, overwrite=True)
    group.create_array("start_s", data=windows.start_s, dimension_names=["window"])
    group.create_array("has_target", data=has_target, dimension_names=["window"])
    group.create_array("pairs", data=windows.pairs, dimension_names=["window", "first_last"])
    _describe(group, rasterizer, windows)
    return group.create_array(
        "maps",
        shape=(len(windows), *rasterizer.shape),
        chunks=(min(CHUNK_WINDOWS, len(windows)), *rasterizer.shape),
        shards=(_per_file(windows), *rasterizer.shape),
        dtype="uint8",
        # Its window spans several maps, which share their basemap: 30 times smaller, where Blosc's blocks give 5 times.
        compressors=[ZstdCodec(level=3, checksum=True)],
        config={"write_empty_chunks": True},
        dimension_names=["window", "row", "column", "channel"],
        attributes={"coordinates": "time", "grid_mapping": "spatial_ref"},
    )


def _describe(group: zarr.Group, rasterizer: Rasterizer, windows: MapWindows) -> None:
    """Add what xarray and others read by the CF conventions (1.11): time, places, channels, coordinate system.

    `time` is the start of each window, local wall-clock time; `row` and `column` are latitude and longitude of the
    middle of each; `channel` has flags; `spatial_ref` is the coordinate system.
    """
    from pyproj import CRS

    west, south, east, north = rasterizer.geometry.bounds
    height, width, channels = rasterizer.shape
    latitude = north - (np.arange(height) + 0.5) * (north - south) / height
    longitude = west + (np.arange(width) + 0.5) * (east - west) / width
    time_attributes = {
        "standard_name": "time",
        "long_name": "start of the window, local wall-clock time without zone",
        "units": "seconds since 1970-01-01 00:00:00",
        "calendar": "proleptic_gregorian",
    }
    flags = {
        "flag_values": list(range(channels)),
        "flag_meanings": " ".join("_".join(name.split()) for name in rasterizer.names),
    }
    columns: list[tuple[str, NDArray[Any], str, dict[str, Any]]] = [
        ("time", windows.start_s, "window", time_attributes),
        ("row", latitude, "row", {"standard_name": "latitude", "units": "degrees_north", "axis": "Y"}),
        ("column", longitude, "column", {"standard_name": "longitude", "units": "degrees_east", "axis": "X"}),
        ("channel", np.arange(channels, dtype=np.int8), "channel", flags),
    ]
    for name, data, dimension, attributes in columns:
        group.create_array(name, data=data, dimension_names=[dimension], attributes=attributes)
    system = group.create_array("spatial_ref", shape=(), dtype="int64", attributes=CRS.from_epsg(4326).to_cf())
    system[...] = 0


def _attributes(prepared: Prepared, style: str, rasterizer: Rasterizer, windows: MapWindows) -> dict[str, Any]:
    """Return what someone who finds the group without this program needs to know."""
    city, categories = prepared.city, list(prepared.events.categories)
    attributes = {
        "city": city.city.name,
        "timezone": city.city.timezone,
        "style": style,
        "channels": list(rasterizer.names),
        "bounds_west_south_east_north": list(rasterizer.geometry.bounds),
        "row_0": "north",
        "window_length_s": windows.length_s,
        "start_s": "start of each window, local wall-clock seconds since 1970-01-01T00:00, no zone; half-open windows",
        "categories": categories,
    }
    if style == "reference":
        look = ReferenceStyle.from_config(city.map)
        return attributes | {"color_of_category": {name: look.color(name) for name in categories}}
    if city.channels.draw == "discs":
        radius = f"radius {city.channels.disc_radius_px} cells"
        attributes["discs"] = f"{radius}, {FULL_DISC} where one covers a cell; sums up to 255"
    groups = ChannelsStyle.from_config(city.channels, {layer.name: layer.streams for layer in prepared.placed_layers})
    categories += [name for layer in prepared.placed_layers for name in layer.streams]
    which = groups.group_of(categories).tolist()
    names = {name: groups.names[g] for name, g in zip(categories, which, strict=True)}
    return attributes | {"channel_of_category": names}


def _write_preview(prepared: Prepared, rasterizer: Rasterizer, windows: MapWindows, path: Path) -> None:
    """Write a contact sheet of six windows with incidents, spread evenly over time, and a legend."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    busy = np.flatnonzero(windows.last > windows.first)
    chosen = busy[np.linspace(0, len(busy) - 1, min(6, len(busy))).astype(np.int64)]
    maps = np.empty((len(chosen), *rasterizer.shape), np.uint8)
    _draw(rasterizer, windows.pairs[chosen], maps)
    names = [*rasterizer.names]
    colors = [QUALITATIVE[c % len(QUALITATIVE)] for c in range(len(names))]
    if is_rgb := rasterizer.steps == 0:
        events, style = prepared.events, ReferenceStyle.from_config(prepared.city.map)
        shown = {int(c) for w in chosen for c in events.category[windows.first[w] : windows.last[w]]}
        names = [events.categories[c] for c in sorted(shown)]
        colors = [style.color(name) for name in names]
    rows = max(-(-len(maps) // PREVIEW_COLUMNS), 1)
    figure = Figure(figsize=(9.5, 1.0 + 3.6 * rows), dpi=110, layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    for k, axes in enumerate(figure.subplots(rows, PREVIEW_COLUMNS, squeeze=False).flat):
        axes.set_axis_off()
        if k < len(maps):
            when = datetime.fromtimestamp(int(windows.start_s[chosen[k]]), UTC)
            axes.set_title(f"{when:%a} {when.day} {when:%b %Y, %H:%M}", fontsize=9, color=INK)
            axes.imshow(maps[k] if is_rgb else _color_counts(maps[k], colors), interpolation="nearest")
    marks = [Line2D([], [], marker="o", linestyle="", color=color, alpha=0.7) for color in colors]
    hours = windows.length_s / HOUR_S
    figure.suptitle(f"{prepared.city.city.name}: {len(maps)} windows of {hours:g} h", color=INK)
    figure.legend(marks, names, loc="outside lower center", ncols=4, fontsize=8, frameon=False, labelcolor=INK)
    figure.savefig(path)


def _color_counts(counts: UInt8, colors: list[str]) -> UInt8:
    """Return counts uint8[H, X, C] as a picture uint8[H, X, 3]: channels' colors, mixed by count, on light gray."""
    total = counts.sum(axis=2, dtype=np.int64)[..., None]
    mixed = counts.astype(np.float64) @ np.array([rgb(color) for color in colors]) / np.maximum(total, 1)
    picture: UInt8 = np.where(total > 0, mixed, 245.0).astype(np.uint8)
    return picture
