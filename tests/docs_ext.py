"""The Sphinx extension that reads results, docs/ext/results.py, for tests; docs/ is no package."""

from __future__ import annotations

import importlib.util

from tests.pages import ROOT

spec = importlib.util.spec_from_file_location("docs_ext_results", ROOT / "docs" / "ext" / "results.py")
assert spec is not None and spec.loader is not None
results = importlib.util.module_from_spec(spec)
spec.loader.exec_module(results)
