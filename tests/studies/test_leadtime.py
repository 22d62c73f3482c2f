"""The study of leads: its controls are judged, shown, and can be printed as JSON."""

import json

from studies import leadtime as module
from studies.leadtime import controls, show


def test_the_controls_are_judged_and_shown(capsys, monkeypatch):
    monkeypatch.setattr(module, "CONTROLS", {"strong": 2})
    result = {"controls": controls(1, (1800,))}
    json.dumps(result, allow_nan=False)
    show(result)
    found = result["controls"]["strong"]
    assert found["preset"] == "strong" and found["processor_seconds"] > 0
    assert [point["lead_s"] for point in found["points"]] == [1800] * 3
    told = capsys.readouterr().out
    assert "hawkes" in told and f"strong: {found['verdict']}" in told
