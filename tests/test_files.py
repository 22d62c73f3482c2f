"""Output is whole or not there, and `--force` never deletes what is not ours."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from hews_gpu import files
from hews_gpu.errors import UserError
from hews_gpu.files import (
    MANIFEST,
    atomic_file,
    locked,
    new_folder,
    read_manifest,
    require_free_names,
    write_json,
    write_together,
)


def make(out: Path, kind: str = "prepared", *, force: bool = False, text: str = "new") -> None:
    with new_folder(out, kind=kind, force=force) as folder:
        (folder / "data.txt").write_text(text)


def test_a_folder_appears_whole_with_a_manifest(tmp_path: Path) -> None:
    out = tmp_path / "deep" / "out"
    with new_folder(out, kind="prepared", notes={"seed": 7}) as folder:
        (folder / "data.txt").write_text("x")
        assert not out.exists()
    assert sorted(path.name for path in out.iterdir()) == ["data.txt", MANIFEST]
    assert read_manifest(out)["seed"] == 7
    assert read_manifest(out)["kind"] == "prepared"
    assert [path.name for path in out.parent.iterdir()] == ["out"]


@pytest.mark.parametrize("stop", [KeyboardInterrupt, RuntimeError, SystemExit])
def test_a_run_cut_off_leaves_nothing_and_keeps_the_old(stop: type[BaseException], tmp_path: Path) -> None:
    make(tmp_path / "out", text="old")
    with pytest.raises(stop), new_folder(tmp_path / "out", kind="prepared", force=True) as folder:
        (folder / "half.txt").write_text("x")
        raise stop
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert (tmp_path / "out" / "data.txt").read_text() == "old"


KILLED = """
import os, pathlib, signal, sys
from hews_gpu.files import new_folder
with new_folder(pathlib.Path(sys.argv[1]), kind="prepared") as folder:
    (folder / "half.txt").write_text("x")
    print(folder, flush=True)
    if sys.argv[2] == "dies":
        os.kill(os.getpid(), signal.SIGKILL)
    input()
"""


def test_folders_that_were_made_for_a_result_vanish_with_it(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    with pytest.raises(KeyError), new_folder(tmp_path / "there" / "a" / "b" / "out", kind="prepared"):
        raise KeyError
    assert list(tmp_path.rglob("*")) == [tmp_path / "there"]
    make(tmp_path / "there" / "a" / "b" / "out")
    assert (tmp_path / "there" / "a" / "b" / "out" / MANIFEST).is_file()


def test_what_a_killed_process_left_is_swept_but_not_what_another_fills(tmp_path: Path) -> None:
    out = tmp_path / "o[u]t"  # the name is no pattern
    command = [sys.executable, "-c", KILLED, str(out)]
    left = Path(subprocess.run([*command, "dies"], capture_output=True, text=True, check=False).stdout.strip())
    assert (left / "half.txt").is_file()
    with subprocess.Popen([*command, "lives"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdin is not None and other.stdout is not None
        filled = Path(other.stdout.readline().strip())
        assert not left.exists()  # by the other already
        elsewhere = tmp_path / f".{out.name}.partial-4194999"  # no process of this machine: more than any number
        elsewhere.mkdir()
        holder = os.open(elsewhere, os.O_RDONLY)
        fcntl.flock(holder, fcntl.LOCK_EX)
        (tmp_path / f".{out.name}.partial-mine").mkdir()
        make(out)
        assert (filled / "half.txt").is_file() and elsewhere.is_dir()
        os.close(holder)
        make(out, force=True)
        assert not elsewhere.exists() and (filled / "half.txt").is_file()
        other.kill()
    assert (tmp_path / f".{out.name}.partial-mine").is_dir()


def test_an_existing_folder_is_refused_and_replaced_by_force(tmp_path: Path) -> None:
    make(tmp_path / "out", text="old")
    with pytest.raises(UserError, match=r"--out.*exists already.*--force"):
        make(tmp_path / "out")
    make(tmp_path / "out", force=True, text="new")
    assert (tmp_path / "out" / "data.txt").read_text() == "new"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_folder_that_another_has_made_meanwhile_is_not_lost(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(UserError, match="exists already"), new_folder(out, kind="prepared"):
        make(tmp_path / "another", text="first")
        (tmp_path / "another").rename(out)
    assert (out / "data.txt").read_text() == "first"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_force_never_replaces_a_folder_of_the_users_own(tmp_path: Path) -> None:
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.txt").write_text("precious")
    with pytest.raises(UserError, match="not an output of this program"):
        make(tmp_path / "thesis", force=True)
    make(tmp_path / "maps", kind="maps")
    with pytest.raises(UserError, match="holds a 'maps'"):
        make(tmp_path / "maps", force=True)
    (tmp_path / "file").write_text("precious")
    with pytest.raises(UserError):
        make(tmp_path / "file", force=True)
    assert (tmp_path / "thesis" / "chapter.txt").read_text() == "precious"
    assert (tmp_path / "file").read_text() == "precious"


def test_an_empty_folder_may_be_filled(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    make(tmp_path / "out")
    assert (tmp_path / "out" / "data.txt").exists()


def test_a_full_disk_is_one_line_and_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="disk is full") as caught, new_folder(tmp_path / "out", kind="prepared"):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("where", ["file/out", "/proc/nope/out", "x" * 300, ".", "loop/out"])
def test_a_path_where_nothing_can_be_made_is_one_line(
    where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path / "empty" if where == "." and (tmp_path / "empty").mkdir() is None else tmp_path)
    (tmp_path / "file").write_text("x")
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(UserError) as caught, new_folder(Path(where), kind="prepared"):
        pytest.fail("the job was begun")
    assert "\n" not in str(caught.value)


def test_a_stop_between_the_two_renames_loses_neither(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tmp_path / "out", text="old")
    rename = Path.rename

    def stopped(path: Path, target: Path) -> Path:
        if ".partial-" in path.name:
            raise KeyboardInterrupt
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", stopped)
    monkeypatch.setattr(files, "_exchange", lambda one, other: False)  # as on a file system without it
    with pytest.raises(KeyboardInterrupt):
        make(tmp_path / "out", force=True)
    assert (tmp_path / "out" / "data.txt").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


KILLED_AT = """
import os, sys
from pathlib import Path
from hews_gpu import files
out, how = Path(sys.argv[1]), sys.argv[2]
rename = Path.rename
if how == "two renames":
    files._exchange = lambda one, other: False
    Path.rename = lambda path, target: os._exit(9) if ".partial-" in path.name else rename(path, target)
