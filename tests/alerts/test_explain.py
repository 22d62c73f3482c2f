"""Explanations are true: shares add up to the forecast, and an incident's is what its absence changes."""

from copy import copy
from dataclasses import replace
from functools import cache, partial

import numpy as np
import pytest

from hews_gpu.alerts import explain as explaining
from hews_gpu.alerts.decide import CITY
from hews_gpu.alerts.explain import explain, in_words, target_words
from hews_gpu.data.windows import Windows
from hews_gpu.forecasters.catalog import TARGETS, make_catalog, outcomes
from hews_gpu.forecasters.hewsnet import HewsNetForecaster
from hews_gpu.forecasters.level import Level
from hews_gpu.forecasters.logistic import logit
from hews_gpu.forecasters.stack import Stack
from tests.invented_city import BEGIN_S, DAY_S, columns

DAYS, LEARNED = 400, 360
NAMES = [f"N{n}" for n in range(6)]
GUNS = ("HOMICIDE", "SHOOTING")


@cache
def rows():
    """Robberies set off targets within hours; every tenth target has two victims, so two rows."""
    table = columns(seed=3, days=DAYS)
    twice = np.flatnonzero(table["is_target"])[::10]
    per_row = {name: one for name, one in table.items() if isinstance(one, np.ndarray)}
    return table | {name: np.concatenate([one, one[twice]]) for name, one in per_row.items()}


def catalog(kept=None):
    table = rows()
    if kept is None:
        return make_catalog(**table)
    return make_catalog(**{name: one[kept] if isinstance(one, np.ndarray) else one for name, one in table.items()})


