"""A job's text: the shipped file with options replaced, added or taken away, and settings and arguments written in."""

import re
import shutil
import subprocess

import pytest

from hews_gpu.cluster.script import job_text
from hews_gpu.cluster.site import SHIPPED

ROOT = SHIPPED.resolve().parent
FILES = sorted(path.stem for path in SHIPPED.glob("*.sbatch"))


def options_of(text):
    return dict(re.findall(r"^#SBATCH --([a-z-]+)=?(.*)$", text, re.MULTILINE))


@pytest.mark.parametrize("name", FILES)
def test_without_changes_the_options_are_the_files_own(name):
    text = job_text(name, options={}, settings={}, arguments=["a"])
    assert options_of(text) == options_of((SHIPPED / f"{name}.sbatch").read_text())


def test_options_are_replaced_added_and_taken_away():
    before = options_of((SHIPPED / "train.sbatch").read_text())
    text = job_text(
        "train",
        options={"nodes": 3, "gpus-per-node": None, "partition": "p", "exclusive": ""},
        settings={},
        arguments=[],
    )
    expected = {**before, "nodes": "3", "partition": "p", "exclusive": ""}
    del expected["gpus-per-node"]
    assert options_of(text) == expected
    body = text.index("set -euo")
    assert text.rindex("#SBATCH") < body, "sbatch reads no option after the first command"


def test_settings_and_arguments_arrive_as_they_were_given(tmp_path):
    """Bash itself reads the text up to the first command of the file."""
    odd = ["a b", "it's", 'say "x"', "$HOME", "--recipe", "ä"]
    text = job_text("evaluate", options={}, settings={"HEWS_OUT": "/tmp/o'ut $x"}, arguments=odd)
    head = text[: text.index("set -euo")] + 'printf \'%s\\n\' "$HEWS_OUT" "$@"\n'
    done = subprocess.run(["bash", "-c", head], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["/tmp/o'ut $x", *odd]


def test_the_job_files_ask_for_what_they_need():
    for name in ("train", "train-node", "train-nodes", "sweep"):
        options = options_of((SHIPPED / f"{name}.sbatch").read_text())
        assert options["signal"] == "B:USR2@120"
        assert "requeue" in options
        assert options["open-mode"] == "append"
        assert options["output"] == ("%x-%A_%a.log" if name == "sweep" else "%x-%j.log")


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="shellcheck is not installed")
def test_shellcheck_has_nothing_to_say(tmp_path):
    files = [*SHIPPED.glob("*.sbatch"), *SHIPPED.glob("*.sh"), *SHIPPED.glob("*.env")]
    assert len(files) == len(FILES) + 4
    written = tmp_path / "written.sbatch"
    written.write_text(job_text("train", options={"nodes": 2}, settings={"HEWS_OUT": "a b"}, arguments=["x y"]))
    command = ["shellcheck", "-x", "--source-path=SCRIPTDIR/..", "-P", str(ROOT), *map(str, [*files, written])]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    broken = tmp_path / "broken.sbatch"
    broken.write_text("#!/usr/bin/env bash\nrm -rf $1/*\n")
    assert subprocess.run(["shellcheck", str(broken)], capture_output=True, check=False).returncode == 1
