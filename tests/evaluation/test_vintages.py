"""Label noise of labels whose flips are known, and of two tables of the toy city that differ as told."""

import json
import shutil

import numpy as np
import pytest
from sklearn.metrics import log_loss, matthews_corrcoef

from hews_gpu.__main__ import main
from hews_gpu.errors import UserError
from hews_gpu.evaluation.vintages import agreement, compare_vintages, in_words
from tests.toy_city import incidents, write_prepared

STRIDE_S = 7200


def flipped(truth, hit, false, rng):
    return np.where(truth, rng.random(len(truth)) < hit, rng.random(len(truth)) < false)


def test_flips_of_known_rates_are_found_and_so_is_their_price():
    """Two tenths missed, as many added elsewhere: the truth itself is never shown."""
    rng, rate = np.random.default_rng(5), 0.2
    p = rate + 0.02 * np.sin(np.arange(400_000))  # what a small skill knows
    truth = rng.random(len(p)) < p
    hit, false = 0.8, 0.2 * rate / (1 - rate)
    old, new = (flipped(truth, hit, false, rng) for _ in range(2))
    found = agreement(old, new, STRIDE_S)
    assert found["missed"]["value"] == pytest.approx(1 - hit, abs=0.005)
    assert found["added"]["value"] == pytest.approx(false, abs=0.003)
    assert found["share_seen"]["value"] == pytest.approx(matthews_corrcoef(old, new))
    knowing = log_loss(new, np.where(truth, hit, false)) / np.log(2)
    assert found["loss_knowing_truth_bits"]["value"] == pytest.approx(knowing, abs=0.003)
    low, high = found["loss_knowing_truth_bits"]["interval"]
    assert low < knowing < high < found["loss_knowing_old_bits"]["value"] < found["base_rate_bits"]
    seen = np.var(false + (hit - false) * p) / np.var(p)  # of a small gain: the ratio of gains in bits to second order
    assert found["share_seen"]["value"] == pytest.approx(seen, abs=0.01)


def test_by_hand():
    """Of 1,000 windows 100 have a target in the older vintage, 110 in the newer and 80 in both."""
    old, new = np.zeros(1000, bool), np.zeros(1000, bool)
    old[:100] = new[20:130] = True
    found = agreement(old, new, STRIDE_S)
    assert [found[key] for key in ("windows", "in_old", "in_new", "in_both", "in_either")] == [1000, 100, 110, 80, 130]
    after = np.where(old, 0.8, 30 / 900)
    assert found["loss_knowing_old_bits"]["value"] == pytest.approx(log_loss(new, after) / np.log(2))
    assert found["base_rate_bits"] == pytest.approx(log_loss(new, np.full(1000, 0.11)) / np.log(2))
    same = agreement(old, old, STRIDE_S)
    assert same["share_seen"]["value"] == pytest.approx(1) and same["missed"]["value"] == pytest.approx(0)
    assert same["loss_knowing_truth_bits"]["value"] == pytest.approx(0, abs=1e-9)


@pytest.fixture(scope="module")
def vintages(tmp_path_factory):
    """The toy city, and a later table of it in which every tenth shooting is gone."""
    frame, folder = incidents(), tmp_path_factory.mktemp("vintages")
    shooting = np.flatnonzero(frame["category"] == "SHOOTING")
    later = frame.drop(index=frame.index[shooting[::10]])
    return write_prepared(folder / "old", frame), write_prepared(folder / "new", later), frame, later


def test_two_tables_are_compared_window_by_window(vintages, tmp_path, monkeypatch, capsys):
    old, new, frame, later = vintages
    file = tmp_path / "vintages.json"
    monkeypatch.setattr("sys.argv", ["hews", "compare-vintages", str(old), str(new), "--out", str(file)])
    with pytest.raises(SystemExit) as ended:
        main()
    assert not ended.value.code
    found = json.loads(file.read_text(encoding="utf-8"))
    begin_s, end_s = (np.datetime64(found[key], "s").astype(np.int64) for key in ("begin", "end"))
    edges = np.arange(begin_s, end_s + 1, STRIDE_S)
    y = [np.histogram(one.loc[one["category"] == "SHOOTING", "time_s"], edges)[0] > 0 for one in (frame, later)]
    assert found["windows"] == len(edges) - 1
    assert (found["in_old"], found["in_new"]) == (y[0].sum(), y[1].sum()) and y[1].sum() < y[0].sum()
    assert (found["in_both"], found["in_either"]) == (y[1].sum(), y[0].sum())
    said = " ".join(capsys.readouterr().out.split())
    assert f"agree on {y[1].sum():,} of the {y[0].sum():,} windows" in said and said == in_words(found)


def test_nothing_of_a_locked_block_is_looked_at(vintages, tmp_path):
    old, new, *_ = vintages
    whole = compare_vintages(old, new)
    copy = tmp_path / "locked"
    shutil.copytree(new, copy)
    text = (copy / "city.toml").read_text(encoding="utf-8")
    text = text.replace('test = ["2024-04-08", "2024-05-06"]', 'test = ["2024-04-08", "2024-04-22"]')
    text = text.replace("[splits]", '[splits]\nlocked = ["2024-04-22", "2024-05-06"]')
    (copy / "city.toml").write_text(text, encoding="utf-8")
    assert compare_vintages(old, copy)["end"] == "2024-04-22T00:00:00" < whole["end"]


def test_what_cannot_be_compared_is_refused(vintages, tmp_path):
    old, _, frame, _ = vintages
    other = write_prepared(tmp_path / "other", frame)
    path = other / "city.toml"
    path.write_text(path.read_text(encoding="utf-8").replace("lead_s = 0", "lead_s = 7200"))
    with pytest.raises(UserError, match="other targets"):
        compare_vintages(old, other)
