"""What a census file says of the neighborhoods, and every way in which it may not fit."""

import gzip
import json

import numpy as np
import pytest

from hews_gpu.data.census import read_census
from hews_gpu.errors import UserError

NAMES = ["Old Town", "St. Mary's Hill", "The Yards"]
CSV = "area,people,vacant,homes,income\nOLD TOWN,100,5,50,30000\nSt Marys Hill,0,0,0,\nElsewhere,7,1,2,10000\n"


def write(tmp_path, text=CSV, name="census.csv"):
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return path


def read(path, asked=("people", "vacant/homes", "income"), name="area"):
    return read_census(path, name=name, asked=asked, neighborhoods=NAMES)


def test_rows_are_found_whatever_case_and_punctuation_and_none_is_made_up(tmp_path):
    found = read(write(tmp_path))
    np.testing.assert_array_equal(found.values["people"], [100, 0, np.nan])
    np.testing.assert_array_equal(found.values["vacant/homes"], [0.1, np.nan, np.nan])  # 0 of 0 is no share
    np.testing.assert_array_equal(found.values["income"], [30000, np.nan, np.nan])
    assert found.without == ("The Yards",)


def test_a_name_of_digits_keeps_its_zeros(tmp_path):
    names = [f"{n:03}" for n in range(1, 121)]
    path = write(tmp_path, "\n".join(["tract,people", *(f"{name},{n}" for n, name in enumerate(names))]))
    found = read_census(path, name="tract", asked=["people"], neighborhoods=names)
    assert found.without == () and found.values["people"].tolist() == list(range(120))


def test_a_name_of_digits_is_no_number_with_a_decimal(tmp_path):
    path = write(tmp_path, "tract,people\n100,5\n1000.5,7\n")
    found = read_census(path, name="tract", asked=["people"], neighborhoods=["100", "1000"])
    assert found.without == ("1000",) and found.values["people"][0] == 5


def test_the_properties_of_polygons_do(tmp_path):
    square = {"type": "Polygon", "coordinates": [[[0, 0], [1, 0], [1, 1], [0, 0]]]}
    features = [
        {"type": "Feature", "properties": {"Name": name, "people": n}, "geometry": square}
        for n, name in enumerate(NAMES, 1)
    ]
    path = tmp_path / "areas.geojson.gz"
    path.write_bytes(gzip.compress(json.dumps({"type": "FeatureCollection", "features": features}).encode()))
    found = read(path, ["people"], "Name")
    assert found.values["people"].tolist() == [1, 2, 3] and found.without == ()
    with pytest.raises(
        UserError, match=r"--name = 'Nane': is not a column of areas\.geojson\.gz\. Did you mean 'Name'"
    ):
        read(path, ["people"], "Nane")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (CSV.replace("area", "place"), r"--name = 'area': is not a column of census\.csv"),
        (CSV.replace("people", "persons"), r"--census census\.csv = 'people': is not a column of it.*persons"),
        (CSV.replace("100", "many"), r"census\.csv, people = 'many': must be a number"),
        (CSV.replace("100", "-1"), r"census\.csv, people: must hold finite numbers of 0 or more"),
        (CSV.replace("100", "inf"), r"census\.csv, people: must hold finite numbers of 0 or more"),
        (CSV.replace("Elsewhere", "old-town"), r"census\.csv = 'old-town': names no neighborhood, or one twice"),
        (CSV.replace("Elsewhere", ""), r"names no neighborhood, or one twice"),
        (CSV.replace("TOWN", "x").replace("Marys", "y"), r"names not one of the city's neighborhoods.*--name"),
        ("", r"cannot be read \("),
        ('area,people\n"x,1\n', r"cannot be read \("),
        ("area,people,vacant,homes,income\nOld Town,,1,1,1\n", r"census\.csv, people = 'nan': must be a number"),
    ],
)
def test_a_file_that_does_not_fit_is_one_line(tmp_path, text, message):
    with pytest.raises(UserError, match=message) as caught:
        read(write(tmp_path, text))
    assert "\n" not in str(caught.value)


def test_a_file_of_another_kind_is_one_line(tmp_path):
    for path, message in (
        (tmp_path / "none.csv", "does not exist"),
        (tmp_path, "is no file"),
        (write(tmp_path, CSV, "census.txt"), r"is of a kind that is not read \('txt'\)"),
        (write(tmp_path, "{}", "census.geojson"), "census.geojson"),
    ):
        with pytest.raises(UserError, match=message) as caught:
            read(path)
        assert "\n" not in str(caught.value)
