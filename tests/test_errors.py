"""A user's mistake is one line that can be acted on."""

from __future__ import annotations

from pathlib import Path

import pytest

from hews_gpu.cli.printing import print_table
from hews_gpu.errors import UserError, did_you_mean, printable
from hews_gpu.progress import log


def test_the_line_names_field_value_allowed_and_remedy() -> None:
    error = UserError("[windows] stride_s", -1, allowed="must be positive", remedy="Give seconds.")
    assert str(error) == "[windows] stride_s = -1: must be positive. Give seconds."
    assert str(UserError("--out", Path("a/b"), allowed="exists")) == "--out = 'a/b': exists."


def test_a_question_keeps_its_mark_alone() -> None:
    assert str(UserError("x", allowed="is not known", remedy=did_you_mean("targts", ["targets"]))).endswith(
        "'targets'?"
    )


def test_long_and_many_lined_values_stay_one_short_line() -> None:
    text = str(UserError("x", "a\nb" * 1000, allowed="must be short\nand simple"))
    assert "\n" not in text
    assert len(text) < 200


def test_a_misspelt_word_finds_its_neighbor_or_the_list() -> None:
    assert did_you_mean("targts", ["targets", "files"]) == "Did you mean 'targets'?"
    assert did_you_mean("zzz", ["targets", "files"]) == "Known: files, targets"


STEERS = "\x1b]0;owned\x07 \x9b2J \u202egnp\r"


def test_a_name_cannot_steer_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    error = str(UserError(f"file {STEERS}", allowed=f"has {STEERS}", remedy=f"Remove {STEERS}."))
    log(f"reading {STEERS}")
    print_table(f"Title {STEERS}", [["category", "rows"], [STEERS, "1"]])
    printed = capsys.readouterr()
    for text in (error, printed.err, printed.out):
        assert text.count("owned") >= 1 and not any(c in text for c in "\x1b\x07\x9b\u202e\r")
    print_table("[/city] [old] :gun:", [["[name]", "rows"], ["[/]:gun:", "1"]])
    printed = capsys.readouterr().out
    assert all(name in printed for name in ("[/city] [old] :gun:", "[name]", "[/]:gun:"))
    assert printable("Zürich\tØstbyen\nこ 👩\u00a0") == "Zürich\tØstbyen\nこ 👩\u00a0"
