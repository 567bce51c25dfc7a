"""Finds out who sends a request, and refuses what they may not send, before any route is looked
for. So a route that is added is closed, and whoever has no key cannot tell which ones there are."""

from __future__ import annotations

import hmac
from http.cookies import CookieError, SimpleCookie
from urllib.parse import quote

from anyio import to_thread
from fastapi import Request
from fastapi.responses import RedirectResponse
from sqlalchemy.exc import ProgrammingError
from starlette.types import ASGIApp, Receive, Scope, Send

from app.accounts import roles
from app.accounts.keys import NO_KEY, Keys
from app.accounts.persons import Persons
from app.errors import Forbidden, Problem, Unauthorized
from app.http.deps import LOCAL, SENDER, Principal
from app.http.guard import SAFE_METHODS
from app.http.problems import database_problem, problem_response
from app.resources import Resources
from app.storage.database import DATABASE_AWAY

BEARER = "bearer "
COOKIE = "foldhouse_session"
CSRF = b"x-csrf-token"
SIGN_IN = "/sign-in"
NO_CSRF = (
    "A page that has signed in must send its X-CSRF-Token with whatever it changes: load the page "
    "again."
)


class Authentication:
    """ASGI middleware, inside everything that guards the server itself."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or roles.is_public(scope["method"], scope["path"]):
            await self._app(scope, receive, send)
            return
        try:
            principal = await sender(scope)
            SENDER.set(principal)
            _require(scope, principal)
        except (Problem, *DATABASE_AWAY, ProgrammingError) as error:
            problem = error if isinstance(error, Problem) else database_problem(error)
            response = (
                RedirectResponse(f"{SIGN_IN}?next={quote(_address(scope))}", 303)
                if isinstance(problem, Unauthorized) and _is_page(scope)
                else problem_response(Request(scope), problem)
            )
            await response(scope, receive, send)
            return
        await self._app(scope, receive, send)


async def sender(scope: Scope) -> Principal:
    """Who sends a request; raises Unauthorized and TooManyAttempts."""
    resources: Resources = scope["app"].state.resources
    keys, persons = resources[Keys], resources[Persons]
    needed = bool(persons.issuer) or keys.are_needed()
    if needed is None:
        needed = await to_thread.run_sync(keys.look_whether_needed)
    if not needed:
        return LOCAL
    key, cookie = _credentials(scope)
    secret = key or cookie
    if not secret:
        raise Unauthorized(NO_KEY)
    found = keys.known(secret)
    if found is not None:
        return found
    if key is None:
        return await to_thread.run_sync(keys.of_cookie, secret)
    if persons.is_token(key):
        return await persons.of_token(key)
    address = scope["client"][0] if scope["client"] else ""
    return await to_thread.run_sync(keys.of_key, secret, address)


def _require(scope: Scope, principal: Principal) -> None:
    """Raises Forbidden."""
    method, path = scope["method"], scope["path"]
    least = roles.needed(method, path)
    if not roles.may(principal.role, least):
        raise Forbidden(f"{method} {path} needs the role {least}, and yours is {principal.role}.")
    if principal.csrf is not None and method not in SAFE_METHODS:
        sent = next((value for name, value in scope["headers"] if name == CSRF), b"")
        if not hmac.compare_digest(sent, principal.csrf.encode()):
            raise Forbidden(NO_CSRF)


def _credentials(scope: Scope) -> tuple[str | None, str | None]:
    """The key, and else the cookie, that a request carries. What else stands in `Authorization` is
    a key that does not exist."""
    cookie = None
    for name, value in scope["headers"]:
        if name == b"authorization":
            text = value.decode("latin-1").strip()
            return (text[len(BEARER) :].strip() if text.lower().startswith(BEARER) else text), None
        if name == b"cookie":
            cookie = cookie_of(value.decode("latin-1"))
    return None, cookie


def cookie_of(header: str) -> str | None:
    """The session's, of a Cookie header."""
    try:
        found = SimpleCookie(header).get(COOKIE)
    except CookieError:
        return None
    return None if found is None else found.value


def _is_page(scope: Scope) -> bool:
    """Whether a browser asks for a page, whose user can sign in."""
    accepted = next((value for name, value in scope["headers"] if name == b"accept"), b"")
    is_api = scope["path"].startswith(("/v1/", "/v2/"))
    return scope["method"] in SAFE_METHODS and b"text/html" in accepted and not is_api


def _address(scope: Scope) -> str:
    path: str = scope["path"]
    query = scope["query_string"].decode("latin-1")
    return f"{path}?{query}" if query else path
