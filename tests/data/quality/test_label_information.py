"""Mutual information against its definition and against scikit-learn, and counts that do not depend on the cut."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import mutual_info_score

from hews_gpu.data.quality import label_information as leaks
from hews_gpu.data.quality.label_information import BINS, MAX_VALUES, Contingency, forms, information


def counted(values: list[str], labels: list[bool]) -> Contingency:
    found = Contingency()
    for value, label in zip(values, labels, strict=True):
        found.add(pa.array([value]), np.array([[not label, label]], np.int64))
    return found


def test_a_column_that_is_the_label_gives_all_of_it_and_an_independent_one_nothing() -> None:
    same = np.array([[900, 0], [0, 100]])
    bits, entropy = information(same)
    assert entropy == pytest.approx(-0.9 * np.log2(0.9) - 0.1 * np.log2(0.1))
    assert bits == pytest.approx(entropy, abs=1e-3) and bits <= entropy
    assert information(np.array([[450, 50], [450, 50]]))[0] == 0.0
    assert information(np.array([[450, 0], [450, 0]])) == (0.0, 0.0)
    assert information(np.zeros((0, 2), np.int64)) == (0.0, 0.0)


def test_the_plug_in_part_is_that_of_scikit_learn() -> None:
    table = np.array([[500, 40], [300, 5], [1, 60]])
    rows = np.repeat(np.arange(3), table.sum(axis=1))
    labels = np.concatenate([np.repeat([0, 1], pair) for pair in table])
    plug_in = mutual_info_score(rows, labels) / np.log(2)
    cells, values, n = 6, 3, table.sum()
    assert information(table)[0] == pytest.approx(plug_in - (cells - values - 2 + 1) / (2 * n * np.log(2)), abs=1e-12)


def test_the_correction_takes_the_bias_away() -> None:
    """Independent columns of 40 values over 2,000 rows: the plug-in says 14 millibits, the corrected hardly any."""
    rng = np.random.default_rng(5)
    estimates, plug_in = [], []
    for _ in range(200):
        value, label = rng.integers(0, 40, 2000), rng.random(2000) < 0.3
        table = np.stack([np.bincount(value[label == k], minlength=40) for k in (False, True)], axis=1)
        estimates.append(information(table)[0])
        plug_in.append(mutual_info_score(value, label) / np.log(2))
    assert np.mean(plug_in) > 0.013 and np.mean(estimates) < 0.002


VALUES = st.lists(st.tuples(st.integers(0, 12), st.booleans()), max_size=60)


@settings(max_examples=60, deadline=None)
@given(VALUES, st.integers(0, 60), st.sampled_from([3, 1024]))
def test_the_cut_does_not_matter(rows: list[tuple[int, bool]], cut: int, most: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(leaks, "MAX_VALUES", most)
        values, labels = [str(value) for value, _ in rows], [label for _, label in rows]
        whole = counted(values, labels)
        parts = counted(values[:cut], labels[:cut])
        parts += counted(values[cut:], labels[cut:])
        swapped = counted(values[cut:], labels[cut:])
        swapped += counted(values[:cut], labels[:cut])
        assert whole.table.sum() == len(rows)
        assert (whole.bins is None) == (len(set(values)) <= most)
        for other in (parts, swapped):
            np.testing.assert_array_equal(other.table, whole.table)


def test_a_column_in_which_every_value_is_new_gives_nothing() -> None:
    labels = np.random.default_rng(2).random(600) < 0.2
    bits, entropy = information(counted([str(i) for i in range(600)], labels.tolist()).table)
    assert entropy > 0.6 and bits < 0.03 * entropy


def test_a_column_of_many_values_is_hashed_and_stays_small() -> None:
    found = Contingency()
    texts = [f"{i} MAIN ST" for i in range(5 * MAX_VALUES)]
    found.add(pa.array(texts), np.ones((len(texts), 2), np.int64))
    assert found.bins is not None and found.bins.shape == (BINS, 2) and not found.values
    assert found.table.sum() == 2 * len(texts) and information(found.table)[0] == 0.0


def test_forms_of_an_address() -> None:
    found = {name: form("1200 Fawn Ave ") for name, form in forms("Location").items()}
    expected = {"blank": "False", "length": "14", "case": "mixed", "last word": "AVE"}
    assert found == {f"Location: {feature}": value for feature, value in expected.items()}


def test_layouts_are_measured_apart() -> None:
    giving, plain = (
        counted(["a", "b"] * 200, [False, True] * 200),
        counted(["a", "b"] * 200, [False, False, True, True] * 100),
    )
    report = leaks.label_information({(0, "X"): plain, (1, "X"): giving}, {0: "old.csv", 1: "new.csv"})
    assert [(entry["file"], entry["warning"]) for entry in report["columns"]] == [("new.csv", True), ("old.csv", False)]


@pytest.mark.parametrize(
    ("targets", "others", "warns"),
    [(1, 2, False), (50, 249, False), (49, 400, False), (400, 49, False), (50, 250, True)],
)
def test_a_small_table_is_no_reason_for_a_warning(targets: int, others: int, warns: bool) -> None:
    labels = [True] * targets + [False] * others
    report = leaks.label_information({(0, "X"): counted([str(label) for label in labels], labels)}, {0: "a.csv"})
    assert report["columns"][0]["warning"] == warns
    assert (report["warn_min_rows"], report["warn_min_rows_of_each_label"]) == (leaks.MIN_ROWS, leaks.MIN_LABELS)


@pytest.mark.parametrize(("values", "most"), [(2, 2), (5, 8), (15, 60)])
def test_chance_seldom_passes_for_a_leak_in_the_smallest_table(values: int, most: int) -> None:
    rng = np.random.default_rng(0)
    labels, passed = np.arange(leaks.MIN_ROWS) < leaks.MIN_LABELS, 0
    for _ in range(1000):
        value = rng.integers(0, values, len(labels))
        counts = [np.bincount(value[labels == label], minlength=values) for label in (False, True)]
        bits, entropy = information(np.stack(counts, axis=1))
        passed += bits > leaks.WARN_SHARE * entropy
    assert passed <= most
