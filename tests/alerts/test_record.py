"""The record of a run: nothing acknowledged is lost by a kill, and nothing that was changed goes unseen.

The toy record has six lines, `{"n": 0 ... 5, "kind": "outcome", "probability": n / 8, ...}`; signed and not.
"""

import base64
import hashlib
import json
import os
import random
import resource
import shutil
import signal
import stat
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hews_gpu.alerts import record as module
from hews_gpu.alerts.record import (
    load_key,
    load_public_key,
    make_key,
    open_record,
    read_record,
    sign,
    verify,
)
from hews_gpu.errors import UserError
from tests.alerts.killed import FORKS, Forks

NOON = datetime(2026, 11, 29, 12, tzinfo=UTC)
TOY = 6

LOAD = """
import os, signal, sys
from pathlib import Path
from hews_gpu.alerts import record as module
from hews_gpu.alerts.record import load_key, open_record

run, key = Path(sys.argv[1]), sys.argv[2]
"""
DIE = """
where, when = sys.argv[3], int(sys.argv[4])
calls = 0

def dying(call, before=None):
    def wrapped(*arguments, **options):
        global calls
        calls += 1
        if calls > when:
            if before is not None:
                before(*arguments)
            os.kill(os.getpid(), signal.SIGKILL)
        return call(*arguments, **options)
    return wrapped

if where == "half a line":
    half = os.pwrite
    os.pwrite = dying(os.pwrite, lambda fd, content, at: half(fd, bytes(content)[: len(content) // 2], at))
elif where == "os.fsync":
    os.fsync = dying(os.fsync)
elif where == "Path.replace":
    Path.replace = dying(Path.replace)
print("ready", flush=True)
"""
APPEND = """
with open_record(run, load_key(Path(key)) if key else None) as record:
    while True:
        entry = record.append("outcome", {"probability": len(record) / 8, "neighborhoods": [0.1] * 300})
        print(entry["n"], flush=True)
"""


@pytest.fixture(scope="module")
def key_file(tmp_path_factory):
    file = tmp_path_factory.mktemp("key") / "key.pem"
    make_key(file)
    return file


@pytest.fixture(scope="module")
def key(key_file):
    return load_key(key_file)


@pytest.fixture(scope="module")
def public(key_file):
    return load_public_key(key_file.with_name("key.pem.pub"))


def written(run, key, lines=TOY):
    run.mkdir(parents=True)
    with open_record(run, key, clock=lambda: NOON) as record:
        for n in range(lines):
            record.append("outcome", {"probability": n / 8, "reason": "nöthing\n\x1b[31m", "warnings": []})
    return run / "record"


@pytest.fixture(scope="module")
def toys(tmp_path_factory, key):
    """The bytes of the lines and the checkpoint, unsigned and signed."""
    base = tmp_path_factory.mktemp("toys")
    made = {}
    for name, one in (("bare", None), ("signed", key)):
        folder = written(base / name, one)
        made[name] = ((folder / "record.jsonl").read_bytes(), (folder / "head.json").read_bytes())
    return made


def put(run, lines, head):
    folder = run / "record"
    shutil.rmtree(run, ignore_errors=True)
    folder.mkdir(parents=True)
    (folder / "record.jsonl").write_bytes(lines)
    if head is not None:
        (folder / "head.json").write_bytes(head)
    return run


def refused(run, key=None, public=None, match=None):
    """A changed record: verify names a fault, opening refuses it, and its bytes stay."""
    before = (run / "record" / "record.jsonl").read_bytes()
    with pytest.raises(UserError, match=match) as fault:
        verify(run, public_key=public)
    assert "\n" not in str(fault.value)
    with pytest.raises(UserError), open_record(run, key):
        pytest.fail("opened a changed record")
    assert (run / "record" / "record.jsonl").read_bytes() == before
    return str(fault.value)


