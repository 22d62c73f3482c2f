"""Live issuing through the command: what may go wrong in the field, each ends in the right outcome, recorded once."""

import json
import os
import random
import resource
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd
import pytest

from hews_gpu.alerts.deliver import LATE
from hews_gpu.alerts.explain import in_words
from hews_gpu.alerts.live import EXIT_CODES, Live, _Turn, cancel
from hews_gpu.alerts.record import verify
from hews_gpu.errors import UserError
from hews_gpu.runs.run import open_run
from tests.alerts.live_city import POLICY, Fork, environment, in_use, instant, seconds

FIRST = "2024-04-20T06:00:05"
ISSUED, ABSTAINED, REFUSED, STOPPED = 0, 10, 11, 12


@pytest.fixture
def used(tmp_path, trained, prepared):
    """The toy city in use, with one delivery."""
    city = in_use(tmp_path, trained("level"), prepared)
    city.deliver("2024-04-20.csv", "2024-04-20T05:55")
    return city


def newest(city):
    return city.of("outcome")[-1]


# ------------------------------------------------------------------------------------------ outcomes


def test_the_same_time_twice_adds_nothing_and_ends_as_before(used):
    first, second = (used.hews(FIRST) for _ in range(2))
    assert (first.returncode, second.returncode) == (ISSUED, ISSUED), first.stderr
    assert used.outcomes == [("2024-04-20T06:00:00", "issued")] and "as before" in second.stderr
    assert len(used.of("opened")) == 1 and len(used.delivered) == 1
    used.require_whole()


@pytest.mark.parametrize(("model", "close"), [("level", 1e-9), ("cnn", 1e-5)])
def test_what_is_issued_is_what_the_run_forecasts(tmp_path, trained, prepared, model, close):
    """Also by a model that draws maps: of the rows that were delivered, not of those it was trained on."""
    city = in_use(tmp_path, trained(model), prepared)
    city.deliver("2024-04-20.csv", "2024-04-20T05:55")
    entry = city.warn(FIRST)
    expected = open_run(trained(model), data=prepared).forecast("2024-04-20T06:00")
    assert entry["probability"] == pytest.approx(expected.probability, abs=close)
    where = dict(zip(["West", "East"], entry["neighborhoods"], strict=True))
    assert where == pytest.approx(expected.by_neighborhood, abs=1e-5)


def test_a_warning_says_what_moved_it(used):
    """In the sealed record as numbers, and to those who are warned in words."""
    entry = used.warn(FIRST)
    (warning,) = entry["warnings"]
    (told,) = entry["explanations"].values()
    p = warning["probability"]
    assert [*entry["explanations"]] == [warning["id"]]
    assert sum(share for _, share in told["shares"]) == pytest.approx(np.log(p / (1 - p)), abs=1e-9)
    (line,) = (used.run / "warnings.jsonl").read_text().splitlines()
    assert json.loads(line)["explanation"] == in_words(told, warning["place"], ["West", "East"], ["SHOOTING"])
    verify(used.run)


def test_json_is_one_object_and_carries_the_outcome(used):
    done = used.hews(FIRST, "--incidents", str(used.inbox), "--json")
    result = json.loads(done.stdout)
    assert result["outcome"] == "issued" and result["vintage"]["delivery"] == "2024-04-20.csv"
    assert 0 < result["probability"] < 1 and set(result["baselines"]) == {"climatology", "level"}


def test_without_significant_skill_it_abstains_and_warns_nobody(used):
    used.policy(POLICY.replace("required = false", "required = true"))
    done = used.hews(FIRST)
    assert done.returncode == ABSTAINED
    (entry,) = used.of("outcome")
    assert "not judged" in entry["reason"] and entry["probability"] is not None
    assert entry["warnings"] and all(one["withheld"] for one in entry["warnings"]) and not used.delivered
    assert "explanations" not in entry  # nobody is told


def test_the_kill_switch_stops_all_and_what_is_sent(used):
    (used.run / "STOP").touch()
    assert used.hews(FIRST).returncode == STOPPED
    assert "kill switch" in newest(used)["reason"] and not (used.run / "vintages").exists()
    (used.run / "STOP").unlink()
    assert used.hews("2024-04-20T08:00:05").returncode == ISSUED
    assert used.outcomes == [("2024-04-20T06:00:00", "stopped"), ("2024-04-20T08:00:00", "issued")]


