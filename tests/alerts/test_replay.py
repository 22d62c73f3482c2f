import json
import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from hews_gpu.alerts import forecasts
from hews_gpu.alerts import replay as replaying
from hews_gpu.alerts.decide import Thresholds, decide
from hews_gpu.alerts.forecasts import forecast
from hews_gpu.alerts.policy import load_policy
from hews_gpu.alerts.replay import replay
from hews_gpu.config import parse_local_time
from hews_gpu.data.events import open_prepared
from hews_gpu.data.windows import Task
from hews_gpu.errors import UserError
from hews_gpu.forecasters.city import prepared_city
from hews_gpu.runs.run import open_run
from hews_gpu.runs.train import train
from tests.alerts.live_city import with_robberies_as_a_layer
from tests.toy_city import incidents, once, write_prepared

FROM_S, DAY_S = parse_local_time("--from", "2024-04-08"), 86_400
POLICY = "stride_s = 1800\nquiet_s = 3600\n[skill]\nrequired = false\n"


@pytest.fixture(scope="session")
def issuing(trained, tmp_path_factory):
    """A run whose policy asks for no skill, with budgets that are used up now and then."""

    def make(folder):
        shutil.copytree(trained("hewsnet"), folder)
        (folder / "warnings.toml").write_text(POLICY, encoding="utf-8")

    return once(tmp_path_factory, "toy-issuing", make)


@pytest.fixture(scope="session")
def week(issuing, prepared, tmp_path_factory):
    """Ten days of the toy city, replayed."""
    return once(
        tmp_path_factory,
        "toy-replay",
        lambda folder: replay(issuing, prepared, folder, begin_s=FROM_S, end_s=FROM_S + 10 * DAY_S),
    )


def seconds(column):
    return np.asarray(column).astype("datetime64[s]").astype(np.int64)


def test_the_folder_holds_what_is_promised(week):
    table = pq.read_table(week / "forecasts.parquet")
    assert json.loads(table.schema.metadata[b"neighborhoods"]) == ["West", "East"]
    columns = "issue_time window_start window_end outcome reason p p_climatology p_level y areas".split()
    assert [name for name in table.column_names if not name.startswith("policy_")] == columns
    assert table["policy_quiet_s"].to_pylist() == [3600] * 480
    assert set(table["outcome"].to_pylist()) == {"issued"}
    areas = np.array(table["areas"].to_pylist())
    np.testing.assert_allclose(1 - np.prod(1 - areas, axis=1), table["p"].to_numpy(), rtol=1e-5)
    warnings = pd.read_parquet(week / "warnings.parquet")
    assert {"hit", "false_alarm", "miss"} <= set(warnings["outcome"])
    assert (warnings["policy_stride_s"] == 1800).all()
    summary = json.loads((week / "replay.json").read_text(encoding="utf-8"))
    any_tier = summary["warnings"]["city"]["p"]["any"]
    city = warnings[warnings["place"].isna()]
    assert any_tier["given"] == city["id"].notna().sum() > 3
    assert any_tier["hits"] == (city["outcome"] == "hit").sum()
    assert any_tier["events"] - any_tier["caught"] == (city["outcome"] == "miss").sum()
    assert any_tier["per_week"] == pytest.approx(any_tier["given"] * 7 / 10, rel=0.05)
    assert set(summary["warnings"]["neighborhoods"]) == {"p", "climatology", "level"}
    assert summary["calibration"] == ["2024-03-11T00:00:00", "2024-04-08T00:00:00"]


def test_warnings_say_what_moved_them(week, issuing, prepared, tmp_path, monkeypatch):
    """Shares add up to the probability; of a replay with more warnings than are explained the first are."""
    warnings = pd.read_parquet(week / "warnings.parquet")
    given = warnings[warnings["outcome"] != "miss"]
    assert warnings["explanation"][warnings["outcome"] == "miss"].isna().all() and len(given) > 2
    for told, p in zip(given["explanation"].map(json.loads), given["probability"], strict=True):
        assert sum(share for _, share in told["shares"]) == pytest.approx(np.log(p / (1 - p)), abs=1e-9)
        assert all(set(one) == {"category", "place", "age_h", "log_odds"} for one in told["incidents"])
    monkeypatch.setattr(replaying, "EXPLAINED", 2)
    replay(issuing, prepared, tmp_path / "replay", begin_s=FROM_S, end_s=FROM_S + 10 * DAY_S)
    assert pd.read_parquet(tmp_path / "replay" / "warnings.parquet")["explanation"].notna().sum() == 2


