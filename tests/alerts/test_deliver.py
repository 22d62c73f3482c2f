"""Delivery: every warning goes out once on every channel or is recorded as failed, whatever is killed or dead.

Webhooks are real: an HTTP server in this process, which answers as each test says and keeps what it was sent.
"""

import io
import json
import os
import random
import threading
import time
from collections import Counter
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import shapely
from lxml import etree

from hews_gpu.alerts import deliver as module
from hews_gpu.alerts.cap import City
from hews_gpu.alerts.deliver import deliver, require_deliverable, withdraw
from hews_gpu.alerts.policy import Delivery
from hews_gpu.alerts.record import open_record, read_record, verify
from hews_gpu.errors import UserError
from tests.alerts.killed import FORKS, Forks

AT = 1_496_325_600  # 2017-06-01T14:00, local
CITY = City(
    name="Toy", timezone="America/New_York", names=["A"], targets=["X"], outlines=lambda: [shapely.box(0, 0, 1, 1).wkb]
)
QUIET = Delivery(stdout=False, file="", cap="")

LOAD = """
import sys
from pathlib import Path
import shapely
from hews_gpu.alerts.cap import City, _schema
from hews_gpu.alerts.deliver import deliver, require_deliverable
from hews_gpu.alerts.policy import Delivery
from hews_gpu.alerts.record import open_record

run, url, base = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
outlines = lambda: [shapely.box(0, 0, 1, 1).wkb]
city = City(name="Toy", timezone="America/New_York", names=["A"], targets=["X"], outlines=outlines)
delivery = Delivery(urls=(url,))
require_deliverable(delivery)
_schema()  # all that takes long is loaded before the clock runs
"""
SEND = """
with open_record(run) as record:
    deliver(record, delivery, run, city, now_s=base)
    for n in range(len(record), len(record) + 1000):
        warning = {"id": f"0a1b2c3d-{n}-city-watch", "place": -1, "tier": "watch", "issue_s": base,
                   "begin_s": base + 1800, "end_s": base + 9000, "probability": 0.5, "threshold": 0.25}
        record.append("outcome", {"issue_time": base, "outcome": "issued", "warnings": [warning]})
        deliver(record, delivery, run, city, now_s=base)
"""


def warning(n=0, place=-1, tier="watch", **more):
    name = "city" if place < 0 else f"n{place}"
    times = {"issue_s": AT, "begin_s": AT + 1800, "end_s": AT + 9000}
    numbers = {"probability": 0.31, "threshold": 0.28, "replaces": None, "withheld": False}
    return {"id": f"0a1b2c3d-{n}-{name}-{tier}", "place": place, "tier": tier, **times, **numbers, **more}


def issue(record, *warnings):
    record.append("outcome", {"issue_time": AT, "outcome": "issued", "warnings": list(warnings)})


