"""HewsNet finds the laws of generated cities, forecasts as they say, and sees nothing of what is known later."""

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import expit

from hews_gpu.data.windows import Windows
from hews_gpu.evaluation.folds import Experiment, Plan
from hews_gpu.forecasters.catalog import TARGETS, Outcomes, make_catalog, outcomes
from hews_gpu.forecasters.city import generated_city
from hews_gpu.forecasters.climatology import Climatology, HourOfWeekMonth
from hews_gpu.forecasters.hawkes import Hawkes, Law, Rhythm, Term, probability, starts
from hews_gpu.forecasters.hewsnet import (
    FIT_PRECISION,
    Arrivals,
    HewsNetFit,
    HewsNetForecaster,
    _Fit,
    _level_weights,
    _promise,
)
from hews_gpu.forecasters.hewsnet_layers import Candidates, Layer
from hews_gpu.forecasters.logistic import log_loss_each_bits, logit
from hews_gpu.units import HOUR_S

ROBBERY = "ROBBERY - STREET"


def rolling_of(preset, years):
    return Experiment.open(generated_city(preset, years=years, seed=7), Plan(blocks=1))


def fitted(rolling, make=HewsNetForecaster):
    fold = rolling.folds[0]
    forecaster = make()
    forecaster.fit(rolling.catalog.until(fold.known_until_s), rolling.part(fold.train), rolling.part(fold.calibration))
    return forecaster


def closure(rolling, forecaster):
    windows = rolling.test.windows
    said = (forecaster.predict(rolling.catalog, windows), rolling.oracle())
    least, *losses = (
        log_loss_each_bits(rolling.test.y, p).mean()
        for p in (fitted(rolling, HourOfWeekMonth).predict(rolling.catalog, windows), *said)
    )
    return (least - losses[0]) / (least - losses[1])


@pytest.fixture(scope="module")
def null():
    rolling = rolling_of("null", 2)
    return rolling, fitted(rolling)


@pytest.fixture(scope="module")
def pairs():
    rolling = rolling_of("pairs", 3)
    return rolling, fitted(rolling)


def test_it_finds_pairs_how_near_and_how_long(pairs):
    rolling, forecaster = pairs
    assert closure(rolling, forecaster) > 0.8
    (layer,) = forecaster.fitted.layers
    assert {layer.stream, layer.partner} == {"LARCENY", "COMMON ASSAULT"}
    assert layer.within_m == pytest.approx(500, rel=0.15)
    assert layer.decay_s == pytest.approx(5 * HOUR_S, rel=0.3)
    assert forecaster.fitted.net.gain.mean() == pytest.approx(0.82, rel=0.2)


@pytest.mark.parametrize(
    ("preset", "stream", "partner"), [("origin", "LARCENY", None), ("near_pairs", "LARCENY", "COMMON ASSAULT")]
)
def test_it_finds_what_acts_on_the_whole_city(preset, stream, partner):
    """Incidents of one neighborhood, or near pairs anywhere; where an effect lands tells nothing of its cause."""
    rolling = rolling_of(preset, 4)
    forecaster = fitted(rolling)
    assert closure(rolling, forecaster) > 0.25
    layers = [layer for layer in forecaster.fitted.layers if not layer.is_local and layer.stream != TARGETS]
    assert {frozenset((layer.stream, layer.partner)) for layer in layers} == {frozenset((stream, partner))}
    assert all((layer.origin is None) == (partner is not None) for layer in layers)


def test_it_finds_the_hidden_neighborhoods():
    rolling = rolling_of("spatial", 2)
    forecaster = fitted(rolling)
    assert closure(rolling, forecaster) > 0.85
    gain = next(
        g for g, one in zip(forecaster.fitted.net.gain, forecaster.fitted.layers, strict=True) if one.stream == ROBBERY
    )
    assert set(np.argsort(-gain)[:8]) == set(np.flatnonzero(rolling.city.truth.gain))


