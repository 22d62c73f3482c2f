"""The commands that make tables and maps: init, fetch, prepare, rasterize."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated, Any

import typer

from hews_gpu.cli.options import Force, GoOn, Json, OfCluster, OnCluster, Prepared, workers_of
from hews_gpu.cli.printing import print_json, print_line, print_table, show
from hews_gpu.errors import UserError

__all__ = ["app"]

app = typer.Typer()


@app.command()
def init(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A shipped city: baltimore, chicago, dc or demo.")],
    table: Annotated[
        Path | None,
        typer.Option("--from", help="Your own table: propose a city file from it; NAME is your city's."),
    ] = None,
    layer: Annotated[
        Path | None,
        typer.Option("--layer", help="Another table to read beside the incidents: print its section; NAME is its own."),
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", help="File to write; NAME.toml unless given.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace the file if it exists.")] = False,
    as_json: Json = False,
) -> None:
    """Write a city file to edit, with a comment on every field."""
    if layer is not None:
        from hews_gpu.data.propose_city import propose_layer

        if table or out or force:
            raise UserError(
                "--layer", layer, allowed="is proposed on standard output, without --from, --out or --force"
            )
        section = propose_layer(name, layer)
        print_json({"section": section}) if as_json else print_line(section)
        return
    from hews_gpu.config import city_template
    from hews_gpu.files import atomic_file, require_free_file

    path = out or Path(f"{name}.toml")
    require_free_file(path, force=force, example="city.toml")
    proposal: dict[str, Any] = {}
    if table is None:
        text = city_template(name)
    else:
        from hews_gpu.data.propose_city import WORDS_OF_GROUPS, propose_city

        text, proposal = propose_city(name, table, path)
    with atomic_file(path) as partial:
        partial.write_text(text, encoding="utf-8")
    if as_json:
        print_json({"city_file": str(path), **proposal})
        return
    if proposal:
        groups = proposal["groups"]
        heading = ["time", "longitude", "latitude", "category"]
        print_table("The first rows as they would be read", [heading, *map(list, proposal["preview"])])
        channels = [[group, ", ".join(names), WORDS_OF_GROUPS.get(group, "")] for group, names in groups.items()]
        if channels:
            print_table("Channels, by words in the categories", [["channel", "categories", "words"], *channels])
        print_line(proposal["advice"])
    print_line(f"Wrote {path}. Edit it, then: hews prepare {shlex.quote(str(path))} --out prepared")


@app.command()
def fetch(
    city: Annotated[str, typer.Argument(metavar="NAME|CITY.toml", help="A shipped city, or a city file.")],
    out: Annotated[Path | None, typer.Option("--out", help="Folder for the tables; else data/NAME.")] = None,
    as_json: Json = False,
) -> None:
    """Get a city's tables from its public feed, page by page; a fetch that was cut off goes on where it stopped.

    Exit code 1 where what was fetched is not known to be complete.
    """
    from hews_gpu.fetch import fetch_city, find_city

    config, folder = find_city(city)
    out = out or folder
    result = fetch_city(config, out)
    is_complete = result["known_to_be_complete"]
    show(f"Fetched into {out}{'' if is_complete else ', not known to be complete'}", result, as_json)
    raise typer.Exit(0 if is_complete else 1)


@app.command(cls=OnCluster)
def prepare(
    city: Annotated[Path, typer.Argument(metavar="CITY.toml", help="A city file; 'hews init NAME' writes one.")],
    out: Annotated[Path | None, typer.Option("--out", help="Folder to write; else runs/CITY/prepared.")] = None,
    force: Force = False,
    cluster: OfCluster = None,
    resume: GoOn = False,
    score_only: Annotated[
        bool, typer.Option("--score-only", help="For 'hews score' alone: the splits need not lie in the table.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Read, clean and place every incident; nothing is lost, doubtful rows are set aside with a reason."""
    from hews_gpu.config import load_city
    from hews_gpu.data.prepare.command import prepare as run
    from hews_gpu.data.quality.report import summary_rows

    out = out or Path("runs") / city.stem / "prepared"
    quality = run(load_city(city), out, force=force, resume=resume, score_only=score_only, workers=workers_of(cluster))
    show(f"Prepared into {out}", quality, as_json, table=summary_rows(quality))


@app.command(cls=OnCluster)
def rasterize(
    prepared: Prepared,
    out: Annotated[Path, typer.Option("--out", help="Folder to write.")],
    style: Annotated[str | None, typer.Option("--style", help="reference or channels; else as the city says.")] = None,
    force: Force = False,
    cluster: OfCluster = None,
    resume: GoOn = False,
    as_json: Json = False,
) -> None:
    """Write every window's map to Zarr, for people who want files (training does not need them)."""
    from hews_gpu.feed.maps import rasterize as run

    maps = run(prepared, out, style=style, force=force, resume=resume, workers=workers_of(cluster))
    show(f"Maps in {out}", maps, as_json)
