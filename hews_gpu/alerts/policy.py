"""The policy of a run: when it warns, of what, how often at most, and when it says nothing.

It is one TOML file in the run's folder, `warnings.toml`, checked like a city file; `hews train` writes it with every
default in a comment. What is written of a warning carries every scalar of the policy that it was given under.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, is_dataclass, replace
from pathlib import Path
from typing import Any, Literal

from hews_gpu.config import parse_local_time
from hews_gpu.data.windows import Task
from hews_gpu.errors import UserError, did_you_mean
from hews_gpu.files import read_manifest
from hews_gpu.forecasters.base import CLIMATOLOGY, LEVEL
from hews_gpu.own_files import read_json, read_text
from hews_gpu.runs.folder import CARD, METRICS, POLICY
from hews_gpu.typed_toml import build_file, require
from hews_gpu.units import DAY_S, MINUTE_S

__all__ = [
    "CityBudget",
    "Delivery",
    "Drill",
    "InputLimits",
    "NeighborhoodBudget",
    "Policy",
    "Sign",
    "Skill",
    "load_policy",
    "parse_policy",
    "require_card",
    "why_no_skill",
]


def _require_budgets(section: str, budgets: object) -> None:
    """Refuse a budget that seven days cannot hold: less than one, but for none."""
    for key, value in vars(budgets).items():
        allowed = "must be 0, or 1 or more: a budget holds for any seven days"
        require(value == 0 or 1 <= value < 1e6, f"[{section}] {key}", value, allowed)


@dataclass(frozen=True, kw_only=True)
class CityBudget:
    """``[city]``: how many warnings of the whole city are given in a week, at most."""

    watch_per_week: float = 7.0
    """Of the lower tier; 0: none."""
    warning_per_week: float = 3.0
    """Of the higher tier."""

    def __post_init__(self) -> None:
        _require_budgets("city", self)


@dataclass(frozen=True, kw_only=True)
class NeighborhoodBudget:
    """``[neighborhoods]``: likewise, of single neighborhoods; only models that say where warn of them."""

    watch_per_week: float = 7.0
    """Of all neighborhoods together."""
    warning_per_week: float = 3.0
    """Likewise."""
    each_per_week: float = 2.0
    """Of any one, both tiers together."""

    def __post_init__(self) -> None:
        _require_budgets("neighborhoods", self)


@dataclass(frozen=True, kw_only=True)
class Skill:
    """``[skill]``."""

    required: bool = True
    """Abstain unless the run's latest evaluation shows foresight."""


@dataclass(frozen=True, kw_only=True)
class InputLimits:
    """``[input]``: what the rows must be like; else the forecast is refused."""

    newest_row_s: int = 2 * DAY_S
    """The newest row is at most so old at issue, beyond the delay."""
    layers_newest_row_s: Mapping[str, int] = field(default_factory=dict)
    """Likewise of layers by name, their delay included; else as `checks.layer_limits_s` says."""
    volume_s: int = 7 * DAY_S
    """The rows of the last so many seconds are compared with the same hours of ..."""
    volume_weeks: int = 8
    """... so many weeks before."""
    volume_ratio: tuple[float, float] = (0.5, 2.0)
    """Allowed, beyond what chance explains."""
    unknown_categories: float = 0.02
    """Share of the new rows that are of a category which training did not know, at most."""
    lost_rows: float = 0.02
    """Share of the rows of a delivery's span that earlier deliveries had and this one lacks, at most."""

    def __post_init__(self) -> None:
        for key in ("newest_row_s", "volume_s", "volume_weeks"):
            require(getattr(self, key) >= 1, f"[input] {key}", getattr(self, key), "must be 1 or more")
        low, high = self.volume_ratio
        require(0 <= low <= 1 <= high, "[input] volume_ratio", list(self.volume_ratio), "must enclose 1, from 0 on")
        for name, seconds in self.layers_newest_row_s.items():
            require(seconds >= 1, f"[input] layers_newest_row_s {name}", seconds, "must be 1 or more")
        for key in ("unknown_categories", "lost_rows"):
            value = getattr(self, key)
            require(0 <= value <= 1, f"[input] {key}", value, "must be a share, 0 to 1")


