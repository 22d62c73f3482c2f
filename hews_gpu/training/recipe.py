"""A recipe: how a model is trained, as one TOML file read into frozen dataclasses.

The city file says what a city is and what is forecast of it; a recipe says by which model, on which maps, under which
protocol, and in which stages. Recipes that come with the package go by name; any other is a path. What a recipe leaves
out is the city's (`[map]`, `[training]`), so the shipped `forecast` is little more than a name.

Two protocols. ``forecast``: what is known at the issue time, three stretches of time, judged on the last.
``reference``: what the reference system did. Its maps show the very window that they are labelled with, the incidents
it is to warn of among them, and the windows are split at random: leaky, and marked so wherever its numbers are shown.
"""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass, field
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from hews_gpu.config import TrainingConfig
from hews_gpu.errors import UserError, did_you_mean
from hews_gpu.feed.augment import AugmentationConfig
from hews_gpu.own_files import read_text
from hews_gpu.training.objective import Stage
from hews_gpu.typed_toml import build_file, require

if TYPE_CHECKING:  # most models do without it
    import torch
    from torch import nn

__all__ = [
    "DEFAULT",
    "LEAKY",
    "CheckpointsConfig",
    "EngineConfig",
    "OptimizerConfig",
    "Recipe",
    "RecipeMap",
    "SplitConfig",
    "StageConfig",
    "known_recipes",
    "load_recipe",
    "parse_recipe",
]

DEFAULT = "forecast"
MODEL_LINE = re.compile(r"^model *= *[\"'][^\"']*[\"']", re.MULTILINE)
LEAKY = (
    "leaky protocol: each map shows the window that it is labelled with, the incidents to be warned of among them, "
    "and the windows are split at random, so these numbers say nothing about forecasts and cannot be believed"
)
PROTOCOLS = {
    "forecast": (
        "stack",
        "hewsnet",
        "cnn",
        "boosting",
        "counts",
        "hawkes",
        "level",
        "climatology",
        "base_rate",
    ),
    "reference": ("reference1", "reference2", "reference_small"),
}
"""The models of each protocol, by name."""
STYLES = {"forecast": "channels", "reference": "reference"}
FORMER = {"small_cnn": "cnn", "hewsnet+cnn": "stack"}
"""Names that models had in older recipes."""


@dataclass(frozen=True, kw_only=True)
class RecipeMap:
    """``[map]``: the maps that the model reads."""

    style: Literal["channels", "reference"] = "channels"
    """Counts over history steps (forecast), or the RGB map of one window (reference)."""
    height: int | None = None
    """Rows; the city's own unless given. Maps are drawn at this size, never resized."""
    width: int | None = None
    """Columns."""
    disc_radius_px: float | None = None
    """Of an incident's disc on a reference map; the city's own unless given."""
    line_width_px: float | None = None
    """Of the outlines on a reference map; the city's own unless given."""
    normalization: Literal["none", "unit", "l2"] = "none"
    """Of a reference map's bytes: unit is 0..1, l2 makes each pixel's color a vector of length 1."""

    def __post_init__(self) -> None:
        size, limits = (8.0, 4096, "8..4096 pixels"), {"disc_radius_px": (0.5, 15, "0.5..15")}
        limits |= {"height": size, "width": size, "line_width_px": (0.1, 10, "0.1..10")}
        for key, (least, most, allowed) in limits.items():
            value = getattr(self, key)
            require(value is None or least <= value <= most, f"[map] {key}", value, f"must be {allowed}")


@dataclass(frozen=True, kw_only=True)
class SplitConfig:
    """``[split]``: the random split of the reference protocol, class by class."""

    test: float = 0.125
    """Share of each class that is held out and judged on; the reference's 1/8."""
    validation: float = 0.0875
    """Share of each class that stops the training; the reference's tenth of what is left."""
    windows: int | None = None
    """Use at most this many windows, drawn at random, half of each class if balanced; all unless given."""

    def __post_init__(self) -> None:
        for key, share in (("test", self.test), ("validation", self.validation)):
            require(0 < share < 1, f"[split] {key}", share, "must be a share between 0 and 1")
        rest = "must leave something to train on"
        require(self.test + self.validation < 1, "[split] test", self.test, rest, "Lower it, or validation")
        require(self.windows is None or self.windows >= 20, "[split] windows", self.windows, "must be 20 or more")