def forged(lines, first, change, key=None):
    """What someone without the module's help would do: change a line and make all hashes after it anew."""
    made, previous = [], None
    for n, line in enumerate(lines.splitlines()):
        entry = json.loads(line)
        sealed, _ = entry.pop("hash"), entry.pop("signature", None)
        if n < first:
            made.append(line)
            previous = sealed
            continue
        if n == first:
            change(entry)
        entry["previous"] = entry["previous"] if previous is None else previous
        text = json.dumps(entry, sort_keys=True, separators=(",", ":"))
        previous = hashlib.sha256(text.encode()).hexdigest()
        tail = f',"hash":"{previous}"'
        if key is not None:
            tail += f',"signature":"{base64.b64encode(key.sign(bytes.fromhex(previous))).decode()}"'
        made.append((text[:-1] + tail + "}").encode())
    content = b"\n".join(made) + b"\n"
    head = {
        "length": len(made),
        "size": len(content),
        "digest": hashlib.sha256(content).hexdigest(),
        "hash": previous,
        "instant": json.loads(made[-1])["instant"],
    }
    return content, head


def resealed(line):
    """A line changed by someone who made its own hash anew, and not those after it."""
    text = line.partition(b',"hash"')[0].replace(b"0.25", b"0.75") + b"}"
    return text[:-1] + b',"hash":"' + hashlib.sha256(text).hexdigest().encode() + b'"}\n'


def text_of(head):
    return json.dumps(head, sort_keys=True, separators=(",", ":")).encode() + b"\n"


# What is written


def test_a_record_is_read_as_it_was_written(tmp_path, toys, public):
    for name in toys:
        run = put(tmp_path / name, *toys[name])
        entries = read_record(run)
        assert [entry["n"] for entry in entries] == list(range(TOY))
        assert [entry["probability"] for entry in entries] == [n / 8 for n in range(TOY)]
        assert entries[0]["instant"] == "2026-11-29T12:00:00.000000Z"
        assert entries[3]["previous"] == entries[2]["hash"]
        assert verify(run, public_key=public if name == "signed" else None).lines == TOY


def test_the_hash_is_that_of_the_bytes_before_it_and_openssl_finds_it_signed(tmp_path, toys, key_file):
    lines, _ = toys["signed"]
    for line in lines.splitlines():
        text, _, tail = line.partition(b',"hash":"')
        digest = hashlib.sha256(text + b"}")
        assert tail[:64].decode() == digest.hexdigest()
        (tmp_path / "hash").write_bytes(digest.digest())
        (tmp_path / "signature").write_bytes(base64.b64decode(json.loads(line)["signature"]))
        if shutil.which("openssl") is None:
            pytest.skip("openssl is not here")
        command = ["openssl", "pkeyutl", "-verify", "-rawin", "-pubin", "-inkey", f"{key_file}.pub"]
        command += ["-in", str(tmp_path / "hash"), "-sigfile", str(tmp_path / "signature")]
        assert "Verified Successfully" in subprocess.run(command, capture_output=True, text=True, check=False).stdout


def test_lines_are_chosen_by_kind_by_what_they_hold_and_from_the_end(tmp_path):
    with open_record(tmp_path) as record:
        record.append("opened", {"why": '"kind":"label"'})
        for n in range(4):
            record.append("outcome", {"warnings": [{"id": n}] if n % 2 else []})
        record.append("label", {"y": 1})
        assert len(record) == 6
        assert [entry["n"] for entry in record.entries()] == list(range(6))
        assert [entry["n"] for entry in record.entries("label")] == [5]
        assert [entry["n"] for entry in record.entries("outcome", holding='"warnings":[{')] == [2, 4]
        assert [entry["n"] for entry in record.entries("outcome", "opened", last=2)] == [3, 4]


def test_an_entry_cannot_take_a_key_of_the_chain(tmp_path):
    with open_record(tmp_path) as record, pytest.raises(AssertionError, match="previous"):
        record.append("policy", {"previous": "x"})


def test_there_is_no_number_that_json_lacks_and_the_record_stays(tmp_path):
    with open_record(tmp_path) as record:
        record.append("outcome", {"probability": 0.5})
        with pytest.raises(ValueError, match="JSON"):
            record.append("outcome", {"probability": float("nan")})
        record.append("outcome", {"probability": 0.25})
    assert verify(tmp_path).lines == 2


