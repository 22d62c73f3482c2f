import json
import tomllib
from dataclasses import MISSING, fields, is_dataclass, replace
from importlib import resources

import pytest

from hews_gpu.alerts.policy import Delivery, Policy, load_policy, parse_policy, why_no_skill
from hews_gpu.data.windows import Task
from hews_gpu.errors import UserError

TEMPLATE = (resources.files("hews_gpu") / "alerts" / "warnings.toml").read_text(encoding="utf-8")


def shown():
    """The template with every default taken out of its comment."""
    lines = [
        line[2:] if line.startswith("# ") and " = " in line.partition("#")[2] else line for line in TEMPLATE.split("\n")
    ]
    return "\n".join(lines)


def keys(kind, prefix=()):
    for one in fields(kind):
        inner = one.default_factory if one.default_factory is not MISSING else None
        if is_dataclass(inner):
            yield from keys(inner, (*prefix, one.name))
        else:
            yield (*prefix, one.name)


def test_an_empty_file_and_the_template_have_the_defaults():
    assert parse_policy("") == parse_policy(TEMPLATE) == Policy()


def test_the_template_shows_every_key_with_its_default():
    content = tomllib.loads(shown())
    for key in keys(Policy):
        at = content
        for name in key:
            at = at[name]
    assert parse_policy(shown()) == Policy()


@pytest.mark.parametrize(
    ("text", "field", "allowed"),
    [
        ("stride_s = 700", "stride_s", "divide a day"),
        ("stride_s = 90", "stride_s", "whole minutes"),
        ("stride = 600", "stride", "not a known key"),
        ("minimum_lead_s = -1", "minimum_lead_s", "0 or more"),
        ('calibrate_on = "test"', "calibrate_on", "validation"),
        ('calibrate_on = ["2017-04-01", "2017-01-01"]', "calibrate_on", "must begin before"),
        ('kill_switch = "../STOP"', "kill_switch", "within the run's folder"),
        ('kill_switch = "/STOP"', "kill_switch", "within the run's folder"),
        ("[city]\nwatch_per_week = 0.5", "[city] watch_per_week", "0, or 1 or more"),
        ("[neighborhoods]\neach_per_week = -2.0", "[neighborhoods] each_per_week", "0, or 1 or more"),
        ("[input]\nvolume_ratio = [1.5, 2.0]", "[input] volume_ratio", "enclose 1"),
        ("[input]\nlost_rows = 1.5", "[input] lost_rows", "share"),
        ('[delivery]\nstatus = "actual"', "[delivery] status", "Exercise"),
        ('[delivery]\nsender = "a b"', "[delivery] sender", "without space"),
        ('[delivery]\ncap = "a/../../b"', "[delivery] cap", "within the run's folder"),
        ("[delivery]\nattempts = 0", "[delivery] attempts", "1..100"),
    ],
)
def test_what_a_policy_may_not_say(text, field, allowed):
    with pytest.raises(UserError) as error:
        parse_policy(text, "run/warnings.toml")
    assert field in error.value.field
    assert error.value.field.startswith("run/warnings.toml: ")
    assert allowed in error.value.allowed


def test_a_minimum_lead_leaves_a_part_of_the_window():
    task = Task(lead_s=1800, horizon_s=7200)
    Policy(minimum_lead_s=8999).require_fits(task)
    with pytest.raises(UserError, match=r"minimum_lead_s.*9000"):
        Policy(minimum_lead_s=9000).require_fits(task)


def test_a_policy_without_layers_keeps_the_fingerprint_that_older_records_hold():
    assert Policy().fingerprint.startswith("053ed79e2c2c")
    assert "layers_newest_row_s" not in Policy().as_dict()["input"]
    limited = replace(Policy(), input=replace(Policy().input, layers_newest_row_s={"calls": 3600}))
    assert limited.fingerprint != Policy().fingerprint


def test_every_change_changes_the_fingerprint_and_its_own_column():
    policy, other = Policy(), parse_policy("[city]\nwarning_per_week = 4")
    assert policy.fingerprint == Policy().fingerprint != other.fingerprint
    differing = {name for name, value in policy.columns.items() if other.columns[name] != value}
    assert differing == {"policy_fingerprint", "policy_city_warning_per_week"}
    assert policy.columns["policy_input_volume_ratio"] == "[0.5, 2.0]"
    assert json.loads(json.dumps(policy.as_dict())) == policy.as_dict()


def test_training_writes_the_policy_and_leaves_one_that_is_there(prepared, trained, tmp_path):
    from hews_gpu.runs.train import train

    run = trained("level")
    assert (run / "warnings.toml").read_text(encoding="utf-8") == TEMPLATE
    assert load_policy(run) == Policy()
    train(prepared, tmp_path / "run", model="cnn", device="cpu", max_epochs=1)
    (tmp_path / "run" / "warnings.toml").write_text("stride_s = 3600\n", encoding="utf-8")
    train(prepared, tmp_path / "run", model="cnn", device="cpu", resume=True)
    assert load_policy(tmp_path / "run") == Policy(stride_s=3600)


def bits(value, p):
    return {"log_skill_bits": {"value": value, "interval": [0, 0], "p_corrected": p}}


def judged(run, level, climatology, **changes):
    """A run's folder with an evaluation of 20 weeks that says so."""
    run.mkdir(exist_ok=True)
    (run / "hews.json").write_text(json.dumps({"kind": "run", "model": "stack"}), encoding="utf-8")
    span = {"begin": "2016-01-01T00:00", "end": "2016-12-31T00:00"}
    metrics = {
        "model": "stack",
        "windows": 1680,
        "positives": 200,
        "protocol": {"stride_s": 7200, "folds": [{"train": span, "test": span}]},
        "forecasts": {"stack": {"against": {"level": level, "climatology": climatology}}},
        **changes,
    }
    (run / "metrics.json").write_text(json.dumps(metrics), encoding="utf-8")
    return why_no_skill(run)


def test_only_a_significant_gain_over_both_references_is_ground_to_warn_on(tmp_path):
    assert "hews evaluate" in why_no_skill(tmp_path)
    good, bad, weak = bits(0.01, 0.001), bits(-0.01, 0.001), bits(0.01, 0.2)
    assert judged(tmp_path, good, good) == ""
    for level, climatology, over in ((weak, good, "level"), (good, weak, "calendar"), (bad, good, "level")):
        assert over in judged(tmp_path, level, climatology)
    assert "too little to judge: 3 test windows" in judged(tmp_path, good, good, positives=3)
    assert "the run of stack" in judged(tmp_path, good, good, model="hawkes")


def test_a_damaged_evaluation_is_refused(tmp_path):
    with pytest.raises(UserError, match="folds"):
        judged(tmp_path, bits(1, 0), bits(1, 0), protocol={"stride_s": 7200})
    with pytest.raises(UserError, match=r"metrics\.json"):
        judged(tmp_path, bits(1, 0), bits(1, 0), protocol={"stride_s": 7200, "folds": [{}]})


def test_nothing_that_is_written_of_a_policy_holds_the_secrets_of_its_urls():
    policy, other = (
        Policy(delivery=Delivery(urls=(f"json://user:{word}@host", "$HOOK"))) for word in ("s3cret", "other")
    )
    assert "s3cret" not in json.dumps([policy.as_dict(), policy.columns])
    assert policy.as_dict()["delivery"]["urls"][1] == "$HOOK"
    assert policy.fingerprint != other.fingerprint  # that it changed is still told
    assert policy.delivery.urls[0] == "json://user:s3cret@host"
