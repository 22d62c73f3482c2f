"""The HTTP client: what passes is tried again politely, what will not pass ends at once, nothing half is accepted."""

from __future__ import annotations

import gzip
import random
import socket
import ssl
import urllib.error
import urllib.request
from collections.abc import Callable
from email.utils import formatdate
from itertools import pairwise
from typing import Any

import pytest

from hews_gpu.errors import UserError
from hews_gpu.fetch import client as module
from hews_gpu.fetch.client import Answer, Client, Endpoint, RequestError, RequestPolicy, read_json

URL = "http://feed.invalid/table"
SOURCE = Endpoint(field="[fetch] incidents", address=URL)


class Headers(dict[str, str]):
    """Headers of a made-up answer."""


class Response:
    """A made-up answer, read in pieces."""

    def __init__(self, body: bytes, headers: dict[str, str] | None = None, status: int = 200, piece: int = 7) -> None:
        self.left, self.headers, self.status, self.piece = body, Headers(headers or {}), status, piece

    def __enter__(self) -> Response:
        return self

    def __exit__(self, *args: Any) -> None: ...

    def read1(self, size: int) -> bytes:
        piece, self.left = self.left[: min(size, self.piece)], self.left[min(size, self.piece) :]
        return piece


class Opener:
    """Gives the answers in turn; the last one again and again."""

    def __init__(self, *answers: Any) -> None:
        self.answers, self.seen = list(answers), []

    def open(self, request: Any, timeout: float) -> Response:
        self.seen.append(request)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        answer = answer() if callable(answer) else answer
        if isinstance(answer, BaseException):
            raise answer
        return Response(**answer)


def status(code: int, headers: dict[str, str] | None = None) -> Callable[[], urllib.error.HTTPError]:
    """Makes an error anew each time: the client closes what it was given."""
    return lambda: urllib.error.HTTPError(URL, code, "No", Headers(headers or {}), None)  # type: ignore[arg-type]


def with_answers(client: Client, *answers: Any) -> Opener:
    opener = Opener(*answers)
    client._opener = opener  # type: ignore[assignment]
    return opener


def body(answer: Answer) -> bytes:
    return answer.body


GOOD = {"body": b'{"a": 1}'}


def test_requests_name_the_project_and_pause_in_between(client: Client, time: Any) -> None:
    opener = with_answers(client, GOOD)
    for _ in range(3):
        assert client.get(URL, read_json, endpoint=SOURCE) == {"a": 1}
    assert "hews-gpu" in opener.seen[0].get_header("User-agent")
    assert time.slept_s == [0.5, 0.5]
    assert client.requests == 3


def test_no_pause_is_added_to_time_that_passed_anyway(client: Client, time: Any) -> None:
    with_answers(client, GOOD)
    client.get(URL, body, endpoint=SOURCE)
    time.now_s += 0.4
    client.get(URL, body, endpoint=SOURCE)
    assert time.slept_s == pytest.approx([0.1])


@pytest.mark.parametrize("code", [408, 429, 500, 502, 503, 504])
def test_waits_double_and_attempts_are_bounded(code: int, client: Client, time: Any) -> None:
    opener = with_answers(client, status(code))
    with pytest.raises(UserError, match=rf"answered HTTP {code}.*tried 6 times.*finished pages are kept"):
        client.get(URL, body, endpoint=SOURCE)
    assert len(opener.seen) == 6
    waits = [s for s in time.slept_s if s != pytest.approx(0.0)]
    assert len(waits) == 5  # none after the last attempt
    assert all(0.5 * 2**k <= wait <= 2**k for k, wait in enumerate(waits))


def test_jitter_comes_from_the_generator_given(time: Any) -> None:
    def waits(seed: int) -> list[float]:
        time.slept_s.clear()
        client = Client(policy=RequestPolicy(attempts=3), clock=time.clock, rng=random.Random(seed))
        with_answers(client, status(503))
        with pytest.raises(UserError):
            client.get(URL, body, endpoint=SOURCE)
        return list(time.slept_s)

    assert waits(1) == waits(1) != waits(2)


def test_a_wait_is_never_longer_than_the_longest(time: Any) -> None:
    client = Client(policy=RequestPolicy(attempts=9, backoff_max_s=5.0), clock=time.clock, rng=random.Random(0))
    with_answers(client, status(500))
    with pytest.raises(UserError):
        client.get(URL, body, endpoint=SOURCE)
    assert max(time.slept_s) <= 5.0


