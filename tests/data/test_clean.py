"""The verdict on each row, on tables of a few rows."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from hews_gpu.config import CityConfig, normal_category
from hews_gpu.data.clean import REASONS, Rules, block_frame, clean, parse_numbers
from hews_gpu.data.geometry.polygons import areas_of, load_neighborhoods
from tests.data.toy import read_all, row

Toy = Callable[..., CityConfig]


def cleaned(city: CityConfig, known: frozenset[str] | None = None) -> pd.DataFrame:
    (block,), _ = read_all(city)
    targets = frozenset({"HOMICIDE", "SHOOTING"})
    rules = Rules(areas=areas_of(load_neighborhoods(city)), tolerance_m=250, targets=targets, known=known)
    return clean(block_frame(block), rules)


def reasons(frame: pd.DataFrame) -> list[str]:
    return [REASONS[code] for code in frame["reason"]]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (row(), ""),
        (row(time="2400"), ""),
        (row(time="112", category=" shooting  "), ""),
        (row(date="2014-01-31"), ""),
        (row(longitude=" -76.605 ", latitude="3.9285e1"), ""),
        (row(longitude="-76.6221"), ""),
        (row(time=""), "unparsable time"),
        (row(date="31/01/2014"), "unparsable time"),
        (row(longitude=""), "no coordinates"),
        (row(latitude=" "), "no coordinates"),
        (row(latitude="n/a"), "no coordinates"),
        (row(longitude="nan"), "no coordinates"),
        (row(longitude="-inf"), "no coordinates"),
        (row(longitude="1e999"), "no coordinates"),
        (row(longitude="0", latitude="0"), "no coordinates"),
        (row(longitude="0.0", latitude="5.684341886080802e-14"), "no coordinates"),
        (row(longitude="-76.7"), "outside the study area"),
        (row(longitude="39.285", latitude="-76.605"), "outside the study area"),
        (row(longitude="1430000", latitude="590000"), "outside the study area"),
        (row(longitude="0"), "outside the study area"),
        (row(category=""), "no category"),
        (row(category="  "), "no category"),
        (row(category="JAYWALKING"), ""),
        ("", "blank line"),
        ("a,b,c", "wrong number of fields"),
        (row(time="", longitude="", category=""), "unparsable time"),
    ],
)
def test_one_row_has_one_verdict(toy: Toy, line: str, reason: str) -> None:
    assert reasons(cleaned(toy([row(), line, row()]))) == ["", reason, ""]


def test_unknown_categories_are_set_aside_only_if_the_city_says_so(toy: Toy) -> None:
    city = toy([row(), row(category="JAYWALKING")])
    assert reasons(cleaned(city)) == ["", ""]
    assert reasons(cleaned(city, known=frozenset({"LARCENY"}))) == ["", "unknown category"]


def test_values_of_a_good_row(toy: Toy) -> None:
    frame = cleaned(toy([row(), row(time="24:00:00", category="homicide ", longitude="-76.62", rest="BAR,,,")]))
    assert frame["time_s"].tolist() == [1391211000, 1391212800]
    assert frame["longitude"].tolist() == [-76.605, -76.62] and frame["latitude"].tolist() == [39.285, 39.285]
    assert frame["category"].tolist() == ["LARCENY", "HOMICIDE"]
    assert frame["is_target"].tolist() == [False, True]
    assert frame["neighborhood_id"].tolist() == [1, 0] and not frame["is_nearest"].any()


def test_the_hashes_tell_rows_apart_by_every_text_that_is_read(toy: Toy) -> None:
    variants = [
        row(),
        row(),
        row(date="1/31/2014"),
        row(time="23:30"),
        row(category="larceny"),
        row(longitude="-76.6050"),
    ]
    variants += [
        row(rest="STREET,,900 FAWN ST,6D"),
        row(rest="STREET,900 FAWN ST,,6C"),
        row(rest=",STREET,900 FAWN ST,6C"),
    ]
    frame = cleaned(toy(variants))
    for name in ("hash_a", "hash_b"):
        assert frame[name][0] == frame[name][1]
        assert frame[name].nunique() == len(variants) - 1


def test_the_hashes_of_thousands_of_similar_rows_do_not_clash(toy: Toy) -> None:
    lines = [row(time=f"{i % 24:02d}:{i % 60:02d}", rest=f"{i % 7},{i % 11},{i},{i % 2}") for i in range(5000)]
    frame = cleaned(toy(lines))
    assert frame["hash_a"].nunique() == frame["hash_b"].nunique() == len(set(lines)) == 5000


def test_a_mapped_table_with_date_and_time_in_one_column(toy: Toy) -> None:
    text = "when,x,y,what\n2014-01-31T23:30:00,-76.605,39.285,Shooting\n2014-01-31,-76.605,39.285,Shooting\n"
    roles = '[incidents.columns]\ntime = "When"\nlongitude = "x"\nlatitude = "y"\ncategory = "what"\n'
    frame = cleaned(toy(files={"a.csv": text.encode()}, incidents=roles))
    assert reasons(frame) == ["", "unparsable time"]
    assert frame["time_s"][0] == 1391211000


def test_numbers_are_parsed_exactly() -> None:
    texts = ["39.297090000000004", "-76.6527000000", " 1e-14 ", "+.5", "", "1,5", "0x10", "1_0", "inf", "NaN", "\u0661"]
    expected = [39.297090000000004, -76.6527, 1e-14, 0.5, *[np.nan] * 7]
    np.testing.assert_array_equal(parse_numbers(pa.array(texts)), expected)


def test_categories_are_compared_without_regard_to_case_and_spacing() -> None:
    assert normal_category("  Agg.   assault\n") == "AGG. ASSAULT"


def test_clean_is_pure_and_takes_an_empty_partition(toy: Toy) -> None:
    city = toy([row()])
    frame = cleaned(city)
    again = frame.drop(columns=["reason", "neighborhood_id", "is_nearest", "is_target"])
    before = again.copy(deep=True)
    rules = Rules(areas=areas_of(load_neighborhoods(city)), tolerance_m=0, targets=frozenset(), known=None)
    assert len(clean(again.iloc[:0], rules)) == 0
    clean(again, rules)
    pd.testing.assert_frame_equal(again, before)
