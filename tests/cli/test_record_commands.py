"""The commands of the record: what they show, and the one line where it does not hold."""

import json

import pytest

from hews_gpu.alerts.record import load_key, open_record
from hews_gpu.cli.commands import app

AT = 1_496_325_600  # 2017-06-01T14:00
POLICY = {"stride_s": 600, "delivery": {"urls": []}}


def outcome(n, **more):
    issue_s = AT + 600 * n
    whole = {"outcome": "issued", "reason": "", "late": False, "policy": POLICY, "warnings": []}
    window = {"window_start": issue_s + 1800, "window_end": issue_s + 9000}
    numbers = {
        "probability": 0.1234,
        "baselines": {"climatology": 0.101, "level": 0.118},
        "neighborhoods": [0.01] * 278,
    }
    return {"issue_time": issue_s, **whole, **window, **numbers, **more}


def warning(n, place=-1, tier="watch", **more):
    name = "city" if place < 0 else f"n{place}"
    numbers = {"issue_s": AT + 600 * n, "begin_s": AT + 600 * n + 1800, "end_s": AT + 600 * n + 9000}
    numbers |= {"probability": 0.31, "threshold": 0.28, "replaces": None, "withheld": False}
    return {"id": f"0a1b2c3d-20170601T14{n}0-{name}-{tier}", "place": place, "tier": tier, **numbers, **more}


@pytest.fixture
def run(tmp_path):
    first, second = warning(1), warning(2, place=7, tier="warning")
    with open_record(tmp_path) as record:
        record.append("opened", {"run": "ab" * 32, "model": "stack", "code": "0.1.0"})
        record.append("outcome", outcome(0, outcome="refused", reason="newest row\n3 days old", probability=None))
        record.append("outcome", outcome(1, late=True, warnings=[first]))
        record.append(
            "sending", {"warning": first["id"], "channel": "file", "act": "warning", "attempts": 0, "error": ""}
        )
        record.append("sent", {"warning": first["id"], "channel": "file", "act": "warning", "attempts": 1, "error": ""})
        why = {"attempts": 3, "error": "HTTP 500"}
        record.append("failed", {"warning": first["id"], "channel": "json 1", "act": "warning", **why})
        record.append("outcome", outcome(2, warnings=[second]))
        record.append("cancel", {"warning": second["id"], "why": "a \x1b[31mhoax\nhews: ok", "by": "analyst"})
        record.append(
            "label", {"issue_time": AT + 600, "y": 1, "events": [["2017-06-01T15:06:40", 3]], "known_until": AT + 9000}
        )
        record.append(
            "label", {"issue_time": AT + 1200, "y": 1, "events": [["2017-06-01T15:06:40", 3]], "known_until": AT + 9000}
        )
    return tmp_path


@pytest.fixture
def hews(capsys):
    def run_here(*arguments):
        with pytest.raises(SystemExit) as ended:
            app([str(one) for one in arguments], prog_name="hews")
        return (ended.value.code, *capsys.readouterr())

    return run_here


def test_show_reads_well(run, hews):
    code, out, _ = hews("record", "show", run)
    assert code == 0
    lines = out.splitlines()
    assert max(map(len, lines)) <= 80
    assert lines[0] == "issue time        outcome         window           p  climatology  level  event"
    assert lines[3:] == [
        "2017-06-01 14:00  refused",
        "    newest row 3 days old",
        "2017-06-01 14:10  issued late     14:40-16:40  0.123        0.101  0.118  yes",
        "    watch city: 0.310 reached 0.280  hit 15:06",
        "      0a1b2c3d-20170601T1410-city-watch",
        "      sent: file",
        "      failed: json 1 (HTTP 500)",
        "2017-06-01 14:20  issued          14:50-16:50  0.123        0.101  0.118  yes",
        "    warning neighborhood 7: 0.310 reached 0.280  false alarm",
        "      0a1b2c3d-20170601T1420-n7-warning",
        "      withdrawn by analyst: a \\x1b[31mhoax hews: ok",
    ]


def test_an_event_before_the_minimum_lead_is_no_hit(tmp_path, hews):
    """The event comes 600 s after the begin of the window, 2400 s after the issue."""
    for lead_s, told in ((2400, "hit 14:40"), (2401, "false alarm")):
        run = tmp_path / str(lead_s)
        with open_record(run) as record:
            record.append("outcome", outcome(0, warnings=[warning(0)], policy={**POLICY, "minimum_lead_s": lead_s}))
            label = {"issue_time": AT, "y": True, "events": [["2017-06-01T14:40:00", 3]]}
            record.append("label", {**label, "known_until": "2017-06-02T00:00:00"})
        assert told in hews("record", "show", run)[1]


def test_show_keeps_to_the_last_ones(run, hews):
    assert hews("record", "show", run, "--last", "1")[1].splitlines()[1].startswith("2017-06-01 14:20  issued")
    assert [one["kind"] for one in json.loads(hews("record", "show", run, "--last", "1", "--json")[1])["entries"]] == [
        "label"
    ]
    assert len(json.loads(hews("record", "show", run, "--last", "0", "--json")[1])["entries"]) == 10


def test_verify_says_that_all_holds_or_what_does_not(run, hews, tmp_path):
    assert hews("record", "verify", run)[:2] == (0, f"{run}: 10 lines hold, not signed\n")
    assert hews("record", "checkpoint", run, "--out", tmp_path / "kept.json")[0] == 0
    assert hews("record", "verify", run, "--checkpoint", tmp_path / "kept.json")[0] == 0
    file = run / "record" / "record.jsonl"
    file.write_bytes(file.read_bytes().replace(b"0.1234", b"0.9234", 1))
    for command in ("verify", "show"):
        code, out, err = hews("record", command, run)
        assert (code, out, len(err.splitlines())) == (2, "", 1)
        assert "line 3: was changed" in err
    code, _, err = hews("record", "checkpoint", run, "--out", tmp_path / "kept.json")
    assert (code, "exists already" in err) == (2, True)


def test_a_key_is_made_and_signs_from_now_on(run, hews, tmp_path):
    key = tmp_path / "key.pem"
    assert hews("record", "key", key)[0] == 0
    assert hews("record", "key", key)[0] == 2
    assert hews("record", "verify", run, "--public-key", f"{key}.pub")[0] == 2
    assert hews("record", "sign", run, "--key", key)[0] == 0
    code, out, _ = hews("record", "verify", run, "--public-key", f"{key}.pub")
    assert (code, "11 lines hold, 1 signed with" in out, "to be sure" in out) == (0, True, False)
    assert "to be sure" in hews("record", "verify", run)[1]
    with open_record(run, load_key(key)) as record:
        assert len(record) == 11


def test_a_run_without_a_record_says_so(hews, tmp_path):
    for command in ("verify", "show"):
        code, _, err = hews("record", command, tmp_path)
        assert (code, "holds no record" in err) == (2, True)
