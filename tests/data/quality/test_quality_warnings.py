"""What a user is told of a table, and that nothing is changed in silence."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq

from hews_gpu.config import CityConfig, load_city
from hews_gpu.data.prepare.command import prepare
from hews_gpu.data.quality.report import summary_rows
from tests.data import formats
from tests.data.toy import TWO_SQUARES, geojson, row, square

Toy = Callable[..., CityConfig]
SHOT = row(category="SHOOTING")


def incidents(out: Path) -> pd.DataFrame:
    return pq.read_table(out / "incidents.parquet").to_pandas()


def test_swapped_coordinates_are_suggested_and_never_exchanged(toy: Toy, tmp_path: Path) -> None:
    swapped = row(longitude="39.285", latitude="-76.605")
    quality = prepare(toy([SHOT, swapped, swapped]), tmp_path / "out")
    assert quality["quarantined_by_reason"] == {"outside the study area": 2}
    (warning,) = [text for text in quality["warnings"] if "exchanged" in text]
    assert warning.startswith("2 rows outside would lie in the city with longitude and latitude exchanged")
    assert len(incidents(tmp_path / "out")) == 1


def test_coordinates_in_feet_and_numbers_with_commas_are_suggested(toy: Toy, tmp_path: Path) -> None:
    feet = row(longitude="1425000.5", latitude="592000.25")
    commas = [row(longitude='"-76,605"'), row(longitude='"1,425,000"', latitude='"592,000"')]
    quality = prepare(toy([SHOT, feet, *commas]), tmp_path / "out")
    assert quality["quarantined_by_reason"] == {"no coordinates": 2, "outside the study area": 1}
    assert any(
        "1 rows have coordinates that are no degrees but look like meters or feet" in w for w in quality["warnings"]
    )
    assert any("3 coordinates hold a comma" in w for w in quality["warnings"])


def test_overlapping_and_nested_polygons_are_named_and_the_first_wins(toy: Toy, tmp_path: Path) -> None:
    inner = square("Inner", -76.608, 39.284, -76.602, 39.286)
    high = square("High", -76.60, 39.28, -76.59, 39.29)
    high["geometry"]["coordinates"] = [[[x, y, 12.5] for x, y in high["geometry"]["coordinates"][0]]]
    empty = {"type": "Feature", "properties": {"Name": "Empty"}, "geometry": {"type": "Polygon", "coordinates": []}}
    nothing = {"type": "Feature", "properties": {"Name": "Nothing"}, "geometry": None}
    areas = geojson([*TWO_SQUARES, inner, high, empty, nothing])
    quality = prepare(toy([SHOT, row(longitude="-76.595")], areas=areas), tmp_path / "out")
    assert quality["overlapping_neighborhoods"] == [["East", "Inner"]] and quality["neighborhoods"] == 4
    assert any("1 pairs of neighborhoods overlap ('East' and 'Inner')" in text for text in quality["warnings"])
    assert incidents(tmp_path / "out")["neighborhood"].tolist() == ["East", "High"]


def test_rows_at_one_point_alone_are_a_warning(toy: Toy, tmp_path: Path) -> None:
    text = "all 20 rows lie at one point: check the columns of the coordinates"
    assert text in prepare(toy([SHOT] * 20), tmp_path / "one")["warnings"]
    assert text not in prepare(toy([SHOT] * 19 + [row(longitude="-76.606")]), tmp_path / "two")["warnings"]


def test_categories_that_may_stand_for_none_are_kept_and_named(toy: Toy, tmp_path: Path) -> None:
    quality = prepare(toy([SHOT, row(category="unknown"), row(category="(null)")]), tmp_path / "out")
    assert quality["categories"] == {"SHOOTING": 1, "UNKNOWN": 1}
    assert "categories that may stand for none are kept as any other: 'UNKNOWN' (1 rows)" in quality["warnings"]


def test_a_misspelt_category_of_a_channel_is_a_warning(toy: Toy, tmp_path: Path) -> None:
    city = toy([SHOT])
    city.path.write_text(city.path.read_text() + '[channels.groups]\ngun = ["Shootin", "shooting"]\nx = ["RAPE"]\n')
    (warning,) = [text for text in prepare(load_city(city.path), tmp_path / "out")["warnings"] if "groups" in text]
    assert "2 categories that no row has: 'SHOOTIN' (did you mean 'SHOOTING'?), 'RAPE'" in warning


def test_any_target_lost_to_its_time_is_a_warning(toy: Toy, tmp_path: Path) -> None:
    lines = [row(time=f"{i % 24}:30", category="SHOOTING") for i in range(99)] + [
        SHOT.replace(SHOT.split(",")[1], "noonish", 1)
    ]
    warnings = prepare(toy(lines), tmp_path / "out")["warnings"]
    assert any("1 of 100 target rows were set aside (unparsable time: 1)" in text for text in warnings)


def test_a_zone_that_a_known_schema_does_not_have_is_ignored_and_said_so(toy: Toy, tmp_path: Path) -> None:
    zoned = formats.chicago(api=True).replace(b".000,", b".000Z,")
    quality = prepare(toy(files={"a.csv": zoned}), tmp_path / "chicago")
    (warning,) = [text for text in quality["warnings"] if "zone" in text]
    assert "a.csv: 3 times carry a zone such as +00, which was ignored" in warning and 'times = "utc"' in warning
    assert formats.read_incidents(tmp_path / "chicago") == list(formats.INCIDENTS)
    for name, files, times in [("arcgis", {"a.csv": formats.arcgis()}, "auto"), ("local", {"a.csv": zoned}, "local")]:
        quality = prepare(toy(files=files, incidents=f'times = "{times}"'), tmp_path / name)
        assert not any("zone" in text for text in quality["warnings"])


def test_times_of_a_known_schema_are_converted_where_the_city_file_says_utc(toy: Toy, tmp_path: Path) -> None:
    prepare(toy(files={"a.csv": formats.chicago()}, incidents='times = "utc"'), tmp_path / "out")
    times = [when for when, *_ in formats.read_incidents(tmp_path / "out")]
    assert times == ["2014-01-31T18:30:00", "2014-01-31T18:59:00", "2014-01-31T19:00:00"]


def at_hours(by_hour: list[int], category: str = "LARCENY") -> list[str]:
    return [row(time=f"{h}:{i % 60:02d}", category=category) for h, n in enumerate(by_hour) for i in range(n)]


CRIME = [22, 20, 14, 10, 8, 7, 8, 12, 17, 17, 19, 19, 24, 21, 23, 27, 27, 28, 29, 26, 27, 27, 26, 23]


def test_hours_that_only_utc_explains_are_a_warning(toy: Toy, tmp_path: Path) -> None:
    """Baltimore's hours, as written and five hours later; gunfire is rarest at eight and no sign of UTC."""
    local = prepare(toy([*at_hours(CRIME), SHOT]), tmp_path / "local")
    assert local["times"]["quietest_hour"] == 5 and local["times"]["seem_to_be"] == "local"
    assert not any("UTC" in text for text in local["warnings"])
    moved = prepare(toy([*at_hours(CRIME[-5:] + CRIME[:-5]), SHOT]), tmp_path / "utc")
    (warning,) = [text for text in moved["warnings"] if "UTC" in text]
    assert "fewest rows lie around 10:30" in warning and 'times = "utc"' in warning
    guns = prepare(toy(at_hours(CRIME[-3:] + CRIME[:-3], "SHOOTING")), tmp_path / "guns")
    assert guns["times"]["seem_to_be"] == "local"