def test_neighborhoods_add_up_to_the_city(pairs):
    rolling, forecaster = pairs
    windows = rolling.test.windows.select(np.arange(0, len(rolling.test), 40))
    city, areas = forecaster.predict(rolling.catalog, windows), forecaster.predict_areas(rolling.catalog, windows)
    np.testing.assert_allclose(1 - (1 - areas).prod(axis=1), city, rtol=1e-10)
    truth = rolling.city.truth.by_area(windows.issue_s, windows.begin_s, windows.end_s)
    assert np.corrcoef(areas.ravel(), truth.ravel())[0, 1] > 0.9


@pytest.mark.parametrize("delay_s", [0, 5400])
def test_pairs_that_are_known_later_change_no_bit(pairs, delay_s):
    rolling, forecaster = pairs
    seen = rolling.city.catalog(delay_s)
    windows = rolling.test.windows.select(np.arange(100))
    cut_s = int(windows.issue_s[-1])
    full, known = forecaster.hazards(seen, windows), forecaster.hazards(seen.until(cut_s), windows)
    np.testing.assert_array_equal(full, known)
    assert np.ptp(full.sum(axis=1)) > 0.2
    assert not np.array_equal(full[-1], forecaster.hazards(seen.until(cut_s - 86_400), windows)[-1])


def flat(hazard):
    return Climatology(
        intercept=float(np.log(np.expm1(hazard))), week_hour=np.zeros(168), hour_month=np.zeros((24, 12))
    )


@pytest.mark.parametrize(
    ("lead_s", "delay_s", "blind_s"),
    [(0, 0, 0), (6 * HOUR_S, 0, 0), (4 * HOUR_S, 2 * HOUR_S, 0), (0, 0, 1800), (1800, 0, 1800), (0, 1800, 1500)],
)
def test_in_a_city_of_one_neighborhood_it_is_the_hawkes_process(lead_s, delay_s, blind_s):
    """Which is tested against simulated continuations."""
    begin_s, issue_s = 1_577_836_800, 1_577_836_800 + 100 * HOUR_S
    terms = (Term(TARGETS, 3 * HOUR_S, 0.25), Term(ROBBERY, 8 * HOUR_S, 0.6))
    rhythm = Rhythm(climatology=flat(0.05), cell_s=HOUR_S, anchor_s=0)
    law = Law(rhythm=rhythm, level=1.2, terms=terms, others_per_s={ROBBERY: np.full(168, 2 / 86_400)}, blind_s=blind_s)
    time_s = issue_s - delay_s - np.array([600, 700, 20_000])
    seen = make_catalog(
        time_s=time_s,
        category=np.array([1, 0, 1]),
        area=np.zeros(3, int),
        xy_m=np.zeros((3, 2)),
        is_target=np.array([True, False, True]),
        categories=(ROBBERY, "SHOOTING"),
        areas=1,
        delay_s=delay_s,
    )
    windows = Windows(
        issue_s=np.array([issue_s]), begin_s=np.array([issue_s + lead_s]), end_s=np.array([issue_s + lead_s + 7200])
    )
    forecaster = HewsNetForecaster()
    forecaster.fitted = HewsNetFit(
        layers=tuple(Layer(stream=t.stream, decay_s=t.decay_s, is_local=k == 0) for k, t in enumerate(terms)),
        weights={"level": np.array(1.2), "share": np.ones(1), "gain": np.array([[0.25], [0.6]])},
        rhythm=rhythm,
        step_s=7200,
        anchor_s=begin_s,
        blind_s=blind_s,
        arrivals=(Arrivals(which=(1,), share=np.ones(1), per_hour=np.full(168, 2 / 24), whole_step_s=0),),
        recent=None,
        level_weights=np.zeros(2),
    )
    expected = probability(law, seen, windows)
    np.testing.assert_allclose(-np.expm1(-forecaster.hazards(seen, windows).sum(axis=1)), expected, rtol=1e-9)