# What is changed is found


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
@pytest.mark.parametrize("name", ["bare", "signed"])
def test_any_byte_that_is_changed_or_taken_or_added_is_found(data, name, toys, key, public, tmp_path):
    lines, head = toys[name]
    place = data.draw(st.integers(0, len(lines) - 1))
    how = data.draw(st.sampled_from(["change", "take", "add"]))
    byte = bytes([data.draw(st.integers(0, 255).filter(lambda value: value != lines[place]))])
    changed = lines[:place] + (b"" if how == "take" else byte) + lines[place + (how != "add") :]
    run = put(tmp_path / "run", changed, head)
    if changed == lines + byte:
        return
    refused(run, key if name == "signed" else None, public if name == "signed" else None)


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(order=st.lists(st.integers(0, TOY - 1), max_size=TOY + 2))
@pytest.mark.parametrize("name", ["bare", "signed"])
def test_lines_deleted_repeated_or_in_another_order_are_found(order, name, toys, key, public, tmp_path):
    lines, head = toys[name]
    if order == list(range(TOY)):
        return
    one = lines.splitlines(keepends=True)
    fault = refused(
        put(tmp_path / "run", b"".join(one[n] for n in order), head),
        key if name == "signed" else None,
        public if name == "signed" else None,
    )
    first = next((n for n, (left, right) in enumerate(zip(order, range(TOY), strict=False)) if left != right), None)
    if first is not None:
        assert f"line {first + 1}:" in fault  # the first that is not in its place


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
@pytest.mark.parametrize("name", ["bare", "signed"])
def test_a_record_that_was_cut_below_its_checkpoint_is_refused(data, name, toys, key, public, tmp_path):
    lines, head = toys[name]
    run = put(tmp_path / "run", lines[: data.draw(st.integers(0, len(lines) - 1))], head)
    refused(run, key if name == "signed" else None, public if name == "signed" else None)


def test_a_checkpoint_of_more_bytes_than_there_are_is_refused(toys, tmp_path):
    """All lines fit its digest: only the size that it names is another."""
    lines, head = toys["bare"]
    larger = head.replace(f'"size":{len(lines)}'.encode(), f'"size":{len(lines) + 1000}'.encode())
    assert larger != head
    refused(put(tmp_path / "run", lines, larger))


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
@pytest.mark.parametrize("name", ["bare", "signed"])
def test_any_byte_of_the_checkpoint_that_is_changed_is_found(data, name, toys, key, public, tmp_path):
    lines, head = toys[name]
    place = data.draw(st.integers(0, len(head) - 1))
    byte = bytes([data.draw(st.integers(0, 255).filter(lambda value: value != head[place]))])
    run = put(tmp_path / "run", lines, head[:place] + byte + head[place + 1 :])
    refused(run, key if name == "signed" else None, public if name == "signed" else None)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda one: one[:2] + one[3:], "line 3: is entry 3, not 2: lines were deleted, inserted or exchanged"),
        (lambda one: [one[0], *one], "line 2: is entry 0, not 1: lines were deleted"),
        (lambda one: [*one[:3], one[3].replace(b"0.375", b"0.875"), *one[4:]], "line 4: was changed: its hash"),
        (lambda one: [one[0], one[1][:-3] + b"\n", *one[2:]], "line 2: is damaged"),
        (lambda one: [one[0], b"\0" * len(one[1]), *one[2:]], "line 2: was changed: its hash"),
        (lambda one: [*one[:2], resealed(one[2]), *one[3:]], "line 4: does not continue the line before it"),
        (lambda one: one[:4], "ends after 4 lines, of 6 that .*head.json was made of: it was cut"),
    ],
)
def test_verify_says_what_is_wrong_with_which_line(change, words, toys, tmp_path):
    lines, head = toys["bare"]
    refused(put(tmp_path / "run", b"".join(change(lines.splitlines(keepends=True))), head), match=words)


@pytest.mark.parametrize("change", [{"n": False}, {"n": 0.0}, {"kind": 7}, {"instant": None}, {"previous": []}])
def test_a_sealed_line_without_the_keys_of_the_chain_is_no_line_of_a_record(change):
    chain = {"n": 0, "previous": "0" * 64, "kind": "outcome", "instant": "2026-11-29T13:20:00.000000Z"}
    assert (
        module._entry(module._sealed(module._canonical(chain), None), 0, "0" * 64, None, "record.jsonl")[0]["kind"]
        == "outcome"
    )
    with pytest.raises(UserError, match="line 1: is no line of a record"):
        module._entry(module._sealed(module._canonical(chain | change), None), 0, "0" * 64, None, "record.jsonl")


