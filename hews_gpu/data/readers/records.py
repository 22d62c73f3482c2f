"""Where each record of a CSV stream starts and ends, and on which line: so that no line is lost and all are numbered.

A record is usually a line, but a quoted field may hold line ends. A chunk in which every line closes its quotes is cut
with a few array operations; any other chunk goes line by line. A quote that never closes costs its own line only: a
record of several lines counts when its quoting is flawless and its number of fields right, otherwise the first of
these lines is set aside and the next one starts afresh. Lines end with LF, CRLF or CR.

Shapes: R records, L lines of one chunk, Q quotes of one chunk.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import BinaryIO

import numpy as np

from hews_gpu.arrays import Int64, UInt8

__all__ = [
    "GOOD",
    "LATER_MESSAGE",
    "NO_OBJECT",
    "PROBLEMS",
    "Counted",
    "Records",
    "count_fields",
    "iter_records",
    "lines_of",
    "read_chunk",
]

GOOD, BLANK, WRONG_FIELDS, UNBALANCED, TOO_LONG, REPEATED_HEADER, NO_OBJECT, LATER_MESSAGE = range(8)
PROBLEMS = (
    *("", "blank line", "wrong number of fields", "unbalanced quotes", "line too long", "header repeated"),
    *("no whole JSON object", "later message of an incident told before"),
)
CHUNK_BYTES = 16 << 20  # about 95,000 rows of a crime table: large enough for arrays, small beside 2 GB
MAX_LINE_BYTES = 1 << 20  # a row of a crime table takes 200 bytes; a longer line is not one, and must not fill memory
MAX_LINES = 64  # of one quoted record; more means that a quote was never closed

LF, CR, QUOTE, COMMA = b'\n\r",'
IS_SIDE = np.isin(np.arange(256), (COMMA, LF, CR, QUOTE))  # what may stand beside a quote
LINE_END = re.compile(rb"\r\n?|\n")
FIELD = re.compile(rb'"(?:[^"]|"")*+"[^,]*|[^",][^,]*|(?=,|\Z)')
FLAWLESS_FIELD = re.compile(rb'"(?:[^"]|"")*+"(?=,|\Z)|[^",]*(?=,|\Z)')


@dataclass(frozen=True)
class Records:
    """Consecutive records of a stream: data[start[r]:stop[r]] is record r without its line end."""

    data: bytes
    start: Int64  # [R]
    stop: Int64  # [R]
    line: Int64  # [R], 1-based line on which the record starts
    problem: UInt8  # [R], index into PROBLEMS
    offset: int = 0
    """Where `data` begins in the stream, in bytes; a record begins there."""
    is_simple: bool = False
    """Whether each line of it is known to be a record whose quotes close."""

    def __len__(self) -> int:
        """Return the number of rows, R."""
        return len(self.start)

    def part(self, begin: int, end: int) -> Records:
        """Return records begin..end-1; `data` is shared."""
        cut = slice(begin, end)
        return replace(self, start=self.start[cut], stop=self.stop[cut], line=self.line[cut], problem=self.problem[cut])

    def good_bytes(self) -> bytes:
        """Return the records without a problem, ready for a CSV parser."""
        if not len(self):
            return b""
        if not self.problem.any():
            return self.data[self.start[0] : self.stop[-1]]
        return b"\n".join([self.data[begin:end] for begin, end in self.good_spans()])

    def good_spans(self) -> Iterator[tuple[int, int]]:
        """Return start and stop of the records without a problem."""
        good = self.problem == GOOD
        return zip(self.start[good].tolist(), self.stop[good].tolist(), strict=True)


class Counted:
    """A stream that knows how far it was read, and that may end before its file does."""

    def __init__(self, stream: BinaryIO) -> None:
        self.stream, self.position, self.end = stream, 0, sys.maxsize

    def read(self, size: int) -> bytes:
        """Return the next bytes, `size` of them at most."""
        chunk = self.stream.read(min(size, self.end - self.position))
        self.position += len(chunk)
        return chunk

    def jump(self, begin: int, end: int) -> None:
        """Go on at byte `begin`, and end before byte `end`."""
        self.stream.seek(begin)
        self.position, self.end = begin, end


def iter_records(
    stream: Counted,
    fields: int,
    *,
    begun: bytes = b"",
    first_line: int = 1,
    chunk_bytes: int = CHUNK_BYTES,
    is_simple: bool = False,
) -> Iterator[Records]:
    """Cut a stream into records, chunk by chunk.

    Args:
        stream: what is still to be read.
        fields: how many fields a record should have.
        begun: bytes that were read already; they start a line.
        first_line: the number of that line.
        chunk_bytes: how much is read at a time.
        is_simple: whether each line is known to be a record whose quotes close.
    """
    pending, line, at_end = begun, first_line, False
    while not at_end:
        chunk = read_chunk(stream, chunk_bytes)
        at_end = not chunk
        data = pending + chunk
        offset = stream.position - len(data)
        starts, stops, nexts = lines_of(data, at_end)
        if not len(starts) and len(data) > MAX_LINE_BYTES:
            nothing, problem = np.zeros(1, np.int64), np.array([TOO_LONG], np.uint8)
            yield Records(b"", nothing, nothing, np.array([line]), problem, offset)
            pending, at_end = _skip_line(stream, chunk_bytes)
            line += 1
            at_end = at_end and not pending
            continue
        each = is_simple or _are_simple(data, starts, stops)
        if each:
            first = last = np.arange(len(starts), dtype=np.int64)
            problem = np.where(stops == starts, BLANK, GOOD).astype(np.uint8)
        else:
            first, last, problem = _records_line_by_line(data, starts, stops, fields, at_end)
        used = int(last[-1]) + 1 if len(last) else 0
        if used:
            yield Records(data, starts[first], stops[last], line + first, problem, offset, each)
        pending = data[int(nexts[used - 1]) :] if used else data
        line += used


def read_chunk(stream: Counted, chunk_bytes: int) -> bytes:
    """Return the next bytes, which never end between the CR and the LF of one line end."""
    chunk = stream.read(chunk_bytes)
    while chunk.endswith(b"\r") and (more := stream.read(1)):
        chunk += more
    return chunk


def _skip_line(stream: Counted, chunk_bytes: int) -> tuple[bytes, bool]:
    """Drop bytes up to and with the next line end; return what follows it, and whether the stream has ended."""
    while chunk := read_chunk(stream, chunk_bytes):
        if end := LINE_END.search(chunk):
            return chunk[end.end() :], False
    return b"", True


def lines_of(data: bytes, at_end: bool) -> tuple[Int64, Int64, Int64]:
    """Return start, stop and start of the next line of each whole line; at the end of the stream the rest is one."""
    raw = np.frombuffer(data, np.uint8)
    is_end = raw == LF
    if b"\r" in data:
        is_end |= (raw == CR) & (np.append(raw[1:], 0) != LF)
    ends = np.flatnonzero(is_end)
    stops = ends - ((ends > 0) & (raw[ends] == LF) & (raw[ends - 1] == CR))
    nexts = ends + 1
    end = int(nexts[-1]) if len(nexts) else 0
    if at_end and end < len(data):
        stops, nexts = np.append(stops, len(data)), np.append(nexts, len(data))
    starts = np.concatenate([[0], nexts[:-1]]) if len(nexts) else nexts
    return starts.astype(np.int64), stops.astype(np.int64), nexts.astype(np.int64)


def _are_simple(data: bytes, starts: Int64, stops: Int64) -> bool:
    """Return whether no line is too long and all close their quotes, each beside a comma, a line end or another one."""
    if (stops - starts).max(initial=0) > MAX_LINE_BYTES:
        return False
    if not len(starts) or b'"' not in data:
        return True
    raw = np.frombuffer(data, np.uint8)[: int(stops[-1])]
    quotes = np.flatnonzero(raw == QUOTE)  # [Q]
    if (np.searchsorted(quotes, stops) & 1).any():
        return False
    before, after = quotes[0::2], quotes[1::2]  # an opening one, a closing one
    sides = np.concatenate([raw[before[before > 0] - 1], raw[after[after + 1 < len(raw)] + 1]])
    return bool(IS_SIDE[sides].all())


def _records_line_by_line(
    data: bytes, starts: Int64, stops: Int64, fields: int, at_end: bool
) -> tuple[Int64, Int64, UInt8]:
    """Return first line, last line and problem of each record of a chunk with quoted line ends or stray quotes.

    An unfinished record at its end is left over.
    """
    begin, end = starts.tolist(), stops.tolist()
    records: list[tuple[int, int, int]] = []
    line = 0
    while line < len(begin):
        until, what = _record_at(data, begin, end, line, fields)
        if until is None and not at_end:
            break
        last, problem = (line, UNBALANCED) if until is None else (until, what)
        records.append((line, last, problem))
        line = last + 1
    first, end_line, problems = np.array(records, np.int64).reshape(-1, 3).T
    return first, end_line, problems.astype(np.uint8)


def _record_at(data: bytes, begin: list[int], end: list[int], line: int, fields: int) -> tuple[int | None, int]:
    """Return last line and problem of the record that starts at `line`; None where the chunk ends before it does."""
    text = data[begin[line] : end[line]]
    if len(text) > MAX_LINE_BYTES:
        return line, TOO_LONG
    if not text:
        return line, BLANK
    if count_fields(text, FIELD) is not None:
        return line, GOOD
    for until in range(line + 1, line + MAX_LINES):
        if until == len(begin):
            return None, GOOD
        if b'"' not in data[begin[until] : end[until]]:
            continue
        count = count_fields(data[begin[line] : end[until]], FLAWLESS_FIELD)
        if count is not None:
            return (until, GOOD) if count == fields else (line, UNBALANCED)
    return line, UNBALANCED


def count_fields(text: bytes, pattern: re.Pattern[bytes] = FIELD) -> int | None:
    """Return how many fields a record has; None if a quote stays open (or, for FLAWLESS_FIELD, is out of place)."""
    count, position = 0, 0
    while True:
        field = pattern.match(text, position)
        if field is None:
            return None
        count, position = count + 1, field.end()
        if position == len(text):
            return count
        position += 1
