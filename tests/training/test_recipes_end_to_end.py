"""Every model through the same loop, by a recipe of one's own, and what a user is told of a leaky run.

The toy city's shootings are drawn as large black discs here, other incidents as pale ones: whoever sees the map sees
the answer, which is what the leaky protocol is about.
"""

import importlib.util
import json

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from hews_gpu.cli.commands import app
from hews_gpu.errors import UserError
from hews_gpu.feed.maps import rasterize
from hews_gpu.reference.evaluate import leaky_table
from hews_gpu.runs.evaluate import evaluate
from hews_gpu.runs.train import train
from hews_gpu.training.recipe import LEAKY, load_recipe, parse_recipe

PALETTE = """
[map]
height = 62
width = 62
[map.palette]
SHOOTING = "#000000"
THEFT = "#DDDDDD"
ROBBERY = "#CCCCCC"
"""
SIZES = {"reference1": "height = 50\nwidth = 50\n", "reference2": "height = 62\nwidth = 62\n"}


@pytest.fixture(scope="session")
def plain_to_see(toy, tmp_path_factory):
    """The toy city with its shootings in black."""
    folder = toy.write(tmp_path_factory.mktemp("plain") / "prepared", toy.incidents())
    with (folder / "city.toml").open("a", encoding="utf-8") as file:
        file.write(PALETTE)
    return folder


def recipe_of(name, epochs=1, rate="1e-3", windows=480):
    """A shipped recipe, cut down to what a test has time for."""
    text = load_recipe(name).text
    if name == "forecast":
        text = text.replace('model = "stack"', 'model = "cnn"')
        return parse_recipe(text.replace("[[stages]]", f"[[stages]]\nepochs = {epochs}"), "tiny")
    lines = [line for line in text.splitlines() if not line.startswith(("height", "width", "disc_radius"))]
    lines = [f"epochs = {epochs}" if line.startswith("epochs") else line for line in lines]
    lines = [f"learning_rate = {rate}" if line.startswith("learning_rate") else line for line in lines]
    text = "\n".join(lines).replace("[map]", f"[map]\ndisc_radius_px = 6\n{SIZES[name]}")
    return parse_recipe(text.replace("[split] ", f"[split]\nwindows = {windows} "), f"tiny-{name}")


@pytest.fixture(scope="session")
def leaky(plain_to_see, tmp_path_factory):
    """A run of a small reference2, one epoch as it is and one with varied maps."""
    folder = tmp_path_factory.mktemp("leaky") / "run"
    summary = train(plain_to_see, folder, recipe=recipe_of("reference2", epochs=2), device="cpu")
    return folder, summary, evaluate(folder)


@pytest.mark.parametrize("name", ["forecast", "reference1", "reference2"])
def test_every_model_goes_through_the_same_loop_and_again_to_the_same_bits(plain_to_see, tmp_path, name):
    recipe = recipe_of(name, windows=80)
    summary = train(plain_to_see, tmp_path / "run", recipe=recipe, device="cpu")
    stopped = train(plain_to_see, tmp_path / "stopped", recipe=recipe, device="cpu", max_epochs=0)
    train(plain_to_see, tmp_path / "stopped", recipe=recipe, device="cpu", resume=True)
    assert stopped["epochs"] == 0 and summary["epochs"] == sum(stage.epochs for stage in recipe.stages)
    weights = [(tmp_path / folder / "weights.safetensors").read_bytes() for folder in ("run", "stopped")]
    assert weights[0] == weights[1]
    assert (tmp_path / "run" / "recipe.toml").read_text(encoding="utf-8") == recipe.text


def test_a_leaky_run_reads_the_answer_off_the_map(leaky):
    _, summary, metrics = leaky
    assert metrics["accuracy"] > 0.9 and metrics["auc"] > 0.95
    assert metrics["windows"] == 60 and metrics["positives"] == 30
    assert summary["validation_accuracy"] > 0.8


def test_a_leaky_run_says_so_wherever_it_says_anything(leaky, plain_to_see, tmp_path, capsys):
    folder, summary, metrics = leaky
    assert "leaky protocol" in LEAKY and "cannot be believed" in LEAKY
    assert summary["warning"] == metrics["warning"] == LEAKY
    assert json.loads((folder / "hews.json").read_text(encoding="utf-8"))["warning"] == LEAKY
    assert LEAKY.encode() in (folder / "weights.safetensors").read_bytes()
    assert json.loads((folder / "metrics.json").read_text(encoding="utf-8")) == metrics
    capsys.readouterr()
    train(plain_to_see, tmp_path / "run", recipe=recipe_of("reference2", windows=80), device="cpu", max_epochs=0)
    assert LEAKY in capsys.readouterr().err
    shown = CliRunner().invoke(app, ["evaluate", str(folder)])
    assert shown.exit_code == 0
    assert LEAKY in shown.stdout.replace("\n", " ") and "leaky protocol" in leaky_table(metrics)[0][0]
    assert f"{metrics['accuracy']:.3f}" in shown.stdout


