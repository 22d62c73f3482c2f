"""The GPU benchmark's own logic runs without a GPU; the check says so where there is none."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from benchmarks.gpu import check, pip, prepare, raster, training
from hews_gpu.workers import in_this_process

ROOT = Path(__file__).resolve().parents[2]
OTHERS = (
    *("pandas", "geopandas", "shapely", "pyarrow", "pyogrio", "pyproj", "dask", "distributed", "scipy"),
    *("sklearn", "matplotlib", "zarr", "typer", "rich", "jinja2", "safetensors", "psutil", "hypothesis", "PIL", "cupy"),
    *("nvidia.dali", "torchmetrics", "scores", "tensorboard"),
)


def test_the_check_needs_only_what_it_says():
    """NumPy, numba, torch, pytest: nothing else that we use may be asked for, be it there or not."""
    code = (
        "import sys, pytest\n"
        f"sys.modules.update(dict.fromkeys({OTHERS!r}))\n"  # importing any of these now raises ImportError
        "import benchmarks.gpu.check as check, importlib\n"
        "[importlib.import_module(module) for module, _ in check.STAGES.values()]\n"
        "sys.exit(pytest.main(['-q', '-m', 'gpu', '-p', 'no:cacheprovider', '--collect-only', 'tests']))"
    )
    environment = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}  # plugins are not ours to judge
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT, env=environment)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    for test in ("test_golden.py", "test_golden_pip.py", "test_device.py"):
        assert test in done.stdout


@pytest.mark.parametrize("missing", ["torch", "numba"])
def test_what_is_missing_is_said_in_one_line(missing):
    code = f"import sys; sys.modules[{missing!r}] = None; from benchmarks.gpu import check; sys.exit(check.main())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=ROOT)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"gpu-check: {sys.executable} has no {missing}; nothing was measured\n"


@pytest.mark.nightly  # every stage is a process of its own
def test_a_dry_run_walks_every_stage(tmp_path):
    command = [sys.executable, "-m", "benchmarks.gpu.check", "--dry-run", "--out", tmp_path]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    (file,) = tmp_path.iterdir()
    result = json.loads(file.read_text())
    assert json.loads(done.stdout).items() <= result.items() and result["device"] == "none, a dry run"
    assert file.name.startswith("gpu-dry-run-") and str(ROOT) not in file.read_text()
    assert set(result["stage_seconds"]) == set(check.STAGES) <= set(result)
    for row in (*result["raster"], *result["tilings"], *result["pip"]):
        assert row["same_as_cpu"] and row.get("gb_per_s", 1) > 0
    assert ["predicted_share_of_fill" in row for row in result["raster"]] == [True, False, True]
    assert result["prepare"]["same_tables"] and result["prepare"]["rows_read"] == 20_000
    assert "tests collected" in result["tests"]["summary"] and result["racecheck"]["passed"]


def dry(folder, monkeypatch, told, **options):
    """Run the check with stages that give what is told of each."""
    ran = []

    def stage(name, left_s, *, tiny):
        ran.append((name, left_s))
        return told.get(name, {"rows": [name]})

    monkeypatch.setattr(check, "run_stage", stage)
    result = check.check(folder, options.pop("budget_s", 100), tiny=True, resume=options.pop("resume", False))
    return result, [name for name, _ in ran]


def test_the_file_is_written_after_every_stage(tmp_path, monkeypatch):
    monkeypatch.setattr(check, "save_result", lambda name, result, *_: saved.append(dict(result)) or tmp_path)
    saved = []
    dry(tmp_path, monkeypatch, {})
    assert [[name for name in check.STAGES if name in one] for one in saved] == [
        list(check.STAGES)[: count + 1] for count in range(len(check.STAGES))
    ]


def test_a_check_goes_on_with_what_is_done(tmp_path, monkeypatch):
    told = {"feed": {"failed": "no"}, "pip": {"skipped": "no"}, "tests": {"passed": False}, "raster": [1]}
    _, ran = dry(tmp_path, monkeypatch, told)
    assert ran == list(check.STAGES)
    (file,) = tmp_path.iterdir()
    (tmp_path / "gpu-dry-run-2000-01-01.json").write_text(
        file.read_text().replace("[1]", "[0]").replace("[\n    1", "[0")
    )
    (tmp_path / "gpu-9999-01-01.json").write_text(file.read_text().replace("failed", "was"))  # of another kind
    result, ran = dry(tmp_path, monkeypatch, {}, resume=True)
    assert ran == ["feed", "tests", "pip"]
    assert result["raster"] == [1] and result["feed"] == {"rows": ["feed"]}
    assert dry(tmp_path, monkeypatch, {}, resume=True)[1] == []
    with monkeypatch.context() as patched:
        patched.setattr(check, "digest", lambda: "other")
        assert check.earlier(tmp_path, "gpu-dry-run", {"code": check.digest(), "device": "none, a dry run"}) == {}
    assert check.earlier(tmp_path, "gpu-dry-run", {"code": check.digest(), "device": "another"}) == {}


def test_todays_file_is_not_lost(tmp_path, monkeypatch, capsys):
    dry(tmp_path, monkeypatch, {})
    monkeypatch.setattr(check, "check", lambda *_, **__: {name: [] for name in check.STAGES})
    words = ["--dry-run", "--out", str(tmp_path)]
    assert check.main(words) == 2 and "exists: --resume goes on with it" in capsys.readouterr().err
    assert check.main([*words, "--resume"]) == check.main([*words, "--force"]) == 0


def test_a_stage_that_fails_or_takes_too_long_is_told(tmp_path, monkeypatch):
    assert check.run_stage("pip", 20, tiny=False) == {"skipped": "takes up to 40 s, 20 s were left"}
    code = "import sys, time; {}"
    for body, why in (
        ("sys.exit('no such device')", "no such device"),
        ("sys.exit(3)", "ended with status 3, without a word"),
        ("time.sleep(60)", "not through within 2 s"),  # though there is time left
    ):
        script = tmp_path / "stage.py"
        script.write_text(code.format(body))
        monkeypatch.setattr(check, "STAGES", {"pip": ("", 1)})
        monkeypatch.setattr(check, "command_of", lambda name, tiny, script=script: [sys.executable, script])
        assert check.run_stage("pip", 100, tiny=False) == {"failed": why}


def test_prepare_on_workers_gives_the_tables_of_one_process_and_says_what_it_lacks(monkeypatch):
    """On one worker and pandas here; where there is a GPU, on a cluster of GPUs and cuDF."""
    with monkeypatch.context() as patched:
        patched.setattr(prepare, "GPU", ("no_such_library",))
        assert prepare.run(tiny=False) == {"skipped": "not installed: no_such_library"}
    result = prepare.run(tiny=True)
    assert result["same_tables"] and result["rows_read"] == 20_000 and 0.7 * 20_000 < result["rows_kept"] < 20_000
    assert result["ratio_of_rows_per_s"] == result["rows_per_s"]["workers"] / result["rows_per_s"]["host"]
    with pytest.raises(AssertionError, match="differ in"):
        monkeypatch.setattr(prepare, "table_hash", lambda path: str(path))
        prepare.measure(in_this_process, rows=1_000, days=5)


def test_a_device_sleeps_until_all_calls_are_queued():
    """Calls that the host queues more slowly than the device runs them would be timed by the host's clock."""
    slept, clock = [], []

    class Event:
        def __init__(self, enable_timing):
            self.at = None

        def record(self):
            clock.append(time.perf_counter())

        def synchronize(self):
            pass

        def elapsed_time(self, end):
            return 1e3

    told = SimpleNamespace(Event=Event, _sleep=slept.append, synchronize=lambda: None)
    machine = raster.Gpu()
    machine.torch = SimpleNamespace(cuda=told)
    assert machine.device_s(lambda: time.sleep(0.01), 10) == 0.1
    assert slept[0] / raster.CYCLES_PER_S > clock[1] - clock[0] >= 0.1


