"""The benchmark of the CNN's layers in a short form: a side that differs is refused, rates and ratios are told."""

import json

import pytest
import torch

from benchmarks import cnn
from benchmarks.cnn import NEW, OLD, QUICK, SIDES, make_objective, measure_size, show
from hews_gpu.forecasters.city import generated_city


@pytest.fixture(scope="module")
def objective():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield make_objective(generated_city("strong", years=2), (12, 10), QUICK.scored)
    torch.set_num_threads(threads)


def test_it_tells_rates_and_ratios(objective, capsys):
    result = json.loads(json.dumps(measure_size(objective, QUICK)))
    assert result["map"] == [12, 10, 72] and result["largest_move"] > 0
    for what in ("training", "forecasting"):
        (low, high), rates = result[what]["range"], result[what]["samples_per_core_s"]
        assert low <= result[what]["times"] <= high and set(rates) == {OLD, NEW}
    show({"maps": [result]})
    assert "of 8,640 cells are occupied" in capsys.readouterr().out


def test_a_side_that_differs_is_refused(objective, monkeypatch):
    def wrong(*arguments):
        totals, areas = SIDES[OLD](*arguments)
        return totals, areas * 1.1

    monkeypatch.setattr(cnn, "SIDES", {OLD: SIDES[OLD], NEW: wrong})
    with pytest.raises(AssertionError):
        measure_size(objective, QUICK)