class Hook(ThreadingHTTPServer):
    """Answers by turns as `answers` says, and with the last of them from then on: a status, or seconds of silence."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.got, self.answers = [], [200]

    @property
    def url(self):
        return f"json://127.0.0.1:{self.server_address[1]}/hook"

    @property
    def ids(self):
        return [json.loads(one["message"])["id"] for one in self.got]


class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        self.server.got.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        answers = self.server.answers
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        if isinstance(answer, float):
            time.sleep(answer)
            answer = 200
        self.send_response(answer)
        self.end_headers()

    def log_message(self, *_):
        """Say nothing."""


@pytest.fixture
def hook():
    with Hook() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture(autouse=True)
def no_long_pauses(monkeypatch):
    monkeypatch.setattr(module, "BACKOFF_S", 0.01)


@contextmanager
def issued(run, *warnings):
    with open_record(run) as record:
        issue(record, *(warnings or (warning(),)))
        yield record


def states(run):
    """Of each warning on each channel, the kinds of lines in the record."""
    kinds = {}
    for entry in read_record(run):
        if entry["kind"] in ("sending", "sent", "failed"):
            key = (entry["warning"].split("-", 1)[1], entry["act"], entry["channel"])
            kinds.setdefault(key, []).append(entry["kind"])
    return kinds


def lines_of(file):
    return [json.loads(line) for line in file.read_text().splitlines()]


def test_a_warning_goes_out_once_on_every_channel(tmp_path, hook):
    delivery, out = Delivery(urls=(hook.url,)), io.StringIO()
    with issued(tmp_path) as record:
        result = deliver(record, delivery, tmp_path, CITY, now_s=AT, out=out)
        assert [(one["kind"], one["channel"], one["attempts"]) for one in result] == [
            ("sent", "stdout", 1),
            ("sent", "file", 1),
            ("sent", "cap", 1),
            ("sent", "json 1", 1),
        ]
        assert deliver(record, delivery, tmp_path, CITY, now_s=AT, out=out) == []
    assert all(kinds == ["sending", "sent"] for kinds in states(tmp_path).values())
    printed = json.loads(out.getvalue())
    assert [printed] == lines_of(tmp_path / "warnings.jsonl") == [json.loads(hook.got[0]["message"])]
    assert printed["window_start"] == "2017-06-01T14:30:00-04:00"
    assert (printed["kind"], printed["place"], printed["status"]) == ("watch", "Toy", "Exercise")
    assert hook.got[0]["title"] == "Exercise: watch for Toy"
    assert [file.name for file in (tmp_path / "cap").iterdir()] == ["0a1b2c3d-0-city-watch.xml"]


def test_what_is_withheld_goes_nowhere(tmp_path, hook):
    with issued(tmp_path, warning(withheld=True)) as record:
        assert deliver(record, Delivery(urls=(hook.url,)), tmp_path, CITY, now_s=AT) == []
        with pytest.raises(UserError, match="was withheld"):
            withdraw(record, warning()["id"], "no", "me")
    assert hook.got == []


def test_a_raise_names_the_watch(tmp_path):
    with open_record(tmp_path) as record:
        issue(record, warning(0))
        issue(record, warning(1, tier="warning", replaces=warning(0)["id"]))
        deliver(record, Delivery(), tmp_path, CITY, now_s=AT, out=io.StringIO())
    text = etree.parse(tmp_path / "cap" / "0a1b2c3d-1-city-warning.xml").getroot()
    assert text.findtext("{*}msgType") == "Update"
    watch = etree.parse(tmp_path / "cap" / "0a1b2c3d-0-city-watch.xml").getroot()
    sent = watch.findtext("{*}sent")
    assert text.findtext("{*}references") == f"hews@example.org,0a1b2c3d-0-city-watch,{sent}"
    assert lines_of(tmp_path / "warnings.jsonl")[1]["replaces"] == "0a1b2c3d-0-city-watch"


# Webhooks that do not work


def test_a_webhook_that_fails_twice_is_tried_a_third_time(tmp_path, hook):
    hook.answers = [500, 503, 200]
    with issued(tmp_path) as record:
        (line,) = deliver(record, replace(QUIET, urls=(hook.url,)), tmp_path, CITY, now_s=AT)
    assert (line["kind"], line["attempts"], line["error"], len(hook.got)) == ("sent", 3, "", 3)


def test_a_webhook_that_keeps_failing_is_recorded_as_failed(tmp_path, hook):
    hook.answers = [500]
    with issued(tmp_path) as record:
        for expected in (1, 0):  # and is not tried again by the next process
            result = deliver(record, replace(QUIET, urls=(hook.url,), attempts=2), tmp_path, CITY, now_s=AT)
            assert len(result) == expected
    assert states(tmp_path) == {("0-city-watch", "warning", "json 1"): ["sending", "failed"]}
    line = read_record(tmp_path)[-1]
    assert (line["attempts"], len(hook.got)) == (2, 2)
    assert "error=500" in line["error"]


def test_a_dead_webhook_is_recorded_as_failed_and_the_others_go_on(tmp_path, hook):
    with Hook() as dead:
        gone = dead.url
    with issued(tmp_path) as record:
        result = deliver(record, replace(QUIET, urls=(gone, hook.url)), tmp_path, CITY, now_s=AT)
    assert [(one["kind"], one["channel"], one["attempts"]) for one in result] == [
        ("failed", "json 1", 3),
        ("sent", "json 2", 1),
    ]
    assert "onnection" in result[0]["error"]


def test_a_slow_webhook_is_given_up_after_the_time_limit(tmp_path, hook):
    hook.answers = [30.0]
    began = time.monotonic()
    with issued(tmp_path) as record:
        (line,) = deliver(record, replace(QUIET, urls=(hook.url,), attempts=2, timeout_s=1), tmp_path, CITY, now_s=AT)
    assert (line["kind"], line["attempts"], len(hook.got)) == ("failed", 2, 2)
    assert time.monotonic() - began < 6


def test_one_that_outlives_all_limits_is_left_and_not_repeated(tmp_path, hook, monkeypatch):
    target = module._target(hook.url, 1, Delivery())
    monkeypatch.setattr(type(target), "send", lambda *_, **__: time.sleep(60))
    with issued(tmp_path) as record:
        (line,) = deliver(record, replace(QUIET, urls=(hook.url,), timeout_s=1), tmp_path, CITY, now_s=AT)
    assert (line["kind"], line["attempts"], line["error"]) == ("failed", 1, "interrupted: not known whether it arrived")


# What a killed process left


def begun(record, channel, act="warning"):
    record.append("sending", {"warning": warning()["id"], "act": act, "channel": channel})


def test_a_webhook_that_was_interrupted_is_not_repeated_and_files_are_completed(tmp_path, hook):
    with issued(tmp_path) as record:
        for channel in ("stdout", "file", "cap", "json 1"):
            begun(record, channel)
    file, out = tmp_path / "warnings.jsonl", io.StringIO()
    file.write_text('{"id": "0a1b2c3d-0-city-wat')  # torn
    with open_record(tmp_path) as record:
        result = deliver(record, Delivery(urls=(hook.url,)), tmp_path, CITY, now_s=AT + 99999, out=out)
    assert {one["channel"]: (one["kind"], one["error"]) for one in result} == {
        "stdout": ("failed", "interrupted: not known whether it arrived"),
        "file": ("sent", ""),
        "cap": ("sent", ""),
        "json 1": ("failed", "interrupted: not known whether it arrived"),
    }
    assert (hook.got, out.getvalue()) == ([], "")
    assert [one["id"] for one in lines_of(file)] == ["0a1b2c3d-0-city-watch"]


def test_files_that_were_written_before_the_kill_stay_as_they_are(tmp_path):
    delivery = Delivery(stdout=False)
    with issued(tmp_path) as record:
        deliver(record, delivery, tmp_path, CITY, now_s=AT)
        files = [tmp_path / "warnings.jsonl", tmp_path / "cap" / "0a1b2c3d-0-city-watch.xml"]
        before = [file.read_bytes() for file in files]
        begun(record, "file")
        begun(record, "cap")
        assert [one["kind"] for one in deliver(record, delivery, tmp_path, CITY, now_s=AT)] == ["sent", "sent"]
    assert [file.read_bytes() for file in files] == before


def test_a_channel_that_is_no_more_is_not_left_open(tmp_path):
    with issued(tmp_path) as record:
        begun(record, "mailto 3")
        (line,) = deliver(record, QUIET, tmp_path, CITY, now_s=AT)
    assert (line["kind"], line["channel"]) == ("failed", "mailto 3")


def test_a_warning_that_nobody_began_to_send_goes_out_unless_its_window_has_ended(tmp_path, hook):
    delivery = replace(QUIET, urls=(hook.url,))
    with issued(tmp_path, warning(0), warning(1, end_s=AT + 9600)) as record:
        result = deliver(record, delivery, tmp_path, CITY, now_s=AT + 9000)
    assert [(one["kind"], one["attempts"], one["error"]) for one in result] == [
        ("failed", 0, "too late: its window has ended"),
        ("sent", 1, ""),
    ]
    assert hook.ids == ["0a1b2c3d-1-city-watch"]


# Withdrawals


def test_a_withdrawal_goes_to_those_who_were_warned(tmp_path, hook):
    hook.answers = [200]
    first = Delivery(stdout=False, urls=(hook.url,))
    with issued(tmp_path) as record:
        deliver(record, replace(first, cap=""), tmp_path, CITY, now_s=AT)
        withdraw(record, warning()["id"], "a <hoax>\n]]>", "analyst")
        result = deliver(record, first, tmp_path, CITY, now_s=AT)
        assert deliver(record, first, tmp_path, CITY, now_s=AT) == []
    assert [(one["kind"], one["channel"], one["act"], one["error"]) for one in result] == [
        ("failed", "cap", "warning", "withdrawn before it was sent"),
        ("sent", "file", "cancel", ""),
        ("sent", "json 1", "cancel", ""),
    ]
    assert hook.ids == ["0a1b2c3d-0-city-watch", "0a1b2c3d-0-city-watch-cancel"]
    last = lines_of(tmp_path / "warnings.jsonl")[-1]
    assert (last["kind"], last["why"], last["replaces"]) == ("withdrawn", "a <hoax> ]]>", "0a1b2c3d-0-city-watch")


def test_a_withdrawal_goes_to_those_who_may_have_been_warned(tmp_path, hook):
    with issued(tmp_path) as record:
        begun(record, "json 1")
        withdraw(record, warning()["id"], "a hoax", "analyst")
        result = deliver(record, replace(QUIET, urls=(hook.url,)), tmp_path, CITY, now_s=AT)
    assert [(one["kind"], one["act"]) for one in result] == [("failed", "warning"), ("sent", "cancel")]
    assert hook.ids == ["0a1b2c3d-0-city-watch-cancel"]


def test_a_withdrawal_as_cap_is_a_file_beside_the_warnings(tmp_path):
    with issued(tmp_path) as record:
        deliver(record, replace(QUIET, cap="cap"), tmp_path, CITY, now_s=AT)
        withdraw(record, warning()["id"], "a hoax", "analyst")
        deliver(record, replace(QUIET, cap="cap"), tmp_path, CITY, now_s=AT)
    root = etree.parse(tmp_path / "cap" / "0a1b2c3d-0-city-watch-cancel.xml").getroot()
    alert = etree.parse(tmp_path / "cap" / "0a1b2c3d-0-city-watch.xml").getroot()
    assert (root.findtext("{*}msgType"), root.findtext("{*}note")) == ("Cancel", "a hoax")
    triple = [alert.findtext(f"{{*}}{name}") for name in ("sender", "identifier", "sent")]
    assert root.findtext("{*}references") == ",".join(triple)


def test_only_a_warning_can_be_withdrawn_and_once_and_for_a_reason(tmp_path):
    with issued(tmp_path) as record:
        with pytest.raises(UserError, match="is no warning of this run"):
            withdraw(record, "0a1b2c3d-9-city-watch", "why", "me")
        with pytest.raises(UserError, match="must give a reason"):
            withdraw(record, warning()["id"], " ", "me")
        withdraw(record, warning()["id"], "why", "me")
        with pytest.raises(UserError, match="is withdrawn already"):
            withdraw(record, warning()["id"], "why", "me")


# Channels that cannot work


@pytest.mark.parametrize("name", ["file", "cap"])
def test_a_file_that_cannot_be_written_is_recorded_as_failed(tmp_path, name):
    (tmp_path / "taken").write_text("")
    with issued(tmp_path) as record:
        (line,) = deliver(record, replace(QUIET, **{name: "taken/inside"}), tmp_path, CITY, now_s=AT)
    assert (line["kind"], line["channel"]) == ("failed", name)
    assert line["error"]


def test_standard_output_that_is_closed_is_recorded_as_failed(tmp_path):
    read, write = os.pipe()
    os.close(read)
    with open(write, "w") as out, issued(tmp_path) as record:
        (line,) = deliver(record, replace(QUIET, stdout=True), tmp_path, CITY, now_s=AT, out=out)
        assert line["kind"] == "failed"
        with pytest.raises(BrokenPipeError):
            out.flush()
        os.dup2(os.open(os.devnull, os.O_WRONLY), write)


def test_a_policy_by_which_nobody_would_be_warned_is_refused():
    with pytest.raises(UserError, match="names no channel: nobody would be warned"):
        require_deliverable(QUIET)


def test_urls_are_checked_before_anything_is_issued_and_never_told(hook, monkeypatch):
    require_deliverable(Delivery(urls=(hook.url,)))
    for url in ("nonsense", "unheard://secret-token@host"):
        with pytest.raises(UserError, match=r"\[delivery\] urls, number 1: is no URL that Apprise knows") as refusal:
            require_deliverable(Delivery(urls=(url,)))
        assert "secret" not in str(refusal.value)
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"needs lxml. Install it with pip install 'hews-gpu\[alerts\]'"):
        require_deliverable(Delivery())


def test_a_url_may_stand_in_the_environment_and_is_not_in_the_record(tmp_path, hook, monkeypatch):
    delivery = replace(QUIET, urls=("$HEWS_HOOK",))
    with pytest.raises(UserError, match="is a variable that the environment lacks"):
        require_deliverable(delivery)
    with issued(tmp_path) as record:
        (line,) = deliver(record, delivery, tmp_path, CITY, now_s=AT)
        assert (line["kind"], line["channel"], line["attempts"]) == ("failed", "$HEWS_HOOK 1", 0)
        monkeypatch.setenv("HEWS_HOOK", hook.url.replace("://", "://user:s3cret@"))
        issue(record, warning(1))
        deliver(record, delivery, tmp_path, CITY, now_s=AT)
    assert hook.ids == ["0a1b2c3d-1-city-watch"]
    assert "s3cret" not in (tmp_path / "record" / "record.jsonl").read_text()


# Kills


def test_killed_at_random_moments_nothing_is_said_twice_and_nothing_is_lost(tmp_path, hook):
    """Every other kill comes while a webhook answers, the others whenever."""
    chance, kills, printed, hook.answers = random.Random(7), 20, [], [0.02]
    with Forks(LOAD + FORKS + SEND, tmp_path, hook.url, AT) as sender:
        for number in range(kills):
            fork = sender.begin()
            lines = [sender.line() for _ in range(chance.randrange(4))]  # however busy the machine is
            asked, until = len(hook.got), time.monotonic() + 60
            while number % 2 and len(hook.got) == asked and time.monotonic() < until:
                time.sleep(0.001)
            time.sleep(0 if number % 2 else chance.uniform(0, 0.05))
            lines += sender.kill(fork)
            printed += [json.loads(line)["id"] for line in lines if line.strip().endswith("}")]
            verify(tmp_path)
    with open_record(tmp_path) as record:
        deliver(record, Delivery(urls=(hook.url,)), tmp_path, CITY, now_s=AT, out=io.StringIO())
        given = [entry["warnings"][0]["id"] for entry in record.entries("outcome")]
    ends = states(tmp_path)
    assert len(given) > kills
    assert len(ends) == 4 * len(given)  # each on each channel
    assert all(kinds in (["sending", "sent"], ["sending", "failed"]) for kinds in ends.values())
    for name, got in (("json 1", Counter(hook.ids)), ("stdout", Counter(printed))):
        sent = {key[0] for key, kinds in ends.items() if key[2] == name and kinds[-1] == "sent"}
        assert max(got.values()) == 1  # nothing twice
        arrived = {one.split("-", 1)[1] for one in got}
        assert sent <= arrived | ({given[-1].split("-", 1)[1]} if name == "stdout" else set())  # the last: printed here
        assert len(ends) / 4 - len(sent) <= kills  # at most one of each kill is not known to have arrived
    assert [one["id"] for one in lines_of(tmp_path / "warnings.jsonl")] == given  # in their order, each once
    assert sorted(file.stem for file in (tmp_path / "cap").glob("*.xml")) == sorted(given)
    assert not list((tmp_path / "cap").glob(".*"))