@pytest.mark.parametrize(("row", "instructions"), [(0, 10_048), (3, 12_981)])
def test_the_prediction_is_what_was_measured(row, instructions):
    """Of the kernel as it was on the H100, with the instructions that were counted of it for 55 and 278 areas."""
    measured = json.loads((check.RESULTS / "gpu-2026-11-28.json").read_text())["raster"][row]
    expected = raster.predicted_share(instructions, 216 * 172 * 3, 1, measured["fill_gb_per_s"])
    assert expected == pytest.approx(measured["share_of_fill"], rel=0.06)
    half = raster.predicted_share(instructions, 216 * 172 * 3, 2, measured["fill_gb_per_s"])
    assert expected < half < 2 * expected  # of twice the bytes, which take longer


def test_kernels_that_are_drawn_have_counted_instructions():
    drawn = [name.format(kind) for name, _ in raster.STYLES.values() for kind in ("uint8", "float16")]
    counts = [raster.instructions_of(name) for name in drawn]
    uncounted = [name for name, count in zip(drawn, counts, strict=True) if count is None]
    assert uncounted == ["reference: float16, many owners"] and min(filter(None, counts)) > 1000


def test_training_takes_steps_both_ways_on_the_same_batches():
    row = training.measure(training.Case("reference2", batch=4, piece=3), training.LITTLE, "cpu")
    assert row["losses_apart"] == 0  # without a GPU both ways are one
    for way in (training.EAGER, training.GRAPH):
        assert row[way]["samples_per_s"] * row[way]["step_s"] == pytest.approx(4)
        assert row[way]["gpu_busy_share"] is None and row[way]["step_over_cached"] > 0


def test_a_graph_that_learns_otherwise_is_told_and_the_rest_is_measured(monkeypatch):
    class Stale(training.Side):
        """Keeps the batch of the step before, as one that is captured with another's memory would."""

        def __init__(self, case, module, feed, way):
            super().__init__(case, module, feed, way)
            if way == training.GRAPH:
                next(self.stream)

    monkeypatch.setattr(training, "Side", Stale)
    monkeypatch.setattr(training, "TINY", training.TINY[1:])
    result = training.run(tiny=True)
    assert result["failed"] == "reference2, 4: both ways were given other batches" and not check.is_done(result)
    assert result["rows"][0][training.EAGER]["step_s"] > 0


def test_a_gpu_is_busy_while_any_of_its_streams_is():
    assert training.busy_share([]) is None
    assert training.busy_share([(0.0, 4.0), (1.0, 2.0)]) == 1.0  # one within another counts once
    assert training.busy_share([(6.0, 8.0), (0.0, 2.0), (1.0, 3.0)]) == 5 / 8


def test_the_city_is_as_finely_drawn_as_a_real_one():
    vertex, _, polygon = pip.city()
    assert polygon.max() + 1 == 278
    assert 120_000 < len(vertex) < 160_000