@dataclass(frozen=True, kw_only=True)
class StageConfig:
    """``[[stages]]``: one stretch of training; stages follow each other on the same weights. None: the city's."""

    epochs: int | None = None
    """Passes over the training windows, at most."""
    batch_size: int | None = None
    """Windows per optimizer step, over all devices."""
    learning_rate: float | None = None
    """Peak step size."""
    schedule: Literal["cosine", "constant"] = "constant"
    """Constant, or a short rise and then half a cosine down to 0 over this stage."""
    accumulate: int = 1
    """Pieces that a batch goes through the model in, one after another, where memory is short."""
    augment: bool = False
    """Vary the maps as `[augmentation]` says."""
    patience: int | None = None
    """End the stage after this many epochs without a better validation score; 0: never."""

    def __post_init__(self) -> None:
        for key in ("epochs", "batch_size", "accumulate"):
            value = getattr(self, key)
            require(value is None or value >= 1, f"[stages] {key}", value, "must be 1 or more")
        rate = self.learning_rate
        require(rate is None or rate > 0, "[stages] learning_rate", rate, "must be positive")
        require(self.patience is None or self.patience >= 0, "[stages] patience", self.patience, "must be 0 or more")


@dataclass(frozen=True, kw_only=True)
class OptimizerConfig:
    """``[optimizer]``."""

    name: Literal["adamw", "adam"] = "adamw"
    """AdamW (decoupled weight decay) or Adam."""
    weight_decay: float | None = None
    """The city's `[training] weight_decay` unless given."""
    epsilon: float = 1e-8
    """Added to the denominator; 1e-8 is torch's, 1e-7 Keras'."""

    def __post_init__(self) -> None:
        decay = self.weight_decay
        require(decay is None or decay >= 0, "[optimizer] weight_decay", decay, "must be 0 or more")
        require(self.epsilon > 0, "[optimizer] epsilon", self.epsilon, "must be positive")


@dataclass(frozen=True, kw_only=True)
class EngineConfig:
    """``[engine]``: how the arithmetic is done."""

    precision: Literal["32-true", "bf16-mixed"] = "32-true"
    """float32 throughout, or bfloat16 where it is safe."""
    ema: float = 0.0
    """Decay per step of a moving average of the weights, which is then validated and kept; 0: none."""
    channels_last: bool = False
    """Keep the weights of convolutions channels-last, as maps are drawn."""
    compile: bool = False
    """Compile the model with torch.compile."""
    graph: bool = False
    """Capture a step as a CUDA graph and replay it: one GPU only, and not yet run on any."""

    @property
    def settings(self) -> dict[str, Any]:
        """What decides how results are rounded: a run goes on only with the same."""
        return {f"[engine] {key}": getattr(self, key) for key in ("precision", "compile", "channels_last", "graph")}

    def __post_init__(self) -> None:
        require(0 <= self.ema < 1, "[engine] ema", self.ema, "must be 0 or more, below 1")


