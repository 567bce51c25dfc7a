"""The service behind nginx with deploy/nginx/foldhouse.conf, at the top and under a path."""

from __future__ import annotations

import os
import re
import shutil
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from polling import free_port, wait_until
from services import unavailable
from stack import LONG, Stack, embedded, houses, running

from app.accounts import service

pytestmark = pytest.mark.acceptance

CONFIGURATION = Path(__file__).parents[2] / "deploy" / "nginx" / "foldhouse.conf"
MAIN = """\
daemon off;
pid {folder}/nginx.pid;
{user}
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/bodies;
    proxy_temp_path {folder}/answers;
    include {folder}/foldhouse.conf;
}}
"""
CLIENT = "127.0.0.2"  # the proxy itself is 127.0.0.1
BROWSER = {"Accept": "text/html"}
MOST_BYTES = 4 * 1024 * 1024
MORE_HOUSES = 150_000  # 3 MB


@dataclass
class Proxied:
    """`client` goes through nginx, from an address of its own."""

    client: httpx.Client
    stack: Stack
    key: str
    prefix: str
    plain_port: int


@pytest.fixture(scope="module", params=["", "/houses"], ids=["top", "path"])
def proxied(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Proxied]:
    program = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
    if program is None:
        unavailable("nginx is not installed")
    folder, prefix = tmp_path_factory.mktemp("nginx"), request.param
    settings = embedded(
        folder, root_path=prefix, trusted_proxies="127.0.0.1", max_upload_bytes=MOST_BYTES
    )
    with running(settings) as stack:
        with stack.database.writing() as session:
            new = service.create(session, tenant="local", name="n", role="admin", expires_at=None)
            key = new.secret
        # Another process has made the first key, which is noticed within half a second.
        wait_until(lambda: stack.http.get("/v1/whoami").status_code == 401)
        certify(folder)
        port, plain_port = free_port(), free_port()
        with nginx(program, folder, prefix, stack.port, port, plain_port):
            trusted = ssl.create_default_context(cafile=folder / "fullchain.pem")
            with httpx.Client(
                base_url=f"https://localhost:{port}{prefix}",
                transport=httpx.HTTPTransport(verify=trusted, local_address=CLIENT),
                timeout=30,
            ) as client:
                yield Proxied(client, stack, key, prefix, plain_port)


def certify(folder: Path) -> None:
    """A certificate for localhost that is signed by itself."""
    names = "-subj /CN=localhost -addext subjectAltName=DNS:localhost".split()
    files = ["-keyout", folder / "privkey.pem", "-out", folder / "fullchain.pem"]
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", *names, *files],
        check=True,
        capture_output=True,
    )


@contextmanager
def nginx(
    program: str, folder: Path, prefix: str, service_port: int, port: int, plain_port: int
) -> Iterator[None]:
    """Runs with the configuration; only its ports and paths are others."""
    text = CONFIGURATION.read_text()
    for there, here in {
        "listen 443 ": f"listen 127.0.0.1:{port} ",
        "listen 80;": f"listen 127.0.0.1:{plain_port};",
        "127.0.0.1:8000": f"127.0.0.1:{service_port}",
        "/etc/ssl/foldhouse/": f"{folder}/",
        "location / {": f"location {prefix}/ {{",
    }.items():
        assert there in text
        text = text.replace(there, here)
    (folder / "foldhouse.conf").write_text(text)
    user = "user root;" if os.getuid() == 0 else ""
    (folder / "nginx.conf").write_text(MAIN.format(folder=folder, user=user))
    log = folder / "nginx.log"
    with log.open("wb") as errors:
        process = subprocess.Popen(
            [program, "-c", folder / "nginx.conf", "-e", "stderr"], stderr=errors
        )
    try:
        wait_until((folder / "nginx.pid").exists)
        yield
    finally:
        process.terminate()
        process.wait()
    assert "[emerg]" not in log.read_text()


