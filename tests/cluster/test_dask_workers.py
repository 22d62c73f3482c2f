"""Clusters: which one is meant, what is said where there is none, and that what is lost on the way costs no result."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import urlopen

import numpy as np
import pyarrow.parquet as pq
import pytest

from hews_gpu.cluster import dask_workers as clusters
from hews_gpu.cluster.dask_workers import Cluster, parse_cluster
from hews_gpu.config import CityConfig, load_city
from hews_gpu.data.prepare.command import Cut, prepare
from hews_gpu.errors import UserError
from hews_gpu.workers import Threads, Unfinished, in_this_process
from tests.data.toy import HEADER, TOML, TWO_SQUARES, geojson, row

SMALL = Cut(block_rows=100, bucket_rows=60, chunk_bytes=3_000, partition_bytes=3_000)
COSTS = ("seconds", "peak_memory_bytes")


def make_city(folder: Path, rows: int = 1200) -> CityConfig:
    """A toy city of many small pieces and stretches of time: crowds, repeats, twins and dirt, in no order."""
    rng = np.random.default_rng(5)
    lines = [HEADER]
    for _ in range(rows):
        minute, spot = 30 * rng.integers(0, 48), rng.choice([-9, *range(8)])
        category = rng.choice(["SHOOTING", "AGG. ASSAULT", "LARCENY", ""], p=[0.15, 0.4, 0.4, 0.05])
        at = f"{-76.616 + spot * 0.0009:.4f}" if rng.random() > 0.05 else ""
        clock = f"{minute // 60:02d}:{minute % 60:02d}:00" if rng.random() > 0.05 else "?"
        lines.append(row(date=f"01/{rng.integers(1, 29):02d}/2014", time=clock, category=category, longitude=at))
    folder.mkdir(exist_ok=True)
    (folder / "table.csv").write_text("\n".join(lines))
    (folder / "areas.geojson").write_text(geojson(TWO_SQUARES))
    text = TOML.format(files='["table.csv"]', incidents="")
    for theirs, ours in (("02-01", "01-12"), ("03-01", "01-18"), ("04-01", "01-28")):  # splits within the table
        text = text.replace(f"2014-{theirs}", f"2014-{ours}")
    (folder / "toy.toml").write_text(text)
    return load_city(folder / "toy.toml")


def assert_same(one: Path, other: Path, quality: dict[str, Any], other_quality: dict[str, Any]) -> None:
    for name in ("incidents", "quarantine", "charts_only"):
        assert pq.read_table(one / f"{name}.parquet") == pq.read_table(other / f"{name}.parquet"), name
    without = [{key: value for key, value in q.items() if key not in COSTS} for q in (quality, other_quality)]
    assert without[0] == without[1]


@pytest.mark.parametrize(
    ("text", "kind", "where", "workers"),
    [
        ("local", "local", "", None),
        ("local:3", "local", "", 3),
        ("cuda", "cuda", "", None),
        ("tcp://10.0.0.1:8786", "address", "tcp://10.0.0.1:8786", None),
        ("node7:8786", "address", "node7:8786", None),
    ],
)
def test_what_cluster_says(text: str, kind: str, where: str, workers: int | None) -> None:
    found = parse_cluster(text)
    assert (found.kind, found.where, found.workers) == (kind, where, workers)


@pytest.mark.parametrize("text", ["", "locla", "local:0", "local:x", "scheduler-file", "scheduler-file nowhere.json"])
def test_what_cluster_cannot_say_is_one_line(text: str) -> None:
    with pytest.raises(UserError, match=r"^--cluster") as caught:
        parse_cluster(text)
    assert "\n" not in str(caught.value)


def test_a_scheduler_file_is_two_words_on_the_command_line(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "hews_gpu", "prepare", "x.toml", "--cluster", "scheduler-file", "none.json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 2 and "x.toml" in done.stderr.splitlines()[-1], done.stderr  # the city comes first
    (tmp_path / "x.toml").write_text("")
    city = make_city(tmp_path / "city")
    done = subprocess.run(
        [*command[:4], str(city.path), *command[5:]], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("hews: --cluster = 'scheduler-file none.json': there is no such")


def test_below_a_million_rows_no_cluster_starts_and_one_line_says_why(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with Cluster(kind="local")(999_999, tmp_path) as team:
        assert isinstance(team, Threads)
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("999,999 rows: no cluster is started below 1,000,000")


def test_workers_hold_on_to_memory_unless_the_user_has_said_how(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in clusters.KEEP_MEMORY:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MALLOC_MMAP_THRESHOLD_", "4096")
    monkeypatch.delenv("NUMBA_NUM_THREADS", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    assert [clusters._worker_environment(count)["NUMBA_NUM_THREADS"] for count in (1, 3, 8, 20)] == [8, 2, 1, 1]
    monkeypatch.setenv("NUMBA_NUM_THREADS", "5")
    found = clusters._worker_environment(2)
    assert "NUMBA_NUM_THREADS" not in found
    assert found["MALLOC_TRIM_THRESHOLD_"] == 256 << 20 and "OMP_NUM_THREADS" in found
    assert "MALLOC_MMAP_THRESHOLD_" not in found  # so that the workers inherit the user's


@pytest.mark.parametrize("left", [None, "65536"], ids=["clean", "after a cluster of Dask's own"])
def test_every_local_cluster_gives_its_workers_that_environment(
    monkeypatch: pytest.MonkeyPatch, left: str | None
) -> None:
    """The second of a process, too: Dask leaves the environment of the workers in the process that starts them."""
    for name in (*clusters.KEEP_MEMORY, "NUMBA_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    if left:
        monkeypatch.setenv("MALLOC_TRIM_THRESHOLD_", left)
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    before = dict(os.environ)
    for count in (1, 2):
        made = clusters._local(count)
        try:
            with made.get_client() as client:
                found, *_ = client.run(lambda: dict(os.environ)).values()
        finally:
            made.close(timeout=20)
        wanted = {**clusters.KEEP_MEMORY, "NUMBA_NUM_THREADS": 8 // count}
        assert {name: found[name] for name in wanted} == {name: str(size) for name, size in wanted.items()}
        assert dict(os.environ) == before


STRANGER = """
import asyncio, sys, warnings
warnings.simplefilter("ignore")
from distributed import Client
from distributed.security import Security
address, keys = sys.argv[1], sys.argv[2]
port = address.rpartition(":")[2]
for name, scheme, security in (("plain", "tcp", None), ("own key", "tls", Security.temporary())):
    try:
        with Client(f"{scheme}://127.0.0.1:{port}", security=security, timeout=3) as client:
            print(name, "ran", client.submit(sum, [1, 2]).result(timeout=3))
    except (OSError, TimeoutError, TypeError) as error:
        print(name, "refused")