@dataclass(frozen=True, kw_only=True)
class CheckpointsConfig:
    """``[checkpoints]``: how often to be able to go on from; decides nothing of the result."""

    every_s: float = 300.0
    """Seconds from one checkpoint to the next within an epoch; there is always one at its end."""
    every_steps: int | None = None
    """Also after each so many optimizer steps."""
    keep: int = 3
    """How many of the last ones stay, besides the best."""
    on_disk_full: Literal["continue", "stop"] = "stop"
    """What to do when one cannot be written; the last good one stays in either case."""

    def __post_init__(self) -> None:
        require(self.every_s >= 0, "[checkpoints] every_s", self.every_s, "must be 0 or more")
        steps = self.every_steps
        require(steps is None or steps >= 1, "[checkpoints] every_steps", steps, "must be 1 or more")
        require(self.keep >= 1, "[checkpoints] keep", self.keep, "must be 1 or more")


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """The whole file."""

    protocol: Literal["forecast", "reference"]
    """What is learned and how it is judged."""
    model: str
    """Its name in the registry."""
    experts: tuple[Literal["hewsnet", "boosting", "counts", "cnn"], ...] | None = None
    """Of a stack: those that are tried; all unless given, on a CPU cnn only where a quick one adds something."""
    map: RecipeMap = field(default_factory=RecipeMap)
    balancing: Literal["none", "equal"] = "none"
    """equal: as many windows without a target as with one, chosen once, as the reference did."""
    seed: int | None = None
    """Everything random derives from it; the city's `[training] seed` unless given."""
    stages: tuple[StageConfig, ...] = (StageConfig(schedule="cosine"),)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    augmentation: AugmentationConfig = field(default_factory=AugmentationConfig)
    split: SplitConfig = field(default_factory=SplitConfig)
    engine: EngineConfig = field(default_factory=EngineConfig)
    checkpoints: CheckpointsConfig = field(default_factory=CheckpointsConfig)
    name: str = ""
    """The file's name without its ending; not a key of the file."""
    text: str = field(default="", repr=False, compare=False)
    """The file itself; not a key of it."""

    def __post_init__(self) -> None:
        known = [model for models in PROTOCOLS.values() for model in models]
        remedy = did_you_mean(self.model, known)
        if self.model in FORMER:
            remedy = f"Write '{FORMER[self.model]}'; a run of the older recipe must be trained anew"
        require(self.model in known, "[model]", self.model, "is not known", remedy)
        fitting = PROTOCOLS[self.protocol]
        allowed = f"does not fit protocol {self.protocol}, must be one of {', '.join(fitting)}"
        require(self.model in fitting, "[model]", self.model, allowed)
        allowed = f"must be {STYLES[self.protocol]} for protocol {self.protocol}"
        require(self.map.style == STYLES[self.protocol], "[map] style", self.map.style, allowed)
        experts = self.experts
        require(experts is None or self.model == "stack", "[experts]", experts, "is for model stack")
        allowed = "must name at least one, and none twice"
        require(experts is None or len(set(experts)) == len(experts) > 0, "[experts]", experts, allowed)
        require(len(self.stages) > 0, "[[stages]]", list(self.stages), "must hold at least one stage")
        require(self.seed is None or 0 <= self.seed < 2**63, "[seed]", self.seed, "must be 0 or more, below 2**63")
        if self.protocol == "forecast":
            self._require_forecast()
        else:
            allowed = "must be unit or l2 for protocol reference"
            require(self.map.normalization != "none", "[map] normalization", self.map.normalization, allowed)

    def _require_forecast(self) -> None:
        """Refuse what a forecast would silently ignore."""
        for key in ("height", "width", "disc_radius_px", "line_width_px"):
            where, given = f"[map] {key}", getattr(self.map, key)
            require(given is None, where, given, "is the city's in protocol forecast", "Set it in the city file")
        normal, balance = self.map.normalization, self.balancing
        require(normal == "none", "[map] normalization", normal, "must be none for protocol forecast: the model's own")
        allowed = "must be none for protocol forecast: forecasts are fitted at the prevalence they come with"
        require(balance == "none", "[balancing]", balance, allowed)
        augmented = any(stage.augment for stage in self.stages)
        require(not augmented, "[stages] augment", True, "must be false for protocol forecast: history is not varied")

    def with_model(self, model: str) -> Recipe:
        """Return the recipe for another model, in its text, too.

        Raises:
            UserError: the model is not known, or does not fit the protocol.
        """
        text, count = MODEL_LINE.subn(f'model = "{model}"', self.text, count=1)
        assert count == 1, "every recipe names its model"
        return parse_recipe(text, self.name)

    @property
    def is_leaky(self) -> bool:
        """Whether the numbers of its runs cannot be believed."""
        return self.protocol == "reference"

    def seed_of(self, training: TrainingConfig) -> int:
        """Return the recipe's seed, or the city's."""
        return training.seed if self.seed is None else self.seed

    def stages_of(self, training: TrainingConfig) -> tuple[Stage, ...]:
        """Return the stages, filled up with what the city says."""
        return tuple(
            Stage(
                epochs=stage.epochs or training.epochs,
                batch_size=stage.batch_size or training.batch_size,
                learning_rate=stage.learning_rate or training.learning_rate,
                schedule=stage.schedule,
                accumulate=stage.accumulate,
                augment=stage.augment,
                patience=(training.patience if stage.patience is None else stage.patience) or None,
            )
            for stage in self.stages
        )

    def optimizer_of(self, module: nn.Module, training: TrainingConfig) -> torch.optim.Optimizer:
        """Return the optimizer of a module's parameters; its learning rate is set step by step."""
        import torch

        kinds: dict[str, type[torch.optim.Adam]] = {"adamw": torch.optim.AdamW, "adam": torch.optim.Adam}
        decay = training.weight_decay if self.optimizer.weight_decay is None else self.optimizer.weight_decay
        rate = self.stages_of(training)[0].learning_rate
        return kinds[self.optimizer.name](module.parameters(), lr=rate, weight_decay=decay, eps=self.optimizer.epsilon)

    def settings(self) -> dict[str, Any]:
        """Return everything that decides a run's result, flat, as JSON would give it back."""
        settings: dict[str, Any] = {"protocol": self.protocol, "model": self.model, "balancing": self.balancing}
        settings["experts"] = None if self.experts is None else list(self.experts)
        # the rest of [engine] is in `EngineConfig.settings`
        settings |= {"seed": self.seed, "[engine] ema": self.engine.ema}
        for section in ("map", "optimizer", "augmentation", "split"):
            settings |= {f"[{section}] {key}": value for key, value in asdict(getattr(self, section)).items()}
        for i, stage in enumerate(self.stages, start=1):
            settings |= {f"[stages] {i} {key}": value for key, value in asdict(stage).items()}
        return {f"recipe {key}": value for key, value in settings.items()}