def test_a_browser_signs_in_over_tls(proxied: Proxied) -> None:
    client, prefix = proxied.client, proxied.prefix
    sent = client.get("/jobs", headers=BROWSER)
    assert sent.status_code == 303
    assert sent.headers["Location"] == f"{prefix}/sign-in?next=/jobs"
    assert "max-age" in sent.headers["Strict-Transport-Security"]
    # No `Origin`: that the browser speaks TLS is known from the proxy.
    answer = client.post("/sign-in", json={"key": proxied.key})
    assert answer.status_code == 204, answer.text
    cookie = answer.headers["Set-Cookie"]
    assert "Secure" in cookie
    assert f"Path={prefix or '/'};" in cookie
    page = client.get("/jobs", headers=BROWSER)
    assert "admin of local" in page.text
    for address in re.findall(r'(?:src|href)="([^"#]+)', page.text):
        assert client.get(page.url.join(address)).status_code == 200, address
    # A browser names its page, by the name and port that it knows.
    token = re.findall('name="csrf" content="(.+?)"', page.text)[0]
    origin = f"https://{page.url.netloc.decode()}"
    headers = {"X-CSRF-Token": token, "Origin": origin, "Sec-Fetch-Site": "same-origin"}
    assert client.post("/sign-out", headers=headers).status_code == 204
    assert not client.cookies


def test_programs_upload_and_find_what_they_made(proxied: Proxied) -> None:
    client, key = proxied.client, {"Authorization": f"Bearer {proxied.key}"}
    table = houses(MORE_HOUSES)
    answer = client.post("/v1/datasets", content=table, headers=key | {"Content-Type": "text/csv"})
    assert answer.status_code == 201, answer.text
    place = answer.headers["Location"]
    assert place.startswith(f"{proxied.prefix}/v1/datasets/")
    assert client.get(answer.url.join(place), headers=key).json()["rows"] == MORE_HOUSES
    # The service counts, not nginx.
    # nginx may close a connection whose body it has not read to the end: the next has its own.
    alone = key | {"Connection": "close"}
    longer = client.post("/v1/datasets", content=2 * table, headers=alone)
    assert longer.status_code == 413
    assert longer.json()["type"].endswith("too-large"), longer.text
    assert "Swagger" in client.get("/docs", headers=key).text
    document = client.get("/openapi.json", headers=key).json()
    assert document.get("servers", []) == ([{"url": proxied.prefix}] if proxied.prefix else [])


def test_events_arrive_while_the_stream_is_open(proxied: Proxied) -> None:
    client, key = proxied.client, {"Authorization": f"Bearer {proxied.key}"}
    as_csv = key | {"Content-Type": "text/csv"}
    dataset = client.post("/v1/datasets", content=houses(), headers=as_csv).json()["id"]
    spec = {"dataset_id": dataset, "target": "price", **LONG}
    job = client.post("/v1/jobs", json=spec, headers=key).json()["id"]
    with client.stream("GET", f"/v1/jobs/{job}/events", headers=key) as stream:
        lines = stream.iter_lines()
        assert any('"status":"queued"' in line for line in lines)
        client.post(f"/v1/jobs/{job}/cancel", headers=key)  # only now, with the stream open
        assert any('"status":"cancelled"' in line for line in lines)


def test_the_audit_has_the_address_of_the_client(proxied: Proxied) -> None:
    client, key = proxied.client, {"Authorization": f"Bearer {proxied.key}"}
    claimed = key | {"X-Forwarded-For": "203.0.113.9"}
    client.post("/v1/webhooks", json={"url": "nowhere"}, headers=claimed)
    client.get("/v1/jobs", headers={"Authorization": "Bearer fh_wrong"})

    def rows() -> list[dict[str, object]]:
        found = client.get("/v1/audit", headers=key).json()["data"]
        return [row for row in found if row["route"] in ("/v1/webhooks", "/v1/jobs")]

    wait_until(lambda: {"/v1/webhooks", "/v1/jobs"} <= {row["route"] for row in rows()})
    assert {row["address"] for row in rows()} == {CLIENT}


def test_plain_http_leads_to_tls(proxied: Proxied) -> None:
    answer = httpx.get(f"http://localhost:{proxied.plain_port}/jobs?limit=5")
    assert answer.status_code == 308
    assert answer.headers["Location"] == "https://localhost/jobs?limit=5"


def test_a_peer_that_is_no_proxy_is_not_believed(proxied: Proxied) -> None:
    port = proxied.stack.port
    claimed = {"X-Forwarded-For": "203.0.113.9", "X-Forwarded-Proto": "https"}
    transport = httpx.HTTPTransport(local_address=CLIENT)
    with httpx.Client(base_url=f"http://localhost:{port}", transport=transport) as client:
        answer = client.post("/sign-in", json={"key": proxied.key}, headers=claimed)
        assert answer.status_code == 204
        assert "Secure" not in answer.headers["Set-Cookie"]
