"""Every planted leak is seen by its gate, and the gates hold their peace where nothing is planted."""

import pytest

from hews_gpu.audit.future import make_pipeline
from hews_gpu.audit.planted import PLANTED, show_planted
from hews_gpu.progress import SILENT

GATES = {"1", "2", "3", "4", "5", "6", "7"}


@pytest.mark.parametrize("leak", PLANTED, ids=lambda leak: leak.name)
def test_a_planted_leak_is_seen(stage, leak):
    found = leak.run(stage)
    assert found.gate.startswith(leak.gate)
    assert found.result == ("warning" if leak.gate == "7" else "fail"), found.said


def test_every_gate_has_its_leaks():
    assert {leak.gate for leak in PLANTED} == GATES
    assert len({leak.name for leak in PLANTED}) == len(PLANTED) >= 8


def test_a_leak_that_no_gate_sees_is_shown_as_such(stage, monkeypatch):
    from dataclasses import replace

    from hews_gpu.audit import planted

    honest = replace(PLANTED[0], run=lambda stage: planted._maps(stage, make_pipeline))
    monkeypatch.setattr(planted, "PLANTED", (honest,))
    (found,) = show_planted(stage, SILENT)
    assert found.result == "fail" and found.said.startswith("NOT SEEN")
