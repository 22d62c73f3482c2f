"""`hews groups`: group the victims of a span, say whether the groups are real, and write what was found.

Part 1 knows the crime table alone; part 2 has the census row of each victim's neighborhood joined in. This describes;
it forecasts nothing, and nothing that forecasts reads it.

Shapes: R rows, N neighborhoods.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from threadpoolctl import threadpool_limits

from hews_gpu.arrays import Float32, Float64, Int64
from hews_gpu.config import load_city
from hews_gpu.data.events import DOUBTS, Prepared, open_prepared
from hews_gpu.environment.device import probe
from hews_gpu.errors import UserError, did_you_mean
from hews_gpu.files import new_folder, read_manifest, require_free, write_json
from hews_gpu.groups import evidence
from hews_gpu.groups.assign import assign, merged
from hews_gpu.groups.census import Census, read_census
from hews_gpu.groups.encoding import EXPLAINED, columns_of, with_census
from hews_gpu.groups.engine import Engine, choose_engine
from hews_gpu.groups.profiles import profiles, sides
from hews_gpu.groups.victims import LEAST_GROUP, PLACE, Victims, read_victims, span_of
from hews_gpu.progress import log, peak_memory_bytes
from hews_gpu.units import KM_PER_DEGREE
from hews_gpu.workers import Opener, in_this_process

__all__ = ["GROUPS", "KIND", "GroupTask", "find_groups", "groups", "groups_in_words", "groups_table", "join_in_words"]

KIND, GROUPS, ROWS = "groups", "groups.json", "groups.parquet"
PARTS = (1, 2)
EMBEDDINGS = ("components", "umap")
DRAWN = 1_000  # points of the picture
JOIN = {
    "part_1": "Part 1, the crime table alone",
    "part_2": "Part 2, census columns joined in",
    "part_2_permuted": "Part 2, crime columns permuted within neighborhoods",
    "part_2_swapped": "Part 2, census rows swapped between neighborhoods",
}


def groups(
    source: Path,
    out: Path | None = None,
    *,
    part: int = 1,
    begin: str | None = None,
    end: str | None = None,
    census: Path | None = None,
    crosswalk: Path | None = None,
    embedding: str = "components",
    seed: int = 0,
    device: str = "auto",
    force: bool = False,
    workers: Opener = in_this_process,
) -> tuple[dict[str, Any], Path]:
    """Group the victims of a span of a city.

    Args:
        source: a folder made by ``hews prepare``, or a city file, which is prepared first unless it has been.
        out: folder for ``groups.json`` and ``groups.parquet``; ``groups-PART`` beside the prepared folder unless given.
        part: 1, the crime table alone; 2, with census columns of the neighborhoods.
        begin: first day; with `end` the last whole year that is covered and not locked, unless given.
        end: the day after the last.
        census: table of places, as `read_census` takes it.
        crosswalk: which place of it each neighborhood belongs to.
        embedding: what lays the picture out: components or umap.
        seed: of all that is drawn.
        device: auto, cpu or cuda.
        force: replace an older result.
        workers: who does the partitions.

    Returns:
        What ``groups.json`` holds, and the folder.

    Raises:
        UserError: an option is wrong, or the table or the census cannot be grouped.
    """
    started = time.perf_counter()
    _check_options(part, embedding, census, crosswalk)
    engine = choose_engine(device)
    prepared = _opened(source, workers)
    out = out or prepared.folder.parent / f"groups-{part}"
    require_free(out, kind=KIND, force=force)
    begin_s, end_s = span_of(prepared, begin, end)
    victims = read_victims(prepared, begin_s, end_s)
    log(f"{len(victims):,} rows, {_day(begin_s)} to {_day(end_s - 1)}; {engine.name}")
    places = read_census(prepared, victims.codes[PLACE], census, crosswalk) if part == 2 else None
    if places is not None and places.missed:
        victims = victims.take(np.flatnonzero(places.is_known[victims.codes[PLACE]]))
        if len(np.unique(victims.codes[PLACE])) < 2:
            raise UserError(
                "--census", census, allowed="knows no two neighborhoods with rows", remedy="Give another table"
            )
    notes: dict[str, Any] = dict(prepared.origin)
    with new_folder(out, kind=KIND, force=force, notes=notes) as folder, threadpool_limits(1):  # sums in one order
        work = folder / "work"
        work.mkdir()
        task = GroupTask(engine, seed, workers, work, embedding)
        result, labels, plane = find_groups(victims, places, _middles_km(prepared), task)
        shutil.rmtree(work)
        rows = {"row_id": victims.row_id, "group": (labels + 1).astype(np.int8)}
        rows |= {"component_1": plane[:, 0], "component_2": plane[:, 1]}
        pq.write_table(pa.table(rows), folder / ROWS)
        content = {
            **{"kind": KIND, "city": prepared.city.city.name, "part": part},
            **{"begin": _day(begin_s), "end": _day(end_s), "data_fingerprint": prepared.fingerprint},
            **result,
            **({DOUBTS: prepared.doubts} if prepared.doubts else {}),
        }
        write_json(folder / GROUPS, content)
        notes |= {"seconds": round(time.perf_counter() - started, 1), "peak_memory_bytes": peak_memory_bytes()}
    return content, out


def _check_options(part: int, embedding: str, census: Path | None, crosswalk: Path | None) -> None:
    """Refuse options that are wrong, or of no use together."""
    if part not in PARTS:
        raise UserError("--part", part, allowed="must be 1 or 2")
    if embedding not in EMBEDDINGS:
        raise UserError("--embedding", embedding, allowed="is not known", remedy=did_you_mean(embedding, EMBEDDINGS))
    if embedding == "umap" and not (there := probe("umap")).works:
        remedy = "Leave it out, or pip install umap-learn"
        raise UserError("--embedding", embedding, allowed=f"does not work here: {there.why}", remedy=remedy)
    for name, file in (("--census", census), ("--crosswalk", crosswalk)):
        if part == 1 and file is not None:
            raise UserError(name, file, allowed="is for --part 2", remedy="Leave it out, or give --part 2")


@dataclass(frozen=True)
class GroupTask:
    """How rows are grouped."""

    engine: Engine
    seed: int
    workers: Opener
    work: Path
    """An empty folder that all workers see."""
    embedding: str = "components"


def find_groups(
    victims: Victims, census: Census | None, middles_km: Float64, task: GroupTask
) -> tuple[dict[str, Any], Int64, Float32]:
    """Return what was found, the group [R] of each row, and its first two components [R, 2]."""
    seed, columns = task.seed, columns_of(victims, middles_km)
    chosen = np.sort(np.random.default_rng((seed, 0)).permutation(len(victims))[: evidence.SAMPLE])
    sample = {name: column.take(chosen) for name, column in columns.items()}
    numbers = None if census is None else census.numbers
    found = evidence.Finder(task.engine, seed).evidence(sample, numbers)
    every = columns if numbers is None else with_census(columns, numbers)
    labels, plane, centers = assign(every, found.components, found.centers, task.work, task.workers, seed=seed)
    labels, joined = merged(labels, centers)
    result: dict[str, Any] = {
        **{"rows": len(victims), "sample_rows": len(chosen), "silhouette_rows": evidence.SILHOUETTE_ROWS},
        **{"seed": seed, "engine": task.engine.name, "columns": list(columns), "left_out": dict(victims.left_out)},
        **{"explained_wanted": EXPLAINED, "null_tables": evidence.NULLS, "resamplings": evidence.BOOTSTRAPS},
        **found.result,
        **{"joined_groups": joined, "least_rows": LEAST_GROUP},
        "groups": profiles(victims, census, labels, seed),
        "picture": _picture(task, found, sample, numbers, chosen, labels),
        "sides": sides(victims),
    }
    if census is not None:
        result["census"] = {
            **{"columns": list(census.names), "left_out": census.left_out},
            **{"missed": list(census.missed), "rows_missed": census.rows_missed},
        }
    return result, labels, plane


def _picture(
    task: GroupTask, found: Any, sample: Mapping[str, Any], census: Float64 | None, chosen: Int64, labels: Int64
) -> dict[str, Any]:
    """Return points of the sample on a plane, with their groups."""
    own = sample if census is None else with_census(sample, census)
    rows = np.sort(np.random.default_rng((task.seed, 7)).permutation(len(chosen))[:DRAWN])
    scores = found.components.scores({name: column.take(rows) for name, column in own.items()})
    plane = scores[:, :2]
    if task.embedding == "umap":
        from umap import UMAP

        plane = UMAP(n_components=2, random_state=task.seed, n_jobs=1).fit_transform(scores)
    points = np.column_stack([np.round(plane.astype(np.float64), 3), labels[chosen[rows]] + 1])
    return {"by": task.embedding, "points": points.tolist()}


def _opened(source: Path, workers: Opener) -> Prepared:
    """Open a prepared folder; of a city file the one that `hews prepare` makes, which is made if it is not there.

    Raises:
        UserError: it is neither, or the folder was made from another state of the city file.
    """
    if not source.is_file():
        prepared, file = open_prepared(source), source / (read_manifest(source).get("city_file") or "")
        if not file.is_file():
            return prepared
        return replace(prepared, city=replace(prepared.city, path=file))  # from where it names its polygons
    city, folder = load_city(source), Path("runs") / source.stem / "prepared"
    if folder.is_dir():
        prepared = open_prepared(folder)
        if (folder / "city.toml").read_bytes() != source.read_bytes():
            allowed = f"differs from the city file that {folder} was made from"
            raise UserError(str(source), allowed=allowed, remedy="Run 'hews prepare' anew, or give a folder made by it")
    else:
        from hews_gpu.data.prepare.command import prepare

        prepare(city, folder, workers=workers)
        prepared = open_prepared(folder)
    return Prepared(prepared.folder, city, prepared.events)


def _middles_km(prepared: Prepared) -> Float64:
    """Return a point within each neighborhood [N, 2], in kilometers east and north of the city's middle."""
    inner = prepared.neighborhoods.geometry.representative_point()
    degrees = np.column_stack([inner.x, inner.y])
    middle = degrees.mean(axis=0)
    return np.asarray((degrees - middle) * KM_PER_DEGREE * [np.cos(np.radians(middle[1])), 1.0])


