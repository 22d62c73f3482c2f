"""`hews bench compare`: rows are found by what they say of themselves, a spread that overlaps is no difference."""

import json
import subprocess
import sys

import pytest

from hews_gpu.cli.bench_compare import compare_files, comparison_table
from hews_gpu.errors import UserError


def result(**changes):
    base = {
        "benchmark": "toy",
        "date": "2026-01-01",
        "command": "toy.py",
        "commit": "abc",
        "cpu": "A",
        "cores": 2,
        "load_at_start": 0.1,
        "numpy": "2.0",
        "rows": [
            {"work": "small", "threads": 1, "maps_per_s": 100.0, "maps": 7, "drawing": timing(1.0, 0.9, 1.1)},
            {"work": "small", "threads": 2, "maps_per_s": 180.0, "maps": 7, "drawing": timing(0.5, 0.4, 0.6)},
        ],
    }
    return {**base, **changes}


def timing(median, low, high):
    return {"median_s": median, "min_s": low, "max_s": high, "rounds": 7}


def compare(tmp_path, a, b):
    paths = []
    for name, content in (("a", a), ("b", b)):
        paths.append(tmp_path / f"{name}.json")
        paths[-1].write_text(content if isinstance(content, str) else json.dumps(content))
    return compare_files(paths)


def by_name(found):
    return {row["what"]: row for row in found["rows"]}


def test_rows_are_found_again_at_another_place(tmp_path):
    b = result()
    b["rows"] = [{**b["rows"][1], "maps_per_s": 360.0}, b["rows"][0]]
    found = by_name(compare(tmp_path, result(), b))
    assert found["rows [small, threads=2] maps_per_s"]["ratio"] == 2.0
    assert found["rows [small, threads=2] maps_per_s"]["better"] == "B"
    assert found["rows [small, threads=1] maps_per_s"]["better"] == "equal"


@pytest.mark.parametrize(
    ("drawing", "better"),
    [(timing(1.05, 1.0, 1.2), "within the spread"), (timing(2.0, 1.9, 2.1), "A"), (timing(0.5, 0.4, 0.6), "B")],
)
def test_times_are_better_when_smaller_and_only_beyond_their_spread(tmp_path, drawing, better):
    b = result()
    b["rows"][0]["drawing"] = drawing
    assert by_name(compare(tmp_path, result(), b))["rows [small, threads=1] drawing_s"]["better"] == better


def test_what_is_neither_speed_nor_cost_is_not_judged(tmp_path):
    found = compare(tmp_path, result(), result())
    assert by_name(found)["rows [small, threads=1] maps"]["better"] is None
    assert all("] maps" != row[0][-6:] for row in comparison_table(found))


def test_the_largest_difference_stands_first(tmp_path):
    b = result()
    b["rows"][0]["maps_per_s"], b["rows"][1]["maps_per_s"] = 25.0, 360.0
    table = comparison_table(compare(tmp_path, result(), b))
    assert [row[3] for row in table[1:3]] == ["0.250", "2.000"]


def test_what_else_differs_is_named(tmp_path):
    b = result(
        cpu="B", numpy="2.1", load_at_start=3.0, commit="abc-dirty", command="toy.py --quick", extra={"x_s": 1.0}
    )
    text = "\n".join(compare(tmp_path, result(), b)["differences"])
    for words in ("machine: cpu: A in A, B in B", "numpy: 2.0 in A, 2.1 in B", "load of 3.0", "not committed"):
        assert words in text
    assert "toy.py --quick in B" in text
    assert "1 figures are in B alone" in text
    assert compare(tmp_path, result(), result())["differences"] == []


@pytest.mark.parametrize(
    ("b", "words"),
    [
        (json.dumps({"benchmark": "other"}), "of the benchmark other"),
        ("{", "b.json: is not JSON"),
        ("[]", "b.json = .*must be an object"),
    ],
)
def test_what_cannot_be_compared(tmp_path, b, words):
    with pytest.raises(UserError, match=words):
        compare(tmp_path, result(), b)
    with pytest.raises(UserError, match="needs two result files"):
        compare_files([tmp_path / "a.json"])


def test_the_command_compares_committed_results():
    path = "benchmarks/results/raster-2026-11-23.json"
    done = subprocess.run(
        [sys.executable, "-m", "hews_gpu", "bench", "compare", path, path, "--json"], capture_output=True, check=True
    )
    rows = json.loads(done.stdout)["rows"]
    assert len({row["what"] for row in rows}) == len(rows) > 100
    assert {row["ratio"] for row in rows if row["a"]} == {1.0}