def test_what_a_row_sets_off_begins_at_its_age_there_or_anywhere():
    """Rows of two neighborhoods, one just seen, against the integral of a kernel that begins after half an hour."""
    issue_s, share, gain = 1_577_836_800, np.array([0.3, 0.7]), np.array([[0.2, 0.5], [0.4, 0.4]])
    ages_s, area = np.array([100, 100, 2000, 900]), np.array([0, 1, 1, 0])
    seen = make_catalog(
        time_s=issue_s - ages_s,
        category=np.zeros(4, int),
        area=area,
        xy_m=np.zeros((4, 2)),
        is_target=np.zeros(4, bool),
        categories=(ROBBERY, "SHOOTING"),
        areas=2,
    )
    layers = [Layer(stream=ROBBERY, decay_s=2 * HOUR_S, is_local=local) for local in (True, False)]
    forecaster = HewsNetForecaster()
    forecaster.fitted = HewsNetFit(
        layers=tuple(layers), weights={"level": np.array(0.0), "share": share, "gain": gain},
        rhythm=Rhythm(climatology=flat(0.05), cell_s=HOUR_S, anchor_s=0), step_s=7200, anchor_s=issue_s, blind_s=1800,
        recent=None, level_weights=np.zeros(2),
    )  # fmt: skip
    windows = Windows(issue_s=np.array([issue_s]), begin_s=np.array([issue_s]), end_s=np.array([issue_s + 7200]))
    sent = np.exp(-np.maximum(ages_s, 1800) / 7200) - np.exp(-(ages_s + 7200) / 7200)
    expected = gain[0] * np.bincount(area, weights=sent) + gain[1] * share * sent.sum()
    np.testing.assert_allclose(forecaster.hazards(seen, windows)[0], expected, rtol=1e-12)


def test_pairs_to_come_stand_at_the_end_of_a_step_alone():
    arrivals = Arrivals(which=(0,), share=np.ones(1), per_hour=np.full(168, 0.2), whole_step_s=7200)
    times_s = np.arange(600, 600 + 4 * HOUR_S, 600)[None]
    expected = arrivals.expected(times_s, 600, 0)[0]
    assert set(times_s[0][expected > 0]) == {6600, 13_800}
    assert expected.sum() == pytest.approx(0.4)


def test_a_promise_is_the_maximum_over_one_weight():
    from scipy.optimize import minimize_scalar
    from scipy.sparse import csc_array

    rng = np.random.default_rng(0)
    left = rng.exponential(1.0, (200, 3)) * (rng.random((200, 3)) < 0.3)
    rate, total = rng.uniform(0.3, 0.6, 200), np.array([60.0, 80.0, 400.0])
    layers = [Layer(stream=str(k), decay_s=1.0, is_local=True) for k in range(3)]
    found = _promise(Candidates(layers=layers, left=csc_array(left), total=total), rate)
    for k in range(3):

        def loss(w, k=k):
            return total[k] * w - np.log1p(w * left[:, k] / rate).sum()

        best = -minimize_scalar(loss, bounds=(0, 50), method="bounded", options={"xatol": 1e-10}).fun
        assert found[k] == pytest.approx(max(best, 0.0), abs=1e-6)
    assert found[0] > 1 and found[2] == 0


def test_without_excitation_it_chooses_nothing(null):
    rolling, forecaster = null
    assert forecaster.fitted.layers == ()
    clock = fitted(rolling, HourOfWeekMonth).predict(rolling.catalog, rolling.test.windows)
    said = forecaster.predict(rolling.catalog, rolling.test.windows)
    assert np.abs(said - clock).mean() < 0.02  # the climatology, but for level and calibration


def test_a_calibration_block_with_more_events_raises_the_forecast(null):
    rolling, forecaster = null
    fold, windows = rolling.folds[0], rolling.test.windows
    part = rolling.part(fold.calibration)
    plain = forecaster.predict(rolling.catalog, windows)
    more = HewsNetForecaster()
    raised = Outcomes(windows=part.windows, y=part.y | (np.arange(len(part)) % 4 == 0))
    more.fit(rolling.catalog.until(fold.known_until_s), rolling.part(fold.train), raised)
    assert (more.predict(rolling.catalog, windows) > plain).all()


