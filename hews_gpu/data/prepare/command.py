"""`hews prepare`: incident files and polygons to one clean table sorted by time, with every input row accounted for.

A first, cheap pass counts the records and cuts the files into pieces. Then two passes of partitions, by threads of this
process or by the workers of a cluster: each piece is read, cleaned and left sorted by time; each stretch of time is
gathered from all pieces, marked and written. Memory is that of a few pieces and stretches and grows far more slowly
than the table; the result depends neither on them nor on who did the work.
"""

from __future__ import annotations

import hashlib
import shutil
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hews_gpu import progress
from hews_gpu.config import CityConfig, normal_category
from hews_gpu.data.geometry.point_in_polygon import engine_for, require_engine
from hews_gpu.data.geometry.polygons import areas_of, load_neighborhoods, overlapping
from hews_gpu.data.prepare import steps
from hews_gpu.data.prepare.backend import Backend
from hews_gpu.data.prepare.clean import OUT, REASONS, Rules
from hews_gpu.data.prepare.partitions import Plan, make_plan
from hews_gpu.data.prepare.passes import Table, build_tables, first_files
from hews_gpu.data.prepare.sort import BUCKET_ROWS
from hews_gpu.data.prepare.stages import CleanJob
from hews_gpu.data.prepare.workdir import open_work, recall, save
from hews_gpu.data.quality import label_information as leaks
from hews_gpu.data.quality import tallies as quality
from hews_gpu.data.quality import text_statistics as texts
from hews_gpu.data.quality.quality_warnings import warnings_of
from hews_gpu.data.quality.tallies import Marks, Tally
from hews_gpu.data.readers.files import BLOCK_ROWS, Reading, Source, ctrl_c_is_heard, incident_files
from hews_gpu.data.readers.records import CHUNK_BYTES
from hews_gpu.errors import UserError, did_you_mean
from hews_gpu.files import new_folder, write_json
from hews_gpu.workers import Opener, in_this_process

if TYPE_CHECKING:
    from geopandas import GeoDataFrame

__all__ = ["Cut", "prepare"]


@dataclass(frozen=True, kw_only=True)
class Cut:
    """How the work is cut; the result does not depend on it."""

    block_rows: int = BLOCK_ROWS
    bucket_rows: int = BUCKET_ROWS
    chunk_bytes: int = CHUNK_BYTES
    piece_bytes: int | None = None
    """Text of one piece, at most; None: as suits the table."""


def prepare(
    city: CityConfig,
    out: Path,
    *,
    force: bool = False,
    resume: bool = False,
    cut: Cut | None = None,
    workers: Opener = in_this_process,
) -> dict[str, Any]:
    """Read, clean, place, mark and sort the incidents of a city.

    Args:
        city: the city.
        out: the PREPARED folder to make: incidents.parquet, quarantine.parquet, charts_only.parquet,
            neighborhoods.parquet, quality.json, city.toml (and truth.npz of a synthetic city).
        force: replace an older one.
        resume: use the partitions that a run which was cut off has left.
        cut: how the work is cut; for tests.
        workers: who does the partitions.

    Returns:
        The content of quality.json.

    Raises:
        UserError: something is wrong with the files, the polygons or the city's settings.
    """
    started = time.perf_counter()
    cut = cut or Cut()
    notes: dict[str, Any] = {"city": city.city.name}
    with new_folder(out, kind="prepared", force=force, notes=notes) as folder:
        sources = incident_files(city)
        neighborhoods = load_neighborhoods(city)
        is_long = resume or workers is not in_this_process
        with open_work(out, _about(city, sources, cut), resume=resume, keep=is_long) as work:
            result = _build(city, folder, work, sources, neighborhoods, cut, workers)
        neighborhoods.to_parquet(folder / "neighborhoods.parquet")
        _copy(city, folder)
        result["seconds"] = round(time.perf_counter() - started, 3)
        result["peak_memory_bytes"] = progress.peak_memory_bytes()
        write_json(folder / "quality.json", result)
    return result


def _about(city: CityConfig, sources: list[Source], cut: Cut) -> dict[str, Any]:
    """What the partitions depend on: if any of it has changed, those of an older run are of no use."""
    from hews_gpu import __version__

    files = [*(source.path for source in sources), city.resolve(city.neighborhoods.file), city.path]
    seen = [[str(path), path.stat().st_size, path.stat().st_mtime_ns] for path in files]
    code = hashlib.sha256(b"".join(path.read_bytes() for path in sorted(Path(__file__).parents[1].rglob("*.py"))))
    return {"version": __version__, "code": code.hexdigest(), "files": seen, "cut": asdict(cut)}


def _build(
    city: CityConfig,
    folder: Path,
    work: Path,
    sources: list[Source],
    neighborhoods: GeoDataFrame,
    cut: Cut,
    workers: Opener,
) -> dict[str, Any]:
    """All passes; returns the summary."""
    labels = neighborhoods["name"].tolist()

    def check(counts: Tally) -> None:
        _require_sense(city, counts, neighborhoods)

    with ctrl_c_is_heard():
        how = _reading(city, cut)
        plan = _planned(work, sources, how, cut, leave_out_damaged=city.incidents.damaged_files == "quarantine")
        with workers(plan.rows, work) as team:
            job = CleanJob(
                pieces=plan.pieces,
                paths=[source.path for source in sources],
                names=[source.name for source in sources],
                how=how,
                rules=_rules(city, neighborhoods, plan.rows, team.backend),
                backend=team.backend,
                leave_out_damaged=city.incidents.damaged_files == "quarantine",
            )
            table, marks = build_tables(
                *(folder, work, job, plan, sources, team),
                neighborhoods=labels,
                check=check,
                bucket_rows=cut.bucket_rows,
            )
    result = _summary(table, marks, plan, neighborhoods)
    result["warnings"] = warnings_of(result, city, table.counts, table.of_texts, sources)
    for warning in result["warnings"]:
        progress.log(f"warning: {warning}")
    return result


