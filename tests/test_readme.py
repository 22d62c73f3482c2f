"""The README: short, its snippets run, its file tree exists, every figure stands in the file it names."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import pytest

from tests.docs_ext import results
from tests.pages import PAGES, ROOT, SNIPPETS, lines_of, run

README = PAGES["README.md"]
LINES_MOST = 150


def test_it_is_short() -> None:
    assert README.count("\n") <= LINES_MOST


def test_its_lines_are_those_of_the_first_page() -> None:
    """Which tests/test_docs.py runs."""
    assert lines_of("bash", "README.md") == lines_of("bash", "docs/getting_started.md")


def test_its_python_runs(tmp_path: Path) -> None:
    (text,) = [text for kind, text in SNIPPETS["README.md"] if kind == "python"]
    run([sys.executable, "-c", text], tmp_path)
    assert (tmp_path / "town-run" / "metrics.json").exists()


def test_the_five_lines_are_five_lines() -> None:
    lines = [line.split()[1] for line in lines_of("bash", "README.md") if line.startswith("hews ")]
    assert lines == ["init", "prepare", "train", "evaluate", "report"]


def test_every_path_of_the_file_tree_exists() -> None:
    (tree,) = [text for kind, text in SNIPPETS["README.md"] if kind == "text"]
    for line in tree.splitlines():
        names = [line.split()[0]] if line.split()[0].endswith("/") else line.split()
        assert all((ROOT / name).exists() for name in names), line


def test_every_link_leads_to_a_file() -> None:
    links = re.findall(r"\]\(([^)#]+)\)", README)
    assert len(links) > 10
    assert not [link for link in links if not (ROOT / link).is_file()]


def _figures() -> list[list[str]]:
    section = README.split("## Ten figures", 1)[1].split("\n## ", 1)[0]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in section.splitlines() if "|" in line]
    return rows[2:]


def _figure_agrees(figure: str, source: str, root: Path) -> bool:
    """Whether `figure` is the value at `source`, ``FILE.json key.key``, and its interval, rounded as they are shown."""
    name, keys = source.strip("`").split(maxsplit=1)
    value, interval = results.lookup(json.loads((root / name).read_text(encoding="utf-8")), keys)
    shown = re.findall(r"-?[\d,]+(?:\.\d+)?", figure)
    expected = [value, *(interval or [])]
    return len(shown) == len(expected) and all(
        float(text.replace(",", "")) == pytest.approx(round(float(true), len(text.partition(".")[2])))
        for text, true in zip(shown, expected, strict=True)
    )


def test_every_figure_stands_in_the_file_it_names() -> None:
    assert len(_figures()) == 11
    assert not [what for what, figure, source in _figures() if not _figure_agrees(figure, source, ROOT)]


def test_a_figure_that_drifts_from_its_file_is_noticed(tmp_path: Path) -> None:
    content = {"maps": {"per_s": [12345.678]}, "2.7M": {"ours, one": 3}, "a": {"value": 0.51, "interval": [0.4, 0.66]}}
    (tmp_path / "r.json").write_text(json.dumps(content))
    assert _figure_agrees("3", "`r.json 2.7M.ours, one`", tmp_path)
    assert not _figure_agrees("4", "`r.json 2.7M.ours, one`", tmp_path)
    assert _figure_agrees("12,346", "`r.json maps.per_s.0`", tmp_path)
    assert _figure_agrees("12,345.7", "`r.json maps.per_s.0`", tmp_path)
    assert not _figure_agrees("12,345", "`r.json maps.per_s.0`", tmp_path)
    assert _figure_agrees("0.51 (0.40 to 0.66)", "`r.json a`", tmp_path)
    assert not _figure_agrees("0.51 (0.40 to 0.67)", "`r.json a`", tmp_path)
    assert not _figure_agrees("0.51", "`r.json a`", tmp_path)
