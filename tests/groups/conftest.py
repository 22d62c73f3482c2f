"""The toy city. Fewer rows and tables than a real run looks at, so that a test takes seconds."""

from __future__ import annotations

import pytest

from hews_gpu.groups import evidence
from tests.toy_city import prepared, toy

__all__ = ["prepared", "toy"]


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr(evidence, "SAMPLE", 1_500)
    monkeypatch.setattr(evidence, "SILHOUETTE_ROWS", 400)
    monkeypatch.setattr(evidence, "BOOTSTRAPS", 6)
