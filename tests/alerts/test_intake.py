"""Live issuing from incidents and a layer: the same as a replay to the bit, and what may be wrong with the layer."""

import shutil

import numpy as np
import pyarrow.parquet as pq
import pytest

from hews_gpu.alerts.live import Live
from hews_gpu.alerts.replay import replay
from hews_gpu.errors import UserError
from hews_gpu.runs.train import train
from tests.alerts.live_city import (
    POLICY,
    calls,
    in_use,
    instant,
    seconds,
    with_robberies_as_a_layer,
)
from tests.toy_city import once

DAY, DAY_S = "2024-04-20", 86_400
REFUSED = 11


@pytest.fixture(scope="session")
def city(tmp_path_factory):
    """The toy city with its robberies in a layer, which foretells, as a PREPARED folder."""
    return once(tmp_path_factory, "toy-with-calls", with_robberies_as_a_layer)


@pytest.fixture(scope="session")
def learned(city, tmp_path_factory):
    """A run on it."""
    return once(
        tmp_path_factory, "toy-hewsnet-with-calls", lambda folder: train(city, folder, model="hewsnet", device="cpu")
    )


class Used:
    """The run in use, with a folder of deliveries of its incidents and one of its layer."""

    def __init__(self, folder, run, prepared):
        self.city, self.calls = in_use(folder, run, prepared), folder / "calls"
        self.calls.mkdir()

    def deliver(self, until, name="a.csv", layer_until=None, change=lambda rows: rows):
        self.city.deliver(name, until, change=lambda rows: rows[rows["category"] != "ROBBERY"])
        rows = calls()
        rows = change(rows[rows["known_s"] < seconds(layer_until or until)])
        for column, of in (("time", "time_s"), ("reported", "known_s")):
            rows[column] = np.datetime_as_string(rows[of].to_numpy().astype("datetime64[s]"))
        names = ["time", "longitude", "latitude", "category", "reported"]
        rows[names].to_csv(self.calls / name, index=False)

    def warn(self, local, **options):
        live = Live(self.city.run, data=self.city.prepared, clock=lambda: instant(local))
        return live.warn([self.city.inbox], {"calls": [self.calls]}, **options)


@pytest.fixture
def used(tmp_path, learned, city):
    return Used(tmp_path, learned, city)


def test_the_record_counts_the_rows_that_were_known(used):
    """Of a layer that tells of an hour before it says since when that is known, some rows are held back."""
    at, rows = f"{DAY}T10:00", calls()
    used.deliver(at, layer_until=f"{DAY}T20:00", change=lambda rows: rows[rows["time_s"] < seconds(at)])
    assert ((rows["time_s"] < seconds(at)) & (rows["known_s"] >= seconds(at))).any()
    seen = used.warn(f"{at}:05")["vintage"]["layers"]["calls"]
    assert seen["rows"] == (rows["known_s"] < seconds(at)).sum()


def test_a_day_issued_live_says_what_its_replay_says_to_the_bit(tmp_path, learned, city, used):
    """Each issue time gets a delivery of its own, and each row counts from when the rule of its table says."""
    run = tmp_path / "replayed"
    shutil.copytree(learned, run)
    (run / "warnings.toml").write_text(POLICY)
    replay(run, city, tmp_path / "replay", begin_s=seconds(DAY), end_s=seconds(DAY) + DAY_S)
    table = pq.read_table(tmp_path / "replay" / "forecasts.parquet")
    entries = []
    for hour in range(0, 24, 2):
        used.deliver(f"{DAY}T{hour:02}:00", name=f"{hour:02}.csv")
        entries.append(used.warn(f"{DAY}T{hour:02}:00:05"))
    assert [entry["issue_time"] for entry in entries] == [
        str(time).replace(" ", "T")[:19] for time in table["issue_time"].to_pylist()
    ]
    assert [entry["probability"] for entry in entries] == table["p"].to_pylist()
    places = [np.round(row, 6).tolist() for row in np.array(table["areas"].to_pylist(), np.float64)]
    np.testing.assert_allclose([entry["neighborhoods"] for entry in entries], places, atol=1.1e-6)
    seen = entries[-1]["vintage"]
    rows = calls()
    assert seen["layers"]["calls"]["rows"] == (rows["known_s"] < seconds(f"{DAY}T22:00")).sum()
    assert seen["layers"]["calls"]["delivery"] == seen["delivery"] == "22.csv"
    used.city.require_whole()


def test_rows_of_the_layer_that_were_not_delivered_are_not_seen(tmp_path, learned, city, used):
    used.deliver(f"{DAY}T06:00", layer_until="2024-04-19T18:00")
    late = used.warn(f"{DAY}T06:00:05")
    other = Used(tmp_path / "other", learned, city)
    other.deliver(f"{DAY}T06:00")
    whole = other.warn(f"{DAY}T06:00:05")
    assert late["outcome"] == whole["outcome"] == "issued"
    assert abs(late["probability"] - whole["probability"]) > 1e-3, "the layer foretells"
    assert late["vintage"]["rows"] == whole["vintage"]["rows"]
    assert late["vintage"]["layers"]["calls"]["newest"] < whole["vintage"]["layers"]["calls"]["newest"]