def test_many_rows_at_one_clock_time_are_a_warning(toy: Toy, tmp_path: Path) -> None:
    lines = [*at_hours(CRIME), SHOT, *[row(time="00:00")] * 70]
    (warning,) = [text for text in prepare(toy(lines), tmp_path / "out")["warnings"] if "exactly" in text]
    assert warning.startswith("13% of the rows are at 00:00 exactly")


def test_a_target_that_is_renamed_is_told_with_its_other_name(toy: Toy, tmp_path: Path) -> None:
    """Its windows would count as quiet from then on; once nothing said so."""
    lines = []
    for day in range(300):
        date = (pd.Timestamp("2014-01-01") + pd.Timedelta(days=day)).strftime("%m/%d/%Y")
        lines += [row(date, f"{hour:02d}:{day % 59:02d}:00", longitude=f"-76.60{hour}") for hour in range(1, 7)]
        lines.append(row(date, f"{day % 24:02d}:{day % 59:02d}:00", "SHOOTING" if day < 200 else "SHOOTING VICTIM"))
    warnings = prepare(toy(lines), tmp_path / "out")["warnings"]
    (told,) = [text for text in warnings if "is missing" in text]
    assert (
        told.startswith("the target 'SHOOTING' is missing after 2014-07-") and "covers 2014-01-01 to 2014-10-27" in told
    )
    assert told.endswith(": 'SHOOTING VICTIM' may be its other name there")


