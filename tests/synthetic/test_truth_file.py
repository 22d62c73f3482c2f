"""A truth comes back from its file as it was; what is no truth of this version is refused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from hews_gpu.errors import UserError
from hews_gpu.synthetic.foreign_presets import FOREIGN
from hews_gpu.synthetic.presets import LAWS
from hews_gpu.synthetic.truth_file import load_truth, save_truth
from tests.synthetic.histories import BEGIN_S, foreign_history, history
from tests.synthetic.test_truth import small_truth


def test_a_saved_truth_comes_back_whole(tmp_path):
    truth = small_truth()
    save_truth(truth, tmp_path / "truth.npz")
    back = load_truth(tmp_path / "truth.npz")
    issue_s = BEGIN_S + 60 * np.arange(0, 2000, 7)
    now, before = (t.probability(issue_s, issue_s + 600, issue_s + 6000) for t in (back, truth))
    assert np.array_equal(now, before)
    assert back.areas == 1
    assert back.preset == "demo"


@pytest.mark.parametrize(
    ("content", "said"),
    [(None, "does not exist"), (b"", "cannot be read"), (b"PK\x03\x04 cut", "cannot be read"), (b"x,y\n", "cannot be")],
)
def test_a_damaged_file_is_refused(tmp_path, content, said):
    path = tmp_path / "truth.npz"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match=said):
        load_truth(path)


def test_another_npz_is_refused(tmp_path):
    np.savez(tmp_path / "a.npz", x=1)
    np.savez(tmp_path / "b.npz", format=1)
    np.save(tmp_path / "c.npy", np.arange(3))
    for name in ("a.npz", "b.npz", "c.npy"):
        with pytest.raises(UserError, match="not a truth"):
            load_truth(tmp_path / name)


@pytest.mark.parametrize("preset", ["null", "strong", "pairs"])
def test_a_saved_truth_of_neighborhoods_comes_back_whole(tmp_path, preset):
    truth = history(LAWS[preset], days=20).truth
    save_truth(truth, tmp_path / "truth.npz")
    back = load_truth(tmp_path / "truth.npz")
    issue_s = BEGIN_S + 60 * np.arange(0, 24 * 60 * 19, 450)
    for ahead_s in (7200, 18_000):
        assert np.array_equal(
            back.by_area(issue_s, issue_s, issue_s + ahead_s), truth.by_area(issue_s, issue_s, issue_s + ahead_s)
        )
    assert back.preset == preset
    assert np.array_equal(back.target_s, truth.target_s)


def test_half_a_truth_is_refused(tmp_path):
    np.savez(tmp_path / "a.npz", format=2, preset="null")
    with pytest.raises(UserError, match="not a truth"):
        load_truth(tmp_path / "a.npz")


@pytest.mark.parametrize("preset", ["origin", "near_pairs", "diffusion", "renewal", "hot_weeks", "activity"])
def test_a_saved_foreign_truth_comes_back_whole(tmp_path, preset):
    truth = foreign_history(preset, days=20).truth
    save_truth(truth, tmp_path / "truth.npz")
    back = load_truth(tmp_path / "truth.npz")
    issue_s = BEGIN_S + 7200 * np.arange(240)
    for delay_s in (0, 1800):
        for ask in ("probability", "by_area"):
            now, before = (getattr(t, ask)(issue_s, issue_s, issue_s + 7200, delay_s=delay_s) for t in (back, truth))
            assert np.array_equal(now, before)
    assert (back.preset, back.areas, back.end_s) == (preset, 24, BEGIN_S + 20 * 86_400)
    assert np.array_equal(back.target_s, truth.target_s)


def test_a_foreign_law_that_has_changed_since_is_refused(tmp_path, monkeypatch):
    save_truth(foreign_history("origin", days=20).truth, tmp_path / "truth.npz")
    monkeypatch.setitem(FOREIGN, "origin", replace(FOREIGN["origin"], on_odds=True))
    with pytest.raises(UserError, match="another law 'origin'"):
        load_truth(tmp_path / "truth.npz")
