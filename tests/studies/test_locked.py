"""The locked block is opened once, on paper first; nothing else reaches its rows."""

import json

import numpy as np
import pyarrow as pa
import pytest

from hews_gpu.errors import UserError
from studies.inputs.locked import open_locked, openings, require_closed
from tests.forecasters.test_city import Folder


def folder_of(folder, source, splits=None):
    """A prepared folder without twins or duplicates."""
    n = len(source.events)
    nothing = pa.nulls(n, pa.int64())
    rows = {"row_id": np.arange(n), "duplicate_of": nothing, "twin_of": nothing, "near_twin_of": nothing}
    made = Folder(folder, source, {**rows, "is_overlap": np.zeros(n, bool)})
    if splits:
        made.city.splits = splits
    return made


@pytest.fixture
def prepared(tmp_path, strong):
    return folder_of(tmp_path, strong)


@pytest.fixture
def span(strong):
    middle_s = (strong.begin_s + strong.end_s) // 2
    return {"begin_s": strong.begin_s, "locked_s": middle_s, "end_s": strong.end_s}


def test_an_opening_is_written_down_and_the_second_refused(tmp_path, prepared, span):
    ledger = tmp_path / "deep" / "openings.jsonl"
    source, line = open_locked(prepared, **span, ledger=ledger, why="the final result")
    assert source.end_s == span["end_s"] and (source.events.time_s >= span["locked_s"]).any()
    assert openings(ledger) == [line]
    assert {"when", "who", "command", "why", "fingerprint"} <= set(line) and line["opening"] == 1
    with pytest.raises(UserError, match=r"was opened on .*the final result.* opens only once.* openings.jsonl has"):
        open_locked(prepared, **span, ledger=ledger, why="once more")
    part = {**span, "end_s": span["end_s"] - 86_400 * 30}  # another fingerprint, but the same city's same months
    with pytest.raises(UserError, match="was opened on"):
        open_locked(prepared, **part, ledger=ledger, why="a part of it")
    assert openings(ledger) == [line]


def test_a_block_that_overlaps_an_opened_one_is_open_too(tmp_path, prepared, span):
    """From either side, within it or around it; what only touches it, or is another city's, is not."""
    ledger, (begin_s, end_s) = tmp_path / "openings.jsonl", (span["begin_s"], span["end_s"])
    edges_s = np.linspace(begin_s, end_s, 7).astype(int).tolist()
    open_locked(prepared, begin_s=begin_s, locked_s=edges_s[2], end_s=edges_s[4], ledger=ledger, why="its middle")
    blocks = [(i, j) for i in range(7) for j in range(i + 1, 7)]
    for i, j in blocks:
        block = {"locked_s": edges_s[i], "end_s": edges_s[j], "ledger": ledger, "why": "another"}
        if i < 4 and j > 2:
            with pytest.raises(UserError, match="was opened on"):
                require_closed(prepared, **block)
        else:
            require_closed(prepared, **block)
    prepared.city.city.name = "Another"
    require_closed(prepared, locked_s=edges_s[1], end_s=edges_s[4], ledger=ledger, why="other rows of another city")
    with pytest.raises(UserError, match="was opened on"):
        require_closed(prepared, locked_s=edges_s[2], end_s=edges_s[4], ledger=ledger, why="the same rows, renamed")


def test_insisting_is_loud_and_counted(tmp_path, prepared, span, capsys):
    ledger = tmp_path / "openings.jsonl"
    open_locked(prepared, **span, ledger=ledger, why="first")
    _, line = open_locked(prepared, **span, ledger=ledger, why="a mistake in the first", again=True)
    assert line["opening"] == 2 and len(openings(ledger)) == 2
    assert "OPENED BEFORE" in capsys.readouterr().err


def test_nothing_is_handed_out_without_a_reason_or_a_ledger(tmp_path, prepared, span):
    for again in (False, True):
        with pytest.raises(UserError, match="must say why"):
            open_locked(prepared, **span, ledger=tmp_path / "a.jsonl", why=" ", again=again)
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be"):
        open_locked(prepared, **span, ledger=tmp_path / "file" / "a.jsonl", why="x")
    damaged = tmp_path / "damaged.jsonl"
    damaged.write_text(json.dumps({"a": 1}) + "\n{")
    with pytest.raises(UserError, match="Restore it"):
        open_locked(prepared, **span, ledger=damaged, why="x")
    damaged.write_text(json.dumps({"a": 1}) + "\n")
    with pytest.raises(UserError, match="lacks one of"):
        open_locked(prepared, **span, ledger=damaged, why="x")
    with pytest.raises(UserError, match="no row"):
        late = {"begin_s": 0, "locked_s": span["end_s"] + 10**6, "end_s": span["end_s"] + 10**7}
        open_locked(prepared, **late, ledger=tmp_path / "a.jsonl", why="x")
    assert openings(tmp_path / "a.jsonl") == []
