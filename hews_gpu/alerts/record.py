"""The record of a run's warnings: JSON lines of which each seals the one before, and a checkpoint of the last.

`RUN/record/record.jsonl` is only ever appended to. A line is an object with sorted keys, no blanks, and its own hash at
the end:

    {"instant":"2026-11-29T13:20:00.000000Z","kind":"outcome","n":7,"previous":"<hash of line 6>",...,"hash":"<hex>"}

`hash` is the SHA-256 of the line's bytes up to `,"hash"`, closed by `}`. With a key `,"signature":"<base64>"` follows:
the Ed25519 signature of the hash's 32 bytes. `head.json` is the checkpoint, of which a copy can be published: how many
lines and bytes there are, the SHA-256 of all of them, the last line's hash and instant, and a signature of these.

A line is written and flushed, then the checkpoint is replaced. Killed in between, a process leaves at most one line
that the checkpoint lacks: the next opening takes it in if it is whole and cuts it off if it is torn. Whatever else
differs from the checkpoint was changed by someone else, and nothing is appended to it. Without a key, whoever can write
the folder can write all of it anew; with one, all they can do unseen is to put an earlier state back, which a published
checkpoint shows.
"""

from __future__ import annotations

import base64
import hashlib
import json
import mmap
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from hews_gpu.errors import UserError
from hews_gpu.files import NOT_A_PLACE, atomic_file, disk_full_is_a_user_error, locked
from hews_gpu.own_files import parse_json, read_text
from hews_gpu.progress import log

__all__ = [
    "FOLDER",
    "Head",
    "Record",
    "Verified",
    "load_key",
    "load_public_key",
    "make_key",
    "open_record",
    "read_checkpoint",
    "read_record",
    "sign",
    "verify",
    "write_end",
]

FOLDER, LINES, HEAD = "record", "record.jsonl", "head.json"  # the first in the run's folder, the others in it
CHAIN = {"n": int, "previous": str, "kind": str, "instant": str}
OWN_KEYS = frozenset({*CHAIN, "hash", "signature"})
WAIT_S = 30.0  # a writer needs a few seconds: one that holds the lock for longer is stuck
SEALED = re.compile(rb'(.*),"hash":"([0-9a-f]{64})"(?:,"signature":"([A-Za-z0-9+/]{86}==)")?\}\n', re.DOTALL)
RESTORE = "Nothing was written; restore RUN/record from a copy, or move it away so that a new one begins"
TRIES = 100  # to read checkpoint and lines of the same moment while another process appends


@dataclass(frozen=True, kw_only=True)
class Head:
    """A checkpoint: what the first `length` lines are."""

    length: int = 0
    size: int = 0  # bytes
    digest: str = hashlib.sha256().hexdigest()  # of all of them
    hash: str = "0" * 64  # of the last line; the first names this as the one before
    instant: str = ""  # when the last line was written
    public_key: str | None = None  # base64
    signature: str | None = None  # of `text` without it

    @property
    def text(self) -> bytes:
        """What stands in head.json."""
        return _canonical({name: value for name, value in asdict(self).items() if value is not None}) + b"\n"

    def signed(self, key: Ed25519PrivateKey | None) -> Head:
        """Return this checkpoint with a key's signature, if there is a key."""
        if key is None:
            return self
        named = replace(self, public_key=_raw(key.public_key()), signature=None)
        return replace(named, signature=base64.b64encode(key.sign(named.text)).decode())


CHECKPOINT = {"length": int, "size": int, "digest": str, "hash": str, "instant": str}
CHECKPOINT |= {"public_key?": str, "signature?": str}


@dataclass(frozen=True, kw_only=True)
class Verified:
    """What a record is whose every line was read and holds."""

    lines: int
    signed: int  # lines that are
    head: Head  # its checkpoint
    torn_bytes: int  # of a line that a killed process did not finish, and that nobody was told of


