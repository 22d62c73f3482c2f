"""Files of tensors: the same content gives the same bytes, and nothing in them can run."""

import json
import subprocess
import sys

import pytest
import torch

from hews_gpu.errors import UserError
from hews_gpu.train.checkpoint import FORMAT, read_tensors, require_same, write_tensors

SCRIPT = """
import sys, torch
from pathlib import Path
from hews_gpu.train.checkpoint import write_tensors
tensors = {"b": torch.arange(6.0).reshape(2, 3).T, "a": torch.ones(())}
write_tensors(Path(sys.argv[1]), tensors, {"zeta": 1, "alpha": [1.5, None], "mid": {"y": 1, "x": 2}})
"""


def test_content_comes_back_whole(tmp_path):
    tensors = {"b": torch.randn(3, 4).T, "a": torch.tensor(1.0)}
    write_tensors(tmp_path / "file", tensors, {"pi": 3.141592653589793, "none": None})
    found, notes = read_tensors(tmp_path / "file", remedy="")
    assert found.keys() == tensors.keys()
    assert all(torch.equal(found[name], tensors[name]) for name in tensors)
    assert notes == {"format": FORMAT, "pi": 3.141592653589793, "none": None}
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_every_process_writes_the_same_bytes(tmp_path):
    for name in ("one", "two"):
        subprocess.run([sys.executable, "-c", SCRIPT, str(tmp_path / name)], check=True)
    assert len({(tmp_path / name).read_bytes() for name in ("one", "two")}) == 1


def test_it_is_safetensors_and_no_pickle(tmp_path):
    write_tensors(tmp_path / "file", {"a": torch.ones(2)}, {})
    raw = (tmp_path / "file").read_bytes()
    header = json.loads(raw[8 : 8 + int.from_bytes(raw[:8], "little")])
    assert header["a"]["dtype"] == "F32" and list(header["__metadata__"]) == ["hews"]
    torch.save({"a": torch.ones(2)}, tmp_path / "pickle")
    with pytest.raises(UserError, match="cannot be read"):
        read_tensors(tmp_path / "pickle", remedy="Make it again")


def test_what_is_missing_or_foreign_is_refused_with_the_remedy(tmp_path):
    with pytest.raises(UserError, match=r"does not exist\. Make it again"):
        read_tensors(tmp_path / "none", remedy="Make it again")
    from safetensors.torch import save_file

    save_file({"a": torch.ones(2)}, tmp_path / "foreign")
    with pytest.raises(UserError, match="format"):
        read_tensors(tmp_path / "foreign", remedy="Make it again")


def test_differences_are_named():
    then = {"same": 1, "rate": 0.1, "gone": "x"}
    require_same("file", then, dict(then))
    with pytest.raises(UserError, match=r'rate was 0\.1, is 0\.2; gone was "x", is null; new was null, is \[1\]'):
        require_same("file", then, {"same": 1, "rate": 0.2, "new": [1]})
    with pytest.raises(UserError, match="and 2 more"):
        require_same("file", {}, dict.fromkeys("abcde", 1))
