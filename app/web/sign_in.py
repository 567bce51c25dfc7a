"""/sign-in and /sign-out: a browser shows a key once, and gets a cookie."""

from __future__ import annotations

import re
from typing import Annotated
from urllib.parse import urlsplit

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import HTMLResponse
from pydantic import BaseModel, ConfigDict, Field

from app.accounts import repository, service
from app.accounts.authentication import COOKIE, cookie_of
from app.accounts.keys import Keys
from app.accounts.persons import Persons
from app.accounts.secrets import digest
from app.http.bodies import DocumentRoute
from app.http.deps import SIGNED_IN, ResourcesDep
from app.http.prefix import ROOT
from app.web.rendering import PageRoute, page

LONGEST_KEY = 200
# Two slashes or backslashes would begin another host. Browsers drop tabs and line ends.
OWN_PAGE = re.compile(r"/(?![/\\])[^\x00-\x20]*")

router = APIRouter(route_class=PageRoute, include_in_schema=False)
calls = APIRouter(route_class=DocumentRoute, include_in_schema=False)


class SignIn(BaseModel):
    """The key of whoever signs in."""

    model_config = ConfigDict(extra="forbid")

    key: str = Field(max_length=LONGEST_KEY)


@router.get("/sign-in")
def show_sign_in(
    resources: ResourcesDep,
    then: Annotated[str, Query(alias="next", max_length=2_000)] = "/",
) -> HTMLResponse:
    """`next`: the page of this server to go to."""
    provider = urlsplit(resources[Persons].issuer).hostname
    return page("sign_in.html", section=None, then=own_page(then), provider=provider)


@calls.post("/sign-in", status_code=204)
def sign_in(request: Request, resources: ResourcesDep, body: SignIn, response: Response) -> None:
    """Raises Unauthorized and TooManyAttempts."""
    address = request.client.host if request.client else ""
    principal = request.scope[SIGNED_IN] = resources[Keys].of_key(body.key.strip(), address)
    end_session(request, resources)
    with resources.database.writing() as session:
        assert principal.key_id is not None
        cookie = service.sign_in(session, repository.get(session, None, principal.key_id))
    set_cookie(request, response, COOKIE, cookie, service.SESSION_S)


@calls.post("/sign-out", status_code=204)
def sign_out(request: Request, resources: ResourcesDep, response: Response) -> None:
    end_session(request, resources)
    delete_cookie(response, COOKIE)


def own_page(then: str) -> str:
    """A page of this server to go to; the first one instead of another server's."""
    return then if OWN_PAGE.fullmatch(then) else "/"


def set_cookie(request: Request, response: Response, name: str, value: str, seconds: float) -> None:
    response.set_cookie(
        name,
        value,
        max_age=int(seconds),
        path=ROOT.get() or "/",
        httponly=True,
        samesite="strict",
        secure=own_address(request).startswith("https:"),
    )


def delete_cookie(response: Response, name: str) -> None:
    response.delete_cookie(name, ROOT.get() or "/", httponly=True, samesite="strict")


def end_session(request: Request, resources: ResourcesDep) -> None:
    cookie = cookie_of(request.headers.get("Cookie", ""))
    if cookie is None:
        return
    with resources.database.writing() as session:
        repository.end_session(session, digest(cookie))
    resources[Keys].forget()


def own_address(request: Request) -> str:
    """Of this server as the browser knows it, if only from a proxy: the page that asks says so."""
    return request.headers.get("Origin", str(request.base_url).rstrip("/")) + ROOT.get()
