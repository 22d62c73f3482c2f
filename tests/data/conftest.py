"""The toy city of `toy.py`, written to a folder with any table."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from hews_gpu.config import CityConfig, load_city
from tests.data.toy import HEADER, TOML, TWO_SQUARES, geojson


@pytest.fixture(autouse=True)
def splits_lie_anywhere(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tables of a few days are prepared whatever the toy's splits; `test_coverage` looks at what is refused."""
    if not request.module.__name__.endswith("test_coverage"):
        monkeypatch.setattr("hews_gpu.data.prepare.command.require_covered", lambda splits, coverage: None)


@pytest.fixture
def toy(tmp_path: Path) -> Callable[..., CityConfig]:
    """Write the toy city: lines below the header (or the bytes of whole files by name), polygons, more settings."""

    def make(
        lines: Sequence[str] = (),
        *,
        files: dict[str, bytes] | None = None,
        areas: str | None = None,
        incidents: str = "",
    ) -> CityConfig:
        if files is None:
            files = {"table.csv": "".join(f"{line}\n" for line in (HEADER, *lines)).encode()}
        for name, content in files.items():
            (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
        (tmp_path / "areas.geojson").write_text(geojson(TWO_SQUARES) if areas is None else areas)
        (tmp_path / "toy.toml").write_text(TOML.format(files=json.dumps(list(files)), incidents=incidents))
        return load_city(tmp_path / "toy.toml")

    return make
