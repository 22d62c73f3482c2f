"""A synthetic city on disk, ready for ``hews prepare``: incidents, neighborhoods, the truth, and its TOML."""

from __future__ import annotations

import gzip
import itertools
import re
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from hews_gpu.config import city_template
from hews_gpu.files import new_folder
from hews_gpu.synthetic.generate import DEMO, after, generate

if TYPE_CHECKING:
    import pandas as pd

    from hews_gpu.synthetic.generate import Generated
    from hews_gpu.synthetic.process import Int64

__all__ = ["YEARS", "split_dates", "write_city"]

YEARS = 4  # what the shipped demo.toml's splits are made for
GZIP_LEVEL = 4  # a third of the size in a quarter of the time of the default 9
REPORTED = "ReportDateTime"  # a column beside the portal's own: when the row is known; nothing reads it
GROUPS = {  # instead of the demo's, where a preset's truth depends on what they would mix
    "pairs": """\
targets = ["HOMICIDE", "SHOOTING"]
larceny = ["LARCENY"]
common_assault = ["COMMON ASSAULT"]
aggravated_assault = ["AGG. ASSAULT"]
robbery = ["ROBBERY - STREET", "ROBBERY - COMMERCIAL", "ROBBERY - RESIDENCE", "ROBBERY - CARJACKING"]
burglary = ["BURGLARY"]
""",
}


def write_city(
    folder: Path,
    *,
    seed: int = 0,
    years: int = YEARS,
    preset: str = DEMO,
    under_reporting: float = 0.0,
    force: bool = False,
) -> Path:
    """Simulate a city and write it: incidents.csv.gz, neighborhoods.geojson, truth.npz and its TOML.

    The same arguments give the same bytes (with the same versions of the libraries).

    Args:
        folder: where to; it must not exist, or be empty.
        seed: everything random derives from it; each seed is another city.
        years: how many calendar years from 2021-01-01; the splits in the TOML are scaled to it.
        preset: one of PRESETS, see `presets`; or "demo", the city of ``hews demo``.
        under_reporting: share of the incidents, other than target events, that are left out of the table in a third of
            the neighborhoods.
        force: replace an older city in `folder`.

    Returns:
        The path of the TOML, which is named after the preset.

    Raises:
        UserError: no such preset, a number out of range, or the folder may not be written.
    """
    notes = {"preset": preset, "seed": seed, "years": years, "under_reporting": under_reporting}
    made = generate(preset, seed=seed, years=years, under_reporting=under_reporting)
    with new_folder(folder, kind="city", force=force, notes=notes) as partial:
        _write_files(partial, made, years)
    return folder / f"{preset}.toml"


def _write_files(folder: Path, made: Generated, years: int) -> None:
    from hews_gpu.synthetic.simulated import neighborhoods_frame
    from hews_gpu.synthetic.table import portal_table
    from hews_gpu.synthetic.truth import save_truth

    table, entries = portal_table(made.rng, made.cases, made.ground, made.begin_s, made.words)
    if made.reported_s is not None:
        table[REPORTED] = _stamps(made.reported_s)[entries.case]
    _write_incidents(table, folder / "incidents.csv.gz")
    frame = neighborhoods_frame(made.ground)
    frame.to_file(folder / "neighborhoods.geojson", driver="GeoJSON", COORDINATE_PRECISION=7)
    save_truth(made.truth, folder / "truth.npz")
    (folder / f"{made.preset}.toml").write_text(_toml(made.preset, years), encoding="utf-8")


def _toml(preset: str, years: int) -> str:
    """The demo's file with the splits, and where it must be so the channels, of this city."""
    text = city_template(DEMO)
    for name, (begin, end) in split_dates(years).items():
        text = re.sub(rf"(?m)^{name} = \[[^\]]*\]", f'{name} = ["{begin}", "{end}"]', text)
    if preset in GROUPS:
        text = re.sub(r"(?s)(\[channels\.groups\][^\n]*\n).*?\n(?=\n\[)", rf"\g<1>{GROUPS[preset]}", text)
    return text


def split_dates(years: int) -> dict[str, tuple[str, str]]:
    """Begin and end of each split: five eighths of the months to train, one to validate, two to test."""
    months = 12 * years
    cuts = [after(month) for month in (0, round(months * 5 / 8), round(months * 6 / 8), months)]
    return dict(zip(("train", "validation", "test"), itertools.pairwise(cuts), strict=True))


def _write_incidents(table: pd.DataFrame, path: Path) -> None:
    """The table as gzipped CSV; without a time stamp or name inside, so that bytes depend on the table alone."""
    content = table.to_csv(index=False, lineterminator="\n").encode()
    path.write_bytes(gzip.compress(content, compresslevel=GZIP_LEVEL, mtime=0))


def _stamps(time_s: Int64) -> np.typing.NDArray[np.object_]:
    """[E] local times as 2021/01/31 23:59:00."""
    text = np.datetime_as_string(time_s.astype("datetime64[s]")).astype(object)
    return np.array([stamp.replace("-", "/").replace("T", " ") for stamp in text], dtype=object)
