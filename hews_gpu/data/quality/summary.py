"""What `hews prepare` says at its end: where every row of the input went."""

from __future__ import annotations

from typing import Any

__all__ = ["summary_rows"]


def summary_rows(quality: dict[str, Any]) -> list[list[str]]:
    """The counts of `quality.json` that a user should see, as rows of text under a heading.

    The rows kept and the rows set aside, reason by reason, add up to the rows read.
    """
    read = quality["rows_read"]

    def row(name: str, count: int) -> list[str]:
        return [name, f"{count:,}", f"{100 * count / read:.2f} %" if read else ""]

    aside = [row(f"  {reason}", count) for reason, count in quality["quarantined_by_reason"].items()]
    return [
        ["", "rows", "share"],
        row("read", read),
        row("kept", quality["rows_kept"]),
        row("  of these targets", quality["targets_kept"]),
        row("set aside in quarantine.parquet", quality["rows_quarantined"]),
        *aside,
    ]
