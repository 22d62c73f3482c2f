"""The commands of a run's record: verify, show, checkpoint, key, sign."""

from __future__ import annotations

import textwrap
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from hews_gpu.cli.options import Force, Json
from hews_gpu.cli.printing import print_json, print_line, tell

__all__ = ["app"]

app = typer.Typer()
record = typer.Typer(no_args_is_help=True, help="Check, read and sign the record of what a run warned of.")
app.add_typer(record, name="record")

Run = Annotated[Path, typer.Argument(metavar="RUN", help="A folder made by 'hews train' that 'hews warn' has used.")]
ROW = "{:16}  {:14}  {:11}  {:>5}  {:>11}  {:>5}  {}"  # 80 columns
BASELINES = ("climatology", "level")
CHAIN = ("n", "previous", "kind", "instant", "hash", "signature")


@record.command("verify")
def verify_record(
    run: Run,
    checkpoint: Annotated[
        Path | None, typer.Option("--checkpoint", metavar="FILE", help="A copy of head.json that was kept elsewhere.")
    ] = None,
    public_key: Annotated[
        Path | None, typer.Option("--public-key", metavar="FILE", help="The key that must have signed (PEM).")
    ] = None,
    as_json: Json = False,
) -> None:
    """Check every line: that none was changed, deleted, moved or cut off. Exit code 2 names the first that was."""
    from hews_gpu.alerts.record import load_public_key, verify

    result = verify(run, checkpoint, None if public_key is None else load_public_key(public_key))
    signed = "not signed" if not result.signed else f"{result.signed} signed with {result.head.public_key}"
    if result.signed and public_key is None:
        signed += " (as the record itself says: give --public-key to be sure)"
    torn = f"; after them {result.torn_bytes} bytes of a line that was not finished" if result.torn_bytes else ""
    text = f"{run}: {result.lines} lines hold, {signed}{torn}"
    content = {
        "lines": result.lines,
        "signed": result.signed,
        "torn_bytes": result.torn_bytes,
        "head": vars(result.head),
    }
    tell(content, text, as_json)


@record.command("show")
def show_record(
    run: Run,
    last: Annotated[int, typer.Option("--last", metavar="N", min=0, help="Only the last so many; 0: all.")] = 20,
    as_json: Json = False,
) -> None:
    """Show what was forecast and warned of, to whom it went, and what happened; the whole record is checked first."""
    from hews_gpu.alerts.record import read_record

    entries = read_record(run)
    if as_json:
        print_json({"lines": len(entries), "entries": entries[-last:]})
        return
    print_line(ROW.format("issue time", "outcome", "window", "p", *BASELINES, "event"))
    for block in list(_blocks(entries))[-last:]:
        for line in block:
            print_line(line)


