"""A truth with neighborhoods, saved and read again."""

from __future__ import annotations

import numpy as np
import pytest

from hews_gpu.errors import UserError
from hews_gpu.synthetic.draw import draw
from hews_gpu.synthetic.presets import LAWS
from hews_gpu.synthetic.truth import load_truth, save_truth

BEGIN_S = int(np.datetime64("2021-01-01", "s").astype(np.int64))


@pytest.mark.parametrize("preset", ["null", "strong", "pairs"])
def test_a_saved_truth_comes_back_whole(tmp_path, preset):
    truth = draw(LAWS[preset], np.random.SeedSequence(1), begin_s=BEGIN_S, hours=24 * 20).truth
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
