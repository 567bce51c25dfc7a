"""Requests to a service, and their errors."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

import httpx

from foldhouse_client.errors import Unreachable, from_response
from foldhouse_client.files import writing

DEFAULT_URL = "http://127.0.0.1:8000"
TIMEOUT = httpx.Timeout(5, read=300, write=300)  # s; a large upload is profiled before its answer

CSV = "text/csv"

Json = dict[str, Any]


class Connection:
    """Sends requests to the service at `url`, with an API key if there is one."""

    def __init__(
        self,
        url: str | None = None,
        key: str | None = None,
        *,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        address = (url or os.environ.get("FOLDHOUSE_URL") or DEFAULT_URL).rstrip("/")
        self.url = address if "://" in address else f"http://{address}"
        key = key or os.environ.get("FOLDHOUSE_KEY")
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._http = httpx.Client(
            base_url=self.url, headers=headers, timeout=TIMEOUT, transport=transport
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        self._http.close()

    def _json(self, method: str, path: str, **request: Any) -> Json:
        with self._answer(method, path, **request) as response:
            response.read()
            answer: Json = response.json()
            return answer

    def _send(self, method: str, path: str) -> None:
        with self._answer(method, path):
            pass

    def _rows(self, path: str) -> list[Json]:
        rows: list[Json] = self._json("GET", path)["data"]
        return rows

    def _pages(self, path: str, params: dict[str, str]) -> Iterator[Json]:
        page = self._json("GET", path, params=params)
        yield from page["data"]
        while page["has_more"]:
            page = self._json("GET", path, params={**params, "after": page["next"]})
            yield from page["data"]

    def _download(
        self, target: str | Path | BinaryIO, method: str, path: str, **request: Any
    ) -> httpx.Headers:
        with self._answer(method, path, **request) as response, writing(target) as file:
            for chunk in response.iter_bytes():
                file.write(chunk)
            return response.headers

    @contextmanager
    def _answer(self, method: str, path: str, **request: Any) -> Iterator[httpx.Response]:
        try:
            with self._http.stream(method, path, **request) as response:
                if response.is_error:
                    response.read()
                    raise from_response(response)
                yield response
        except (httpx.TransportError, httpx.InvalidURL) as error:
            raise Unreachable(
                "No answer",
                None,
                f"no foldhouse service answers at {self.url} ({error}); "
                "`foldhouse serve` starts one",
            ) from error


def on_dataset(body: Mapping[str, Any], dataset_id: str | None) -> Json:
    """A spec or sweep with its table: the given one, else its own, else the newest."""
    named = {} if dataset_id is None else {"dataset_id": dataset_id}
    return {"dataset_id": "latest", **body, **named}