def test_a_signature_spelled_in_another_way_is_a_change(toys, tmp_path, key, public):
    lines, head = toys["signed"]
    of = json.loads(head)
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    last = letters.index(of["signature"][-3])
    other = of["signature"][:-3] + letters[last ^ 1] + "=="
    assert base64.b64decode(other) == base64.b64decode(of["signature"])  # two bits of that letter say nothing
    refused(put(tmp_path / "run", lines, text_of(of | {"signature": other})), key, public, match="is not signed")


def test_a_checkpoint_that_is_gone_or_of_before_is_missed(toys, tmp_path):
    lines, head = toys["bare"]
    assert "line 2: is beyond the checkpoint" in refused(put(tmp_path / "gone", lines, None))
    early = json.loads(put(tmp_path / "run", lines, head).joinpath("record", "head.json").read_text())
    three = b"".join(lines.splitlines(keepends=True)[:3])
    last = json.loads(three.splitlines()[-1])
    early |= {"length": 3, "size": len(three), "digest": hashlib.sha256(three).hexdigest(), "hash": last["hash"]}
    assert "line 5: is beyond the checkpoint" in refused(put(tmp_path / "run", lines, text_of(early)))


def test_a_chain_made_anew_without_the_key_is_refused(toys, tmp_path, key, public):
    lines, _ = toys["signed"]
    content, head = forged(lines, 3, lambda entry: entry.update(probability=0.99))
    run = put(tmp_path / "run", content, text_of(head))
    assert "line 4: is not signed, as the one before it is" in refused(run, key, public)
    content, head = forged(lines, 0, lambda entry: entry.update(probability=0.99))  # without any signature
    run = put(tmp_path / "run", content, text_of(head))
    assert "head.json: is not signed" in refused(run, key, public)
    assert verify(run).signed == 0  # which nobody can tell from one that was never signed, without the key


def test_a_chain_signed_with_another_key_is_refused(toys, tmp_path, key, public):
    make_key(tmp_path / "other")
    other = load_key(tmp_path / "other")
    content, head = forged(toys["signed"][0], 2, lambda entry: entry.update(probability=0.99), other)
    head["public_key"] = base64.b64encode(other.public_key().public_bytes_raw()).decode()
    head["signature"] = base64.b64encode(other.sign(text_of(head))).decode()
    run = put(tmp_path / "run", content, text_of(head))
    assert "line 3: is not signed with the key" in refused(run, key, public)
    assert "line 1: is not signed with the key" in refused(run, key)  # the one that head.json now names


def test_a_line_that_was_signed_by_nobody_is_not_taken_in(toys, tmp_path, key, public):
    lines, head = toys["signed"]
    longer, _ = forged(lines + lines.splitlines(keepends=True)[-1], TOY, lambda entry: entry.update(n=TOY))
    run = put(tmp_path / "run", longer, head)
    assert f"line {TOY + 1}: is not signed" in refused(run, key, public)


def test_a_published_checkpoint_shows_that_an_earlier_state_was_put_back(tmp_path, key):
    for name, one in (("bare", None), ("signed", key)):
        folder = written(tmp_path / name, one, lines=3)
        early = [(folder / file).read_bytes() for file in ("record.jsonl", "head.json")]
        with open_record(tmp_path / name, one) as record:
            record.append("outcome", {"probability": 0.5})
        published = shutil.copy(folder / "head.json", tmp_path / "published.json")
        with open_record(tmp_path / name, one) as record:
            record.append("outcome", {"probability": 0.75})
        assert verify(tmp_path / name, Path(published)).lines == 5
        put(tmp_path / name, *early)
        assert verify(tmp_path / name).lines == 3  # it was once like this
        with pytest.raises(UserError, match=r"ends after 3 lines, of 4 that .*published.json was made of"):
            verify(tmp_path / name, Path(published))
        with open_record(tmp_path / name, one) as record:
            record.append("outcome", {"probability": 0.125})
        with pytest.raises(UserError, match=r"line 4: is not the one that .*published.json was made of"):
            verify(tmp_path / name, Path(published))


def test_without_a_key_a_chain_made_anew_is_found_by_a_published_checkpoint(toys, tmp_path):
    lines, head = toys["bare"]
    (tmp_path / "published.json").write_bytes(head)
    content, made = forged(lines, 1, lambda entry: entry.update(probability=0.99))
    run = put(tmp_path / "run", content, text_of(made))
    verify(run)
    with pytest.raises(UserError, match="line 6: is not the one that"):
        verify(run, tmp_path / "published.json")


