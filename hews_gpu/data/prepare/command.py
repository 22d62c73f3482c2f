"""`hews prepare`: incident files and polygons to one clean table sorted by time, with every input row accounted for.

A first, cheap pass counts the records and cuts the files into partitions (`partitions`). Two passes follow, by threads
of this process or by the workers of a cluster (`pipeline`): each partition is read, cleaned and left sorted by time;
each stretch of time is gathered from all of them, searched for what repeats and written. Memory is that of a few
partitions and stretches and grows far more slowly than the table; the result depends neither on them nor on who did
the work.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from hews_gpu import progress
from hews_gpu.config import SPLITS, ChannelsConfig, CityConfig, IncidentsConfig, LayerConfig, normal_category
from hews_gpu.data.backend import Backend
from hews_gpu.data.clean import OUT, REASONS, Rules
from hews_gpu.data.coverage import FEW, coverage_of, require_covered
from hews_gpu.data.events import DOUBTS, LAYERS, QUALITY, load_events, load_layer
from hews_gpu.data.geometry.point_in_polygon import engine_for, require_engine
from hews_gpu.data.geometry.polygons import areas_of, is_latitude_first, load_neighborhoods, overlapping
from hews_gpu.data.layers import check_layer
from hews_gpu.data.prepare.citywide import prepare_citywide
from hews_gpu.data.prepare.completeness import doubts_of_fetches, doubts_of_files
from hews_gpu.data.prepare.duplicates import NEAR_TWIN
from hews_gpu.data.prepare.partitions import PartitionPlan, plan_partitions
from hews_gpu.data.prepare.pipeline import BUCKET_ROWS, CleanedTable, CleanJob, clean_table, sort_table
from hews_gpu.data.quality.quality_warnings import quality_warnings
from hews_gpu.data.quality.report import quality_report
from hews_gpu.data.quality.tallies import RowTally
from hews_gpu.data.readers.files import (
    LOOK_ROWS,
    IncidentFile,
    first_texts,
    incident_files,
    require_unchanged,
    with_digests,
)
from hews_gpu.data.readers.schemas import ReadSettings, require_targets
from hews_gpu.data.readers.time_reading import hint_of_hours, quietest_hour, usual_quiet_hours, why_no_time
from hews_gpu.data.resolution import require_windows, resolution_of, share_at_one_time
from hews_gpu.data.windows import split_windows
from hews_gpu.errors import UserError, did_you_mean
from hews_gpu.files import new_folder, write_json
from hews_gpu.units import MINUTE_S
from hews_gpu.work_folder import code_digest, open_work_folder, read_object, write_object
from hews_gpu.workers import Opener, in_this_process

if TYPE_CHECKING:
    from geopandas import GeoDataFrame

__all__ = ["Cut", "prepare", "prepare_layer"]

MANY = 8  # values in one sentence
ROWS_OF_A_CORNER = 1000  # so many at one point, and none elsewhere, are no city's


@dataclass(frozen=True, kw_only=True)
class Cut:
    """How the work is cut; the result does not depend on it."""

    block_rows: int = ReadSettings.block_rows
    bucket_rows: int = BUCKET_ROWS
    chunk_bytes: int = ReadSettings.chunk_bytes
    partition_bytes: int | None = None
    """Text of one partition, at most; None: as suits the table."""


def prepare(
    city: CityConfig,
    out: Path,
    *,
    force: bool = False,
    resume: bool = False,
    score_only: bool = False,
    cut: Cut | None = None,
    workers: Opener = in_this_process,
) -> dict[str, Any]:
    """Read, clean, place, mark and sort the incidents of a city, and each of its layers.

    Args:
        city: the city.
        out: the PREPARED folder to make: incidents.parquet, quarantine.parquet, charts_only.parquet,
            neighborhoods.parquet, quality.json, city.toml (and truth.npz of a synthetic city); of each layer the first
            three and quality.json in `layers/NAME`.
        force: replace an older one.
        resume: use the partitions that a run which was cut off has left, if it read the same bytes with the same code.
        score_only: nothing is to be trained or judged on the table, so that the splits may lie anywhere.
        cut: how the work is cut; for tests.
        workers: who does the partitions.

    Returns:
        The content of quality.json.

    Raises:
        UserError: something is wrong with the files, the polygons or the city's settings.
    """
    started = time.perf_counter()
    cut = cut or Cut()
    for name in () if score_only else SPLITS:
        split_windows(city, name, NEAR_TWIN.within_s)
    from_out = os.path.relpath(city.path.absolute(), out.absolute())  # both may move, as a demo's folder does
    notes: dict[str, Any] = {"city": city.city.name, "city_file": from_out}
    with new_folder(out, kind="prepared", force=force, notes=notes) as folder:
        files = with_digests(incident_files(city))
        layers = [(layer, _files_of_layer(city, layer)) for layer in city.layers]
        read = [*files, *(file for _, its in layers for file in its)]
        neighborhoods = load_neighborhoods(city)
        about, is_long = _about(city, read, neighborhoods, cut), resume or workers is not in_this_process
        with open_work_folder(out, about, resume=resume, keep=is_long) as work, _ctrl_c_is_heard():
            quality = _build_tables(city, folder, work, files, neighborhoods, cut, workers, score_only)
            for layer, its in layers:
                _build_layer(city, layer, folder, work, its, neighborhoods, cut, workers)
                with layer.named():
                    incidents_s = load_events(folder).time_s
                    check_layer(load_layer(folder, layer), incidents_s, None if score_only else city.splits)
            require_unchanged(read)
        neighborhoods.to_parquet(folder / "neighborhoods.parquet")
        _copy_inputs(city, folder)
        quality["seconds"] = round(time.perf_counter() - started, 3)
        quality["peak_memory_bytes"] = progress.peak_memory_bytes()
        write_json(folder / "quality.json", quality)
    return quality


@contextmanager
def _ctrl_c_is_heard() -> Iterator[None]:
    """Keep Arrow's parser from taking SIGINT over: one that arrives just as it hands it back is lost (1 of 20 was)."""
    pa.enable_signal_handlers(False)
    try:
        yield
    finally:
        pa.enable_signal_handlers(True)


