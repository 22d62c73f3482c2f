"""Where each record of a CSV stream starts and ends, and on which line: so that no line is lost and all are numbered.

A record is usually a line, but a quoted field may hold line ends. A chunk in which every line closes its quotes is cut
with a few array operations; any other chunk goes line by line. A quote that never closes costs its own line only: a
record of several lines counts when its quoting is flawless and its number of fields right, otherwise the first of
these lines is set aside and the next one starts afresh. Lines end with LF, CRLF or CR.

Shapes: R records, L lines of one chunk, Q quotes of one chunk.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

__all__ = [
    "BLANK",
    "GOOD",
    "PROBLEMS",
    "REPEATED_HEADER",
    "TOO_LONG",
    "UNBALANCED",
    "WRONG_FIELDS",
    "Counted",
    "Records",
    "count_fields",
    "iter_records",
    "lines_of",
    "read_chunk",
]

GOOD, BLANK, WRONG_FIELDS, UNBALANCED, TOO_LONG, REPEATED_HEADER = range(6)
PROBLEMS = (
    "",
    "blank line",
    "wrong number of fields",
    "unbalanced quotes",
    "line too long",
    "header repeated",
)
CHUNK_BYTES = 16 << 20  # about 95,000 rows of a crime table: large enough for arrays, small beside 2 GB
MAX_LINE_BYTES = 1 << 20  # a row of a crime table takes 200 bytes; a longer line is not one, and must not fill memory
MAX_LINES = 64  # of one quoted record; more means that a quote was never closed

LF, CR, QUOTE, COMMA = b'\n\r",'
IS_SIDE = np.isin(np.arange(256), (COMMA, LF, CR, QUOTE))  # what may stand beside a quote
FIELD = re.compile(rb'"(?:[^"]|"")*+"[^,]*|[^",][^,]*|(?=,|\Z)')
FLAWLESS_FIELD = re.compile(rb'"(?:[^"]|"")*+"(?=,|\Z)|[^",]*(?=,|\Z)')

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Records:
    """Consecutive records of a stream: data[start[r]:stop[r]] is record r without its line end."""

    data: bytes
    start: Ints  # [R]
    stop: Ints  # [R]
    line: Ints  # [R], 1-based line on which the record starts
    problem: npt.NDArray[np.uint8]  # [R], index into PROBLEMS
    offset: int = 0
    """Where `data` begins in the stream, in bytes; a record begins there."""
    is_simple: bool = False
    """Whether each line of it is known to be a record whose quotes close."""

    def __len__(self) -> int:
        """R."""
        return len(self.start)

    def part(self, begin: int, end: int) -> Records:
        """Records begin..end-1; `data` is shared."""
        cut = slice(begin, end)
        return Records(
            self.data, self.start[cut], self.stop[cut], self.line[cut], self.problem[cut], self.offset, self.is_simple
        )

    def good_bytes(self) -> bytes:
        """The records without a problem, ready for a CSV parser."""
        if not len(self):
            return b""
        if not self.problem.any():
            return self.data[self.start[0] : self.stop[-1]]
        return b"\n".join([self.data[begin:end] for begin, end in self.good_spans()])

    def good_spans(self) -> Iterator[tuple[int, int]]:
        """Start and stop of the records without a problem."""
        good = self.problem == GOOD
        return zip(self.start[good].tolist(), self.stop[good].tolist(), strict=True)


class Counted:
    """A stream that knows how far it was read, and that may copy what it reads."""

    def __init__(self, stream: BinaryIO, position: int = 0, copy: BinaryIO | None = None) -> None:
        self.stream, self.position, self.copy = stream, position, copy

    def read(self, size: int = -1) -> bytes:
        """The next bytes."""
        chunk = self.stream.read(size)
        self.position += len(chunk)
        if self.copy is not None:
            self.copy.write(chunk)
        return chunk


def iter_records(
    stream: Counted | BinaryIO,
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
    stream = stream if isinstance(stream, Counted) else Counted(stream, len(begun))
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
    """The next bytes; never ends between the CR and the LF of one line end."""
    chunk = stream.read(chunk_bytes)
    while chunk.endswith(b"\r") and (more := stream.read(1)):
        chunk += more
    return chunk


def _skip_line(stream: Counted, chunk_bytes: int) -> tuple[bytes, bool]:
    """Drop bytes up to and with the next line end: what follows it, and whether the stream has ended."""
    while chunk := read_chunk(stream, chunk_bytes):
        ends = [at for at in (chunk.find(b"\n"), chunk.find(b"\r")) if at >= 0]
        if ends:
            end = min(ends)
            return chunk[end + (2 if chunk.startswith(b"\r\n", end) else 1) :], False
    return b"", True


def lines_of(data: bytes, at_end: bool) -> tuple[Ints, Ints, Ints]:
    """Start, stop and start of the next line of each whole line; at the end of the stream the rest is one too."""
    raw = np.frombuffer(data, np.uint8)
    stops = np.flatnonzero(raw == LF)
    nexts = stops + 1
    if b"\r" in data:
        padded = np.append(raw, 0)
        returns = np.flatnonzero(raw == CR)
        lone = returns[padded[returns + 1] != LF]
        stops = stops - ((stops > 0) & (raw[stops - 1] == CR))
        order = np.argsort(np.concatenate([nexts, lone + 1]), kind="stable")
        stops, nexts = np.concatenate([stops, lone])[order], np.concatenate([nexts, lone + 1])[order]
    end = int(nexts[-1]) if len(nexts) else 0
    if at_end and end < len(data):
        stops, nexts = np.append(stops, len(data)), np.append(nexts, len(data))
    starts = np.concatenate([[0], nexts[:-1]]) if len(nexts) else nexts
    return starts.astype(np.int64), stops.astype(np.int64), nexts.astype(np.int64)


def _are_simple(data: bytes, starts: Ints, stops: Ints) -> bool:
    """Whether each line is a record whose quotes close, and none is too long."""
    return not len(starts) or (int((stops - starts).max()) <= MAX_LINE_BYTES and _quotes_close(data, stops))


def _quotes_close(data: bytes, stops: Ints) -> bool:
    """Whether every line closes its quotes and every quote stands beside a comma, a line end or another quote."""
    if b'"' not in data:
        return True
    raw = np.frombuffer(data, np.uint8)[: int(stops[-1])]
    quotes = np.flatnonzero(raw == QUOTE)  # [Q]
    if (np.searchsorted(quotes, stops) & 1).any():
        return False
    before, after = quotes[0::2], quotes[1::2]  # an opening one, a closing one
    sides = np.concatenate([raw[before[before > 0] - 1], raw[after[after + 1 < len(raw)] + 1]])
    return bool(IS_SIDE[sides].all())


def _records_line_by_line(
    data: bytes, starts: Ints, stops: Ints, fields: int, at_end: bool
) -> tuple[Ints, Ints, npt.NDArray[np.uint8]]:
    """First line, last line and problem of each record of a chunk with quoted line ends or stray quotes.

    An unfinished record at its end is left over.
    """
    begin, end = starts.tolist(), stops.tolist()
    first: list[int] = []
    last: list[int] = []
    problem: list[int] = []
    line = 0
    while line < len(begin):
        until, what = _record_at(data, begin, end, line, fields)
        if until is None and not at_end:
            break
        first.append(line)
        last.append(line if until is None else until)
        problem.append(UNBALANCED if until is None else what)
        line = last[-1] + 1
    return np.array(first, np.int64), np.array(last, np.int64), np.array(problem, np.uint8)


def _record_at(data: bytes, begin: list[int], end: list[int], line: int, fields: int) -> tuple[int | None, int]:
    """Last line and problem of the record that starts at `line`; None where the chunk ends before the record does."""
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
        found = count_fields(data[begin[line] : end[until]], FLAWLESS_FIELD)
        if found is not None:
            return (until, GOOD) if found == fields else (line, UNBALANCED)
    return line, UNBALANCED


def count_fields(text: bytes, pattern: re.Pattern[bytes] = FIELD) -> int | None:
    """How many fields a record has; None if a quote stays open (or, for FLAWLESS_FIELD, is out of place)."""
    count, position = 0, 0
    while True:
        found = pattern.match(text, position)
        if found is None:
            return None
        count, position = count + 1, found.end()
        if position == len(text):
            return count
        position += 1
