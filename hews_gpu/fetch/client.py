"""An HTTP reader that sends one request at a time, pauses between them, and retries temporary errors.

An answer counts only when it arrived whole and its reader could use it. Temporary errors (a cut connection, a timeout,
a rate limit, a server's error) are retried after a wait that doubles, with jitter, or after the time the server names;
permanent ones (a refusal, an unknown certificate) end at once. A host that has never answered well is not asked
again when it cannot be reached or sends a web page: the address is wrong or there is no network.
"""

from __future__ import annotations

import http.client
import random
import re
import socket
import ssl
import time
import urllib.error
import urllib.request
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from email.utils import parsedate_to_datetime
from typing import Any, Literal, TypeVar
from urllib.parse import urlsplit

from hews_gpu import __version__
from hews_gpu.errors import UserError
from hews_gpu.own_files import check, parse_json

__all__ = [
    "Answer",
    "Client",
    "Clock",
    "Endpoint",
    "RequestError",
    "RequestPolicy",
    "read_json",
    "require",
    "without_secrets",
]

T = TypeVar("T")

USER_AGENT = f"hews-gpu/{__version__} (research on public crime tables; one connection, paused between requests)"
CHUNK_BYTES = 1 << 16
SECRET = re.compile(r"([?&][^=&#]*(?:token|key|secret|sig|pass)[^=&#]*=)[^&#]*", re.IGNORECASE)
"""A parameter of an address that names a secret, and its value."""
TRY_AGAIN = frozenset({408, 425, 429, 500, 502, 503, 504})  # statuses that say "not now" rather than "no"
LATER = "Run the same command again later: finished pages are kept and not asked for again"
ADDRESS = "Check the address: those of public feeds change, and the city's open data portal names the new one"
BY_HAND = (
    "Fetching needs the internet; without it, place the tables by hand where [incidents] files and [neighborhoods] "
    "file of the city file say"
)


@dataclass(frozen=True, kw_only=True)
class RequestPolicy:
    """Pauses, timeouts, retries and bounds."""

    pause_s: float = 0.5
    """Between the end of one request and the start of the next."""
    timeout_s: float = 60.0
    """Longest silence of the server."""
    answer_s: float = 600.0
    """Longest time for one whole answer, however steadily it trickles."""
    attempts: int = 6
    """For one page, the first one included."""
    backoff_s: float = 1.0
    """Wait before the second attempt; doubles with each."""
    backoff_max_s: float = 60.0
    """Longest of these waits."""
    retry_after_max_s: float = 900.0
    """Longest wait obeyed when the server names one; a longer one ends the run, to be resumed later."""
    body_max_bytes: int = 256 << 20
    """A larger answer is not a page of a table."""


@dataclass(frozen=True, kw_only=True)
class Clock:
    """The client's clock, replaced in tests."""

    now_s: Callable[[], float] = time.monotonic
    """Seconds that only go forward."""
    wall_s: Callable[[], float] = time.time
    """Seconds since 1970, to compare with a date that the server names."""
    sleep: Callable[[float], None] = time.sleep
    """Wait for so many seconds."""


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """A key of the city file and its address, both named in errors."""

    field: str
    address: str

    def refusal(self, allowed: str, remedy: str) -> UserError:
        """Return the error that names both."""
        return UserError(self.field, without_secrets(self.address), allowed=allowed, remedy=remedy)


@dataclass(frozen=True, kw_only=True)
class Answer:
    """A whole body, decompressed."""

    body: bytes
    content_type: str = ""
    url: str = ""
    """What was asked for."""


class RequestError(Exception):
    """A request without a usable answer: why, whether to retry, and what the user can do.

    Args:
        reason: continues a sentence about the address.
        retry: always, never, or only if this host has answered well before ("known").
        wait_s: seconds to wait as the server asked.
        remedy: what to do when no attempt is left.
    """

    def __init__(
        self, reason: str, *, retry: Literal["always", "known", "never"], wait_s: float | None = None, remedy: str = ""
    ) -> None:
        super().__init__(reason)
        self.reason, self.retry, self.wait_s = reason, retry, wait_s
        self.remedy = remedy or (LATER if retry == "always" else ADDRESS)


class _SameHost(urllib.request.HTTPRedirectHandler):
    """Follows a redirect to the same host only, and never from https to anything else."""

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        """Return the request that follows.

        Raises:
            RequestError: it would leave the host, or the encryption.
        """
        old, new = urlsplit(req.full_url), urlsplit(newurl)
        if new.hostname != old.hostname or new.scheme not in ("https", old.scheme):
            remedy = "Name that address in [fetch] if you trust it"
            where = f"{new.scheme}://{new.hostname}"
            raise RequestError(f"redirects to {where}, which was not asked for", retry="never", remedy=remedy)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