@pytest.mark.parametrize(
    ("passed", "age_days", "reason"), [(None, 0, "none yet"), (True, 8, "8.0 days old"), (False, 1, "missed a fault")]
)
def test_a_drill_that_is_due_stops_it(used, passed, age_days, reason):
    from hews_gpu.alerts.record import open_record

    used.policy(POLICY + "[drill]\nrequired = true\n")
    if passed is not None:
        with open_record(used.run, clock=lambda: instant(FIRST) - timedelta(days=age_days)) as record:
            record.append("drill", {"passed": passed, "cases": {}})
    entry = used.warn(FIRST)
    assert entry["outcome"] == "stopped" and reason in entry["reason"]


def test_exit_codes_differ_and_are_told(used):
    assert len({2, *EXIT_CODES.values()}) == 5
    told = subprocess.run(
        [sys.executable, "-m", "hews_gpu", "warn", "--help"],
        capture_output=True,
        text=True,
        env=environment(),
        check=True,
    ).stdout
    assert all(str(code) in told for code in EXIT_CODES.values())


# ------------------------------------------------------------------------------------------ deliveries


def refused_for(city, local, word):
    """Issue, see that it is refused for that reason, and that nothing was forecast."""
    entry = city.warn(local)
    assert entry["outcome"] == "refused" and word in entry["reason"], entry["reason"]
    assert entry["probability"] is None and entry["warnings"] == []
    city.require_whole()


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (lambda rows: rows.iloc[:-400], "goes back"),
        (
            lambda rows: rows[(np.arange(len(rows)) % 10 != 3) | (rows["time_s"] > rows["time_s"].max() - 86_400)],
            "lacks",
        ),
        (lambda rows: rows.assign(time_s=rows["time_s"].where(rows.index < len(rows) - 1, 1_713_700_000)), "future"),
        (lambda rows: rows.iloc[:0], "damaged"),
    ],
    ids=["backward", "lost", "future", "empty"],
)
def test_a_bad_delivery_is_refused_until_a_good_one_comes(used, change, word):
    assert used.warn(FIRST)["outcome"] == "issued"
    used.deliver("2024-04-21.csv", "2024-04-21T05:55", change)
    refused_for(used, "2024-04-21T06:00:05", word)
    refused_for(used, "2024-04-21T08:00:05", word)
    used.deliver("2024-04-22.csv", "2024-04-22T05:55")
    assert used.warn("2024-04-22T06:00:05")["outcome"] == "issued"


@pytest.mark.parametrize("cut", [3, 1000, 150_001], ids=["nothing", "header", "within a row"])
def test_a_truncated_delivery_is_refused(used, cut):
    assert used.warn(FIRST)["outcome"] == "issued"
    used.deliver("2024-04-21.csv", "2024-04-21T05:55", cut=cut)
    refused_for(used, "2024-04-21T06:00:05", "2024-04-21.csv")


def test_a_delivery_whose_last_row_was_cut_is_refused(used):
    """All else is as it should be: it has more rows than the one before, and newer ones."""
    assert used.warn(FIRST)["outcome"] == "issued"
    used.deliver("2024-04-21.csv", "2024-04-21T05:55", cut=-25)
    refused_for(used, "2024-04-21T06:00:05", "ends in the middle of a row")


def test_a_binary_delivery_is_refused(used):
    (used.inbox / "2024-04-21.csv").write_bytes(random.Random(1).randbytes(20_000))
    done = used.hews("2024-04-21T06:00:05")
    assert done.returncode == REFUSED and "damaged" in newest(used)["reason"] and "Traceback" not in done.stderr


def test_a_late_and_a_duplicate_delivery_change_nothing(used):
    used.deliver("2024-04-21.csv", "2024-04-21T05:55")
    expected = used.warn("2024-04-21T06:00:05")
    used.deliver("2024-04-19.csv", "2024-04-19T05:55")
    (used.inbox / "2024-04-21b.csv").write_bytes((used.inbox / "2024-04-21.csv").read_bytes())
    (used.inbox / ".2024-04-22.csv").write_text("half")
    (used.inbox / "2024-04-22.csv.part").write_text("half")
    (used.inbox / "2024-04-22").mkdir()
    entry = used.warn("2024-04-21T08:00:05")
    assert entry["outcome"] == "issued" and entry["vintage"] == {
        **expected["vintage"],
        "hash": entry["vintage"]["hash"],
    }
    assert entry["vintage"]["hash"] == expected["vintage"]["hash"]


