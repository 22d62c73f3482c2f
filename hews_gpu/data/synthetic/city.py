"""A synthetic city on disk, ready for ``hews prepare``: incidents, neighbourhoods, the truth, and its TOML."""

from __future__ import annotations

import gzip
import itertools
import re
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from hews_gpu.config import HOUR_S, city_template, parse_local_time
from hews_gpu.errors import UserError
from hews_gpu.output import new_folder

if TYPE_CHECKING:
    import pandas as pd

    from hews_gpu.data.synthetic.geography import Ground

__all__ = ["BEGIN", "YEARS", "split_dates", "write_city"]

BEGIN = "2021-01-01"  # a Friday; any midnight would do
YEARS = 4  # what the shipped demo.toml's splits are made for
GZIP_LEVEL = 4  # a third of the size in a quarter of the time of the default 9


def write_city(folder: Path, *, seed: int = 0, years: int = YEARS, force: bool = False) -> Path:
    """Simulate a city and write it: incidents.csv.gz, neighborhoods.geojson, truth.npz and demo.toml.

    The same seed and years give the same bytes (with the same versions of the libraries).

    Args:
        folder: where to; it must not exist, or be empty.
        seed: everything random derives from it; each seed is another city.
        years: how many calendar years from 2021-01-01; the splits in the TOML are scaled to it.
        force: replace an older city in `folder`.

    Returns:
        The path of demo.toml.

    Raises:
        UserError: a seed or a number of years out of range, or the folder may not be written.
    """
    if not 1 <= years <= 40:
        raise UserError("years", years, allowed="must be 1..40")
    if seed < 0:
        raise UserError("seed", seed, allowed="must be 0 or more")
    with new_folder(folder, kind="city", force=force, notes={"seed": seed, "years": years}) as partial:
        _write_files(partial, seed, years)
    return folder / "demo.toml"


def _write_files(folder: Path, seed: int, years: int) -> None:
    from hews_gpu.data.synthetic.geography import make_ground
    from hews_gpu.data.synthetic.recipe import DEMO
    from hews_gpu.data.synthetic.simulate import simulate
    from hews_gpu.data.synthetic.table import make_cases, portal_table
    from hews_gpu.data.synthetic.truth import save_truth

    ground_seed, history_seed, table_seed = np.random.SeedSequence(seed).spawn(3)
    begin_s, end_s = (parse_local_time("begin", text) for text in (BEGIN, _after(12 * years)))
    ground = make_ground(np.random.default_rng(ground_seed))
    history = simulate(DEMO, ground, history_seed, begin_s=begin_s, hours=(end_s - begin_s) // HOUR_S)
    rng = np.random.default_rng(table_seed)
    table = portal_table(rng, make_cases(rng, history, DEMO, ground), ground, begin_s)
    _write_incidents(table, folder / "incidents.csv.gz")
    _write_neighborhoods(ground, folder / "neighborhoods.geojson")
    save_truth(history.truth, folder / "truth.npz")
    text = city_template("demo")
    for name, (begin, end) in split_dates(years).items():
        text = re.sub(rf"(?m)^{name} = \[[^\]]*\]", f'{name} = ["{begin}", "{end}"]', text)
    (folder / "demo.toml").write_text(text, encoding="utf-8")


def split_dates(years: int) -> dict[str, tuple[str, str]]:
    """Begin and end of each split: five eighths of the months to train, one to validate, two to test."""
    months = 12 * years
    cuts = [_after(month) for month in (0, round(months * 5 / 8), round(months * 6 / 8), months)]
    return dict(zip(("train", "validation", "test"), itertools.pairwise(cuts), strict=True))


def _after(months: int) -> str:
    """The first day of the month that is so many months after the begin."""
    return f"{np.datetime64(BEGIN, 'M') + months}-01"


def _write_incidents(table: pd.DataFrame, path: Path) -> None:
    """The table as gzipped CSV; without a time stamp or name inside, so that bytes depend on the table alone."""
    content = table.to_csv(index=False, lineterminator="\n").encode()
    path.write_bytes(gzip.compress(content, compresslevel=GZIP_LEVEL, mtime=0))


def _write_neighborhoods(ground: Ground, path: Path) -> None:
    """The neighbourhoods as GeoJSON in longitude and latitude, with seven decimals (a centimetre)."""
    import geopandas
    import shapely

    from hews_gpu.data.synthetic.geography import to_degrees

    cells = shapely.transform(np.array(ground.cells), to_degrees)
    frame = geopandas.GeoDataFrame({"name": list(ground.names)}, geometry=cells, crs="EPSG:4326")
    frame.to_file(path, driver="GeoJSON", COORDINATE_PRECISION=7)
