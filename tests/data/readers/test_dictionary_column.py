"""What is asked of all distinct texts at once gives what Python says of each."""

from __future__ import annotations

import sys

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from hews_gpu.data.prepare.sort import chart_texts
from hews_gpu.data.readers import dictionary_column as module
from hews_gpu.data.readers.dictionary_column import (
    TEXT,
    Block,
    DictionaryColumn,
    digits_hidden,
    distinct,
    hashes_of,
)

TEXTS = st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=12), max_size=30)
SPACES = [chr(code) for code in range(sys.maxunicode + 1) if chr(code).isspace()]


def block(**columns: list[str | None]) -> Block:
    """A block of such columns."""
    rows = np.arange(len(next(iter(columns.values()))))
    first = {name: rows for name in ("line", "problem")}
    return Block(pa.table({**first, **{name: pa.array(texts, TEXT) for name, texts in columns.items()}}))


@given(TEXTS)
@example(["", "\0", "\0\0", "a", "a\0", "\0a", "ab", "ba", "é", "e\u0301"])
def test_hashes_are_equal_for_equal_texts_only_and_do_not_depend_on_the_others(texts: list[str]) -> None:
    for hashes in hashes_of(pa.array(texts, pa.string()), (1, 2)):
        assert len(set(hashes.tolist())) == len(set(texts))
    for text, *hashes in zip(texts, *hashes_of(pa.array(texts, pa.string()), (1, 2)), strict=True):
        assert [int(own[0]) for own in hashes_of(pa.array([text]), (1, 2))] == hashes


def mixed(x: int) -> int:
    """The finalizer of SplitMix64 in whole numbers."""
    x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9 % 2**64
    x = (x ^ x >> 27) * 0x94D049BB133111EB % 2**64
    return x ^ x >> 31


@given(TEXTS, st.integers(0, 2**32))
def test_hashes_are_sums_of_bytes_times_a_number_of_their_place_and_of_the_seed(texts: list[str], seed: int) -> None:
    (found,) = hashes_of(pa.array(texts, pa.string()), (seed,))
    golden = 0x9E3779B97F4A7C15
    for text, value in zip(texts, found.tolist(), strict=True):
        data = text.encode()
        total = sum(byte * mixed(((i + 1) * golden + seed) % 2**64) for i, byte in enumerate(data)) % 2**64
        assert value == mixed(total ^ mixed((len(data) * golden + seed) % 2**64))


def test_hashes_of_a_hundred_thousand_numbers_differ_in_each_of_their_halves() -> None:
    """As good as random: of 1e5 draws of 32 bits about 1.2 pairs are equal."""
    texts = pa.array([f"{i / 1000:.3f}" for i in range(100_000)])
    a, b = hashes_of(texts, (1, 2))
    assert len(np.unique(a)) == len(np.unique(b)) == len(texts) and not np.intersect1d(a, b).size
    for half in (a >> np.uint64(32), a & np.uint64(0xFFFFFFFF)):
        assert len(texts) - len(np.unique(half)) < 12
    bits = np.unpackbits(a.view(np.uint8)).reshape(len(a), 64).mean(axis=0)
    assert np.abs(bits - 0.5).max() < 0.01


