"""Calendar features come back after a day, a week, a year, and tell hours and days apart."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from hews_gpu.feed.batch import FEATURES, calendar_features

DAY_S = 86_400
DAILY, WEEKLY, YEARLY = slice(0, 6), slice(6, 12), slice(12, 16)
times = st.integers(-(10**9), 4 * 10**9)


@given(times)
def test_shape_range_and_cycles(time_s):
    found = calendar_features(np.array([time_s, time_s + DAY_S, time_s + 7 * DAY_S, time_s + 146_097 * DAY_S]))
    assert found.shape == (4, FEATURES) and found.dtype == np.float32
    assert (np.abs(found) <= 1).all()
    np.testing.assert_allclose(found[0, DAILY], found[1, DAILY], atol=1e-6)
    np.testing.assert_allclose(found[0, WEEKLY], found[2, WEEKLY], atol=1e-6)
    np.testing.assert_allclose(found[0], found[3], atol=1e-4)  # 400 years: all three cycles meet again
    assert np.abs(found[0, WEEKLY] - found[1, WEEKLY]).max() > 0.1


def test_known_values():
    # 2024-01-01T06:00, a quarter of a day in: sin 1, cos 0, and their harmonics
    found = calendar_features(np.array([1_704_088_800]))[0]
    np.testing.assert_allclose(found[DAILY], [1, 0, 0, -1, -1, 0], atol=1e-6)


def test_every_two_hour_slot_of_a_week_is_its_own():
    found = calendar_features(np.arange(84) * 7200)
    distance = np.abs(found[:, None] - found[None]).max(axis=2) + np.eye(84)
    assert distance.min() > 0.02
