"""Each of our own files, damaged at every key in turn: one line names the file and the key, and nothing is written.

What a command reads is damaged in a copy, and the command is run in this process. Sections of the report are left out:
by the time they are drawn everything has been read.
"""

from __future__ import annotations

import copy
import itertools
import json
import shutil
import tomllib
from dataclasses import asdict
from fnmatch import fnmatch

import pytest
from typer.main import get_command

from hews_gpu.cli.commands import app
from hews_gpu.cluster.jobs import Job, Submission, write_submission
from hews_gpu.errors import UserError
from hews_gpu.training.checkpoint import Checkpoints, Snapshot
from hews_gpu.training.loop import CHECKPOINT, Position
from hews_gpu.training.objective import EpochRow
from hews_gpu.training.recipe import load_recipe
from tests.report.conftest import write_prepared, write_run
from tests.report.pages import few_methods

DEEP = "[" * 100_000 + "]" * 100_000
NO_JSON = {
    "empty": b"",
    "cut off": b'{"kind": "ru',
    "no UTF-8": b'{"kind": "\xff"}',
    "NUL": b"\0\0\0\0",
    "deep": f'{{"kind": {DEEP}}}'.encode(),
    "a list": b"[1]",
}
WHOLE = {*NO_JSON, "'deep'", '"', "1,1"}
"""Damages after which no key can be told."""
NOT_OURS = ("fetched/fetch.json", "a list")  # a file of somebody else's of this name is left alone
HUGE, NAN, HALF = 10**400, float("nan"), "\ud800"
CITY = "map- map.*- channels*-"
ACCEPTED = {
    "run/metrics.json": "kind* model- *brier* *average_precision* *.seeds* *.slope- *.slope_interval- *.intercept* "
    "*.in_the_large* *.smooth_calibration_error* *.count* *.slope_to_truth* *.against.level- *.precision- "
    "*.oracle_gap_closure- *.oracle_gap_closure.four_weeks- *.false_alarms_per_week* parts- parts.train- "
    "parts.validation- parts.test- parts.*.begin* parts.*.end* parts.*.auc- places- places.near_pairs- "
    "places.forecasts.hewsnet- *.log_skill_bits.p- *.p_corrected- *.apart- places.cells- "
    "places.cells.forecasts.hewsnet- *.pai_interval- *.pei_interval- *.pei_star_interval- *.rri- *.rri_interval-",
    "run/hews.json": "created- version- command- data_fingerprint- device*",
    "prepared/hews.json": "created- version- command-",
    "prepared/quality.json": "*_by_reason.*- missing_by_month.columns.*- rounding_by_category.LARCENY- "
    "rounding_by_category.SHOOTING- targets_kept* *.full_hour* volume_steps.rule* *.ratio- *.z* *.values*",
    "run/history.csv": "validation_log_loss- seconds- samples_per_s-",
    "run/city.toml": CITY,
    "prepared/city.toml": CITY,
    "run/recipe.toml": "balancing- map- map.style- stages- stages.*.schedule- optimizer- optimizer.name- "
    "optimizer.epsilon- engine*- checkpoints*-",
    "run/slurm/jobs.json": "extra.sweep- earlier*",
    "sweep.toml": "recipe- at_once- grid.seed- grid.seed.0",
    "results.json": "curves- curves.*_s- *.level.auc* places- places.near_pairs- *.recent_28_days- as_reported- "
    "protocol.embargo_s* protocol.seeds* protocol.bootstrap* protocol.as_reported* places.neighbourhoods*",
    "bench.json": "date- command- commit- cpu- cores- load_at_start- rows- rows rows.0 rows.0.work* rows.0.drawing "
    "rows.0.drawing- rows.0.drawing.*-",
    "fetched/fetch.json": "kind* query.where* tables.incidents- *.first* *.last* *.bytes* *.time_zone- *.fields- "
    "doubts- finished-",
}
"""What may be missing (-), and what is written for people and read no more, by its keys."""


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A folder with one of everything."""
    folder = tmp_path_factory.mktemp("whole")
    prepared = write_prepared(folder / "prepared")
    run = write_run(folder / "run", prepared, oracle=True)
    (run / "recipe.toml").write_text(load_recipe("forecast").text)
    (run / "slurm").mkdir()
    write_submission(run, SUBMISSION)
    (folder / "results.json").write_text(json.dumps(few_methods()["baltimore"]))
    (folder / "bench.json").write_text(json.dumps(BENCH))
    (folder / "fetched").mkdir()
    (folder / "fetched" / "table.csv").write_text("When,Kind\n2026-01-01 10:00,ROBBERY\n")
    (folder / "fetched" / "fetch.json").write_text(json.dumps(FETCHED))
    (folder / "sweep.toml").write_text('prepared = "p"\nrecipe = "forecast"\nat_once = 2\n[grid]\nseed = [1, 2]\n')
    return folder


SUBMISSION = Submission(
    kind="sweep",
    when="2026-01-01T00:00:00Z",
    jobs=(Job(name="train", id="7", script="train.sbatch", log="hews-train-%j.log"),),
    extra={"sweep": "sweep.toml"},
)
BENCH = {
    **{"benchmark": "toy", "date": "2026-01-01", "command": "toy.py", "commit": "abc", "cpu": "A", "cores": 2},
    **{"load_at_start": 0.1, "rows": [{"work": "small", "drawing": {"median_s": 1.0, "min_s": 0.9, "max_s": 1.1}}]},
}
PAGE = {"file": "table.csv", "url": "u", "time": "t", "rows": 1, "first": 1, "last": 1, "bytes": 9, "sha256": "0"}
FETCHED = {
    "kind": "fetch",
    "query": {"where": ""},
    "tables": {"incidents": {"whole": True, "pages": [PAGE], "time_zone": "UTC", "fields": ["Kind"]}},
    "doubts": ["one"],
    "finished": "2026-01-01",
}
COMMANDS = {
    "run/metrics.json": "report run",
    "run/hews.json": "report run",
    "run/history.csv": "report run",
    "run/city.toml": "report run",
    "prepared/hews.json": "report run",
    "prepared/city.toml": "report run",
    "prepared/quality.json": "report run",
    "run/recipe.toml": "evaluate run",
    "run/slurm/jobs.json": "status run",
    "sweep.toml": "status run",
    "results.json": "report results.json",
    "bench.json": "bench compare bench.json bench.json",
    "fetched/fetch.json": "init any --from fetched/table.csv --force",
}


def places(value, way=()):
    """Yield the way to every key; of lists the first entry stands for the others, and one forecaster for all."""
    items = value.items() if isinstance(value, dict) else enumerate(value[:1]) if isinstance(value, list) else ()
    if not way and "curves" in value:  # the rest is as in metrics.json
        items = [(key, value[key]) for key in ("curves", "places", "as_reported", "protocol") if key in value]
    if way[-1:] in (("forecasts",), ("against",)):
        items = list(items)[1:2]
    for key, one in items:
        yield (*way, key)
        yield from places(one, (*way, key))


def damages(value):
    """Return what may stand in the place of a value: of another type, or no value at all."""
    others = {str: 7, bool: "yes", int: "many", float: "high", list: {"a": 1}, dict: [1]}
    return [others.get(type(value), [[[1]]]), [[[[1]]]], HUGE, NAN, HALF, None, "deep"]


def put(content, way, *new):
    """Return a copy with another value there, or none."""
    content = copy.deepcopy(content)
    at = content
    for key in way[:-1]:
        at = at[key]
    if new:
        at[way[-1]] = new[0]
    else:
        del at[way[-1]]
    return content


def damaged(content):
    """Yield what is damaged, and the content so damaged: each key is deleted, and has one of the damages in turn."""
    turn = itertools.count()
    for way in places(content):
        value = content
        for key in way:
            value = value[key]
        if not isinstance(way[-1], int):
            yield way, "deleted", put(content, way)
        choice = damages(value)
        new = choice[next(turn) % len(choice)]
        yield way, repr(new)[:20], put(content, way, new)


def as_toml(value):
    """Return a value as TOML writes it, sections in one line; what it cannot write is left out or another fault."""
    if isinstance(value, dict):
        parts = [f"{json.dumps(key)} = {as_toml(one)}" for key, one in value.items() if one is not None]
        return f"{{{', '.join(parts)}}}"
    if isinstance(value, list):
        return f"[{', '.join(map(as_toml, value))}]"
    return str(value) if isinstance(value, float) else json.dumps(value).replace(r"\ud800", r"\u0000")


def texts(file):
    """Yield the key, the damage, and the text of each damaged version of a file."""
    text = file.read_text(encoding="utf-8")
    if file.suffix == ".csv":
        heading, first, *rest = text.splitlines()
        for name in heading.split(","):
            yield (name,), "deleted", text.replace(name, "x", 1)
        for i, name in enumerate(heading.split(",")):
            for new in ("high", "nan", "1e999", '"', "1,1"):
                cells = first.split(",")
                cells[i] = new
                yield (name,), new, "\n".join([heading, ",".join(cells), *rest])
        return
    is_toml = file.suffix == ".toml"
    for way, what, content in damaged(tomllib.loads(text) if is_toml else json.loads(text)):
        lines = [f"{key} = {as_toml(one)}\n" for key, one in content.items() if one is not None] if is_toml else []
        new = "".join(lines) if is_toml else json.dumps(content)
        if not (is_toml and what == "None"):
            yield way, what, new.replace('"deep"', DEEP)


@pytest.mark.parametrize("name", COMMANDS)
def test_a_damaged_file_ends_in_one_line_that_names_it(whole, monkeypatch, capsys, name):
    monkeypatch.chdir(whole)
    monkeypatch.setattr("hews_gpu.report.build.SECTIONS", ())
    monkeypatch.setattr("hews_gpu.cluster.slurm.cluster_states", lambda _: {})
    command = get_command(app)
    file, there, wrong = whole / name, set(whole.rglob("*")), []
    versions = [((), what, content) for what, content in NO_JSON.items() if (name, what) != NOT_OURS]
    versions += [(way, what, text.encode()) for way, what, text in texts(file)]
    before = file.read_bytes()
    try:
        for way, what, content in versions:
            file.write_bytes(content)
            try:
                command(COMMANDS[name].split())
                code: object = 0
            except SystemExit as end:
                code = end.code or 0
            except Exception as error:  # noqa: BLE001
                code = repr(error)[:80]
            line, made = capsys.readouterr().err, set(whole.rglob("*")) - there
            keys = [key for key in way if isinstance(key, str)][-1:] if what not in WHOLE else []
            path = ".".join(map(str, way)) + "-" * (what in ("deleted", "None"))
            is_refused = code == 2 and line.count("\n") == 1 and not made
            is_accepted = code in (0, 1, 2) and any(fnmatch(path, one) for one in ACCEPTED[name].split())
            if not (is_accepted or (is_refused and all(word in line for word in (file.name, *keys)))):
                wrong.append((path, what, code, line[:200]))
            for one in made:
                one.unlink()
    finally:
        file.write_bytes(before)
    assert not wrong, f"{len(wrong)} of {len(versions)}: {wrong[:20]}"


def test_a_newer_version_may_write_more_and_an_editor_a_byte_order_mark(whole, tmp_path, monkeypatch):
    monkeypatch.setattr("hews_gpu.report.build.SECTIONS", ())
    folder = shutil.copytree(whole, tmp_path / "whole")
    monkeypatch.chdir(folder)
    for name in ("run/metrics.json", "run/hews.json", "prepared/hews.json", "prepared/quality.json", "run/history.csv"):
        text = (folder / name).read_text(encoding="utf-8")
        if name.endswith(".json"):
            text = json.dumps({**json.loads(text), "newer": {"x": [None, "y"]}})
        (folder / name).write_text(text, encoding="utf-8-sig")
    with pytest.raises(SystemExit) as end:
        app(["report", "run", "--data", "prepared"])
    assert not end.value.code and (folder / "run" / "report.html").is_file()


def test_a_checkpoint_whose_notes_are_damaged_is_refused_although_its_checksum_is_right(tmp_path):
    row = EpochRow(epoch=0, train_loss=1.0, validation={"log_loss": 1.0}, order="0", cost={"seconds": 1.0})
    position = asdict(Position(losses=[1.0], orders=[1], history=[row]))
    notes = {"position": position, "settings": {"seed": 0}, "made_with": {"device": "cpu"}}
    checkpoints, wrong = Checkpoints(tmp_path, 1), []
    accepted = "*.validation.log_loss- *.cost- *.cost.seconds- settings.seed* made_with.device*"
    for way, what, content in damaged(notes):
        if what in ("nan", "'deep'"):  # never written
            continue
        checkpoints.save(0, Snapshot(tensors={}, notes=content))
        path = ".".join(map(str, way)) + "-" * (what in ("deleted", "None"))
        try:
            Position.from_notes(checkpoints.load_last(CHECKPOINT).notes["position"])
            is_right = any(fnmatch(path, one) for one in accepted.split())
        except UserError as error:
            is_right = str([key for key in way if isinstance(key, str)][-1]) in str(error)
        if not is_right:
            wrong.append((path, what))
    assert not wrong
