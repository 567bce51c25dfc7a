"""/sign-in/start and /sign-in/callback: a person of the identity provider gets the same cookie as
whoever shows a key.

The provider leads the browser back from another site, and on such a way browsers leave out cookies
that are `SameSite=Strict`. So the page at /sign-in/callback needs none, and its script asks for the
session as a page of this server.
"""

from __future__ import annotations

import base64
import hmac
from http.cookies import CookieError, SimpleCookie
from typing import Annotated

from anyio import to_thread
from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import HTMLResponse
from pydantic import BaseModel, ConfigDict, Field

from app.accounts import secrets, service
from app.accounts.authentication import COOKIE
from app.accounts.keys import Keys
from app.accounts.persons import Flow, Persons
from app.errors import InvalidToken
from app.http.bodies import DocumentRoute
from app.http.deps import SIGNED_IN, ResourcesDep
from app.web.rendering import PageRoute, page
from app.web.sign_in import delete_cookie, end_session, own_address, own_page, set_cookie

FLOW_COOKIE = "foldhouse_sign_in"
FLOW_S = 600.0  # s for all that the provider asks
CALLBACK = "/sign-in/callback"
SECRET_CHARACTERS = 43  # 256 bits
LONGEST_PAGE = 2_000
LONGEST_CODE = 4_096
ERROR = r"^[a-z_]{1,64}$"  # https://www.rfc-editor.org/rfc/rfc6749#section-4.1.2.1
BEGIN_AGAIN = (
    "This answer of the identity provider does not belong to a sign-in that this browser began in "
    "the last ten minutes: begin again."
)

router = APIRouter(route_class=PageRoute, include_in_schema=False)
calls = APIRouter(route_class=DocumentRoute, include_in_schema=False)


class Start(BaseModel):
    """The page of this server to go to afterwards."""

    model_config = ConfigDict(extra="forbid")

    next: str = Field(max_length=LONGEST_PAGE)


class Started(BaseModel):
    location: str = Field(description="Of the provider, where the browser goes now.")


class Answered(BaseModel):
    """What the provider has sent along with the browser."""

    model_config = ConfigDict(extra="forbid")

    code: str = Field(max_length=LONGEST_CODE)
    state: str = Field(max_length=LONGEST_CODE)


class SignedIn(BaseModel):
    next: str = Field(description="The page to go to now.")


@router.get(CALLBACK)
def show_callback(
    resources: ResourcesDep, error: Annotated[str | None, Query(pattern=ERROR)] = None
) -> HTMLResponse:
    """`error`: why the provider has not signed the person in."""
    assert resources[Persons].provider
    return page("callback.html", section=None, error=error)


@calls.post("/sign-in/start")
async def start(
    request: Request, resources: ResourcesDep, body: Start, response: Response
) -> Started:
    """Raises NotFound and Unavailable."""
    secret = secrets.random_text(SECRET_CHARACTERS)
    provider = resources[Persons].provider
    location = await provider.address(f"{own_address(request)}{CALLBACK}", Flow(secret))
    then = base64.urlsafe_b64encode(body.next.encode()).decode().rstrip("=")
    set_cookie(request, response, FLOW_COOKIE, f"{secret}.{then}", FLOW_S)
    return Started(location=location)


@calls.post(CALLBACK)
async def call_back(
    request: Request, resources: ResourcesDep, body: Answered, response: Response
) -> SignedIn:
    """Raises InvalidToken, Forbidden, NotFound and Unavailable."""
    persons = resources[Persons]
    flow, then = _began(request)
    if not hmac.compare_digest(flow.state.encode(), body.state.encode()):
        raise InvalidToken(BEGIN_AGAIN)
    keys, address = resources[Keys], request.client.host if request.client else ""
    keys.require_few_failures(address)  # each asks the provider, with this service's own secret
    try:
        claims = await persons.provider.redeem(body.code, f"{own_address(request)}{CALLBACK}", flow)
    except InvalidToken:
        keys.note_failure(address)
        raise
    person = persons.person(claims)
    principal = request.scope[SIGNED_IN] = persons.principal(person)

    def begin() -> str:
        end_session(request, resources)
        with resources.database.writing() as session:
            return service.sign_in_person(session, person, principal.tenant)

    cookie = await to_thread.run_sync(begin)
    set_cookie(request, response, COOKIE, cookie, service.SESSION_S)
    delete_cookie(response, FLOW_COOKIE)
    return SignedIn(next=then)


def _began(request: Request) -> tuple[Flow, str]:
    """What this browser began, and the page that it came from; raises InvalidToken."""
    try:
        found = SimpleCookie(request.headers.get("Cookie", ""))[FLOW_COOKIE].value
        secret, _, then = found.partition(".")
        page = base64.urlsafe_b64decode(then + "=" * (-len(then) % 4)).decode()
    except (CookieError, KeyError, ValueError):
        raise InvalidToken(BEGIN_AGAIN) from None
    return Flow(secret), own_page(page)
