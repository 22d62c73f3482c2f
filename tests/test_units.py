"""Durations as people write them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hews_gpu.units import parse_duration, short_duration


@pytest.mark.parametrize(
    ("text", "seconds", "short"),
    [
        ("30min", 1800, "30min"),
        ("0.5h", 1800, "30min"),
        ("1.1 h", 3960, "1.1h"),
        (" 24h", 86_400, "24h"),
        ("1d", 86_400, "24h"),
        ("48h", 172_800, "2d"),
        ("7d", 604_800, "7d"),
        ("36h", 129_600, "36h"),
    ],
)
def test_a_duration_is_read_and_written(text, seconds, short):
    assert parse_duration(text) == seconds
    assert short_duration(seconds) == short


@given(st.integers(1, 366 * 24 * 60))
def test_what_is_written_short_is_read_again_to_three_places(minutes):
    assert parse_duration(f"{minutes}min") == 60 * minutes
    if minutes % 6 == 0:  # a tenth of an hour
        assert parse_duration(short_duration(60 * minutes)) == 60 * minutes or 60 * minutes >= 10**6


@pytest.mark.parametrize(
    "text", ["", "2", "h", "-1h", "0h", "0.01min", "1.5min", "2w", "1e3h", "367d", "2h3", "٢h", "nan"]
)
def test_what_is_no_duration_is_refused(text):
    with pytest.raises(ValueError, match="not a duration"):
        parse_duration(text)
