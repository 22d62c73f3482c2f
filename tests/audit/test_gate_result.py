"""Verdicts, and the table that the command prints."""

from dataclasses import asdict

from hews_gpu.audit.gate_result import GateResult, audit_table, worst


def test_the_worst_verdict_counts():
    assert worst([]) == worst(["pass"]) == "pass"
    assert worst(["pass", "warning"]) == "warning"
    assert worst(["warning", "fail", "pass"]) == "fail"


def test_a_row_per_result():
    result = GateResult(gate="1 future", tested="maps", verdict="pass", summary="the same bits")
    assert audit_table({"results": [asdict(result)]}) == [
        ["gate", "what was tested", "verdict", "figures"],
        ["1 future", "maps", "pass", "the same bits"],
    ]
