"""The columns asked for: when, where and what; never who."""

from __future__ import annotations

import pytest

from hews_gpu.errors import UserError
from hews_gpu.fetch.pages import choose_fields

FIELD = "[fetch] incidents"
OPEN_BALTIMORE = (
    "RowID CCNumber CrimeDateTime CrimeCode Description Inside_Outside Weapon Post Gender Age Race Ethnicity Location "
    "Old_District New_District Neighborhood Latitude Longitude GeoLocation PremiseType Total_Incidents"
).split()
CHICAGO = (
    "id case_number date block iucr primary_type description location_description arrest domestic beat district ward "
    "community_area fbi_code x_coordinate y_coordinate year updated_on latitude longitude location"
).split()


def test_person_level_columns_are_never_asked_for() -> None:
    chosen = choose_fields(OPEN_BALTIMORE, columns={}, field=FIELD)
    assert not {"Gender", "Age", "Race", "Ethnicity"} & set(chosen)
    assert {"CrimeDateTime", "Description", "Latitude", "Longitude"} <= set(chosen)


def test_columns_nobody_reads_are_not_asked_for() -> None:
    chosen = choose_fields([*OPEN_BALTIMORE, "Victim_Name", "Notes"], columns={}, field=FIELD)
    assert "Victim_Name" not in chosen and "Notes" not in chosen


def test_a_spelling_of_another_portal_is_known() -> None:
    chosen = choose_fields(CHICAGO, columns={}, field=FIELD)
    assert {"date", "primary_type", "iucr", "latitude", "longitude"} <= set(chosen)
    assert "arrest" not in chosen


def test_columns_of_the_city_file_are_asked_for_too() -> None:
    columns = {"time": "Wann", "category": "Was"}
    assert choose_fields(["Wann", "Was", "Wer"], columns=columns, field=FIELD) == ["Wann", "Was"]


def test_a_person_level_column_is_not_asked_for_even_if_the_city_file_names_it() -> None:
    assert "Victim_Age" not in choose_fields(
        ["Date", "Description", "Victim_Age"], columns={"category": "Victim_Age"}, field=FIELD
    )


@pytest.mark.parametrize(
    ("found", "columns", "role"),
    [
        (["Description", "Latitude"], {}, "time"),
        (["CrimeDateTime", "Latitude"], {}, "category"),
        (["CrimeDateTime", "Wann"], {"time": "Wann"}, "category"),
        ([], {}, "time"),
    ],
)
def test_a_table_without_time_or_category_is_refused(found: list[str], columns: dict[str, str], role: str) -> None:
    with pytest.raises(UserError, match=rf"known to hold the {role}.*\[incidents.columns\] {role} = "):
        choose_fields(found, columns=columns, field=FIELD)
