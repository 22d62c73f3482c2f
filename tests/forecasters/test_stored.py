"""What a fit has learned comes back as it was: the very classes, types and bits, through text and arrays alone."""

from __future__ import annotations

import ast
import json
from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any, get_type_hints

import numpy as np
import pytest

import hews_gpu
from hews_gpu.arrays import Float32, Float64, Int64
from hews_gpu.data.windows import Task, issue_windows
from hews_gpu.forecasters.base import Setting
from hews_gpu.forecasters.catalog import Outcomes, outcomes
from hews_gpu.forecasters.registry import FORECASTERS
from hews_gpu.forecasters.stored import pack, unpack
from tests.invented_city import BEGIN_S, DAY_S, GROUND

STORED = [name for name, entry in FORECASTERS.items() if not entry.is_network and name not in ("stack", "counts")]
"""These two ask others, which are stored beside them: see `runs.folder`."""


@dataclass(frozen=True, kw_only=True)
class Leaf:
    number: Float64
    text: str = "\x1f ü"
    partner: str | None = None
    share: float = 0.1


@dataclass(frozen=True, kw_only=True)
class Tree:
    leaves: tuple[Leaf, ...]
    pair: tuple[int, Leaf]
    by_name: dict[str, Leaf]
    rates: Mapping[str, Float32]
    more: list[Int64]
    nothing: Float64 | None = None
    some: Leaf | None = None
    is_it: bool = True


def tree():
    def leaf(value, **others):
        return Leaf(number=np.array(value), **others)

    return Tree(
        leaves=(leaf(0.1 + 0.2), leaf([[1.0, np.nan], [-0.0, np.inf]], partner="AGG. ASSAULT")),
        pair=(-(2**62), leaf(np.zeros((0, 3)), share=5e-324)),
        by_name={"a.b": leaf(3.0), "": leaf(np.pi)},
        rates={"x": np.array([1, 2], np.float32), "y": np.array(0.1, np.float32)},
        more=[np.arange(3), np.array(7)],
        some=leaf(1.0, share=1 / 3),
    )


def through_text(hint, value):
    """Pack a value, write and read the text, and unpack it."""
    arrays: dict[str, Any] = {}
    content = json.loads(json.dumps(pack(value, arrays), allow_nan=False))
    return unpack(hint, content, {name: np.array(one) for name, one in arrays.items()})


def assert_same(one, other):
    """Of the same class, and the same to the bit, all the way down."""
    assert type(one) is type(other), (one, other)
    if isinstance(one, np.ndarray):
        assert one.dtype == other.dtype and one.shape == other.shape and one.tobytes() == other.tobytes()
    elif is_dataclass(one):
        for field in fields(one):
            assert_same(getattr(one, field.name), getattr(other, field.name))
    elif isinstance(one, dict):
        assert list(one) == list(other)
        for key in one:
            assert_same(one[key], other[key])
    elif isinstance(one, tuple | list):
        assert len(one) == len(other)
        for first, second in zip(one, other, strict=True):
            assert_same(first, second)
    else:
        assert one == other


def test_everything_that_a_fit_may_leave_comes_back():
    assert_same(through_text(Tree, tree()), tree())


def test_a_packed_array_is_a_copy():
    """What is trained on afterwards does not change what was stored."""
    arrays: dict[str, Any] = {}
    value = Leaf(number=np.zeros(2))
    pack(value, arrays)
    value.number[0] = 1.0
    assert [one.tolist() for one in arrays.values()] == [[0.0, 0.0]]


@pytest.fixture(scope="module")
def fitted(city):
    """Every forecaster that is stored, fitted to the first two thirds of the invented city; the windows of the rest."""
    every = outcomes(city, issue_windows(BEGIN_S, BEGIN_S + 200 * DAY_S, Task()))
    cut = len(every) * 2 // 3
    train = Outcomes(windows=every.windows.select(np.arange(cut)), y=every.y[:cut])
    made = {}
    for name in STORED:
        made[name] = FORECASTERS[name].make(Setting(city=GROUND))
        made[name].fit(city.until(int(train.windows.issue_s[-1])), train, train)
    return made, every.windows.select(np.arange(cut + 30, len(every)))


@pytest.mark.parametrize("name", STORED)
def test_a_forecaster_that_was_stored_forecasts_the_same_bits(fitted, city, name):
    made, asked = fitted
    again = FORECASTERS[name].make(Setting(city=GROUND))
    again.fitted = through_text(get_type_hints(type(again))["fitted"], made[name].fitted)
    assert_same(again.fitted, made[name].fitted)
    np.testing.assert_array_equal(again.predict(city, asked), made[name].predict(city, asked))
    if name == "hewsnet":
        assert made[name].fitted.layers  # there is something to store
        np.testing.assert_array_equal(again.predict_areas(city, asked), made[name].predict_areas(city, asked))


@pytest.mark.parametrize("value", [b"code", {1, 2}, 1j, np.float32(1), np.int64(1), object(), print])
def test_what_is_neither_data_nor_text_cannot_be_stored(value):
    with pytest.raises(TypeError, match=r"fitted\.some: a .* cannot be stored"):
        pack({"some": value}, {})


def changed(content, path, value):
    """Packed content with one place of it changed."""
    copy = json.loads(json.dumps(content))
    *before, last = path
    place = copy
    for step in before:
        place = place[step]
    place[last] = value
    return copy


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (["leaves"], 5),
        (["leaves"], None),
        (["leaves", 0], []),
        (["leaves", 0], {"text": "a"}),
        (["leaves", 0, "number"], 1.0),
        (["leaves", 0, "number"], {"array": "fitted.other"}),
        (["leaves", 0, "number"], {"array": ["a"]}),
        (["leaves", 0, "share"], "0.1"),
        (["leaves", 0, "share"], None),
        (["leaves", 0, "text"], 1),
        (["leaves", 0, "partner"], 1),
        (["pair"], [1]),
        (["pair", 0], 1.5),
        (["pair", 0], "1"),
        (["by_name"], [1, 2]),
        (["by_name"], "text"),
        (["by_name"], None),
        (["rates", "x"], None),
        (["more"], 3),
        (["nothing"], 3),
        (["some"], 3),
        (["is_it"], "yes"),
    ],
)
def test_content_of_another_kind_is_refused(path, value):
    arrays: dict[str, Any] = {}
    content = changed(pack(tree(), arrays), path, value)
    with pytest.raises((KeyError, TypeError, ValueError)):
        unpack(Tree, content, arrays)


@pytest.mark.parametrize("package", ["forecasters", "training", "evaluation", "runs", "reference"])
def test_nothing_that_stores_a_forecast_pickles(package):
    """Reading a file never runs code: no module that could is imported, and NumPy is never allowed to."""
    for path in (Path(hews_gpu.__file__).parent / package).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import | ast.ImportFrom) else []
            names += [str(node.module)] if isinstance(node, ast.ImportFrom) else []
            assert not {name.split(".")[0] for name in names} & {"pickle", "joblib", "dill", "cloudpickle", "shelve"}
            if isinstance(node, ast.Call):
                assert "allow_pickle" not in {keyword.arg for keyword in node.keywords}, path
                called = ast.unparse(node.func)
                assert called not in {"torch.load", "torch.save", "pd.read_pickle", "np.fromfile", "eval", "exec"}, path