@dataclass(frozen=True, kw_only=True)
class Delivery:
    """``[delivery]``: where warnings go."""

    stdout: bool = True
    """As JSON lines."""
    file: str = "warnings.jsonl"
    """In the run's folder; empty for none."""
    urls: tuple[str, ...] = ()
    """Webhooks and e-mail, as Apprise writes them."""
    attempts: int = 3
    """To deliver one warning by one channel, at most."""
    timeout_s: int = 10
    """Of one attempt."""
    cap: str = "cap"
    """Folder of CAP 1.2 files in the run's folder; empty for none."""
    status: Literal["Actual", "Exercise", "System", "Test", "Draft"] = "Exercise"
    """Of CAP messages."""
    scope: Literal["Public", "Restricted", "Private"] = "Restricted"
    """Of CAP messages."""
    sender: str = "hews@example.org"
    """Of CAP messages: no space, comma, < or &, as the standard asks."""

    def __post_init__(self) -> None:
        require(1 <= self.attempts <= 100, "[delivery] attempts", self.attempts, "must be 1..100")
        require(1 <= self.timeout_s <= 600, "[delivery] timeout_s", self.timeout_s, "must be 1..600 seconds")
        ok = bool(self.sender) and not set(self.sender) & set(" \t\n,<&")
        require(ok, "[delivery] sender", self.sender, "must be a word without space, comma, < or &")
        for key in ("file", "cap"):
            _require_inside(f"[delivery] {key}", getattr(self, key))


@dataclass(frozen=True, kw_only=True)
class Drill:
    """``[drill]``."""

    required: bool = False
    """Stop when the last drill is older than a week, or missed a fault."""


@dataclass(frozen=True, kw_only=True)
class Sign:
    """``[sign]``."""

    key: str = ""
    """File of an Ed25519 private key (PEM) that signs the record; empty for none."""


def _require_inside(key: str, name: str) -> None:
    """Refuse a name that leads out of the run's folder; an empty one is none."""
    path = Path(name)
    ok = not name or (not path.is_absolute() and ".." not in path.parts and path.parts != ())
    require(ok and "\0" not in name, key, name, "must be a name within the run's folder")