def windows_of(lead_s):
    begin_s = BEGIN_S + np.arange(30 * DAY_S // 7200, DAYS * DAY_S // 7200, dtype=np.int64) * 7200
    return Windows(issue_s=begin_s - lead_s, begin_s=begin_s, end_s=begin_s + 7200)


class Silent:
    """An expert that knows nothing: it says what it said of the mean."""

    fitted = None

    def fit(self, past, train, calibration):
        self.fitted = float(train.y.mean())

    def predict(self, seen, windows):
        return np.full(len(windows), self.fitted)


def made(which):
    experts = {"hewsnet": HewsNetForecaster, "silent": Silent}
    return {
        "stack": partial(Stack, Level, experts),
        "hewsnet": HewsNetForecaster,
        "abstains": partial(Stack, Level, {"silent": Silent}),
        "silent": Silent,
    }[which]()


@cache
def fitted(which, lead_s):
    seen, windows = catalog(), windows_of(lead_s)
    learned = np.flatnonzero(windows.end_s <= BEGIN_S + LEARNED * DAY_S)
    cut = len(learned) * 4 // 5
    train, calibration = (outcomes(seen, windows.select(part)) for part in (learned[:cut], learned[cut:]))
    forecaster, level = made(which), Level()
    for one in (forecaster, level):
        one.fit(seen.until(BEGIN_S + LEARNED * DAY_S), train, calibration)
    return forecaster, level


def asked(which, lead_s):
    """Forecaster, level, rows and the later window with the highest forecast, and its two likeliest places."""
    forecaster, level = fitted(which, lead_s)
    seen, windows = catalog(), windows_of(lead_s)
    later = windows.select(np.flatnonzero(windows.issue_s > BEGIN_S + LEARNED * DAY_S))
    one = later.select(np.array([int(forecaster.predict(seen, later).argmax())]))
    places = [CITY]
    if hasattr(forecaster, "predict_areas"):
        places += forecaster.predict_areas(seen, one)[0].argsort()[-2:].tolist()
    return forecaster, level, seen, one, places


def log_odds_at(forecaster, seen, window, place):
    p = forecaster.predict(seen, window) if place == CITY else forecaster.predict_areas(seen, window)[:, place]
    return float(logit(p)[0])


@pytest.mark.parametrize("lead_s", [0, 1800])
@pytest.mark.parametrize("which", ["stack", "hewsnet", "abstains", "silent"])
def test_shares_add_up_to_the_forecast(which, lead_s):
    forecaster, level, seen, window, places = asked(which, lead_s)
    for place, told in zip(places, explain(forecaster, level, seen, window, places), strict=True):
        total = sum(share for _, share in told["shares"])
        assert total == pytest.approx(log_odds_at(forecaster, seen, window, place), abs=1e-9)
        assert told["shares"][0][0] == "climatology" and told["shares"][1][0] == "level"


def test_the_stacks_shares_are_what_its_weights_say():
    forecaster, _, seen, window, _ = asked("stack", 0)
    assert forecaster.fitted.experts == ("hewsnet",)
    shares = dict(explain(forecaster, None, seen, window, [CITY])[0]["shares"])
    base = forecaster.parts["base"].log_odds(seen, window)[0]
    gap = logit(forecaster.experts["hewsnet"].predict(seen, window))[0] - base
    assert shares["hewsnet"] == pytest.approx(forecaster.fitted.weights[2] * gap, abs=1e-9) and shares["silent"] == 0.0
    assert shares["climatology"] == pytest.approx(
        forecaster.parts["base"].fitted.climatology.logit(window.begin_s)[0], abs=1e-9
    )


@pytest.mark.parametrize("lead_s", [0, 1800])
@pytest.mark.parametrize("which", ["stack", "hewsnet", "abstains"])
def test_an_incident_is_worth_what_its_absence_changes(which, lead_s):
    """The table without it is made anew and forecast; of an incident with two rows both are gone."""
    forecaster, level, seen, window, places = asked(which, lead_s)
    table, issue_s = rows(), int(window.issue_s[0])
    names = np.where(table["is_target"], TARGETS, np.array(table["categories"])[table["category"]])
    age_h, checked = (issue_s - table["time_s"]) // 3600, 0
    for place, told in zip(places, explain(forecaster, level, seen, window, places), strict=True):
        whole = log_odds_at(forecaster, seen, window, place)
        sizes = [abs(one["log_odds"]) for one in told["incidents"]]
        assert sizes == sorted(sizes, reverse=True) and 0 < len(sizes) <= 5
        for one in told["incidents"]:
            same = (names == one["category"]) & (table["area"] == one["place"]) & (age_h == one["age_h"])
            same &= table["time_s"] < issue_s
            if len(np.unique(table["time_s"][same])) == 1:  # else an hour holds two such
                without = whole - log_odds_at(forecaster, catalog(~same), window, place)
                assert one["log_odds"] == pytest.approx(without, abs=1e-9)
                checked += 1
    assert checked >= 3


def test_what_matters_most_is_found():
    """The planted law: robberies of the last hours; none of the last two days moves the city more than those told."""
    forecaster, level, seen, window, _ = asked("stack", 1800)
    told = explain(forecaster, level, seen, window, [CITY])[0]["incidents"]
    whole, issue_s = log_odds_at(forecaster, seen, window, CITY), int(window.issue_s[0])
    table, late = rows(), lambda t: (t < issue_s) & (t > issue_s - 2 * DAY_S)
    each = []
    for time_s in np.unique(table["time_s"][late(table["time_s"]) & (table["category"] == 1)]):
        kept = (table["time_s"] != time_s) | (table["category"] != 1)
        each.append(whole - log_odds_at(forecaster, catalog(kept), window, CITY))
    robberies = [one["log_odds"] for one in told if one["category"] == "ROBBERY"]
    assert told[0]["category"] == "ROBBERY" and len(robberies) >= 2
    assert robberies[:2] == pytest.approx(sorted(each, key=lambda one: -abs(one))[:2], abs=1e-9)


class Decided:
    """Each place's risk is doubled by one incident of its own, in the middle of the others."""

    def predict_areas(self, seen, windows):
        return np.array([[0.2 if (seen.xy_m[seen.area == k, 0] == 1).any() else 0.1 for k in range(PLACES)]])

    def predict(self, seen, windows):
        return 1 - np.prod(1 - self.predict_areas(seen, windows), axis=1)


PLACES = 10


def test_what_decides_is_found_at_every_place():
    time_s, area = np.repeat(BEGIN_S + np.arange(40) * 7200, PLACES), np.tile(np.arange(PLACES), 40)
    is_decisive = time_s == BEGIN_S + 20 * 7200
    seen = make_catalog(
        time_s=time_s,
        category=np.zeros(len(time_s), dtype=np.int64),
        area=area,
        xy_m=np.stack([is_decisive, np.zeros(len(time_s))], axis=1).astype(np.float64),
        is_target=np.zeros(len(time_s), dtype=bool),
        categories=("ROBBERY",),
        areas=PLACES,
    )
    now_s = np.array([BEGIN_S + 4 * DAY_S])
    windows = Windows(issue_s=now_s, begin_s=now_s, end_s=now_s + 7200)
    found = explaining._found(Decided(), seen, windows, range(PLACES), BEGIN_S - 1)
    decisive = np.flatnonzero(seen.xy_m[:, 0] == 1)
    assert [decisive[seen.area[decisive] == k].tolist() for k in range(PLACES)] == [sorted(one) for one in found]


@pytest.mark.parametrize("which", ["stack", "hewsnet", "abstains"])
def test_rows_that_a_forecaster_does_not_read_change_no_bit(which):
    forecaster, _, seen, window, _ = asked(which, 1800)
    reads = forecaster.reads(seen)
    assert reads.sum() < len(seen) and (which == "hewsnet" or reads[seen.is_target].all())
    for whole, few in zip(*(forecaster.predict_both(each, window) for each in (seen, seen.take(reads))), strict=True):
        np.testing.assert_array_equal(whole, few)


def test_of_a_pair_both_categories_are_read():
    forecaster, _, seen, window, _ = asked("hewsnet", 0)
    layer = next(one for one in forecaster.fitted.layers if one.stream != TARGETS)
    other = next(name for name in seen.streams if name not in {TARGETS, layer.stream})
    pair = replace(layer, partner=other, within_m=1e6, is_local=False, origin=None)
    layers = tuple(pair if one is layer else one for one in forecaster.fitted.layers)
    of_pairs = copy(forecaster)
    of_pairs.fitted = replace(forecaster.fitted, layers=layers)
    reads = of_pairs.reads(seen)
    assert reads[seen.is_first & (seen.stream == seen.streams.index(other))].all()
    whole, few, without = (
        of_pairs.predict_both(each, window)[1]
        for each in (seen, seen.take(reads), seen.take(seen.stream != seen.streams.index(other)))
    )
    np.testing.assert_array_equal(whole, few)
    assert (whole != without).any()


def test_a_forecast_does_not_depend_on_what_was_asked_before():
    forecaster, _, seen, window, _ = asked("hewsnet", 0)
    begin_s, end_s = window.begin_s, window.end_s
    for one in (replace(window, issue_s=begin_s - 1800), replace(window, end_s=end_s + 3600), window):
        fresh = copy(forecaster)
        fresh.fitted = replace(forecaster.fitted, recent=replace(forecaster.fitted.recent))
        told, expected = (each.predict_both(seen, one) for each in (forecaster, fresh))
        np.testing.assert_array_equal(told[1], expected[1])


class Apart:
    """An expert that is asked for the city and for places one after the other."""

    def __init__(self, one):
        self.predict, self.predict_areas = one.predict, one.predict_areas


def test_an_expert_for_city_and_places_says_the_same_when_asked_once():
    forecaster, _, seen, window, _ = asked("stack", 0)
    both, apart = copy(forecaster), copy(forecaster)
    both.fitted = apart.fitted = replace(forecaster.fitted, place_experts=("hewsnet",), place_weights=np.array([0.5]))
    apart.experts = forecaster.experts | {"hewsnet": Apart(forecaster.experts["hewsnet"])}
    for mine, theirs in zip(both.predict_both(seen, window), apart.predict_both(seen, window), strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-12)
    last = both.steps(seen, window)[-1]
    np.testing.assert_allclose(last.p, both.predict(seen, window), rtol=1e-12)
    np.testing.assert_allclose(last.areas, both.predict_areas(seen, window), rtol=1e-12)


class CityOnly:
    """An expert that does not say where."""

    def __init__(self, one):
        self.fitted, self._one = None, one

    def predict(self, seen, windows):
        return self._one.predict(seen, windows)


def test_incidents_of_a_neighborhood_are_told_where_an_expert_does_not_say_where():
    forecaster, level, seen, window, places = asked("stack", 0)
    of_city = copy(forecaster)
    of_city.experts = {"hewsnet": CityOnly(forecaster.experts["hewsnet"])}
    of_city.fitted = replace(forecaster.fitted, place_experts=(), place_weights=np.zeros(0))
    for told in explain(of_city, level, seen, window, places):
        assert any(one["category"] == "ROBBERY" for one in told["incidents"])


def test_a_stack_that_keeps_no_expert_says_so():
    forecaster, level, seen, window, places = asked("abstains", 0)
    for place, told in zip(places, explain(forecaster, level, seen, window, places), strict=True):
        shares = dict(told["shares"])
        assert shares["silent"] == 0.0 and shares["calibration"] == 0.0
        assert "follows from the calendar and the recent level alone" in in_words(told, place, NAMES, GUNS)


def test_words_are_counts_of_cases():
    told = {
        "shares": [["climatology", logit(np.array([0.12]))[0]], ["level", 0.0], ["hewsnet", 0.4348]],
        "incidents": [
            {"category": TARGETS, "place": 2, "age_h": 5, "log_odds": 0.16},
            {"category": "ROBBERY", "place": -1, "age_h": 0, "log_odds": 0.001},
            {"category": "ROBBERY", "place": 3, "age_h": 0, "log_odds": -0.01},  # 17.4 and 17.5 of 100: not a case
        ],
    }
    text = in_words(told, CITY, NAMES, GUNS)
    assert text.startswith("Of 100 times like this, 17 see a homicide or shooting somewhere in the city.")
    assert "By the hour and the season it would be 12; the pattern of recent incidents (hewsnet) brings" in text
    assert text.endswith(
        "Had a single report not come, it would be 15 without a homicide or shooting in N2, 5 hours before."
    )
    told["incidents"] = told["incidents"][1:]
    assert in_words(told, 1, NAMES, GUNS).endswith("that were looked at, none changes it by 1 of 100.")
    told["incidents"] = None
    assert "reads maps" in in_words(told, 1, NAMES, GUNS)


@pytest.mark.parametrize(
    ("targets", "words"),
    [
        (GUNS, "a homicide or shooting"),
        (("SHOOTING",), "a shooting"),
        (("ARSON", "HOMICIDE"), "arson or homicide"),
        (("A", "B", "SHOT = Y or YES"), "a, b or shot = y or yes"),
        ((), "a target incident"),
    ],
)
def test_words_name_the_categories_that_are_warned_of(targets, words):
    told = {"shares": [["climatology", -2.0]], "incidents": [dict(category=TARGETS, place=2, age_h=5, log_odds=0.5)]}
    text = in_words(told, CITY, NAMES, targets)
    assert f"see {words} somewhere in the city." in text and f"without {words} in N2, 5 hours before." in text
    assert words.endswith(target_words(targets))
