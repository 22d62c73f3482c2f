"""The benchmarks' shared tools: fair turns, ratios within a round, a header that says where it ran."""

from __future__ import annotations

import gc
import json
import sys
import time
from argparse import Namespace
from pathlib import Path

import pytest

from benchmarks import common
from benchmarks.common import Timing, finish, header, processor_s, ratios, real_data, save_result, time_in_turn


def test_alternatives_take_turns_and_each_starts_a_round() -> None:
    calls: list[str] = []
    alternatives = {name: (lambda name=name: calls.append(name)) for name in "abc"}
    timings = time_in_turn(alternatives, rounds=3, warm_up=1)
    assert "".join(calls) == "cab" + "abc" + "bca" + "cab"
    assert {name: len(timing.seconds) for name, timing in timings.items()} == {"a": 3, "b": 3, "c": 3}


def test_only_the_work_is_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that moves only while an alternative works: warm-up and collection cost nothing."""
    now = 0.0
    monkeypatch.setattr(common.time, "perf_counter", lambda: now)

    def work() -> None:
        nonlocal now
        now += 2.0

    monkeypatch.setattr(common.gc, "collect", lambda: (_ for _ in ()).close())
    assert time_in_turn({"a": work}, rounds=4)["a"].seconds == (2.0, 2.0, 2.0, 2.0)


def test_answers_that_differ_are_refused_before_anything_is_timed() -> None:
    answers = {"a": lambda: 1, "b": lambda: 1, "c": lambda: 2}
    with pytest.raises(AssertionError, match="a and c differ"):
        time_in_turn(answers, rounds=3, same=lambda a, b: a == b, clock=lambda work: pytest.fail("timed"))
    assert time_in_turn(answers, rounds=3, clock=lambda work: float(work()))["c"].seconds == (2.0, 2.0, 2.0)


def test_processor_seconds_are_of_one_turn_and_not_of_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(common, "SHORTEST_S", 0.05)
    calls: list[int] = []

    def work() -> None:
        calls.append(sum(range(200_000)))
        time.sleep(0.01)

    took_s = processor_s(work)
    assert len(calls) > 1 and 0.05 / len(calls) <= took_s < 0.01 + 0.05 / (len(calls) - 1)


def test_the_collector_is_off_while_timing_and_on_after_an_error() -> None:
    seen: list[bool] = []

    def fail() -> None:
        seen.append(gc.isenabled())
        raise KeyError

    with pytest.raises(KeyError):
        time_in_turn({"a": fail}, rounds=3)
    assert seen == [False] and gc.isenabled()


def test_a_ratio_is_taken_within_each_round() -> None:
    """The machine slowed down threefold in the last round: the ratio of the medians would say 3, not 2."""
    timings = {"old": Timing((2.0, 6.0, 6.0)), "new": Timing((1.0, 2.0, 3.0))}
    assert ratios(timings, "old")["new"] == {"median": 2.0, "low": 2.0, "high": 3.0}
    assert ratios(timings, "old")["old"] == {"median": 1.0, "low": 1.0, "high": 1.0}


def test_the_header_names_hardware_versions_date_and_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["/somewhere/benchmarks/raster.py", "--quick"])
    monkeypatch.delenv("HEWS_REAL_DATA", raising=False)
    found = header()
    assert found["command"] == "raster.py --quick"
    monkeypatch.setenv("HEWS_REAL_DATA", "/a/place/of/mine")
    assert header()["command"] == "HEWS_REAL_DATA=DATA raster.py --quick"
    assert found["cpu"] and found["cores"] >= 1 and found["memory_gib"] > 0.1
    assert found["numpy"][0].isdigit() and found["numba"][0].isdigit() and found["torch"][0].isdigit()
    assert "somewhere" not in json.dumps(found)


def test_a_result_is_saved_below_its_header(tmp_path: Path) -> None:
    path = save_result("toy", {"maps_per_s": 3.5}, tmp_path / "results")
    content = json.loads(path.read_text())
    assert path.name == f"toy-{content['date'][:10]}.json"
    assert content["benchmark"] == "toy"
    assert content["maps_per_s"] == 3.5 and content["commit"]


@pytest.mark.parametrize(("is_quick", "as_json"), [(True, False), (True, True), (False, False)])
def test_a_result_is_shown_and_only_that_of_a_full_run_is_kept(
    is_quick: bool, as_json: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = Namespace(quick=is_quick, json=as_json)
    path = finish("toy", {"x": 1}, flags, lambda result: print(f"x is {result['x']}"), folder=tmp_path)
    assert capsys.readouterr().out == ('{\n  "x": 1\n}\n' if as_json else "x is 1\n")
    assert list(tmp_path.iterdir()) == ([] if is_quick else [path]) and (path is None) == is_quick


def test_a_device_that_is_not_there_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["benchmarks/feed.py", "--device", "cuda"])
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(SystemExit, match="feed: torch finds no NVIDIA GPU here"):
        common.parse_flags("", devices=("cpu", "cuda"))


def test_real_data_is_a_folder_of_cities_or_said_to_be_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HEWS_REAL_DATA", raising=False)
    assert real_data() is None
    monkeypatch.setenv("HEWS_REAL_DATA", str(tmp_path))
    with pytest.raises(SystemExit, match=r"HEWS_REAL_DATA = .*: must hold a folder baltimore"):
        real_data()
    (tmp_path / "baltimore").mkdir()
    assert real_data() == tmp_path
