"""The Hawkes process finds a law that is known, and its forecasts are those of simulated continuations."""

import numpy as np
import pytest
from scipy.integrate import quad

from hews_gpu.data.windows import Windows
from hews_gpu.forecasters.catalog import TARGETS, make_catalog, outcomes
from hews_gpu.forecasters.climatology import Climatology
from hews_gpu.forecasters.hawkes import DECAYS_S, Hawkes, Law, Rhythm, Term, _Candidates, fit_law, probability
from tests.forecasters.test_hewsnet import reported_twice

BEGIN_S = 1_577_836_800
HOUR_S, DAY_S = 3600, 86_400
SELF, ROBBERY = Term(TARGETS, 3 * HOUR_S, 0.25), Term("ROBBERY", 8 * HOUR_S, 0.6)
BASE_PER_S, ROBBERY_PER_S = 1.0 / DAY_S, 2.0 / DAY_S


def continued(rng, known_s, known_is_target, begin_s, end_s, terms=(SELF, ROBBERY), blind_s=0):
    """Times of targets in [begin, end), given events before begin: by generations, in continuous time."""
    of_targets, of_robberies = terms
    span = end_s - begin_s
    robberies = begin_s + span * rng.random(rng.poisson(ROBBERY_PER_S * span))
    targets = [begin_s + span * rng.random(rng.poisson(BASE_PER_S * span))]
    for parents, term in (
        (known_s[known_is_target], of_targets),
        (np.r_[known_s[~known_is_target], robberies], of_robberies),
    ):
        targets.append(offspring(rng, parents, term, blind_s))
    found = [np.concatenate(targets)]
    found[0] = found[0][(found[0] >= begin_s) & (found[0] < end_s)]
    while len(found[-1]):
        children = offspring(rng, found[-1], of_targets, blind_s)
        found.append(children[(children >= begin_s) & (children < end_s)])
    return np.concatenate(found), robberies


def offspring(rng, parents, term, blind_s=0):
    parent = np.repeat(parents, rng.poisson(term.branching, size=len(parents)))
    after_s = rng.exponential(term.decay_s, size=len(parent))
    return (parent + after_s)[after_s >= blind_s]


def catalog_of(targets, robberies, delay_s=0):
    time_s = np.concatenate([targets, robberies]).astype(np.int64)
    n = len(time_s)
    is_target = np.arange(n) < len(targets)
    rows = {"area": np.zeros(n, int), "xy_m": np.zeros((n, 2)), "areas": 1, "delay_s": delay_s}
    category = np.where(is_target, 1, 0)
    return make_catalog(
        time_s=time_s, category=category, is_target=is_target, categories=("ROBBERY", "SHOOTING"), **rows
    )


def test_it_finds_the_law():
    rng = np.random.default_rng(0)
    end_s = BEGIN_S + 800 * DAY_S
    targets, robberies = continued(rng, np.zeros(0), np.zeros(0, bool), float(BEGIN_S), float(end_s))
    law = fit_law(catalog_of(targets, robberies), BEGIN_S, end_s)
    for one in (SELF, ROBBERY):
        terms = [term for term in law.terms if term.stream == one.stream]
        total = sum(term.branching for term in terms)
        assert total == pytest.approx(one.branching, abs=0.08)
        assert sum(term.branching * term.decay_s for term in terms) / total == pytest.approx(one.decay_s, rel=0.4)
    base = (law.level * law.rhythm.per_s(np.arange(BEGIN_S, end_s, HOUR_S))).mean()
    assert base == pytest.approx(BASE_PER_S, rel=0.15)
    assert law.others_per_s["ROBBERY"].mean() == pytest.approx(ROBBERY_PER_S, rel=0.05)


def known_law(terms=(SELF, ROBBERY), blind_s=0):
    """The law itself: a flat rhythm."""
    hazard = BASE_PER_S * HOUR_S
    flat = Climatology(
        intercept=float(np.log(np.expm1(hazard))), week_hour=np.zeros(168), hour_month=np.zeros((24, 12))
    )
    rhythm = Rhythm(climatology=flat, cell_s=HOUR_S, anchor_s=0)
    rates = {"ROBBERY": np.full(168, ROBBERY_PER_S)}
    return Law(rhythm=rhythm, level=1.0, terms=terms, others_per_s=rates, blind_s=blind_s)


@pytest.mark.parametrize(("lead_s", "delay_s"), [(0, 0), (6 * HOUR_S, 0), (0, 6 * HOUR_S), (4 * HOUR_S, 2 * HOUR_S)])
def test_forecasts_are_the_shares_of_simulated_continuations(lead_s, delay_s):
    """Events after the end of knowledge are unknown, whether by delay or by lead."""
    issue_s = BEGIN_S + 100 * HOUR_S
    known_s = issue_s - delay_s - np.array([600.0, 4000, 20_000])
    is_target = np.array([True, False, True])
    windows = Windows(
        issue_s=np.array([issue_s]), begin_s=np.array([issue_s + lead_s]), end_s=np.array([issue_s + lead_s + 7200])
    )
    seen = catalog_of(known_s[is_target], known_s[~is_target], delay_s)
    found = probability(known_law(), seen, windows)[0]
    rng = np.random.default_rng(7)
    draws, hits = 12_000, 0
    for _ in range(draws):
        targets, _ = continued(rng, known_s, is_target, float(issue_s - delay_s), float(windows.end_s[0]))
        hits += bool(np.any(targets >= windows.begin_s[0]))
    share = hits / draws
    assert found == pytest.approx(share, abs=3.5 * np.sqrt(share * (1 - share) / draws))


