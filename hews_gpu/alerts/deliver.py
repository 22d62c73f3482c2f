"""Delivery of warnings and of their withdrawals: what the record holds and no channel has had goes out, once.

Before a message goes to a channel the record says `sending`, afterwards `sent` or `failed`; a process that is killed in
between leaves a `sending` alone. The next one completes what can be repeated without harm, a line and a file that bear
the message's id. A message to standard output or over the network may have arrived, and is not repeated: it is recorded
as failed, with that reason. What no channel was tried for goes out late, unless its window has ended by then.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, TextIO

from hews_gpu.alerts.cap import INSTALL, City, cap_message, local_time, plain
from hews_gpu.alerts.explain import in_words
from hews_gpu.alerts.policy import Delivery
from hews_gpu.alerts.record import Record, write_end
from hews_gpu.errors import UserError
from hews_gpu.files import atomic_file, disk_full_is_a_user_error

__all__ = ["LATE", "deliver", "require_deliverable", "withdraw"]

BACKOFF_S = 1.0  # before the second attempt; doubled before each further one
WITH_WARNINGS = '"warnings":[{'  # of the outcomes that hold any
FOR_MACHINES = frozenset({"form", "forms", "json", "jsons", "xml", "xmls"})  # webhooks, which get JSON as the text
LATE = "too late: its window has ended"
UNKNOWN = "interrupted: not known whether it arrived"
WITHDRAWN = "withdrawn before it was sent"


@dataclass(frozen=True, kw_only=True)
class Message:
    """A warning, or its withdrawal."""

    warning: Mapping[str, Any]  # as it stands in the record
    told: Mapping[str, Any] | None  # why it was given, of `explain`; older records lack it
    act: Literal["warning", "cancel"]
    instant: str  # when the warning was recorded
    replaced: str | None  # when the watch that it raises was
    cancel: tuple[str, str] | None  # when it was withdrawn, and why

    @property
    def id(self) -> str:
        """What the message is known by on every channel."""
        return _message_id(self.warning["id"], self.act)


@dataclass(frozen=True, kw_only=True)
class Channel:
    """A way out: `send` returns how often it tried and, unless it succeeded, why it did not."""

    send: Callable[[Message], tuple[int, str]]
    repeatable: bool  # a second time changes nothing


def deliver(
    record: Record,
    delivery: Delivery,
    run: Path,
    city: City,
    *,
    now_s: int,
    out: TextIO | None = None,
    only_withdrawals: bool = False,
) -> list[dict[str, Any]]:
    """Send every warning and withdrawal of a record on every channel that has not had it.

    To be called when a process begins, for what an earlier one left, and after each outcome and each withdrawal.

    Args:
        record: holds outcomes with warnings, which are its own; those withheld never go out.
        delivery: the channels.
        run: the run's folder, in which the file and the folder of CAP messages lie.
        city: what places are called, and their polygons.
        now_s: local time, in seconds.
        out: instead of standard output.
        only_withdrawals: while all is stopped: no warning goes out.

    Returns:
        The lines `sent` and `failed` that were added to the record.

    Raises:
        UserError: the record cannot be written.
    """
    channels = _channels(delivery, run, city, out)
    states: dict[str, dict[str, str]] = defaultdict(dict)  # by message and channel
    for entry in record.entries("sending", "sent", "failed"):
        states[_message_id(entry["warning"], entry["act"])][entry["channel"]] = _state(entry)
    result = []
    for message in _messages(record):
        if only_withdrawals and message.act == "warning":
            continue
        warned, state = states[message.warning["id"]], states[message.id]
        left = [name for name in channels if name not in state]
        left += [name for name, kind in state.items() if kind == "sending"]  # also of a channel that is no more
        for name in left:
            if message.act == "cancel" and warned.get(name) in (None, "unsent"):
                continue  # nobody there was warned
            why = _why_not(message, state.get(name), channels.get(name), now_s)
            about = {"warning": message.warning["id"], "act": message.act, "channel": name}
            if not why and name not in state:
                record.append("sending", about)
            attempts, error = (int(why == UNKNOWN), why) if why else channels[name].send(message)
            result.append(record.append("failed" if error else "sent", {**about, "attempts": attempts, "error": error}))
            state[name] = _state(result[-1])
    return result


def _state(entry: Mapping[str, Any]) -> str:
    """Return what a line says of a message on a channel: sending, sent, failed, or unsent where nothing was tried."""
    return "unsent" if entry["kind"] == "failed" and not entry["attempts"] else str(entry["kind"])


def _why_not(message: Message, state: str | None, channel: Channel | None, now_s: int) -> str:
    """Return why a message may not be sent any more; empty if it is to be sent."""
    if state == "sending":
        return "" if channel is not None and channel.repeatable else UNKNOWN
    if message.act == "warning" and message.cancel is not None:
        return WITHDRAWN
    return LATE if now_s >= message.warning["end_s"] else ""


def _message_id(warning: str, act: str) -> str:
    return f"{warning}-cancel" if act == "cancel" else warning


def _messages(record: Record) -> Iterator[Message]:
    """Yield the warnings of a record that are not withheld, then what was withdrawn of them."""
    given, instants, told = {}, {}, dict[str, Any]()
    for entry in record.entries("outcome", holding=WITH_WARNINGS):
        told |= entry.get("explanations", {})
        for warning in entry["warnings"]:
            instants[warning["id"]] = entry["instant"]
            if not warning.get("withheld"):
                given[warning["id"]] = warning
    cancels = {entry["warning"]: (entry["instant"], str(entry["why"])) for entry in record.entries("cancel")}
    for act in ("warning", "cancel"):
        for name in given if act == "warning" else cancels:
            if name in given:
                warning = given[name]
                yield Message(
                    warning=warning,
                    told=told.get(name),
                    act="warning" if act == "warning" else "cancel",
                    instant=instants[name],
                    replaced=instants.get(warning.get("replaces")),
                    cancel=cancels.get(name),
                )


def withdraw(record: Record, warning: str, why: str, by: str) -> dict[str, Any]:
    """Record that an analyst withdraws a warning; `deliver` tells those who had it.

    Args:
        record: holds the warning.
        warning: its id.
        why: the reason.
        by: who says so.

    Raises:
        UserError: there is no such warning, it was withheld or is withdrawn already, or there is no reason.
    """
    given = {
        one["id"]: one for entry in record.entries("outcome", holding=f'"id":"{warning}"') for one in entry["warnings"]
    }
    if warning not in given:
        raise UserError(
            "--cancel", warning, allowed="is no warning of this run", remedy="'hews record show RUN' lists them"
        )
    if given[warning].get("withheld"):
        raise UserError("--cancel", warning, allowed="was withheld: nobody had it", remedy="Leave it")
    if any(entry["warning"] == warning for entry in record.entries("cancel")):
        raise UserError("--cancel", warning, allowed="is withdrawn already", remedy="Leave it")
    if not why.strip():
        raise UserError("--why", why, allowed="must give a reason", remedy="Write one: it stays in the record")
    return record.append("cancel", {"warning": warning, "why": why, "by": by})


def require_deliverable(delivery: Delivery) -> None:
    """Refuse channels that cannot work here, before anything is issued.

    Raises:
        UserError: there is none, a library is missing, or a URL is none.
    """
    if not (delivery.stdout or delivery.file or delivery.cap or delivery.urls):
        remedy = "Name a file, a folder for CAP or a URL, or leave stdout = true"
        raise UserError("[delivery]", allowed="names no channel: nobody would be warned", remedy=remedy)
    for name in ("lxml", "xmlschema") if delivery.cap else ():
        if find_spec(name) is None:
            raise UserError("[delivery] cap", delivery.cap, allowed=f"needs {name}", remedy=INSTALL)
    for number, url in enumerate(delivery.urls, 1):
        _target(url, number, delivery)


def _channels(delivery: Delivery, run: Path, city: City, out: TextIO | None) -> dict[str, Channel]:
    """Return the channels by the names that the record knows them by; those of URLs hold no secrets."""
    channels = {}
    if delivery.stdout:
        channels["stdout"] = Channel(send=partial(_print, delivery, city, out), repeatable=False)
    if delivery.file:
        channels["file"] = Channel(send=partial(_append, delivery, city, run / delivery.file), repeatable=True)
    if delivery.cap:
        channels["cap"] = Channel(send=partial(_write_cap, delivery, city, run / delivery.cap), repeatable=True)
    for number, url in enumerate(delivery.urls, 1):
        name = f"{url.partition(':')[0]} {number}"
        channels[name] = Channel(send=partial(_notify, delivery, city, url, number), repeatable=False)
    return channels


def _content(message: Message, delivery: Delivery, city: City) -> dict[str, Any]:
    """Return a message as JSON holds it; times carry their offset from UTC."""
    warning = message.warning
    return {
        "id": message.id,
        "kind": warning["tier"] if message.act == "warning" else "withdrawn",
        "status": delivery.status,
        "place": city.place(warning["place"]),
        "neighborhood": None if warning["place"] < 0 else warning["place"],
        "issued": local_time(warning["issue_s"], city).isoformat(),
        "window_start": local_time(warning["begin_s"], city).isoformat(),
        "window_end": local_time(warning["end_s"], city).isoformat(),
        "probability": warning["probability"],
        "threshold": warning["threshold"],
        "explanation": _explanation(message, city),
        "replaces": warning.get("replaces") if message.act == "warning" else warning["id"],
        "why": plain(message.cancel[1]) if message.act == "cancel" and message.cancel is not None else None,
        "sender": delivery.sender,
    }


def _explanation(message: Message, city: City) -> str | None:
    """Return why a warning was given, in words."""
    if message.told is None:
        return None
    return plain(in_words(message.told, message.warning["place"], city.names, city.targets))


def _print(delivery: Delivery, city: City, out: TextIO | None, message: Message) -> tuple[int, str]:
    """Print a message as one line."""
    try:
        print(json.dumps(_content(message, delivery, city)), file=out or sys.stdout, flush=True)
    except OSError as error:
        return 1, f"cannot be printed ({error.strerror})"
    return 1, ""


def _append(delivery: Delivery, city: City, file: Path, message: Message) -> tuple[int, str]:
    """Append a message as one line to a file, unless the file holds it; a line that was cut off is replaced."""
    line = json.dumps(_content(message, delivery, city)).encode() + b"\n"
    try:
        with disk_full_is_a_user_error(file):
            file.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(file, os.O_RDWR | os.O_CREAT, 0o644)
            with open(descriptor, "rb") as content:
                whole = content.read()
                whole = whole[: whole.rfind(b"\n") + 1]
                if f'{{"id": "{message.id}",'.encode() not in whole:
                    try:
                        write_end(descriptor, line, len(whole))
                    except OSError:
                        with suppress(OSError):
                            os.ftruncate(descriptor, len(whole))
                        raise
    except (UserError, OSError) as error:
        return 1, str(error)
    return 1, ""


def _write_cap(delivery: Delivery, city: City, folder: Path, message: Message) -> tuple[int, str]:
    """Write a message as a file of its own, named by its id; a second time it is the same."""
    cancel = message.cancel if message.act == "cancel" else None
    try:
        text = cap_message(
            message.warning,
            message.instant,
            city,
            delivery,
            replaced=message.replaced,
            cancel=cancel,
            explanation=_explanation(message, city),
        )
        folder.mkdir(parents=True, exist_ok=True)
        with atomic_file(folder / f"{message.id}.xml") as part:
            part.write_bytes(text)
    except (OSError, ValueError) as error:  # of a UserError, or of a message that does not fit the schema
        return 1, str(error)
    return 1, ""


def _notify(delivery: Delivery, city: City, url: str, number: int, message: Message) -> tuple[int, str]:
    """Send a message by a URL: again after a pause if it failed, but not if nobody knows whether it did."""
    try:
        target = _target(url, number, delivery)
    except UserError as error:
        return 0, str(error)
    content = _content(message, delivery, city)
    title = f"{'' if delivery.status == 'Actual' else f'{delivery.status}: '}{content['kind']} for {content['place']}"
    for_machines = not FOR_MACHINES.isdisjoint(target.schemas())
    lines = [f"{key}: {value}" for key, value in content.items() if value is not None]
    body, why = json.dumps(content) if for_machines else "\n".join(lines), ""
    for attempt in range(1, delivery.attempts + 1):
        if attempt > 1:
            time.sleep(BACKOFF_S * 2 ** (attempt - 2))
        why = _attempt(target, title, body, 2 * delivery.timeout_s + 1)
        if why in ("", UNKNOWN):
            return attempt, why
    return delivery.attempts, why


def _attempt(target: Any, title: str, body: str, limit_s: float) -> str:
    """Try once and return why it failed; a thread that outlives all time limits of its sockets is left behind."""
    import logging

    from apprise import Apprise, LogCapture, NotifyFormat, NotifyType

    result: list[str] = []

    def send() -> None:
        with LogCapture(level=logging.WARNING, fmt="%(message)s") as said:
            service = Apprise()
            service.add(target)
            ok = service.notify(body=body, title=title, notify_type=NotifyType.WARNING, body_format=NotifyFormat.TEXT)
            result.append("" if ok else plain(said.getvalue().partition("\n")[0])[:200] or "refused")

    thread = threading.Thread(target=send, daemon=True)
    thread.start()
    thread.join(limit_s)
    return result[0] if result else UNKNOWN


def _target(url: str, number: int, delivery: Delivery) -> Any:
    """Return what sends to a URL, which may be ``$NAME``: of a variable of the environment, since it holds secrets.

    Raises:
        UserError: apprise is missing, or it is no URL of its kind; the URL itself is not told.
    """
    where = f"[delivery] urls, number {number}"
    if url.startswith("$"):
        name = url[1:].strip("{}")
        if name not in os.environ:
            raise UserError(where, url, allowed="is a variable that the environment lacks", remedy=f"Set {name}")
        url = os.environ[name]
    try:
        with warnings.catch_warnings():  # it imports modules of every service, some of them deprecated
            warnings.simplefilter("ignore")
            from apprise import Apprise

            target = Apprise.instantiate(url, suppress_exceptions=True)
    except ImportError:
        raise UserError(where, allowed="needs apprise", remedy=INSTALL) from None
    if target is None or isinstance(target, list):
        raise UserError(where, allowed="is no URL that Apprise knows", remedy="See its list of services")
    target.socket_connect_timeout = target.socket_read_timeout = float(delivery.timeout_s)
    target.request_rate_per_sec = 0  # what it waits between two messages, by itself
    return target
