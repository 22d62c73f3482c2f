"""The strips of missing values: which columns, which colors, and what is said where there is nothing to show."""

from __future__ import annotations

import re

import numpy as np
import pytest

from hews_gpu.report.figures import quality
from hews_gpu.report.figures.quality import EDGES_PERCENT, NO_ROWS, NONE_BLANK, missing

MONTHS = ["2014-01", "2014-02", "2014-03", "2014-04"]


def found(**blank: list[int]) -> dict:
    return {
        "months": MONTHS,
        "columns": {name: {"rows": [200, 0, 200, 200], "blank": counts} for name, counts in blank.items()},
    }


@pytest.mark.parametrize("content", [{"months": [], "columns": {}}, found(a=[0, 0, 0, 0])])
def test_without_blanks_there_is_no_figure(content) -> None:
    assert missing(content) == (None, [])


def test_each_month_has_the_color_of_its_class() -> None:
    share = np.array([0.0, np.nan, 0.5, 1.0, 19.9, 20.0, 100.0])
    expected = [NONE_BLANK, NO_ROWS, 0, 1, 2, 3, len(EDGES_PERCENT) - 1]
    assert quality._classes(share).tolist() == expected


def test_columns_without_blanks_are_left_out_and_the_fullest_of_blanks_come_first() -> None:
    drawing, key = missing(found(some=[0, 0, 1, 0], none=[0, 0, 0, 0], most=[200, 0, 200, 10]))
    names = re.findall(r">(some|none|most)</text>", drawing)
    assert names == ["most", "some"]
    assert [item.label for item in key] == ["none", "up to 1 %", "5 to 20 %", "90 to 100 %"]
    assert {item.color for item in key} == {"land", "ramp0", "ramp2", "ramp6"}
    assert "Blank values of 2 columns by month, from 2014-01 to 2014-04; most in most." in drawing
    for item in key:
        assert f"var(--{item.color})" in drawing
