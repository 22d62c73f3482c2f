"""A run, opened: splits that cannot be learned from are refused; maps are drawn on a GPU where there is one."""

import subprocess
import sys
from pathlib import Path

import pytest

from hews_gpu.data.events import open_prepared
from hews_gpu.errors import UserError
from hews_gpu.runs.run import run_experiment
from hews_gpu.runs.train import train


def with_toml(toy, folder, *changes, frame=None):
    prepared = toy.write(folder, toy.incidents() if frame is None else frame)
    toml = (prepared / "city.toml").read_text(encoding="utf-8")
    for old, new in changes:
        assert old in toml
        toml = toml.replace(old, new)
    (prepared / "city.toml").write_text(toml, encoding="utf-8")
    return prepared


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (
            'test = ["2024-04-08", "2024-05-06"]',
            'test = ["2024-04-08", "2025-04-08"]',
            r"test.*reaches beyond.*2024-05-05",
        ),
        ('test = ["2024-04-08", "2024-05-06"]', 'test = ["2034-04-08", "2034-05-08"]', r"test.*beyond"),
        ('train = ["2024-01-01"', 'train = ["2020-01-01"', r"train.*beyond.*covers 2024-01-01"),
        (
            'validation = ["2024-03-11", "2024-04-08"]',
            'validation = ["2024-03-11", "2024-03-12"]',
            r"validation.*short",
        ),
    ],
)
def test_splits_that_do_not_fit_the_table(toy, tmp_path, old, new, said):
    prepared = with_toml(toy, tmp_path / "prepared", (old, new))
    with pytest.raises(UserError, match=said):
        train(prepared, tmp_path / "run", model="cnn", device="cpu")
    assert not (tmp_path / "run").exists()


def test_a_split_without_targets_or_without_quiet_windows(toy, tmp_path):
    frame = toy.incidents()
    late = (frame["category"] == "SHOOTING") & (frame["time_s"] >= toy.begin_s + 14 * toy.week_s)
    quiet = with_toml(toy, tmp_path / "quiet", frame=frame[~late])
    with pytest.raises(UserError, match=r"\[splits\] test.*no window with a target \(SHOOTING\) among 323"):
        run_experiment(open_prepared(quiet))
    busy = with_toml(toy, tmp_path / "busy", ("lead_s = 0", "horizon_s = 345600\nlead_s = 0"))
    with pytest.raises(UserError, match=r"no window without.*horizon_s"):
        run_experiment(open_prepared(busy))


def test_an_empty_table_is_refused(toy, tmp_path):
    prepared = toy.write(tmp_path / "prepared", toy.incidents().iloc[:0])
    with pytest.raises(UserError, match=r"\[splits\] train.*covers nothing"):
        train(prepared, tmp_path / "run", model="cnn", device="cpu")


def test_a_folder_that_is_not_prepared_is_refused(tmp_path, run):
    with pytest.raises(UserError, match="does not exist"):
        train(tmp_path / "none", tmp_path / "run", model="cnn", device="cpu")
    with pytest.raises(UserError, match="not a prepared city"):
        train(run, tmp_path / "run", model="cnn", device="cpu")
    assert not list(tmp_path.iterdir())


def test_folders_are_for_stored_maps_alone(prepared, tmp_path):
    with pytest.raises(UserError, match="--feed = 'direct:maps': names a folder"):
        train(prepared, tmp_path / "run", feed="direct:maps", model="cnn", device="cpu")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("numba_cuda", "backend"), [("works", "cuda"), ("fails", "numba")])
def test_a_model_on_a_gpu_has_its_maps_drawn_there_if_they_can_be(prepared, numba_cuda, backend):
    script = Path(__file__).with_name("simulate_drawing.py")
    command = [sys.executable, script, str(prepared), numba_cuda]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    expected = [f"{protocol} {{'{backend}'}} numba {{'meta'}}" for protocol in ("forecast", "reference")]
    assert done.stdout.splitlines() == expected, done.stderr