if how == "exchange":
    files.shutil.rmtree = lambda *_, **__: os._exit(9)
if how == "file":
    with files.atomic_file(out) as partial:
        partial.write_text("half")
        os._exit(9)
with files.new_folder(out, kind="prepared", force=True) as folder:
    (folder / "data.txt").write_text("new")
"""


@pytest.mark.parametrize(("how", "expected"), [("two renames", "old"), ("exchange", "new")])
def test_killed_while_replacing_a_result_leaves_one(tmp_path: Path, how: str, expected: str) -> None:
    out = tmp_path / "out"
    make(out, text="old")
    assert subprocess.run([sys.executable, "-c", KILLED_AT, out, how], check=False).returncode == 9
    if how == "exchange":  # at no moment without a result
        assert (out / "data.txt").read_text() == expected
    with pytest.raises(UserError, match="exists already"):
        make(out, text="third")
    assert (out / "data.txt").read_text() == expected
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_what_a_kill_left_of_a_file_goes_with_the_next_one(tmp_path: Path) -> None:
    out = tmp_path / "a.json"
    assert subprocess.run([sys.executable, "-c", KILLED_AT, out, "file"], check=False).returncode == 9
    assert len(list(tmp_path.iterdir())) == 1
    write_json(out, {})
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]


@pytest.mark.parametrize("target", ["elsewhere", "nowhere"])
def test_a_link_is_never_replaced(tmp_path: Path, target: str) -> None:
    make(tmp_path / "elsewhere", text="old")
    (tmp_path / "out").symlink_to(target)
    for force in (False, True):
        with pytest.raises(UserError, match=r"--out = .*out': is a link\. Give the folder that it leads to"):
            make(tmp_path / "out", force=force)
    assert (tmp_path / "out").is_symlink() and (tmp_path / "elsewhere" / "data.txt").read_text() == "old"


@pytest.mark.parametrize("what", ["link", "open", "another user's", "file"])
def test_a_folder_that_is_not_private_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    folder, home = tmp_path / "private", tmp_path / "home"
    home.mkdir(mode=0o700)
    (home / "thesis.txt").write_text("mine")
    if what == "link":
        folder.symlink_to(home)
    elif what == "file":
        folder.write_text("x")
    else:
        folder.mkdir(mode=0o777 if what == "open" else 0o700)
    if what == "open":
        folder.chmod(0o770)
    if what == "another user's":
        monkeypatch.setattr(os, "geteuid", lambda: 12345)
    says = {"open": "is open to other users", "another user's": "belongs to another user"}
    with pytest.raises(UserError, match=says.get(what, "is not a folder of yours")):
        files.make_private(folder)
    assert (home / "thesis.txt").read_text() == "mine"


def test_a_private_folder_is_for_its_owner_only(tmp_path: Path) -> None:
    for _ in range(2):
        files.make_private(tmp_path / "a" / "private")
    assert (tmp_path / "a" / "private").stat().st_mode & 0o777 == 0o700


def test_a_file_that_a_job_misses_is_a_defect_and_keeps_its_traceback(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), new_folder(tmp_path / "out", kind="prepared") as folder:
        (folder / "never written").read_text()


def test_other_system_errors_keep_their_traceback(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="Input/output"), new_folder(tmp_path / "out", kind="prepared"):
        raise OSError(errno.EIO, os.strerror(errno.EIO))


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_json(path, {"a": 1})
    with pytest.raises(RuntimeError), atomic_file(path) as partial:
        partial.write_text("half")
        raise RuntimeError
    assert json.loads(path.read_text()) == {"a": 1}
    with pytest.raises(ValueError, match="JSON compliant"):
        write_json(path, {"a": float("nan")})
    assert json.loads(path.read_text()) == {"a": 1}
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.json"]


def test_a_broken_manifest_is_refused_and_none_is_empty(tmp_path: Path) -> None:
    assert read_manifest(tmp_path) == {}
    for text in ("[1", "[1]", "{}"):
        (tmp_path / MANIFEST).write_text(text)
        with pytest.raises(UserError, match=r"hews\.json.*Restore it"):
            read_manifest(tmp_path)


TAKEN = UserError("--out", "out", allowed="is being made by another process")


def test_a_lock_is_held_while_the_block_lasts_and_free_after_it(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "lock"
    with locked(path, TAKEN):
        with pytest.raises(UserError, match="is being made by another process"), locked(path, TAKEN):
            pytest.fail("locked twice")
        outside = f"import fcntl; fcntl.flock(open({str(path)!r}), fcntl.LOCK_EX | fcntl.LOCK_NB)"
        refused = subprocess.run([sys.executable, "-c", outside], capture_output=True, text=True, check=False)
        assert "BlockingIOError" in refused.stderr
    with locked(path, TAKEN):
        assert path.is_file()


@pytest.mark.parametrize("comes_back", [False, True])
def test_a_lock_file_that_its_holder_removes_meanwhile_is_made_anew(
    comes_back: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Locked after its name has gone, the old file would keep out nobody who comes later."""
    path, flock = tmp_path / "work" / "lock", fcntl.flock

    def late(descriptor: int, how: int) -> None:
        monkeypatch.setattr(fcntl, "flock", flock)
        path.unlink()
        if comes_back:
            path.with_name("other").touch()
            path.with_name("other").rename(path)
        flock(descriptor, how)

    monkeypatch.setattr(fcntl, "flock", late)
    with locked(path, TAKEN), pytest.raises(UserError, match="another process"), locked(path, TAKEN):
        pytest.fail("locked twice")


