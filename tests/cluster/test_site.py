"""The site's file is read by Bash itself, and only for what is ours."""

import pytest

from hews_gpu.cluster.site import SHIPPED, read_site
from hews_gpu.errors import UserError


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