def test_a_feed_that_shows_an_older_state_again_goes_back(used):
    old = (used.inbox / "2024-04-20.csv").read_bytes()
    assert used.warn(FIRST)["outcome"] == "issued"
    used.deliver("2024-04-21.csv", "2024-04-21T05:55")
    assert used.warn("2024-04-21T06:00:05")["outcome"] == "issued"
    (used.inbox / "2024-04-22.csv").write_bytes(old)
    refused_for(used, "2024-04-21T08:00:05", "goes back")


def test_a_feed_that_stands_still_is_stale(used):
    assert used.warn(FIRST)["outcome"] == "issued"
    assert used.warn("2024-04-22T04:00:05")["outcome"] == "issued"
    refused_for(used, "2024-04-22T08:00:05", "stale")


def thinned(rows):
    return rows[(rows["time_s"] < rows["time_s"].max() - 6 * 86_400) | (np.arange(len(rows)) % 5 == 0)]


def renamed(rows):
    is_late = rows["time_s"] > rows["time_s"].max() - 5 * 86_400
    return rows.assign(category=rows["category"].mask(is_late & (rows["category"] == "THEFT"), "LARCENY"))


def without(rows):
    return rows[(rows["time_s"] < rows["time_s"].max() - 8 * 86_400) | (rows["category"] != "ROBBERY")]


@pytest.mark.parametrize(("card", "word"), [(None, "card.md: is not there"), ("Model `0`", "of another model")])
def test_a_run_without_a_card_of_its_model_warns_nobody_until_there_is_one(used, card, word):
    file = used.run / "card.md"
    right = file.read_text()
    file.unlink() if card is None else file.write_text(card)
    refused_for(used, FIRST, word)
    assert f"hews card {used.run} --contact TEXT" in newest(used)["reason"] and not used.delivered
    file.write_text(right)
    entry = used.warn("2024-04-20T10:00:05", catch_up=True)
    assert entry["outcome"] == "issued" and entry["caught_up"] == 1
    assert [outcome for _, outcome in used.outcomes] == ["refused", "issued", "issued"]


@pytest.mark.parametrize(
    ("change", "word"),
    [(thinned, "volume"), (renamed, "training did not know, such as 'LARCENY'"), (without, "no 'ROBBERY'")],
)
def test_input_that_drifts_is_refused(used, change, word):
    used.policy(POLICY + "[input]\nlost_rows = 1.0\n")
    used.deliver("2024-04-20.csv", "2024-04-20T05:55", change)
    refused_for(used, FIRST, word)


def test_a_folder_that_is_gone_or_empty_is_refused(used):
    used.inbox.rename(used.inbox.with_name("away"))
    refused_for(used, FIRST, "does not exist")
    used.inbox.mkdir()
    refused_for(used, "2024-04-20T08:00:05", "holds no delivery")


def test_a_row_of_the_running_window_is_not_seen_by_its_forecast(used):
    """Five minutes after the issue time a delivery holds rows until now: they count from the next issue time on."""
    used.warn(FIRST)
    expected = used.warn("2024-04-20T08:05:00")["vintage"]
    just_now = seconds("2024-04-20T10:02")
    used.deliver(
        "2024-04-20b.csv", "2024-04-20T09:59", lambda rows: pd.concat([rows, rows.tail(1).assign(time_s=just_now)])
    )
    assert used.warn("2024-04-20T10:05:00")["vintage"] == expected
    later = used.warn("2024-04-20T12:00:05")["vintage"]
    assert later["delivery"] == "2024-04-20b.csv" and later["newest"] == "2024-04-20T10:02:00"


def test_a_row_that_came_late_counts_from_then_on(tmp_path, trained, prepared):
    """Half of the shootings of ten days come with the second delivery, or were in the first: the level differs."""

    def lacking(rows):
        is_late = (rows["time_s"] > rows["time_s"].max() - 10 * 86_400) & (rows["category"] == "SHOOTING")
        return rows[~is_late | (np.arange(len(rows)) % 2 == 0)]

    said = []
    for name, first in (("late", lacking), ("early", None)):
        (tmp_path / name).mkdir()
        city = in_use(tmp_path / name, trained("level"), prepared)
        city.deliver("2024-04-20.csv", "2024-04-20T05:55", first)
        assert city.warn(FIRST)["outcome"] == "issued"
        city.deliver("2024-04-21.csv", "2024-04-21T05:55")
        said.append(city.warn("2024-04-21T06:00:05"))
    assert said[0]["vintage"]["rows"] == said[1]["vintage"]["rows"]
    assert said[0]["probability"] != said[1]["probability"]


