"""/sign-in and /sign-out: a browser shows a key once, and gets a cookie."""

from __future__ import annotations

import re
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import HTMLResponse
from pydantic import BaseModel, ConfigDict, Field

from app.accounts import repository, service
from app.accounts.authentication import COOKIE, cookie_of
from app.accounts.keys import Keys
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
    then: Annotated[str, Query(alias="next", max_length=2_000)] = "/",
) -> HTMLResponse:
    """`next`: the page of this server to go to."""
    return page("sign_in.html", section=None, then=then if OWN_PAGE.fullmatch(then) else "/")


@calls.post("/sign-in", status_code=204)
def sign_in(request: Request, resources: ResourcesDep, body: SignIn, response: Response) -> None:
    """Raises Unauthorized and TooManyAttempts."""
    address = request.client.host if request.client else ""
    principal = request.scope[SIGNED_IN] = resources[Keys].of_key(body.key.strip(), address)
    _end_session(request, resources)
    with resources.database.writing() as session:
        assert principal.key_id is not None
        cookie = service.sign_in(session, repository.get(session, None, principal.key_id))
    response.set_cookie(
        COOKIE,
        cookie,
        max_age=int(service.SESSION_S),
        path=ROOT.get() or "/",
        httponly=True,
        samesite="strict",
        secure=_is_encrypted(request),
    )


@calls.post("/sign-out", status_code=204)
def sign_out(request: Request, resources: ResourcesDep, response: Response) -> None:
    _end_session(request, resources)
    response.delete_cookie(COOKIE, ROOT.get() or "/", httponly=True, samesite="strict")


def _end_session(request: Request, resources: ResourcesDep) -> None:
    cookie = cookie_of(request.headers.get("Cookie", ""))
    if cookie is None:
        return
    with resources.database.writing() as session:
        repository.end_session(session, digest(cookie))
    resources[Keys].forget()


def _is_encrypted(request: Request) -> bool:
    """Whether the browser speaks TLS, if only to a proxy: its page's address says so."""
    return request.headers.get("Origin", str(request.url)).startswith("https:")