# Keys


def test_the_private_key_is_for_this_user_alone_and_none_is_overwritten(tmp_path):
    file = tmp_path / "key.pem"
    public = make_key(file)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert "PRIVATE" not in public.read_text()
    before = file.read_bytes()
    with pytest.raises(UserError, match="exists already"):
        make_key(file)
    assert file.read_bytes() == before
    (tmp_path / "other.pub").touch()
    with pytest.raises(UserError, match="exists already"):
        make_key(tmp_path / "other")
    assert not (tmp_path / "other").exists()
    file.chmod(0o644)
    with pytest.raises(UserError, match="can be read by other users"):
        load_key(file)


@pytest.mark.parametrize("content", ["", "no key", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"])
def test_what_is_no_key_is_refused(tmp_path, content):
    file = tmp_path / "key.pem"
    file.write_text(content)
    file.chmod(0o600)
    with pytest.raises(UserError, match="must hold an Ed25519 private key"):
        load_key(file)
    with pytest.raises(UserError, match="must hold an Ed25519 public key"):
        load_public_key(file)


def test_a_record_is_signed_throughout_or_from_a_line_on_that_says_so(tmp_path, key, public):
    run = tmp_path
    with open_record(run) as record:
        record.append("opened", {})
    with pytest.raises(UserError, match="is not signed, and a key is configured"), open_record(run, key):
        pytest.fail("signed without being told to")
    with pytest.raises(UserError, match="is not signed"):
        verify(run, public_key=public)
    assert sign(run, key).length == 2
    with open_record(run, key) as record:
        record.append("outcome", {})
    assert (verify(run, public_key=public).lines, verify(run).signed) == (3, 2)
    with pytest.raises(UserError, match="is signed, and no key is configured"), open_record(run):
        pytest.fail("opened without the key")
    with pytest.raises(UserError, match="is signed already"):
        sign(run, key)


# Kills, full disks, several processes


def appender(run, key_file, where="", when=0):
    arguments = [str(run), "" if key_file is None else str(key_file), where, str(when)]
    return subprocess.Popen([sys.executable, "-c", LOAD + DIE + APPEND, *arguments], stdout=subprocess.PIPE, text=True)


def acknowledged(process):
    """Numbers of the lines that a process was told are written, read to its end."""
    with process.stdout as said:  # not by communicate(), which would leave out what is buffered already
        numbers = [int(line) for line in said.read().split() if line != "ready"]
    process.wait(timeout=60)
    return numbers


@pytest.mark.parametrize("signed", [False, True])
def test_killed_at_random_moments_nothing_acknowledged_is_lost(tmp_path, key_file, key, public, signed):
    chance, total, one, file = random.Random(signed), 0, key if signed else None, key_file if signed else None
    with Forks(LOAD + FORKS + APPEND, tmp_path, file or "") as appender:
        for _ in range(20):
            fork = appender.begin()
            numbers = [int(appender.line()) for _ in range(chance.randrange(9))]  # however busy the machine is
            time.sleep(chance.uniform(0, 0.01))
            numbers += map(int, appender.kill(fork))
            with open_record(tmp_path, one) as record:
                assert numbers == list(range(total, total + len(numbers)))
                least = numbers[-1] + 1 if numbers else total
                assert least <= len(record) <= least + 1  # at most the one that was under way
                total = len(record)
            result = verify(tmp_path, public_key=public if signed else None)
            assert (result.lines, result.torn_bytes) == (total, 0)
    assert total > 60  # kills fell among appends, and not all before the first
    assert [entry["probability"] for entry in read_record(tmp_path)] == [n / 8 for n in range(total)]


@pytest.mark.parametrize(
    ("where", "when", "lines", "words"),
    [
        ("half a line", 3, 3, "bytes off"),
        ("os.fsync", 9, 4, "took in"),  # the fourth line is written, not flushed
        ("os.fsync", 10, 4, "took in"),  # its checkpoint is written, not flushed
        ("Path.replace", 3, 4, "took in"),  # flushed, not yet in its place
        ("os.fsync", 11, 4, None),  # in its place
    ],
)
def test_a_kill_within_an_append_leaves_a_line_or_none(
    tmp_path, key_file, key, public, where, when, lines, words, capsys
):
    process = appender(tmp_path, key_file, where, when)
    assert acknowledged(process) == [0, 1, 2]
    assert process.returncode == -signal.SIGKILL
    before = verify(tmp_path, public_key=public)
    assert (before.lines, before.torn_bytes > 0) == (lines, where == "half a line")
    with open_record(tmp_path, key) as record:
        assert len(record) == lines
        record.append("outcome", {"probability": 1.0})
    said = capsys.readouterr().err
    assert len(said.splitlines()) == (words is not None)
    assert (words or "") in said
    assert verify(tmp_path, public_key=public).lines == lines + 1
    assert not list((tmp_path / "record").glob(".*"))


def test_zeros_that_a_power_failure_left_are_cut_off(tmp_path, capsys):
    file = written(tmp_path / "run", None) / "record.jsonl"
    whole = file.read_bytes()
    file.write_bytes(whole + b"\0" * 3000 + b'"}\n')
    assert verify(tmp_path / "run").torn_bytes == 3003
    with open_record(tmp_path / "run") as record:
        assert len(record) == TOY
    assert file.read_bytes() == whole
    assert "cut 3003 bytes off" in capsys.readouterr().err


def test_a_full_disk_leaves_the_record_as_it_was(tmp_path):
    file = written(tmp_path / "run", None) / "record.jsonl"
    before, limits = file.read_bytes(), resource.getrlimit(resource.RLIMIT_FSIZE)
    with open_record(tmp_path / "run") as record:
        resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + 100, limits[1]))
        try:
            with pytest.raises(UserError, match=r"record\.jsonl: cannot be written"):
                record.append("outcome", {"neighborhoods": [0.5] * 1000})
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        assert file.read_bytes() == before
        assert len(record) == TOY
        record.append("outcome", {"probability": 0.5})
    assert verify(tmp_path / "run").lines == TOY + 1


