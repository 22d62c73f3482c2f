"""The documentation: its snippets run, what it names exists, and its figures come from committed results."""

from __future__ import annotations

import json
import re
import shlex
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.docs_ext import results
from tests.pages import KINDS, PAGES, ROOT, SNIPPETS, lines_of, make_users_folder, run, run_snippets

FENCED = re.compile(r"^(```+|:::+).*?^\1$", re.MULTILINE | re.DOTALL)
HEWS_LINES = sorted(
    {line.split("#")[0].strip() for kind in ("bash", "sh") for line in lines_of(kind) if line.startswith("hews ")}
)
MAKE_LINES = sorted({line.split("#")[0].strip() for line in lines_of("sh") if line.startswith("make ")})


# Snippets.


def test_every_snippet_is_of_a_kind_that_is_run_or_read_here() -> None:
    kinds = {kind for page in SNIPPETS.values() for kind, _ in page}
    assert kinds == KINDS


@pytest.fixture(scope="module")
def users_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A user's folder in which the lines of the first page have run."""
    folder = make_users_folder(tmp_path_factory.mktemp("user"))
    run_snippets("docs/getting_started.md", folder)
    assert (folder / "run" / "report.html").stat().st_size > 10_000
    return folder


@pytest.mark.parametrize(
    "page", [p for p in PAGES if p.startswith("docs/") and {"bash", "python"} & {kind for kind, _ in SNIPPETS[p]}]
)
def test_the_snippets_of_a_page_run_in_order(users_folder: Path, page: str) -> None:
    if page != "docs/getting_started.md":
        run_snippets(page, users_folder)


def test_toml_snippets_are_valid_files(tmp_path: Path) -> None:
    """A city's, laid over the shipped file, load with the values that they show; a sweep is checked as one."""
    from hews_gpu.cluster.sweep import load_sweep
    from hews_gpu.config import city_template, load_city

    texts = [text for page in SNIPPETS.values() for kind, text in page if kind == "toml"]
    assert len(texts) > 1
    for text in texts:
        shown = tomllib.loads(text)
        if "grid" in shown:
            (tmp_path / "sweep.toml").write_text(text, encoding="utf-8")
            assert len(load_sweep(tmp_path / "sweep.toml").jobs) > 3
            continue
        content = tomllib.loads(city_template("baltimore"))
        for section, keys in shown.items():
            content[section] = keys if isinstance(keys, list) else {**content[section], **keys}
        path = tmp_path / "city.toml"
        path.write_text(_as_toml(content), encoding="utf-8")
        city = load_city(path)
        pairs = [(getattr(city, section), keys) for section, keys in shown.items() if isinstance(keys, dict)]
        pairs += [
            pair
            for name, each in shown.items()
            if isinstance(each, list)
            for pair in zip(getattr(city, name), each, strict=True)
        ]
        for config, keys in pairs:
            for key, expected in keys.items():
                value = getattr(config, key)
                assert (list(value) if isinstance(value, tuple) else value) == expected


def _as_toml(content: dict[str, Any]) -> str:
    """TOML in which each section is one line: an inline table of strings, numbers and lists."""

    def value(item: Any) -> str:
        if isinstance(item, dict):
            return "{" + ", ".join(f"{json.dumps(key)} = {value(inner)}" for key, inner in item.items()) + "}"
        return "[" + ", ".join(map(value, item)) + "]" if isinstance(item, list) else json.dumps(item)

    return "\n".join(f"{key} = {value(item)}" for key, item in content.items())


# What the pages name.


def _command(words: list[str]) -> Any:
    from typer.main import get_command

    from hews_gpu.cli.commands import app

    commands = get_command(app).commands
    command = commands[" ".join(words[:2]) if " ".join(words[:2]) in commands else words[0]]
    return command.commands[words[1]] if hasattr(command, "commands") and words[1:] else command


def _problem(line: str) -> str | None:
    """What is wrong with a line that starts `hews`: an unknown command or option."""
    words = line.replace('"', "").replace("|", " ").split(" -- ")[0].split()[1:]
    try:
        command = _command(words)
    except KeyError as name:
        return f"no command {name}"
    known = {option for parameter in command.params for option in parameter.opts} | {"--help"}
    unknown = [word.split("=")[0] for word in words if word.startswith("--") and word.split("=")[0] not in known]
    return f"no option {unknown}" if unknown else None


def test_hews_knows_every_command_that_the_pages_name() -> None:
    """In fenced lines, and in backticks within sentences."""
    inline = {
        (page, " ".join(line.split()))
        for page, text in PAGES.items()
        for line in re.findall(r"`(hews [a-z][^`]*)`", text)
    }
    assert len(inline) > 20 and len(HEWS_LINES) > 10
    problems = {(where, line): _problem(line) for where, line in [*inline, *((None, line) for line in HEWS_LINES)]}
    assert not {line: problem for line, problem in problems.items() if problem}