@pytest.mark.parametrize("size", [1, 2, 7, 1000])
def test_hashes_do_not_depend_on_how_many_bytes_are_hashed_at_once(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    texts = pa.array(["", "", "a" * 20, "", *(str(i) for i in range(50)), "b" * 3000, "", "c"])
    expected = hashes_of(texts, (1, 2))
    monkeypatch.setattr(module, "SLICE_BYTES", size)
    for found, of_seed in zip(hashes_of(texts, (1, 2)), expected, strict=True):
        np.testing.assert_array_equal(found, of_seed)
    assert [len(part) for part in hashes_of(texts.slice(0, 0), (1, 2))] == [0, 0]
    parts = [[len(text) for text in part.to_pylist()] for part in module._slices(texts)]
    assert all(sum(lengths) < size + max(lengths) for lengths in parts)


@given(TEXTS)
@example([*SPACES, " \t\n", "\u2003x", "x ", "\x1c\x1d\x1e\x1f", "\x7f", "\u200b", "\0"])
def test_blank_is_what_python_calls_blank(texts: list[str]) -> None:
    column = DictionaryColumn(pa.array(texts, pa.string()), np.arange(len(texts)))
    assert column.is_blank.tolist() == [not text.strip() for text in texts]


@given(TEXTS)
@example(["0123456789", "-76.605", "\u0661", "é9é"])
def test_digits_are_hidden_and_nothing_else_is(texts: list[str]) -> None:
    hidden = digits_hidden(pa.array(texts, pa.string())).to_pylist()
    assert hidden == [text.translate(str.maketrans("123456789", "0" * 9)) for text in texts]


@given(TEXTS, st.integers(0, 5), st.integers(0, 5))
def test_a_slice_of_an_array_is_its_own_texts(texts: list[str], begin: int, length: int) -> None:
    whole = pa.array(["x7 ", *texts, "01/31/2014", "y"], pa.string())
    part = whole.slice(begin, length)
    alone = pa.array(part.to_pylist(), pa.string())
    assert digits_hidden(part).equals(digits_hidden(alone))
    blank = [DictionaryColumn(texts, np.zeros(0, np.int64)).is_blank for texts in (part, alone)]
    np.testing.assert_array_equal(*blank)
    np.testing.assert_array_equal(hashes_of(part, (3,))[0], hashes_of(alone, (3,))[0])


@given(st.lists(st.sampled_from(["a", "b", " ", "", None]), min_size=1, max_size=20))
def test_a_column_is_its_texts_with_null_as_the_empty_one(texts: list[str | None]) -> None:
    made = block(what=texts).text("what")
    assert [made.texts[code] for code in made.codes.tolist()] == [text or "" for text in texts]
    assert len(set(made.texts)) == len(made.texts)
    assert made.is_blank[made.codes].tolist() == [not (text or "").strip() for text in texts]


def test_a_column_that_is_not_there_is_blank_in_every_row() -> None:
    made = block(what=["a", "b"])
    assert list(made.texts) == ["what"] and len(made) == 2
    assert made.text("where").take(np.ones(2, bool)).to_pylist() == ["", ""]


@pytest.mark.parametrize("rows", [[], [2], [0, 1, 3], [0, 1, 2, 3]])
def test_some_rows_of_a_column_hold_no_text_of_others(rows: list[int]) -> None:
    """What is set aside must not travel on in a dictionary."""
    texts = ["secret 1", "b", "secret 2", "secret 3"]
    chosen = np.isin(np.arange(4), rows)
    part = block(what=texts).text("what").take(chosen)
    assert part.to_pylist() == [texts[row] for row in rows]
    assert set(part.dictionary.to_pylist()) == {texts[row] for row in rows}


def test_charts_hold_no_text_of_rows_that_are_set_aside() -> None:
    made = block(Premise=["secret", "BAR", "STREET", "BAR"], Weapon=["", "KNIFE", "", "secret"])
    charts = chart_texts(made, np.array([3, 0, 0, 0], np.uint8), ["Premise", "Other"])
    assert charts.to_pydict() == {"row_id": [1, 2, 3], "Premise": ["BAR", "STREET", "BAR"], "Other": ["", "", ""]}
    assert sorted(charts["Premise"].chunk(0).dictionary.to_pylist()) == ["BAR", "STREET"]


def test_distinct_texts_come_in_the_order_of_their_first_occurrence() -> None:
    values, codes = distinct(pa.array(["b", "a", "b"]))
    assert values.to_pylist() == ["b", "a"] and codes.tolist() == [0, 1, 0]
    assert DictionaryColumn(values, codes).take(np.ones(3, bool)).to_pylist() == ["b", "a", "b"]
