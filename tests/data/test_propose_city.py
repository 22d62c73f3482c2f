"""The city file of a table: zone, splits, channels and map sizes come from its rows, and nothing from another city."""

from __future__ import annotations

import csv
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hews_gpu.config import CityConfig, city_template, load_city
from hews_gpu.data.propose_city import groups_of, propose_city, splits_of
from hews_gpu.errors import UserError

CHICAGO, HOUSTON, LONDON = (-87.65, 41.85), (-95.37, 29.76), (-0.12, 51.5)
KINDS = ("THEFT", "ROBBERY AT GUNPOINT", "SIMPLE BATTERY", "WEAPONS VIOLATION", "MURDER", "PUBLIC NUISANCE")


def table(
    path: Path,
    middle: tuple[float, float],
    *,
    days: int = 800,
    first: str = "2018-01-01",
    wide: float = 0.2,
    header: str = "When,Lon,Lat,Kind",
) -> Path:
    """Three rows a day around a place, in a box `wide` degrees wide and half as tall; some rows lie far away."""
    rng = np.random.default_rng(0)
    begin = datetime.fromisoformat(first).replace(tzinfo=UTC)
    lines = []
    for i in range(3 * days):
        when = begin + timedelta(hours=8 * i + int(rng.integers(8)), minutes=int(rng.integers(60)))
        x, y = middle[0] + wide * (rng.random() - 0.5), middle[1] + wide / 2 * (rng.random() - 0.5)
        lines.append([f"{when:%Y-%m-%d %H:%M:%S}", f"{x:.5f}", f"{y:.5f}", KINDS[i % len(KINDS)]])
    lines[5][1:3] = ["-60.0", "10.0"]
    lines[9][1:3] = ["0", "0"]
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([header.split(","), *lines])
    return path


def proposed(folder: Path, **how: Any) -> tuple[CityConfig, dict[str, Any], str]:
    """The city file that is made of a table, loaded."""
    text, about = propose_city("Anytown", table(folder / "t.csv", **how), folder / "any.toml")
    (folder / "any.toml").write_text(text, encoding="utf-8")
    return load_city(folder / "any.toml"), about, text


@pytest.mark.parametrize(
    ("middle", "zone"), [(CHICAGO, "America/Chicago"), (HOUSTON, "America/Chicago"), (LONDON, "Europe/London")]
)
def test_the_zone_is_that_of_the_coordinates(tmp_path: Path, middle: tuple[float, float], zone: str) -> None:
    """Chicago and Houston once got New York's."""
    city, about, _ = proposed(tmp_path, middle=middle, days=60)
    assert city.city.timezone == about["timezone"] == zone


def test_nothing_is_of_another_city(tmp_path: Path) -> None:
    city, _, text = proposed(tmp_path, middle=HOUSTON)
    foreign = ["altimore", "CSA2010", "LARCENY", "New_York", "2014-", "2017-", "HOMICIDE", "SHOOTING", "fetch"]
    assert [word for word in foreign if word in text] == []
    assert city.splits.locked is None and city.fetch is None and not city.map.palette
    assert city.incidents.targets == ("MURDER",) and city.neighborhoods.file == "neighborhoods.geojson"


def test_channels_are_by_the_words_of_the_categories(tmp_path: Path) -> None:
    city, about, text = proposed(tmp_path, middle=CHICAGO)
    expected = {
        "targets": ["MURDER"],
        "robbery": ["ROBBERY AT GUNPOINT"],
        "violence": ["SIMPLE BATTERY"],
        "weapons": ["WEAPONS VIOLATION"],
        "theft": ["THEFT"],
    }
    assert about["groups"] == expected == {group: list(names) for group, names in city.channels.groups.items()}
    assert "# words: ROBB|CARJACK" in text and '400  "PUBLIC NUISANCE"' in text


@pytest.mark.parametrize(
    ("category", "group"),
    [
        ("ROBBERY - CARJACKING", "robbery"),
        ("AGG. ASSAULT", "violence"),
        ("ASSAULT W/DANGEROUS WEAPON", "violence"),
        ("CRIM SEXUAL ASSAULT", "violence"),
        ("DISCHARGING FIREARM", "weapons"),
        ("BREAKING & ENTERING", "burglary"),
        ("THEFT F/AUTO", "theft"),
        ("NARCOTICS", "drugs"),
        ("CRIMINAL DAMAGE", "damage"),
        ("LIQUOR LAW VIOLATION", None),
    ],
)
def test_a_category_goes_to_the_first_group_with_a_word_in_it(category: str, group: str | None) -> None:
    assert groups_of({category: 1}, []) == ({} if group is None else {group: [category]})