"""


def test_another_user_can_neither_send_work_to_a_cluster_of_ours_nor_read_its_pages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whoever reaches the port of a scheduler could run anything as the user who started it."""
    monkeypatch.delenv(clusters.DASHBOARD, raising=False)
    with Cluster(kind="local", workers=1, least_rows=0)(10, tmp_path) as team:
        address = team.client.scheduler.address
        assert address.startswith("tls://127.0.0.1:")
        assert team.client.submit(sum, [1, 2]).result() == 3
        command = [sys.executable, "-c", STRANGER, address, str(tmp_path)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
        assert done.stdout.splitlines() == ["plain refused", "own key refused"], done
        page = team.client.scheduler_info(n_workers=-1)["services"]["dashboard"]
        for path in ("status", "health", "info/main/workers.html", "api/v1/get_workers"):
            with pytest.raises(HTTPError, match="404"):
                urlopen(f"http://127.0.0.1:{page}/{path}", timeout=10)
    assert "http://" not in capsys.readouterr().err


def test_the_pages_of_a_cluster_are_served_where_they_were_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(clusters.DASHBOARD, "127.0.0.1:0")
    with Cluster(kind="local", workers=1, least_rows=0)(10, tmp_path) as team:
        page = team.client.scheduler_info(n_workers=-1)["services"]["dashboard"]
        with urlopen(f"http://127.0.0.1:{page}/health", timeout=10) as answer:
            assert answer.read() == b"ok"
    assert "http://127.0.0.1:" in capsys.readouterr().err


@pytest.mark.parametrize("content", ["", "{", "{}", "[]", '{"address": 7}', '{"address": "nowhere"}'])
def test_a_damaged_scheduler_file_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str) -> None:
    monkeypatch.setattr(clusters, "CONNECT_S", 1)
    file = tmp_path / "scheduler.json"
    file.write_text(content)
    with pytest.raises(UserError, match=r"is not JSON|address: is missing|must be|no scheduler answers there"):
        with parse_cluster(f"scheduler-file {file}")(10, tmp_path):
            pass


def test_the_keys_of_a_job_are_for_its_owner_only(tmp_path: Path) -> None:
    clusters.make_keys(tmp_path / "keys")
    modes = {path.name: path.stat().st_mode & 0o777 for path in (tmp_path / "keys").iterdir()}
    assert modes == {"cert.pem": 0o600, "key.pem": 0o600} and (tmp_path / "keys").stat().st_mode & 0o777 == 0o700