@pytest.mark.parametrize("header", ["17", formatdate(1017, usegmt=True)])
def test_retry_after_is_obeyed_in_seconds_and_as_a_date(header: str, client: Client, time: Any) -> None:
    with_answers(client, status(429, {"Retry-After": header}), GOOD)
    assert client.get(URL, body, endpoint=SOURCE) == b'{"a": 1}'
    assert time.slept_s == [17.0]


@pytest.mark.parametrize("header", ["soon", "-3"])
def test_a_retry_after_that_cannot_be_read_falls_back_to_our_own_wait(header: str, client: Client, time: Any) -> None:
    with_answers(client, status(429, {"Retry-After": header}), GOOD)
    client.get(URL, body, endpoint=SOURCE)
    assert 0.5 <= time.slept_s[0] <= 1.0


def test_a_server_that_asks_for_hours_ends_the_run(client: Client, time: Any) -> None:
    with_answers(client, status(429, {"Retry-After": "7200"}))
    with pytest.raises(UserError, match=r"asks to wait 7200 s.*finished pages are kept"):
        client.get(URL, body, endpoint=SOURCE)
    assert time.slept_s == []


@pytest.mark.parametrize("code", [400, 401, 403, 404, 410])
def test_a_refusal_is_not_asked_twice(code: int, client: Client) -> None:
    opener = with_answers(client, status(code))
    with pytest.raises(UserError, match=rf"HTTP {code}.*Check the address"):
        client.get(URL, body, endpoint=SOURCE)
    assert len(opener.seen) == 1


@pytest.mark.parametrize(
    ("reason", "expected"),
    [
        (socket.gaierror(-2, "Name or service not known"), "no such host, or no network.*by hand"),
        (ConnectionRefusedError(111, "Connection refused"), "cannot be reached.*Connection refused.*by hand"),
        (TimeoutError(), "cannot be reached.*by hand"),
    ],
)
def test_no_network_says_so_at_once_and_how_to_do_without(reason: OSError, expected: str, client: Client) -> None:
    opener = with_answers(client, urllib.error.URLError(reason))
    with pytest.raises(UserError, match=expected) as caught:
        client.get(URL, body, endpoint=SOURCE)
    assert len(opener.seen) == 1
    assert "\n" not in str(caught.value)


def test_a_host_that_answered_before_is_asked_again_when_the_network_drops(client: Client) -> None:
    gone = urllib.error.URLError(socket.gaierror(-3, "Temporary failure in name resolution"))
    opener = with_answers(client, GOOD, gone, gone, GOOD)
    client.get(URL, body, endpoint=SOURCE)
    assert client.get(URL, body, endpoint=SOURCE) == b'{"a": 1}'
    assert len(opener.seen) == 4


def test_an_unknown_certificate_is_not_passed_over(client: Client) -> None:
    error = ssl.SSLCertVerificationError(1, "certificate verify failed")
    error.verify_message = "self-signed certificate"
    opener = with_answers(client, urllib.error.URLError(error))
    with pytest.raises(UserError, match=r"does not trust \(self-signed certificate\).*SSL_CERT_FILE"):
        client.get(URL, body, endpoint=SOURCE)
    assert len(opener.seen) == 1


def test_a_body_shorter_than_announced_is_not_accepted(client: Client) -> None:
    opener = with_answers(client, {"body": b'{"a":', "headers": {"Content-Length": "8"}}, GOOD)
    assert client.get(URL, body, endpoint=SOURCE) == b'{"a": 1}'
    assert len(opener.seen) == 2


def test_compressed_answers_are_unpacked_and_cut_or_damaged_ones_asked_again(client: Client) -> None:
    packed, headers = gzip.compress(b'{"a": 1}'), {"Content-Encoding": "gzip"}
    damaged = bytes([packed[0] ^ 1]) + packed[1:]
    answers = [{"body": part, "headers": headers} for part in (packed[:-9], damaged, packed)]
    opener = with_answers(client, *answers)
    assert client.get(URL, body, endpoint=SOURCE) == b'{"a": 1}'
    assert len(opener.seen) == 3


@pytest.mark.parametrize("packed", [False, True])
def test_an_endless_answer_is_given_up(packed: bool, time: Any) -> None:
    client = Client(policy=RequestPolicy(body_max_bytes=1 << 20), clock=time.clock)
    content, headers = b"x" * (2 << 20), {}
    if packed:
        content, headers = gzip.compress(content), {"Content-Encoding": "gzip"}
    opener = with_answers(client, {"body": content, "headers": headers, "piece": 1 << 16})
    with pytest.raises(UserError, match=r"more than 1 MiB.*page_rows"):
        client.get(URL, body, endpoint=SOURCE)
    assert len(opener.seen) == 1