@pytest.mark.parametrize(
    ("days", "train", "test", "locked"),
    [
        (28, ["2018-01-01", "2018-01-19"], ["2018-01-22", "2018-01-29"], None),
        (365 * 2, ["2018-01-01", "2019-04-01"], ["2019-07-01", "2020-01-01"], None),
        (365 * 5 + 1, ["2018-01-01", "2021-07-01"], ["2022-01-01", "2023-01-01"], None),
        (365 * 10 + 2, ["2018-01-01", "2024-07-01"], ["2025-01-01", "2026-01-01"], ["2026-01-01", "2028-01-01"]),
    ],
)
def test_splits_follow_what_the_table_covers(
    days: int, train: list[str], test: list[str], locked: list[str] | None
) -> None:
    first = int(np.datetime64("2018-01-01", "D").astype(np.int64))
    rows = dict.fromkeys(range(first, first + days), 40)
    stray = {first + days + 400: 1, first - 9000: 1}
    splits = splits_of({**rows, **stray})
    assert (splits["train"], splits["test"], splits.get("locked")) == (train, test, locked)
    assert splits["validation"] == [splits["train"][1], splits["test"][0]]


def test_too_few_days_make_no_splits() -> None:
    assert splits_of({}) == {} and splits_of(dict.fromkeys(range(15), 100)) == {}
    assert splits_of(dict.fromkeys(range(16), 100))["validation"] == ["1970-01-11", "1970-01-13"]


def test_maps_are_as_wide_as_the_table_is(tmp_path: Path) -> None:
    """0.4 by 0.2 degrees at the equator are 44 by 22 km; one row in a thousand lies far away."""
    city, _, _ = proposed(tmp_path, middle=(32.5, 0.3), wide=0.4)
    assert (city.map.width, city.map.height) == (216, pytest.approx(108, abs=8))
    assert (city.channels.width, city.channels.height) == (64, pytest.approx(32, abs=3))


def test_what_the_table_does_not_say_is_refused_until_it_is_named(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("Kind,Note\nTHEFT,a\nTHEFT,b\n")
    text, about = propose_city("Any", tmp_path / "t.csv", tmp_path / "any.toml")
    for words in ("targets", "timezone", "splits", "longitude"):
        assert words in about["advice"]
    (tmp_path / "any.toml").write_text(text)
    with pytest.raises(UserError, match=r"\[city\] timezone: is missing"):
        load_city(tmp_path / "any.toml")


def units(text: str) -> list[tuple[int, int]]:
    """First and last line of what is to be uncommented at once: a key, or a section with the keys below it."""
    lines, result = text.splitlines(), []
    for i, line in enumerate(lines):
        if re.match(r"# \[\[?[a-z.]+\]", line):
            result.append((i, next(j for j in range(i, len(lines)) if not lines[j].startswith("#"))))
        elif re.match(r"# [a-z_]+ = ", line) and not any(a <= i < b for a, b in result):
            result.append((i, i + 1))
    return result


@pytest.mark.parametrize("source", ["baltimore", "chicago", "demo", "table", "headless", "no longitude"])
def test_every_line_that_is_a_comment_can_be_uncommented(source: str, tmp_path: Path) -> None:
    """One at a time, over what a person would have filled in where the file is refused without."""
    if source in ("baltimore", "chicago", "demo"):
        text = city_template(source)
    else:
        header = {
            "table": "When,Lon,Lat,Kind",
            "headless": "c1,c2,c3,c4",
            "no longitude": "CrimeDateTime,Foo,Latitude,Description",
        }[source]
        text, _ = propose_city("Any", table(tmp_path / "t.csv", CHICAGO, days=40, header=header), tmp_path / "any.toml")
    needed = re.compile(r"# (?=[a-z_]+ = .*not found|(train|validation|test) = )")
    text = "\n".join(line[2:] if needed.match(line) else line for line in text.splitlines())
    assert units(text)
    for begin, end in [(0, 0), *units(text)]:
        lines = [line[2:] if begin <= i < end else line for i, line in enumerate(text.splitlines())]
        (tmp_path / "c.toml").write_text("\n".join(lines))
        load_city(tmp_path / "c.toml")


def test_names_of_any_kind_leave_the_file_readable(tmp_path: Path) -> None:
    path = tmp_path / "a\nb\x7f\x1b[31m.csv"
    text, _ = propose_city('New\nline "x" \x7f', table(path, CHICAGO, days=40), tmp_path / "any.toml")
    (tmp_path / "any.toml").write_text(text, encoding="utf-8")
    city = load_city(tmp_path / "any.toml")
    assert city.city.name == 'New\nline "x" \x7f' and city.incidents.files == (path.name,)
    assert "\x1b" not in text and "\x7f" not in text
