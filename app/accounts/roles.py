"""What each role may ask for: the one table of it.

Requests are looked up by method and path before any route is, so a route that is added is closed to
whoever may not write until it is listed here.
"""

from __future__ import annotations

import re
from functools import lru_cache

from app.grants import ROLES, Role

READING = ("GET", "HEAD")
# For anyone, with or without a key: whether the service is up and how it fares, also while the
# database is away; how to use it, and how to sign in.
PUBLIC = re.compile(
    r"/(healthz|readyz|metrics|docs|openapi\.json|sign-in(/start|/callback)?|v2/health/(live|ready))"
    r"|/(static-offline-docs|assets)/.*"
)
# The first pattern that fits the whole of method and path decides.
RULES: dict[str, Role] = {
    r"\w+ /v1/(keys|audit|quotas)(/.*)?": "admin",
    r"GET /v1/whoami": "predictor",
    r"POST /v1/(predict|models/[^/]+/predict)": "predictor",
    r"POST /(invocations|v2/models/[^/]+/infer)": "predictor",
    r"GET /(ping|version|v2(/.*)?)": "predictor",
    r"GET /v1/models/[^/]+/monitoring": "viewer",
    r"GET /v1/(models|aliases)(/.*)?": "predictor",
    r"POST /v1/jobs:validate": "viewer",
    r"POST /sign-out": "predictor",
    r"GET .*": "viewer",
    r".*": "editor",
}


def is_public(method: str, path: str) -> bool:
    """OPTIONS says only which methods a path has."""
    return method == "OPTIONS" or PUBLIC.fullmatch(path) is not None


@lru_cache(maxsize=256)
def needed(method: str, path: str) -> Role:
    """The least role that may send a request.

    >>> needed("GET", "/v1/models/latest"), needed("DELETE", "/v1/models/latest")
    ('predictor', 'editor')
    """
    asked = f"{'GET' if method in READING else method} {path}"
    found = (role for pattern, role in RULES.items() if re.fullmatch(pattern, asked, re.DOTALL))
    return next(found)


def may(role: Role, least: Role) -> bool:
    return ROLES.index(role) >= ROLES.index(least)
