"""`verification.json`: a small record worked out by hand, and numbers that may not move once they are published."""

import json
import shutil
from dataclasses import replace
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from hews_gpu.alerts.history import read_history
from hews_gpu.alerts.record import read_record
from hews_gpu.alerts.references import References
from hews_gpu.alerts.replay import replay
from hews_gpu.alerts.settle import seconds, target_events, text
from hews_gpu.alerts.verify import VERIFICATION, verify
from hews_gpu.cli.commands import app
from hews_gpu.data.events import load_events
from hews_gpu.errors import UserError
from hews_gpu.runs.run import open_run
from tests.alerts.invented_record import BEGIN_S, POLICY, STEP_S, label, outcome, seal
from tests.alerts.invented_timeline import warning
from tests.alerts.live_city import in_use


def warned(k, tier="watch", place=-1, **more):
    one = warning(k, tier, place, **more)
    return replace(one, issue_s=BEGIN_S + k * STEP_S, begin_s=BEGIN_S + k * STEP_S, end_s=BEGIN_S + (k + 1) * STEP_S)


def may():
    """All of May, 62 half days, and the first two of June, which are open.

    Warned: the city at 0 (hit after 600 s) and at 1 (false), the second neighborhood at 0 (hit). Refused: 2, where an
    event came in the first neighborhood; missing: 3; late: 5, whose warning of an event was of no use.
    """
    bodies = [
        outcome(0, 0.6, warnings=[warned(0), warned(0, place=1)]),
        outcome(1, 0.6, warnings=[warned(1)]),
        outcome(2, said="refused", reason="stale"),
        outcome(4, 0.2),
        outcome(5, 0.6, late=True, warnings=[warned(5)]),
        *[outcome(k, 0.2 + 0.01 * (k % 7)) for k in range(6, 64)],
    ]
    labels = {k: label(k) for k in range(62)}
    labels |= {0: label(0, (600, 1)), 2: label(2, (60, 0)), 5: label(5, (0, 1)), 40: label(40, (60, None), (61, 0))}
    return bodies, list(labels.values())


@pytest.fixture(scope="module")
def references(trained):
    return References(open_run(trained("level")))


@pytest.fixture(autouse=True)
def fitted_once(monkeypatch, references):
    """Fitting the references takes a second, and gives the same each time."""
    monkeypatch.setattr("hews_gpu.alerts.verify.References", lambda _: references)


@pytest.fixture
def sealed(trained, tmp_path):
    """A run with that record."""
    run = tmp_path / "run"
    shutil.copytree(trained("level"), run)
    bodies, labels = may()
    seal(run, *bodies, *labels)
    return run


@pytest.fixture
def result(sealed):
    return verify(sealed)


def test_the_record_by_hand(result):
    """Of the city: given 2, of events at 0, 2, 5, 40 (twice, a second apart): 5, one caught: POD 1/5, FAR 1/2.

    Of neighborhoods: one given and one hit; four of the events are in one.
    """
    (month,) = [one for one in result["periods"] if one["period"] == "2024-05"]
    assert (month["begin"], month["end"]) == ("2024-05-01T00:00:00", "2024-06-01T00:00:00")
    assert month["outcomes"] == {
        "due": 62, "issued": 59, "abstained": 0, "refused": 1, "stopped": 0, "late": 1, "missing": 1
    }  # fmt: skip
    assert month["reasons"] == {"stale": 1}
    assert month["published"] and month["open"] == 0 and month["events"] == {"city": 5, "neighborhoods": 4}
    city = month["warnings"]["city"]["p"]["any"]
    assert (city["given"], city["hits"], city["pod"], city["far"], city["late"]) == (2, 1, 1 / 5, 1 / 2, 1)
    assert city["median_lead_s"] == 600 and city["per_week"] == pytest.approx(2 / (31 / 7))
    areas = month["warnings"]["neighborhoods"]["p"]["any"]
    assert (areas["given"], areas["hits"], areas["pod"]) == (1, 1, 1 / 4)
    assert month["as_made"]["windows"] == 59 and month["as_served"]["windows"] == 62
    june = result["periods"][-1]
    assert (june["period"], june["published"], june["open"], june["as_made"]) == ("2024-06", False, 2, None)
    assert result["all"]["outcomes"]["due"] == 64 and result["all"]["events"]["city"] == 5