# ------------------------------------------------------------------------------------------ clocks


def test_a_clock_that_jumps_back_is_refused_and_forward_is_stale(used):
    assert used.hews("2024-04-20T10:00:05").returncode == ISSUED
    assert used.hews(FIRST).returncode == REFUSED
    assert "clock" in newest(used)["reason"]
    assert used.hews("2031-04-20T06:00:05").returncode == REFUSED
    assert "stale" in newest(used)["reason"]
    assert used.hews("2024-04-20T12:00:05").returncode == ISSUED
    used.require_whole()


def test_in_the_autumn_night_the_hour_that_comes_twice_is_issued_once(used, monkeypatch):
    used.policy(POLICY.replace("7200", "1800") + "[input]\nnewest_row_s = 100000000\n")
    for hour in ("2024-11-03T00:30", "2024-11-03T01:00", "2024-11-03T01:30"):
        assert not used.warn(hour)["again"]
    for hour in ("2024-11-03T01:00", "2024-11-03T01:30"):
        assert used.warn(hour, fold=1)["again"]
    entry = used.warn("2024-11-03T02:00")
    assert not entry["again"] and entry["outcome"] == "issued"
    assert [time for time, _ in used.outcomes] == [f"2024-11-03T0{t}:00" for t in ("0:30", "1:00", "1:30", "2:00")]


def test_in_the_spring_night_the_hour_that_never_was_is_not_made_up(used):
    used.policy(POLICY.replace("7200", "1800") + "[input]\nnewest_row_s = 100000000\n")
    used.deliver("2024-04-20.csv", "2024-04-20T05:55")
    used.warn("2025-03-09T01:00:05")
    entry = used.warn("2025-03-09T04:00:05", catch_up=True)
    assert entry["caught_up"] == 3
    assert [time[11:16] for time, _ in used.outcomes] == ["01:00", "01:30", "03:00", "03:30", "04:00"]


# ------------------------------------------------------------------------------------------ outages


def test_what_was_missed_is_made_up_from_what_was_known_then_and_sent_to_nobody(used):
    used.warn(FIRST)
    used.deliver("2024-04-21.csv", "2024-04-21T05:55")
    done = used.hews("2024-04-21T06:00:05", "--incidents", str(used.inbox), "--catch-up", "--json")
    assert json.loads(done.stdout)["caught_up"] == 11, done.stderr
    late = [entry for entry in used.of("outcome") if entry["late"]]
    assert len(late) == 11 and all(entry["vintage"]["delivery"] == "2024-04-20.csv" for entry in late)
    assert all(one["withheld"] for entry in late for one in entry["warnings"]) and any(
        entry["warnings"] for entry in late
    )
    assert not newest(used)["late"] and newest(used)["vintage"]["delivery"] == "2024-04-21.csv"
    used.require_whole()


def test_a_time_made_up_is_what_it_would_have_been(tmp_path, trained, prepared):
    """Live in time, and after an outage: the same probabilities, to the bit."""
    numbers = []
    for name, times in (("a", ["06:00", "08:00", "10:00"]), ("b", ["06:00", "10:00"])):
        (tmp_path / name).mkdir()
        city = in_use(tmp_path / name, trained("level"), prepared)
        city.deliver("2024-04-20.csv", "2024-04-20T05:55")
        for clock in times:
            city.warn(f"2024-04-20T{clock}:05", catch_up=True)
        numbers.append([(e["probability"], e["baselines"], e["neighborhoods"]) for e in city.of("outcome")])
    assert numbers[0] == numbers[1]


def test_an_earlier_time_is_late_and_a_later_one_a_mistake(used):
    used.warn(FIRST)
    assert used.warn("2024-04-20T10:00:05", at="2024-04-20T08:30")["late"]
    with pytest.raises(UserError, match="lies ahead"):
        used.warn("2024-04-20T10:00:05", at="2024-04-20T12:00")