def test_nobody_at_an_address_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clusters, "CONNECT_S", 1)
    with pytest.raises(UserError, match=r"--cluster = 'tcp://127\.0\.0\.1:9': no scheduler answers there") as caught:
        prepare(make_city(tmp_path / "city"), tmp_path / "out", workers=parse_cluster("tcp://127.0.0.1:9"))
    assert "\n" not in str(caught.value) and not (tmp_path / "out").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["city"]


def test_cuda_where_there_is_no_gpu_is_one_line(tmp_path: Path) -> None:
    from hews_gpu.environment.device import probe

    if probe("gpu").works:
        pytest.skip("there is a GPU here")
    with pytest.raises(UserError, match=r"--cluster = 'cuda': does not work here: .*hews doctor"):
        prepare(make_city(tmp_path / "city", 50), tmp_path / "out", workers=Cluster(kind="cuda", least_rows=0))


def test_workers_that_do_not_see_the_folder_are_refused(tmp_path: Path, two_workers: Any) -> None:
    with pytest.raises(UserError, match=r"the worker tcp://\S+ does not see .*file system that all of them share"):
        with Cluster(kind="address", where=two_workers.scheduler_address)(10, tmp_path / "nowhere"):
            pass


def test_the_backend_is_dasks_own_setting(tmp_path: Path, two_workers: Any, capsys: pytest.CaptureFixture[str]) -> None:
    import dask.config

    where = Cluster(kind="address", where=two_workers.scheduler_address)
    with where(10, tmp_path) as team:
        assert team.backend == "pandas"
    assert "http://127.0.0.1:" in capsys.readouterr().err  # the dashboard
    with dask.config.set({"dataframe.backend": "cudf"}), where(10, tmp_path) as team:
        assert team.backend == "cudf"
    with dask.config.set({"dataframe.backend": "polars"}), pytest.raises(UserError, match="one of pandas, cudf"):
        with where(10, tmp_path):
            pass


def test_two_workers_give_what_one_process_gives(tmp_path: Path, two_workers: Any) -> None:
    city = make_city(tmp_path / "city")
    alone = prepare(city, tmp_path / "alone")
    where = Cluster(kind="address", where=two_workers.scheduler_address)
    together = prepare(city, tmp_path / "together", cut=SMALL, workers=where)
    assert_same(tmp_path / "alone", tmp_path / "together", alone, together)
    assert alone["twins"] > 5 and alone["duplicates"] > 5 and len(alone["quarantined_by_reason"]) == 4
    assert {path.name for path in tmp_path.iterdir()} == {"city", "alone", "together"}


def test_a_mistake_in_the_table_is_told_as_in_one_process(tmp_path: Path, two_workers: Any) -> None:
    city = make_city(tmp_path / "city")
    lines = [row(date=f"{day}/01/2014", category="SHOOTING") for day in range(1, 29)]
    (tmp_path / "city" / "table.csv").write_text("\n".join([HEADER, *lines]))
    with pytest.raises(UserError, match=r"table\.csv: its dates look day-first"):
        prepare(city, tmp_path / "out", workers=Cluster(kind="address", where=two_workers.scheduler_address))
    assert [path.name for path in tmp_path.iterdir()] == ["city"]


@contextmanager
def _killing(cluster: Any, work: Path, choose: Callable[[dict[str, Any]], Any]) -> Iterator[list[int]]:
    """Kill one worker process of a cluster once some pieces are done; gives the killed one's id."""
    killed: list[int] = []

    def kill() -> None:
        until = time.monotonic() + 60
        while time.monotonic() < until and len(list(work.glob("cleaned-*"))) < 3:
            time.sleep(0.005)
        state = dict(cluster.scheduler.workers)
        pid = next(
            nanny.process.pid for nanny in cluster.workers.values() if nanny.worker_address == choose(state).address
        )
        os.kill(pid, signal.SIGKILL)
        killed.append(pid)

    thread = threading.Thread(target=kill)
    thread.start()
    try:
        yield killed
    finally:
        thread.join()


@pytest.mark.parametrize("which", [max, min], ids=["the one that holds most", "the one that holds least"])
def test_a_worker_that_is_killed_costs_nothing_but_time(tmp_path: Path, two_workers: Any, which: Any) -> None:
    city = make_city(tmp_path / "city", 2000)
    alone = prepare(city, tmp_path / "alone")
    two_workers.wait_for_workers(2, timeout=120)  # a nanny was seen not to start its worker again
    where = Cluster(kind="address", where=two_workers.scheduler_address)

    def choose(state: dict[str, Any]) -> Any:
        return which(state.values(), key=lambda worker: len(worker.processing) + len(worker.has_what))

    with _killing(two_workers, tmp_path / ".out.work", choose) as killed:
        quality = prepare(city, tmp_path / "out", cut=SMALL, workers=where)
    assert len(killed) == 1 and not Path(f"/proc/{killed[0]}").exists()
    assert_same(tmp_path / "alone", tmp_path / "out", alone, quality)