def _about(city: CityConfig, files: Sequence[IncidentFile], neighborhoods: GeoDataFrame, cut: Cut) -> dict[str, Any]:
    """Return what the partitions depend on: if any of it has changed, those of an older run are of no use.

    Files count by their bytes: another content of the same size may well bear the same date.
    """
    outlines = hashlib.sha256("\n".join(neighborhoods["name"]).encode())
    for outline in neighborhoods.geometry.to_wkb():
        outlines.update(outline)
    states = [[str(file.path), file.sha256] for file in files]
    own = hashlib.sha256(city.path.read_bytes()).hexdigest()
    about = {"files": states, "neighborhoods": outlines.hexdigest(), "city": own, "cut": asdict(cut)}
    return {"code": code_digest(), **about}


def _of_layer(city: CityConfig, layer: LayerConfig) -> CityConfig:
    """Return a city whose incidents are the rows of a layer."""
    return replace(city, incidents=layer, layers=(), channels=ChannelsConfig())


def _files_of_layer(city: CityConfig, layer: LayerConfig) -> list[IncidentFile]:
    """Return the files of a layer."""
    with layer.named():
        return with_digests(incident_files(_of_layer(city, layer)))


def _build_layer(
    city: CityConfig,
    layer: LayerConfig,
    folder: Path,
    work: Path,
    files: Sequence[IncidentFile],
    neighborhoods: GeoDataFrame,
    cut: Cut,
    workers: Opener,
) -> None:
    """Do all passes of a layer of a city; errors as for incidents."""
    with layer.named():
        progress.log(f"layer {layer.name}:")
        own, own_work = folder / LAYERS / layer.name, work / layer.name
        own.mkdir(parents=True)
        own_work.mkdir(mode=0o700, exist_ok=True)
        if layer.citywide:
            prepare_citywide(city, layer, files, own)
        else:
            its = _of_layer(city, layer)
            quality = _build_tables(its, own, own_work, files, neighborhoods, cut, workers, score_only=True)
            write_json(own / QUALITY, quality)


def prepare_layer(city: CityConfig, layer: LayerConfig, out: Path) -> None:
    """Read, clean, place and sort the rows of one layer alone, into `out/layers/NAME`.

    Raises:
        UserError: something is wrong with its files or settings.
    """
    files, work = _files_of_layer(city, layer), out / "work"
    work.mkdir(parents=True)
    with _ctrl_c_is_heard():
        _build_layer(city, layer, out, work, files, load_neighborhoods(city), Cut(), in_this_process)


