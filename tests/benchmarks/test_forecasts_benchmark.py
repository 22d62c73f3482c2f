"""The benchmark of forecasts on a small generated city, and that it cannot reach past the locked block's begin."""

import json

from benchmarks.forecasts import END, FIRST_TEST, LOCKED, judge, seconds, show
from hews_gpu.evaluation.registry import FORECASTERS
from hews_gpu.evaluation.rolling import Plan
from hews_gpu.evaluation.sources import synthetic_source


def test_a_source_is_judged_and_shown(capsys):
    found = judge(synthetic_source("strong", years=2), Plan(blocks=1, seeds=(0,)), quick=True)
    json.dumps(found, allow_nan=False)
    assert set(found["forecasts"]) == {*FORECASTERS, "oracle"}
    assert set(found["places"]["forecasts"]) > {"near_repeat", "hewsnet", "oracle"}
    show("strong", found)
    assert "temporal Hawkes" in capsys.readouterr().out


def test_the_rolling_blocks_end_where_the_locked_one_begins():
    assert seconds(FIRST_TEST) < seconds(LOCKED) < seconds(END)
    assert (LOCKED, END) == ("2018-01-01", "2020-01-01")
