"""Roles and tenants, and which groups of an identity provider have which."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Literal, get_args

# From the least to the most; each may do what those before it may (`app.accounts.roles`).
Role = Literal["predictor", "viewer", "editor", "admin"]
ROLES: tuple[Role, ...] = get_args(Role)
TENANT_PATTERN = r"^[a-z0-9][a-z0-9_-]{0,62}$"


@dataclass(frozen=True)
class Grant:
    """A role in a tenant."""

    tenant: str
    role: Role


def parse_grants(text: str) -> dict[str, Grant]:
    """By group, in the text's order; raises ValueError.

    >>> parse_grants("ml-admins=local:admin, CN=appraisers=houses:editor")["CN=appraisers"]
    Grant(tenant='houses', role='editor')
    """
    grants: dict[str, Grant] = {}
    for part in filter(None, map(str.strip, text.split(","))):
        group, _, grant = part.rpartition("=")  # a group's name may have an equals sign
        tenant, _, role = grant.strip().partition(":")
        if not group or not re.fullmatch(TENANT_PATTERN, tenant) or role not in ROLES:
            raise ValueError(
                f"{part!r} must be GROUP=TENANT:ROLE, with a role of {', '.join(ROLES)}"
            )
        if group.strip() in grants:
            raise ValueError(f"the group {group.strip()!r} must come once")
        grants[group.strip()] = Grant(tenant, role)
    return grants


def granted(grants: Mapping[str, Grant], groups: Collection[str]) -> Grant | None:
    """What a member of these groups may do: in the tenant of the first that has a grant, the
    strongest role."""
    held = [grant for group, grant in grants.items() if group in groups]
    in_tenant = [grant for grant in held if grant.tenant == held[0].tenant]
    return max(in_tenant, key=lambda grant: ROLES.index(grant.role), default=None)
