"""Hot spots by hand: three neighborhoods of 1, 1 and 2 square kilometers.

window   events    forecast       ordered by density
0        0 2 0     0.1 0.3 0.2    1, then 0 and 2 (0.1 each; the earlier first)
1        1 0 0     0.4 0.1 0.2    0, then 1 and 2
"""

import numpy as np
import pytest

from hews_gpu.evaluation.bootstrap import Blocks
from hews_gpu.evaluation.mean_interval import mean_interval
from hews_gpu.evaluation.neighborhood_scores import (
    _maps,
    hits_within,
    hot_spot_curve,
    log_loss_of_places_bits,
    neighborhood_scores,
    totals_by_neighborhood,
)
from hews_gpu.units import DAY_S

AREA = np.array([1.0, 1.0, 2.0])
COUNTS = np.array([[0, 2, 0], [1, 0, 0]])
P = np.array([[0.1, 0.3, 0.2], [0.4, 0.1, 0.2]])


def scored(counts, p, area_km2, share):
    """Scores of one share without intervals, the earlier events even by area."""
    (row,) = hot_spot_curve(counts, p, area_km2, [share], area_km2, Blocks.drawn(len(counts), 1, draws=10))
    return {key: row[key] for key in ("area_share", "hit_rate", "pai", "pei", "pei_star")}


def hits(density, share):
    return hits_within(COUNTS, density, AREA, [share])[:, 0].tolist()


def test_hits_take_the_part_that_fits():
    assert hits(P / AREA, 0.25) == [2, 1]
    assert hits(P / AREA, 0.125) == [1, 0.5]
    assert hits(-P / AREA, 0.5) == [0, 0.0]
    assert hits(P / AREA, 1.0) == [2, 1]


def test_hot_spots_reach_as_many_neighborhoods_as_fit_in_each_window():
    """Half of the area: the two small ones in the first window, the large one in the second."""
    density, counts = np.array([[3.0, 2.0, 1.0], [1.0, 2.0, 3.0]]), np.array([[0, 1, 4], [4, 4, 1]])
    assert hits_within(counts, density, AREA, [0.5, 0.25], counts).tolist() == [[1, 0, 1, 0], [1, 0.5, 1, 0.5]]


def test_no_window_has_hits_of_no_kind():
    assert hits_within(COUNTS[:0], P[:0], AREA, [0.1, 0.5], COUNTS[:0]).shape == (0, 4)


def test_scores_of_a_perfect_and_of_a_wrong_order():
    perfect = scored(COUNTS, P, AREA, 0.25)
    assert perfect == {"area_share": 0.25, "hit_rate": 1, "pai": 4, "pei": 1, "pei_star": 1}
    wrong = scored(COUNTS, P[::-1], AREA, 0.5)  # window 0: 0 then 1; window 1: 1 then 0
    assert wrong["hit_rate"] == 1 and wrong["pai"] == 2 and wrong["pei_star"] == 1
    assert wrong["pei"] == pytest.approx(0.5)  # smaller hot spots could have been twice as dense
    half = scored(COUNTS, P[::-1], AREA, 0.25)
    assert half["hit_rate"] == 0 and half["pei_star"] == 0


@pytest.mark.parametrize("seed", range(3))
def test_efficiencies_lie_between_0_and_1_and_no_order_beats_hindsight(seed):
    rng = np.random.default_rng(seed)
    counts, p, area = rng.poisson(0.2, (200, 9)), rng.random((200, 9)), rng.uniform(0.3, 3, 9)
    for share in (0.005, 0.05, 0.3):
        found = scored(counts, p, area, share)
        assert 0 <= found["pei"] <= found["pei_star"] + 1e-12 <= 1 + 1e-12
        assert scored(counts, counts + 1e-9 * area, area, share)["pei_star"] == pytest.approx(1)
        chance = scored(counts, np.tile(area, (200, 1)), area, 1.0)
        assert chance["pai"] == pytest.approx(1)


def test_log_loss_adds_up_over_neighborhoods():
    expected = -np.log2([[0.9, 0.3, 0.8], [0.4, 0.9, 0.8]]).sum(axis=1)
    np.testing.assert_allclose(log_loss_of_places_bits(COUNTS, P), expected)


def test_against_itself_there_is_no_skill():
    counts, p = np.tile(COUNTS, (20, 1)), np.tile(P, (20, 1))
    found = neighborhood_scores(counts, p, p, np.ones(40), AREA, np.ones(3), Blocks.drawn(40, 5, draws=50), DAY_S)
    assert found["log_skill_bits"] == 0 and found["log_skill_bits_interval"] == [0, 0]
    assert [spot["area_share"] for spot in found["hot_spots"]] == [0.005, 0.01, 0.05, 0.2]
    low, high = found["hot_spots"][2]["hit_rate_interval"]
    assert low <= found["hot_spots"][2]["hit_rate"] <= high


def test_skill_has_the_interval_of_every_other_difference():
    rng = np.random.default_rng(0)
    counts, (p, reference) = rng.poisson(0.2, (200, 3)), rng.uniform(0.1, 0.4, (2, 200, 3))
    found = neighborhood_scores(counts, p, reference, np.ones(200), np.ones(3), np.ones(3), Blocks.drawn(200, 7), DAY_S)
    bits = mean_interval(log_loss_of_places_bits(counts, reference) - log_loss_of_places_bits(counts, p), DAY_S)
    assert (found["log_skill_bits"], found["log_skill_bits_interval"]) == (bits["value"], bits["interval"])


