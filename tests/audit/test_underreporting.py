"""An audit against what was recorded does not see what is not reported; one against all that happened does."""

import json
from dataclasses import replace

import pytest

from hews_gpu.alerts.policy import NeighborhoodBudget, Policy
from hews_gpu.audit import underreporting as audited
from hews_gpu.audit.feedback import Settings
from hews_gpu.audit.underreporting import BY_REPORT, underreporting, underreporting_table
from hews_gpu.errors import UserError
from hews_gpu.synthetic.patrolled import SHOOTING, WEAPONS

MANY = Policy(neighborhoods=NeighborhoodBudget(watch_per_week=30, warning_per_week=10, each_per_week=15))


def test_half_of_the_reports_look_like_half_of_the_risk():
    settings = Settings(seeds=2, neighborhoods=6, policy=MANY)
    result = underreporting(settings, (1.0, 0.5))
    json.dumps(result, allow_nan=False)
    all_made, half = ({name: one["value"] for name, one in result["shares"][share].items()} for share in ("1", "0.5"))
    assert half["calibration_true"] > all_made["calibration_true"] + 0.25
    assert half["calibration_recorded"] == pytest.approx(all_made["calibration_recorded"], abs=0.2)
    assert all_made["reports_per_call"] == pytest.approx(1, abs=0.05)
    assert half["reports_per_call"] == pytest.approx(0.5, abs=0.05)
    assert half["shootings_per_find"] == pytest.approx(all_made["shootings_per_find"] / 2, rel=0.15)
    assert half["warned_there"] < all_made["warned_there"]
    table = underreporting_table(result)
    assert table[0] == ["of the reports there", "100%", "50%"] and len(table) == 1 + len(half)


def test_in_how_many_cities_a_gate_fails(monkeypatch):
    asked, gates = [], audited.gates

    def watched(cells, groupings, residents, against):
        asked.append(against)
        results = gates(cells, groupings, residents, against)
        fails = against == "true" and len(asked) == 4  # of the second city
        return [replace(one, verdict="fail" if fails and k == 2 else "warning") for k, one in enumerate(results)]

    monkeypatch.setattr(audited, "gates", watched)
    told = underreporting(Settings(seeds=2, neighborhoods=4, policy=MANY), (0.5,))["shares"]["0.5"]
    assert asked == ["recorded", "true"] * 2
    assert told["audit_fails_recorded"] == {"value": 0.0, "interval": [0.0, 0.6576]}
    assert told["audit_fails_true"] == {"value": 0.5, "interval": [0.0945, 0.9055]}


@pytest.mark.parametrize("share", [0, -0.5, 1.1])
def test_no_such_share(share):
    with pytest.raises(UserError, match=f"--share = {share}"):
        underreporting(Settings(), (1.0, share))


def test_only_some_categories_are_reported_less():
    settings = Settings(seeds=2, neighborhoods=6, policy=MANY)
    every, shootings, others, weapons = (
        underreporting(settings, (0.5,), categories)["shares"]["0.5"]
        for categories in (BY_REPORT, (SHOOTING,), tuple(name for name in BY_REPORT if name != SHOOTING), (WEAPONS,))
    )
    targets = [name for name in every if name != "reports_per_call"]
    assert [shootings[name] for name in targets] == [every[name] for name in targets]  # all that the level looks at
    assert others["warned_there"] != every["warned_there"]
    assert others["shootings_per_find"]["value"] > 1.5 * every["shootings_per_find"]["value"]
    counted = ("reports_per_call", "shootings_per_find")
    assert {k: v for k, v in weapons.items() if k not in counted} == {
        k: v for k, v in others.items() if k not in counted
    }
    assert weapons["shootings_per_find"]["value"] > 1.5 * others["shootings_per_find"]["value"]
    assert shootings["reports_per_call"]["value"] > 0.8 and others["reports_per_call"]["value"] < 0.65


def test_a_category_that_the_cities_do_not_have_is_refused():
    with pytest.raises(UserError, match="--category = 'ARSON': must be one of SHOOTING, WEAPONS, NARCOTICS, ROBBERY"):
        underreporting(Settings(), (1.0,), ("ARSON",))


def test_a_minimum_lead_is_refused():
    with pytest.raises(UserError, match=r"\[minimum_lead_s\] = 600: must be 0"):
        underreporting(Settings(policy=Policy(minimum_lead_s=600)), (1.0,))


def test_a_share_given_twice_is_refused():
    with pytest.raises(UserError, match=r"--share = '?0\.5, 0\.5'?: must differ"):
        underreporting(Settings(), (0.5, 0.5))
