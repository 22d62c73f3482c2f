"""`fetch.json`, in which `hews fetch` keeps what the pages beside it are: read by all that make something of them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from hews_gpu.own_files import check, read_json

__all__ = ["FETCH_AGAIN", "RECORD", "fetch_record"]

RECORD = "fetch.json"
FETCH_AGAIN = "Give 'hews fetch' again, which goes on; or remove that file if you changed the pages on purpose"
PAGE = {**dict.fromkeys(("file", "url", "time", "sha256"), str), "rows": int, "first": object, "last": object}
TABLE = {"whole": bool, "pages": [PAGE], "fields?": [str], "names?": [str], "time_zone?": str, "count?": int}
TABLE |= {"edited?": str, "edited_after?": str, "key?": str, "left_out?": [str]}
FETCH = {"query": dict, "tables": {"*": TABLE}, "doubts?": [str], "finished?": str}


def fetch_record(folder: Path) -> dict[str, Any]:
    """Return the record of a fetch that lies in a folder; empty if there is none.

    Raises:
        UserError: it is damaged; a file of this name that is no record of ours is none.
    """
    file = folder / RECORD
    record = read_json(file, object, remedy=FETCH_AGAIN) if os.path.exists(file) else None
    if not isinstance(record, dict) or record.get("kind") != "fetch":
        return {}
    check(record, FETCH, str(file), FETCH_AGAIN)
    return record
