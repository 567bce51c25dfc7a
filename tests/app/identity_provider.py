"""A small OpenID provider on the loopback address: discovery, keys that rotate, codes with PKCE."""

from __future__ import annotations

import base64
import json
import secrets
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

from authlib.oauth2.rfc7636 import create_s256_code_challenge
from joserfc import jwt
from joserfc.jwk import ECKey, RSAKey

CLIENT_ID, CLIENT_SECRET = "foldhouse", "pass+word%"
AUDIENCE = "foldhouse-api"
EXPIRED = -3600  # s from now

Parameters = dict[str, str]


class IdentityProvider:
    """`person`: the claims of whoever signs in. `id_claims`: what its ID tokens say instead."""

    def __init__(self) -> None:
        self.key: ECKey | RSAKey = ECKey.generate_key("P-256", {"kid": "first"})
        self.published: list[ECKey | RSAKey] = [self.key]
        self.asked: Counter[str] = Counter()
        self.answers = threading.Event()  # while it is not set, nothing is answered
        self.auth_methods = ["client_secret_basic", "client_secret_post"]
        self.reset()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        self.issuer = f"http://127.0.0.1:{self._server.server_port}/realms/main"

    def reset(self) -> None:
        self.person: dict[str, Any] = {
            "sub": "ana-1",
            "email": "ana@houses.example",
            "groups": ["appraisers", "others"],
        }
        self.id_claims: dict[str, Any] = {}
        self.codes: dict[str, Parameters] = {}
        self.answers.set()
        self.calls_itself: str | None = None

    def rotate(self, kid: str) -> None:
        """Sign with a new key from now on, and withdraw the one before."""
        self.key = ECKey.generate_key("P-256", {"kid": kid})
        self.published = [self.key]

    def access_token(self, lifetime: float = 300, **claims: Any) -> str:
        return self.sign({"aud": AUDIENCE, **self._common(lifetime), **self.person, **claims})

    def sign(self, claims: dict[str, Any]) -> str:
        """Without those that are None."""
        algorithm = "ES256" if isinstance(self.key, ECKey) else "RS256"
        kept = {name: value for name, value in claims.items() if value is not None}
        return jwt.encode({"alg": algorithm, "kid": self.key.kid}, kept, self.key)

    def serve(self) -> None:
        self._server.serve_forever(poll_interval=0.02)

    def stop(self) -> None:
        self.answers.set()
        self._server.shutdown()
        self._server.server_close()

    def discovery(self) -> dict[str, Any]:
        return {
            "issuer": self.calls_itself or self.issuer,
            "authorization_endpoint": f"{self.issuer}/authorize",
            "token_endpoint": f"{self.issuer}/token",
            "jwks_uri": f"{self.issuer}/keys",
            "scopes_supported": ["openid", "groups"],
            "token_endpoint_auth_methods_supported": self.auth_methods,
        }

    def keys(self) -> dict[str, Any]:
        # RFC 7517 allows kinds that nobody knows yet, and keys for other uses.
        others = [{"kty": "new"}, {"kty": "oct", "k": "c2VjcmV0", "kid": "shared"}]
        return {"keys": [*others, *(key.as_dict(private=False) for key in self.published)]}

    def authorize(self, asked: Parameters) -> str:
        """Where the browser goes back to."""
        wanted = {"client_id": CLIENT_ID, "response_type": "code", "code_challenge_method": "S256"}
        assert wanted.items() <= asked.items(), asked
        assert {"openid", "email", "groups"} <= {*asked["scope"].split()}
        code = secrets.token_urlsafe()
        self.codes[code] = asked
        answer = {"code": code, "state": asked["state"], "iss": self.issuer}
        return f"{asked['redirect_uri']}?{urlencode(answer)}"

    def token(self, asked: Parameters, authorization: str | None) -> tuple[int, dict[str, Any]]:
        id_and_secret = f"{asked.get('client_id')}:{asked.get('client_secret')}"
        if authorization is not None:
            id_and_secret = base64.b64decode(authorization.removeprefix("Basic ")).decode()
        if id_and_secret != f"{CLIENT_ID}:{CLIENT_SECRET}":
            return 401, {"error": "invalid_client"}
        begun = self.codes.pop(asked["code"], None)
        if (
            begun is None
            or begun["redirect_uri"] != asked["redirect_uri"]
            or begun["code_challenge"] != create_s256_code_challenge(asked["code_verifier"])
        ):
            return 400, {"error": "invalid_grant"}
        own = {"aud": CLIENT_ID, "nonce": begun["nonce"], **self._common(300)}
        token = self.sign({**own, **self.person, **self.id_claims})
        return 200, {"access_token": "a", "token_type": "Bearer", "id_token": token}

    def _common(self, lifetime: float) -> dict[str, Any]:
        now = time.time()
        return {"iss": self.issuer, "iat": int(min(now, now + lifetime)), "exp": now + lifetime}


def _handler(provider: IdentityProvider) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            name = parts.path.rpartition("/")[2]
            provider.asked[name] += 1
            provider.answers.wait(30)
            if name == "authorize":
                self._authorize(dict(_pairs(parts.query)))
            else:
                found = provider.keys() if name == "keys" else provider.discovery()
                self._answer(200, json.dumps(found), "application/json")

        def do_POST(self) -> None:
            provider.answers.wait(30)
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            status, answer = provider.token(dict(_pairs(body)), self.headers["Authorization"])
            self._answer(status, json.dumps(answer), "application/json")

        def _authorize(self, asked: Parameters) -> None:
            back = provider.authorize(asked)
            if "text/html" in self.headers["Accept"]:  # a person has to click
                page = f'<a href="{back.replace("&", "&amp;")}">Go on</a>'
                self._answer(200, page, "text/html")
            else:
                self._answer(302, "", "text/plain", {"Location": back})

        def _answer(
            self, status: int, text: str, kind: str, more: dict[str, str] | None = None
        ) -> None:
            self.send_response(status)
            for name, value in {"Content-Type": kind, **(more or {})}.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(text.encode())))
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *_: Any) -> None:
            pass

    return Handler


def _pairs(query: str) -> Iterator[tuple[str, str]]:
    return ((name, values[0]) for name, values in parse_qs(query).items())


@contextmanager
def identity_provider() -> Iterator[IdentityProvider]:
    provider = IdentityProvider()
    thread = threading.Thread(target=provider.serve)
    thread.start()
    try:
        yield provider
    finally:
        provider.stop()
        thread.join()


def settings_for(provider: IdentityProvider, **others: str) -> dict[str, str]:
    return {
        "oidc_issuer": provider.issuer,
        "oidc_client_id": CLIENT_ID,
        "oidc_client_secret": CLIENT_SECRET,
        "oidc_audience": AUDIENCE,
        "oidc_roles": "ml-admins=local:admin,appraisers=houses:editor,readers=houses:viewer",
        **others,
    }