def test_warnings_and_misses_stand_one_by_one(result):
    rows = [(row["outcome"], row["place"], row["tier"], row["system"]) for row in result["warnings"]]
    assert rows == [
        ("hit", None, "watch", "issued"),
        ("hit", "East", "watch", "issued"),
        ("false_alarm", None, "watch", "issued"),
        ("miss", None, None, "refused"),
        ("miss", "West", None, "refused"),
        ("miss", None, None, "late"),
        ("hit", None, "watch", "late"),  # had it come in time
        ("miss", "East", None, "late"),
        ("miss", None, None, "issued"),
        ("miss", None, None, "issued"),
        ("miss", "West", None, "issued"),
    ]
    assert [row["late"] for row in result["warnings"]].count(True) == 1
    assert result["warnings"][0]["event_time"] == "2024-05-01T00:10:00" and result["warnings"][0]["lead_s"] == 600


def test_references_are_warned_of_under_the_same_policy_by_thresholds_of_their_own(sealed, result, references):
    """Each keeps to the city's budget of 7 watches and 3 warnings in any week; some of them are given."""
    by = result["all"]["warnings"]["city"]
    assert list(by) == ["p", "climatology", "level"]
    assert set(result["all"]["as_made"]["forecasts"]) == {"p", "climatology", "level"}
    limits = references.thresholds(POLICY, BEGIN_S)
    timeline = read_history(read_record(sealed), ZoneInfo("America/New_York"), None).timeline
    for name in ("climatology", "level"):
        p = timeline.p[name]
        given = references.warnings(POLICY, limits[name], timeline.windows, p, [])
        city = [one for one in given if one.place == -1]
        least = min(limits[name].city_watch, limits[name].city_warning)
        assert all(one.probability >= least for one in city)
        assert len([one for one in city if one.begin_s < BEGIN_S + 62 * STEP_S]) == by[name]["any"]["given"]
        assert references.shares.sum() == pytest.approx(1)


def test_the_same_again_is_the_same_and_open_months_may_move(sealed, result):
    again = verify(sealed)
    assert {**again, "made": ""} == {**result, "made": ""}
    seal(sealed, label(62, (60, 1)), label(63))
    assert verify(sealed)["periods"][-1]["events"]["city"] == 1


