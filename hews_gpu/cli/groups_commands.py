"""The command that groups victims: groups."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hews_gpu.cli.options import Device, Force, Json, OfCluster, OnCluster, workers_of
from hews_gpu.cli.printing import show

__all__ = ["app"]

app = typer.Typer()


@app.command(cls=OnCluster)
def groups(
    source: Annotated[
        Path, typer.Argument(metavar="CITY.toml|DIR", help="A city file, or a folder made by 'hews prepare'.")
    ],
    part: Annotated[
        int, typer.Option("--part", help="1: the crime table alone; 2: with census columns of the places.")
    ] = 1,
    out: Annotated[
        Path | None, typer.Option("--out", help="Folder to write; else groups-PART beside the prepared folder.")
    ] = None,
    begin: Annotated[
        str | None,
        typer.Option("--from", metavar="DAY", help="First day; else the last whole year, but for what is locked."),
    ] = None,
    end: Annotated[str | None, typer.Option("--to", metavar="DAY", help="The day after the last.")] = None,
    census: Annotated[
        Path | None,
        typer.Option("--census", help="Part 2: CSV, Parquet or GeoJSON by place; else the city's polygons."),
    ] = None,
    crosswalk: Annotated[
        Path | None, typer.Option("--crosswalk", help="Part 2: CSV of the census place of each neighborhood.")
    ] = None,
    embedding: Annotated[str, typer.Option("--embedding", help="Of the picture: components or umap.")] = "components",
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of all that is drawn.")] = 0,
    device: Device = "auto",
    cluster: OfCluster = None,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Group victims by what happened, when and where, and say whether the groups are real. Forecasts nothing."""
    from hews_gpu.data.events import open_data_of
    from hews_gpu.files import atomic_file
    from hews_gpu.groups.run import groups as run
    from hews_gpu.groups.run import groups_in_words, groups_table
    from hews_gpu.report.page import render
    from hews_gpu.report.sections.groups import groups_page

    result, folder = run(
        source,
        out,
        part=part,
        begin=begin,
        end=end,
        census=census,
        crosswalk=crosswalk,
        embedding=embedding,
        seed=seed,
        device=device,
        force=force,
        workers=workers_of(cluster),
    )
    page = folder / "report.html"
    with atomic_file(page) as partial:
        partial.write_text(render(groups_page(folder, open_data_of(folder))), encoding="utf-8")
    title = f"{result['city']}, {result['begin']} to {result['end']}: {result['rows']:,} rows, part {part}"
    last = f"{groups_in_words(result)}\nReport: {page}"
    show(title, result, as_json, table=groups_table(result), last=last)