class Record:
    """A record whose lock this process holds; made by `open_record`."""

    def __init__(
        self, folder: Path, descriptor: int, head: Head, key: Ed25519PrivateKey | None, clock: Callable[[], datetime]
    ) -> None:
        self.folder, self.head = folder, head
        self._descriptor, self._key, self._clock = descriptor, key, clock
        self._digest = hashlib.sha256()

    def __len__(self) -> int:
        return self.head.length

    def append(self, kind: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Write one line and the checkpoint after it; both are on the disk when this returns.

        Args:
            kind: ``outcome``, ``sending``, ...
            body: more keys, as JSON takes them; none of the chain's own.

        Returns:
            The line, as it is read again.

        Raises:
            UserError: the disk is full; the record is as it was.
        """
        assert OWN_KEYS.isdisjoint(body), f"{sorted(OWN_KEYS & set(body))}: the chain's own keys"
        instant = self._clock().astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        chain = {"n": self.head.length, "previous": self.head.hash, "kind": kind, "instant": instant}
        line = _sealed(_canonical({**body, **chain}), self._key)
        with disk_full_is_a_user_error(self.folder / LINES):
            try:
                write_end(self._descriptor, line, self.head.size)
                return self._take(line)
            except BaseException:
                with suppress(OSError):  # else the next opening does it
                    os.ftruncate(self._descriptor, self.head.size)
                raise

    def _take(self, line: bytes) -> dict[str, Any]:
        """Put the checkpoint behind a line that is on the disk, and return that line's content."""
        entry: dict[str, Any] = json.loads(line)
        digest = self._digest.copy()
        digest.update(line)
        length, size = self.head.length + 1, self.head.size + len(line)
        head = Head(
            length=length, size=size, digest=digest.hexdigest(), hash=entry["hash"], instant=entry["instant"]
        ).signed(self._key)
        with atomic_file(self.folder / HEAD) as partial:
            partial.write_bytes(head.text)
        self.head, self._digest = head, digest
        return entry

    def entries(self, *kinds: str, holding: str = "", last: int | None = None) -> list[dict[str, Any]]:
        """Return the lines of some kinds, of every kind unless any is named, the oldest first.

        Args:
            kinds: ``outcome``, ``label``, ...
            holding: only lines with this JSON, without blanks, in them: they alone are parsed, which costs the time.
            last: only the last so many of these; the rest is not even read.
        """
        if not self.head.length:
            return []
        chosen: list[dict[str, Any]] = []
        marks, mark = [f'"kind":"{kind}"'.encode() for kind in kinds], holding.encode()
        with (
            (self.folder / LINES).open("rb") as lines,
            mmap.mmap(lines.fileno(), self.head.size, access=mmap.ACCESS_READ) as text,
        ):
            end = self.head.size
            while end and (last is None or len(chosen) < last):
                begin = text.rfind(b"\n", 0, end - 1) + 1
                line, end = text[begin:end], begin
                if mark in line and (not kinds or any(one in line for one in marks)):
                    entry = json.loads(line)
                    chosen += [entry] if not kinds or entry["kind"] in kinds else []
        return chosen[::-1]

    def _catch_up(self, *, adopt: bool) -> None:
        """Compare the lines with the checkpoint, take in one that is ahead of it, and cut off a torn one.

        Raises:
            UserError: they differ in another way, or are signed in another way than with this process's key.
        """
        with (self.folder / LINES).open("rb") as lines:
            left, last = self.head.size, b""
            while left and (line := lines.readline(left)):
                self._digest.update(line)
                left, last = left - len(line), line
            ahead = lines.read()
        public = None if self._key is None else self._key.public_key()
        if self.head.length and not (adopt and self.head.signature is None):
            _require_signed(self.head, public, str(self.folder / HEAD))
        whole, torn = _split(ahead)
        is_same = not left and self._digest.hexdigest() == self.head.digest and _ends_as(self.head, last)
        if not is_same or whole.count(b"\n") > 1:
            _check(self.folder, public, [], lambda _: None)  # names the line
            raise UserError(str(self.folder), allowed="changed while it was read", remedy="Try again")
        if whole:
            _, is_signed = _entry(whole, self.head.length, self.head.hash, public, str(self.folder / LINES))
            if is_signed != (public is not None) and not adopt:
                raise UserError(str(self.folder), allowed="ends in a line that is not signed", remedy=RESTORE)
            self._take(whole)
            log(f"record: took in the last line of {self.folder}, whose writer was stopped before its checkpoint")
        if torn:
            os.ftruncate(self._descriptor, self.head.size)
            os.fsync(self._descriptor)
            log(f"record: cut {len(torn)} bytes off {self.folder}: a line that a stopped process did not finish")


def write_end(descriptor: int, line: bytes, size: int) -> None:
    """Write a line behind the first `size` bytes of a file, in place of what is left there of one that failed."""
    os.ftruncate(descriptor, size)
    rest = memoryview(line)
    while rest:  # a disk that fills takes a part
        written = os.pwrite(descriptor, rest, size)
        rest, size = rest[written:], size + written
    os.fsync(descriptor)


@contextmanager
def open_record(
    run: Path,
    key: Ed25519PrivateKey | None = None,
    *,
    wait_s: float = WAIT_S,
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    adopt: bool = False,
) -> Iterator[Record]:
    """Open a run's record for appending while the block lasts; it begins empty where there is none.

    The bytes are compared with the checkpoint, by their digest; `verify` checks every line and signature.

    Args:
        run: the run's folder.
        key: signs each line and the checkpoint.
        wait_s: how long to wait for another process that writes it.
        clock: says when a line is written.
        adopt: let a record that was begun without a key be signed from now on.

    Raises:
        UserError: another process writes it all the while, it was changed, it is not signed with `key`, or it cannot be
            written.
    """
    folder = run / FOLDER
    with _waited_lock(folder, wait_s):
        with disk_full_is_a_user_error(folder, NOT_A_PLACE):
            descriptor = os.open(folder / LINES, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o644)
        try:
            record = Record(folder, descriptor, _read_head(folder), key, clock)
            with disk_full_is_a_user_error(folder):
                record._catch_up(adopt=adopt)
            yield record
        finally:
            os.close(descriptor)


@contextmanager
def _waited_lock(folder: Path, wait_s: float) -> Iterator[None]:
    """Hold the lock of a record while the block lasts; wait for another process for so long.

    Raises:
        UserError: it holds it still.
    """
    why = f"is being written by another process, for more than {wait_s:g} s"
    refusal = UserError(str(folder), allowed=why, remedy="Try again when that has ended")
    until = time.monotonic() + wait_s
    with ExitStack() as stack:
        while True:
            try:
                with disk_full_is_a_user_error(folder, NOT_A_PLACE):
                    stack.enter_context(locked(folder / "lock", refusal))
                break
            except UserError as error:
                if error is not refusal or time.monotonic() > until:
                    raise
            time.sleep(0.05)
        yield


def sign(run: Path, key: Ed25519PrivateKey) -> Head:
    """Sign from now on a record that was begun without a key: the next line seals what is before it.

    Returns:
        The checkpoint.

    Raises:
        UserError: there is no record, it is signed already, or it cannot be opened.
    """
    if _snapshot(run / FOLDER)[0].signature is not None:
        raise UserError(str(run / FOLDER), allowed="is signed already", remedy="Leave it as it is")
    with open_record(run, key, adopt=True) as record:
        record.append("signed", {"public_key": _raw(key.public_key())})
        return record.head


def read_record(
    run: Path, *, keep: Callable[[dict[str, Any]], dict[str, Any]] = lambda entry: entry
) -> list[dict[str, Any]]:
    """Return every line of a run's record, after all of it was checked; needs no lock.

    Args:
        run: the run's folder.
        keep: what to return of each line; a long record is held in memory.

    Raises:
        UserError: there is none, or a line does not hold; names the first.
    """
    entries: list[dict[str, Any]] = []
    _check(run / FOLDER, None, [], lambda entry: entries.append(keep(entry)))
    return entries


def verify(run: Path, checkpoint: Path | None = None, public_key: Ed25519PublicKey | None = None) -> Verified:
    """Check every line of a run's record, every signature and the checkpoint; needs no lock.

    Args:
        run: the run's folder.
        checkpoint: a copy of head.json that was kept elsewhere: what it was made of must still be there.
        public_key: with which everything from the first signed line on must be signed; unless given, the one that
            the checkpoint names itself, which whoever changed the record may have put there.

    Raises:
        UserError: there is none, or a line does not hold; names the first.
    """
    heads = [] if checkpoint is None else [(str(checkpoint), read_checkpoint(checkpoint))]
    return _check(run / FOLDER, public_key, heads, lambda _: None)


def _check(
    folder: Path,
    public: Ed25519PublicKey | None,
    heads: Sequence[tuple[str, Head]],
    take: Callable[[dict[str, Any]], None],
) -> Verified:
    """Read a record whole and give each line to `take`; it must pass through its checkpoint and named `heads`."""
    own, size = _snapshot(folder)
    file = str(folder / LINES)
    if public is None and own.public_key is not None:
        public = _public_of(own.public_key, str(folder / HEAD))
    passed, digest, signed = Head(), hashlib.sha256(), 0
    heads = [(str(folder / HEAD), own), *heads]
    with (folder / LINES).open("rb") as lines:
        while passed.size < size:
            line = lines.readline(size - passed.size)
            if passed.length >= own.length and _split(line)[1]:
                break
            entry, is_signed = _entry(line, passed.length, passed.hash, public, file)
            if signed and not is_signed:
                raise _fault(file, passed.length, "is not signed, as the one before it is")
            signed += is_signed
            digest.update(line)
            passed = Head(
                length=passed.length + 1,
                size=passed.size + len(line),
                digest=digest.hexdigest(),
                hash=entry["hash"],
                instant=entry["instant"],
            )
            for name, head in heads:
                if head.length == passed.length and replace(head, public_key=None, signature=None) != passed:
                    raise _fault(file, passed.length - 1, f"is not the one that {name} was made of")
            take(entry)
    for name, head in heads:
        if head.length > passed.length:
            why = f"ends after {passed.length} lines, of {head.length} that {name} was made of: it was cut"
            raise UserError(file, allowed=why, remedy=RESTORE)
    _require_signed(own, public, str(folder / HEAD))
    if passed.length > own.length + 1:
        raise _fault(file, own.length + 1, f"is beyond the checkpoint {folder / HEAD}, which lags one line at most")
    return Verified(lines=passed.length, signed=signed, head=own, torn_bytes=size - passed.size)


def _entry(
    line: bytes, number: int, previous: str, public: Ed25519PublicKey | None, file: str
) -> tuple[dict[str, Any], bool]:
    """Return the content of a line, and whether it is signed; `number` and `previous` are what it must continue.

    Raises:
        UserError: it does not hold.
    """
    parts = SEALED.fullmatch(line)
    if parts is None:
        raise _fault(file, number, "is damaged: it does not end in a hash, as a line does")
    text, own_hash, signature = parts[1] + b"}", parts[2].decode(), parts[3]
    if hashlib.sha256(text).hexdigest() != own_hash:
        raise _fault(file, number, "was changed: its hash is that of another content")
    try:
        entry = json.loads(text)
    except (ValueError, RecursionError):
        entry = None
    if not isinstance(entry, dict) or any(type(entry.get(name)) is not kind for name, kind in CHAIN.items()):
        raise _fault(file, number, "is no line of a record")
    if entry["n"] != number:
        why = f"is entry {entry['n']}, not {number}: lines were deleted, inserted or exchanged"
        raise _fault(file, number, why)
    if entry["previous"] != previous:
        raise _fault(file, number, "does not continue the line before it: one of them was exchanged")
    if signature is not None and (
        public is None or not _is_signed(public, signature.decode(), bytes.fromhex(own_hash))
    ):
        raise _fault(file, number, "is not signed with the key")
    return {**entry, "hash": own_hash}, signature is not None


def _ends_as(head: Head, line: bytes) -> bool:
    """Return whether a checkpoint says of the last line what that says itself."""
    if not line:
        return head == Head()
    try:
        last = json.loads(line)
        return (last["n"] + 1, last["hash"], last["instant"]) == (head.length, head.hash, head.instant)
    except (ValueError, TypeError, KeyError):
        return False


def _split(ahead: bytes) -> tuple[bytes, bytes]:
    """Return the whole lines, and what is torn: without an end, or zeros that a power failure left."""
    end = 0 if b"\0" in ahead else ahead.rfind(b"\n") + 1
    return ahead[:end], ahead[end:]


def _fault(file: str, number: int, why: str) -> UserError:
    return UserError(f"{file}: line {number + 1}", allowed=why, remedy=RESTORE)


def _snapshot(folder: Path) -> tuple[Head, int]:
    """Return the checkpoint, and the size of the lines at the same moment: appending moves one after the other."""
    for _ in range(TRIES):
        head = _read_head(folder)
        try:
            size = (folder / LINES).stat().st_size
        except FileNotFoundError:
            raise UserError(str(folder), allowed="holds no record", remedy="'hews warn RUN' begins one") from None
        if _read_head(folder) == head:
            return head, size
    raise UserError(str(folder), allowed="is being written all the while", remedy="Try again")


def _read_head(folder: Path) -> Head:
    return read_checkpoint(folder / HEAD) if os.path.lexists(folder / HEAD) else Head()


def read_checkpoint(file: Path) -> Head:
    """Return a checkpoint.

    Raises:
        UserError: it is missing or damaged.
    """
    text = read_text(file, RESTORE)
    content = parse_json(text, str(file), CHECKPOINT, remedy=RESTORE)
    head = Head(**{name: content.get(name) for name in Head.__dataclass_fields__})
    if head.text != text.encode():
        raise UserError(str(file), allowed="is not as it was written", remedy=RESTORE)
    return head


def _require_signed(head: Head, public: Ed25519PublicKey | None, file: str) -> None:
    """Refuse a checkpoint that is not signed with a key, or is signed where there is none."""
    if public is None and head.signature is not None:
        raise UserError(file, allowed="is signed, and no key is configured", remedy="Name the key in [sign] key")
    if public is None:
        return
    if head.signature is None:
        remedy = "If it was begun without a key, 'hews record sign RUN --key FILE' signs it from now on"
        raise UserError(file, allowed="is not signed, and a key is configured", remedy=remedy)
    named = replace(head, signature=None)
    if head.public_key != _raw(public) or not _is_signed(public, head.signature, named.text):
        raise UserError(file, allowed="is not signed with the key", remedy=RESTORE)


def _canonical(content: Mapping[str, Any]) -> bytes:
    return json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def _sealed(text: bytes, key: Ed25519PrivateKey | None) -> bytes:
    """Return a line: its text with its hash and, with a key, the signature of that."""
    digest = hashlib.sha256(text)
    signature = b"" if key is None else b',"signature":"%s"' % base64.b64encode(key.sign(digest.digest()))
    return b'%s,"hash":"%s"%s}\n' % (text[:-1], digest.hexdigest().encode(), signature)


def _is_signed(public: Ed25519PublicKey, signature: str, content: bytes) -> bool:
    try:
        public.verify(base64.b64decode(signature, validate=True), content)
    except (ValueError, InvalidSignature):
        return False
    return base64.b64encode(base64.b64decode(signature)).decode() == signature  # the same bytes have other spellings


def _raw(public: Ed25519PublicKey) -> str:
    return base64.b64encode(public.public_bytes_raw()).decode()


def _public_of(text: str | None, file: str) -> Ed25519PublicKey:
    """Return the key that a checkpoint names."""
    try:
        return Ed25519PublicKey.from_public_bytes(base64.b64decode(text or "", validate=True))
    except ValueError:
        raise UserError(file, text, allowed="names no Ed25519 key", remedy=RESTORE) from None


def make_key(file: Path) -> Path:
    """Write a new private key, which only this user can read, and return the file beside it that holds the public one.

    Raises:
        UserError: one of the files exists, or cannot be written.
    """
    key, public = Ed25519PrivateKey.generate(), file.with_name(f"{file.name}.pub")
    pem, kind = serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    secret = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    for path in filter(os.path.lexists, (file, public)):
        raise UserError(str(path), allowed="exists already", remedy="Give another name: a key is never replaced")
    for path, content, mode in ((file, secret, 0o600), (public, key.public_key().public_bytes(pem, kind), 0o644)):
        with disk_full_is_a_user_error(path, NOT_A_PLACE):
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
            with open(descriptor, "wb") as out:
                out.write(content)
    return public


def load_key(file: Path) -> Ed25519PrivateKey:
    """Read a private key from a PEM file.

    Raises:
        UserError: it holds none, or other users can read it.
    """
    remedy = "Make one with 'hews record key FILE'"
    try:
        key = serialization.load_pem_private_key(read_text(file, remedy).encode(), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):  # TypeError: it has a password
        key = None
    if not isinstance(key, Ed25519PrivateKey):
        raise UserError(str(file), allowed="must hold an Ed25519 private key without a password (PEM)", remedy=remedy)
    if file.stat().st_mode & 0o077:
        raise UserError(str(file), allowed="can be read by other users", remedy=f"chmod 600 {file}")
    return key


def load_public_key(file: Path) -> Ed25519PublicKey:
    """Read a public key from a PEM file.

    Raises:
        UserError: it holds none.
    """
    remedy = "Give the file FILE.pub that 'hews record key FILE' wrote"
    try:
        key = serialization.load_pem_public_key(read_text(file, remedy).encode())
    except (ValueError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, Ed25519PublicKey):
        raise UserError(str(file), allowed="must hold an Ed25519 public key (PEM)", remedy=remedy)
    return key
