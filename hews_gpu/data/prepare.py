"""`hews prepare`: incident files and polygons to one clean table sorted by time, with every input row accounted for.

The files are read once, block by block, as text. Dask turns each block into a cleaned partition on disk; a second pass
brings the partitions into order of time and adds the marks. Memory is bounded by the size of a block and of a bucket,
not of the table, and the result does not depend on either.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dask.config
import dask.dataframe as dd
import numpy as np
import pandas as pd
import pyarrow as pa
from dask.base import compute
from dask.delayed import delayed

from hews_gpu import progress
from hews_gpu.config import CityConfig, normal_category
from hews_gpu.data import leaks, quality, steps, tables, texts
from hews_gpu.data.clean import OUT, REASONS, Rules, block_frame, clean, load_block
from hews_gpu.data.findings import warnings_of
from hews_gpu.data.polygons import engine_for, load_neighborhoods, overlapping
from hews_gpu.data.quality import Tally
from hews_gpu.data.read import BLOCK_ROWS, Source, incident_files, read_sources
from hews_gpu.data.schemas import vocabulary_of
from hews_gpu.data.tables import BUCKET_ROWS, INCIDENTS, QUARANTINE, Parts
from hews_gpu.data.texts import TextTally
from hews_gpu.errors import UserError, did_you_mean
from hews_gpu.output import new_folder, write_json

if TYPE_CHECKING:
    from geopandas import GeoDataFrame

__all__ = ["prepare"]

PAGE = re.compile(r"(.+)-\d{5}(\.[a-z.]+)")
MAX_WORKERS = 4  # each holds one block; more would trade the memory bound for little time


@dataclass(frozen=True, kw_only=True)
class Cut:
    """How the work is cut; the result does not depend on it."""

    block_rows: int = BLOCK_ROWS
    bucket_rows: int = BUCKET_ROWS
    chunk_bytes: int | None = None


def prepare(city: CityConfig, out: Path, *, force: bool = False, cut: Cut | None = None) -> dict[str, Any]:
    """Read, clean, place, mark and sort the incidents of a city.

    Args:
        city: the city.
        out: the PREPARED folder to make: incidents.parquet, quarantine.parquet, charts_only.parquet,
            neighborhoods.parquet, quality.json, city.toml (and truth.npz of a synthetic city).
        force: replace an older one.
        cut: how the work is cut; for tests.

    Returns:
        The content of quality.json.

    Raises:
        UserError: something is wrong with the files, the polygons or the city's settings.
    """
    started = time.perf_counter()
    notes: dict[str, Any] = {"city": city.city.name}
    with new_folder(out, kind="prepared", force=force, notes=notes) as folder:
        sources = incident_files(city)
        neighborhoods = load_neighborhoods(city)
        with tempfile.TemporaryDirectory(dir=folder, prefix=".scratch-") as scratch:
            result = _build(city, folder, Path(scratch), sources, neighborhoods, cut or Cut())
        neighborhoods.to_parquet(folder / "neighborhoods.parquet")
        _copy(city, folder)
        result["seconds"] = round(time.perf_counter() - started, 3)
        result["peak_memory_bytes"] = progress.peak_memory_bytes()
        write_json(folder / "quality.json", result)
    return result


def _build(
    city: CityConfig, folder: Path, scratch: Path, sources: list[Source], neighborhoods: GeoDataFrame, cut: Cut
) -> dict[str, Any]:
    """Both passes; returns the summary."""
    blocks = read_sources(city, sources, scratch, cut.block_rows, cut.chunk_bytes)
    charts = list(dict.fromkeys(name for source in sources for name in source.charts_only))
    rules = _rules(city, neighborhoods, rows=sum(source.rows for source in sources))
    counts, found, parts = _clean_blocks(blocks, charts, sources, rules, scratch)
    _require_sense(city, counts, neighborhoods)
    tables.write_parts(folder / "quarantine.parquet", QUARANTINE, [part.quarantine for part in parts])
    tables.write_parts(folder / "charts_only.parquet", tables.charts_schema(charts), [part.charts for part in parts])
    labels = neighborhoods["name"].tolist()
    marks = _write_incidents(folder / "incidents.parquet", counts, [p.events for p in parts], labels, sources, cut)
    monthly = quality.monthly_events(counts, marks, sorted(counts.categories))
    result = {
        **quality.summary(counts, marks, labels),
        **marks.summary(),
        "overlapping_files": quality.overlapping_files(counts, marks, sources, sorted(counts.categories)),
        "vocabulary_changes": quality.vocabulary(counts, sources),
        "volume_steps": {"rule": steps.RULE, "found": steps.volume_steps(*monthly)},
        "label_information": leaks.report(found.columns, _first_files(sources)),
        "missing": _missing(sources),
        "missing_by_month": texts.missing_by_month(found),
        "repaired_neighborhoods": neighborhoods.loc[neighborhoods["was_repaired"], "name"].tolist(),
        "overlapping_neighborhoods": [list(pair) for pair in overlapping(neighborhoods)],
        "files": [_about(source) for source in sources],
    }
    result["warnings"] = warnings_of(result, city, counts, found, sources)
    for warning in result["warnings"]:
        progress.log(f"warning: {warning}")
    return result


def _layouts(sources: list[Source]) -> list[int]:
    """Number of the layout of each source, in the order of the files."""
    layouts = list(dict.fromkeys(source.layout for source in sources))
    return [layouts.index(source.layout) for source in sources]


def _downloads(sources: list[Source]) -> list[int]:
    """Number of the download of each source, in the order of the files.

    Files of one folder that are named as `hews fetch` names pages (incidents-00001.csv, incidents-00002.csv) are one
    download: no page repeats another's rows, so that equal rows of two pages are two entries, such as two victims. Any
    other file is a download of its own, however it was named in the city's file: the glob that finds the pages of one
    table finds yearly or older copies of it as well. Should it be a page after all, then only an event whose rows are
    equal in every word and end up in two files is counted too low; the other mistake would count whole files twice.
    """
    names = []
    for source in sources:
        page = PAGE.fullmatch(source.path.name)
        names.append(str(source.path) if page is None else str(source.path.with_name(page[1] + page[2])))
    first = list(dict.fromkeys(names))
    return [first.index(name) for name in names]


def _rules(city: CityConfig, neighborhoods: GeoDataFrame, *, rows: int) -> Rules:
    incidents = city.incidents
    known = frozenset(map(normal_category, incidents.categories))
    return Rules(
        neighborhoods=neighborhoods,
        tolerance_m=city.neighborhoods.tolerance_m,
        targets=frozenset(map(normal_category, incidents.targets)),
        known=known if incidents.unknown_categories == "quarantine" else None,
        engine=engine_for(rows),
    )


@contextmanager
def _threads() -> Iterator[None]:
    """Dask on a few threads that have all ended when the block ends, also after Ctrl-C: none writes on afterwards."""
    workers = min(MAX_WORKERS, os.cpu_count() or 1)
    with ThreadPoolExecutor(workers) as pool, dask.config.set(scheduler="threads", pool=pool):
        yield


def _clean_blocks(
    blocks: list[Path],
    charts: list[str],
    sources: list[Source],
    rules: Rules,
    scratch: Path,
) -> tuple[Tally, TextTally, list[Parts]]:
    """First pass: every block becomes a cleaned partition on disk, and is counted."""
    bounds = rules.neighborhoods.total_bounds
    names, layouts = [source.name for source in sources], _layouts(sources)
    vocabularies = [vocabulary_of(source.schema) for source in sources]
    meta = block_frame(
        pa.table({name: pa.array([], pa.int64()) for name in ("source", "row_id", "line", "problem")}), charts
    )
    frames = dd.from_map(
        load_block, blocks, charts=charts, vocabularies=vocabularies, meta=meta, enforce_metadata=False
    )
    cleaned = frames.map_partitions(clean, rules, meta=clean(meta, rules), enforce_metadata=False)
    with progress.step("cleaning", len(blocks), "blocks") as bar:

        def settle(frame: pd.DataFrame, number: int) -> tuple[Tally, TextTally, Parts]:
            with pa.memory_map(str(blocks[number])) as file:
                of_texts = texts.tally_texts(pa.ipc.open_file(file).read_all(), frame, charts, layouts)
            found = quality.tally(frame, bounds), of_texts, tables.spill(frame, scratch, number, names, charts)
            blocks[number].unlink()
            bar.advance()
            return found

        tasks = [delayed(settle)(part, number) for number, part in enumerate(cleaned.to_delayed())]
        with _threads():
            done = compute(*tasks)
    total, total_texts = Tally(), TextTally()
    for counts, of_texts, _ in done:
        total += counts
        total_texts += of_texts
    return total, total_texts, [parts for *_, parts in done]


def _write_incidents(
    path: Path, counts: Tally, parts: list[Path], neighborhoods: list[str], sources: list[Source], cut: Cut
) -> quality.Marks:
    """Second pass: bucket after bucket in order of time, marked and written; returns counts of the marks."""
    categories = sorted(counts.categories)
    files = tables.Files(np.array(_layouts(sources)), np.array(_downloads(sources)))
    targets = tables.targets_of(parts, categories, files)
    meta = tables.empty_bucket()
    buckets = tables.buckets_of(counts.days, cut.bucket_rows)
    loaded = dd.from_map(
        tables.load_bucket, buckets, parts=parts, categories=categories, meta=meta, enforce_metadata=False
    )
    meta = tables.finish(meta, targets, files)
    finished = loaded.map_partitions(tables.finish, targets, files, meta=meta, enforce_metadata=False)
    marks = quality.Marks(rows_of=[source.rows for source in sources])
    names = [source.name for source in sources]

    def written() -> Iterator[pa.Table]:
        for part in finished.to_delayed():
            frame = part.compute(scheduler="synchronous")
            marks.add(frame)
            bar.advance(len(frame))
            yield tables.incidents_table(frame, categories, neighborhoods, names)

    with progress.step("sorting", counts.reasons[0], "rows") as bar:
        tables.write(path, INCIDENTS, written())
    return marks


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
        remedy = "The incidents' coordinates seem to be metres or feet; longitude and latitude in degrees are needed"
    x, y = counts.outside_example or (0.0, 0.0)
    allowed = (
        f"no incident lies in any polygon: {outside} rows, such as longitude {x:.6g}, latitude {y:.6g}, "
        f"but the polygons span longitude {west:.4f} to {east:.4f}, latitude {south:.4f} to {north:.4f}"
    )
    return UserError("[neighborhoods] file", allowed=allowed, remedy=remedy)


def _first_files(sources: list[Source]) -> list[str]:
    """Name of the first file of each layout."""
    layouts = _layouts(sources)
    return [sources[layouts.index(number)].name for number in sorted(set(layouts))]


def _missing(sources: list[Source]) -> dict[str, int]:
    """Column -> rows in which it is blank or could not be read, over all files."""
    columns = dict.fromkeys(name for source in sources for name in source.blank)
    return {name: sum(source.blank[name] for source in sources) for name in columns}


def _about(source: Source) -> dict[str, Any]:
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