@dataclass(frozen=True, kw_only=True)
class Policy:
    """The whole file."""

    stride_s: int = 600
    """From one issue time to the next."""
    minimum_lead_s: int = 0
    """An event counts as foreseen only so long after the issue."""
    quiet_s: int = 7200
    """After a warning none of the same place, of its tier or a lower one, for so long."""
    calibrate_on: Literal["validation"] | tuple[str, str] = "validation"
    """What thresholds are set on: the run's validation split, or a stretch of time."""
    kill_switch: str = "STOP"
    """A file in the run's folder; while it exists nothing is issued."""
    city: CityBudget = field(default_factory=CityBudget)
    neighborhoods: NeighborhoodBudget = field(default_factory=NeighborhoodBudget)
    skill: Skill = field(default_factory=Skill)
    input: InputLimits = field(default_factory=InputLimits)
    delivery: Delivery = field(default_factory=Delivery)
    drill: Drill = field(default_factory=Drill)
    sign: Sign = field(default_factory=Sign)

    def __post_init__(self) -> None:
        stride, quiet = self.stride_s, self.quiet_s
        ok = stride >= MINUTE_S and stride % MINUTE_S == 0 and DAY_S % stride == 0
        require(ok, "[stride_s]", stride, "must be whole minutes that divide a day, in seconds")
        require(self.minimum_lead_s >= 0, "[minimum_lead_s]", self.minimum_lead_s, "must be 0 or more seconds")
        require(0 <= quiet <= 366 * DAY_S, "[quiet_s]", quiet, "must be 0 or more seconds, at most a year")
        require(bool(self.kill_switch), "[kill_switch]", self.kill_switch, "must be the name of a file")
        _require_inside("[kill_switch]", self.kill_switch)
        if self.calibrate_on != "validation":
            begin_s, end_s = (parse_local_time("[calibrate_on]", edge) for edge in self.calibrate_on)
            require(begin_s < end_s, "[calibrate_on]", list(self.calibrate_on), "must begin before it ends")

    def require_fits(self, task: Task, layers: Sequence[str] = ()) -> None:
        """Refuse a minimum lead by which no event could ever count, and limits of a layer that the run has not.

        Args:
            task: of the run.
            layers: names of its layers.

        Raises:
            UserError: the lead is as long as lead and horizon together, or longer; or there is no such layer.
        """
        for name in self.input.layers_newest_row_s:
            remedy = did_you_mean(name, layers) if layers else "Leave it out"
            require(name in layers, "[input] layers_newest_row_s", name, "is no layer of the run", remedy)
        most = task.lead_s + task.horizon_s
        allowed = f"must be less than {most} seconds, lead and horizon of the city file together"
        require(self.minimum_lead_s < most, "[minimum_lead_s]", self.minimum_lead_s, allowed)

    @property
    def without_secrets(self) -> Policy:
        """The policy as it is written anywhere: of a URL, which holds tokens, its kind and 8 digits of its SHA-256."""
        urls = (
            url if url.startswith("$") else f"{url.partition(':')[0]}:{hashlib.sha256(url.encode()).hexdigest()[:8]}"
            for url in self.delivery.urls
        )
        return replace(self, delivery=replace(self.delivery, urls=tuple(urls)))

    def as_dict(self) -> dict[str, Any]:
        """Return the policy as JSON holds it, without secrets."""
        content: dict[str, Any] = json.loads(json.dumps(asdict(self.without_secrets)))
        if not content["input"]["layers_newest_row_s"]:
            del content["input"]["layers_newest_row_s"]  # so do records have it that were begun before there was any
        return content

    @property
    def fingerprint(self) -> str:
        """SHA-256, as hex digits, of the policy as JSON with sorted keys."""
        text = json.dumps(self.as_dict(), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        return hashlib.sha256(text.encode()).hexdigest()

    @property
    def columns(self) -> dict[str, str | int | float | bool]:
        """Every scalar by the name of its column, ``policy_section_key``; lists and tables as JSON; without secrets."""
        return {"policy_fingerprint": self.fingerprint, **dict(_scalars("policy", self.without_secrets))}


def _scalars(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    """Yield every field of a dataclass and of those in it, by a name that begins with theirs."""
    for one in fields(value):
        inner = getattr(value, one.name)
        if is_dataclass(inner):
            yield from _scalars(f"{name}_{one.name}", inner)
        else:
            yield f"{name}_{one.name}", json.dumps(inner) if isinstance(inner, tuple | Mapping) else inner


def load_policy(run: Path) -> Policy:
    """Read the policy in a run's folder; one without any has the defaults.

    Raises:
        UserError: the file is not TOML, or has an unknown key, a wrong type or a value out of range.
    """
    file = run / POLICY
    return parse_policy(read_text(file), str(file)) if file.exists() else Policy()


def parse_policy(text: str, file: str = POLICY) -> Policy:
    """Read a policy from the text of its file; errors name the file.

    Raises:
        UserError: as of `load_policy`.
    """
    return build_file(Policy, text, file, example=f"'hews train' writes a {POLICY} that shows every key", extra={})


def require_card(run: Path, model: str, switch: str) -> None:
    """Refuse a run of which nobody has written down what it is for, whom it falls on and who answers for it.

    Args:
        run: the run's folder.
        model: its `model_fingerprint`, which its card must name.
        switch: the file that stops it, likewise.

    Raises:
        UserError: it has no card, or one of another training or that names another file to stop it.
    """
    file, remedy = run / CARD, f"Write one with 'hews card {run} --contact TEXT'"
    if not file.is_file():
        raise UserError(str(file), allowed="is not there: a run without a card issues no warnings", remedy=remedy)
    text = read_text(file, f"{remedy} --force")
    if f"Model `{model}`" not in text:
        allowed = "is the card of another model: the run was trained anew"
        raise UserError(str(file), allowed=allowed, remedy=f"{remedy} --force")
    if f"`{switch}`" not in text:
        allowed = f"does not name {switch}, the file that stops warnings by warnings.toml"
        raise UserError(str(file), allowed=allowed, remedy=f"{remedy} --force")


BITS = {"log_skill_bits": {"value": float, "*?": object}}
JUDGED = {
    "model": str,
    "windows": int,
    "positives": int,
    "protocol": {"stride_s": int, "folds": [dict]},
    "forecasts": {"*": {"against": {"*": BITS}}},
}
"""What the judgment of a run must hold, as `own_files.check` takes it."""


def why_no_skill(run: Path) -> str:
    """Return why a run's latest evaluation is no ground to warn on, in words; empty where it shows foresight.

    Foresight is a significant gain over the calendar and over the calendar at its recent level, on enough windows to
    judge by: over the stronger of the two, whichever that is.

    Raises:
        UserError: the evaluation's file is damaged.
    """
    file = run / METRICS
    if not file.exists():
        return "not judged: run 'hews evaluate'"
    metrics = read_json(file, JUDGED, remedy="Run 'hews evaluate' again")
    return _why_not(metrics, str(read_manifest(run).get("model", metrics["model"])))


def _why_not(metrics: Mapping[str, Any], model: str) -> str:
    """Return what speaks against a model's foresight."""
    from hews_gpu.evaluation.judge import sign, too_little  # it loads much of SciPy

    if metrics["model"] != model or model not in metrics["forecasts"]:
        return f"the evaluation is of {metrics['model']}, the run of {model}: run 'hews evaluate'"
    try:
        reasons = too_little(metrics)
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(METRICS, allowed=f"is damaged ({error!r})", remedy="Run 'hews evaluate' again") from None
    if reasons:
        return f"too little to judge: {'; '.join(reasons)}"
    against = metrics["forecasts"][model]["against"]
    for name, words in ((LEVEL, "the calendar at its recent level"), (CLIMATOLOGY, "the calendar")):
        if name not in against or sign(against[name]["log_skill_bits"]) <= 0:
            return f"no significant skill over {words}"
    return ""
