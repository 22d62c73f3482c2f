"""The proposed mapping of tables that no schema fits, and the city file that is made of it."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from hews_gpu.cli.commands import app
from hews_gpu.config import load_city
from hews_gpu.data.prepare.command import prepare
from hews_gpu.data.propose import propose
from hews_gpu.data.propose_city import propose_city
from hews_gpu.errors import UserError
from tests.data import formats
from tests.data.toy import TWO_SQUARES, geojson


def test_a_table_with_two_columns_of_a_name_that_counts_is_refused_as_prepare_does(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("when,lat,lng,offense,when\n" + "2014-01-01 07:05,39.28,-76.6,THEFT,\n" * 9)
    with pytest.raises(UserError, match=r"t\.csv: has 2 columns of the name 'when': number 1 'when', number 5 'when'"):
        propose(tmp_path / "t.csv")


CATEGORIES = ["THEFT", "Homicide", "BATTERY", "Shooting"]


def odd(path: Path, rows: int = 100, date: bool = False, swap: bool = False) -> Path:
    """A table with a serial number, a report date without a time, free text and a person's age beside what counts."""
    place = ["Y_coord", "Lon"] if swap else ["Lng", "Lat"]
    header = ["Case", "Report Date", "Occurred At", "Offense Group", *place, "Victim Age", "Notes", "Zip"]
    lines = []
    for i in range(rows):
        moment = f"01/{1 + i % 28:02d}/2014 {1 + i % 12}:{i % 60:02d} PM"
        when = moment.split()[0] if date else moment
        what = CATEGORIES[i % 4]
        lines.append([i, f"2014-02-{1 + i % 27:02d}", when, what, -76.605 - i / 1e6, 39.285, i, f"note {i}", "21201"])
    lines[0][5] = 39.2851
    buffer = io.StringIO()
    csv.writer(buffer).writerows([header, *lines])
    path.write_text(buffer.getvalue())
    return path


@pytest.mark.parametrize(
    ("begin", "end", "hours", "is_found"),
    [
        ("START_DATE", "END_DATE", 3, True),
        ("Occurred From Date", "Occurred To Date", 3, True),
        ("START_DATE", "END_DATE", -3, False),
        ("START_DATE", "REPORT_END", 3, False),
        ("Occurred", "Occurred To", 3, False),
    ],
)
def test_the_end_of_a_span_is_found_beside_its_begin(tmp_path: Path, begin, end, hours, is_found) -> None:
    times = [datetime(2014, 1, 1 + i % 28, i % 24, 7 * i % 60) for i in range(60)]
    rows = [
        f"{at},{at + timedelta(hours=hours if i else 1)},{CATEGORIES[i % 4]},-76.6{i:02},39.28{i:02}"
        for i, at in enumerate(times)
    ]
    (tmp_path / "t.csv").write_text("\n".join([f"{begin},{end},OFFENSE,lon,lat", *rows]))
    found = propose(tmp_path / "t.csv").columns
    assert found["time"] == begin and found.get("end") == (end if is_found else None)


def test_columns_are_found_by_name_and_content(tmp_path: Path) -> None:
    found = propose(odd(tmp_path / "t.csv"))
    assert found.schema == "mapped" and found.missing == []
    expected = {"time": "Occurred At", "longitude": "Lng", "latitude": "Lat", "category": "Offense Group"}
    assert found.columns == expected
    assert found.targets == ["HOMICIDE", "SHOOTING"]
    assert len(found.preview) == 10
    assert found.preview[1] == ["2014-01-02 14:01:00", "-76.60500", "39.28500", "HOMICIDE"]


def test_known_schemas_need_no_mapping(tmp_path: Path) -> None:
    for name, content, schema in [
        ("a.csv", formats.portal(), "portal"),
        ("b.geojson", formats.geojson(), "arcgis"),
        ("c.json", formats.records(), "chicago"),
    ]:
        (tmp_path / name).write_bytes(content)
        found = propose(tmp_path / name)
        assert (found.schema, found.columns, found.missing) == (schema, {}, [])
        assert [row[0] for row in found.preview] == [
            "2014-01-31 23:30:00",
            "2014-01-31 23:59:00",
            "2014-02-01 00:00:00",
        ]


def test_what_is_not_found_is_said_and_left_open(tmp_path: Path) -> None:
    columns = {"Occurred": clocks(0, "%Y-%m-%d %H:%M:%S"), "lat": LAT, "lon": LON}
    text, about = propose_city("Odd", write(tmp_path / "t.csv", columns), tmp_path / "odd.toml")
    assert about["missing"] == ["category"] and "No column seems to hold: category" in about["advice"]
    assert '# category = "COLUMN"' in text
    (tmp_path / "n.csv").write_text("a,b\n1,2\n")
    assert propose(tmp_path / "n.csv").missing == ["time", "longitude", "latitude", "category"]


