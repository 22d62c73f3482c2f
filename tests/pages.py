"""What a reader types from: README, CONTRIBUTING and docs/*.md; their snippets, and a folder to run them in."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGES = {
    path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8")
    for path in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md")))
}
KINDS = {"bash", "python", "toml", "text", "sh"}
"""A snippet's kinds; `sh` is read but not run: for a GPU, a cluster or gigabytes from the network."""
FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SNIPPETS = {page: [(kind, text) for kind, text in FENCE.findall(content)] for page, content in PAGES.items()}
# What the user edits after `hews init baltimore`: files as the pages' TOML shows them, dates that fit the small city,
# and a model as small as it gets.
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


def lines_of(kind: str, *pages: str) -> list[str]:
    """Return the lines of a kind of snippet, on these pages or on all."""
    texts = [text for page in pages or PAGES for found, text in SNIPPETS[page] if found == kind]
    return [line for text in texts for line in text.splitlines()]


def make_users_folder(folder: Path) -> Path:
    """Make a user's own folder: a small generated city, filed where the pages' TOML looks for its data."""
    import geopandas

    from hews_gpu.synthetic import write_city

    city = write_city(folder / "city", years=1).parent
    (folder / "data").mkdir()
    (city / "incidents.csv.gz").rename(folder / "data" / "incidents.csv.gz")
    areas = geopandas.read_file(city / "neighborhoods.geojson").rename(columns={"name": "CSA2010"})
    areas.to_file(folder / "data" / "neighborhoods.geojson")
    (folder / ".venv").symlink_to(sys.prefix)
    return folder


def run(command: list[str], folder: Path) -> None:
    """Run a command of a page in `folder`, with this environment's `hews`; it has to succeed."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"


def run_snippets(page: str, folder: Path) -> None:
    """Run a page's snippets in order: Bash line by line (make as a dry run), Python as a script."""
    for kind, text in SNIPPETS[page]:
        if kind == "python":
            run([sys.executable, "-c", text], folder)
        for line in text.splitlines() if kind == "bash" else ():
            if line.startswith("make "):
                run(["make", "--dry-run", *line.split()[1:]], ROOT)
                continue
            if line == "hews doctor":  # half a minute; tests/cli/test_commands.py runs it
                continue
            run(["bash", "-euc", line], folder)
            if line.startswith("hews init baltimore"):
                _edit(folder / "baltimore.toml")


def _edit(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    for pattern, line in EDITS.items():
        text, count = re.subn(pattern, line, text, flags=re.MULTILINE)
        assert count == 1, pattern
    path.write_text(text, encoding="utf-8")