def test_labels_are_what_the_table_says_where_it_covers_the_window(week, prepared):
    table = pq.read_table(week / "forecasts.parquet").to_pandas()
    time_s = open_prepared(prepared).events
    time_s = time_s.time_s[time_s.is_target]
    expected = [
        bool(((time_s >= begin) & (time_s < end)).any())
        for begin, end in zip(seconds(table["window_start"]), seconds(table["window_end"]), strict=True)
    ]
    assert table["y"].tolist() == expected


def test_live_issuing_gives_the_bits_of_the_replay(week, issuing, prepared):
    """One issue time after the other, from a table that ends there, with the warnings that a record would hold."""
    run, policy, whole = open_run(issuing), load_policy(issuing), open_prepared(prepared)
    task = Task.of_city(whole.city).apart(1800)
    table = pq.read_table(week / "forecasts.parquet").to_pandas()
    summary = json.loads((week / "replay.json").read_text(encoding="utf-8"))
    thresholds = Thresholds(run=summary["fingerprint"][:8], **summary["thresholds"])
    given = []
    for s, now_s in enumerate(seconds(table["issue_time"]).tolist()):
        city = prepared_city(whole, begin_s=FROM_S, end_s=now_s)
        said = forecast(run.forecaster, city.catalog(task.delay_s), task, np.array([now_s]))
        assert said.p[0] == table["p"][s]
        assert np.array_equal(said.areas[0].astype(np.float32), table["areas"][s])
        given += decide(policy, thresholds, said, given)
    names = ("id", "tier", "probability", "threshold", "replaces")
    rows = pq.read_table(week / "warnings.parquet", columns=list(names)).to_pylist()
    expected = [{name: getattr(one, name) for name in names} for one in given]
    assert len(given) > 10
    assert [row for row in rows if row["id"]] == sorted(expected, key=lambda row: (row["id"][9:22], row["id"]))


def test_the_parts_in_which_it_is_written_change_nothing(week, issuing, prepared, tmp_path, monkeypatch):
    monkeypatch.setattr(forecasts, "VALUES_AT_ONCE", 2 * 37)
    replay(issuing, prepared, tmp_path / "replay", begin_s=FROM_S, end_s=FROM_S + 10 * DAY_S)
    for name in ("forecasts", "warnings", "incidents"):
        assert pq.read_table(tmp_path / "replay" / f"{name}.parquet").equals(pq.read_table(week / f"{name}.parquet"))


def test_rows_that_came_later_change_no_forecast(week, issuing, tmp_path):
    """After five days everything is another city: up to then nothing differs but what came of it."""
    frame = incidents()
    later = frame["time_s"] >= FROM_S + 5 * DAY_S
    frame.loc[later, "category"] = np.where(np.arange(later.sum()) % 7 == 0, "SHOOTING", "THEFT")
    other = write_prepared(tmp_path / "prepared", frame)
    replay(issuing, other, tmp_path / "replay", begin_s=FROM_S, end_s=FROM_S + 10 * DAY_S)
    ours, theirs = (pq.read_table(folder / "forecasts.parquet").to_pandas() for folder in (week, tmp_path / "replay"))
    before = seconds(ours["issue_time"]) <= FROM_S + 5 * DAY_S
    for name in ("p", "p_level"):
        assert (ours[name] == theirs[name])[before].all()
    assert (ours["p"] != theirs["p"])[~before].any()
    of = [json.loads((folder / "replay.json").read_text(encoding="utf-8")) for folder in (week, tmp_path / "replay")]
    for name in ("thresholds", "thresholds_of_references"):
        assert of[0][name] == of[1][name]


def test_a_delay_is_waited_for(week, issuing, prepared, tmp_path):
    delayed = tmp_path / "replay"
    replay(issuing, prepared, delayed, begin_s=FROM_S, end_s=FROM_S + 2 * DAY_S, delay_s=6 * 3600)
    known = pd.read_parquet(delayed / "incidents.parquet")
    assert (known["known"] - known["time"]).dt.total_seconds().unique().tolist() == [6 * 3600]
    ours = pq.read_table(week / "forecasts.parquet")["p"].to_numpy()[:96]
    assert (pq.read_table(delayed / "forecasts.parquet")["p"].to_numpy() != ours).mean() > 0.9


