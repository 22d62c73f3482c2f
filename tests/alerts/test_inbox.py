"""Which deliveries of a folder are new, in which order, and what is left alone."""

import json
from types import SimpleNamespace

import pytest

from hews_gpu.alerts.inbox import new_parcels
from hews_gpu.errors import UserError

PAGE = {"url": "", "time": "", "sha256": "", "rows": 1, "first": 1, "last": 1}


def store(*known):
    """A store of deliveries by name and digest."""
    return SimpleNamespace(deliveries=[SimpleNamespace(file=name, sha256=digest) for name, digest in known])


def names(incidents, *known):
    return [parcel.name for parcel, _ in new_parcels(incidents, store(*known))]


def digests(*paths):
    return {parcel.name: digest for parcel, digest in new_parcels(list(paths), store())}


@pytest.fixture
def inbox(tmp_path):
    """Three deliveries: a file, a folder of two files, a file."""
    folder = tmp_path / "inbox"
    (folder / "2024-01-02").mkdir(parents=True)
    (folder / "2024-01-01.csv").write_text("one")
    (folder / "2024-01-02" / "b.csv").write_text("two b")
    (folder / "2024-01-02" / "a.csv").write_text("two a")
    (folder / "2024-01-03.csv.gz").write_text("three")
    return folder


def test_deliveries_come_in_the_order_of_their_names(inbox):
    assert names([inbox]) == ["2024-01-01.csv", "2024-01-02", "2024-01-03.csv.gz"]
    (_, (parcel, _), _) = new_parcels([inbox], store())
    assert [path.name for path in parcel.files] == ["a.csv", "b.csv"]


@pytest.mark.parametrize("name", [".2024-01-04.csv", "2024-01-04.csv.part", "2024-01-04.csv.tmp", "README.md", "x~"])
def test_what_is_not_whole_or_no_table_is_left_alone(inbox, name):
    (inbox / name).write_text("half")
    (inbox / "2024-01-04").mkdir()
    (inbox / "latest").symlink_to("2024-01-02")
    assert len(names([inbox])) == 3


def test_what_was_overtaken_is_left_alone(inbox):
    known = digests(inbox)
    assert names([inbox], ("2024-01-02", known["2024-01-02"])) == ["2024-01-03.csv.gz"]
    assert names([inbox], ("2024-01-03.csv.gz", known["2024-01-03.csv.gz"])) == []
    (inbox / "2024-01-03.csv.gz").write_text("three, written anew")
    assert names([inbox], ("2024-01-03.csv.gz", known["2024-01-03.csv.gz"])) == ["2024-01-03.csv.gz"]


def test_the_newest_one_is_looked_at_though_it_was_known_before_the_last(inbox):
    known = digests(inbox)
    (inbox / "2024-01-04.csv").write_bytes((inbox / "2024-01-01.csv").read_bytes())
    held = [("2024-01-01.csv", known["2024-01-01.csv"]), ("2024-01-03.csv.gz", known["2024-01-03.csv.gz"])]
    assert names([inbox], *held) == ["2024-01-04.csv"]


def test_files_named_one_by_one_and_a_fetch_are_one_delivery(inbox, tmp_path):
    assert names([inbox / "2024-01-02" / "b.csv", inbox / "2024-01-01.csv"]) == ["b.csv, 2024-01-01.csv"]
    fetched = tmp_path / "data" / "2024-01-05"
    fetched.mkdir(parents=True)
    for name in ("incidents-00001.csv", "incidents-00002.csv", "neighborhoods-00001.geojson"):
        (fetched / name).write_text(name)
    table = {"whole": True, "pages": [{**PAGE, "file": f"incidents-0000{n}.csv"} for n in (1, 2)]}
    record = {"kind": "fetch", "query": {}, "tables": {"incidents": table}}
    (fetched / "fetch.json").write_text(json.dumps(record))
    assert names([fetched]) == [], "it did not end"
    (fetched / "fetch.json").write_text(json.dumps({**record, "finished": "2024-01-05"}))
    (tmp_path / "data" / "latest").symlink_to("2024-01-05")
    for given in (fetched, tmp_path / "data" / "latest", tmp_path / "data"):
        ((parcel, _),) = new_parcels([given], store())
        assert parcel.name == "2024-01-05" and [path.name[:15] for path in parcel.files] == [
            "incidents-00001",
            "incidents-00002",
        ]


def test_a_place_that_is_none_is_one_line(inbox):
    with pytest.raises(UserError, match="does not exist"):
        names([inbox / "none"])
    with pytest.raises(UserError, match="is a folder"):
        names([inbox, inbox / "2024-01-01.csv"])
