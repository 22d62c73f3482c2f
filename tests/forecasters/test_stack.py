"""A stack keeps what pays out of sample, and is its base to the bit where nothing does."""

from typing import ClassVar

import numpy as np
import pytest
from scipy.special import expit

from hews_gpu.forecasters.catalog import Outcomes
from hews_gpu.forecasters.level import Level
from hews_gpu.forecasters.logistic import log_loss_each_bits
from hews_gpu.forecasters.stack import (
    ERRORS,
    QUICK_WINDOWS,
    Stack,
    _gain,
    _held_out_place_loss,
    _log_shares,
    _place_weights,
    _pooled,
)
from tests.forecasters.test_level import DAY_S, PER_DAY, cut_at, drawn

YEARS = 4


class Signal:
    """An expert that knows what moves the risk, in part; it remembers what it was handed."""

    fitted = None
    handed: ClassVar[list] = []

    def __init__(self, truth, share=1.0, noise=0.0):
        self._truth, self._share, self._noise = truth, share, noise

    def fit(self, past, train, calibration):
        self.handed.append((past, train, calibration))

    def predict(self, seen, windows):
        at = (windows.begin_s - self._truth[0]) // 7200
        rng = np.random.default_rng(len(windows))
        return expit(-2 + self._share * self._truth[1][at] + self._noise * rng.normal(size=len(at)))


class Place(Signal):
    """The same, and it knows in which half of the city."""

    def predict_areas(self, seen, windows):
        at = (windows.begin_s - self._truth[0]) // 7200
        hazard = -np.log1p(-self.predict(seen, windows))
        first = np.where(self._truth[1][at] > 0, 0.8, 0.2)
        return -np.expm1(-hazard[:, None] * np.stack([first, 1 - first], axis=1))