def groups_table(result: Mapping[str, Any]) -> list[list[str]]:
    """Return the groups as rows of text."""
    body = [
        [str(one["group"]), f"{one['rows']:,}", f"{one['share']:.1%}", _words(one["stands_out"])]
        for one in result["groups"]
    ]
    return [["group", "rows", "share", "what stands out: its share, the city's"], *body]


def _words(levels: Any) -> str:
    """Return what stands out in a group."""
    told = [f"{_level(one)} {one['share']:.0%} ({one['city']:.0%})" for one in levels]
    return ", ".join(told) or "nothing"


def _level(one: Mapping[str, Any]) -> str:
    if one["column"] == "census":
        return f"highest quarter by {one['level']}"
    return f"{one['column']} {one['level']}" if one["level"] in ("other", "not stated") else str(one["level"])


def join_in_words(result: Mapping[str, Any]) -> str:
    """Return how much of part 2's distinctness comes from the join alone."""
    join = result["join"]
    one, two, permuted, swapped = (join[key]["value"] for key in JOIN)
    told = (
        f"Silhouette at {result['k']} groups: {one:.3f} for the crime table alone, {two:.3f} with census columns, "
        f"{permuted:.3f} with the crime columns permuted within neighborhoods, {swapped:.3f} with the census rows of "
        "other neighborhoods. "
    )
    if join["gain_swapped"] is None:
        return f"{told}The census columns do not make the groups more distinct."
    shares = [min(max(join[key]["value"], 0), 1) for key in ("gain_permuted", "gain_swapped")]
    return (
        f"{told}Of what part 2 gains, {shares[0]:.0%} remains with crime columns that no longer go together, and "
        f"{shares[1]:.0%} comes with any census rows: victims of one neighborhood share one."
    )


def groups_in_words(result: Mapping[str, Any]) -> str:
    """Return whether there are groups."""
    if result["is_real"]:
        verdict = (
            f"{result['k']} groups, beyond tables with permuted columns (t of the gap {result['gap_t']:.1f}, of the "
            f"silhouette {result['silhouette_t']:.1f}; {result['t_needed']:.1f} is needed), and resampled rows agree "
            f"(adjusted Rand index {result['stability']['value']:.2f})."
        )
    else:
        verdict = f"No groups: {'; '.join(result['reasons'])}. What is listed is a cut through the rows, not kinds."
    return f"{verdict}\n{join_in_words(result)}" if "join" in result else verdict


def _day(local_s: int) -> str:
    return str(np.datetime64(local_s, "s"))[:10]
