"""Socrata datasets: the SODA 2.1 API, read as CSV pages by the system's own row id.

Sources: dev.socrata.com, "Paging through Data", "System Fields", "Application Tokens" and "Response Codes". A token
raises the rate limit; it is taken from the environment and sent as a header, so that it is never written to a file.
"""

from __future__ import annotations

import csv
import io
import os
import re
from collections.abc import Callable, Mapping
from typing import Any, TypeVar
from urllib.parse import urlencode, urlsplit

from hews_gpu.errors import UserError
from hews_gpu.fetch.client import Answer, Endpoint, RequestError, read_json, require
from hews_gpu.fetch.pages import Key, Table, TablePage, collection_page

__all__ = ["TOKEN_VARIABLE", "SocrataTable"]

T = TypeVar("T")

TOKEN_VARIABLE = "HEWS_SOCRATA_APP_TOKEN"
THIS_MACHINE = ("localhost", "127.0.0.1", "::1")
ROW_ID = ":id"
MAX_POLYGONS = 50_000  # the most rows that every version of the API gives at once


class SocrataTable(Table):
    """One dataset of a Socrata portal, whose address holds its id such as ijzp-q8t2; `where` is in SoQL."""

    suffix = ".csv"
    key = ROW_ID

    def _open(self) -> list[str]:
        self.root, self.dataset = _dataset(self.endpoint)
        self.address = f"{self.root}/resource/{self.dataset}"
        view = self._view()
        self.edited = _last_edit(view)
        self.time_zone = ""
        return [column["fieldName"] for column in view["columns"]]

    def count(self) -> int:
        """Return how many rows the dataset says there are."""
        return self._ask(self._url(".json", {"$select": "count(*)", **self._filter(None)}), _read_count)

    def edited_now(self) -> str:
        """Ask again when the dataset's rows were last changed."""
        return _last_edit(self._view())

    def page(self, after: Key | None) -> TablePage:
        """Return the rows that follow `after` in the order of the row id."""
        parameters = {
            "$select": ",".join(self.fields),
            **self._filter(after),
            "$order": ROW_ID,
            "$limit": str(self.page_rows),
        }
        return self._ask(self._url(".csv", parameters), self._read_page)

    def polygons(self) -> TablePage:
        """Return all rows with their outlines, as one GeoJSON file."""
        url = self._url(".geojson", {"$limit": str(MAX_POLYGONS)})
        return self._ask(url, lambda answer: collection_page(answer, _read_content(answer)))

    def _filter(self, after: Key | None) -> dict[str, str]:
        parts = [f"({self.where})"] if self.where else []
        if after is not None:
            quoted = str(after).replace("'", "''")
            parts.append(f"{ROW_ID} > '{quoted}'")
        return {"$where": " AND ".join(parts)} if parts else {}

    def _url(self, suffix: str, parameters: Mapping[str, str]) -> str:
        return f"{self.address}{suffix}?{urlencode(parameters)}"

    def _ask(self, url: str, read: Callable[[Answer], T]) -> T:
        return self.client.get(url, read, endpoint=self.endpoint, secret=self._secret())

    def _secret(self) -> dict[str, str]:
        """Return the header with the token, where there is one.

        Raises:
            UserError: it is no token, or would travel unencrypted.
        """
        token = os.environ.get(TOKEN_VARIABLE, "").strip()
        if not token:
            return {}
        if not re.fullmatch(r"[!-~]+", token):  # the value itself is never shown
            raise UserError(TOKEN_VARIABLE, allowed="must be one word of ASCII characters", remedy="Set it anew")
        parts = urlsplit(self.root)
        if parts.scheme != "https" and parts.hostname not in THIS_MACHINE:
            remedy = f"Give an https address, or unset {TOKEN_VARIABLE}"
            raise self.endpoint.refusal("would show the token", remedy)
        return {"X-App-Token": token}

    def _view(self) -> dict[str, Any]:
        """Return the portal's description of the dataset: its columns, and when it changed."""
        return self._ask(f"{self.root}/api/views/{self.dataset}.json", _read_view)

    def _read_page(self, answer: Answer) -> TablePage:
        """Check that the page is whole: the columns asked for, and every row as wide as the header."""
        text = _read_text(answer)
        try:
            header, *rows = list(csv.reader(io.StringIO(text, newline=""))) or [[]]
        except csv.Error as error:
            raise RequestError(f"answered with broken CSV ({error})", retry="always") from error
        if header != list(self.fields):
            raise RequestError(f"answered with the columns {', '.join(header)[:200] or 'none'}", retry="always")
        if not text.endswith("\n") or any(len(row) != len(header) for row in rows):
            raise RequestError("cut its answer in the middle of a row", retry="always")
        return TablePage(url=answer.url, body=answer.body, keys=[row[0] for row in rows])


def _dataset(endpoint: Endpoint) -> tuple[str, str]:
    """Return the portal's scheme and host, and the dataset's id, from any of its addresses there."""
    parts = urlsplit(endpoint.address)
    ids = re.findall(r"(?<![a-z0-9])[a-z0-9]{4}-[a-z0-9]{4}(?![a-z0-9])", parts.path)
    if not ids:
        allowed = "must hold a dataset's id, such as https://HOST/resource/ijzp-q8t2"
        raise endpoint.refusal(allowed, "Copy it from the portal's API button")
    return f"{parts.scheme}://{parts.netloc}", ids[-1]


def _read_text(answer: Answer) -> str:
    if answer.body.lstrip()[:1] in (b"<", b"{") or "text/html" in answer.content_type:
        _read_content(answer)
        raise RequestError("answered with JSON instead of CSV", retry="known")
    try:
        return answer.body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise RequestError(f"answered with text that is not UTF-8 ({error})", retry="always") from error


def _read_content(answer: Answer) -> Any:
    """Return the JSON of an answer that is not an error."""
    content = read_json(answer)
    if isinstance(content, dict) and content.get("error"):
        code, message = content.get("code"), content.get("message") or content["error"]
        remedy = "Check the address and [fetch] where"
        raise RequestError(f"answered with the error {code}: {str(message)[:300]}", retry="never", remedy=remedy)
    return content


def _read_view(answer: Answer) -> dict[str, Any]:
    content = _read_content(answer)
    require(content, {"columns": [{"fieldName": str}]}, "is not a dataset with columns", "never")
    return dict(content)


def _last_edit(view: Mapping[str, Any]) -> str:
    return str(view.get("rowsUpdatedAt") or "")


def _read_count(answer: Answer) -> int:
    content = _read_content(answer)
    values = list(content[0].values()) if isinstance(content, list) and content and isinstance(content[0], dict) else []
    if len(values) != 1 or not str(values[0]).isdecimal():
        raise RequestError("did not say how many rows there are", retry="always")
    return int(values[0])