def test_decisions_know_the_warnings_of_earlier_issue_times_alone(used):
    """In order, although those at ten and at eight stand in the record after that at noon."""
    used.warn(FIRST)
    for at in (None, "2024-04-20T10:00", "2024-04-20T08:00"):
        used.warn("2024-04-20T12:00:05", at=at)
    warned = [entry["issue_time"][11:13] for entry in used.of("outcome") if entry["warnings"]]
    assert warned == ["06", "12", "10", "08"]
    live = Live(used.run, data=used.prepared)
    with live.recording() as (record, policy):
        past = _Turn(live, record, policy, instant(FIRST))._past(seconds("2024-04-20T12:00"))
    assert [one.issue_s - seconds("2024-04-20") for one in past] == [6 * 3600, 8 * 3600, 10 * 3600]


def test_an_earlier_time_that_is_made_up_anyway_has_one_outcome(used):
    used.warn(FIRST)
    entry = used.warn("2024-04-20T12:00:05", at="2024-04-20T08:00", catch_up=True)
    assert (entry["issue_time"], entry["again"], entry["caught_up"]) == ("2024-04-20T08:00:00", False, 2)
    assert used.outcomes == [(f"2024-04-20T{time}:00:00", "issued") for time in ("06", "08", "10")]


@pytest.mark.parametrize("begun", [False, True])
def test_a_time_before_the_first_is_a_mistake_for_all_since_then_would_be_due(used, begun):
    if begun:
        used.warn(FIRST)
    done = used.hews("2024-04-20T10:00:05", "--incidents", str(used.inbox), "--at", "2023-04-20T08:00")
    assert done.returncode == 2 and "before the record's first issue time" in done.stderr
    assert len(used.of("outcome")) == begun


def test_a_time_that_clocks_never_showed_is_a_mistake(used):
    (used.run / "STOP").touch()
    used.warn("2024-03-10T00:00:05")
    with pytest.raises(UserError, match="never was"):
        used.warn("2024-03-10T05:00:05", at="2024-03-10T02:00")


@pytest.mark.parametrize("block", [("2023-12-01", "2024-01-15"), ("2024-04-29", "2024-05-07")])
def test_a_calibration_block_beyond_the_table_of_the_training_is_a_mistake(used, block):
    used.policy(f'calibrate_on = ["{block[0]}", "{block[1]}"]\n{POLICY}')
    used.deliver("2024-05-08.csv", "2024-05-07T23:55")
    with pytest.raises(UserError, match="must lie within the table"):
        used.warn("2024-05-08T00:00:05")


# ------------------------------------------------------------------------------------------ labels


def test_what_is_settled_is_written_down_whatever_comes_of_the_call(used, monkeypatch):
    """But not while all is stopped, nor where there is nothing to do; once, before anything is made up or forecast."""
    seen = []
    monkeypatch.setattr("hews_gpu.alerts.live.settle", lambda record, *_: seen.append(len(record.entries("outcome"))))
    used.warn(FIRST)
    used.warn(FIRST)
    assert seen == [0]
    used.warn("2024-04-20T12:00:05", at="2024-04-20T08:00")
    used.warn("2024-04-20T12:00:05", catch_up=True)
    assert seen == [0, 1, 2] and len(used.outcomes) == 4
    used.inbox.rename(used.inbox.with_name("away"))
    assert used.warn("2024-04-20T14:00:05")["outcome"] == "refused"
    assert used.warn("2024-04-20T04:00:05")["outcome"] == "refused"
    assert seen == [0, 1, 2, 4, 5]
    (used.run / "STOP").touch()
    assert used.warn("2024-04-20T16:00:05")["outcome"] == "stopped"
    assert seen == [0, 1, 2, 4, 5]


def test_a_table_that_holds_rows_since_the_issue_time_alone_is_no_ground_for_a_forecast(used):
    """The very first delivery, read at five past: what it holds counts from then on."""
    just_now = seconds("2024-04-20T06:02")
    used.deliver(
        "2024-04-20.csv", "2024-04-20T05:55", lambda rows: pd.concat([rows, rows.tail(1).assign(time_s=just_now)])
    )
    refused_for(used, "2024-04-20T06:05:00", "had brought nothing by 2024-04-20T06:00:00")
    assert used.warn("2024-04-20T08:00:05")["outcome"] == "issued"


# ------------------------------------------------------------------------------------------ runs, policies, state