class Client:
    """One connection's worth of requests.

    Args:
        policy: pauses, timeouts and bounds.
        clock: replaced in tests, so that none of them waits.
        rng: draws the jitter of the waits, so that many users do not return in step.
    """

    def __init__(
        self, *, policy: RequestPolicy | None = None, clock: Clock | None = None, rng: random.Random | None = None
    ) -> None:
        self.policy, self.clock, self.rng = policy or RequestPolicy(), clock or Clock(), rng or random.Random()
        self.requests = 0
        self._opener = urllib.request.build_opener(_SameHost)
        self._known_hosts: set[str] = set()
        self._last_end_s: float | None = None

    def get(
        self, url: str, read: Callable[[Answer], T], *, endpoint: Endpoint, secret: Mapping[str, str] | None = None
    ) -> T:
        """Send a GET request and return what `read` makes of the answer.

        Args:
            url: the whole address.
            read: turns an answer into a result, or raises `RequestError`.
            endpoint: named in the error.
            secret: headers that are not passed on when the server redirects.

        Raises:
            UserError: no usable answer within the attempts allowed.
        """
        host = urlsplit(url).netloc
        attempt = 0
        while True:  # ends by an answer, or in _wait_or_give_up after `attempts` at most
            attempt += 1
            try:
                result = read(self._ask(url, secret or {}))
            except RequestError as refusal:
                self._wait_or_give_up(refusal, attempt, endpoint, known=host in self._known_hosts)
            else:
                self._known_hosts.add(host)
                return result

    def _wait_or_give_up(self, refusal: RequestError, attempt: int, endpoint: Endpoint, *, known: bool) -> None:
        retry = refusal.retry == "always" or (refusal.retry == "known" and known)
        wait_s = refusal.wait_s if refusal.wait_s is not None else self._backoff_s(attempt)
        too_long = wait_s > self.policy.retry_after_max_s
        if not retry or too_long or attempt >= self.policy.attempts:
            tries = f" (tried {attempt} times)" if attempt > 1 else ""
            asks = f" and asks to wait {wait_s:.0f} s" if retry and too_long else ""
            raise endpoint.refusal(f"{refusal.reason}{asks}{tries}", refusal.remedy) from refusal
        self.clock.sleep(wait_s)

    def _backoff_s(self, attempt: int) -> float:
        """Draw half to all of a wait that doubles with each attempt."""
        longest = min(self.policy.backoff_max_s, self.policy.backoff_s * 2.0 ** (attempt - 1))
        return longest * self.rng.uniform(0.5, 1.0)

    def _ask(self, url: str, secret: Mapping[str, str]) -> Answer:
        """Send one request and read its answer; every error becomes `RequestError`."""
        self._pause()
        request = urllib.request.Request(url, headers={"User-Agent": USER_AGENT, "Accept-Encoding": "gzip"})
        for header, value in secret.items():
            request.add_unredirected_header(header, value)
        self.requests += 1
        try:
            with self._opener.open(request, timeout=self.policy.timeout_s) as response:
                return replace(self._read(response), url=without_secrets(url))
        except urllib.error.HTTPError as error:
            with error:
                raise self._bad_status(error) from error
        except urllib.error.URLError as error:
            raise _no_connection(error.reason) from error
        except TimeoutError as error:
            raise RequestError(f"was silent for {self.policy.timeout_s:g} s", retry="always") from error
        except http.client.InvalidURL as error:
            raise RequestError(f"is not a usable address ({error})", retry="never") from error
        except (http.client.HTTPException, OSError) as error:
            raise RequestError(f"cut the connection ({type(error).__name__})", retry="always") from error
        finally:
            self._last_end_s = self.clock.now_s()

    def _pause(self) -> None:
        if self._last_end_s is not None:
            left_s = self._last_end_s + self.policy.pause_s - self.clock.now_s()
            if left_s > 0:
                self.clock.sleep(left_s)

    def _read(self, response: Any) -> Answer:
        """Read the whole body; `http.client` itself does not notice one that ends before its Content-Length."""
        if response.status != 200:
            raise RequestError(f"is not ready (HTTP {response.status})", retry="always")
        deadline_s = self.clock.now_s() + self.policy.answer_s
        body = bytearray()
        while chunk := response.read1(CHUNK_BYTES):
            body += chunk
            self._require_small(len(body))
            if self.clock.now_s() > deadline_s:
                raise RequestError(f"took longer than {self.policy.answer_s:g} s to answer", retry="always")
        expected = response.headers.get("Content-Length")
        if expected is not None and expected.isdecimal() and int(expected) != len(body):
            raise RequestError(f"cut its answer after {len(body)} of {expected} bytes", retry="always")
        gzipped = response.headers.get("Content-Encoding", "").strip().lower() == "gzip"
        return Answer(
            body=self._decompress(bytes(body)) if gzipped else bytes(body),
            content_type=response.headers.get("Content-Type", ""),
        )

    def _decompress(self, body: bytes) -> bytes:
        """Unpack an answer, of one member or of several one after the other (RFC 1952, section 2.2)."""
        text = bytearray()
        while body:
            unzip = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)
            try:
                text += unzip.decompress(body, self.policy.body_max_bytes + 1 - len(text))
            except zlib.error as error:
                raise RequestError(f"sent a damaged answer ({error})", retry="always") from error
            self._require_small(len(text))
            if not unzip.eof:
                raise RequestError("cut its compressed answer", retry="always")
            body = unzip.unused_data
        return bytes(text)

    def _require_small(self, size_bytes: int) -> None:
        limit = self.policy.body_max_bytes
        if size_bytes > limit:
            remedy = "Lower [fetch] page_rows, or check the address"
            raise RequestError(f"sent more than {limit >> 20} MiB in one answer", retry="never", remedy=remedy)

    def _bad_status(self, error: urllib.error.HTTPError) -> RequestError:
        reason = f"answered HTTP {error.code} {error.reason}".rstrip()
        if error.code in TRY_AGAIN:
            return RequestError(reason, retry="always", wait_s=self._retry_after_s(error.headers.get("Retry-After")))
        return RequestError(reason + _detail(error), retry="never")

    def _retry_after_s(self, text: str | None) -> float | None:
        """Return the seconds of a Retry-After header, which holds seconds or a date; None if it cannot be read."""
        if text is None:
            return None
        if text.strip().isdecimal():
            return float(text)
        try:
            return max(0.0, parsedate_to_datetime(text).timestamp() - self.clock.wall_s())
        except ValueError:
            return None