@pytest.mark.parametrize(
    ("lead_s", "delay_s", "blind_s"),
    [(1800, 0, 1800), (0, 1800, 1800), (HOUR_S, HOUR_S, 1800), (0, 0, 1800), (2400, 400, 2000)],
)
def test_a_burst_goes_on_from_the_age_at_which_its_rows_count(lead_s, delay_s, blind_s):
    """The fit has what follows sooner in the base: kernels from age 0 would count it twice, as bursts do most of all.

    Rows that are younger when knowledge ends begin within the unknown time, or, in a fit for a longer lead, the window.
    """
    issue_s, terms = BEGIN_S + 100 * HOUR_S, (Term(TARGETS, 2400.0, 0.9), Term("ROBBERY", HOUR_S, 0.5))
    known_s = issue_s - delay_s - np.array([60.0, 300, 301, 900, 1790, 1900, 2500, 5000])
    is_target = np.array([True, True, False, False, True, True, False, True])
    windows = Windows(
        issue_s=np.array([issue_s]), begin_s=np.array([issue_s + lead_s]), end_s=np.array([issue_s + lead_s + 2400])
    )
    seen = catalog_of(known_s[is_target], known_s[~is_target], delay_s)
    found = probability(known_law(terms, blind_s), seen, windows)[0]
    rng = np.random.default_rng(7)
    draws, hits = 12_000, 0
    for _ in range(draws):
        end_s = float(windows.end_s[0])
        targets, _ = continued(rng, known_s, is_target, float(issue_s - delay_s), end_s, terms, blind_s)
        hits += bool(np.any(targets >= windows.begin_s[0]))
    share = hits / draws
    assert found == pytest.approx(share, abs=3.5 * np.sqrt(share * (1 - share) / draws))
    assert found < probability(known_law(terms), seen, windows)[0] - 0.02  # which is what was forecast


def test_without_lead_and_other_streams_it_is_the_integrated_rate():
    law = known_law()
    law = Law(rhythm=law.rhythm, level=1.0, terms=(SELF,))
    t = BEGIN_S + 50 * HOUR_S
    events = t - np.array([100, 5000])
    windows = Windows(issue_s=np.array([t]), begin_s=np.array([t]), end_s=np.array([t + 7200]))

    def rate(s):
        return BASE_PER_S + sum(SELF.branching / SELF.decay_s * np.exp(-(s - e) / SELF.decay_s) for e in events)

    expected = 1 - np.exp(-quad(rate, t, t + 7200)[0])
    assert probability(law, catalog_of(events, np.zeros(0)), windows)[0] == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(("lead_s", "delay_s"), [(0, 0), (4 * HOUR_S, 0), (0, 6 * HOUR_S), (HOUR_S, 3 * HOUR_S)])
def test_without_excitation_it_is_the_rhythm_of_the_window_itself(lead_s, delay_s):
    hourly = 0.5 * np.sin(np.arange(168) * 0.7)
    climatology = Climatology(intercept=-2.0, week_hour=hourly, hour_month=np.zeros((24, 12)))
    law = Law(
        rhythm=Rhythm(climatology=climatology, cell_s=HOUR_S, anchor_s=0), level=1.0, terms=(Term(TARGETS, 3600),)
    )
    issue_s = BEGIN_S + 7200 * np.arange(20)
    begin_s = issue_s + lead_s
    windows = Windows(issue_s=issue_s, begin_s=begin_s, end_s=begin_s + 7200)
    found = probability(law, catalog_of(np.array([BEGIN_S - 50]), np.zeros(0), delay_s), windows)
    silent = [np.prod(1 - climatology.probability(b + np.array([0, HOUR_S]))) for b in begin_s]
    np.testing.assert_allclose(found, 1 - np.array(silent), rtol=1e-9)


@pytest.mark.parametrize(("lead_s", "delay_s", "blind"), [(0, 0, False), (1800, 0, True), (0, 1800, True)])
def test_a_second_report_of_an_event_does_not_foretell_it(lead_s, delay_s, blind):
    """Where forecasts never see the other report of what they foretell, the fit does not take it for the cause."""
    begin_s = np.arange(0, 365 * DAY_S, 7200)
    windows = Windows(issue_s=begin_s - lead_s, begin_s=begin_s, end_s=begin_s + 7200)
    past = reported_twice(delay_s)
    hawkes, nothing = Hawkes(), outcomes(past, windows.select(np.arange(0)))
    hawkes.fit(past, outcomes(past, windows), nothing)
    assaults = sum(term.branching for term in hawkes.fitted.terms if term.stream == "AGG. ASSAULT")
    assert assaults < 0.01 if blind else assaults > 0.05
    assert hawkes.fitted.blind_s == (1800 if blind else 0)  # and its forecasts as the fit


@pytest.mark.parametrize("blind_s", [0, 1800])
def test_integrals_count_what_falls_into_the_stretch(blind_s):
    """Rows before it, in it and near its end, each with the part of its offspring that comes within it and counts."""
    robbery_s = BEGIN_S + np.array([-7200, -60, 3000, 80_000, 86_000])
    end_s = BEGIN_S + DAY_S
    catalog = catalog_of(np.array([BEGIN_S + 50_000]), robbery_s)
    found = _Candidates(catalog, np.array([BEGIN_S + 50_000]), BEGIN_S, end_s, blind_s)
    for decay_s in DECAYS_S:
        expected = sum(
            quad(lambda s, t=t, d=decay_s: np.exp(-(s - t) / d) / d, min(max(t + blind_s, BEGIN_S), end_s), end_s)[0]
            for t in robbery_s
        )
        assert found.total[found.names.index(("ROBBERY", decay_s))] == pytest.approx(expected, rel=1e-6)
