"""Schemas are recognized by column names, and columns that describe a person are never chosen."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from hews_gpu.config import CityConfig
from hews_gpu.data.prepare.command import prepare
from hews_gpu.data.readers.schemas import PORTAL, SCHEMAS, ReadSettings, choose_columns, is_person_level
from hews_gpu.errors import UserError
from tests.data import formats
from tests.data.formats import INCIDENTS
from tests.data.toy import row

Toy = Callable[..., CityConfig]
FOUND = ["CrimeDate", "CrimeTime", "Age", "Description", "Longitude", "Latitude", "Premise", "District", "Extra"]


def test_the_portal_schema_is_found_whatever_the_case_order_and_spacing() -> None:
    spelt = [
        "\ufeffcrime date",
        "CRIMETIME",
        "Age",
        " Description ",
        "longitude",
        "LATITUDE",
        "Premise",
        "District",
        "X",
    ]
    for found in (FOUND, spelt):
        columns = choose_columns(found, file="t.csv")
        assert columns.schema == "portal"
        assert columns.roles == {"date": 0, "time_of_day": 1, "category": 3, "longitude": 4, "latitude": 5}
        assert columns.charts_only == {"Premise": 6}
        assert columns.compared == {"District": 7}
        assert columns.person_level == 1
        assert 2 not in columns.read.values() and 8 not in columns.read.values()


def test_a_missing_column_is_named_together_with_what_was_found() -> None:
    with pytest.raises(
        UserError, match=r"t\.csv: lacks 'Latitude' of the schema 'portal'.*'Longitud.*incidents\.columns"
    ):
        choose_columns([name for name in FOUND if name != "Latitude"], file="t.csv")


def test_a_table_of_no_known_schema_can_be_mapped() -> None:
    roles = {"time": "when", "longitude": "x", "latitude": "y", "category": "what"}
    columns = choose_columns(["what", "When", "x", "y"], file="t.csv", settings=ReadSettings(mapped=roles))
    assert columns.schema == "mapped"
    assert columns.roles == {"time": 1, "longitude": 2, "latitude": 3, "category": 0}


def test_a_mapped_role_goes_before_the_schema() -> None:
    columns = choose_columns(FOUND, file="t.csv", settings=ReadSettings(mapped={"category": "Extra"}))
    assert columns.schema == "portal" and columns.roles["category"] == 8
    columns = choose_columns(FOUND, file="t.csv", settings=ReadSettings(mapped={"time": "Extra"}))
    assert set(columns.roles) == {"time", "longitude", "latitude", "category"}


def test_an_incomplete_or_wrong_mapping_is_refused() -> None:
    with pytest.raises(UserError, match="must name the column for 'latitude'"):
        choose_columns(["a", "b", "c"], file="t.csv", settings=ReadSettings(mapped={"time": "a", "longitude": "b"}))
    with pytest.raises(UserError, match=r"no column 'Longitud' for the longitude.*Did you mean 'Longitude'"):
        choose_columns(FOUND, file="t.csv", settings=ReadSettings(mapped={"longitude": "Longitud"}))
    with pytest.raises(UserError, match="describes a person"):
        choose_columns(FOUND, file="t.csv", settings=ReadSettings(mapped={"category": "Age"}))


@pytest.mark.parametrize("second", ["Latitude", "LATITUDE", "lati tude"])
def test_of_two_columns_of_one_name_none_is_read(second: str) -> None:
    names = [*FOUND, second]
    if second == "Latitude":
        with pytest.raises(
            UserError, match=r"t\.csv: has 2 columns of the name 'Latitude': number \d+ 'Latitude', number 10"
        ):
            choose_columns(names, file="t.csv")
    else:  # one is spelled as asked for
        assert choose_columns(names, file="t.csv") == replace(choose_columns(FOUND, file="t.csv"), names=tuple(names))
    settings = ReadSettings(mapped={"latitude": "latitude"})
    with pytest.raises(UserError, match="has 2 columns of the name 'latitude'"):
        choose_columns(names, file="t.csv", settings=settings)


def test_two_columns_of_one_name_that_are_not_needed_do_no_harm() -> None:
    names = [*FOUND, "Notes", "Notes", ""]
    assert choose_columns(names, file="t.csv").roles == choose_columns(FOUND, file="t.csv").roles


def test_a_column_that_marks_targets_is_read_under_a_name_of_its_own_and_is_no_chart(  # nor compared
) -> None:
    settings = ReadSettings(targets=("premise", "Extra", "time"))
    columns = choose_columns([*FOUND, "time"], file="t.csv", settings=settings)
    assert columns.targets == {"premise": FOUND.index("Premise"), "Extra": 8, "time": len(FOUND)}
    assert "Premise" not in columns.charts_only and columns.read["target: time"] == len(FOUND)


def test_an_unknown_schema_name_is_refused() -> None:
    with pytest.raises(UserError, match=r"is not a known schema\. Did you mean 'portal'"):
        choose_columns(FOUND, file="t.csv", settings=ReadSettings(schema="portall"))


@pytest.mark.parametrize("name", ["Age", "SEX", "victim_race", "VictimAge", "Vict Sex", "Ethnicity", "OFFENDER GENDER"])
def test_person_level_names(name: str) -> None:
    assert is_person_level(name)


@pytest.mark.parametrize("name", ["Premise", "Description", "Village", "Agency", "Stage", "Location 1", "Essex"])
def test_other_names(name: str) -> None:
    assert not is_person_level(name)


LOS_ANGELES = (
    "DR_NO,Date Rptd,DATE OCC,TIME OCC,AREA,AREA NAME,Rpt Dist No,Part 1-2,Crm Cd,Crm Cd Desc,Mocodes,Vict Age,"
    "Vict Sex,Vict Descent,Premis Cd,Premis Desc,Weapon Used Cd,Weapon Desc,Status,Status Desc,Crm Cd 1,LOCATION,"
    "Cross Street,LAT,LON"
)


NEW_YORK = (
    "CMPLNT_NUM,CMPLNT_FR_DT,CMPLNT_FR_TM,CMPLNT_TO_DT,CMPLNT_TO_TM,ADDR_PCT_CD,RPT_DT,KY_CD,OFNS_DESC,PD_CD,PD_DESC,"
    "CRM_ATPT_CPTD_CD,LAW_CAT_CD,BORO_NM,LOC_OF_OCCUR_DESC,PREM_TYP_DESC,JURIS_DESC,PARKS_NM,HADEVELOPT,X_COORD_CD,"
    "Y_COORD_CD,SUSP_AGE_GROUP,SUSP_RACE,SUSP_SEX,Latitude,Longitude,Lat_Lon,PATROL_BORO,STATION_NAME,VIC_AGE_GROUP,"
    "VIC_RACE,VIC_SEX,PERP_AGE_GROUP,PERP_SEX,PERP_RACE,STATISTICAL_MURDER_FLAG,OCCUR_DATE,OCCUR_TIME"
)


CHICAGO_COLUMNS = (
    "ID,Case Number,Date,Block,IUCR,Primary Type,Description,Location Description,Arrest,Domestic,Beat,District,Ward,"
    "Community Area,FBI Code,X Coordinate,Y Coordinate,Year,Updated On,Latitude,Longitude,Location,"
    "VICTIMIZATION_PRIMARY,INCIDENT_PRIMARY,GUNSHOT_INJURY_I,AGE,SEX,RACE,ZIP_CODE,STREET_OUTREACH_ORGANIZATION"
)


@pytest.mark.parametrize(
    ("names", "persons"),
    [
        (LOS_ANGELES, "Vict Age,Vict Sex,Vict Descent"),
        (
            NEW_YORK,
            "SUSP_AGE_GROUP,SUSP_RACE,SUSP_SEX,VIC_AGE_GROUP,VIC_RACE,VIC_SEX,PERP_AGE_GROUP,PERP_SEX,PERP_RACE",
        ),
        (CHICAGO_COLUMNS, "AGE,SEX,RACE"),
    ],
)
def test_person_level_columns_of_real_tables(names: str, persons: str) -> None:
    assert [name for name in names.split(",") if is_person_level(name)] == persons.split(",")


@pytest.mark.parametrize(
    "name",
    [
        "victimage",
        "suspectrace",
        "VICTIMSEX",
        "PerpetratorName",
        "perpetrators",
        "Perpetrator Age",
        "Nationality",
        "vicrace",
        "perpsex",
        "susp_descent",
        "nationalities",
        "Citizenship",
        "Complainant",
        "arresteeage",
        "victims",
        "suspectethnicity",
        "Self-defined ethnicity",
        "Officer-defined ethnicity",
        "Date of Birth",
        "OffenderCount",
    ],
)
def test_joined_and_plural_names_of_persons(name: str) -> None:
    assert is_person_level(name)


@pytest.mark.parametrize(
    "name",
    [
        "Offense",
        "Service",
        "Vice",
        "Average",
        "Terrace",
        "Perpendicular",
        "Suspended",
        "Office",
        "Arrest",
        "OFFENSE_NAME",
        "Definition",
        "Person Count",
        "City",
        "Suspected Crime",
    ],
)
def test_names_that_only_resemble_those_of_persons(name: str) -> None:
    assert not is_person_level(name)


def test_no_schema_lists_a_person_level_column() -> None:
    for schema in SCHEMAS:
        for name in (*schema.roles.values(), *schema.charts_only, *schema.compared):
            assert not is_person_level(name)
    assert PORTAL in SCHEMAS


def drop(table: bytes, *names: str) -> bytes:
    """A CSV table without some columns."""
    lines = [line.split(",") for line in table.decode().splitlines()]
    keep = [i for i, name in enumerate(lines[0]) if name not in names]
    return "\n".join(",".join(line[i] for i in keep) for line in lines).encode()


def test_a_table_without_coordinates_is_set_aside_with_that_reason(toy: Toy, tmp_path: Path) -> None:
    placeless = drop(formats.arcgis(), "Longitude", "Latitude")
    quality = prepare(toy(files={"a.csv": placeless, "b.csv": formats.portal()}), tmp_path / "out")
    assert quality["quarantined_by_reason"] == {"table has no coordinate columns": 3}
    assert quality["targets_quarantined_by_reason"] == {"table has no coordinate columns": 2}
    aside = pq.read_table(tmp_path / "out/quarantine.parquet").to_pylist()
    assert [(r["source"], r["line"], r["category_text"]) for r in aside][1] == ("a.csv", 3, "SHOOTING")
    assert formats.read_incidents(tmp_path / "out") == list(INCIDENTS)


def test_a_table_without_coordinates_alone_is_refused(toy: Toy, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"none of the 3 rows can be used \(table has no coordinate columns: 3\)"):
        prepare(toy(files={"a.csv": drop(formats.chicago(), "Longitude", "Latitude")}), tmp_path / "out")


def test_names_of_older_vintages_become_one_and_stay_countable(toy: Toy, tmp_path: Path) -> None:
    lines = [row(category=name) for name in ("MURDER", "Homicide", "agg.  asslt.- gun", "AGG. ASSAULT", "1a-murder")]
    quality = prepare(toy(lines), tmp_path / "out")
    assert quality["categories"] == {"AGG. ASSAULT": 2, "HOMICIDE": 3} and quality["targets_kept"] == 3
    assert quality["renamed_categories"] == {
        "1A-MURDER": {"named": "HOMICIDE", "rows": 1},
        "AGG. ASSLT.- GUN": {"named": "AGG. ASSAULT", "rows": 1},
        "MURDER": {"named": "HOMICIDE", "rows": 1},
    }


def test_a_whole_mapping_is_for_the_files_that_have_its_columns(toy: Toy, tmp_path: Path) -> None:
    mapped = b"when,x,y,what\n2014-01-31T23:30:00,-76.605,39.285,LARCENY\n"
    roles = '[incidents.columns]\ntime = "when"\nlongitude = "x"\nlatitude = "y"\ncategory = "what"\n'
    files = {"a.csv": mapped, "b.csv": formats.chicago(INCIDENTS[1:])}
    quality = prepare(toy(files=files, incidents=roles), tmp_path / "out")
    assert formats.read_incidents(tmp_path / "out") == list(INCIDENTS)
    assert [about["schema"] for about in quality["files"]] == ["mapped", "chicago"]


@pytest.mark.parametrize(
    "names",
    [
        ["1", "2019-01-05", "21:30", "THEFT", "-76.605", "39.285"],
        ["THEFT", "01/05/2019 21:30", "-76.605", "39.285"],
        ["2019-01-05T21:30:00.000", "THEFT", "39.285", "-76.605", "x", "y", "z"],
    ],
)
def test_a_first_line_of_values_is_no_header(names: list[str]) -> None:
    with pytest.raises(UserError, match=r"^t\.csv: has no header: its first line holds values such as '.*Put a line"):
        choose_columns(names, file="t.csv")


def test_names_with_numbers_are_a_header() -> None:
    choose_columns([*FOUND, "2010", "2020 Population", "Location 1", "v1.0"], file="t.csv")


def test_a_date_alone_is_enough_and_nothing_at_all_is_not() -> None:
    place = {"longitude": "x", "latitude": "y", "category": "what"}
    names = ["day", "x", "y", "what", "clock"]
    columns = choose_columns(names, file="t.csv", settings=ReadSettings(mapped={**place, "date": "day"}))
    assert columns.roles == {"longitude": 1, "latitude": 2, "category": 3, "date": 0} and not columns.are_times_known
    for mapped, role in [(place, "time"), ({**place, "time_of_day": "clock"}, "date")]:
        with pytest.raises(UserError, match=rf"must name the column for '{role}'"):
            choose_columns(names, file="t.csv", settings=ReadSettings(mapped=mapped))
