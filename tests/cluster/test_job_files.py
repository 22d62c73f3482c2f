"""The site's file is read by Bash itself; a job is a shipped file with options, settings and arguments written in."""

import re
import shutil
import subprocess

import pytest

from hews_gpu.cluster.job_files import SHIPPED, job_text, read_site
from hews_gpu.errors import UserError

ROOT = SHIPPED.resolve().parent
FILES = sorted(path.stem for path in SHIPPED.glob("*.sbatch"))


def write(tmp_path, text):
    path = tmp_path / "site.env"
    path.write_text(text)
    return path


def test_values_are_what_bash_makes_of_them(tmp_path, monkeypatch):
    monkeypatch.setenv("BASE", "/scratch")
    monkeypatch.setenv("SBATCH_QOS", "from-the-shell")  # not from the file: sbatch sees it by itself
    path = write(tmp_path, 'HEWS_SCRATCH="$BASE/$(echo me)"\nSBATCH_ACCOUNT=a\nOTHER=1\nhews_setup() { exit 3; }\n')
    assert read_site(path).values == {"HEWS_SCRATCH": "/scratch/me", "SBATCH_ACCOUNT": "a"}


def test_jobs_without_a_gpu_go_to_their_own_partition(tmp_path):
    site = read_site(write(tmp_path, "SBATCH_PARTITION=gpu\nHEWS_CPU_PARTITION=cpu\nHEWS_MEMORY=3G\nSBATCH_QOS=q\n"))
    assert site.options(gpu=True) == {"partition": "gpu", "qos": "q", "mem": "3G"}
    assert site.options(gpu=False) == {"partition": "cpu", "qos": "q", "mem": "3G"}


@pytest.mark.parametrize("name", ["site.env", "site-modules.env", "site-apptainer.env"])
def test_the_shipped_files_can_be_read(name):
    found = read_site(SHIPPED / name).values
    assert bool(found) == (name != "site.env")  # the template sets nothing, the examples do


def test_where_it_is_looked_for(tmp_path, monkeypatch):
    monkeypatch.delenv("HEWS_SITE", raising=False)
    monkeypatch.chdir(tmp_path)
    assert read_site().path == SHIPPED / "site.env"
    (tmp_path / "slurm").mkdir()
    here = tmp_path / "slurm" / "site.env"
    here.write_text("HEWS_MEMORY=1G\n")
    assert read_site().path == here
    other = write(tmp_path, "HEWS_MEMORY=2G\n")
    monkeypatch.setenv("HEWS_SITE", str(other))
    assert read_site().values["HEWS_MEMORY"] == "2G"


@pytest.mark.parametrize("text", ["if then\n", "exit 4\n", "false && true; return 1\n"])
def test_what_bash_does_not_like_is_one_line(tmp_path, text):
    with pytest.raises(UserError, match="cannot be read"):
        read_site(write(tmp_path, text))


def test_a_file_that_is_missing_is_named(tmp_path):
    with pytest.raises(UserError, match=r"--site = .*nowhere.env.*: is not a file"):
        read_site(tmp_path / "nowhere.env")


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


@pytest.mark.parametrize("name", ["x\ntouch ran\n#", "x\r", "x\x1b[2J", "x\u2028y"])
def test_a_name_never_ends_a_line_of_the_head(name):
    """A city file of such a name ran a command: what followed the line break was a line of the job."""
    with pytest.raises(UserError, match="must not have line breaks"):
        job_text("prepare", options={"output": f"/runs/{name}/log"}, settings={}, arguments=[])


def test_a_name_with_spaces_or_quotes_is_one_word():
    text = job_text("prepare", options={"output": '/my runs/a"b\\c/log'}, settings={}, arguments=[])
    assert '#SBATCH --output="/my runs/a\\"b\\\\c/log"\n' in text


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
