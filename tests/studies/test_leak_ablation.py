"""The leak ablation's table: means over seeds with their intervals, and what it refuses."""

import subprocess
import sys
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from hews_gpu.cluster.bench import run_benchmark
from hews_gpu.forecasters.climatology import HOUR_S
from hews_gpu.reference.protocol import LEAKS
from studies import leak_ablation
from studies.leak_ablation import STEPS, AblationRun


def ablation_run(step, seed, skill, n=900):
    rng = np.random.default_rng(seed)
    y = rng.random(n) < 0.3
    p = 1 / (1 + np.exp(-(skill * y + rng.normal(size=n))))
    sizes = {"train": 5 * n, "validation": n, "test": n}
    return AblationRun(
        step=step,
        seed=seed,
        y=y,
        p=p,
        p_climatology=np.full(n, 0.3),
        start_s=np.arange(n) * 8 * HOUR_S,
        sizes=sizes,
        positives={name: size // 3 for name, size in sizes.items()},
        epochs=3,
        best_epoch=2,
        steps=100,
        parameters=7,
        seconds=1.0,
        processor_seconds=1.0,
    )


@pytest.fixture(scope="module")
def rows():
    found = [ablation_run(step, seed, 3 - k / 2) for seed in (0, 1) for k, step in enumerate(STEPS)]
    return leak_ablation.judged(found), found


def test_scores_are_means_over_the_seeds(rows):
    table, found = rows
    assert [row["step"] for row in table] == list(STEPS) and [row["leak"] for row in table[1:]] == list(LEAKS.values())
    for row in table:
        own = [one for one in found if one.step == row["step"]]
        assert row["auc"]["value"] == pytest.approx(np.mean([roc_auc_score(one.y, one.p) for one in own]))
        assert row["accuracy"]["value"] == pytest.approx(np.mean([((one.p >= 0.5) == one.y).mean() for one in own]))
        for name in ("auc", "accuracy"):
            low, high = row[name]["interval"]
            assert low < row[name]["value"] < high < low + 0.1 and len(row[name]["by_seed"]) == 2
        assert row["commoner_class"] == pytest.approx(0.7, abs=0.04) and row["climatology"]["auc"] == 0.5


def test_the_waterfall_is_a_picture_of_its_own(rows, tmp_path):
    leak_ablation.draw({"steps": rows[0]}, tmp_path / "ablation.svg")
    text = (tmp_path / "ablation.svg").read_text(encoding="utf-8")
    assert "var(--" not in text and "#01fe" not in text
    assert ET.fromstring(text).tag.endswith("svg")
    assert all(row["title"] in text for row in rows[0])


def test_every_step_has_a_title():
    assert list(leak_ablation.TITLES) == list(STEPS)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--recipe", "forecast"], "--recipe = 'forecast': has no leaks to take away"),
        (["--data", "nowhere"], "data folder = 'nowhere': does not exist"),
        (["--seeds", "0"], "--seeds = 0: must be 1 or more"),
    ],
)
def test_mistakes_end_in_one_line(flags, message, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["leak_ablation.py", *flags])
    with pytest.raises(SystemExit) as ended:
        leak_ablation.main()
    line = capsys.readouterr().err.splitlines()[-1]
    assert ended.value.code == 2 and line.startswith(f"hews: {message}")


def test_it_is_a_script_too():
    command = [sys.executable, leak_ablation.__file__, "--seeds", "0"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2 and "--seeds = 0" in done.stderr and "Traceback" not in done.stderr


def test_its_own_flags_reach_it_through_hews_bench(monkeypatch):
    seen = []
    monkeypatch.setattr(
        subprocess, "run", lambda command, **_: seen.append(command) or subprocess.CompletedProcess([], 0)
    )
    run_benchmark("leak_ablation", quick=False, as_json=True, device="cuda", more=["--recipe", "reference2"])
    assert seen[0][2:] == ["--json", "--device", "cuda", "--recipe", "reference2"]
