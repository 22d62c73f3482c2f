"""Results cut down from the newest committed file, and pages made of them, for the tests of several modules."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from hews_gpu.report.build import build_report
from hews_gpu.report.results_file import read_results_file

COMMITTED = sorted((Path(__file__).parents[2] / "benchmarks" / "results").glob("forecasts-20*.json"))[-1]
METHODS = ("climatology", "level", "boosting", "oracle")


def few_methods() -> dict[str, Any]:
    """The committed results, cut down to a real table and a generated city with a few methods each."""
    whole = read_results_file(COMMITTED)
    sources = {"baltimore": whole["baltimore"], "null": whole["presets"]["null"]}
    for source in sources.values():
        points = [point for axis in source.get("curves", {}).values() for point in axis]
        for holder in (source, *points):
            holder["forecasts"] = {name: one for name, one in holder["forecasts"].items() if name in METHODS}
    return {"date": whole["date"], "baltimore": sources["baltimore"], "presets": {"null": sources["null"]}}


def save(results: Any, folder: Path) -> Path:
    file = folder / "results.json"
    file.write_text(json.dumps(results), encoding="utf-8")
    return file


def page_of(results: Any, folder: Path) -> str:
    page = build_report(save(results, folder), force=True).read_text(encoding="utf-8")
    return page[page.index("<body>") :]


def text_of(page: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page)).replace("\u00a0", " ")


def alone(source: dict[str, Any], **gains: Any) -> dict[str, Any]:
    """One source whose boosting gains `value`, with an interval 0.001 to each side, and nothing beside."""
    source = {key: value for key, value in source.items() if key not in ("curves", "places", "as_reported")}
    source["forecasts"].pop("level", None)
    bits = source["forecasts"]["boosting"]["against"]["climatology"]["log_skill_bits"]
    ends = [gains["value"] - 0.001, gains["value"] + 0.001]
    bits.clear()
    bits.update({"interval": ends} | gains)
    return source
