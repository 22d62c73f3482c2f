"""The Knox test: counts against a double loop and pointpats, no alarm where there is nothing, planted repeats found."""

import numpy as np
import pytest

from hews_gpu.evaluation.near_pairs import EDGES_S, KnoxTable, knox
from hews_gpu.forecasters.city import generated_city

DAY_S = 86_400
EDGES_M = (0.0, 100.0, 200.0, 500.0)


def scattered(seed, n=600):
    """Events of two years over hot spots and quiet ground, times and places independent."""
    rng = np.random.default_rng(seed)
    spots = rng.uniform(0, 12_000, (30, 2))
    xy_m = np.where(rng.random((n, 1)) < 0.5, spots[rng.integers(0, 30, n)], rng.uniform(0, 12_000, (n, 2)))
    return rng.integers(0, 730 * DAY_S, n), xy_m + rng.normal(0, 80, (n, 2)), rng


def again(time_s, xy_m, rng, days, count=30):
    """The events, of which some happen once more about 50 m away."""
    which = rng.choice(len(time_s), count, replace=False)
    late = time_s[which] + int(days * DAY_S)
    return np.concatenate([time_s, late]), np.concatenate([xy_m, xy_m[which] + rng.normal(0, 35, (count, 2))])


def test_pairs_are_those_of_a_double_loop():
    """With events on the very edges of both kinds of band: at 200 m, at one place, a day apart."""
    time_s, xy_m, _ = scattered(0, n=300)
    time_s[:3], xy_m[:3] = [0, DAY_S, 3 * DAY_S], [[0, 0], [200, 0], [0, 0]]
    expected = np.zeros((3, 4), int)
    for i in range(300):
        for j in range(i):
            far, late = np.hypot(*(xy_m[i] - xy_m[j])), abs(time_s[i] - time_s[j])
            for d in range(3):
                for t in range(4):
                    inside = EDGES_M[d] < far <= EDGES_M[d + 1] or (d == 0 and far == 0)
                    expected[d, t] += inside and EDGES_S[t] <= late < EDGES_S[t + 1]
    found = knox(time_s, xy_m, edges_m=EDGES_M, exchanges=10)
    assert found.seen.tolist() == expected.tolist() and expected.sum() > 10
    assert [cell["pairs"] for cell in found.cells()] == expected.ravel().tolist()


@pytest.mark.filterwarnings("ignore")
def test_counts_and_p_are_those_of_pointpats():
    """Of one cell that begins at nothing, which is all that pointpats knows; it also draws its own exchanges."""
    pointpats = pytest.importorskip("pointpats")
    time_s, xy_m = again(*scattered(3, n=150), days=2, count=8)
    for meters, days in ((200.0, 3), (1000.0, 30), (3000.0, 5)):
        np.random.seed(0)  # noqa: NPY002 - it draws from there
        theirs = pointpats.Knox(
            xy_m, time_s[:, None] / DAY_S, delta=meters, tau=days - 1e-9, permutations=999, keep=True
        )
        ours = knox(time_s, xy_m, edges_m=(0.0, meters), edges_s=(0, days * DAY_S))
        (cell,) = ours.cells()
        assert cell["pairs"] == theirs.statistic_ > 5
        assert cell["expected"] == pytest.approx(float(theirs.expected[0][0]), rel=0.05)
        assert cell["expected"] == pytest.approx(theirs.sim.mean(), rel=0.05)
        assert cell["p"] == pytest.approx(theirs.p_sim, abs=0.05)
        assert np.quantile(ours.drawn, 0.975) == pytest.approx(np.quantile(theirs.sim, 0.975), rel=0.1)


def test_where_places_and_times_are_independent_chance_explains_it():
    tables = [knox(*scattered(seed)[:2], edges_m=EDGES_M, exchanges=99) for seed in range(40)]
    p = np.array([table.p() for table in tables])
    assert 0.35 < p.mean() < 0.65 and (p <= 0.05).mean() < 0.12
    assert np.mean([table.p_corrected().min() <= 0.05 for table in tables]) <= 0.15  # of any of twelve cells
    assert np.mean([table.p().min() <= 0.05 for table in tables]) > 0.2


@pytest.mark.parametrize("days", [0.5, 2.0])
def test_near_repeats_are_found_in_their_band(days):
    found = knox(*again(*scattered(1), days=days))
    cells, corrected = found.cells(), found.p_corrected()
    band = 0 if days < 1 else 1
    assert cells[band]["p"] == corrected[0, band] == 0.001
    assert cells[band]["pairs"] > cells[band]["expected"] + 20 and cells[band]["ratio_interval"][0] > 1.5
    assert all(cells[i]["p"] > 0.01 and corrected[0, i] > 0.05 for i in range(4) if i != band)


def test_generated_cities_have_near_pairs_where_their_law_says_so():
    corrected = {}
    for preset in ("pairs", "null"):
        city = generated_city(preset, years=2).catalog()
        targets = city.is_event
        corrected[preset] = knox(city.time_s[targets], city.xy_m[targets], edges_m=EDGES_M, exchanges=199).p_corrected()
    assert corrected["pairs"][:2, 0].max() <= 0.01 and corrected["null"].min() > 0.05


def test_the_interval_of_a_ratio_is_open_where_chance_gives_no_pair():
    drawn = np.zeros((100, 1, 3), int)
    drawn[:, 0, 0], drawn[:50, 0, 1] = np.arange(1, 101), 2
    table = KnoxTable(edges_m=(0.0, 1.0), edges_s=(0, 1, 2, 3), seen=np.array([[101, 4, 1]]), drawn=drawn)
    one, open_above, nothing = table.cells()
    low, high = np.quantile(np.arange(1, 101), [0.025, 0.975])
    assert one["ratio"] == pytest.approx(2) and one["ratio_interval"] == pytest.approx([101 / high, 101 / low])
    assert open_above["ratio"] == 4 and open_above["ratio_interval"] == [2, None]
    assert nothing["ratio"] is None and nothing["ratio_interval"] == [None, None]
    assert table.ratio(1, 1)["ratio"] == 4
