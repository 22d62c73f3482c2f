"""Hot spots by hand: three neighborhoods of 1, 1 and 2 square kilometers.

window   events    forecast       ordered by density
0        0 2 0     0.1 0.3 0.2    1, then 0 and 2 (0.1 each; the earlier first)
1        1 0 0     0.4 0.1 0.2    0, then 1 and 2
"""

import numpy as np
import pytest

from hews_gpu.evaluation.bootstrap import Blocks
from hews_gpu.evaluation.neighborhood_scores import hits, hot_spot_scores, log_loss_of_places_bits, place_scores

AREA = np.array([1.0, 1.0, 2.0])
COUNTS = np.array([[0, 2, 0], [1, 0, 0]])
P = np.array([[0.1, 0.3, 0.2], [0.4, 0.1, 0.2]])


def test_hits_take_the_part_that_fits():
    assert hits(COUNTS, P / AREA, AREA, 0.25).tolist() == [2, 1]
    assert hits(COUNTS, P / AREA, AREA, 0.125).tolist() == [1, 0.5]
    assert hits(COUNTS, -P / AREA, AREA, 0.5).tolist() == [0, 0.0]
    assert hits(COUNTS, P / AREA, AREA, 1.0).tolist() == [2, 1]


def test_scores_of_a_perfect_and_of_a_wrong_order():
    perfect = hot_spot_scores(COUNTS, P, AREA, 0.25)
    assert perfect == {"area_share": 0.25, "hit_rate": 1, "pai": 4, "pei": 1, "pei_star": 1}
    wrong = hot_spot_scores(COUNTS, P[::-1], AREA, 0.5)  # window 0: 0 then 1; window 1: 1 then 0
    assert wrong["hit_rate"] == 1 and wrong["pai"] == 2 and wrong["pei_star"] == 1
    assert wrong["pei"] == pytest.approx(0.5)  # smaller hot spots could have been twice as dense
    half = hot_spot_scores(COUNTS, P[::-1], AREA, 0.25)
    assert half["hit_rate"] == 0 and half["pei_star"] == 0


@pytest.mark.parametrize("seed", range(3))
def test_efficiencies_lie_between_0_and_1_and_no_order_beats_hindsight(seed):
    rng = np.random.default_rng(seed)
    counts, p, area = rng.poisson(0.2, (200, 9)), rng.random((200, 9)), rng.uniform(0.3, 3, 9)
    for share in (0.005, 0.05, 0.3):
        found = hot_spot_scores(counts, p, area, share)
        assert 0 <= found["pei"] <= found["pei_star"] + 1e-12 <= 1 + 1e-12
        assert hot_spot_scores(counts, counts + 1e-9 * area, area, share)["pei_star"] == pytest.approx(1)
        chance = hot_spot_scores(counts, np.tile(area, (200, 1)), area, 1.0)
        assert chance["pai"] == pytest.approx(1)


def test_log_loss_adds_up_over_neighborhoods():
    expected = -np.log2([[0.9, 0.3, 0.8], [0.4, 0.9, 0.8]]).sum(axis=1)
    np.testing.assert_allclose(log_loss_of_places_bits(COUNTS, P), expected)


def test_against_itself_there_is_no_skill():
    counts, p = np.tile(COUNTS, (20, 1)), np.tile(P, (20, 1))
    found = place_scores(counts, p, p, AREA, Blocks.drawn(40, 5, draws=50))
    assert found["log_skill_bits"] == 0 and found["log_skill_bits_interval"] == [0, 0]
    assert [spot["area_share"] for spot in found["hot_spots"]] == [0.005, 0.01, 0.05]
    low, high = found["hot_spots"][2]["hit_rate_interval"]
    assert low <= found["hot_spots"][2]["hit_rate"] <= high
