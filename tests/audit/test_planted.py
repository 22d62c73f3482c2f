"""Every planted leak is seen by its gate, and the gates hold their peace where nothing is planted."""

import pytest

from hews_gpu.audit.future import Pipeline
from hews_gpu.audit.planted import PLANTED, check_planted
from hews_gpu.progress import SILENT

GATES = {"1", "2", "3", "4", "5", "6", "7"}
DEAR = "stack: labels"
"""A minute of a processor, in which each of its experts, whose own leaks are others of the list, is fitted often."""


@pytest.mark.parametrize(
    "leak",
    [pytest.param(leak, marks=[pytest.mark.nightly] if leak.name == DEAR else [], id=leak.name) for leak in PLANTED],
)
def test_a_planted_leak_is_seen(cities, young, leak):
    found = leak.run(young if leak.gate == "1" else cities)
    assert found.gate.startswith(leak.gate)
    assert found.verdict == ("warning" if leak.gate == "7" else "fail"), found.summary


def test_every_gate_has_its_leaks():
    assert {leak.gate for leak in PLANTED} == GATES
    assert DEAR in {leak.name for leak in PLANTED}
    assert len({leak.name for leak in PLANTED}) == len(PLANTED) >= 8


def test_a_leak_that_no_gate_sees_is_shown_as_such(cities, monkeypatch):
    from dataclasses import replace

    from hews_gpu.audit import planted

    honest = replace(PLANTED[0], run=planted._maps(Pipeline))
    monkeypatch.setattr(planted, "PLANTED", (honest,))
    (found,) = check_planted(cities, SILENT)
    assert found.verdict == "fail" and found.summary.startswith("NOT SEEN")