def read_json(answer: Answer) -> Any:
    """Return the JSON of an answer.

    Raises:
        RequestError: a web page, or not JSON.
    """
    if answer.body.lstrip()[:1] == b"<" or "text/html" in answer.content_type:
        raise RequestError("answered with a web page instead of data", retry="known")
    try:
        return parse_json(answer.body, "it", object)
    except UserError as error:
        raise RequestError(f"answered with broken JSON ({error})", retry="always") from error


def require(content: Any, schema: Any, reason: str, retry: Literal["always", "never"]) -> None:
    """Refuse what an answer holds with a `RequestError` for this reason unless it is as the schema says."""
    try:
        check(content, schema, "its answer")
    except UserError as error:
        raise RequestError(f"{reason} ({error.field}: {error.allowed})", retry=retry) from error


def without_secrets(url: str) -> str:
    """Return an address to be shown or kept: without a password, or a token among its parameters."""
    return SECRET.sub(r"\1...", re.sub(r"//[^/@]*@", "//", url))


def _no_connection(reason: object) -> RequestError:
    """Return the error of a request that never reached the server."""
    if isinstance(reason, ssl.SSLCertVerificationError):
        remedy = "Bring this machine's certificates up to date, or set SSL_CERT_FILE"
        text = f"has a certificate that this machine does not trust ({reason.verify_message})"
        return RequestError(text, retry="never", remedy=remedy)
    if isinstance(reason, socket.gaierror):
        return RequestError("no such host, or no network", retry="known", remedy=BY_HAND)
    if isinstance(reason, TimeoutError):
        return RequestError("cannot be reached (no answer)", retry="known", remedy=BY_HAND)
    return RequestError(
        f"cannot be reached ({getattr(reason, 'strerror', None) or reason})", retry="known", remedy=BY_HAND
    )


def _detail(error: urllib.error.HTTPError) -> str:
    """Return the message in the JSON body of a refusal, where there is one."""
    try:
        body = parse_json(error.read(CHUNK_BYTES), "JSON", {"message": str})
    except (OSError, UserError, http.client.HTTPException):
        return ""
    return f": {body['message'][:200]}"
