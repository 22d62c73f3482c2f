"""Planted groups are found where they are; where there are none, that is said."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score

from hews_gpu.groups import evidence
from hews_gpu.groups.encoding import PLACE, columns_of, permuted, with_census
from hews_gpu.groups.engine import choose_engine
from hews_gpu.groups.run import GroupTask, find_groups, groups_in_words
from hews_gpu.workers import in_this_process
from studies.inputs.victims import generated


def found(work, groups, seed=0):
    victims, planted, middles_km = generated(1_500, groups, seed)
    result, labels, _ = find_groups(
        victims, None, middles_km, GroupTask(choose_engine("cpu"), 0, in_this_process, work)
    )
    return result, labels, planted


def test_planted_groups_are_found(tmp_path) -> None:
    result, labels, planted = found(tmp_path, 4)
    assert result["is_real"] and result["k"] == 4
    assert adjusted_rand_score(planted, labels) >= 0.9
    assert groups_in_words(result).startswith("4 groups")


def test_no_groups_are_said_where_there_are_none(tmp_path) -> None:
    result, _, _ = found(tmp_path, 1, seed=1)
    assert not result["is_real"] and result["reasons"]
    assert groups_in_words(result).startswith("No groups: ")


def test_a_null_table_keeps_neighborhoods_and_census_and_nothing_else() -> None:
    victims, _, middles_km = generated(800, 3, 0)
    columns = with_census(columns_of(victims, middles_km), np.random.default_rng(0).random((40, 2)))
    null = permuted(columns, np.random.default_rng(1))
    place = columns[PLACE].codes
    for name in ("category", "hour"):
        assert (null[name].codes != columns[name].codes).any()
        for at in np.unique(place):
            assert (np.sort(null[name].codes[place == at]) == np.sort(columns[name].codes[place == at])).all()
    for name in (PLACE, "census"):
        assert null[name] is columns[name]


def test_the_join_is_told_apart_from_what_the_census_says() -> None:
    """Census columns of pure chance make part 2 look distinct, and the swapped rows show that it is the join."""
    victims, _, middles_km = generated(1_500, 1, 3)
    census = np.random.default_rng(3).normal(size=(40, 12))
    finder = evidence.Finder(choose_engine("cpu"))
    result = finder.evidence(columns_of(victims, middles_km), census).result
    join = result["join"]
    assert not result["is_real"]
    assert join["part_2"]["value"] > join["part_1"]["value"] + 0.02
    low, high = join["part_2_swapped"]["interval"]
    assert low - 0.05 < join["part_2"]["value"] < high + 0.05
    assert join["gain_swapped"]["value"] > 0.5


@pytest.mark.parametrize(
    ("key", "value", "word"),
    [("gap_t", 3.0, "gap"), ("silhouette_t", -1.0, "silhouette"), ("stability", {"value": 0.7}, "resampled rows")],
)
def test_each_of_three_conditions_alone_makes_no_groups(key, value, word) -> None:
    result = {"gap_t": 9.0, "silhouette_t": 9.0, "t_needed": 3.4, "stability": {"value": 0.9}}
    assert evidence._reasons(result) == []
    (reason,) = evidence._reasons({**result, key: value})
    assert word in reason
