"""Limits how many requests a key may send in a minute."""

from __future__ import annotations

import logging
import math
import time
from dataclasses import dataclass

from fastapi import Request
from limits import RateLimitItemPerMinute
from limits.aio.storage import MemoryStorage, RedisStorage
from limits.aio.strategies import SlidingWindowCounterRateLimiter
from redis.asyncio import ConnectionPool
from redis.exceptions import RedisError
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.errors import TooManyRequests
from app.http.deps import SENDER, Principal
from app.http.problems import problem_response
from app.queue.config import SENDER_TIMEOUT
from app.settings import Settings

log = logging.getLogger(__name__)

Header = tuple[bytes, bytes]

AWAY = 5.0  # s for which Redis is not asked again
WINDOW = 60  # s


@dataclass(frozen=True)
class Counted:
    """A request that was counted. `wait`: seconds until the sender may send more."""

    is_allowed: bool
    left: int
    wait: int


class RequestRate:
    """Counts the requests of each sender. With Redis as broker all processes of the API count
    together. Without it, or while it is away, each counts for itself."""

    def __init__(self, settings: Settings) -> None:
        self.per_minute = settings.max_requests_per_minute
        self._limit = RateLimitItemPerMinute(max(self.per_minute, 1))
        self._own = SlidingWindowCounterRateLimiter(MemoryStorage())
        self._pool: ConnectionPool | None = None
        self._ask_from = 0.0
        if self.per_minute and settings.broker_url:
            self._pool = ConnectionPool.from_url(
                settings.broker_url,
                socket_timeout=SENDER_TIMEOUT,
                socket_connect_timeout=SENDER_TIMEOUT,
            )
            self._shared = SlidingWindowCounterRateLimiter(
                RedisStorage(
                    f"async+{settings.broker_url}",
                    implementation="redispy",  # which Celery needs anyway
                    key_prefix="foldhouse-rate",
                    connection_pool=self._pool,  # type: ignore[arg-type]
                )
            )

    async def count(self, who: str) -> Counted:
        if self._pool is not None and time.monotonic() >= self._ask_from:
            try:
                return await self._count(self._shared, who)
            except (RedisError, OSError) as error:
                log.warning("each process counts requests for itself: %s", error)
                self._ask_from = time.monotonic() + AWAY
        return await self._count(self._own, who)

    async def close(self) -> None:
        if self._pool is not None:
            await self._pool.disconnect()

    async def _count(self, limiter: SlidingWindowCounterRateLimiter, who: str) -> Counted:
        is_allowed = await limiter.hit(self._limit, who)
        stats = await limiter.get_window_stats(self._limit, who)
        wait = max(1, math.ceil(stats.reset_time - time.time()))
        return Counted(is_allowed, stats.remaining, wait)


class RateLimited:
    """ASGI middleware inside `Authentication`. Requests count by key or person, and while the
    service has no keys by address; public ones do not count."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        sender = SENDER.get()
        if scope["type"] != "http" or sender is None:
            await self._app(scope, receive, send)
            return
        rate: RequestRate = scope["app"].state.resources[RequestRate]
        counted = await rate.count(_who(sender, scope))
        # https://datatracker.ietf.org/doc/draft-ietf-httpapi-ratelimit-headers/ version 10
        told: list[Header] = [
            (b"ratelimit-policy", f'"minute";q={rate.per_minute};w={WINDOW}'.encode()),
            (b"ratelimit", f'"minute";r={counted.left};t={counted.wait}'.encode()),
        ]

        async def send_telling(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *told]
            await send(message)

        if counted.is_allowed:
            await self._app(scope, receive, send_telling)
            return
        problem = TooManyRequests(
            f"More than {rate.per_minute:,} requests in a minute (`max_requests_per_minute`). "
            f"Send the next one in {counted.wait} s."
        )
        told.append((b"retry-after", str(counted.wait).encode()))
        await problem_response(Request(scope), problem)(scope, receive, send_telling)


def _who(sender: Principal, scope: Scope) -> str:
    if sender.key_id or sender.subject:
        return sender.key_id or f"subject {sender.subject}"
    return f"address {scope['client'][0] if scope['client'] else ''}"