def test_thresholds_are_those_of_live_issuing_and_kept_with_them(week, issuing, prepared, tmp_path, monkeypatch):
    """Set anew, as where a delay is given, they have the same bits; a second replay sets none."""
    kept = json.loads((week / "replay.json").read_text(encoding="utf-8"))["thresholds"]
    anew = replay(issuing, prepared, tmp_path / "anew", begin_s=FROM_S, end_s=FROM_S + DAY_S, delay_s=0)
    assert anew["thresholds"] == kept and any((issuing / "state").iterdir())
    monkeypatch.delattr("hews_gpu.alerts.standing.thresholds_of")
    again = replay(issuing, prepared, tmp_path / "again", begin_s=FROM_S, end_s=FROM_S + DAY_S)
    assert again["thresholds"] == kept


def test_rows_with_delays_of_their_own_are_waited_for(issuing, prepared, tmp_path, monkeypatch):
    def reported(prepared, **span):
        city = prepared_city(prepared, **span)
        late_s = np.where(np.arange(len(city.events)) % 2, 7200, 6 * 3600)
        return replace(city, reported_s=city.events.time_s + late_s)

    monkeypatch.setattr("hews_gpu.alerts.replay.prepared_city", reported)
    replay(issuing, prepared, tmp_path / "replay", begin_s=FROM_S, end_s=FROM_S + DAY_S)
    known = pd.read_parquet(tmp_path / "replay" / "incidents.parquet")
    assert set((known["known"] - known["time"]).dt.total_seconds()) == {7200, 6 * 3600}
    run, whole = open_run(issuing), open_prepared(prepared)
    now_s, task = FROM_S + 20 * 3600, Task.of_city(whole.city).apart(1800)
    city = reported(whole, begin_s=FROM_S, end_s=FROM_S + DAY_S)
    seen = city.catalog(task.delay_s, as_reported=True).until(now_s)
    live = forecast(run.forecaster, seen, task, np.array([now_s]))
    table = pq.read_table(tmp_path / "replay" / "forecasts.parquet").to_pandas()
    assert live.p[0] == table["p"][seconds(table["issue_time"]) == now_s].item()


def test_without_foresight_everything_is_withheld_and_scored_all_the_same(trained, prepared, tmp_path):
    summary = replay(
        trained("hewsnet"), prepared, tmp_path / "replay", begin_s=FROM_S, end_s=FROM_S + 3 * DAY_S, stride_s=1800
    )
    assert summary["outcomes"] == {"abstained": 144}
    table = pq.read_table(tmp_path / "replay" / "forecasts.parquet")
    assert set(table["reason"].to_pylist()) == {"not judged: run 'hews evaluate'"}
    rows = pd.read_parquet(tmp_path / "replay" / "warnings.parquet")
    assert rows["withheld"].dropna().all() and len(rows["withheld"].dropna())
    assert summary["warnings"]["city"]["p"]["any"]["given"] == 0
    assert summary["warnings_if_issued"]["city"]["any"]["given"] == summary["warnings"]["city"]["p"]["any"]["withheld"]


def test_where_the_newest_row_is_too_old_nothing_is_forecast(issuing, tmp_path):
    frame = incidents()
    gap = (frame["time_s"] >= FROM_S + DAY_S) & (frame["time_s"] < FROM_S + 5 * DAY_S)
    other = write_prepared(tmp_path / "prepared", frame[~gap].reset_index(drop=True))
    replay(issuing, other, tmp_path / "replay", begin_s=FROM_S, end_s=FROM_S + 8 * DAY_S)
    table = pq.read_table(tmp_path / "replay" / "forecasts.parquet").to_pandas()
    hours = (seconds(table["issue_time"]) - FROM_S) / 3600
    refused = table["outcome"] == "refused"
    assert refused[(hours > 24 + 48.5) & (hours < 120)].all() and not refused[(hours < 72) | (hours > 121)].any()
    for name in ("p", "p_level", "areas"):
        assert table[name][refused].isna().all()
    assert table["p_climatology"].notna().all()
    assert table["reason"][refused].str.contains("newest row").all()
    issued = pd.read_parquet(tmp_path / "replay" / "warnings.parquet")["issue_time"].dropna()
    assert not set(issued) & set(table["issue_time"][refused])


@pytest.mark.parametrize(
    ("begin_s", "end_s", "allowed"),
    [
        (FROM_S - DAY_S, FROM_S + DAY_S, "learned from"),
        (FROM_S + 40 * DAY_S, FROM_S + 41 * DAY_S, "which the table covers"),
        (FROM_S + DAY_S, FROM_S + DAY_S, "must lie after --from"),
    ],
)
def test_times_that_cannot_be_replayed_are_refused(issuing, prepared, tmp_path, begin_s, end_s, allowed):
    with pytest.raises(UserError) as error:
        replay(issuing, prepared, tmp_path / "replay", begin_s=begin_s, end_s=end_s)
    assert allowed in error.value.allowed
    assert not (tmp_path / "replay").exists()