def test_a_policy_changed_in_flight_is_recorded(used):
    used.warn(FIRST)
    used.policy(POLICY.replace("watch_per_week = 84", "watch_per_week = 42"))
    used.warn("2024-04-20T08:00:05")
    (entry,) = used.of("policy")
    assert entry["policy"]["city"]["watch_per_week"] == 42 and entry["replaced"] == used.of("opened")[0]["fingerprint"]
    assert newest(used)["policy_fingerprint"] == entry["fingerprint"]
    first, second = (one["thresholds"]["city_watch"] for one in used.of("outcome"))
    assert first < second, "half as many warnings need a higher threshold"
    used.warn("2024-04-20T10:00:05")
    assert len(used.of("policy")) == 1


def test_another_model_under_the_same_record_is_refused_in_one_line(used, trained):
    used.warn(FIRST)
    before = used.entries
    for name in ("weights.safetensors", "recipe.toml", "hews.json"):
        (used.run / name).write_bytes((trained("climatology") / name).read_bytes())
    done = used.hews("2024-04-20T08:00:05")
    assert done.returncode == 2 and len(done.stderr.strip().splitlines()) == 1 and "another model" in done.stderr
    assert used.entries == before


def test_a_run_without_its_state_gives_the_same_bits(tmp_path, trained, prepared):
    import shutil

    results = []
    for name in ("kept", "lost", "damaged"):
        (tmp_path / name).mkdir()
        city = in_use(tmp_path / name, trained("level"), prepared)
        city.deliver("2024-04-20.csv", "2024-04-20T05:55")
        city.warn(FIRST)
        if name == "lost":
            shutil.rmtree(city.run / "state")
        elif name == "damaged":
            for file in (city.run / "state").rglob("*.*"):
                file.write_bytes(b"{}")
        city.warn("2024-04-20T08:00:05")
        results.append([{k: v for k, v in e.items() if k not in ("previous", "hash")} for e in city.of("outcome")])
    assert results[0] == results[1] == results[2]


def test_a_record_that_was_cut_or_edited_is_refused(used):
    used.warn(FIRST)
    used.warn("2024-04-20T08:00:05")
    lines = used.run / "record" / "record.jsonl"
    whole = lines.read_bytes()
    for damaged in (whole[: whole.rindex(b'{"')], whole.replace(b'"late":false', b'"late":true ', 1)):
        lines.write_bytes(damaged)
        done = used.hews("2024-04-20T10:00:05")
        assert done.returncode == 2 and "record" in done.stderr and lines.read_bytes() == damaged


# ------------------------------------------------------------------------------------------ withdrawal


def test_a_warning_is_withdrawn_with_a_reason_and_those_who_had_it_are_told(used):
    used.warn(FIRST)
    (name,) = used.delivered
    done = used.hews("2024-04-20T06:10:00", "--cancel", name, "--why", "a test; rm -rf / <b>\x1b[2J")
    assert done.returncode == 0, done.stderr
    (entry,) = used.of("cancel")
    assert entry["warning"] == name and "rm -rf" in entry["why"] and used.delivered == [name, f"{name}-cancel"]
    assert used.hews("2024-04-20T06:10:00", "--cancel", name, "--why", "again").returncode == 2
    assert used.hews("2024-04-20T06:10:00", "--cancel", "none", "--why", "x").returncode == 2


def test_of_a_run_that_has_issued_nothing_nothing_is_withdrawn(used):
    with pytest.raises(UserError, match="is no warning: the run has issued none"):
        cancel(used.run, "none", "a test", data=used.prepared)
    assert not (used.run / "record").exists()


def test_while_all_is_stopped_a_withdrawal_goes_out_and_no_warning(used, monkeypatch):
    """The warning of 08:00 was recorded by a process that was killed before it sent it; that of 06:00 stands."""
    used.warn(FIRST)
    with monkeypatch.context() as cut:
        cut.setattr("hews_gpu.alerts.live.deliver", lambda *_, **__: [])
        used.warn("2024-04-20T08:00:05")
    (name,) = used.delivered
    (used.run / "STOP").touch()
    cancel(used.run, name, "a test", data=used.prepared, clock=lambda: instant("2024-04-20T07:59"))
    assert used.delivered == [name, f"{name}-cancel"]


