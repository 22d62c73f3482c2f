"""The command line: every command is there, a mistake is one line with exit code 2, a stop leaves nothing behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from hews_gpu.cli.commands import app

HEWS = [sys.executable, "-m", "hews_gpu"]
COMMANDS = (
    "demo",
    "doctor",
    "init",
    "prepare",
    "rasterize",
    "train",
    "evaluate",
    "backtest",
    "repeats",
    "groups",
    "audit",
    "compare-vintages",
    "report",
    "bench",
)


def hews(*arguments: str | Path, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*HEWS, *map(str, arguments)], capture_output=True, text=True, cwd=cwd, check=False)


@pytest.fixture
def here(capsys: pytest.CaptureFixture[str]) -> Callable[..., subprocess.CompletedProcess[str]]:
    """`hews` within this process, where nothing has to be loaded anew."""

    def hews_here(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
        with pytest.raises(SystemExit) as ended:
            app([str(argument) for argument in arguments], prog_name="hews")
        return subprocess.CompletedProcess([], ended.value.code, *capsys.readouterr())

    return hews_here


def assert_one_line_error(done: subprocess.CompletedProcess[str], *words: str) -> None:
    lines = [line for line in done.stderr.splitlines() if line.startswith("hews: ")]
    assert done.returncode == 2, done.stderr
    assert len(lines) == 1, done.stderr
    assert "Traceback" not in done.stderr
    for word in words:
        assert word in lines[0]


def test_help_lists_every_command() -> None:
    done = hews("--help")
    assert done.returncode == 0
    for command in COMMANDS:
        assert f" {command} " in done.stdout


def test_help_and_version_import_nothing_heavy() -> None:
    heavy = "torch dask pandas numpy numba scipy sklearn matplotlib geopandas shapely pyarrow zarr".split()
    script = (
        "import sys\nfrom hews_gpu.__main__ import main\nsys.argv = ['hews', '--help']\n"
        f"try:\n    main()\nexcept SystemExit:\n    print([m for m in {heavy} if m in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"


@pytest.mark.parametrize(
    ("module", "never"),
    [
        ("hews_gpu.data.prepare.command", "torch"),
        ("hews_gpu.runs.train", "dask"),
        ("hews_gpu.cli.demo", "torch"),
        ("hews_gpu.groups.run", "torch"),
        ("hews_gpu.report.sections.groups", "torch"),
    ],
)
def test_table_work_and_torch_stay_in_separate_processes(module: str, never: str) -> None:
    script = f"import sys, {module}; print({never!r} in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_init_proposes_a_layer_without_places(tmp_path: Path, here) -> None:
    hours = [f"2024-01-{1 + k // 24:02}T{k % 24:02}:00" for k in range(99)]
    rows = [f"{k},{text},{k % 24 - 3.5},{'RAIN' if k % 3 else 'CLEAR'},{k % 2}" for k, text in enumerate(hours)]
    (tmp_path / "weather.csv").write_text("\n".join(["id,time,temp_c,sky,school", *rows]))
    done = here("init", "weather", "--layer", tmp_path / "weather.csv")
    (layer,) = tomllib.loads(done.stdout)["layers"]
    assert layer["citywide"] and layer["values"] == ["temp_c", "school"]
    assert "longitude" not in done.stdout and "area" not in done.stdout
    (tmp_path / "weather.csv").write_text("\n".join(["id,time,temp_c,ward", *rows]))
    done = here("init", "weather", "--layer", tmp_path / "weather.csv")
    assert "citywide" not in done.stdout and "# area" in done.stdout


def test_init_proposes_the_section_of_a_layer(tmp_path: Path, here) -> None:
    """What is printed is read again as a part of a city file."""
    lines = ["at,where,what", *(f"2024-01-{1 + k % 28:02}T{k % 24:02}:{k % 60:02},A1,CALL" for k in range(300))]
    (tmp_path / "calls.csv").write_text("\n".join(lines), encoding="utf-8")
    done = here("init", "calls", "--layer", tmp_path / "calls.csv")
    assert done.returncode == 0 and "# area =" in done.stdout, done.stderr
    section = tomllib.loads(done.stdout)["layers"]
    assert [one["name"] for one in section] == ["calls"] and section[0]["columns"]["time"] == "at"
    assert_one_line_error(here("init", "sex", "--layer", tmp_path / "calls.csv"), "never for input")
    assert_one_line_error(here("init", "calls", "--layer", tmp_path / "none.csv"), "does not exist")
    assert_one_line_error(here("init", "calls", "--layer", tmp_path / "calls.csv", "--out", "x.toml"), "without --from")


def test_init_writes_a_file_to_edit_and_never_over_another(tmp_path: Path, here, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    done = here("init", "baltimore")
    assert done.returncode == 0
    assert "hews prepare baltimore.toml" in done.stdout
    (tmp_path / "baltimore.toml").write_text("mine")
    assert_one_line_error(here("init", "baltimore"), "exists already", "--force")
    assert (tmp_path / "baltimore.toml").read_text() == "mine"
    assert here("init", "baltimore", "--force").returncode == 0
    assert "[splits]" in (tmp_path / "baltimore.toml").read_text()
    assert_one_line_error(here("init", "gotham"), "'gotham'", "baltimore")
    assert_one_line_error(here("init", "demo", "--out", "no/such/x.toml"), "no/such")


def test_what_is_not_ours_is_named(tmp_path: Path, here) -> None:
    assert_one_line_error(here("prepare", tmp_path / "none.toml", "--out", tmp_path / "p"), "none.toml", "hews init")
    assert_one_line_error(hews("train", tmp_path / "none", "--out", tmp_path / "r"), "none", "hews prepare")
    assert_one_line_error(here("train", tmp_path, "--out", tmp_path / "r"), "not a prepared city", "hews prepare")
    assert_one_line_error(here("evaluate", tmp_path / "none"), "none", "hews train")
    assert_one_line_error(here("report", tmp_path / "none"), "none", "hews train")
    assert_one_line_error(here("rasterize", tmp_path, "--out", tmp_path / "m"), "not a prepared city")
    assert_one_line_error(here("bench", "nonsense"), "nonsense", "raster")
    assert_one_line_error(here("bench", "raster", "--device", "cude"), "--device", "cude", "cuda")
    assert list(tmp_path.iterdir()) == []


def test_evaluate_refuses_a_model_that_it_would_ignore(tmp_path: Path, here) -> None:
    assert_one_line_error(here("evaluate", tmp_path, "--model", "level"), "No such option", "--model")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), ("DIR or --preset = 'neither'", "give one of them")),
        (("--preset", "strong", "--models", "hawks"), ("--models = 'hawks'", "Did you mean 'hawkes'")),
        (("--preset", "strong", "--blocks", "0"), ("--blocks = 0", "1..100")),
        (("--preset", "strong", "--share", "3/2", "--out", "x"), ("--share = '3/2'", "0 <= I < N")),
        (("--preset", "strong", "--share", "0/2"), ("--out: is needed with", "Name a folder")),
    ],
)
def test_backtest_says_what_is_wrong_in_one_line(arguments: tuple[str, ...], words: tuple[str, ...], here) -> None:
    assert_one_line_error(here("backtest", *arguments), *words)


def test_doctor_speaks_of_every_stage_and_engine() -> None:
    done = hews("doctor", "--json")
    assert done.returncode == 0, done.stderr
    text = json.dumps(json.loads(done.stdout))
    for word in ("GPU", "driver", "CUDA", "cuDF", "cuSpatial", "DALI", "Dask-CUDA", "SLURM"):
        assert word in text
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--bogus",), ("No such option: --bogus", "See 'hews --help'.")),
        (("trane",), ("No such command 'trane'", "train", "See 'hews --help'.")),
        (("train",), ("Missing argument 'DIR'", "See 'hews train --help'.")),
        (("train", "d", "--out", "r", "--froce"), ("No such option: --froce", "--force", "See 'hews train --help'.")),
        (("submit", "pipeline", "c.toml", "--nodes", "two"), ("'--nodes'", "See 'hews submit pipeline --help'.")),
        (("bench", "raster", "--device"), ("'--device' requires an argument", "See 'hews")),
    ],
)
def test_a_mistake_in_the_usage_is_one_line(arguments: tuple[str, ...], words: tuple[str, ...], capsys) -> None:
    with pytest.raises(SystemExit) as ended:
        app(list(arguments), prog_name="hews")
    message = capsys.readouterr().err
    assert ended.value.code == 2
    assert message.startswith("hews: ") and message.count("\n") == 1, message
    for word in words:
        assert word in message


@pytest.mark.parametrize("arguments", [(), ("submit",)])
def test_a_command_that_needs_another_shows_its_help(arguments: tuple[str, ...], capsys) -> None:
    with pytest.raises(SystemExit) as ended:
        app(list(arguments), prog_name="hews")
    assert ended.value.code == 2
    assert "Usage: hews" in "".join(capsys.readouterr())


@pytest.mark.parametrize(
    ("stop", "line"),
    [
        (KeyboardInterrupt(), "hews: stopped before the end; nothing half-written was left.\n"),
        (KeyboardInterrupt("stopped after step 3."), "hews: stopped after step 3.\n"),
    ],
)
def test_the_last_line_of_a_stop_is_what_the_stopped_has_to_say(stop, line, monkeypatch, capsys) -> None:
    def interrupted() -> None:
        raise stop

    monkeypatch.setattr("hews_gpu.environment.doctor.diagnose", interrupted)
    with pytest.raises(SystemExit) as ended:
        app(["doctor"])
    assert (ended.value.code, capsys.readouterr().err) == (2, line)


def test_batch_jobs_are_the_commands() -> None:
    jobs = sorted((Path(__file__).parents[2] / "jobs").glob("*.py"))
    assert {"prepare", "rasterize", "train", "evaluate", "report", "score", "sweep"} <= {script.stem for script in jobs}
    for script in jobs:
        done = subprocess.run([sys.executable, str(script), "--help"], capture_output=True, text=True, check=True)
        assert f"{script.stem} [OPTIONS]" in done.stdout


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_a_stop_while_the_program_itself_is_loaded_is_one_line(tmp_path: Path, stop: signal.Signals) -> None:
    (tmp_path / "typer.py").write_text(f"import os\nos.kill(os.getpid(), {int(stop)})\nimport time\ntime.sleep(60)\n")
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [*HEWS, "--help"], capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": path}
    )
    assert_one_line_error(done, "stopped before the end")


def test_a_name_that_the_terminal_has_no_characters_for_is_written_all_the_same(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    command = [*HEWS, "init", "baltimore", "--out", "Zürich.toml"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment, check=False)
    assert done.returncode == 0 and r"Wrote Z\xfcrich.toml" in done.stdout, done
    command = [*HEWS, "init", "baltimore", "--out", "Ürümqi.toml", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment, check=False)
    assert done.returncode == 0 and "Ürümqi.toml" in str(json.loads(done.stdout)), done


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_demo_leaves_nothing(stop: signal.Signals, tmp_path: Path) -> None:
    out = tmp_path / "demo"
    child = subprocess.Popen(
        [*HEWS, "demo", "--out", str(out)], stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        for _ in range(600):
            if list(tmp_path.glob(".demo.partial-*/.prepared.*")):
                break
            time.sleep(0.05)
        else:
            pytest.fail("the demo never began to prepare")
        os.killpg(child.pid, stop)
        _, errors = child.communicate(timeout=60)
    finally:
        child.kill()
    assert child.returncode == 2
    assert "Traceback" not in errors
    assert "nothing half-written" in errors
    assert list(tmp_path.iterdir()) == []
