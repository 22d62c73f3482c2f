import json

import pytest

from hews_gpu.cli.commands import app
from hews_gpu.cli.warn_commands import seconds_of
from hews_gpu.errors import UserError
from tests.toy_city import one_thread, prepared, trained

__all__ = ["one_thread", "prepared", "trained"]


@pytest.fixture
def hews(capsys):
    def run_here(*arguments):
        with pytest.raises(SystemExit) as ended:
            app([str(one) for one in arguments], prog_name="hews")
        return (ended.value.code, *capsys.readouterr())

    return run_here


@pytest.mark.parametrize(
    ("text", "expected"), [("600", 600), ("600s", 600), ("10min", 600), ("2h", 7200), ("1d", 86_400), (" 10 min ", 600)]
)
def test_spans_of_time_are_read(text, expected):
    assert seconds_of("--stride", text) == expected


@pytest.mark.parametrize("text", ["", "min", "-5min", "1.5h", "10 minutes", "9999999999"])
def test_what_is_no_span_of_time_is_refused(text):
    with pytest.raises(UserError, match="--stride"):
        seconds_of("--stride", text)


def test_a_replay_writes_a_page_and_prints_what_came_of_the_warnings(trained, prepared, tmp_path, hews):
    words = ["replay", trained("level"), prepared, "--from", "2024-04-08", "--to", "2024-04-09", "--stride", "1h"]
    code, out, err = hews(*words, "--out", tmp_path / "replay")
    assert code == 0, err
    assert "events caught" in " ".join(out.split()) and "replay.html" in out.replace("\n", "")
    assert (tmp_path / "replay" / "replay.html").is_file()
    summary = json.loads(hews(*words, "--out", tmp_path / "replay", "--force", "--json")[1])
    times = [summary[key] for key in ("from", "to", "issue_times")]
    assert times == ["2024-04-08T00:00:00", "2024-04-09T23:00:00", 48]
    code, _, err = hews(*words, "--out", tmp_path / "replay")
    assert code == 2 and "exists already" in err


def test_a_date_without_a_time_is_a_whole_day_however_it_is_written(trained, prepared, tmp_path, hews):
    words = ["replay", trained("level"), prepared, "--from", "20240408", "--to", "20240408", "--stride", "1h"]
    code, out, err = hews(*words, "--out", tmp_path / "replay", "--json")
    assert code == 0, err
    assert json.loads(out)["issue_times"] == 24


def test_a_replay_without_end_is_refused_before_it_is_laid_out(trained, prepared, tmp_path, hews):
    words = ["replay", trained("level"), prepared, "--from", "2024-04-08", "--to", "9999-12-31", "--stride", "1min"]
    code, _, err = hews(*words, "--out", tmp_path / "replay")
    assert code == 2 and "which the table covers" in err