def test_a_disk_that_has_no_room_for_the_checkpoint_leaves_the_record_as_it_was(tmp_path, monkeypatch):
    folder = written(tmp_path / "run", None)
    before = [(folder / name).read_bytes() for name in ("record.jsonl", "head.json")]

    def full(path):
        raise OSError(28, "No space left on device")

    with open_record(tmp_path / "run") as record:
        monkeypatch.setattr(module, "atomic_file", full)
        with pytest.raises(UserError, match="the disk is full"):
            record.append("outcome", {"probability": 0.5})
        monkeypatch.undo()
        assert [(folder / name).read_bytes() for name in ("record.jsonl", "head.json")] == before
        assert record.append("outcome", {"probability": 0.5})["n"] == TOY
    assert verify(tmp_path / "run").lines == TOY + 1


def test_two_writers_at_once_lose_nothing(tmp_path):
    script = (
        "import sys\nfrom pathlib import Path\nfrom hews_gpu.alerts.record import open_record\n"
        "for n in range(60):\n"
        "    with open_record(Path(sys.argv[1])) as record:\n"
        "        record.append('outcome', {'by': sys.argv[2], 'number': n})\n"
    )
    pair = [subprocess.Popen([sys.executable, "-c", script, str(tmp_path), by]) for by in "ab"]
    while any(process.poll() is None for process in pair):
        if (tmp_path / "record" / "record.jsonl").exists():
            verify(tmp_path)  # a reader needs no lock
    assert [process.returncode for process in pair] == [0, 0]
    entries = read_record(tmp_path)
    assert len(entries) == 120
    for by in "ab":
        assert [entry["number"] for entry in entries if entry["by"] == by] == list(range(60))


def test_the_second_writer_waits_and_then_says_so_in_one_line(tmp_path):
    process = appender(tmp_path, None)
    process.stdout.readline()
    process.stdout.readline()
    began = time.monotonic()
    with pytest.raises(UserError, match=r"is being written by another process, for more than 0\.5 s") as refusal:
        with open_record(tmp_path, wait_s=0.5):
            pytest.fail("two at once")
    assert time.monotonic() - began >= 0.5
    assert "\n" not in str(refusal.value)
    os.kill(process.pid, signal.SIGKILL)
    acknowledged(process)
    with open_record(tmp_path, wait_s=0.5):
        pass


def test_without_a_record_there_is_nothing_to_read(tmp_path):
    for read in (verify, read_record):
        with pytest.raises(UserError, match="holds no record"):
            read(tmp_path)
