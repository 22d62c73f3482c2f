"""The README: its snippets run, every path in its file tree exists, every figure stands in the file it names."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.pages import PAGES, ROOT, SNIPPETS, make_users_folder, run_snippets

README = PAGES["README.md"]


def test_the_snippets_run_in_order(tmp_path: Path) -> None:
    folder = make_users_folder(tmp_path)
    run_snippets("README.md", folder)
    assert (folder / "run" / "report.html").stat().st_size > 10_000


def test_the_five_lines_are_five_lines() -> None:
    (lines,) = [text.splitlines() for kind, text in SNIPPETS["README.md"] if kind == "bash" and "hews init" in text]
    assert [line.split()[1] for line in lines] == ["init", "prepare", "train", "evaluate", "report"]


def test_every_path_of_the_file_tree_exists() -> None:
    (tree,) = [text for kind, text in SNIPPETS["README.md"] if kind == "text"]
    folder = ROOT
    for line in tree.splitlines():
        if line.startswith("  "):
            assert (folder / line.split()[0]).exists(), line
        elif line.split()[0].endswith("/"):
            folder = ROOT / line.split()[0]
            assert folder.is_dir(), line
        else:
            assert all((ROOT / name).exists() for name in line.split()), line


def test_every_command_is_in_the_table() -> None:
    from typer.main import get_command

    from hews_gpu.cli.commands import app

    shown = re.findall(r"^\| `hews (\w+)", README, re.MULTILINE)
    assert sorted(shown) == sorted(get_command(app).commands)


def _results() -> list[tuple[str, str, str]]:
    section = README.split("## Results", 1)[1].split("\n## ", 1)[0]
    rows = [tuple(cell.strip() for cell in line.strip("|").split("|")) for line in section.splitlines() if "|" in line]
    return [row for row in rows[2:] if len(row) == 3]


def _figure_agrees(figure: str, source: str, root: Path) -> bool:
    """Whether the first number of `figure` is the value at `source`, ``FILE.json key.key``, rounded as it is shown."""
    name, keys = source.strip("`").split(maxsplit=1)
    value = _at(json.loads((root / name).read_text(encoding="utf-8")), keys.split("."))
    number = re.search(r"-?[\d,]+(\.\d+)?", figure)
    assert number, figure
    decimals = len(number.group(1) or ".") - 1
    return float(number.group().replace(",", "")) == pytest.approx(round(float(value), decimals))


def _at(value: Any, keys: list[str]) -> Any:
    """What lies at keys that were joined by dots; a key may hold dots itself."""
    if not keys:
        return value
    if isinstance(value, list):
        return _at(value[int(keys[0])], keys[1:])
    count = next(n for n in range(1, len(keys) + 1) if ".".join(keys[:n]) in value)
    return _at(value[".".join(keys[:count])], keys[count:])


def test_every_figure_of_the_results_stands_in_the_file_it_names() -> None:
    assert len(_results()) > 10
    assert not [what for what, figure, source in _results() if not _figure_agrees(figure, source, ROOT)]


def test_a_figure_that_drifts_from_its_file_is_found(tmp_path: Path) -> None:
    (tmp_path / "r.json").write_text(json.dumps({"maps": {"per_s": [12345.678]}, "2.7M": {"ours, one": 3}}))
    assert _figure_agrees("3 s", "`r.json 2.7M.ours, one`", tmp_path)
    assert not _figure_agrees("4 s", "`r.json 2.7M.ours, one`", tmp_path)
    assert _figure_agrees("12,346 maps/s", "`r.json maps.per_s.0`", tmp_path)
    assert _figure_agrees("12,345.7 maps/s", "`r.json maps.per_s.0`", tmp_path)
    assert not _figure_agrees("12,345 maps/s", "`r.json maps.per_s.0`", tmp_path)