@pytest.fixture(scope="module")
def city():
    """A city whose risk jumps up and down by the hour, the events following from one half to the other."""
    signal = np.random.default_rng(5).choice([-0.8, 0.8], size=YEARS * 365 * PER_DAY)

    def area(time_s, rng):
        first = np.where(signal[(time_s - begin_s) // 7200] > 0, 0.8, 0.2)
        return (rng.random(len(time_s)) > first).astype(int)

    begin_s = int(drawn(np.zeros(1))[1].windows.begin_s[0])
    catalog, every = drawn(-2 + signal, areas=2, area=area)
    learned, test = cut_at(every, 0.75)
    train, calibration = cut_at(learned, 0.9)
    return catalog, (catalog.until(int(learned.windows.end_s[-1])), train, calibration), test, (begin_s, signal)


def stack_of(city, **experts):
    stack = Stack(Level, experts)
    stack.fit(*city[1])
    return stack


def test_with_experts_that_know_nothing_it_is_the_level_to_the_bit(city):
    catalog, given, test, (begin_s, signal) = city
    noise = np.random.default_rng(0).normal(size=len(signal))
    stack = stack_of(city, noise=lambda: Place((begin_s, noise)), more=lambda: Signal((begin_s, noise), 0.1))
    assert stack.fitted.experts == () and stack.fitted.place_experts == ()
    assert {gain.expert for gain in stack.fitted.gains} == {"noise", "more"}
    level = Level()
    level.fit(*given)
    np.testing.assert_array_equal(stack.predict(catalog, test.windows), level.predict(catalog, test.windows))
    areas = stack.predict_areas(catalog, test.windows)
    np.testing.assert_allclose(areas, level.predict_areas(catalog, test.windows), rtol=1e-12)
    assert set(stack.parts) == {"base"}


def test_it_keeps_the_expert_that_knows_and_believes_it(city):
    catalog, _, test, truth = city
    noise = np.random.default_rng(0).normal(size=len(truth[1]))
    stack = stack_of(city, noise=lambda: Signal((truth[0], noise)), knows=lambda: Place(truth))
    assert stack.fitted.experts == ("knows",) == stack.fitted.place_experts
    assert stack.fitted.weights == pytest.approx([0, 0, 1], abs=0.25)  # it moves the base, whose own weight stays
    assert stack.fitted.place_weights[0] == pytest.approx(1, abs=0.2)
    at = (test.windows.begin_s - truth[0]) // 7200
    best = log_loss_each_bits(test.y, expit(-2 + truth[1][at])).mean()
    plain = log_loss_each_bits(test.y, stack._base.predict(catalog, test.windows)).mean()
    said = log_loss_each_bits(test.y, stack.predict(catalog, test.windows)).mean()
    assert (plain - said) / (plain - best) > 0.93


def test_one_that_cries_too_loud_is_taken_back(city):
    truth = city[3]
    stack = stack_of(city, loud=lambda: Signal(truth, share=3.0))
    assert stack.fitted.experts == ("loud",)
    assert stack.fitted.weights[2] == pytest.approx(1 / 3, abs=0.06)


def test_an_expert_that_is_certain_somewhere_has_shares_all_the_same():
    shares = np.exp(_log_shares(np.array([[1.0, 1.0, 0.5, 0.0]])))
    assert shares.sum() == pytest.approx(1) and shares[0, 0] == shares[0, 1] == pytest.approx(0.5, abs=0.02)


def test_city_and_neighborhoods_agree(city):
    catalog, _, test, truth = city
    stack = stack_of(city, knows=lambda: Place(truth))
    areas = stack.predict_areas(catalog, test.windows)
    np.testing.assert_allclose(1 - (1 - areas).prod(axis=1), stack.predict(catalog, test.windows), rtol=1e-12)
    at = (test.windows.begin_s - truth[0]) // 7200
    shares = np.log1p(-areas) / np.log1p(-areas).sum(axis=1, keepdims=True)
    assert shares[truth[1][at] > 0, 0].mean() == pytest.approx(0.8, abs=0.04)


def test_no_expert_is_asked_about_what_it_was_fitted_on(city):
    (past, train, calibration), truth = city[1], city[3]
    Signal.handed = []
    stack_of(city, knows=lambda: Signal(truth))
    ends = [one.windows.end_s[-1] for _, one, _ in Signal.handed]
    size = len(train)
    asked = [
        train.windows.begin_s[size // 2],
        train.windows.begin_s[round(size * 0.75)],
        calibration.windows.begin_s[0],
    ]
    assert len(ends) == 4  # and once more, to be asked from then on
    assert ends.pop() == calibration.windows.end_s[-1]
    for (known, learned, stop), end_s, first_s in zip(Signal.handed[:3], ends, asked, strict=True):
        assert end_s <= first_s and len(stop) == 0 and len(learned) > 0.4 * size
        assert known.known_s[-1] < first_s or known is past


def test_labels_of_a_forward_fit_are_those_known_then():
    """Half of the targets are reported months late: a fit at the begin of a block counts none that was yet to come."""
    log_odds = np.full(2 * 365 * PER_DAY, -1.5)
    catalog, every = drawn(log_odds)
    from hews_gpu.forecasters.catalog import make_catalog

    late = np.arange(len(catalog)) % 2 == 0
    known_s = np.where(late, catalog.time_s + 150 * DAY_S, catalog.time_s)
    fields = {"category": np.zeros(len(catalog), int), "area": catalog.area, "xy_m": catalog.xy_m}
    slow = make_catalog(
        time_s=catalog.time_s, **fields, is_target=catalog.is_target, categories=("A",), areas=1, known_s=known_s
    )
    train, calibration = cut_at(every, 0.9)
    Signal.handed = []
    stack = Stack(Level, {"any": lambda: Signal((int(every.windows.begin_s[0]), np.zeros(len(every))))})
    stack.fit(slow, train, calibration)
    _, first, _ = Signal.handed[0]
    tail = first.windows.begin_s > first.windows.end_s[-1] - 100 * DAY_S
    assert first.y[tail].mean() < 0.65 * train.y[: len(first)][tail].mean()


def test_a_network_gets_windows_to_stop_by(city):
    Signal.handed = []
    stack = Stack(Level, {"net": lambda: Signal(city[3])}, frozenset({"net"}))
    stack.fit(*city[1])
    for _, learned, stop in Signal.handed:
        assert len(stop) == pytest.approx(len(learned) / 5, abs=2)
        assert learned.windows.end_s[-1] <= stop.windows.begin_s[0]


def test_too_few_events_leave_the_base():
    catalog, every = drawn(np.full(300 * PER_DAY, -5.5))
    train, calibration = cut_at(every, 0.9)
    stack = Stack(Level, {"any": lambda: Signal((int(every.windows.begin_s[0]), np.ones(len(every))))})
    stack.fit(catalog, train, calibration)
    assert stack.fitted.experts == () and stack.fitted.gains == ()


def test_a_gain_whose_errors_last_four_weeks_has_their_standard_error():
    rng = np.random.default_rng(0)
    weeks = 400
    saved = np.repeat(rng.normal(size=weeks // 4), 4 * 84) + 0.2
    time_s = np.arange(len(saved)) * 7200
    gain = _gain("x", saved, time_s)
    assert gain.error == pytest.approx(np.std(saved) / np.sqrt(weeks / 4), rel=0.05)
    assert gain.is_kept == (gain.bits > ERRORS * gain.error)
    independent = _gain("x", rng.normal(size=len(saved)), time_s)
    assert independent.error == pytest.approx(1 / np.sqrt(len(saved)), rel=0.25)


def test_what_it_says_of_a_window_does_not_depend_on_the_others(city):
    catalog, _, test, truth = city
    stack = stack_of(city, knows=lambda: Signal(truth))
    some = test.windows.select(np.arange(100, 200))
    np.testing.assert_allclose(stack.predict(catalog, some), stack.predict(catalog, test.windows)[100:200], rtol=1e-12)


def test_parts_are_those_that_it_asks(city):
    truth = city[3]
    stack = stack_of(city, knows=lambda: Signal(truth), noise=lambda: Signal((truth[0], np.ones(len(truth[1])))))
    assert set(stack.parts) == {"base", "knows"}


def test_outcomes_without_windows_calibrate_nothing(city):
    (past, train, _), truth = city[1], city[3]
    nothing = Outcomes(windows=train.windows.select(np.arange(0)), y=train.y[:0])
    stack = Stack(Level, {"knows": lambda: Signal(truth)})
    stack.fit(past, train, nothing)
    assert stack.fitted.experts == ("knows",)


def test_a_table_too_short_to_cut_leaves_the_base():
    """The one target lies in the last window: before no block of the training time is there anything to learn from."""
    log_odds = np.full(20 * PER_DAY, -9.0)
    log_odds[-1] = 9.0
    catalog, every = drawn(log_odds)
    assert every.y.sum() == 1 == every.y[-1]
    stack = Stack(Level, {"any": lambda: Signal((int(every.windows.begin_s[0]), np.ones(len(every))))})
    stack.fit(catalog, *cut_at(every, 1.0))
    assert stack.fitted.experts == () and len(stack.predict(catalog, every.windows)) == len(every)


@pytest.mark.parametrize("knows", [True, False])
def test_a_costly_expert_is_tried_only_where_a_quick_one_gains(city, knows, monkeypatch):
    monkeypatch.setattr("hews_gpu.forecasters.stack.QUICK_WINDOWS", QUICK_WINDOWS // 2)
    begin_s, signal = city[3]
    noise = np.random.default_rng(0).normal(size=len(signal))
    quick = Signal((begin_s, signal if knows else noise), 0.5)
    stack = Stack(Level, {"costly": lambda: Signal(city[3])}, quick={"costly": lambda: quick})
    Signal.handed = []
    stack.fit(*city[1])
    first, *rest = Signal.handed
    assert len(first[1]) == QUICK_WINDOWS // 2 and len(rest) == (4 if knows else 0)
    assert first[1].windows.end_s[-1] <= city[1][1].windows.begin_s[len(city[1][1]) // 2]
    trial, *others = stack.fitted.gains
    assert trial.is_trial and trial.is_kept == knows and len(others) == knows
    assert stack.fitted.experts == (("costly",) if knows else ())
    assert ("to be tried in full" if knows else "a quick costly adds -0.00") in trial.says()


def test_a_quick_one_gets_no_credit_for_what_another_expert_knows(city):
    stack = Stack(
        Level,
        {"knows": lambda: Signal(city[3]), "costly": lambda: Signal(city[3])},
        quick={"costly": lambda: Signal(city[3])},
    )
    stack.fit(*city[1])
    assert stack.fitted.experts == ("knows",)
    assert [gain.expert for gain in stack.fitted.gains] == ["costly", "knows"]  # the trial, and no turn in full


def test_a_quick_one_gets_no_credit_for_a_level_that_has_moved():
    """The base could be as good after a shift: what says nothing but that has nothing to show."""
    log_odds = np.full(3 * 365 * PER_DAY, -2.0)
    half = len(log_odds) // 2
    log_odds[half:] = -1.0
    catalog, every = drawn(log_odds)
    shifted = (int(every.windows.begin_s[0]), np.ones(len(log_odds)))
    stack = Stack(Level, {"costly": lambda: Signal(shifted)}, quick={"costly": lambda: Signal(shifted)})
    stack.fit(catalog, every, cut_at(every, 1.0)[1])
    assert stack.fitted.gains[0].bits < 0.003  # 0.04 over the base as it is


def test_of_very_many_windows_the_last_are_the_only_block(city, monkeypatch):
    monkeypatch.setattr("hews_gpu.forecasters.stack.MANY_WINDOWS", 10_000)
    monkeypatch.setattr("hews_gpu.forecasters.stack.LAST_WINDOWS", 2_000)
    Signal.handed = []
    stack = stack_of(city, knows=lambda: Signal(city[3]))
    size, more = len(city[1][1]), len(city[1][2])
    fits = [len(learned) for _, learned, _ in Signal.handed]
    assert fits == [
        pytest.approx(size - 2_000, abs=2),
        size,
        size + more,
    ]  # before the block, to calibrate, to forecast
    assert stack.fitted.experts == ("knows",)


def test_places_are_moved_as_far_as_the_events_say():
    rng = np.random.default_rng(4)
    base = np.log(np.full((4000, 5), 0.2))
    knows, nothing = base + rng.normal(0, 1, base.shape), base + rng.normal(0, 1, base.shape)
    shares = np.exp(_pooled(base, [knows, nothing], np.array([0.7, 0.0])))
    area = (rng.random((4000, 1)) > np.cumsum(shares, axis=1)[:, :-1]).sum(axis=1)
    weights = _place_weights(area, base, [knows, nothing], [slice(0, 3), slice(3, 4000)])
    assert weights == pytest.approx([0.7, 0.0], abs=0.08)
    assert _place_weights(area, base, [knows, nothing], [slice(0, 4000)]) == pytest.approx(weights, abs=1e-4)
    lost = [_held_out_place_loss(area, base, {"knows": knows}, names).mean() for names in ((), ("knows",))]
    assert lost[0] - lost[1] > 0.1