def test_a_file_system_without_locks_is_warned_of_and_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with locked(tmp_path / "lock", TAKEN):
        assert capsys.readouterr().err.count("has no locks") == 1
    make(tmp_path / "out")
    left = tmp_path / ".out.partial-4194999"
    left.mkdir()
    make(tmp_path / "out", force=True)
    assert left.is_dir()  # nothing says that nobody fills it
    assert capsys.readouterr().err == ""


def test_files_that_belong_together_appear_together_or_not_at_all(tmp_path: Path) -> None:
    def fail(path: Path) -> None:
        path.write_text("half")
        raise RuntimeError

    out = tmp_path / "deep" / "out"
    with pytest.raises(RuntimeError):
        write_together(out, {"a": lambda path: write_json(path, 0), "b": fail})
    assert list(tmp_path.iterdir()) == []
    out.mkdir(parents=True)
    (out / "a").write_text("old")
    write_together(out, {"a": lambda path: write_json(path, 1), "b": lambda path: write_json(path, 2)})
    assert {path.name: path.read_text() for path in out.iterdir()} == {"a": "1\n", "b": "2\n"}


def test_results_that_are_there_are_refused_before_anything_takes_time(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("old")
    require_free_names(tmp_path / "new", ("a", "b"), force=False)
    require_free_names(tmp_path, ("b",), force=False)
    require_free_names(tmp_path, ("a", "b"), force=True)
    with pytest.raises(UserError, match=r"holds a already\. Give another folder, or --force"):
        require_free_names(tmp_path, ("a", "b"), force=False)
    with pytest.raises(UserError, match="is a file"):
        require_free_names(tmp_path / "a", ("b",), force=True)