def test_a_day_is_all_that_is_known_of_a_time(tmp_path: Path) -> None:
    """The day when it happened counts more than the day of the report, which stands first."""
    about = propose_city("Odd", odd(tmp_path / "t.csv", date=True), tmp_path / "odd.toml")[1]
    assert len(about["preview"]) == 10 and about["preview"][1][0] == "2014-01-02 at no time"
    assert about["columns"]["date"] == "Occurred At" and about["missing"] == []


def write(path: Path, columns: dict[str, list[str]]) -> Path:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([list(columns), *zip(*columns.values(), strict=True)])
    return path


def clocks(first: int, form: str, rows: int = 60) -> list[str]:
    start = datetime(2020, 2, 1, 3, 7) + timedelta(days=first)
    return [(start + timedelta(hours=29 * i)).strftime(form) for i in range(rows)]


KINDS = [CATEGORIES[i % 4] for i in range(60)]
LAT, LON = [f"34.{i + 10}" for i in range(60)], [f"-118.{i + 10}" for i in range(60)]


@pytest.mark.parametrize("reported", ["%m/%d/%Y 12:00:00 AM", "%m/%d/%Y %I:%M:%S %p"])
def test_the_table_of_los_angeles_gives_when_it_happened(tmp_path: Path, reported: str) -> None:
    columns = {"DR_NO": [str(i) for i in range(60)], "Date Rptd": clocks(3, reported)}
    columns |= {"DATE OCC": clocks(0, "%m/%d/%Y 12:00:00 AM"), "TIME OCC": clocks(0, "%H%M"), "AREA": ["1"] * 60}
    columns |= {"AREA NAME": ["Central"] * 60, "Crm Cd": ["510"] * 60, "Crm Cd Desc": KINDS, "Vict Age": ["3"] * 60}
    columns |= {"Vict Sex": ["M"] * 60, "Vict Descent": ["HOMICIDE"] * 60, "Status Desc": ["Invest Cont"] * 60}
    columns |= {"LAT": LAT, "LON": LON}
    found = propose(write(tmp_path / "t.csv", columns))
    assert found.columns == {
        **{"longitude": "LON", "latitude": "LAT", "date": "DATE OCC", "time_of_day": "TIME OCC"},
        "category": "Crm Cd Desc",
    }
    assert found.missing == [] and found.preview[0] == ["2020-02-01 03:07:00", "-118.10000", "34.10000", "THEFT"]


def test_the_table_of_new_york_gives_when_it_began(tmp_path: Path) -> None:
    columns = {"CMPLNT_NUM": [str(i) for i in range(60)], "RPT_DT": clocks(5, "%m/%d/%Y")}
    columns |= {"CMPLNT_TO_DT": clocks(1, "%m/%d/%Y"), "CMPLNT_TO_TM": clocks(1, "%H:%M:%S")}
    columns |= {"CMPLNT_FR_DT": clocks(0, "%m/%d/%Y"), "CMPLNT_FR_TM": clocks(0, "%H:%M:%S")}
    columns |= {"OFNS_DESC": KINDS, "BORO_NM": ["BRONX"] * 60, "VIC_SEX": ["F"] * 60, "SUSP_RACE": ["HOMICIDE"] * 60}
    columns |= {"X_COORD_CD": ["1007314"] * 60, "Y_COORD_CD": ["241257"] * 60, "Latitude": LAT, "Longitude": LON}
    found = propose(write(tmp_path / "t.csv", columns)).columns
    assert (found["date"], found["time_of_day"], found["category"]) == ("CMPLNT_FR_DT", "CMPLNT_FR_TM", "OFNS_DESC")
    assert (found["longitude"], found["latitude"]) == ("Longitude", "Latitude")


@pytest.mark.parametrize("later", ["Reported Time", "ReportDateTime", "Updated On", "date_to", "Last Modified Date"])
def test_when_it_was_reported_counts_only_where_nothing_else_does(tmp_path: Path, later: str) -> None:
    form = "%Y-%m-%d %H:%M:%S"
    columns = {later: clocks(3, form), "kind": KINDS, "lat": LAT, "lon": LON}
    assert propose(write(tmp_path / "t.csv", columns)).columns["time"] == later
    columns = {**columns, "Began": clocks(0, form)}
    assert propose(write(tmp_path / "t.csv", columns)).columns["time"] == "Began"