def _dies(folder: Path, number: int) -> int:
    del folder
    if number == 1:
        os._exit(9)
    return number


def test_a_partition_that_kills_every_worker_ends_with_one_line(tmp_path: Path, two_workers: Any) -> None:
    two_workers.scheduler.allowed_failures, before = 0, two_workers.scheduler.allowed_failures
    try:
        with Cluster(kind="address", where=two_workers.scheduler_address)(10, tmp_path) as team:
            with pytest.raises(
                Unfinished, match=r"^--cluster: _dies-\w+-1: 1 workers died at it.*more memory.*--resume"
            ):
                list(team.run(_dies, tmp_path, [0, 1]))
    finally:
        two_workers.scheduler.allowed_failures = before


@contextmanager
def _scheduler(folder: Path) -> Iterator[tuple[Path, subprocess.Popen[bytes]]]:
    """A scheduler and a worker as processes of their own, and the file by which they are found."""
    file = folder / "scheduler.json"
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": folder}
    dask = [sys.executable, "-m", "dask"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))}
    scheduler = subprocess.Popen(
        [*dask, "scheduler", "--scheduler-file", str(file), "--port", "0", "--dashboard-address", ":0"], **quiet
    )
    worker = subprocess.Popen(
        [*dask, "worker", "--scheduler-file", str(file), "--nthreads", "1", "--no-nanny", "--no-dashboard"],
        env=environment,
        **quiet,
    )
    try:
        until = time.monotonic() + 60
        while not (file.is_file() and file.stat().st_size) and time.monotonic() < until:
            time.sleep(0.05)
        yield file, scheduler
    finally:
        for process in (worker, scheduler):
            process.kill()
            process.wait()


ROOT = Path(__file__).resolve().parents[2]
PREPARE = """
import sys
from pathlib import Path
from hews_gpu.__main__ import main
from hews_gpu.data.prepare import command as module
module.Cut.__init__.__kwdefaults__.update(block_rows=100, bucket_rows=60, chunk_bytes=3_000, partition_bytes=3_000)
sys.argv = ["hews", *sys.argv[1:]]
main()
"""


def test_a_lost_scheduler_ends_with_one_line_and_resume_does_only_what_is_missing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    city = make_city(tmp_path / "city", 6000)
    alone = prepare(city, tmp_path / "alone")
    out, work = tmp_path / "out", tmp_path / ".out.work"
    with _scheduler(tmp_path) as (file, scheduler):
        command = [sys.executable, "-c", PREPARE, "prepare", str(city.path), "--out", str(out)]
        command += ["--cluster", "scheduler-file", str(file)]
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=ROOT) as process:
            until = time.monotonic() + 120
            while len(list(work.glob("cleaned-*"))) < 5 and time.monotonic() < until and process.poll() is None:
                time.sleep(0.005)
            scheduler.kill()
            _, errors = process.communicate(timeout=120)
    (line,) = [line for line in errors.splitlines() if line.startswith("hews: ")]
    assert process.returncode == 2 and "Traceback" not in errors, errors
    assert "--cluster: the scheduler was lost" in line and "--resume" in line
    assert not out.exists() and not list(tmp_path.glob(".out.partial*"))
    done = {path.name: path.stat().st_mtime_ns for path in work.glob("cleaned-*")}
    made = partitions_of(work)
    assert 5 <= len(done) < made
    capsys.readouterr()
    kept: dict[str, int] = {}

    @contextmanager
    def watched(rows: int, folder: Path) -> Iterator[Any]:
        with in_this_process(rows, folder) as team:
            yield team
        kept.update({path.name: path.stat().st_mtime_ns for path in folder.glob("cleaned-*")})

    quality = prepare(city, out, cut=SMALL, resume=True, workers=watched)
    assert f"cleaning: {len(done)} of {made} partitions are there already" in capsys.readouterr().err
    assert len(kept) == made and all(kept[name] == modified for name, modified in done.items())
    assert_same(tmp_path / "alone", out, alone, quality)
    assert not work.exists()


def partitions_of(work: Path) -> int:
    from hews_gpu.work_folder import read_object

    return len(read_object(work / "plan").partitions)