def test_a_folder_that_cannot_be_written_is_refused_before_anything_is_read(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="file/replay"):
        replay(tmp_path / "none", tmp_path / "none", tmp_path / "file" / "replay", begin_s=0, end_s=1)


def test_a_locked_block_is_not_looked_at(issuing, prepared, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(issuing, run)
    text = (run / "city.toml").read_text(encoding="utf-8")
    locked = 'test = ["2024-04-08", "2024-04-20"]\nlocked = ["2024-04-20", "2024-05-06"]'
    (run / "city.toml").write_text(text.replace('test = ["2024-04-08", "2024-05-06"]', locked), encoding="utf-8")
    begin_s, locked_s = FROM_S + 11 * DAY_S, FROM_S + 12 * DAY_S
    with pytest.raises(UserError, match="locked block"):
        replay(run, prepared, tmp_path / "replay", begin_s=begin_s, end_s=locked_s + 2 * DAY_S)
    replay(run, prepared, tmp_path / "replay", begin_s=begin_s, end_s=locked_s)
    table = pq.read_table(tmp_path / "replay" / "forecasts.parquet").to_pandas()
    assert (table["y"].isna() == (seconds(table["window_end"]) > locked_s)).all()
    assert seconds(pd.read_parquet(tmp_path / "replay" / "incidents.parquet")["time"]).max() < locked_s


@pytest.mark.parametrize("model", ["base_rate", "climatology", "level", "hawkes", "boosting", "counts", "stack", "cnn"])
def test_every_model_can_be_replayed(trained, prepared, tmp_path, model):
    summary = replay(
        trained(model), prepared, tmp_path / "replay", begin_s=FROM_S, end_s=FROM_S + DAY_S // 2, stride_s=3600
    )
    assert summary["issue_times"] == 12 and summary["model"] == model
    table = pq.read_table(tmp_path / "replay" / "forecasts.parquet")
    assert ((table["p"].to_numpy() > 0) & (table["p"].to_numpy() < 1)).all()
    assert ("areas" in table.column_names) == (model not in ("base_rate", "climatology", "hawkes", "boosting"))


def test_rows_of_a_layer_count_from_when_they_were_known(tmp_path):
    """With a layer of which nothing is known from a moment on, what was forecast before that moment is the same."""
    cut_s = FROM_S + 2 * DAY_S
    data = with_robberies_as_a_layer(tmp_path / "data")
    cut = with_robberies_as_a_layer(tmp_path / "cut", until_s=cut_s)
    train(data, tmp_path / "run", model="hewsnet", device="cpu")
    (tmp_path / "run" / "warnings.toml").write_text(POLICY, encoding="utf-8")
    p = []
    for table in (data, cut):
        replay(tmp_path / "run", table, tmp_path / f"of {table.name}", begin_s=FROM_S, end_s=FROM_S + 4 * DAY_S)
        made = pq.read_table(tmp_path / f"of {table.name}" / "forecasts.parquet")
        p.append(made["p"].to_numpy())
        assert set(made["outcome"].to_pylist()) == {"issued"}
    before = seconds(made["issue_time"]) <= cut_s
    assert before.sum() == 97 and p[0][before].tobytes() == p[1][before].tobytes()
    assert np.abs(p[0] - p[1])[~before].max() > 0.1


def test_rows_of_a_layer_do_not_make_stale_incidents_new(tmp_path):
    data = with_robberies_as_a_layer(tmp_path / "data")
    rows = pq.read_table(data / "incidents.parquet")
    quiet = np.abs(rows["time_s"].to_numpy() - FROM_S - 3 * DAY_S) < 2.5 * DAY_S
    pq.write_table(rows.filter(pa.array(~quiet)), data / "incidents.parquet")
    train(data, tmp_path / "run", model="level", device="cpu")
    (tmp_path / "run" / "warnings.toml").write_text(POLICY + "[input]\nnewest_row_s = 86400\n", encoding="utf-8")
    replay(tmp_path / "run", data, tmp_path / "out", begin_s=FROM_S + 2 * DAY_S, end_s=FROM_S + 3 * DAY_S)
    reasons = set(pq.read_table(tmp_path / "out" / "forecasts.parquet")["reason"].to_pylist())
    assert len(reasons) > 20 and all("the newest row is" in reason for reason in reasons)