def test_an_answer_that_trickles_for_ever_is_given_up(client: Client, time: Any) -> None:
    class Trickle(Response):
        def read1(self, size: int) -> bytes:
            time.now_s += 100
            return b"x"

    client._opener = type("", (), {"open": lambda self, request, timeout: Trickle(b"")})()  # type: ignore[assignment]
    with pytest.raises(UserError, match=r"took longer than 600 s.*tried 6 times"):
        client.get(URL, body, endpoint=SOURCE)


@pytest.mark.parametrize("code", [202, 204])
def test_an_answer_that_is_not_ready_is_asked_for_again(code: int, client: Client) -> None:
    with_answers(client, {"body": b"", "status": code}, GOOD)
    assert client.get(URL, body, endpoint=SOURCE) == b'{"a": 1}'


def test_a_secret_is_sent_but_never_follows_a_redirect(client: Client) -> None:
    opener = with_answers(client, GOOD)
    client.get(URL, body, endpoint=SOURCE, secret={"X-App-Token": "t0ken"})
    request = opener.seen[0]
    assert request.unredirected_hdrs == {"X-app-token": "t0ken"}
    assert "X-app-token" not in request.headers


@pytest.mark.parametrize(
    ("old", "new", "is_followed"),
    [
        ("https://feed.invalid/a", "https://feed.invalid/b", True),
        ("http://feed.invalid/a", "https://feed.invalid/a", True),
        ("https://feed.invalid/a", "http://feed.invalid/a", False),
        ("https://feed.invalid/a", "https://elsewhere.invalid/a", False),
        ("https://feed.invalid/a", "https://feed.invalid.evil/a", False),
        ("http://feed.invalid/a", "ftp://feed.invalid/a", False),
        ("http://feed.invalid/a", "http://169.254.169.254/latest/meta-data", False),
    ],
)
def test_a_redirect_stays_on_the_host_and_encrypted(old: str, new: str, is_followed: bool) -> None:
    follow = lambda: module._SameHost().redirect_request(urllib.request.Request(old), None, 302, "Found", {}, new)  # noqa: E731
    if is_followed:
        assert follow().full_url == new
    else:
        with pytest.raises(RequestError, match="which was not asked for"):
            follow()


def test_an_address_is_shown_without_what_is_secret(client: Client) -> None:
    address = "https://me:pa55@feed.invalid:8443/table?$$app_token=t0ken#x"
    with_answers(client, status(403))
    shown = r"'https://feed\.invalid:8443/table\?\$\$app_token=\.\.\.#x'.*HTTP 403"
    with pytest.raises(UserError, match=shown) as caught:
        client.get(address, body, endpoint=Endpoint(field="[fetch] incidents", address=address))
    assert "t0ken" not in str(caught.value) and "pa55" not in str(caught.value)


@pytest.mark.parametrize("cut", [0, 3])
def test_an_answer_packed_in_several_members_is_read_whole(client: Client, cut: int) -> None:
    packed = gzip.compress(b'{"a"') + gzip.compress(b": 1") + gzip.compress(b"}")
    answer = {"body": packed[: len(packed) - cut], "headers": {"Content-Encoding": "gzip"}}
    with_answers(client, answer)
    if cut:
        with pytest.raises(UserError, match="cut its compressed answer"):
            client.get(URL, body, endpoint=SOURCE)
    else:
        assert client.get(URL, body, endpoint=SOURCE) == b'{"a": 1}'


@pytest.mark.parametrize(
    ("content", "content_type", "retry"),
    [
        (b" <!DOCTYPE html>", "", "known"),
        (b"please sign in", "text/html; charset=utf-8", "known"),
        (b'{"a": ', "application/json", "always"),
        (b"\xff\xfe", "application/json", "always"),
    ],
)
def test_what_is_not_json_is_refused(content: bytes, content_type: str, retry: str) -> None:
    with pytest.raises(RequestError) as caught:
        read_json(Answer(body=content, content_type=content_type))
    assert caught.value.retry == retry


def test_the_wait_between_attempts_includes_the_pause(client: Client, time: Any) -> None:
    moments: list[float] = []

    class Watched(Opener):
        def open(self, request: Any, timeout: float) -> Response:
            moments.append(time.now_s)
            return super().open(request, timeout)

    client._opener = Watched(status(503, {"Retry-After": "0"}), GOOD)  # type: ignore[assignment]
    client.get(URL, body, endpoint=SOURCE)
    assert all(b - a >= module.RequestPolicy().pause_s for a, b in pairwise(moments))