def known_recipes() -> tuple[str, ...]:
    """Return the names of the recipes that come with the package."""
    folder = resources.files("hews_gpu") / "recipes"
    return tuple(sorted(entry.name[:-5] for entry in folder.iterdir() if entry.name.endswith(".toml")))


def load_recipe(name: str | Path = DEFAULT) -> Recipe:
    """Read and check a recipe.

    Args:
        name: of a shipped one, or the path of a TOML file.

    Raises:
        UserError: neither, not TOML, an unknown key, a wrong type or a value out of range.
    """
    if str(name) in known_recipes():
        text = (resources.files("hews_gpu") / "recipes" / f"{name}.toml").read_text(encoding="utf-8")
        return parse_recipe(text, str(name))
    path = Path(name).expanduser()
    if path.suffix != ".toml":
        remedy = f"A file of your own ends in .toml. {did_you_mean(str(name), known_recipes())}"
        raise UserError("--recipe", str(name), allowed="is not a shipped recipe", remedy=remedy)
    return parse_recipe(read_text(path, f"Give one, or a name: {', '.join(known_recipes())}"), path.stem, str(path))


def parse_recipe(text: str, name: str, file: str = "") -> Recipe:
    """Read a recipe from the text of its file; `name` is what to call it, and errors name the file.

    Raises:
        UserError: not TOML, an unknown key, a wrong type or a value out of range.
    """
    extra = {"name": name, "text": text}
    return build_file(Recipe, text, file or f"recipe {name}", example="the shipped recipes show how", extra=extra)
