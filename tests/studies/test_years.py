"""Closure against years: nothing earlier than the years given is seen, and the point says what it was made from."""

import json
import xml.etree.ElementTree as ET

import numpy as np
import pytest

from hews_gpu.forecasters.city import generated_city
from studies import years


@pytest.fixture(scope="module")
def city():
    return generated_city("strong", years=3, seed=7)


def test_what_was_before_is_gone_and_the_truth_still_knows(city):
    begin_s = city.begin_s + years.YEAR_S
    cut = years.since(city, begin_s)
    assert cut.events.time_s.min() >= begin_s > city.events.time_s.min()
    assert len(cut.events) == (city.events.time_s >= begin_s).sum() == len(cut.reported_s)
    assert cut.begin_s == begin_s and cut.truth is city.truth
    np.testing.assert_array_equal(cut.events.category, city.events.category[city.events.time_s >= begin_s])


def test_a_point(city, tmp_path):
    found = years.point(city, 1, 1)
    json.dumps(found, allow_nan=False)
    assert found["windows"] == pytest.approx(4383, abs=14)
    assert found["training_windows"] == pytest.approx(4383 - 12 * 120, abs=60)
    closure = found["oracle_gap_closure"]["hewsnet"]
    assert closure["interval"][0] < closure["value"] < closure["interval"][1] and closure["value"] > 0.7
    lost = found["log_loss_bits"]
    gained = (lost["climatology"] - lost["hewsnet"]) / (lost["climatology"] - lost["oracle"])
    assert closure["value"] == pytest.approx(gained)
    ahead = found["hewsnet_ahead_of_boosting_bits"]["value"]
    assert ahead == pytest.approx(lost["boosting"] - lost["hewsnet"])
    years.draw({"presets": {"strong": [found]}}, tmp_path / "years.svg")
    assert ET.parse(tmp_path / "years.svg").getroot().tag.endswith("svg")