def test_a_stray_date_is_told_with_what_is_dense(toy: Toy, tmp_path: Path) -> None:
    dates = [(pd.Timestamp("2014-01-01") + pd.Timedelta(days=day)).strftime("%m/%d/%Y") for day in range(90)]
    lines = [row(date, f"{hour:02d}:{i % 59:02d}:00", "SHOOTING") for i, date in enumerate(dates) for hour in range(4)]
    assert not any("dense" in text for text in prepare(toy(lines), tmp_path / "a")["warnings"])
    (told,) = [
        text for text in prepare(toy([*lines, row("02/03/2015")]), tmp_path / "b")["warnings"] if "dense" in text
    ]
    assert "from 2014-01-01 to 2014-03-31; the few beyond, of 2014-01-01 to 2015-02-03" in told


def test_targets_lost_of_one_category_or_in_one_month_are_told(toy: Toy, tmp_path: Path) -> None:
    """200 of 4,000 lost are the same 5 %, whether evenly or all in one category or month."""

    def told(lost: Callable[[str, int, int], bool]) -> list[str]:
        lines = [
            row(
                f"{month:02d}/{1 + i % 28:02d}/2014",
                f"{i % 24:02d}:{i // 24:02d}:00",
                name,
                longitude="" if lost(name, month, i) else f"-76.60{1 + i % 5}",
            )
            for name, each in (("HOMICIDE", 20), ("SHOOTING", 180))
            for month in range(1, 11)
            for i in range(each)
        ]
        return [text for text in prepare(toy(lines), tmp_path / "out", force=True)["warnings"] if "set aside" in text]

    assert len(told(lambda name, month, i: i % 20 == 0)) == 1
    assert told(lambda name, month, i: i == 0 and name == "SHOOTING") == []
    (one,) = told(lambda name, month, i: name == "HOMICIDE" and i % 5 == 0)
    assert one == "40 of 200 rows of the target 'HOMICIDE' were set aside (no coordinates: 40), of all targets 2.0%"
    (one,) = told(lambda name, month, i: month == 4 and i % 4 == 0)
    assert one == "target rows were set aside unevenly, above all in 2014-04 (50 of 200)"


def test_targets_are_counted_with_and_without_repeats(toy: Toy, tmp_path: Path) -> None:
    quality = prepare(toy([SHOT, SHOT, SHOT, row(category="HOMICIDE"), row(), row()]), tmp_path / "out")
    assert quality["targets"] == {
        "HOMICIDE": {"rows": 1, "without_repeats": 1},
        "SHOOTING": {"rows": 3, "without_repeats": 1},
    }
    assert (quality["targets_kept"], quality["targets_without_repeats"]) == (4, 2)
    assert ["  targets without repeats", "2", "33.33 %"] in summary_rows(quality)