def test_a_month_that_is_not_over_is_not_published_however_much_of_it_is_settled(trained, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(trained("level"), run)
    seal(run, *[outcome(k) for k in range(62)], *[label(k) for k in range(62)])
    (month,) = verify(run)["periods"]
    assert (month["open"], month["published"]) == (0, False)


def moved(sealed, way, value):
    """Publish May anew with another number, as a release that counted otherwise would have."""
    (one,) = [entry for entry in read_record(sealed) if entry["kind"] == "published"]
    body = {name: one[name] for name in ("period", "scores", "rows")}
    *path, last = way
    inner = body
    for key in path:
        inner = list(inner.values())[key] if isinstance(key, int) and isinstance(inner, dict) else inner[key]
    inner[last] = value
    seal(sealed, ("published", body))


BRIER = ("scores", "as_made", "forecasts", "p", "brier")


def test_a_published_number_that_moves_is_named_and_nothing_is_written(sealed, result):
    before = (sealed / VERIFICATION).read_bytes()
    moved(sealed, BRIER, 0.125)
    words = r"2024-05\.scores\.as_made\.forecasts\.p\.brier: was published as 0\.125 and is now"
    with pytest.raises(UserError, match=words):
        verify(sealed)
    assert (sealed / VERIFICATION).read_bytes() == before
    with pytest.raises(UserError, match=r"brier"):  # nor is it overlooked in another folder
        verify(sealed, out=sealed / "elsewhere")


def test_a_reason_is_written_down_with_every_difference_and_holds_for_once(sealed, result):
    moved(sealed, BRIER, 0.125)
    told = verify(sealed, why="the Brier score was halved")
    entry, published = read_record(sealed)[-2:]
    brier = result["periods"][0]["as_made"]["forecasts"]["p"]["brier"]
    assert (entry["kind"], entry["why"]) == ("rebaseline", "the Brier score was halved")
    assert entry["diff"] == [["2024-05.scores.as_made.forecasts.p.brier", 0.125, brier]]
    assert (published["kind"], published["scores"]["as_made"]["forecasts"]["p"]["brier"]) == ("published", brier)
    assert told["rebaselines"] == [{"instant": entry["instant"], "why": entry["why"], "moved": 1}]
    assert verify(sealed)["rebaselines"] == told["rebaselines"]


@pytest.mark.parametrize(
    ("way", "value"),
    [
        (("rows", 0, "outcome"), "nothing"),
        (("rows", 3, "system"), "stopped"),
        (("scores", "outcomes", "missing"), 2),
        (("scores", "as_made", "forecasts", "p", "roc", "curve", 1, 0), 0.3),
        (("scores", "warnings", "city", "p", "any", "gone"), 1.0),
        (("scores", "warnings", "city", "p", "any", "pod"), None),
    ],
)
def test_whatever_was_published_may_not_move(sealed, result, way, value):
    moved(sealed, way, value)
    with pytest.raises(UserError, match="was published as"):
        verify(sealed)


def test_rounding_is_no_move_and_neither_is_what_was_not_published(sealed, result):
    moved(sealed, BRIER, result["periods"][0]["as_made"]["forecasts"]["p"]["brier"] * (1 + 1e-12))
    lines = len(read_record(sealed))
    verify(sealed)
    assert len(read_record(sealed)) == lines
    assert [one["period"] for one in read_record(sealed) if one["kind"] == "published"] == ["2024-05"] * 2


def test_what_was_published_is_held_against_whatever_became_of_the_file(sealed, result):
    (sealed / VERIFICATION).unlink()
    assert verify(sealed)["periods"] == result["periods"]
    moved(sealed, BRIER, 0.125)
    (sealed / VERIFICATION).unlink()
    with pytest.raises(UserError, match="was published as"):
        verify(sealed)


def test_who_cannot_write_the_record_can_score_it_and_publishes_nothing(sealed, tmp_path, capsys):
    (sealed / "warnings.toml").write_text('[sign]\nkey = "not/here.pem"\n')
    months = verify(sealed, out=tmp_path / "out")["periods"]
    assert months[0]["published"] and "no month was published: not/here.pem" in capsys.readouterr().err
    assert not [one for one in read_record(sealed) if one["kind"] == "published"]


def test_catching_up_after_the_label_moves_nothing(sealed, result):
    seal(sealed, outcome(3, 0.9, late=True, warnings=[warned(3)]))
    assert verify(sealed)["periods"] == result["periods"]


def test_a_refusal_in_place_of_a_warning_lowers_what_was_detected(trained, tmp_path):
    """The same record, had the system refused at 0: the hit of the city and that of the neighborhood are misses."""
    run = tmp_path / "run"
    shutil.copytree(trained("level"), run)
    bodies, labels = may()
    seal(run, outcome(0, said="refused", reason="stale"), *bodies[1:], *labels)
    by = verify(run)["all"]["warnings"]
    assert [by[kind]["p"]["any"]["pod"] for kind in ("city", "neighborhoods")] == [0, 0]


def test_what_was_withheld_is_none_of_what_was_given_and_stands_beside_it(trained, tmp_path, result):
    """The same record, had the system abstained at 0: the hits of city and neighborhood would have been, and were not.

    The warning of 5 came late: nobody could have acted on it in any case.
    """
    assert result["all"]["warnings_if_issued"] is None
    run = tmp_path / "abstaining"
    shutil.copytree(trained("level"), run)
    bodies, labels = may()
    given = [warned(0, withheld=True), warned(0, place=1, withheld=True)]
    seal(run, outcome(0, 0.6, said="abstained", reason="no skill", warnings=given), *bodies[1:], *labels)
    told = verify(run)["all"]
    for kind in ("city", "neighborhoods"):
        assert told["warnings"][kind]["p"]["any"]["hits"] == 0 and told["warnings"][kind]["p"]["any"]["withheld"] == 1
        before = result["all"]["warnings"][kind]["p"]["any"]
        after = told["warnings_if_issued"][kind]["any"]
        assert {**after, "withheld": 0} == before


def test_json_holds_it_and_no_number_is_nan(sealed, result):
    content = json.loads((sealed / VERIFICATION).read_text(), parse_constant=lambda _: pytest.fail("not a number"))
    assert content == json.loads(json.dumps(result))
    assert content["delay"] is None and content["neighborhoods"] == ["West", "East"]
    assert content["task"] == {"stride_s": STEP_S, "lead_s": 0, "horizon_s": STEP_S, "minimum_lead_s": 0}
    assert np.isfinite(content["all"]["as_served"]["forecasts"]["p"]["brier"])


def test_the_command_writes_numbers_and_page_and_ends_with_one_line_where_a_number_moved(sealed, capsys):
    def hews(*arguments):
        with pytest.raises(SystemExit) as end:
            app(["verify", str(sealed), *arguments], prog_name="hews")
        return end.value.code, *capsys.readouterr()

    code, out, _ = hews()
    assert code == 0 and "2024-05" in out and "verification.html" in out
    assert "East" in (sealed / "verification.html").read_text()
    moved(sealed, BRIER, 0.125)
    code, out, err = hews("--json")
    last = err.strip().splitlines()[-1]
    assert (code, out) == (2, "") and "brier: was published as 0.125 and is now" in last and "--rebaseline WHY" in last
    code, out, _ = hews("--json", "--rebaseline", "halved")
    assert code == 0 and json.loads(out)["rebaselines"][0]["why"] == "halved"


def as_record(run, prepared, replayed):
    """What `hews warn` would have written of a replay, and what came of each window that the table tells of."""
    summary = json.loads((replayed / "replay.json").read_text())
    names = open_run(run).prepared.names
    given = {}
    for row in pq.read_table(replayed / "warnings.parquet").filter(pc.field("id").is_valid()).to_pylist():
        issue_s, begin_s, end_s = (
            int(np.datetime64(row[name], "s").astype(int)) for name in ("issue_time", "window_start", "window_end")
        )
        place = -1 if row["place"] is None else names.index(row["place"])
        more = {name: row[name] for name in ("id", "tier", "probability", "threshold", "replaces", "withheld")}
        one = {"place": place, "issue_s": issue_s, "begin_s": begin_s, "end_s": end_s, **more}
        given.setdefault(text(issue_s), []).append(one)
    event_s, place = target_events(load_events(prepared))
    policy = {name: value for name, value in summary["policy"].items() if name != "fingerprint"}
    for row in pq.read_table(replayed / "forecasts.parquet").to_pylist():
        times = {name: str(np.datetime64(row[name], "s")) for name in ("issue_time", "window_start", "window_end")}
        yield (
            "outcome",
            {
                **times,
                "outcome": row["outcome"],
                "policy": policy,
                "probability": row["p"],
                "baselines": {"climatology": row["p_climatology"], "level": row["p_level"]},
                "neighborhoods": row["areas"],
                "thresholds": summary["thresholds"],
                "warnings": given.get(times["issue_time"], []),
            },
        )
        if row["y"] is not None:
            first, last = np.searchsorted(event_s, [seconds(times["window_start"]), seconds(times["window_end"])])
            events = [[text(event_s[k]), int(place[k])] for k in range(first, last)]
            yield "label", {"issue_time": times["issue_time"], "y": bool(row["y"]), "events": events}


def test_a_record_of_what_was_replayed_scores_as_the_replay_does(trained, prepared, tmp_path):
    """Of the model everywhere; of the references in the city: they are spread over neighborhoods in another way."""
    run = tmp_path / "run"
    shutil.copytree(trained("level"), run)
    (run / "warnings.toml").write_text("stride_s = 3600\nminimum_lead_s = 600\n[skill]\nrequired = false\n")
    begin_s, end_s = (seconds(day) for day in ("2024-04-10", "2024-05-06"))
    replay(run, prepared, tmp_path / "replayed", begin_s=begin_s, end_s=end_s)
    seal(run, *as_record(run, prepared, tmp_path / "replayed"))
    ours = verify(run)["all"]["warnings"]
    theirs = json.loads((tmp_path / "replayed" / "replay.json").read_text())["warnings"]
    assert theirs["city"]["p"]["any"]["hits"] > 3 and theirs["neighborhoods"]["p"]["any"]["given"] > 3
    for kind, name in (("city", "p"), ("neighborhoods", "p"), ("city", "climatology"), ("city", "level")):
        assert ours[kind][name] == theirs[kind][name] and ours[kind][name]["matrix"]["score"] > 0


def test_what_was_issued_live_is_scored_by_the_table_as_it_turned_out(trained, prepared, tmp_path, monkeypatch):
    """Issued every other two hours for ten days from a delivery a day; the newest days are not settled."""
    monkeypatch.setattr("os.fsync", lambda _: None)
    city = in_use(tmp_path, trained("level"), prepared)
    begin_s = seconds("2024-04-20")
    for hour in range(0, 240, 4):
        now = text(begin_s + hour * 3600 + 5)
        if hour % 24 == 0:
            city.deliver(f"{now[:10]}.csv", text(begin_s + hour * 3600))
        assert city.warn(now)["outcome"] == "issued"
    content = verify(city.run, data=prepared)
    last = content["delay"]["nowcast"][-1]  # yesterday, of which the last delivery, made at midnight, held every row
    assert last["day"] == "2024-04-28" and last["known"] <= last["low"] <= last["expected"] <= last["high"]
    told = content["all"]
    assert told["outcomes"]["due"] == 119 and told["outcomes"]["missing"] == 59
    assert 12 <= told["open"] <= 24  # at least since the last delivery, of a day before
    event_s, _ = target_events(load_events(prepared))
    settled_s = begin_s + 7200 * (119 - told["open"])
    assert told["events"]["city"] == ((event_s >= begin_s) & (event_s < settled_s)).sum()
    assert told["warnings"]["city"]["p"]["any"]["hits"] > 0
    assert told["warnings"]["city"]["p"]["any"]["undelivered"] == 0
    assert told["as_made"]["windows"] + told["open"] // 2 in (60, 59)
