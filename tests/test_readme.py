"""Every snippet of the README runs, every path in its file tree exists, every figure stands in the file it names."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from hews_gpu.config import CityConfig, load_city

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SNIPPETS = [(kind, text) for kind, text in FENCE.findall(README)]
LINES = [(kind, line) for kind, text in SNIPPETS if kind == "bash" for line in text.splitlines()]
# What the user edits after `hews init baltimore`: files as the README's own TOML shows them, dates that fit the small
# city, and a model as small as it gets.
EDITS = {
    r"^files = .*": 'files = ["data/*.csv.gz"]',
    r"^file = .*": 'file = "data/neighborhoods.geojson"',
    r"^train = .*": 'train = ["2021-01-01", "2021-08-01"]',
    r"^validation = .*": 'validation = ["2021-08-01", "2021-10-01"]',
    r"^test = .*": 'test = ["2021-10-01", "2022-01-01"]',
    r"^height = 54.*": "height = 12",
    r"^width = 43.*": "width = 12",
    r"^locked = .*": 'locked = ["2022-01-01", "2023-01-01"]',
    r"^anchor = .*": 'anchor = "2021-01-01"',
    r"^timezone = .*": 'timezone = "America/Puerto_Rico"',
    r"^epochs = .*": "epochs = 1",
}


def test_every_snippet_is_of_a_kind_that_is_run_here() -> None:
    """All but `sh`: for a GPU and gigabytes from the network; tests/tooling/test_environments.py looks at those."""
    assert {kind for kind, _ in SNIPPETS} == {"bash", "python", "toml", "text", "sh"}


@pytest.fixture(scope="module")
def users_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A user's own folder: a small generated city, filed where the README's TOML looks for its data."""
    import geopandas

    from hews_gpu.synthetic import write_city

    folder = tmp_path_factory.mktemp("user")
    city = write_city(folder / "city", years=1).parent
    (folder / "data").mkdir()
    (city / "incidents.csv.gz").rename(folder / "data" / "incidents.csv.gz")
    areas = geopandas.read_file(city / "neighborhoods.geojson").rename(columns={"name": "CSA2010"})
    areas.to_file(folder / "data" / "neighborhoods.geojson")
    (folder / ".venv").symlink_to(sys.prefix)
    return folder


def _run(command: list[str], folder: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"


def _run_line(line: str, folder: Path) -> None:
    if line.startswith("make "):
        _run(["make", "--dry-run", *line.split()[1:]], ROOT)
        return
    _run(["bash", "-euc", line], folder)
    if line.startswith("hews init baltimore"):
        _edit(folder / "baltimore.toml")


def _edit(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    for pattern, line in EDITS.items():
        text, count = re.subn(pattern, line, text, flags=re.MULTILINE)
        assert count == 1, pattern
    path.write_text(text, encoding="utf-8")


def test_the_snippets_run_in_order(users_folder: Path) -> None:
    """Bash line by line (make as a dry run), Python as a script, in one folder, as a reader would."""
    for kind, text in SNIPPETS:
        if kind == "bash":
            for line in text.splitlines():
                _run_line(line, users_folder)
        elif kind == "python":
            _run([sys.executable, "-c", text], users_folder)
    assert (users_folder / "run" / "report.html").stat().st_size > 10_000


def test_the_five_lines_are_five_lines() -> None:
    (lines,) = [text.splitlines() for kind, text in SNIPPETS if kind == "bash" and "hews init" in text]
    assert [line.split()[1] for line in lines] == ["init", "prepare", "train", "evaluate", "report"]


def test_toml_snippets_are_parts_of_a_city_file(tmp_path: Path) -> None:
    """Laid over the shipped file they still load, with the values that they show."""
    from hews_gpu.config import city_template

    for text in (text for kind, text in SNIPPETS if kind == "toml"):
        shown = tomllib.loads(text)
        content = tomllib.loads(city_template("baltimore"))
        for section, keys in shown.items():
            content[section] = {**content[section], **keys}
        path = tmp_path / "city.toml"
        path.write_text(_as_toml(content), encoding="utf-8")
        _assert_shows(load_city(path), shown)


def _as_toml(content: dict[str, Any]) -> str:
    """TOML in which each section is one line: an inline table of strings, numbers and lists."""

    def value(item: Any) -> str:
        if isinstance(item, dict):
            return "{" + ", ".join(f"{json.dumps(key)} = {value(inner)}" for key, inner in item.items()) + "}"
        return json.dumps(item)

    return "\n".join(f"{key} = {value(item)}" for key, item in content.items())


def _assert_shows(city: CityConfig, shown: dict[str, Any]) -> None:
    for section, keys in shown.items():
        for key, expected in keys.items():
            found = getattr(getattr(city, section), key)
            assert (list(found) if isinstance(found, tuple) else found) == expected


def test_every_path_of_the_file_tree_exists() -> None:
    (tree,) = [text for kind, text in SNIPPETS if kind == "text"]
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