def _build_tables(
    city: CityConfig,
    folder: Path,
    work: Path,
    files: Sequence[IncidentFile],
    neighborhoods: GeoDataFrame,
    cut: Cut,
    workers: Opener,
    score_only: bool,
) -> dict[str, Any]:
    """Do all passes, and return the content of quality.json but for costs."""
    incidents, names = city.incidents, neighborhoods["name"].tolist()
    doubts = doubts_of_fetches(files, city.resolve(city.neighborhoods.file))
    leave_out_damaged = incidents.damaged_files == "quarantine"
    settings = ReadSettings(
        schema=incidents.schema,
        mapped=dict(incidents.columns),
        targets=tuple(rule.column for rule in incidents.target),
        times=incidents.times,
        timezone=city.city.timezone,
        is_layer=isinstance(incidents, LayerConfig),
        block_rows=cut.block_rows,
        chunk_bytes=cut.chunk_bytes,
    )
    if not (work / "plan").is_file():
        most_bytes = cut.partition_bytes
        made = plan_partitions(files, settings, work, most_bytes=most_bytes, leave_out_damaged=leave_out_damaged)
        write_object(work / "plan", made)
    plan: PartitionPlan = read_object(work / "plan")  # as an earlier run has left it where there is one
    tables = [part.columns for partition in plan.partitions for part in partition]
    if all(tables):  # else they are known only once they are read
        require_targets([columns for columns in tables if columns], settings.targets)
    with workers(plan.rows, work) as team:
        job = CleanJob(
            plan=plan,
            settings=settings,
            rules=_rules(city, neighborhoods, plan.rows, team.backend),
            backend=team.backend,
            leave_out_damaged=leave_out_damaged,
        )
        table = clean_table(work, job, team)
        require_targets([file.columns for file in table.files if file.columns], settings.targets)
        _require_usable(city, table, neighborhoods)
        if not isinstance(incidents, LayerConfig):
            require_windows(city, table.tally.minutes)
        texts = {part.file.number: part.path for partition in plan.partitions for part in partition}
        doubts += doubts_of_files(table.files, texts, table.texts.noticed)
        tally = table.tally
        coverage = coverage_of(sum(tally.days.values(), Counter()), tally.target_days, tally.category_months)
        if not score_only and table.tally.kept >= FEW:
            require_covered(city.splits, coverage)
        newest = not isinstance(incidents, LayerConfig)  # what a layer said first was known first
        duplicates, span_s = sort_table(folder, work, table, names, team, cut.bucket_rows, newest_message=newest)
    quality = quality_report(table.tally, table.texts, duplicates, table.files, names, span_s)
    quality |= {**_of_inputs(table, neighborhoods), "times": _of_times(city, table, neighborhoods)}
    quality |= {"coverage": coverage.described(), DOUBTS: doubts}
    quality["warnings"] = quality_warnings(quality, city, table.tally, table.texts, table.files)
    for warning in quality["warnings"]:
        progress.log(f"warning: {warning}")
    return quality


def _rules(city: CityConfig, neighborhoods: GeoDataFrame, rows: int, backend: Backend) -> Rules:
    incidents = city.incidents
    known = frozenset(map(normal_category, incidents.categories))
    named = city.neighborhoods.engine
    engine = engine_for(rows, on_device=backend == "cudf") if named == "auto" else named
    if named != "auto":
        require_engine(engine)
    progress.log(f"points in polygons: {engine} ({'as requested' if named != 'auto' else f'for {rows:,} rows'})")
    return Rules(
        areas=areas_of(neighborhoods),
        tolerance_m=city.neighborhoods.tolerance_m,
        targets=frozenset(incidents.targets),
        marks={rule.column: frozenset(rule.values) for rule in incidents.target},
        known=known if incidents.unknown_categories == "quarantine" else None,
        says_known="known" in incidents.columns,
        names={normal_category(name): i for i, name in enumerate(neighborhoods["name"])},
        inner=neighborhoods.geometry.representative_point().get_coordinates().to_numpy(),
        engine=engine,
    )


def _require_usable(city: CityConfig, table: CleanedTable, neighborhoods: GeoDataFrame) -> None:
    """Refuse a table of which nothing is left, or in which there is nothing to warn of; say why that may be."""
    tally = table.tally
    _require_targets(city.incidents, tally.by(lambda kind: kind.category), table.texts.marking)
    reasons = tally.by(lambda kind: kind.reason)
    if reasons[OUT] and reasons[OUT] == tally.located:
        raise _no_overlap(tally, reasons[OUT], neighborhoods, is_latitude_first(neighborhoods, city.city.timezone))
    if not reasons[0]:
        most = ", ".join(f"{REASONS[code]}: {n}" for code, n in reasons.most_common(3))
        allowed = f"none of the {tally.rows} rows can be used ({most}){_why_no_times(table.files[0])}"
        raise UserError("[incidents] files", allowed=allowed, remedy="Check the files and [incidents.columns]")
    if len(tally.corners) == 1 and reasons[0] >= ROWS_OF_A_CORNER:
        ((x, y),) = tally.corners
        allowed = f"all {reasons[0]} rows lie at one point, longitude {x:.6g}, latitude {y:.6g}"
        raise UserError("[incidents] files", allowed=allowed, remedy="Check the files and [incidents.columns]")


