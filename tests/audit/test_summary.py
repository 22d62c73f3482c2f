"""The table that the command prints."""

from hews_gpu.audit.finding import Finding
from hews_gpu.audit.summary import audit_table


def test_a_row_per_finding():
    finding = Finding(gate="1 future", tested="maps", result="pass", said="the same bits")
    assert audit_table({"findings": [finding.plain()]}) == [
        ["gate", "what was tested", "result", "figures"],
        ["1 future", "maps", "pass", "the same bits"],
    ]
