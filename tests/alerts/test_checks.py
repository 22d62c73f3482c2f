"""Each check against the fault that it is for, and against what is none: chance, a short past, a short table."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from hews_gpu.alerts.checks import (
    DELIVERY_CHECKS,
    ISSUE_CHECKS,
    Arrival,
    Situation,
    fault_of_clock,
    faults,
    layer_limits_s,
    stale_layers,
)
from hews_gpu.alerts.policy import InputLimits
from hews_gpu.alerts.vintages.store import open_store
from hews_gpu.data.events import Events, LayerRows
from hews_gpu.units import DAY_S, HOUR_S
from tests.alerts.vintages.rows import SOURCE, table

WEEKS = 10
NOW_S = WEEKS * 7 * DAY_S
NAMES = ("BURGLARY", "SHOOTING", "THEFT")


def known(per_week=(70, 7, 350), last_week=None, names=NAMES):
    """Rows of ten weeks, evenly spread: so many a week by category, and others in the last week."""
    time_s, category = [], []
    for week in range(WEEKS):
        counts = last_week if week == WEEKS - 1 and last_week else per_week
        for kind, count in enumerate(counts):
            time_s += (week * 7 * DAY_S + (np.arange(count) + 0.5) * 7 * DAY_S / max(1, count)).astype(int).tolist()
            category += [kind] * count
    order = np.argsort(time_s, kind="stable")
    zeros = np.zeros(len(order))
    return Events(
        time_s=np.array(time_s, np.int64)[order],
        category=np.array(category, np.int16)[order],
        **dict.fromkeys(("longitude", "latitude"), zeros),
        neighborhood=zeros.astype(np.int16),
        **dict.fromkeys(("is_target", "is_duplicate", "is_twin"), zeros.astype(bool)),
        categories=names,
    )


def found(events, issue_s=NOW_S, **limits):
    situation = Situation(
        limits=InputLimits(**limits), issue_s=issue_s, delay_s=HOUR_S, events=events, known=frozenset(NAMES)
    )
    return "; ".join(faults(ISSUE_CHECKS, situation))


def test_what_is_as_always_passes():
    assert found(known()) == ""


@pytest.mark.parametrize(
    ("age_s", "is_stale"), [(2 * DAY_S + HOUR_S, False), (2 * DAY_S + HOUR_S + 1, True)], ids=["just", "over"]
)
def test_a_newest_row_is_stale_beyond_limit_and_delay(age_s, is_stale):
    events = known()
    assert found(events, int(events.time_s[-1]) + age_s).startswith("stale") == is_stale


def test_the_limit_of_a_layer_is_learned_from_training_alone():
    hours = np.arange(0, 500 * 24) * HOUR_S
    time_s = hours[(hours < 400 * DAY_S) | (hours > 460 * DAY_S)]  # silent for two months, after training
    zeros = np.zeros(len(time_s))
    kinds = {"category": zeros.astype(np.int16), "neighborhood": zeros.astype(np.int16), "categories": ("CALL",)}
    layer = LayerRows(name="calls", time_s=time_s, known_s=time_s, longitude=zeros, latitude=zeros, **kinds)
    limits_s = layer_limits_s(InputLimits(), [layer], (0, 300 * DAY_S))
    assert limits_s == {"calls": InputLimits().newest_row_s}
    refused = stale_layers([layer], limits_s, np.array([399, 404, 459, 461]) * DAY_S)
    assert [bool(why) for why in refused] == [False, True, True, False]


def test_a_layer_that_is_published_ahead_ages_from_when_it_was():
    known_s = np.arange(0, 50) * DAY_S
    zeros = np.zeros(len(known_s))
    kinds = {"category": zeros.astype(np.int16), "neighborhood": zeros.astype(np.int16), "categories": ("HOUR",)}
    layer = LayerRows(
        name="weather", time_s=known_s + 7 * DAY_S, known_s=known_s, longitude=zeros, latitude=zeros, **kinds
    )
    limits_s = layer_limits_s(InputLimits(), [layer], (0, 40 * DAY_S))
    refused = stale_layers([layer], limits_s, np.array([50, 51, 52]) * DAY_S)  # the last was published on day 49
    assert limits_s == {"weather": 2 * DAY_S} and [bool(why) for why in refused] == [False, False, True]


@pytest.mark.parametrize(
    ("last_week", "word"),
    [
        ((70, 7, 70), "volume"),  # 147 of 427; of half as many chance leaves 153
        ((70, 7, 120), ""),
        ((200, 20, 800), "volume"),
        ((180, 14, 700), ""),
    ],
)
def test_volume_is_refused_beyond_its_ratio_and_chance(last_week, word):
    assert found(known(last_week=last_week)).partition(":")[0] == word


def test_few_rows_and_a_short_past_prove_nothing():
    assert found(known(per_week=(3, 1, 4), last_week=(0, 0, 1)), newest_row_s=7 * DAY_S) == ""
    first = known(last_week=(7, 1, 35))
    short = first.time_s >= (WEEKS - 1) * 7 * DAY_S
    columns = {name: value for name, value in vars(first).items() if isinstance(value, np.ndarray)}
    assert found(Events(**{name: value[short] for name, value in columns.items()}, categories=NAMES)) == ""


def test_where_no_row_was_known_that_is_said():
    first = known()
    columns = {name: value[:0] for name, value in vars(first).items() if isinstance(value, np.ndarray)}
    assert found(Events(**columns, categories=())) == "stale: no row was known"


def test_an_unknown_category_is_refused_beyond_its_share_and_chance():
    names = ("BURGLARY", "LARCENY", "THEFT")
    assert "such as 'LARCENY'" in found(known(per_week=(70, 0, 350), last_week=(70, 30, 320), names=names))
    assert found(known(per_week=(70, 0, 350), last_week=(70, 8, 350), names=names)) == ""


def test_a_common_category_that_is_gone_is_refused_and_a_rare_one_is_not():
    assert "no 'BURGLARY'" in found(known(last_week=(0, 7, 420)))
    assert found(known(last_week=(77, 0, 350))) == ""


def arrival(store, rows, latest_s=NOW_S, begin_s=0, may_be_ahead=False, **limits):
    delivered = table(rows)
    times = delivered["time_s"].to_numpy()
    return "; ".join(
        faults(
            DELIVERY_CHECKS,
            Arrival(
                limits=InputLimits(**limits),
                change=store.add(delivered, latest_s, {"file": "a.csv", "sha256": "0"}, accept=lambda change: False),
                latest_s=latest_s,
                oldest_s=int(times.min()),
                newest_s=int(times.max()),
                last=store.deliveries[-1] if store.deliveries else None,
                begin_s=begin_s,
                may_be_ahead=may_be_ahead,
            ),
        )
    )


ROWS = [(HOUR_S * n, n % 3 / 2, "THEFT") for n in range(1, 1001)]


def test_a_delivery_that_goes_on_passes(tmp_path):
    store = open_store(tmp_path)
    assert arrival(store, ROWS) == ""
    store.add(table(ROWS[:900]), NOW_S - DAY_S, SOURCE)
    assert arrival(store, ROWS) == ""
    assert arrival(store, ROWS[20:]) == "", "the newest years are enough"


def test_what_is_wrong_with_a_delivery_is_said(tmp_path):
    store = open_store(tmp_path)
    assert arrival(store, [*ROWS, (NOW_S + 1, 0.5, "THEFT")]).startswith("holds rows of the future")
    assert arrival(store, [*ROWS, (NOW_S, 0.5, "THEFT")]) == ""
    assert arrival(store, [*ROWS, (NOW_S + DAY_S, 0.5, "STORM")], may_be_ahead=True) == "", "a weather forecast"
    assert arrival(store, ROWS[800:]).startswith("begins at 1970-02-03")
    store.add(table(ROWS), NOW_S - DAY_S, SOURCE)
    assert arrival(store, ROWS[:-1]).startswith("goes back")
    assert arrival(store, [*ROWS[:100], *ROWS[130:]]).startswith("lacks 30 rows of its span")
    assert arrival(store, [*ROWS[:100], *ROWS[115:]]) == "", "within the limit"


@pytest.mark.parametrize(("back_s", "is_fault"), [(-60, False), (0, False), (4, False), (6, True), (86_400, True)])
def test_a_clock_may_be_set_back_by_seconds_alone(back_s, is_fault):
    last = datetime(2024, 4, 20, 6, tzinfo=UTC)
    assert bool(fault_of_clock(last - timedelta(seconds=back_s), last)) == is_fault
    assert fault_of_clock(last, None) == ""