@record.command("checkpoint")
def publish_checkpoint(
    run: Run,
    out: Annotated[Path, typer.Option("--out", help="File to write: keep it where the record's owner cannot write.")],
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Check the record and copy its checkpoint: with the copy, 'hews record verify' finds whatever is cut off later."""
    from hews_gpu.alerts.record import verify
    from hews_gpu.files import atomic_file, require_free_file

    require_free_file(out, force=force, example="head.json")
    head = verify(run).head
    with atomic_file(out) as partial:
        partial.write_bytes(head.text)
    tell({"checkpoint": str(out), "length": head.length, "hash": head.hash}, f"{out}: of {head.length} lines", as_json)


@record.command("key")
def make_signing_key(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Of the private key; FILE.pub holds the public one.")],
    as_json: Json = False,
) -> None:
    """Make a key that signs a record (Ed25519, PEM); name it as `key` of section sign in warnings.toml."""
    from hews_gpu.alerts.record import make_key

    public = make_key(file)
    text = f"Private key: {file}, which only you can read. Public key, to be published: {public}"
    tell({"private": str(file), "public": str(public)}, text, as_json)


@record.command("sign")
def sign_record(
    run: Run,
    key: Annotated[Path, typer.Option("--key", metavar="FILE", help="The private key (PEM).")],
    as_json: Json = False,
) -> None:
    """Sign from now on a record that was begun without a key; a record that is begun with one needs no such step."""
    from hews_gpu.alerts.record import load_key, sign

    head = sign(run, load_key(key))
    tell({"length": head.length, "public_key": head.public_key}, f"{run}: signed from line {head.length} on", as_json)


def _blocks(entries: Sequence[Mapping[str, Any]]) -> Iterator[list[str]]:
    """Yield the lines of text of each outcome, with all that concerns it, and of each other entry."""
    labels, sent, cancels = {}, defaultdict(list), {}
    for entry in entries:
        if entry["kind"] == "label":
            labels[entry["issue_time"]] = entry
        elif entry["kind"] in ("sending", "sent", "failed"):
            sent[entry["warning"]].append(entry)
        elif entry["kind"] == "cancel":
            cancels[entry["warning"]] = entry
    for entry in entries:
        if entry["kind"] == "outcome":
            label = labels.get(entry["issue_time"])
            lead_s = (entry.get("policy") or {}).get("minimum_lead_s", 0)
            lines = _outcome(entry, label)
            for warning in entry.get("warnings") or []:
                lines += _warning(warning, label, lead_s, sent[warning["id"]], cancels.get(warning["id"]))
            yield lines
        elif entry["kind"] not in ("label", "sending", "sent", "failed", "cancel"):
            what = ", ".join(f"{key} {value}" for key, value in entry.items() if key not in CHAIN and _is_short(value))
            text = f"{entry['instant'][:16].replace('T', ' ')} UTC  {entry['kind']}: {what}"
            yield textwrap.wrap(text, 80, subsequent_indent="    ")


def _outcome(entry: Mapping[str, Any], label: Mapping[str, Any] | None) -> list[str]:
    """Return a row, and below it the reason of what was not issued."""
    window, numbers = "", [""] * 3
    if entry.get("probability") is not None:
        window = f"{_time(entry['window_start'])[11:]}-{_time(entry['window_end'])[11:]}"
        baselines = entry.get("baselines") or {}
        numbers = [_number(value) for value in (entry["probability"], *map(baselines.get, BASELINES))]
    happened = "" if label is None else "yes" if label["y"] else "no"
    outcome = f"{entry['outcome']}{' late' if entry.get('late') else ''}"
    row = ROW.format(_time(entry["issue_time"]), outcome, window, *numbers, happened).rstrip()
    return [row, *textwrap.wrap(str(entry.get("reason") or ""), 80, initial_indent="    ", subsequent_indent="    ")]


def _warning(
    warning: Mapping[str, Any],
    label: Mapping[str, Any] | None,
    minimum_lead_s: int,
    sent: Sequence[Mapping[str, Any]],
    cancel: Mapping[str, Any] | None,
) -> list[str]:
    """Return a line for a warning, one for where it went, and one if it was withdrawn."""
    place = "city" if warning["place"] < 0 else f"neighborhood {warning['place']}"
    text = f"    {warning['tier']} {place}: {warning['probability']:.3f} reached {warning['threshold']:.3f}"
    if warning.get("replaces"):
        text += ", raises a watch"
    if label is not None:
        text += f"  {_came_true(warning, label, minimum_lead_s)}"
    lines = [text, f"      {warning['id']}"]
    if warning.get("withheld"):
        lines.append("      withheld: only to be scored")
    for act, words in (("warning", ""), ("cancel", "withdrawal ")):
        state = {entry["channel"]: entry for entry in sent if entry.get("act", "warning") == act}
        for kind in ("sent", "failed", "sending"):
            chosen = [one for one in state.values() if one["kind"] == kind]
            why = [f"{one['channel']} ({one['error']})" if one.get("error") else one["channel"] for one in chosen]
            lines += [f"      {words}{kind}: {', '.join(why)}"] if chosen else []
    if cancel is not None:
        text = f"withdrawn by {cancel.get('by')}: {cancel.get('why')}"
        lines += textwrap.wrap(text, 80, initial_indent="      ", subsequent_indent="        ")
    return lines


def _came_true(warning: Mapping[str, Any], label: Mapping[str, Any], minimum_lead_s: int) -> str:
    """Return the time of the first event that a warning foresaw, or that there was none."""
    foreseen = datetime.fromtimestamp(warning["issue_s"] + minimum_lead_s, UTC)
    for time, place in label.get("events") or []:
        if warning["place"] in (-1, place) and datetime.fromisoformat(time).replace(tzinfo=UTC) >= foreseen:
            return f"hit {_time(time)[11:]}"
    return "false alarm"


def _time(value: object) -> str:
    """Return a local time, in seconds or ISO, to the minute."""
    if isinstance(value, int):
        return datetime.fromtimestamp(value, UTC).strftime("%Y-%m-%d %H:%M")
    return str(value).replace("T", " ")[:16]


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def _is_short(value: object) -> bool:
    return isinstance(value, str | int | float) and len(str(value)) <= 64