def test_the_calibration_turns_around_the_middle_of_its_block(null):
    """Slope and shift against a general optimizer, and what they make of the test windows' log-odds."""
    rolling, forecaster = null
    fold, fitted = rolling.folds[0], forecaster.fitted
    block, past = rolling.learned(fold, "calibration"), rolling.catalog.until(fold.known_until_s)

    def log_odds(seen, windows):
        return logit(-np.expm1(-forecaster.hazards(seen, windows).sum(axis=1))) + (
            fitted.recent.ratios(seen, windows) @ fitted.level_weights
        )

    x = log_odds(past, block.windows)
    assert fitted.center == pytest.approx(x.mean(), rel=1e-12)

    def lost(change):
        moved = x + change[0] + change[1] * (x - x.mean())
        likelihood = np.where(block.y, -np.logaddexp(0, -moved), -np.logaddexp(0, moved)).sum()
        return change @ (FIT_PRECISION * change) / 2 - likelihood

    best = minimize(lost, np.zeros(2), tol=1e-10).x
    assert (fitted.shift, fitted.slope - 1) == pytest.approx(best, abs=1e-5)
    windows = rolling.test.windows
    said = log_odds(rolling.catalog, windows)
    expected = expit(said + fitted.shift + (fitted.slope - 1) * (said - x.mean()))
    np.testing.assert_allclose(forecaster.predict(rolling.catalog, windows), expected, rtol=1e-9)


def reported_twice(delay_s):
    """Targets at random, every other one reported once more as an assault minutes before it, and assaults at random."""
    rng = np.random.default_rng(3)
    targets = np.sort(rng.integers(0, 365 * 86_400, 500))
    area = rng.integers(0, 6, 500)
    alone = rng.integers(0, 365 * 86_400, 3000)
    time_s = np.concatenate([targets, targets[::2] - rng.integers(60, 1500, 250), alone])
    return make_catalog(
        time_s=time_s,
        category=np.repeat([1, 0, 0], [500, 250, 3000]),
        area=np.concatenate([area, area[::2], rng.integers(0, 6, 3000)]),
        xy_m=rng.uniform(0, 5000, (3750, 2)),
        is_target=np.arange(3750) < 500,
        categories=("AGG. ASSAULT", "SHOOTING"),
        areas=6,
        delay_s=delay_s,
    )


@pytest.mark.parametrize(("blind_s", "expected"), [(0, {"AGG. ASSAULT"}), (1800, set())])
def test_a_second_report_of_an_event_does_not_foretell_it(blind_s, expected):
    """Rows of one event differ by up to half an hour: a fit that looks at them takes the one for the other's cause."""
    fit = _Fit(reported_twice(blind_s).known_at_once(), 0, 365 * 86_400, 7200, blind_s)
    assert {layer.stream for layer in fit.run().layers} == expected


@pytest.mark.parametrize(("lead_s", "expected"), [(0, {"AGG. ASSAULT"}), (1800, set())])
def test_a_fit_is_as_blind_as_its_forecasts_whether_by_lead_or_by_delay(lead_s, expected):
    """Forecasts half an hour ahead never see the second report of what they foretell, though nothing is delayed."""
    begin_s = np.arange(0, 365 * 86_400, 7200)
    windows = Windows(issue_s=begin_s - lead_s, begin_s=begin_s, end_s=begin_s + 7200)
    past = reported_twice(0)
    train = outcomes(past, windows.select(np.arange(4000)))
    forecaster = HewsNetForecaster()
    forecaster.fit(past, train, outcomes(past, windows.select(np.arange(4012, len(windows)))))
    assert {layer.stream for layer in forecaster.fitted.layers} == expected
    assert forecaster.fitted.blind_s == lead_s  # and its forecasts as the fit