def test_a_command_that_does_not_exist_is_noticed() -> None:
    assert _problem("hews prepare x --out y") is None
    assert _problem("hews submit pipeline x --dry-run") is None
    assert _problem("hews preparee x") == "no command 'preparee'"
    assert _problem("hews prepare x --outt y") == "no option ['--outt']"


@pytest.mark.parametrize("line", MAKE_LINES)
def test_make_knows_the_lines_that_are_not_run(line: str) -> None:
    run(["make", "--dry-run", *shlex.split(line)[1:]], ROOT)


def test_every_module_and_path_that_the_pages_name_exists() -> None:
    """Dotted names of the package, to a module or to a name in one; paths of the repository in backticks."""
    for page, text in PAGES.items():
        for dotted in re.findall(r"`~?(hews_gpu(?:\.\w+)+)`", text):
            assert _resolves(dotted.split(".")), f"{page}: {dotted}"
        roots = "hews_gpu|kernels|benchmarks|studies|tests|docs|slurm|requirements|jobs"
        for path in re.findall(rf"`(?!docs/_build)((?:{roots})/[\w/.-]+)`", text):  # what is built may be missing
            assert (ROOT / path).exists() or re.search(r"[A-Z]{4}", path), f"{page}: {path}"  # NAME is to be filled in


def _resolves(parts: list[str]) -> bool:
    """Whether a dotted name is a package, a module, or a name that a module's source defines at its top."""
    for length in range(len(parts), 1, -1):
        path = ROOT.joinpath(*parts[:length])
        source = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
        if source.exists():
            rest = parts[length:]
            pattern = rf"^(?:async )?(?:def|class) {rest[0]}\b|^{rest[0]}\b.*=|^\s+\"?{rest[0]}\"?," if rest else ""
            return re.search(pattern, source.read_text(encoding="utf-8"), re.MULTILINE) is not None
    return False


def test_a_module_that_does_not_exist_is_noticed() -> None:
    assert _resolves(["hews_gpu", "forecasters", "base", "Forecaster"])
    assert not _resolves(["hews_gpu", "forecasters", "base", "Foreteller"])
    assert not _resolves(["hews_gpu", "prophets", "base"])


# Figures.


def test_every_figure_stands_in_a_result_file() -> None:
    content = results.figures()
    assert len(content["table"]) > 10
    for table in content["table"].values():
        for row in table["rows"]:
            for benchmark, path, form in results.table_cells(table, row):
                assert re.search(r"\d", results.shown(benchmark, path, form)), path
    for figure in content["figure"].values():
        assert results.shown(figure["file"], figure["key"], figure["format"])


def test_every_figure_and_table_is_shown_on_a_page() -> None:
    text = "\n".join(PAGES.values())
    content = results.figures()
    assert set(re.findall(r"^```\{figures\} (\w+)$", text, re.MULTILINE)) == set(content["table"])
    assert set(re.findall(r"\{figure\}`(\w+)`", text)) == set(content["figure"])


def test_no_figure_is_typed_into_the_page_of_results() -> None:
    """Numbers with decimals or thousands stand in tables that are made, or in the role `figure`."""
    assert not re.findall(r"\d[.,]\d+", FENCED.sub("", PAGES["docs/results.md"]))


def test_an_interval_is_found_beside_its_value() -> None:
    content = {
        "a": {"value": 1.0, "interval": [0, 2]},
        "older": {"value": 1.0, "one_week": [0, 3], "four_weeks": [-1, 3]},
        "b": 3,
        "b_interval": [2, 4],
        "2.7M": [{"c": 5}],
    }
    assert results.lookup(content, "a") == (1.0, [0, 2]) and results.lookup(content, "older") == (1.0, [0, 3])
    assert results.lookup(content, "b") == (3, [2, 4])
    assert results.lookup(content, "2.7M.0.c") == (5, None)
    with pytest.raises(LookupError, match="no 'd' for"):
        results.lookup(content, "2.7M.0.d")


def test_the_newest_result_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("pip-2026-01-02.json", "pip-2026-11-03.json", "pip-growth-2027-01-01.json", "pip-2027.json"):
        (tmp_path / name).write_text("{}")
    monkeypatch.setattr(results, "RESULTS", tmp_path)
    results.newest.cache_clear()
    assert results.newest("pip").name == "pip-2026-11-03.json"
    with pytest.raises(LookupError, match="no json file of 'raster'"):
        results.newest("raster")
    results.newest.cache_clear()


# What contributors are given.


def test_the_hooks_and_the_issue_forms_are_well_formed() -> None:
    (repo,) = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    assert repo["repo"] == "local"
    assert [hook["entry"].split()[:2] for hook in repo["hooks"]] == [
        [".venv/bin/ruff", "check"],
        [".venv/bin/ruff", "format"],
    ]
    forms = [path for path in (ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml") if path.name != "config.yml"]
    assert len(forms) == 2
    for path in forms:
        form = yaml.safe_load(path.read_text())
        ids = [field["id"] for field in form["body"]]
        assert form["name"] and form["description"] and len(ids) == len(set(ids))
