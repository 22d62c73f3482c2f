"""The work folder: locked while in use, kept when a job is cut off, of use only for the same job."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hews_gpu import work_folder as module
from hews_gpu.errors import UserError
from hews_gpu.work_folder import open_work_folder, read_object, read_shared, write_object
from hews_gpu.workers import Unfinished

ABOUT = {"files": [["a.csv", 7]], "version": "1"}


def cut_off(out: Path, error: BaseException, *, keep: bool = False) -> Path:
    """The work folder after a job with one partition done ended in an error."""
    with pytest.raises(type(error)):
        with open_work_folder(out, ABOUT, resume=False, keep=keep) as folder:
            write_object(folder / "found-000000", 7)
            raise error
    return folder


def test_it_is_beside_the_output_and_vanishes_when_the_job_is_done(tmp_path: Path) -> None:
    with open_work_folder(tmp_path / "out", ABOUT, resume=False, keep=True) as folder:
        assert folder == tmp_path / ".out.work" and folder.is_dir()
    assert not folder.exists()


@pytest.mark.parametrize(
    ("error", "keep", "is_kept"),
    [
        (Unfinished("--cluster", allowed="the scheduler was lost"), False, True),
        (KeyboardInterrupt(), False, False),
        (KeyboardInterrupt(), True, True),
        (UserError("a.csv", allowed="is empty"), True, False),
        (RuntimeError("a defect of ours"), True, True),
    ],
)
def test_what_is_kept_of_a_job_that_was_cut_off(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], error: BaseException, keep: bool, is_kept: bool
) -> None:
    folder = cut_off(tmp_path / "out", error, keep=keep)
    assert (folder / "found-000000").is_file() == folder.is_dir() == is_kept
    assert ("--resume goes on" in capsys.readouterr().err) == is_kept


def test_resume_finds_it_and_a_fresh_start_does_not(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lost = Unfinished("--cluster", allowed="the scheduler was lost")
    cut_off(tmp_path / "out", lost)
    with open_work_folder(tmp_path / "out", ABOUT, resume=True, keep=True) as folder:
        assert read_object(folder / "found-000000") == 7
    cut_off(tmp_path / "out", lost)
    with open_work_folder(tmp_path / "out", ABOUT, resume=False, keep=True) as folder:
        assert not (folder / "found-000000").exists()
    cut_off(tmp_path / "out", lost)
    capsys.readouterr()
    with open_work_folder(tmp_path / "out", {**ABOUT, "files": [["a.csv", 8]]}, resume=True, keep=True) as folder:
        assert not (folder / "found-000000").exists()
    assert "have changed since; everything is done anew" in capsys.readouterr().err


@pytest.mark.parametrize("resume", [False, True])
def test_what_another_user_planted_is_neither_followed_nor_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, resume: bool
) -> None:
    """A link where the work folder will be led to the caller's own files, all of which were then removed."""
    home, planted = tmp_path / "home", tmp_path / ".out.work"
    home.mkdir(mode=0o700)
    (home / "thesis.txt").write_text("mine")
    planted.symlink_to(home)
    job = open_work_folder(tmp_path / "out", ABOUT, resume=resume, keep=True)
    with pytest.raises(UserError, match="is not a folder of yours"), job:
        pytest.fail("the job was begun")
    assert [path.name for path in home.iterdir()] == ["thesis.txt"]
    planted.unlink()
    planted.mkdir()
    planted.chmod(0o777)
    with pytest.raises(UserError, match="is open to other users"):
        with open_work_folder(tmp_path / "out", ABOUT, resume=resume, keep=True):
            pytest.fail("the job was begun")


