"""How it was run: commands and facts from the manifests, without what is private; the protocol in words."""

from __future__ import annotations

import pytest

from hews_gpu.own_files import read_json
from hews_gpu.report.result import read_folder
from hews_gpu.report.sections.how import how, protocol


@pytest.fixture(scope="module")
def result(run):
    return read_folder(run, read_json(run / "metrics.json"))


@pytest.fixture(scope="module")
def pairs(result):
    """Names and values of all cards of the section."""
    content = how(result).content
    blocks = [one for block in content for one in (block.content if block.kind == "columns" else [block])]
    return [pair for block in blocks if block.kind == "facts" for pair in block.content]


def test_facts_tell_no_path_of_the_machine(result, pairs):
    facts = dict(pairs)
    assert str(result.prepared.folder) not in str(pairs)
    assert facts["Data fingerprint"] == result.prepared.fingerprint and facts["Training"] == "3 epochs in 9.3 s"
    assert "numpy" in facts["Versions"]


def test_commands_are_quoted_as_a_shell_would_need_them_and_keep_folders_private(pairs):
    lines = [value for _, value in pairs if value.startswith("hews ")]
    assert lines == ["hews prepare 'my city.toml' --out prepared", "hews train prepared --out run"]


def test_the_protocol_is_told_and_so_is_an_opened_block(result):
    text = protocol(result.metrics)
    assert "one test block, 1 July 2015 to 31 December 2015" in text and "locked" not in text
    assert "a forecast every 2 hours from the past day for the next 2 hours; no reporting delay" in text
    locked = {**result.metrics, "locked_block": ["2018-01-01", "2020-01-01"]}
    assert "was not opened" in protocol(locked)
    opened = protocol(locked | {"locked_block_opened": True})
    assert "1 January 2018 to 31 December 2019, was opened" in opened and "not opened" not in opened
