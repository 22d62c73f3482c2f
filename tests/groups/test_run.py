"""`hews groups` from a prepared folder to its files: the same from any order of rows, and mistakes in one line."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sklearn.metrics import adjusted_rand_score

from hews_gpu.cli.commands import app
from hews_gpu.cluster.dask_workers import Cluster
from hews_gpu.data.events import open_prepared
from hews_gpu.errors import UserError
from hews_gpu.groups import assign, evidence
from hews_gpu.groups.census import read_census
from hews_gpu.groups.run import _opened as opened
from hews_gpu.groups.run import groups
from hews_gpu.groups.victims import LEAST_GROUP
from hews_gpu.report.build import build_report
from hews_gpu.workers import in_this_process

CENSUS = "place,Population,Young,Income,Same,Blank\nEast,01000,200,30000.5,7,\nWEST ,2000,900,52000.25,7,\n"


@pytest.fixture
def quick(monkeypatch):
    """Where what comes out does not matter."""
    for name, value in {"NULLS": 4, "BOOTSTRAPS": 2, "SAMPLE": 400, "SILHOUETTE_ROWS": 100, "KS": (2, 3)}.items():
        monkeypatch.setattr(evidence, name, value)


@pytest.fixture
def census(tmp_path):
    file = tmp_path / "census.csv"
    file.write_text(CENSUS, encoding="utf-8")
    return file


def hews(capsys, *arguments):
    with pytest.raises(SystemExit) as ended:
        app(["groups", *map(str, arguments)], prog_name="hews")
    return SimpleNamespace(code=ended.value.code, **capsys.readouterr()._asdict())


def test_both_parts_write_groups_and_a_page(prepared, tmp_path, census, quick, capsys) -> None:
    for part, more in ((1, ()), (2, ("--census", census))):
        out = tmp_path / f"part-{part}"
        done = hews(capsys, prepared, "--part", part, "--out", out, "--device", "cpu", *more)
        assert done.code == 0, done.err
        result = json.loads((out / "groups.json").read_text())
        table = pq.read_table(out / "groups.parquet").to_pandas()
        assert len(table) == result["rows"] and table["row_id"].is_unique
        assert table["group"].value_counts().min() >= LEAST_GROUP
        assert [group["rows"] for group in result["groups"]] == table["group"].value_counts().sort_index().tolist()
        assert "</html>" in (out / "report.html").read_text()
        assert not (out / "work").exists()
        before = (out / "report.html").read_text()
        assert build_report(out, force=True).read_text() == before
    assert set(result["join"]) >= {"part_1", "part_2", "part_2_permuted", "part_2_swapped"}
    assert result["census"]["columns"] == ["Population", "Young per inhabitant", "Income"]
    assert result["census"]["left_out"] == {"Blank": "is blank everywhere", "Same": "is 7 everywhere"}
    assert "Same is 7 everywhere" in done.err and "Blank is blank everywhere" in done.err


def test_any_order_of_rows_and_any_cut_give_the_same_groups(toy, tmp_path, quick, monkeypatch) -> None:
    frame = toy.incidents()
    labels = []
    for i in range(3):
        own = frame.sample(frac=1, random_state=i) if i else frame
        toy.write(tmp_path / f"city-{i}", own.reset_index(drop=True))
        groups(tmp_path / f"city-{i}", tmp_path / f"out-{i}", device="cpu")
        found = pq.read_table(tmp_path / f"out-{i}" / "groups.parquet").to_pandas().set_index("row_id")
        labels.append(found.loc[np.arange(len(own)), "group"].to_numpy()[np.argsort(own.index)])
    assert adjusted_rand_score(labels[0], labels[1]) == adjusted_rand_score(labels[0], labels[2]) == 1
    assert (labels[0] == labels[1]).all() and (labels[0] == labels[2]).all()
    monkeypatch.setattr(assign.partitions, "__defaults__", (500,))
    groups(tmp_path / "city-0", tmp_path / "cut", device="cpu")
    cut = pq.read_table(tmp_path / "cut" / "groups.parquet").to_pandas().set_index("row_id")
    assert adjusted_rand_score(labels[0], cut.loc[np.arange(len(frame)), "group"]) > 0.9


def test_a_city_file_stands_for_the_folder_that_was_made_of_it(prepared, tmp_path, quick, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(prepared, "runs/town/prepared")
    shutil.copyfile(prepared / "city.toml", "town.toml")
    _, folder = groups(Path("town.toml"), device="cpu")
    assert folder == tmp_path / "runs/town/groups-1" and (folder / "groups.json").is_file()
    Path("town.toml").write_text(Path("town.toml").read_text() + "# edited\n")
    with pytest.raises(UserError, match="differs from the city file that"):
        groups(Path("town.toml"))


def test_the_polygons_of_a_prepared_folder_are_those_that_its_city_file_names(prepared, tmp_path) -> None:
    folder, town = shutil.copytree(prepared, tmp_path / "prepared"), tmp_path / "town"
    town.mkdir()
    places = [{"properties": {"name": name, "Rate": rate}} for name, rate in (("East", 2.5), ("West", 1.5))]
    (town / "none.geojson").write_text(json.dumps({"features": places}))
    (folder / "hews.json").write_text(json.dumps({"kind": "prepared", "city_file": "../town/city.toml"}))
    assert opened(folder, in_this_process).city == open_prepared(folder).city  # it is gone
    (town / "city.toml").touch()
    own = opened(folder, in_this_process)
    assert read_census(own, own.events.neighborhood.astype(np.int64), None, None).numbers.tolist() == [[1.5], [2.5]]


def test_dask_workers_give_what_threads_give(prepared, tmp_path, two_workers, quick, monkeypatch) -> None:
    monkeypatch.setattr(assign.partitions, "__defaults__", (500,))
    where = Cluster(kind="address", where=two_workers.scheduler_address)
    for name, workers in {"threads": in_this_process, "dask": where}.items():
        groups(prepared, tmp_path / name, device="cpu", workers=workers)
    threads, dask = (pq.read_table(tmp_path / name / "groups.parquet") for name in ("threads", "dask"))
    assert threads.equals(dask)


def test_small_groups_are_joined_to_the_nearest() -> None:
    labels = np.repeat([0, 1, 2], [100, LEAST_GROUP - 1, 300])
    joined, count = assign.merged(labels, np.array([[0.0], [1.0], [9.0]]))
    assert count == 1
    assert np.bincount(joined).tolist() == [300, 100 + LEAST_GROUP - 1]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"part": 3}, ("--part = 3", "must be 1 or 2")),
        ({"begin": "2031-01-01", "end": "2032-01-01"}, ("holds 0 rows", "The table covers")),
        ({"begin": "2024-02-01", "end": "2024-01-01"}, ("--from", "before the end")),
        ({"begin": "soon"}, ("--from = 'soon'",)),
        ({"embedding": "tsne"}, ("--embedding = 'tsne'", "umap")),
        ({"device": "cude"}, ("--device", "cuda")),
        ({"census": "census.csv"}, ("--census", "is for --part 2")),
        ({"part": 2}, ("--census", "none.geojson", "does not exist")),
    ],
)
def test_a_mistake_is_one_line(prepared, tmp_path, options, words) -> None:
    with pytest.raises(UserError) as error:
        groups(prepared, tmp_path / "out", **options)
    for word in words:
        assert word in str(error.value)
    assert "\n" not in str(error.value) and not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("place,Rate\nEast,1.5\n", ("misses 1 neighborhoods (West)", "rows", "at most 20%")),
        ("place\nEast\nWest\n", ("has no column of numbers beside the names",)),
        ("place,Rate\nNorth,1.5\nSouth,2.5\n", ("names none of the city's neighborhoods",)),
        ("place,Rate\nEast,1.5\nEast,1.5\nWest,2\n", ("has 2 rows of 'East'", "one row per place")),
        ("place,Victim Age\nEast,1.5\nWest,2\n", ("describes persons ('Victim Age')",)),
        ("place,Rate,Gone\nEast,5,\nWest,5,\n", ("no column of numbers that varies", "Gone: is blank", "Rate: is 5")),
        ("", ("cannot be read",)),
    ],
)
def test_a_census_of_no_use_is_refused(prepared, tmp_path, text, words) -> None:
    file = tmp_path / "census.csv"
    file.write_text(text)
    with pytest.raises(UserError) as error:
        groups(prepared, tmp_path / "out", part=2, census=file)
    for word in words:
        assert word in str(error.value)
    assert not (tmp_path / "out").exists()


def test_a_crosswalk_joins_places_of_another_kind(prepared, tmp_path, quick) -> None:
    """One place of the census table is called as a neighborhood of another place is."""
    (tmp_path / "csa.csv").write_text("csa,Rate\nEast,1.5\nFar,2.5\n")
    (tmp_path / "of.csv").write_text("area,id,csa\nEast,1,Far\nWest,2,East\n")
    own = open_prepared(prepared)
    census = read_census(own, own.events.neighborhood.astype(np.int64), tmp_path / "csa.csv", tmp_path / "of.csv")
    assert own.names == ["West", "East"] and census.numbers.tolist() == [[1.5], [2.5]] and not census.missed
    (tmp_path / "of.csv").write_text("area,id\nEast,1\nWest,2\n")
    with pytest.raises(UserError, match=r"--crosswalk .* has no column with names of the census table's places"):
        groups(prepared, tmp_path / "out", part=2, census=tmp_path / "csa.csv", crosswalk=tmp_path / "of.csv")


def test_a_few_rows_that_the_census_misses_are_left_out_and_counted(toy, tmp_path, quick, capsys) -> None:
    frame = toy.incidents()
    east = frame["longitude"] > -76.55
    frame = pd.concat([frame[~east], frame[east][:60]]).sort_values("time_s", kind="stable", ignore_index=True)
    toy.write(tmp_path / "city", frame)
    file = tmp_path / "census.csv"
    file.write_text("place,Population,Young\nEast,30,20\nWest,2000,900\n")
    with pytest.raises(UserError, match="knows no two neighborhoods"):
        groups(tmp_path / "city", tmp_path / "out", part=2, census=file)
    assert "misses 1 neighborhoods (East) with 60 of" in capsys.readouterr().err


def test_rows_of_one_neighborhood_are_refused(toy, tmp_path) -> None:
    frame = toy.incidents()
    toy.write(tmp_path / "city", frame[frame["longitude"] > -76.55].reset_index(drop=True))
    with pytest.raises(UserError, match="in 'East'; at least 2 neighborhoods"):
        groups(tmp_path / "city", tmp_path / "out")


def test_a_column_that_describes_a_person_is_refused(toy, tmp_path) -> None:
    folder = toy.write(tmp_path / "city", toy.incidents())
    charts = pq.read_table(folder / "charts_only.parquet")
    pq.write_table(charts.append_column("Victim Age", pa.array([30] * len(charts))), folder / "charts_only.parquet")
    with pytest.raises(UserError, match=r"describes a person \('Victim Age'\)"):
        groups(folder, tmp_path / "out")


def test_columns_that_are_blank_or_constant_are_named_and_left_out(toy, tmp_path, quick, capsys) -> None:
    folder = toy.write(tmp_path / "city", toy.incidents())
    charts = pq.read_table(folder / "charts_only.parquet")
    n = len(charts)
    blank, same = pa.array([""] * n), pa.array(["KNIFE"] * n)
    charts = charts.append_column("Inside/Outside", blank).append_column("Weapon", same)
    pq.write_table(charts, folder / "charts_only.parquet")
    result, _ = groups(folder, tmp_path / "out", device="cpu")
    assert (
        result["left_out"]["inside or outside"] == "all are blank" and result["left_out"]["weapon"] == "all are 'KNIFE'"
    )
    assert "weapon: all are 'KNIFE'" in capsys.readouterr().err


def test_the_locked_block_stays_shut(toy, tmp_path) -> None:
    folder = toy.write(tmp_path / "city", toy.incidents())
    text = (
        (folder / "city.toml")
        .read_text()
        .replace('test = ["2024-04-08", "2024-05-06"]', 'test = ["2024-04-08", "2024-04-22"]')
    )
    text = text.replace("[training]", 'locked = ["2024-04-22", "2024-05-06"]\n[training]')
    (folder / "city.toml").write_text(text)
    with pytest.raises(UserError, match="where the locked block begins"):
        groups(folder, tmp_path / "out", begin="2024-04-20", end="2024-05-01")