@pytest.mark.parametrize("lost", ["Occurred", "lon", "kind"])
def test_what_is_known_is_shown_where_a_role_is_missing(tmp_path: Path, lost: str) -> None:
    columns = {"Occurred": clocks(0, "%Y-%m-%d %H:%M:%S"), "kind": KINDS, "lat": LAT, "lon": LON}
    found = propose(write(tmp_path / "t.csv", {name: texts for name, texts in columns.items() if name != lost}))
    whole = ("2020-02-01 03:07:00", "-118.10000", "34.10000", "THEFT")
    at = {"Occurred": 0, "lon": 1, "kind": 3}[lost]
    expected = [*whole[:at], "unreadable" if at == 0 else "none", *whole[at + 1 :]]
    assert len(found.preview) == 10 and list(found.preview[0]) == expected
    assert found.targets == ([] if lost == "kind" else ["HOMICIDE", "SHOOTING"])


def test_a_column_of_a_person_is_never_proposed_or_shown(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("suspect category,offender date,lon sex\nTHEFT,2014-01-01 10:00,1.5\n")
    assert not propose(tmp_path / "t.csv").columns


def test_the_file_can_be_prepared(tmp_path: Path) -> None:
    """With the polygons put where the file says, nothing else needs an edit but their name."""
    folder = tmp_path / "city"
    folder.mkdir()
    text, _ = propose_city('Odd "Town" \\1', odd(tmp_path / "t.csv"), folder / "odd.toml")
    (folder / "odd.toml").write_text(text.replace('name = "name"', 'name = "Name"'))
    (folder / "neighborhoods.geojson").write_text(geojson(TWO_SQUARES))
    city = load_city(folder / "odd.toml")
    assert city.city.name == 'Odd "Town" \\1' and city.incidents.files == ("../t.csv",) and city.fetch is None
    quality = prepare(city, tmp_path / "out")
    assert quality["rows_kept"] == 100 and quality["targets_kept"] == 50


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [("t.doc", b"x", "must be of a kind"), ("t.csv", b"", "is empty"), ("t.json", b"{", "is cut off")],
)
def test_what_is_no_table_is_refused(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=message):
        propose(tmp_path / name)
    with pytest.raises(UserError, match=r"--from = '.*none\.csv': does not exist"):
        propose(tmp_path / "none.csv")


def test_the_command_writes_the_file_and_shows_ten_rows(tmp_path: Path) -> None:
    odd(tmp_path / "t.csv")
    command = [sys.executable, "-m", "hews_gpu", "init", "oddtown", "--from", "t.csv"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.count("2014-01-") == 10 and "Found " in done.stdout and "oddtown.toml" in done.stdout
    assert load_city(tmp_path / "oddtown.toml").incidents.columns["time"] == "Occurred At"
    again = [*command, "--out", "b.toml", "--json"]
    about = json.loads(subprocess.run(again, cwd=tmp_path, capture_output=True, text=True, check=True).stdout)
    assert about["columns"]["category"] == "Offense Group" and len(about["preview"]) == 10
    refused = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert refused.returncode == 2 and "exists already" in refused.stderr


def test_no_table_of_channels_is_shown_where_there_is_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for text, shown in (("Kind,Note\nPICNIC,a\n", False), ("Kind,Note\nROBBERY,a\n", True)):
        (tmp_path / "t.csv").write_text(text)
        with pytest.raises(SystemExit):
            app(["init", "any", "--from", str(tmp_path / "t.csv"), "--out", str(tmp_path / "any.toml"), "--force"])
        assert ("Channels, by words" in capsys.readouterr().out) == shown


def test_day_first_dates_are_refused_not_proposed(tmp_path: Path) -> None:
    lines = [f"{1 + i % 28:02d}/{1 + i // 28:02d}/2014{{}},THEFT,-76.6{i:02d},39.2{i:02d}" for i in range(84)]
    for header, clock in [("When", " 10:{i}"), ("CrimeDate,CrimeTime", ",10:{i}"), ("Day,Hour", ",10:{i}")]:
        rows = [line.format(clock.format(i=10 + i % 50)) for i, line in enumerate(lines)]
        (tmp_path / "t.csv").write_text("\n".join([f"{header},Description,Longitude,Latitude", *rows]))
        with pytest.raises(UserError, match=r"^t\.csv: its dates look day-first, such as 28/03/2014"):
            propose(tmp_path / "t.csv")


def test_a_backslash_in_the_name_of_a_file_is_kept(tmp_path: Path) -> None:
    table = odd(tmp_path / "a\\d.csv")
    text, _ = propose_city("Odd", table, tmp_path / "odd.toml")
    assert text.startswith("# Proposed from a\\d.csv.") and 'files = ["a\\\\d.csv"]' in text
