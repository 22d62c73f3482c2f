"""The record splitter against Python's csv module and against itself at other chunk sizes."""

from __future__ import annotations

import csv
import io
import re
import tracemalloc
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from hews_gpu.data.readers import records
from hews_gpu.data.readers.records import BLANK, GOOD, TOO_LONG, UNBALANCED, Counted, iter_records

Found = list[tuple[int, bytes, int]]


def split(data: bytes, fields: int = 3, chunk_bytes: int = 1 << 20) -> Found:
    """(line, bytes, problem) of each record."""
    found: Found = []
    for part in iter_records(Counted(io.BytesIO(data)), fields, chunk_bytes=chunk_bytes):
        ends = zip(part.line.tolist(), part.start.tolist(), part.stop.tolist(), part.problem.tolist(), strict=True)
        found += [(line, part.data[start:stop], problem) for line, start, stop, problem in ends]
    return found


def test_a_quoted_line_end_does_not_end_the_record_and_later_lines_keep_their_numbers() -> None:
    data = b'a,b,c\n"d\n\nd",e,f\r\ng,"h ""h"", h",i\n'
    assert split(data) == [(1, b"a,b,c", GOOD), (2, b'"d\n\nd",e,f', GOOD), (5, b'g,"h ""h"", h",i', GOOD)]


def test_blank_lines_are_records_and_the_last_line_needs_no_end() -> None:
    assert split(b"a,b,c\n\n\r\nd,e,f") == [(1, b"a,b,c", 0), (2, b"", BLANK), (3, b"", BLANK), (4, b"d,e,f", 0)]


def test_lone_carriage_returns_end_lines() -> None:
    assert split(b"a,b,c\rd,e,f\r\ng,h,i\n") == [(1, b"a,b,c", 0), (2, b"d,e,f", 0), (3, b"g,h,i", 0)]


def test_a_quote_that_never_closes_costs_one_line() -> None:
    good = b'a,"b",c\n'
    found = split(good * 3 + b'a,"b,c\n' + good * 200)
    assert [line for line, _, problem in found if problem] == [4]
    assert found[3] == (4, b'a,"b,c', UNBALANCED)
    assert len(found) == 204


def test_several_lines_with_the_wrong_number_of_fields_are_no_record() -> None:
    found = split(b'a,"b\nc",d,e\ng,h,i\n')
    assert [(line, problem) for line, _, problem in found] == [(1, UNBALANCED), (2, GOOD), (3, GOOD)]


def test_a_quote_inside_a_field_is_text() -> None:
    assert split(b'a,5" pipe,c\nd,e,f\n') == [(1, b'a,5" pipe,c', GOOD), (2, b"d,e,f", GOOD)]


def test_a_line_too_long_is_skipped_without_being_held(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "MAX_LINE_BYTES", 100)
    data = b"a,b,c\n" + b"x" * 100_000 + b"\nd,e,f\n"
    for chunk_bytes in (64, 1000, 1 << 20):
        found = [(line, problem) for line, _, problem in split(data, chunk_bytes=chunk_bytes)]
        assert found == [(1, GOOD), (2, TOO_LONG), (3, GOOD)]
    assert [problem for *_, problem in split(b"x" * 1000, chunk_bytes=64)] == [TOO_LONG]


DIRTY = st.lists(st.sampled_from([b"a", b",", b'"', b"\n", b"\r", b"\r\n", b'","', b'\n"', b"b,c,d\n", b"\xff"]))


@settings(max_examples=400)
@given(DIRTY.map(b"".join), st.integers(1, 9))
@example(b'"a\n', 1)
@example(b'\r"', 1)
def test_the_size_of_a_chunk_does_not_matter(data: bytes, chunk_bytes: int) -> None:
    assert split(data, chunk_bytes=chunk_bytes) == split(data)


@settings(max_examples=400)
@given(DIRTY.map(b"".join))
def test_every_line_is_in_exactly_one_record(data: bytes) -> None:
    line = 1
    for first, text, _ in split(data):
        assert first == line
        line += 1 + len(re.findall(rb"\r\n|\n|\r", text))
    lines = re.split(rb"\r\n|\n|\r", data)
    assert line - 1 == len(lines) - (lines[-1] == b"")


TEXT = st.text(alphabet='ab ,"\n', max_size=6)


@settings(max_examples=200)
@given(st.lists(st.lists(TEXT, min_size=3, max_size=3), max_size=20), st.integers(1, 64))
def test_well_formed_tables_split_as_the_csv_module_writes_them(table: list[list[str]], chunk_bytes: int) -> None:
    lines = []
    for fields in table:
        buffer = io.StringIO()
        csv.writer(buffer, lineterminator="\n", quoting=csv.QUOTE_ALL).writerow(fields)
        lines.append(buffer.getvalue().encode())
    found = split(b"".join(lines), chunk_bytes=chunk_bytes)
    assert [text + b"\n" for _, text, _ in found] == lines
    starts = np.cumsum([1] + [line.count(b"\n") for line in lines])[:-1]
    assert [line for line, *_ in found] == starts.tolist()


class Endless(io.RawIOBase):
    """A header's worth of rows, then one line of 2 GB that is never held anywhere, then a row."""

    def __init__(self, length: int) -> None:
        self.parts, self.left = [b"a,b,c\n1,2,3\n"], length

    def read(self, size: int = -1) -> bytes:
        if self.parts:
            return self.parts.pop()
        take = min(size, self.left)
        self.left -= take
        if take and not self.left:
            self.parts = [b"\n4,5,6\n"]
        return b"x" * take


@pytest.mark.nightly
def test_a_line_of_2_gb_costs_one_row_and_no_memory() -> None:
    tracemalloc.start()
    stream: Any = Endless(2 << 30)
    found = [
        (int(line), int(problem))
        for part in iter_records(Counted(stream), 3)
        for line, problem in zip(part.line, part.problem, strict=True)
    ]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found == [(1, GOOD), (2, GOOD), (3, TOO_LONG), (4, GOOD)]
    assert peak < 64 << 20
