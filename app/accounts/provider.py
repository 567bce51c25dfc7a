"""Speaks OpenID Connect with the identity provider: https://openid.net/specs/openid-connect-core-1_0.html.

It is asked for its addresses and keys when they are needed first, when a token names a key that is
not known, and every hour. While it is away, what is known goes on counting. Nothing here waits for
it with a thread.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, cast

import httpx
from anyio import to_thread
from authlib.oauth2.auth import ClientAuth
from authlib.oauth2.rfc6749.parameters import prepare_grant_uri, prepare_token_request
from authlib.oauth2.rfc7636 import create_s256_code_challenge
from authlib.oidc.core import CodeIDToken
from joserfc import jwt
from joserfc.errors import (
    BadSignatureError,
    ClaimError,
    ExpiredTokenError,
    InvalidKeyIdError,
    JoseError,
)
from joserfc.jwk import KeySet
from joserfc.jws import JWSRegistry
from joserfc.jwt import JWTClaimsRegistry

from app.accounts.persons import Flow
from app.errors import InvalidToken, Unavailable
from app.settings import Settings

logger = logging.getLogger(__name__)

Claims = Mapping[str, Any]
Check = Callable[[jwt.Token], None]

# Only those whose public key cannot sign. EdDSA is Ed25519's earlier name.
ALGORITHMS = [f"{kind}{bits}" for kind in ("RS", "PS", "ES") for bits in (256, 384, 512)]
ALGORITHMS.append("Ed25519")
# Headers that nobody needs are ignored (RFC 7515, section 4), and critical ones refused.
REGISTRY = JWSRegistry(algorithms=ALGORITHMS, strict_check_header=False)
LEEWAY = 30  # s that the clocks of two machines may differ by
LONGEST_SAID = 300  # characters of what a provider says of an error

DEADLINE = 5.0  # s for all of a question
# s between two questions for keys: a token can name any key, and anyone can send one.
INTERVAL = 10.0
KEYS_LIFETIME = 3600.0  # s, after which keys are asked for again
SCOPES = ("openid", "profile", "email")
GROUPS_SCOPE = "groups"  # which some providers want, and others refuse
HEADERS = {"Accept": "application/json", "User-Agent": "foldhouse"}
DISCOVERY = "/.well-known/openid-configuration"
FORM = {"Content-Type": "application/x-www-form-urlencoded"}


class _Away(Exception):
    """The provider gives no answer that can be used; says why."""


class Provider:
    """Only the event loop uses it."""

    def __init__(self, settings: Settings) -> None:
        self._issuer = settings.oidc_issuer
        self._client_id = settings.oidc_client_id
        self._client_secret = settings.oidc_client_secret
        self._audience = settings.oidc_audience
        self._trusted = httpx.create_ssl_context()  # made once: it takes 20 ms
        self._metadata: dict[str, Any] = {}
        self.keys: KeySet | None = None
        self._asking = asyncio.Lock()
        self._asked_at = self._answered_at = float("-inf")
        self._failure: str | None = None
        self._renewal: asyncio.Task[None] | None = None

    async def address(self, redirect_uri: str, flow: Flow) -> str:
        """Where a browser goes to sign in; raises Unavailable."""
        metadata = await self._known_metadata()
        scopes = [*SCOPES]
        if GROUPS_SCOPE in (metadata.get("scopes_supported") or ()):
            scopes.append(GROUPS_SCOPE)
        address: str = prepare_grant_uri(
            metadata["authorization_endpoint"],
            client_id=self._client_id,
            response_type="code",
            redirect_uri=redirect_uri,
            scope=scopes,
            state=flow.state,
            nonce=flow.nonce,
            code_challenge=create_s256_code_challenge(flow.verifier),
            code_challenge_method="S256",
        )
        return address

    async def redeem(self, code: str, redirect_uri: str, flow: Flow) -> Claims:
        """The claims of whoever came back with this code; raises InvalidToken and Unavailable."""
        self.renew()
        metadata = await self._known_metadata()
        methods = metadata.get("token_endpoint_auth_methods_supported") or ()
        # In the body a secret needs no encoding of its own, about which providers differ.
        by_post = "client_secret_post" in methods
        auth = ClientAuth(
            self._client_id,
            self._client_secret,
            "client_secret_post" if by_post else "client_secret_basic",
        )
        body = prepare_token_request(
            "authorization_code",
            code=code,
            redirect_uri=redirect_uri,
            code_verifier=flow.verifier,
        )
        url, headers, body = auth.prepare("POST", metadata["token_endpoint"], {**FORM}, body)
        try:
            status, answer = await self._ask("POST", url, headers=headers, content=body)
        except _Away as error:
            raise self._unavailable(str(error)) from error
        if status >= 400:
            reason = answer.get("error")
            said = str(answer.get("error_description"))[:LONGEST_SAID]
            logger.warning("the identity provider refused a sign-in: %s, %s", reason, said)
            if reason != "invalid_grant":  # it is not the person's fault
                raise self._unavailable(f"it refuses this service with {status}, {reason}")
            raise InvalidToken("The identity provider no longer knows this sign-in: begin again.")
        token = answer.get("id_token")
        if not isinstance(token, str):
            raise self._unavailable("it sent no ID token")
        claims, _ = await self._verify(token, partial(self._require_id_token, flow.nonce))
        return claims

    async def check_access_token(self, token: str) -> tuple[Claims, KeySet]:
        """Its claims, `exp` and `sub` among them, and the keys that showed it; raises InvalidToken
        and Unavailable."""
        return await self._verify(token, self._require_access_token)

    async def _verify(self, token: str, require: Check) -> tuple[Claims, KeySet]:
        try:
            return await to_thread.run_sync(_decode, token, self.keys, require)
        except InvalidKeyIdError:
            await self._look()
        try:
            return await to_thread.run_sync(_decode, token, self.keys, require)
        except InvalidKeyIdError:
            if self._failure is not None:
                raise self._unavailable(self._failure) from None
            raise InvalidToken(f"The token's key is none of {self._issuer}.") from None

    def _require_access_token(self, token: jwt.Token) -> None:
        JWTClaimsRegistry(
            leeway=LEEWAY,
            iss={"essential": True, "value": self._issuer},
            aud={"essential": True, "value": self._audience},
            sub={"essential": True},
            exp={"essential": True},
        ).validate(token.claims)
        # Some providers put the API's audience into ID tokens too.
        audience = token.claims["aud"]
        if self._client_id in ([audience] if isinstance(audience, str) else audience):
            raise InvalidToken("The token is for signing in to the pages, not for the API.")

    def _require_id_token(self, nonce: str, token: jwt.Token) -> None:
        CodeIDToken(
            token.claims,
            token.header,
            options={"iss": {"value": self._issuer}, "aud": {"value": self._client_id}},
            params={"nonce": nonce, "client_id": self._client_id},
        ).validate(leeway=LEEWAY)

    async def _known_metadata(self) -> dict[str, Any]:
        if not self._metadata:
            await self._look()
        if not self._metadata:
            raise self._unavailable(str(self._failure))
        return self._metadata

    def renew(self) -> None:
        """Ask again after an hour, without waiting for the answer."""
        now = time.monotonic()
        is_old = now - self._answered_at > KEYS_LIFETIME and now - self._asked_at >= INTERVAL
        if is_old and self.keys is not None:
            self._renewal = asyncio.create_task(self._look())

    async def _look(self) -> None:
        """Ask for addresses and keys, unless that was done a moment ago."""
        async with self._asking:
            if time.monotonic() - self._asked_at < INTERVAL:
                return
            self._asked_at = time.monotonic()
            try:
                metadata = await self._document(self._issuer.rstrip("/") + DISCOVERY)
                if metadata.get("issuer") != self._issuer:
                    raise _Away(f"it calls itself {metadata.get('issuer')!r}")
                for name in ("authorization_endpoint", "token_endpoint", "jwks_uri"):
                    self._require_address(name, metadata.get(name))
                self.keys = _public(await self._document(metadata["jwks_uri"]))
            except _Away as error:
                self._failure = str(error)
                logger.warning("the identity provider %s: %s", self._issuer, error)
            else:
                self._metadata, self._failure = metadata, None
                self._answered_at = time.monotonic()

    def _require_address(self, name: str, address: object) -> None:
        scheme = self._issuer.partition(":")[0]
        if not isinstance(address, str) or not address.startswith(("https://", f"{scheme}://")):
            raise _Away(f"its {name} is {address!r}")

    async def _document(self, url: str) -> dict[str, Any]:
        status, document = await self._ask("GET", url)
        if status != 200:
            raise _Away(f"it answers {url} with {status}")
        return document

    async def _ask(
        self, method: str, url: str, headers: Mapping[str, str] | None = None, **content: Any
    ) -> tuple[int, dict[str, Any]]:
        """The status and the JSON object that it answers; raises _Away."""
        try:
            async with asyncio.timeout(DEADLINE), httpx.AsyncClient(verify=self._trusted) as client:
                answer = await client.request(
                    method, url, headers={**HEADERS, **(headers or {})}, **content
                )
            document = answer.json()
        except TimeoutError:
            raise _Away(f"it does not answer within {DEADLINE:g} seconds") from None
        except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
            raise _Away(str(error) or type(error).__name__) from error
        if not isinstance(document, dict):
            raise _Away(f"it answers {url} with something other than an object")
        return answer.status_code, document

    def _unavailable(self, reason: str) -> Unavailable:
        return Unavailable(
            f"The identity provider {self._issuer} cannot be used: {reason}. Try again, or use a "
            "key."
        )


def _decode(token: str, keys: KeySet | None, require: Check) -> tuple[Claims, KeySet]:
    """Raises InvalidKeyIdError and InvalidToken."""
    if keys is None:
        raise InvalidKeyIdError
    try:
        decoded = jwt.decode(token, keys, registry=REGISTRY)
        require(decoded)
    except InvalidKeyIdError:
        raise
    except ExpiredTokenError:
        raise InvalidToken("The token has expired: get a new one.") from None
    except ClaimError as error:
        raise InvalidToken(f"The token's claim {error.claim} is missing or wrong.") from None
    except BadSignatureError:
        raise InvalidToken("The token's signature is wrong.") from None
    except (JoseError, ValueError, TypeError, RecursionError) as error:
        raise InvalidToken(f"That is no token that can be verified: {error}.") from None
    return decoded.claims, keys


def _public(document: dict[str, Any]) -> KeySet:
    """Raises _Away."""
    try:
        listed = document["keys"]
        wanted = [key for key in listed if key.get("kty") != "oct" and key.get("use") != "enc"]
        return KeySet.import_key_set(cast(Any, {"keys": wanted}))
    except (JoseError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise _Away(f"its keys cannot be read: {error}") from error