def test_of_many_events_the_last_are_learned_from(monkeypatch):
    """As if the rows of before did not exist, but for those that still set off events."""
    begin_s = np.arange(0, 365 * 86_400, 7200)
    windows = Windows(issue_s=begin_s, begin_s=begin_s, end_s=begin_s + 7200)
    past, nothing = reported_twice(0), outcomes(reported_twice(0), windows.select(np.arange(0)))
    monkeypatch.setattr("hews_gpu.forecasters.hewsnet.MOST_EVENTS", 300)
    forecaster = HewsNetForecaster()
    forecaster.fit(past, outcomes(past, windows.select(np.arange(4000))), nothing)
    event_s = np.sort(past.time_s[past.is_event & (past.time_s < 4000 * 7200)])
    first = -(-event_s[-300] // 7200)
    assert forecaster.fitted.anchor_s == first * 7200
    monkeypatch.undo()
    alone = HewsNetForecaster()
    alone.fit(past, outcomes(past, windows.select(np.arange(first, 4000))), nothing)
    np.testing.assert_array_equal(forecaster.fitted.net.gain, alone.fitted.net.gain)


def test_more_of_late_never_means_that_less_follows():
    rng = np.random.default_rng(0)
    ratios = rng.normal(0, 0.3, (5000, 2))
    y = rng.random(5000) < 1 / (1 + np.exp(1.5 - 0.8 * ratios[:, 0] + 0.6 * ratios[:, 1]))
    found = _level_weights(ratios, y, np.full(5000, -1.5))
    assert found[0] == pytest.approx(0.8, abs=0.3) and found[1] == 0
    assert (_level_weights(-ratios[:, :1], y, np.full(5000, -1.5)) == 0).all()


def bursts(days, decay_s, mean):
    """Parents at random, each followed by so many on average that fade soon, all in one of two neighborhoods."""
    rng = np.random.default_rng(3)
    parents = rng.uniform(0, days * 86_400, int(2.2 * days))
    area = rng.integers(0, 2, len(parents))
    children = rng.poisson(mean, len(parents))
    time_s = np.concatenate([parents, parents.repeat(children) + rng.exponential(decay_s, children.sum())])
    zeros = np.zeros(len(time_s), int)
    return make_catalog(
        time_s=time_s.astype(np.int64), category=zeros, area=np.concatenate([area, area.repeat(children)]),
        xy_m=np.zeros((len(time_s), 2)), is_target=np.ones(len(time_s), bool), categories=("SHOT",), areas=2,
    )  # fmt: skip


@pytest.mark.parametrize("make", [Hawkes, HewsNetForecaster])
@pytest.mark.parametrize(("decay_s", "mean"), [(300, 8), (3600, 4)])
def test_a_burst_is_not_many_events_by_chance(make, decay_s, mean):
    """Half an hour ahead, when most of a burst is over: a window in five holds shots, a burst in one window or two."""
    past, begin_s = bursts(400, decay_s, mean), np.arange(0, 400 * 86_400, 7200)
    windows = Windows(issue_s=begin_s - 1800, begin_s=begin_s, end_s=begin_s + 7200)
    train, calibration, test = (
        outcomes(past, windows.select(np.arange(*ends))) for ends in ((1, 3000), (3012, 3600), (3612, 4800))
    )
    forecaster = make()
    forecaster.fit(past.until(3600 * 7200), train, calibration)
    said = forecaster.predict(past, test.windows)
    assert said.mean() == pytest.approx(test.y.mean(), rel=0.25)
    rate = np.full(len(test), test.y.mean())
    assert (log_loss_each_bits(test.y, said) - log_loss_each_bits(test.y, rate)).mean() < 0.01


def test_an_event_that_none_precedes_within_half_an_hour_is_the_start_of_a_burst():
    time_s, area = np.array([1000, 2800, 4601, 1100, 9000, 9100]), np.array([0, 0, 0, 1, 0, 0])
    past = make_catalog(
        time_s=time_s, category=np.zeros(6, int), area=area, xy_m=np.zeros((6, 2)),
        is_target=np.array([True, True, True, True, False, True]), categories=("SHOT",), areas=2,
    )  # fmt: skip
    assert set(past.time_s[starts(past, 1800)].tolist()) == {1000, 1100, 4601, 9100}
    assert starts(past, 0).sum() == 5  # all events


def test_no_layer_fades_sooner_than_its_rows_may_be_looked_at():
    """Robberies followed by shots anywhere within a quarter of an hour: what a forecast sees are the last traces."""
    rng = np.random.default_rng(3)
    robberies = rng.integers(0, 90 * 86_400, 400)
    shots = robberies.repeat(9) + rng.exponential(900, 3600).astype(np.int64)
    is_shot = np.arange(4000) >= 400
    catalog = make_catalog(
        time_s=np.concatenate([robberies, shots]), category=is_shot.astype(int), area=rng.integers(0, 60, 4000),
        xy_m=np.zeros((4000, 2)), is_target=is_shot, categories=(ROBBERY, "SHOT"), areas=60,
    )  # fmt: skip
    state = _Fit(catalog.known_at_once(), 0, 90 * 86_400, 7200, 1800).run()
    assert state.layers and all(layer.decay_s > 1800 for layer in state.layers)
