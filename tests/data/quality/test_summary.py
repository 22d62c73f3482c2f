"""The printed summary accounts for every row."""

from __future__ import annotations

from hews_gpu.data.quality.summary import summary_rows


def test_kept_and_set_aside_add_up() -> None:
    quality = {
        "rows_read": 8,
        "rows_kept": 5,
        "rows_quarantined": 3,
        "quarantined_by_reason": {"no coordinates": 2, "unparsable time": 1},
        "targets_kept": 1,
    }
    assert summary_rows(quality) == [
        ["", "rows", "share"],
        ["read", "8", "100.00 %"],
        ["kept", "5", "62.50 %"],
        ["  of these targets", "1", "12.50 %"],
        ["set aside in quarantine.parquet", "3", "37.50 %"],
        ["  no coordinates", "2", "25.00 %"],
        ["  unparsable time", "1", "12.50 %"],
    ]
