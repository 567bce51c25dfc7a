"""Sends messages by the Standard Webhooks rules: https://www.standardwebhooks.com."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import secrets
import ssl
import time
from functools import cache

import httpx

from app.webhooks.addresses import resolve
from app.webhooks.outbox import PREFIX, Attempt

SECRET_BYTES = 32
DEADLINE = 15.0  # s for all of an attempt
LONGEST_REASON = 500  # characters; a receiver's own words may be among them
PORTS = {"http": 80, "https": 443}


def new_secret() -> str:
    return PREFIX + base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode()


def signature(secret: str, message_id: str, timestamp: int, body: bytes) -> str:
    """HMAC-SHA256 over id, time and body.

    >>> secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    >>> signature(secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')
    'v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE='
    """
    key = base64.b64decode(secret.removeprefix(PREFIX))
    signed = f"{message_id}.{timestamp}.".encode() + body
    digest = hmac.new(key, signed, hashlib.sha256).digest()
    return f"v1,{base64.b64encode(digest).decode()}"


async def send(attempt: Attempt, *, allow_private: bool) -> str | None:
    """Make an attempt; returns why it failed, or None."""
    try:
        async with asyncio.timeout(DEADLINE):
            status = await _post(attempt, allow_private=allow_private)
    except TimeoutError:
        return f"no answer within {DEADLINE:g} seconds"
    except Exception as error:  # whatever a receiver does, it must not stop other messages
        return str(error)[:LONGEST_REASON] or type(error).__name__
    # A redirect is a failure too: it could lead to an address that was not checked.
    return None if 200 <= status < 300 else f"the answer was {status}"


async def _post(attempt: Attempt, *, allow_private: bool) -> int:
    url = httpx.URL(attempt.url)
    host, port = url.raw_host.decode(), url.port or PORTS[url.scheme]
    address = await resolve(host, port, allow_private=allow_private)
    body = json.dumps(attempt.payload, allow_nan=False, separators=(",", ":")).encode()
    now = int(time.time())
    headers = {
        "Host": url.netloc.decode(),
        "Content-Type": "application/json",
        "User-Agent": "foldhouse",
        "webhook-id": attempt.delivery_id,
        "webhook-timestamp": str(now),
        "webhook-signature": signature(attempt.secret, attempt.delivery_id, now, body),
    }
    # trust_env: a proxy of the environment would resolve the name again.
    async with httpx.AsyncClient(verify=_trusted(), timeout=DEADLINE, trust_env=False) as client:
        request = client.stream(
            "POST",
            url.copy_with(host=address),
            content=body,
            headers=headers,
            extensions={"sni_hostname": host},  # the name that its certificate must have
        )
        async with request as answer:
            return answer.status_code  # the body is not read


@cache
def _trusted() -> ssl.SSLContext:
    """Loading the certificates takes tens of milliseconds."""
    return httpx.create_ssl_context()
