"""What a law of counts looks at is what a loop counts, and the same whatever else is asked for."""

import numpy as np
import pytest

from hews_gpu.forecasters.catalog import TARGETS, make_catalog
from hews_gpu.forecasters.count_columns import (
    ALL,
    DECAYS,
    EDGES_H,
    KERNELS,
    ORIGINS,
    SPANS,
    WEEKS,
    Rows,
    Source,
    kernels_beside,
    sources_of,
)
from hews_gpu.forecasters.hidden_weeks import HiddenWeeks
from hews_gpu.units import WEEK_S

AREAS, HOURS = 4, 3000
BORDERS = np.array([[0, 1, 0, 0], [0.25, 0, 0.75, 0], [0, 1, 0, 0], [0, 0, 0, 0]])
SOURCES = (
    *(Source(where=where, stream=name) for where in ("here", "around", "city") for name in ("THEFT", ALL)),
    Source(where="origin", stream="THEFT", origin=2),
    Source(where="city", stream="ROBBERY", partner="THEFT", within_m=300.0),
    WEEKS,
)
HIDDEN = HiddenWeeks(
    begin_s=6 * WEEK_S,
    streams=(TARGETS, "THEFT"),
    log_factor=np.array([1.5, 0.25]),
    usual=np.full((AREAS, 2), [0.5, 100.0]),
    to_hot=0.1,
    to_quiet=0.3,
)


@pytest.fixture(scope="module")
def catalog():
    """Rows at random in four neighborhoods, reported at once."""
    rng = np.random.default_rng(0)
    size = 4000
    return make_catalog(
        time_s=rng.integers(0, HOURS * 60, size) * 60,
        category=rng.integers(0, 2, size),
        area=rng.integers(0, AREAS, size),
        xy_m=rng.uniform(0, 2000, (size, 2)),
        is_target=np.zeros(size, dtype=bool),
        categories=("ROBBERY", "THEFT"),
        areas=AREAS,
    )


def rows_at(catalog, issue_s):
    return Rows(catalog, issue_s, BORDERS, SOURCES, 7200, 0, HIDDEN)


def test_rows_by_age_are_those_of_a_loop(catalog):
    issue_s, area = np.arange(2000, 2400, 100) * 3600, np.array([0, 1, 2, 3])
    binned = dict(rows_at(catalog, issue_s).binned(SOURCES, np.arange(4), area))
    theft = catalog.streams.index("THEFT")
    slot = catalog.time_s // 7200
    for s, n in enumerate(area.tolist()):
        age_h = (issue_s[s] - catalog.known_s) / 3600
        for i in (0, 1, 5, 20, len(EDGES_H) - 2):
            young = catalog.is_first & (age_h > EDGES_H[i]) & (age_h <= EDGES_H[i + 1])
            count = np.bincount(catalog.area[young & (catalog.stream == theft)], minlength=AREAS)
            every = np.bincount(catalog.area[young], minlength=AREAS)
            asked = [(count[n], every[n]), ((count @ BORDERS)[n], (every @ BORDERS)[n]), (count.sum(), every.sum())]
            for where, (of_theft, of_all) in zip(("here", "around", "city"), asked, strict=True):
                assert binned[Source(where=where, stream="THEFT")][s, i] == pytest.approx(of_theft)
                assert binned[Source(where=where, stream=ALL)][s, i] == pytest.approx(of_all)
            assert binned[SOURCES[6]][s, i] == count[2]
            hot = HIDDEN.log_rate(catalog, issue_s)[s, n] if i == 0 else 0
            assert binned[WEEKS][s, i] == pytest.approx(hot)
            thefts = np.flatnonzero(catalog.is_first & (catalog.stream == theft))
            pairs = 0
            for row in np.flatnonzero(catalog.is_first & (catalog.stream != theft) & (np.abs(age_h) < 1400)):
                near = thefts[(slot[thefts] == slot[row])]
                near = near[np.hypot(*(catalog.xy_m[near] - catalog.xy_m[row]).T) <= 300]
                later_h = (issue_s[s] - np.maximum(catalog.time_s[near], catalog.time_s[row])) / 3600
                pairs += ((later_h > EDGES_H[i]) & (later_h <= EDGES_H[i + 1])).sum()
            assert binned[SOURCES[7]][s, i] == pairs


def test_faded_rows_are_rows_by_age_times_the_kernel_and_know_nothing_later(catalog):
    issue_s = np.arange(1000, 2800, 2) * 3600
    rows, early = rows_at(catalog, issue_s), rows_at(catalog.until(int(issue_s[600])), issue_s[500:601])
    window, area = np.divmod(np.arange(len(issue_s) * AREAS), AREAS)
    binned = dict(rows.binned(SOURCES, window, area))
    for source in SOURCES:
        for kernel in (3, 200, DECAYS[4], DECAYS[-1]):
            faded = rows.faded(source, kernel)
            whole = np.broadcast_to(faded, (len(issue_s), AREAS))
            np.testing.assert_allclose(whole.ravel(), binned[source] @ KERNELS[:, kernel], rtol=1e-4, atol=1e-4)
            np.testing.assert_array_equal(early.faded(source, kernel), faded[500:601])


def test_kernels_weigh_ages_as_they_say():
    span = SPANS.index((3, 7))
    np.testing.assert_array_equal(
        KERNELS[:, span], (np.arange(len(EDGES_H) - 1) >= 3) & (np.arange(len(EDGES_H) - 1) < 7)
    )
    assert {SPANS[k] for k in kernels_beside(span)} == {(i, j) for i in (2, 3, 4) for j in (6, 7, 8)} - {(3, 7)}
    hour = np.searchsorted(EDGES_H, 4)
    assert KERNELS[hour, DECAYS[0] + 4] == pytest.approx(np.exp(-4.5 / 6), rel=0.01)  # from 4 to 5 hours, of 6
    assert kernels_beside(int(DECAYS[0])) == [DECAYS[0] + 1, DECAYS[0] + 2]


def test_all_that_is_looked_at(catalog):
    sources = sources_of(catalog)
    assert {source.where for source in sources} == {"here", "around", "city", "origin"}
    assert sum(source.where == "origin" for source in sources) == 2 * min(AREAS, ORIGINS)
    assert sum(source.partner is not None for source in sources) == 9  # three kinds of pairs, three distances
    assert len(set(sources)) == len(sources)
