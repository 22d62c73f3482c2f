"""Which dated folder a fetch writes to, and that two never write to one."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from hews_gpu.errors import UserError
from hews_gpu.fetch.pages import TablePage
from hews_gpu.fetch.snapshot import Snapshot, locked_folder, open_snapshot

DAY, NEXT_DAY = date(2026, 11, 23), date(2026, 11, 24)
QUERY = {"incidents": "https://feed.invalid/0", "where": ""}


def open_at(root: Path, today: date = DAY, query: dict[str, str] = QUERY) -> Snapshot:
    return open_snapshot(root, "Toy", query, today)


def one_page(root: Path, today: date = DAY, query: dict[str, str] = QUERY) -> Snapshot:
    snapshot = open_at(root, today, query)
    snapshot.add("incidents", "incidents-00001.csv", TablePage(url="u", body=b"a\n1\n", keys=[1]))
    return snapshot


def test_the_first_is_named_by_the_day(tmp_path: Path) -> None:
    assert open_at(tmp_path).folder == tmp_path / "2026-11-23"


def test_an_unfinished_one_is_gone_on_with_on_another_day(tmp_path: Path) -> None:
    one_page(tmp_path)
    again = open_at(tmp_path, NEXT_DAY)
    assert again.folder.name == "2026-11-23"
    assert again.drop_damaged_pages("incidents") == 0
    assert len(again.table("incidents")["pages"]) == 1


def test_a_whole_one_is_left_alone_on_another_day(tmp_path: Path) -> None:
    one_page(tmp_path).finish()
    assert open_at(tmp_path).folder.name == "2026-11-23"
    assert open_at(tmp_path, NEXT_DAY).folder.name == "2026-11-24"


def test_an_unfinished_one_behind_a_whole_one_is_not_gone_on_with(tmp_path: Path) -> None:
    one_page(tmp_path)
    (tmp_path / "2026-11-23").rename(tmp_path / "2026-11-20")
    whole = open_snapshot(tmp_path, "Toy", {**QUERY, "where": "x"}, DAY)
    whole.record["query"] = QUERY
    whole.add("incidents", "incidents-00001.csv", TablePage(url="u", body=b"a\n1\n", keys=[1]))
    whole.finish()
    assert open_at(tmp_path, NEXT_DAY).folder.name == "2026-11-24"


def test_another_query_never_shares_a_folder(tmp_path: Path) -> None:
    one_page(tmp_path)
    other = {**QUERY, "where": "year = 2014"}
    assert open_at(tmp_path, query=other).folder.name == "2026-11-23-2"
    one_page(tmp_path, query=other)
    assert open_at(tmp_path).folder.name == "2026-11-23"
    assert open_at(tmp_path, query=other).folder.name == "2026-11-23-2"


def test_the_number_of_the_day_is_a_number(tmp_path: Path) -> None:
    for where in range(12):
        one_page(tmp_path, query={**QUERY, "where": str(where)})
    assert open_at(tmp_path, query={**QUERY, "where": "12"}).folder.name == "2026-11-23-13"


@pytest.mark.parametrize("text", ["", "[]", "{", '{"kind": "prepared", "complete": false, "tables": {}}'])
def test_a_folder_with_no_record_of_ours_is_not_touched(text: str, tmp_path: Path) -> None:
    (tmp_path / "2026-11-23").mkdir()
    (tmp_path / "2026-11-23" / "fetch.json").write_text(text)
    assert open_at(tmp_path).folder.name == "2026-11-23-2"


def test_a_damaged_page_drops_those_behind_it(tmp_path: Path) -> None:
    snapshot = one_page(tmp_path)
    for n in (2, 3):
        snapshot.add("incidents", f"incidents-{n:05d}.csv", TablePage(url="u", body=b"a\n%d\n" % n, keys=[n]))
    (snapshot.folder / "incidents-00002.csv").write_text("a\n9\n")
    again = open_at(tmp_path)
    assert again.drop_damaged_pages("incidents") == 2
    assert [page["last"] for page in again.table("incidents")["pages"]] == [1]


def test_two_fetches_never_write_to_one_folder(tmp_path: Path) -> None:
    with locked_folder(tmp_path / "toy"):
        with pytest.raises(UserError, match="another 'hews fetch' writes here"), locked_folder(tmp_path / "toy"):
            pass
    with locked_folder(tmp_path / "toy"):
        pass


def test_a_file_in_the_way_is_named(tmp_path: Path) -> None:
    (tmp_path / "toy").write_text("mine")
    with pytest.raises(UserError, match="is a file"), locked_folder(tmp_path / "toy"):
        pass


def test_the_tenth_of_a_day_is_newer_than_the_ninth(tmp_path: Path) -> None:
    one_page(tmp_path).folder.rename(tmp_path / "2026-11-23-9")
    whole = Snapshot(tmp_path / "2026-11-23-10", open_at(tmp_path / "none").record)
    whole.add("incidents", "incidents-00001.csv", TablePage(url="u", body=b"a\n1\n", keys=[1]))
    whole.finish()
    assert open_at(tmp_path, NEXT_DAY).folder.name == "2026-11-24"
