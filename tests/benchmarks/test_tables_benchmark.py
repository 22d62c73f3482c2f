"""What the benchmark of tables makes of what it measures."""

import sys

import pytest

from benchmarks import tables


def result(rows, **seconds):
    costs = {who: {"processor_seconds": s, "rows_per_s": 1} for who, s in seconds.items() if s is not None}
    return {"rows": rows, "costs": costs | {who: {"stopped": "x"} for who, s in seconds.items() if s is None}}


def test_slope_is_one_where_the_cost_grows_with_the_rows_and_less_with_a_cost_of_starting():
    results = {"a": result(1_000, ours=2.0, late=3.0), "b": result(10_000, ours=20.0, late=21.0)}
    assert tables.slope(results, "ours") == 1.0
    assert tables.slope(results, "late") < 0.9
    assert tables.slope(results, "nobody") is None


def test_the_cost_of_more_rows_leaves_out_what_starting_costs():
    results = {
        "a": result(1_000, bare=1.0, ours=7.0, script=3.0),
        "b": result(3_000, bare=3.0, ours=27.0, script=None),
        "c": result(11_000, bare=11.0, ours=147.0, script=None),
    }
    assert tables.of_more_rows(results, "ours") == {"microseconds_per_row": 14_000.0, "times_bare_read": 14.0}
    assert tables.of_more_rows(results, "script") is None
    assert tables.slope(results, "script") is None


def test_what_takes_too_much_memory_is_stopped_and_says_so(monkeypatch):
    monkeypatch.setattr(tables, "MOST_MEMORY_GB", 0.2)
    cost = tables.cost_of([sys.executable, "-c", "import time; x = bytearray(b'x') * 10**9; time.sleep(60)"])
    assert cost["stopped"] == "took more than 0.2 GB" and cost["seconds"] < 30 and "printed" not in cost


def test_a_command_says_what_it_printed_and_what_it_took():
    cost = tables.cost_of([sys.executable, "-c", "print(sum(range(3_000_000)))"])
    assert cost["printed"] == "4499998500000\n" and cost["processor_seconds"] > 0.01
    with pytest.raises(SystemExit, match="ended with 3"):
        tables.cost_of([sys.executable, "-c", "raise SystemExit(3)"])


def test_a_script_that_was_stopped_is_shown(capsys):
    costs = {"pandas script": {"stopped": "took more than 16.0 GB", "seconds": 1.0}}
    tables.show({"sizes": {"27M": {"rows": 27_000_000, "costs": costs}}})
    assert "took more than" in capsys.readouterr().out