def test_a_leaky_run_is_never_judged_as_a_forecast(leaky):
    folder, summary, metrics = leaky
    assert not (folder / "forecasts.parquet").exists()
    for said in (json.dumps(metrics), json.dumps(summary), str(leaky_table(metrics))):
        assert "skill" not in said.lower()
    assert "baselines" not in metrics


def test_the_held_out_windows_are_those_that_the_numbers_are_of(leaky):
    folder, _, metrics = leaky
    table = pd.read_parquet(folder / "leaky_held_out.parquet")
    assert list(table) == ["window_start", "window_end", "p_leaky", "y"]
    assert ((table["p_leaky"] >= 0.5) == (table["y"] == 1)).mean() == metrics["accuracy"]
    assert (table["window_end"] - table["window_start"] == pd.Timedelta(hours=2)).all()
    assert metrics["parts"]["test"]["true_positives"] + metrics["parts"]["test"]["false_negatives"] == 30
    low, high = metrics["accuracy_interval"]
    assert low <= metrics["accuracy"] <= high


def test_the_history_holds_every_stage_and_score(leaky):
    rows = np.genfromtxt(leaky[0] / "history.csv", delimiter=",", names=True, dtype=None, encoding="utf-8")
    assert list(rows["epoch"]) == [0, 1, 2, 3, 4]
    assert rows["validation_log_loss"][0] - rows["validation_log_loss"].min() > 0.1
    assert {"validation_accuracy", "validation_auc", "waiting_s", "peak_memory_mib"} <= set(rows.dtype.names)
    assert list((leaky[0] / "logs").glob("events.out.tfevents.*"))


def test_a_run_goes_on_only_by_the_same_recipe(plain_to_see, tmp_path):
    recipe = recipe_of("reference2", windows=80)
    train(plain_to_see, tmp_path / "run", recipe=recipe, device="cpu", max_epochs=0)
    other = parse_recipe(recipe.text.replace("rotation_deg = 20", "rotation_deg = 10"), "other")
    with pytest.raises(UserError, match=r"\[augmentation\] rotation_deg was 20\.0, is 10\.0"):
        train(plain_to_see, tmp_path / "run", recipe=other, device="cpu", resume=True)


def test_the_command_takes_a_recipe_and_resumes_where_there_is_something(plain_to_see, tmp_path):
    path, run = tmp_path / "mine.toml", tmp_path / "run"
    path.write_text(recipe_of("reference2", windows=40).text, encoding="utf-8")
    command = ["train", str(plain_to_see), "--out", str(run), "--device", "cpu", "--recipe", str(path), "--json"]
    for expected in (2, 2):  # the second finds the run at its end
        shown = CliRunner().invoke(app, [*command, "--resume", "auto"])
        assert shown.exit_code == 0, shown.stderr
        assert json.loads(shown.stdout)["epochs"] == expected
    refused = CliRunner().invoke(app, [*command[:3], str(tmp_path / "none"), *command[4:], "--resume"])
    assert refused.exit_code == 2 and "holds no checkpoint" in refused.stderr
    wrong = CliRunner().invoke(app, [*command[:-2], "refrence2"])
    assert wrong.exit_code == 2 and "Did you mean 'reference2'?" in wrong.stderr


@pytest.mark.parametrize("name", ["forecast", "reference2"])
def test_every_feed_trains_to_the_same_bits(plain_to_see, tmp_path, name):
    """Stored maps are those of the city, so the recipe draws at the city's own size here."""
    recipe = recipe_of(name, windows=40)
    if name == "reference2":
        lines = [line for line in recipe.text.splitlines() if not line.startswith(("height", "width", "disc"))]
        recipe = parse_recipe("\n".join(lines).replace("augment = true", "augment = false"), "city-sized")
    rasterize(plain_to_see, tmp_path / "maps", style=recipe.map.style)
    feeds = ["direct", f"zarr:{tmp_path / 'maps'}"]
    if importlib.util.find_spec("nvidia.dali"):
        feeds.append("dali")
    for number, feed in enumerate(feeds):
        train(plain_to_see, tmp_path / str(number), recipe=recipe, feed=feed, device="cpu")
    weights = [(tmp_path / str(number) / "weights.safetensors").read_bytes() for number in range(len(feeds))]
    assert weights == [weights[0]] * len(feeds)
    with pytest.raises(UserError, match=r"--feed = 'zarr': needs a folder of maps"):
        train(plain_to_see, tmp_path / "none", recipe=recipe, feed="zarr", device="cpu")
    assert not (tmp_path / "none").exists()