def _reading(city: CityConfig, cut: Cut) -> Reading:
    incidents = city.incidents
    return Reading(
        schema=incidents.schema,
        mapped=dict(incidents.columns),
        block_rows=cut.block_rows,
        chunk_bytes=cut.chunk_bytes,
    )


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
        targets=frozenset(map(normal_category, incidents.targets)),
        known=known if incidents.unknown_categories == "quarantine" else None,
        engine=engine,
    )


def _planned(work: Path, sources: list[Source], how: Reading, cut: Cut, *, leave_out_damaged: bool) -> Plan:
    """How the files are cut; as an earlier run has left it where there is one."""
    path = work / "plan"
    if not path.is_file():
        made = make_plan(sources, how, work, piece_bytes=cut.piece_bytes, leave_out_damaged=leave_out_damaged)
        save(path, (made, [(source.bytes, source.sha256) for source in sources]))
    plan: Plan
    plan, known = recall(path)
    for source, (size, digest) in zip(sources, known, strict=True):
        source.bytes, source.sha256 = size, digest
    return plan


def _summary(table: Table, marks: Marks, plan: Plan, neighborhoods: GeoDataFrame) -> dict[str, Any]:
    """The content of quality.json but for warnings and costs."""
    counts, sources = table.counts, table.sources
    monthly = quality.monthly_events(counts, marks, table.categories)
    return {
        **quality.summary(counts, marks, neighborhoods["name"].tolist()),
        **marks.summary(),
        "overlapping_files": quality.overlapping_files(counts, marks, sources, table.categories),
        "vocabulary_changes": quality.vocabulary(counts, sources),
        "volume_steps": {"rule": steps.RULE, "found": steps.volume_steps(*monthly)},
        "label_information": leaks.report(table.of_texts.columns, first_files(sources)),
        "missing": _missing(sources),
        "missing_by_month": texts.missing_by_month(table.of_texts),
        "repaired_neighborhoods": neighborhoods.loc[neighborhoods["was_repaired"], "name"].tolist(),
        "overlapping_neighborhoods": [list(pair) for pair in overlapping(neighborhoods)],
        "files": [_about_file(source) for source in sources if source.number not in plan.damaged],
        "files_quarantined": [
            {"name": source.name, "bytes": source.bytes, "sha256": source.sha256, "why": plan.damaged[source.number]}
            for source in sources
            if source.number in plan.damaged
        ],
    }


def _require_sense(city: CityConfig, counts: Tally, neighborhoods: GeoDataFrame) -> None:
    """Refuse a table of which nothing is left, or in which there is nothing to warn of; say why that may be."""
    targets = {normal_category(name): name for name in city.incidents.targets}
    absent = [name for normal, name in targets.items() if not counts.all_categories[normal]]
    if len(absent) == len(targets):
        remedy = did_you_mean(normal_category(absent[0]), filter(None, counts.all_categories))
        raise UserError("[incidents] targets", absent, allowed="no row has such a category", remedy=remedy)
    for name in absent:
        progress.log(f"warning: no row has the target category '{name}'")
    if counts.reasons[OUT] and counts.reasons[OUT] == quality.located(counts):
        raise _no_overlap(counts, neighborhoods)
    if not counts.reasons[0]:
        reasons = ", ".join(f"{REASONS[code]}: {n}" for code, n in counts.reasons.most_common(3))
        allowed = f"none of the {counts.rows} rows can be used ({reasons})"
        raise UserError("[incidents] files", allowed=allowed, remedy="Check the files and [incidents.columns]")


def _no_overlap(counts: Tally, neighborhoods: GeoDataFrame) -> UserError:
    """What to say when every row lies outside every polygon."""
    west, south, east, north = neighborhoods.total_bounds
    outside = counts.reasons[OUT]
    remedy = "Check that both files are of the same city"
    if counts.swapped > outside / 2:
        remedy = "Longitude and latitude seem to be swapped: exchange them under [incidents.columns]"
    elif counts.not_degrees > outside / 2:
        remedy = "The incidents' coordinates seem to be meters or feet; longitude and latitude in degrees are needed"
    x, y = counts.outside_example or (0.0, 0.0)
    allowed = (
        f"no incident lies in any polygon: {outside} rows, such as longitude {x:.6g}, latitude {y:.6g}, "
        f"but the polygons span longitude {west:.4f} to {east:.4f}, latitude {south:.4f} to {north:.4f}"
    )
    return UserError("[neighborhoods] file", allowed=allowed, remedy=remedy)


def _missing(sources: list[Source]) -> dict[str, int]:
    """Column -> rows in which it is blank or could not be read, over all files."""
    columns = dict.fromkeys(name for source in sources for name in source.blank)
    return {name: sum(source.blank[name] for source in sources) for name in columns}


def _about_file(source: Source) -> dict[str, Any]:
    """One file, for quality.json."""
    return {
        "name": source.name,
        "bytes": source.bytes,
        "sha256": source.sha256,
        "rows": source.rows,
        "schema": source.schema,
        "person_level_columns_dropped": source.person_level_columns,
    }


def _copy(city: CityConfig, folder: Path) -> None:
    """The city's own file, and the truth of a synthetic one."""
    shutil.copyfile(city.path, folder / "city.toml")
    if city.synthetic is not None:
        truth = city.resolve(city.synthetic.truth)
        if not truth.is_file():
            raise UserError(
                "[synthetic] truth", truth, allowed="does not exist", remedy="Remove the section or the typo"
            )
        shutil.copyfile(truth, folder / "truth.npz")