def drawn_from(rate):
    """Scores of a forecast of expected events [S, N] that is right, with a calendar of two kinds of hours."""
    rng, area = np.random.default_rng(0), np.array([1.0, 1.0, 2.0, 3.0])
    counts, p = rng.poisson(rate), -np.expm1(-rate)
    calendar = np.tile([1.0, 3.0], len(rate) // 2)
    even = -np.expm1(-rate.sum(axis=1, keepdims=True) * area / area.sum())
    return neighborhood_scores(
        counts, p, even, calendar, area, np.ones(4), Blocks.drawn(len(rate), 84, draws=200), 7200
    )


def test_a_map_that_stays_is_all_geography_whatever_the_hour():
    clock = np.tile([0.02, 0.06], 4000)[:, None]
    found = drawn_from(clock * np.array([1.0, 4.0, 1.0, 1.0]))
    apart = found["apart"]
    assert apart["foresight_bits"] == pytest.approx(0, abs=1e-12)
    assert apart["geography_bits"] == pytest.approx(found["log_skill_bits"]) and apart["geography_bits"] > 0.02
    low, high = apart["geography_bits_interval"]
    assert low < apart["geography_bits"] < high


def test_what_comes_and_goes_without_preference_is_all_foresight():
    rng, area = np.random.default_rng(1), np.array([1.0, 1.0, 2.0, 3.0])
    hot = np.repeat(rng.permuted(np.tile([7.0, 0, 0, 0], (400, 1)), axis=1), 20, axis=0)
    hot *= area / (area * hot).sum(axis=1, keepdims=True) * 7  # as many events by area in the end
    apart = drawn_from(np.tile([0.02, 0.06], 4000)[:, None] * hot / 7 * 3)["apart"]
    assert apart["foresight_bits_interval"][0] > 0.05 and abs(apart["geography_bits"]) < 0.2 * apart["foresight_bits"]


def test_a_forecast_is_not_held_against_what_it_learns_later():
    """Of a forecast that moves from one neighborhood to the other for good, half way: until then it is its own map."""
    rate = np.where(np.arange(400)[:, None] < 200, [0.9, 0.1], [0.1, 0.9]) * 0.1
    _, own = _maps(-np.expm1(-rate), np.ones(400), np.ones(2))
    np.testing.assert_allclose(-np.log1p(-own[:200]), rate[:200])
    np.testing.assert_allclose(-np.log1p(-own[-1]), [0.05, 0.05])


def test_the_curve_holds_its_values_in_their_intervals():
    rng = np.random.default_rng(0)
    counts, p, area = rng.poisson(0.3, (300, 7)), rng.random((300, 7)), rng.uniform(0.3, 3, 7)
    for row in hot_spot_curve(counts, p, area, (0.01, 0.05, 0.4), np.ones(7), Blocks.drawn(300, 12, draws=200)):
        for name in ("hit_rate", "pai", "pei", "pei_star", "rri"):
            low, high = row[f"{name}_interval"]
            assert low < row[name] < high
        assert row["pai_interval"] == pytest.approx(np.array(row["hit_rate_interval"]) / row["area_share"])


def test_there_is_no_recapture_of_hot_spots_that_held_nothing_before():
    (row,) = hot_spot_curve(COUNTS, P, AREA, [0.25], np.array([0, 0, 5]), Blocks.drawn(2, 1, draws=10))
    assert row["rri"] is None and row["rri_interval"] is None and row["hit_rate"] == 1


def test_recapture_of_hot_spots_that_stay_is_levines_ratio():
    """Hot spots are neighborhood 1: 2 of 3 events now, 5 of 20 before; (2 / 5) / (3 / 20)."""
    p = np.tile([0.1, 0.9, 0.1], (2, 1))
    (row,) = hot_spot_curve(COUNTS, p, AREA, [0.25], np.array([10, 5, 5]), Blocks.drawn(2, 1, draws=10))
    assert row["rri"] == pytest.approx((2 / 5) / (3 / 20))


def test_recapture_of_hot_spots_that_move_compares_each_window_with_its_own():
    """Neighborhood 1, then 0: they held 5 and 10 of 20 before; of 2 and 1 events, 2 x 0.25 + 1 x 0.5 were to be hit."""
    (row,) = hot_spot_curve(COUNTS, P, AREA, [0.25], np.array([10, 5, 5]), Blocks.drawn(2, 1, draws=10))
    assert row["rri"] == pytest.approx(3 / (2 * 0.25 + 1 * 0.5))


def test_totals_are_ranked_by_density_with_intervals_that_hold_them():
    counts = np.tile(np.vstack([COUNTS, [[0, 0, 2]]]), (40, 1))  # 40, 80, 80 events on 1, 1, 2 square kilometers
    found = totals_by_neighborhood(counts, AREA, Blocks.drawn(120, 6, draws=100))
    assert found["events"].tolist() == [40, 80, 80] and found["rank"].tolist() == [2, 1, 3]
    assert np.all(found["events_interval"][:, 0] <= found["events"])
    assert np.all(found["events"] <= found["events_interval"][:, 1])
    assert found["rank_interval"][1].tolist() == [1, 1]
