"""Uploads that are too large, lie, never end, crawl, come all at once or break off."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from itertools import repeat

import httpx
import pytest
from hostile import (
    ANSWER_SECONDS,
    CSV,
    MIB,
    answer_on,
    assert_lives,
    assert_refused,
    besieged,
    chunk,
    connected,
    datasets,
    head,
    is_closed,
    no_orphans,
    reset,
    sent_until_answered,
)
from polling import wait_until
from stack import Stack, houses, resident_bytes

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(300)]

LIMIT = MIB
PATIENCE = 30.0  # s, that a body which crawls is waited for
AT_ONCE = 200
SAYS = f"max_upload_bytes, {LIMIT}"
TABLE = b"a,b\n" + b"1,2\n3,5\n" * 8000
BOUNDARY = {"Content-Type": "multipart/form-data; boundary=q"}
PART = b'--q\r\nContent-Disposition: form-data; name="file"; filename="a.csv"\r\n\r\n'


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack that takes tables of 1 MiB."""
    folder = tmp_path_factory.mktemp("uploads")
    with besieged(folder, Stack.upload, max_upload_bytes=LIMIT) as stack:
        yield stack


def table_of(size: int) -> bytes:
    """So many bytes of a table of two columns."""
    return TABLE[:4] + b"1,2\n" * ((size - 4) // 4) + b"\n" * (size % 4)


@pytest.mark.parametrize("size", [LIMIT + 1, LIMIT + 70_000, 2 * LIMIT, 40 * LIMIT])
@pytest.mark.parametrize("form", ["raw", "chunked", "multipart"])
def test_more_bytes_than_allowed(small: Stack, form: str, size: int) -> None:
    """413 names the setting and its value; no file stays."""
    content = table_of(size)
    if form == "raw":
        answer = small.http.post("/v1/datasets", content=content, headers=CSV)
    elif form == "chunked":
        parts = (content[i : i + 65536] for i in range(0, size, 65536))
        answer = small.http.post("/v1/datasets", content=parts, headers=CSV)
    else:
        answer = small.http.post("/v1/datasets", files={"file": ("a.csv", content)})
    assert_refused(small, answer, SAYS, 413)
    no_orphans(small)


def test_as_many_bytes_as_allowed(small: Stack) -> None:
    """The limit itself is allowed."""
    content = table_of(LIMIT)
    answer = small.http.post("/v1/datasets", content=content, headers=CSV)
    assert answer.status_code == 201, answer.text
    assert answer.json()["bytes"] == LIMIT
    assert_lives(small)


FORMS: dict[str, tuple[bytes, str]] = {
    "no boundary in the body": (b"a,b\n1,2\n", "multipart body cannot be read"),
    "cut before the end": (PART + b"a,b\n1,2\n", "closing boundary"),
    "cut in a part's head": (PART[:40], "closing boundary"),
    "nothing": (b"", "closing boundary"),
    "no file": (
        b'--q\r\nContent-Disposition: form-data; name="name"\r\n\r\nx\r\n--q--\r\n',
        "file",
    ),
    "another field": (PART.replace(b'"file"', b'"tables"') + b"a\r\n--q--\r\n", "'tables'"),
    "two files": ((PART + b"a,b\n1,2\n\r\n") * 2 + b"--q--\r\n", "'file' twice"),
    "a part without a name": (PART.replace(b'name="file"; ', b"") + b"a\r\n--q--\r\n", "name"),
    "an endless part head": (b"--q\r\nX: " + b"x" * 500_000, "multipart body cannot be read"),
}


@pytest.mark.parametrize("case", FORMS)
def test_broken_forms(small: Stack, case: str) -> None:
    """422 names the field, or says how the form is broken; no file stays."""
    content, says = FORMS[case]
    answer = small.http.post("/v1/datasets", content=content, headers=BOUNDARY)
    assert_refused(small, answer, says)
    no_orphans(small)


@pytest.mark.parametrize("media_type", ["", "application/json", "text/html", "csv", "text/csv/x"])
def test_other_media_types(small: Stack, media_type: str) -> None:
    """415 names those that are read."""
    headers = {"Content-Type": media_type} if media_type else {}
    answer = small.http.post("/v1/datasets", content=TABLE, headers=headers)
    assert_refused(small, answer, "text/csv", 415)


@pytest.mark.parametrize("name", ["x" * 5000, "a%00b", "a%0Ab", "a%1Bb"])
def test_names_that_no_file_has(small: Stack, name: str) -> None:
    """422 names the query parameter."""
    answer = small.http.post(f"/v1/datasets?name={name}", content=TABLE, headers=CSV)
    assert_refused(small, answer, "query parameter 'name'")


def test_a_content_length_that_is_too_small(small: Stack) -> None:
    """What it counts is the table; the rest is no request, and ends the connection."""
    before = datasets(small)
    with connected(small) as connection:
        connection.sendall(head("/v1/datasets", content_length="9") + b"a,b\n1,2\n3")
        answer = answer_on(connection)
        sent_until_answered(connection, [b",4\n" * 99 + b"\n"])
        assert is_closed(connection)
    assert_refused(small, answer, "Row 2 has 1 cell", row=2)
    assert datasets(small) == before


def test_a_content_length_that_is_too_large(small: Stack) -> None:
    """The client ends early: the server hangs up and keeps nothing."""
    before = datasets(small)
    with connected(small) as connection:
        connection.sendall(head("/v1/datasets", content_length="5000") + b"a,b\n1,2\n")
        connection.shutdown(socket.SHUT_WR)
        assert is_closed(connection)
    no_orphans(small)
    assert datasets(small) == before
    assert_lives(small)


@pytest.mark.parametrize("length", [40 * LIMIT, 10**15, 2**63 - 1])
def test_a_content_length_over_the_limit(small: Stack, length: int) -> None:
    """Refused at once, before a byte of the body."""
    with connected(small) as connection:
        connection.sendall(head("/v1/datasets", content_length=str(length)))
        answer = answer_on(connection)
    assert_refused(small, answer, SAYS, 413)


@pytest.mark.parametrize(
    "request_",
    [
        head("/v1/datasets", content_length="-1"),
        head("/v1/datasets", content_length="ten"),
        head("/v1/datasets", content_length="1" * 5000),
        head("/v1/datasets", content_length="8\r\nContent-Length: 9") + TABLE[:9],
        head("/v1/datasets", transfer_encoding="chunked") + b"zz\r\na,b\n\r\n0\r\n\r\n",
        head("/v1/datasets", transfer_encoding="chunked") + b"-5\r\na,b\n\r\n0\r\n\r\n",
        head("/v1/datasets", transfer_encoding="chunked") + b"f" * 30 + b"\r\na,b\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200),
    ],
    ids=[
        "negative length",
        "length in words",
        "length of 5000 digits",
        "two lengths",
        "chunk size in letters",
        "negative chunk",
        "endless chunk size",
        "TLS",
    ],
)
def test_what_is_not_http(small: Stack, request_: bytes) -> None:
    """It ends with a 400 or a closed connection: no 5xx, no dataset, no file."""
    before = datasets(small)
    with connected(small) as connection:
        sent_until_answered(connection, [request_])
        try:
            said = connection.recv(65536)
        except ConnectionError:
            said = b""
        assert not said or said.split()[1] in (b"400", b"431"), said
        assert is_closed(connection)
    no_orphans(small)
    assert datasets(small) == before
    assert_lives(small)


@pytest.mark.parametrize("line", [b"x" * 65_536, b"X: x\r\n" * 10_000])
def test_a_header_that_never_ends(small: Stack, line: bytes) -> None:
    """Refused, or hung up on, before it fills the memory."""
    pid, before = small.api.pid, resident_bytes(small.api.pid)
    with connected(small) as connection:
        connection.sendall(head("/v1/datasets", content_length="8")[:-2] + b"X: ")
        sent = sent_until_answered(connection, repeat(line, 16 * MIB // len(line)))
        grown = resident_bytes(pid) - before
    assert sent < 8 * MIB
    assert grown < 8 * MIB
    assert_lives(small)


@pytest.mark.parametrize("part", [b"1,2\n" * 16_384, b"x" * 65_536, b'"' * 65_536, b"1" * 1024])
def test_a_body_that_never_ends(small: Stack, part: bytes) -> None:
    """Chunks at full speed: 413 long before the client has sent a hundred times the limit."""
    began = time.monotonic()
    with connected(small) as connection:
        connection.sendall(head("/v1/datasets", transfer_encoding="chunked") + chunk(b"a,b\n"))
        sent = sent_until_answered(connection, repeat(chunk(part), 100 * LIMIT // len(part)))
        answer = answer_on(connection)
    assert_refused(small, answer, SAYS, 413)
    assert time.monotonic() - began < ANSWER_SECONDS
    assert sent < 50 * LIMIT
    no_orphans(small)


@pytest.mark.parametrize("how", ["reset", "end"])
@pytest.mark.parametrize("form", ["length", "chunked", "multipart"])
def test_a_client_that_vanishes_half_way(small: Stack, form: str, how: str) -> None:
    """Neither a dataset nor a file stays of what it sent."""
    before = datasets(small)
    whole = str(2 * len(TABLE))
    begun = {
        "length": head("/v1/datasets", content_length=whole) + TABLE,
        "chunked": head("/v1/datasets", transfer_encoding="chunked") + chunk(TABLE),
        "multipart": head(
            "/v1/datasets", content_length=whole, content_type=BOUNDARY["Content-Type"]
        )
        + PART
        + TABLE,
    }[form]
    folder = small.settings.root / "tmp"
    connection = connected(small)
    connection.sendall(begun)
    wait_until(lambda: any(folder.glob("ds_*")))  # it is being received
    if how == "reset":
        reset(connection)
    else:
        connection.close()
    wait_until(lambda: not any(folder.glob("ds_*")))
    no_orphans(small)
    assert datasets(small) == before
    assert_lives(small)


@pytest.mark.slow  # it waits until the patience of the server is over
def test_bodies_that_crawl(small: Stack) -> None:
    """408 when its patience is over, for a client that drips and for those that fall silent."""

    def drips(begun: bytes) -> tuple[httpx.Response, float]:
        """One byte a second, until the server answers."""
        began = time.monotonic()
        with connected(small) as connection:
            connection.sendall(begun)
            connection.settimeout(1.0)
            while time.monotonic() - began < PATIENCE + ANSWER_SECONDS:
                try:
                    connection.recv(1, socket.MSG_PEEK)
                    break
                except TimeoutError:
                    connection.sendall(b"1" if b"Length" in begun else chunk(b"1"))
            connection.settimeout(ANSWER_SECONDS)
            return answer_on(connection), time.monotonic() - began

    def falls_silent(begun: bytes) -> tuple[httpx.Response, float]:
        began = time.monotonic()
        with connected(small) as connection:
            connection.settimeout(PATIENCE + ANSWER_SECONDS)
            connection.sendall(begun)
            return answer_on(connection), time.monotonic() - began

    by_length = head("/v1/datasets", content_length="100000") + b"a,b\n"
    by_chunks = head("/v1/datasets", transfer_encoding="chunked") + chunk(b"a,b\n")
    with ThreadPoolExecutor() as clients:
        pending = [
            clients.submit(client, begun)
            for client in (drips, falls_silent)
            for begun in (by_length, by_chunks)
        ]
        assert_lives(small)  # nobody else waits for them
    for future in pending:
        answer, seconds = future.result()
        assert_refused(small, answer, "fewer than 32768 in the last 30 seconds", 408)
        assert PATIENCE - 1 < seconds < PATIENCE + ANSWER_SECONDS
    no_orphans(small)


def test_two_hundred_at_once(stack: Stack) -> None:
    """All are answered, each with its own dataset, on either database."""
    tables = [houses(60, seed=seed) for seed in range(1, AT_ONCE + 1)]
    limits = httpx.Limits(max_connections=AT_ONCE)
    with (
        httpx.Client(base_url=stack.http.base_url, timeout=120, limits=limits) as http,
        ThreadPoolExecutor(AT_ONCE) as clients,
    ):
        answers = list(
            clients.map(lambda csv: http.post("/v1/datasets", content=csv, headers=CSV), tables)
        )
    assert {answer.status_code for answer in answers} == {201}, [a.text for a in answers][:3]
    found = {answer.json()["id"]: answer.json()["sha256"] for answer in answers}
    assert sorted(found.values()) == sorted(sha256(csv.encode()).hexdigest() for csv in tables)
    assert len(found) == AT_ONCE
    no_orphans(stack)
    assert_lives(stack)


def test_the_same_table_two_hundred_times_at_once(stack: Stack) -> None:
    """One dataset comes of it, and one file."""
    table = houses(300, seed=7)
    limits = httpx.Limits(max_connections=AT_ONCE)
    with (
        httpx.Client(base_url=stack.http.base_url, timeout=120, limits=limits) as http,
        ThreadPoolExecutor(AT_ONCE) as clients,
    ):
        answers = list(
            clients.map(
                lambda csv: http.post("/v1/datasets", content=csv, headers=CSV),
                repeat(table, AT_ONCE),
            )
        )
    statuses = sorted(answer.status_code for answer in answers)
    assert statuses == [200] * (AT_ONCE - 1) + [201]
    assert len({answer.json()["id"] for answer in answers}) == 1
    no_orphans(stack)
    assert_lives(stack)
