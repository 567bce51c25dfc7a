"""People and programs whom an identity provider knows, if the settings name one."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cachetools import TLRUCache

from app.accounts.secrets import digest
from app.errors import Forbidden, InvalidToken, NotFound
from app.grants import Grant, granted
from app.http.deps import Principal
from app.settings import Settings

if TYPE_CHECKING:
    from app.accounts.provider import Provider

MOST_TOKENS = 10_000  # that were verified and have not expired
LONGEST_SUBJECT = 255  # characters, https://openid.net/specs/openid-connect-core-1_0.html#IDToken
LONGEST_NAME = 255
# Who may be called what the provider's people choose themselves is still named by `sub`.
NAME_CLAIMS = ("email", "preferred_username", "name")


@dataclass(frozen=True)
class Flow:
    """What binds a provider's answer to the browser that asked: all follows from the secret of its
    cookie, so no process keeps anything."""

    secret: str

    @property
    def state(self) -> str:
        return digest(f"state {self.secret}")

    @property
    def nonce(self) -> str:
        return digest(f"nonce {self.secret}")

    @property
    def verifier(self) -> str:
        return digest(f"verifier {self.secret}")


@dataclass(frozen=True)
class Person:
    """What the provider says of somebody.

    groups : those that have a role here
    """

    subject: str
    name: str | None
    groups: list[str]


@dataclass(frozen=True)
class _Verified:
    principal: Principal
    expires_at: float  # s since 1970
    keys: object  # with which it was verified: those that the provider withdraws count no longer


class Persons:
    """Verified tokens are remembered until they expire. Only the event loop changes them."""

    def __init__(self, settings: Settings) -> None:
        self.issuer = settings.oidc_issuer
        self.grants = settings.oidc_grants
        self._takes_tokens = bool(settings.oidc_audience)
        self._groups_claim = settings.oidc_groups_claim
        self._verified: TLRUCache[str, _Verified] = TLRUCache(
            MOST_TOKENS, ttu=lambda _, token, __: token.expires_at, timer=time.time
        )
        self._provider: Provider | None = None
        if settings.oidc_issuer:
            # Nobody else needs the libraries.
            from app.accounts.provider import Provider

            self._provider = Provider(settings)

    @property
    def provider(self) -> Provider:
        """Raises NotFound."""
        if self._provider is None:
            raise NotFound("This service has no identity provider: sign in with a key.")
        return self._provider

    def is_token(self, secret: str) -> bool:
        """Whether it can be an access token; no key has a dot."""
        return self._takes_tokens and secret.count(".") == 2

    async def of_token(self, token: str) -> Principal:
        """Whose access token it is.

        Raises
        ------
        InvalidToken, Forbidden, Unavailable
        """
        self.provider.renew()
        sha256 = digest(token)
        known = self._verified.get(sha256)
        if known is not None and known.keys is self.provider.keys:
            return known.principal
        claims, keys = await self.provider.check_access_token(token)
        principal = self.principal(self.person(claims))
        self._verified[sha256] = _Verified(principal, claims["exp"], keys)
        return principal

    def person(self, claims: Mapping[str, Any]) -> Person:
        """Whom verified claims are about; raises InvalidToken and Forbidden."""
        subject, sent = claims["sub"], claims.get(self._groups_claim, [])
        if not 0 < len(subject) <= LONGEST_SUBJECT or not subject.isprintable():
            raise InvalidToken("The token's claim sub cannot be kept.")
        groups = [sent] if isinstance(sent, str) else sent if isinstance(sent, list) else []
        person = Person(subject, _name(claims), [one for one in self.grants if one in groups])
        if not person.groups:
            raise Forbidden(
                f"{self.issuer} knows you as {person.name or person.subject}, but the claim "
                f"{self._groups_claim} names no group that has a role here. Ask to be put into "
                "one, or ask an admin of this service to add yours to FOLDHOUSE_OIDC_ROLES."
            )
        return person

    def principal(self, person: Person) -> Principal:
        grant = granted(self.grants, person.groups)
        assert grant is not None
        return of_grant(grant, person.subject, person.name)


def of_grant(grant: Grant, subject: str | None, name: str | None) -> Principal:
    return Principal(
        tenant=grant.tenant, key_id=None, role=grant.role, subject=subject, subject_name=name
    )


def _name(claims: Mapping[str, Any]) -> str | None:
    found = (claims.get(name) for name in NAME_CLAIMS)
    names = (one for one in found if isinstance(one, str) and one and one.isprintable())
    return next((name[:LONGEST_NAME] for name in names), None)