def test_what_was_missed_is_made_up_from_what_each_table_had_brought(used):
    """The layer comes at 10:00, incidents do not: 08:00 is made up without it and 12:00 with it."""
    used.deliver(f"{DAY}T06:00", layer_until="2024-04-19T12:00")
    used.warn(f"{DAY}T06:00:05")
    used.deliver(f"{DAY}T10:00", name="b.csv")
    (used.city.inbox / "b.csv").unlink()
    used.warn(f"{DAY}T10:00:05")
    assert used.warn(f"{DAY}T14:00:05", catch_up=True)["caught_up"] == 2
    seen = {one["issue_time"][11:13]: one["vintage"]["layers"]["calls"]["delivery"] for one in used.city.of("outcome")}
    assert seen == {"06": "a.csv", "10": "b.csv", "08": "a.csv", "12": "b.csv", "14": "b.csv"}


def refused_for(used, word, local=f"{DAY}T06:00:05"):
    entry = used.warn(local)
    assert entry["outcome"] == "refused" and word in entry["reason"], entry["reason"]
    assert "\n" not in entry["reason"] and entry["probability"] is None


def test_a_layer_that_stands_still_is_refused(used):
    used.deliver(f"{DAY}T06:00", layer_until="2024-04-15T06:00")
    refused_for(used, "stale: the newest row of the layer calls is of 2024-04-1")


def test_the_policy_says_how_old_a_layer_may_be(used):
    used.city.policy(POLICY + "[input]\nlayers_newest_row_s = {calls = 43200}\n")
    used.deliver(f"{DAY}T06:00", layer_until="2024-04-19T10:00")
    refused_for(used, "days old, at most 0.5 days")
    used.city.policy(POLICY + "[input]\nlayers_newest_row_s = {call = 43200}\n")
    with pytest.raises(UserError, match="is no layer of the run"):
        used.warn(f"{DAY}T08:00:05")


def test_a_replay_refuses_a_layer_that_stands_still_as_live_issuing_does(tmp_path, learned, city):
    shutil.copytree(learned, tmp_path / "run")
    (tmp_path / "run" / "warnings.toml").write_text(POLICY)
    cut = with_robberies_as_a_layer(tmp_path / "cut", until_s=seconds("2024-04-15T06:00"))
    replay(tmp_path / "run", cut, tmp_path / "out", begin_s=seconds("2024-04-15"), end_s=seconds(DAY) + DAY_S)
    table = pq.read_table(tmp_path / "out" / "forecasts.parquet")
    outcome, reason = table["outcome"].to_pylist(), table["reason"].to_pylist()
    assert outcome[:12] == ["issued"] * 12 and outcome[-12:] == ["refused"] * 12
    assert "stale: the newest row of the layer calls is of 2024-04-1" in reason[-1]


@pytest.mark.parametrize(
    ("plant", "word"),
    [
        (lambda file: file.unlink(), "--layer calls: holds no delivery"),
        (lambda file: file.write_bytes(file.read_bytes()[:2000] + b"\0" * 900), "of the layer calls: damaged"),
        (lambda file: file.write_text("time,longitude\n"), "of the layer calls: damaged"),
    ],
)
def test_a_layer_of_which_nothing_can_be_read_is_refused(used, plant, word):
    used.deliver(f"{DAY}T06:00")
    plant(used.calls / "a.csv")
    refused_for(used, word)


def test_rows_of_the_future_in_a_layer_are_refused(used):
    used.deliver(f"{DAY}T06:00", layer_until="2024-04-23T06:00")
    refused_for(used, "delivery a.csv of the layer calls: holds rows of the future")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "--layer = ['calls']: is needed: the run forecasts from it. Add --layer calls=FOLDER"),
        (["--layer", "call={calls}"], "--layer = 'call': is no layer of the run. Did you mean 'calls'"),
        (["--layer", "{calls}"], "must be NAME=FILE or NAME=FOLDER"),
    ],
)
def test_a_layer_that_is_missing_or_unknown_is_a_mistake(used, arguments, told):
    used.deliver(f"{DAY}T06:00")
    given = [one.format(calls=used.calls) for one in arguments]
    done = used.city.hews(f"{DAY}T06:00:05", "--incidents", str(used.city.inbox), *given)
    assert done.returncode == 2 and told in done.stderr and done.stderr.count("\n") == 1, done.stderr
    assert not (used.city.run / "record").exists()


def test_the_command_takes_a_folder_of_each_layer(used):
    used.deliver(f"{DAY}T06:00")
    given = ["--incidents", str(used.city.inbox), "--layer", f"calls={used.calls}"]
    done = used.city.hews(f"{DAY}T06:00:05", *given)
    assert done.returncode == 0, done.stderr
    assert used.city.of("outcome")[0]["vintage"]["layers"]["calls"]["delivery"] == "a.csv"