def _require_targets(incidents: IncidentsConfig, categories: Counter[str], marking: Mapping[str, Counter[str]]) -> None:
    """Refuse a table in which no row is a target; name each category and column that marks none."""
    absent = {name: did_you_mean(name, filter(None, categories)) for name in incidents.targets if not categories[name]}
    for rule in incidents.target:
        there = marking.get(rule.column, Counter())
        if not any(there[value] for value in rule.values):
            shown = ", ".join(f"'{value}'" for value, _ in there.most_common(MANY))
            absent[rule.name] = f"The column holds {shown}" + (", ..." if len(there) > MANY else "")
    if absent and len(absent) == len(incidents.targets) + len(incidents.target):
        field = "[incidents] targets" if incidents.targets else "[[incidents.target]] values"
        raise UserError(field, [*absent], allowed="no row is such a target", remedy=next(iter(absent.values())))
    for name in absent:
        progress.log(f"warning: no row has the target {name}")


def _why_no_times(file: IncidentFile) -> str:
    """Return what is wrong with the times of a file, if that is known, to go on in a sentence."""
    roles = {} if file.columns is None else file.columns.roles
    chosen = {role: roles[role] for role in ("time", "date") if role in roles}
    texts = first_texts(file.path, file.name, lambda _: chosen, ReadSettings(block_rows=LOOK_ROWS))
    return next((f": the {role} column {why}" for role in texts if (why := why_no_time(texts[role]))), "")


def _no_overlap(
    tally: RowTally, outside: int, neighborhoods: GeoDataFrame, are_polygons_swapped: bool | None
) -> UserError:
    """Return what to say when every row lies outside every polygon."""
    west, south, east, north = neighborhoods.total_bounds
    remedy = "Check that both files are of the same city"
    if tally.swapped > outside / 2:
        remedy = {
            True: "The polygons seem to be in the order latitude, longitude: save them with longitude first",
            False: "Longitude and latitude seem to be swapped: exchange them under [incidents.columns]",
            None: "Longitude and latitude seem to be swapped, either in the polygons or in the incidents' columns",
        }[are_polygons_swapped]
    elif tally.not_degrees > outside / 2:
        remedy = "The incidents' coordinates seem to be meters or feet; longitude and latitude in degrees are needed"
    x, y = tally.outside[0]
    allowed = (
        f"no incident lies in any polygon: {outside} rows, such as longitude {x:.6g}, latitude {y:.6g}, "
        f"but the polygons span longitude {west:.4f} to {east:.4f}, latitude {south:.4f} to {north:.4f}"
    )
    return UserError("[neighborhoods] file", allowed=allowed, remedy=remedy)


def _of_inputs(table: CleanedTable, neighborhoods: GeoDataFrame) -> dict[str, Any]:
    """Return what quality.json says of polygons and files."""
    about = [(file, {"name": file.name, "bytes": file.bytes, "sha256": file.sha256}) for file in table.files]
    return {
        "repaired_neighborhoods": neighborhoods.loc[neighborhoods["was_repaired"], "name"].tolist(),
        "overlapping_neighborhoods": [list(pair) for pair in overlapping(neighborhoods)],
        "files": [
            {
                **entry,
                "rows": file.rows,
                "schema": file.columns.schema,
                "person_level_columns_dropped": file.columns.person_level,
            }
            for file, entry in about
            if file.columns is not None
        ],
        "files_quarantined": [
            {**entry, "why": table.damaged[file.number]} for file, entry in about if file.columns is None
        ],
    }


def _of_times(city: CityConfig, table: CleanedTable, neighborhoods: GeoDataFrame) -> dict[str, Any]:
    """Return how the times were read, and what quality.json says of how they are written."""
    minutes = table.tally.minutes
    readings = {file.columns.reading for file in table.files if file.columns is not None}
    zones = sorted({reading.zone for reading in readings if reading.zone})
    by_hour = minutes.sum(axis=0).reshape(24, -1).sum(axis=1)
    west, _, east, _ = neighborhoods.total_bounds
    usual = usual_quiet_hours(table.tally.categories)
    resolution = resolution_of(minutes)
    share, clock, of = share_at_one_time(minutes)
    for zone in zones:
        progress.log(f"times: those of {zone} are converted to {city.city.timezone}, unless they carry a zone")
    if any(reading.is_hours for reading in readings):
        progress.log("times: a column of times of day holds whole hours, 0 to 23, and is read so")
    return {
        "converted_from": zones,
        "resolution_s": MINUTE_S if resolution is None else resolution.step_s,
        "most_at_one_time": {"time": clock, "share": share, "of": of},
        "quietest_hour": quietest_hour(by_hour),
        "seem_to_be": hint_of_hours(by_hour, float(west + east) / 2, usual) or None,
    }


def _copy_inputs(city: CityConfig, folder: Path) -> None:
    """Copy the city's own file, and the truth of a synthetic one."""
    shutil.copyfile(city.path, folder / "city.toml")
    if city.synthetic is not None:
        truth = city.resolve(city.synthetic.truth)
        if not truth.is_file():
            remedy = "Remove the section or the typo"
            raise UserError("[synthetic] truth", truth, allowed="does not exist", remedy=remedy)
        shutil.copyfile(truth, folder / "truth.npz")