def test_a_user_without_a_name_can_withdraw(used, monkeypatch):
    used.warn(FIRST)

    def nameless():
        raise KeyError("getpwuid(): uid not found: 12345")

    monkeypatch.setattr("getpass.getuser", nameless)
    entry = cancel(used.run, used.delivered[0], "a test", data=used.prepared, clock=lambda: instant("2024-04-20T06:10"))
    assert entry["by"] == str(os.getuid())


# ------------------------------------------------------------------------------------------ full disks and kills


def test_a_disk_that_fills_leaves_a_record_that_holds(used):
    used.warn(FIRST)
    size = (used.run / "record" / "record.jsonl").stat().st_size
    used.deliver("2024-04-21.csv", "2024-04-21T05:55")

    def limited():
        resource.setrlimit(resource.RLIMIT_FSIZE, (size + 100, size + 100))
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)

    done = used.hews("2024-04-21T06:00:05", preexec_fn=limited)
    assert done.returncode in (2, REFUSED) and "Traceback" not in done.stderr, done.stderr
    used.require_whole()
    assert used.hews("2024-04-21T08:00:05").returncode == ISSUED
    used.require_whole()


class Webhook(BaseHTTPRequestHandler):
    heard: list[str]

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        self.heard.append(json.loads(json.loads(body)["message"])["id"])
        self.send_response(200)
        self.end_headers()

    def log_message(self, *args):
        pass


@contextmanager
def webhook():
    """A server on this machine that keeps the ids that it was told."""
    handler = type("Handler", (Webhook,), {"heard": []})
    server = HTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"json://127.0.0.1:{server.server_port}", handler.heard
    finally:
        server.shutdown()
        server.server_close()


def killed_at_random(used, kills, seed):
    """Issue every two hours, each process killed at a random moment; then whole, as the next cron would be."""
    pytest.importorskip("apprise")
    rng, moment, spans = random.Random(seed), instant(FIRST), [0.5]
    with webhook() as (url, heard):
        used.policy(POLICY.replace('cap = ""', f'cap = ""\nurls = ["{url}"]'))
        used.warn(FIRST)
        for n in range(kills):
            moment += timedelta(hours=2)
            if n % 12 == 0:
                local = str(np.datetime64("2024-04-20T05:55") + np.timedelta64(2 * n + 2, "h"))
                used.deliver(f"delivery-{n:03d}.csv", local)
            issue(used, moment, kill_after_s=rng.uniform(0, 1.3 * max(spans)))
            if n % 3 == 2:
                spans.append(issue(used, moment))
        issue(used, moment + timedelta(hours=2))
    return heard


def issue(used, moment, kill_after_s=None):
    """Issue in a process that is killed unless it has ended by then; return how long it took."""
    with TemporaryDirectory() as folder:
        begin = time.perf_counter()
        fork = Fork(moment, used.arguments(), Path(folder))
        if kill_after_s is not None and not fork.has_ended(kill_after_s):
            fork.kill()
        code = fork.end()
        assert code == 0 or kill_after_s is not None, fork.printed()
        return time.perf_counter() - begin


def require_nothing_lost_or_said_twice(used, heard):
    verify(used.run)
    given = [one["id"] for entry in used.of("outcome") for one in entry["warnings"]]
    times = [time for time, _ in used.outcomes]
    assert len(set(times)) == len(times) and len(set(given)) == len(given)
    late = {e["warning"] for e in used.of("failed") if (e["channel"], e["error"]) == ("file", LATE)}
    tried = {e["warning"] for e in used.of("sending") if e["channel"] == "file"}
    assert not late & tried, "only what was killed before any try, and not repeated within its window, is late"
    assert sorted(used.delivered) == sorted(set(given) - late), "the file holds every other warning, once"
    hooked = [name for name in (entry["channel"] for entry in used.of("sending")) if name.startswith("json")]
    assert hooked and len(set(heard)) == len(heard)
    by = {kind: {e["warning"] for e in used.of(kind) if e["channel"].startswith("json")} for kind in ("sent", "failed")}
    assert by["sent"] <= set(heard) <= set(given) and by["sent"] | by["failed"] == set(given)
    assert not by["sent"] & by["failed"]


@pytest.mark.parametrize("kills", [6, pytest.param(50, marks=pytest.mark.nightly)])
def test_killed_at_any_moment_nothing_is_lost_and_nothing_said_twice(used, kills):
    heard = killed_at_random(used, kills, seed=kills)
    require_nothing_lost_or_said_twice(used, heard)