def test_an_object_that_another_user_wrote_is_not_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, shell = tmp_path / "plan", tmp_path / "ran"

    class Planted:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.touch, (shell,)

    write_object(path, Planted())
    assert path.stat().st_mode & 0o777 == 0o600
    path.with_name("link").symlink_to(path)
    with pytest.raises(OSError, match="symbolic links"):
        read_object(path.with_name("link"))
    path.chmod(0o666)
    with pytest.raises(UserError, match="may have been written by another user"):
        read_object(path)
    path.chmod(0o600)
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    with pytest.raises(UserError, match="may have been written by another user"):
        read_object(path)
    assert not shell.exists()
    monkeypatch.undo()
    read_object(path)
    assert shell.exists()  # what reading it would have done


def test_two_jobs_on_one_output_are_refused(tmp_path: Path) -> None:
    with open_work_folder(tmp_path / "out", ABOUT, resume=False, keep=False) as folder:
        write_object(folder / "found-000000", 7)
        with pytest.raises(UserError, match=r"--out = .*out': is being made by another process\. Wait for it"):
            with open_work_folder(tmp_path / "out", ABOUT, resume=False, keep=False):
                pass
        assert read_object(folder / "found-000000") == 7


def test_one_who_comes_while_the_folder_is_removed_gets_one_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lock was opened before the folder went: locked now, it would keep out nobody who comes later."""
    flock, folder = fcntl.flock, tmp_path / ".out.work"

    def late(file: Any, how: int) -> None:
        monkeypatch.setattr(fcntl, "flock", flock)
        (folder / "found-000000").touch()
        shutil.rmtree(module._put_aside(folder))  # by the one who had it
        flock(file, how)

    monkeypatch.setattr(fcntl, "flock", late)
    with open_work_folder(tmp_path / "out", ABOUT, resume=False, keep=False):
        with pytest.raises(UserError, match="is being made by another process"):
            with open_work_folder(tmp_path / "out", ABOUT, resume=False, keep=False):
                pass
        assert (folder / "lock").is_file() and not (folder / "found-000000").exists()
    assert not list(tmp_path.iterdir())


def test_a_folder_that_has_gone_hides_nothing_of_what_went_wrong(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"a\.csv"):
        with open_work_folder(tmp_path / "out", ABOUT, resume=False, keep=False) as folder:
            shutil.rmtree(folder)
            raise UserError("a.csv", allowed="is empty")


def test_what_is_loaded_is_read_once_and_again_when_it_has_changed(tmp_path: Path) -> None:
    path = tmp_path / "clean.job"
    write_object(path, [1])
    first = read_shared(path)
    assert read_shared(path) is first
    write_object(path, [2])
    os.utime(path, ns=(1, 1))
    assert read_shared(path) == [2]
    assert [entry.name for entry in tmp_path.iterdir()] == ["clean.job"]


def test_a_write_that_fails_leaves_the_older_content(tmp_path: Path) -> None:
    path = tmp_path / "found-000001"
    write_object(path, {"rows": 3})
    unpicklable: Callable[[], int] = lambda: 1  # noqa: E731
    with pytest.raises(Exception, match="pickle"):
        write_object(path, unpicklable)
    assert read_object(path) == {"rows": 3}


def test_a_file_system_without_locks_is_warned_of_and_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr("fcntl.flock", refuse)
    with open_work_folder(tmp_path / "out", ABOUT, resume=False, keep=False) as folder:
        assert folder.is_dir()
    assert "has no locks" in capsys.readouterr().err and not folder.exists()


@pytest.mark.parametrize("changed", ["config.py", "kernels/pip_scalars.py", "data/clean.py"])
def test_the_digest_of_the_code_is_of_the_whole_package(tmp_path: Path, changed: str) -> None:
    package = shutil.copytree(Path(module.__file__).parent, tmp_path / "hews_gpu")
    digest = [sys.executable, "-c", "from hews_gpu.work_folder import code_digest; print(code_digest())"]

    def now() -> str:
        run = {"cwd": tmp_path, "env": {**os.environ, "PYTHONPATH": str(tmp_path)}}
        return subprocess.run(digest, capture_output=True, text=True, check=True, **run).stdout

    before = now()
    with (package / changed).open("a") as file:
        file.write("\n# changed\n")
    assert now() != before
