"""The Zarr v3 group that holds maps: how it is made, what it says of itself, and how one of its files is drawn.

A file holds many windows in a few chunks that can be read apart (a shard, in Zarr's words); it is written whole, and
under a temporary name at first, so that a file which is there is right.

Shapes: W windows, H rows, X columns, C channels.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from threading import local
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hews_gpu.data.events import Prepared, open_prepared
from hews_gpu.data.windows import MapWindows
from hews_gpu.kernels._shim import ONE_AT_A_TIME
from hews_gpu.raster.rasterizer import Backend, Rasterizer, channels_rasterizer, reference_rasterizer
from hews_gpu.work_folder import read_shared

if TYPE_CHECKING:
    import zarr

__all__ = ["DRAW_JOB", "DrawJob", "draw", "draw_file", "file_of", "new_group", "write_maps"]

DRAW_JOB = "draw.job"
WRITE_ALL = {"array.write_empty_chunks": True}
"""Or a file that was lost would pass for windows without incidents, and looking for zeros costs twice the writing."""
OWN = local()


@dataclass(frozen=True, kw_only=True)
class DrawJob:
    """What all files of a store share."""

    prepared: Path
    style: str
    backend: Backend
    pairs: NDArray[np.int64]  # [W, 2]
    per_file: int
    """Windows of a file."""

    @property
    def files(self) -> int:
        """How many there are."""
        return -(-len(self.pairs) // self.per_file)

    def pairs_of(self, number: int) -> NDArray[np.int64]:
        """The windows of one file."""
        return self.pairs[number * self.per_file : (number + 1) * self.per_file]

    def rasterizer(self, prepared: Prepared) -> Rasterizer:
        """What draws them."""
        if self.style == "reference":
            return reference_rasterizer(prepared, backend=self.backend)
        return channels_rasterizer(prepared, steps=1, backend=self.backend)


@lru_cache(maxsize=1)
def _rasterizer(job: Path, modified_ns: int) -> Rasterizer:
    """The rasterizer of a job, made once in each process."""
    del modified_ns
    content: DrawJob = read_shared(job)
    return content.rasterizer(open_prepared(content.prepared))


def draw_file(folder: Path, number: int) -> float:
    """Draw one file of the store in a work folder; a partition of `workers`.

    Returns:
        Seconds that drawing alone took.
    """
    import zarr

    path = folder / DRAW_JOB
    job: DrawJob = read_shared(path)
    with ONE_AT_A_TIME:
        rasterizer = _rasterizer(path, path.stat().st_mtime_ns)
        with zarr.config.set(WRITE_ALL):  # of an array that is opened this is the only way to say so
            maps = zarr.open_array(folder / "maps.zarr" / "maps", mode="r+")
    return write_maps(maps, rasterizer, job.pairs_of(number), number * job.per_file)


def write_maps(maps: zarr.Array[Any], rasterizer: Rasterizer, pairs: NDArray[np.int64], begin: int) -> float:
    """Draw windows and store them from place `begin` on; returns the seconds that drawing alone took."""
    drawn = _memory(len(pairs) * int(np.prod(rasterizer.shape))).reshape(len(pairs), *rasterizer.shape)
    with ONE_AT_A_TIME:  # drawing uses all cores; the other threads compress and write meanwhile
        draw(rasterizer, pairs[:1], drawn[:1])  # compiles; not to be counted
        started = time.perf_counter()
        draw(rasterizer, pairs, drawn)
        took_s = time.perf_counter() - started
    maps[begin : begin + len(pairs)] = drawn
    return took_s


def _memory(size: int) -> NDArray[np.uint8]:
    """uint8[size] of this thread's own, the same again: memory that is new costs as much as drawing into it."""
    kept: NDArray[np.uint8] | None = getattr(OWN, "memory", None)
    if kept is None or len(kept) < size:
        kept = OWN.memory = np.empty(size, np.uint8)
    return kept[:size]


def draw(rasterizer: Rasterizer, pairs: NDArray[np.int64], out: NDArray[np.uint8]) -> None:
    """Draw windows into out uint8[W, H, X, C]."""
    rasterizer.fill(pairs if rasterizer.steps == 0 else pairs[:, None, :], out)


def file_of(group: Path, number: int) -> Path:
    """Where a file of the maps lies in their group."""
    return group / "maps" / "c" / str(number) / "0" / "0" / "0"


def new_group(
    path: Path,
    rasterizer: Rasterizer,
    windows: MapWindows,
    has_target: NDArray[np.bool_],
    attributes: dict[str, Any],
    chunk: int,
    per_file: int,
) -> zarr.Array[Any]:
    """Make the group with everything in it but the maps, and return their array, still to be filled."""
    import zarr
    from zarr.codecs import ZstdCodec

    group = zarr.create_group(store=path, zarr_format=3, attributes=attributes, overwrite=True)
    group.create_array("start_s", data=windows.start_s, dimension_names=["window"])
    group.create_array("has_target", data=has_target, dimension_names=["window"])
    group.create_array("pairs", data=windows.pairs, dimension_names=["window", "first_last"])
    described = describe(group, rasterizer, windows)
    chunk = min(chunk, len(windows))
    return group.create_array(
        "maps",
        shape=(len(windows), *rasterizer.shape),
        chunks=(chunk, *rasterizer.shape),
        shards=(per_file, *rasterizer.shape),
        dtype="uint8",
        # Its window spans several maps, which share their basemap: 30 times smaller, where Blosc's blocks give 5 times.
        compressors=[ZstdCodec(level=3, checksum=True)],
        config={"write_empty_chunks": True},
        dimension_names=["window", "row", "column", "channel"],
        attributes=described,
    )


def describe(group: zarr.Group, rasterizer: Rasterizer, windows: MapWindows) -> dict[str, Any]:
    """Add what xarray and others read by the CF conventions (1.11): time, places, channels, coordinate system.

    `time` is the start of each window, local wall-clock time; `row` and `column` are latitude and longitude of the
    middle of each; `channel` has flags; `spatial_ref` is the coordinate system.

    Returns:
        The attributes of the maps that name them.
    """
    from pyproj import CRS

    west, south, east, north = rasterizer.geometry.bounds
    height, width, channels = rasterizer.shape
    _add(
        group,
        "time",
        windows.start_s,
        "window",
        {
            "standard_name": "time",
            "long_name": "start of the window, local wall-clock time without zone",
            "units": "seconds since 1970-01-01 00:00:00",
            "calendar": "proleptic_gregorian",
        },
    )
    _add(
        group,
        "row",
        north - (np.arange(height) + 0.5) * (north - south) / height,
        "row",
        {
            "standard_name": "latitude",
            "units": "degrees_north",
            "axis": "Y",
        },
    )
    _add(
        group,
        "column",
        west + (np.arange(width) + 0.5) * (east - west) / width,
        "column",
        {
            "standard_name": "longitude",
            "units": "degrees_east",
            "axis": "X",
        },
    )
    _add(
        group,
        "channel",
        np.arange(channels, dtype=np.int8),
        "channel",
        {
            "flag_values": list(range(channels)),
            "flag_meanings": " ".join("_".join(name.split()) for name in rasterizer.names),
        },
    )
    system = group.create_array("spatial_ref", shape=(), dtype="int64", attributes=CRS.from_epsg(4326).to_cf())
    system[...] = 0
    return {"coordinates": "time", "grid_mapping": "spatial_ref"}


def _add(group: zarr.Group, name: str, data: NDArray[Any], dimension: str, attributes: dict[str, Any]) -> None:
    group.create_array(name, data=data, dimension_names=[dimension], attributes=attributes)
