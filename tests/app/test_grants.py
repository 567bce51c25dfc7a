"""Which groups may do what, and the settings that say so."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from typer import Exit

from app.cli.service import require_trust
from app.grants import Grant, granted, parse_grants
from app.settings import Settings

GRANTS = parse_grants("staff=houses:viewer,leads=houses:admin, a=b=flats:editor,")
SETTINGS = {
    "oidc_issuer": "https://login.example/realms/main",
    "oidc_client_id": "foldhouse",
    "oidc_client_secret": "s",
    "oidc_roles": "staff=houses:viewer",
}


def test_the_strongest_role_in_the_first_tenant() -> None:
    assert granted(GRANTS, ["a=b"]) == Grant("flats", "editor")
    assert granted(GRANTS, ["a=b", "staff"]) == Grant("houses", "viewer")
    assert granted(GRANTS, ["leads", "a=b", "staff", "x"]) == Grant("houses", "admin")
    assert granted(GRANTS, ["x"]) is None


@pytest.mark.parametrize(
    "text",
    ["staff", "staff=houses", "staff=houses:boss", "=houses:viewer", "staff=Hou ses:viewer", "=:"],
)
def test_what_is_no_grant(text: str) -> None:
    with pytest.raises(ValueError, match="must be GROUP=TENANT:ROLE"):
        parse_grants(text)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"oidc_roles": "staff"}, "must be GROUP=TENANT:ROLE"),
        ({"oidc_roles": "a=b:viewer,a=c:viewer"}, "must come once"),
        ({"oidc_roles": ""}, "FOLDHOUSE_OIDC_ROLES"),
        ({"oidc_client_secret": ""}, "also needs FOLDHOUSE_OIDC_CLIENT_SECRET"),
        ({"oidc_issuer": ""}, "also needs FOLDHOUSE_OIDC_ISSUER"),
        ({"oidc_issuer": "login.example"}, "must be an address such as"),
        ({"oidc_issuer": "http://login.example"}, "must be an address such as"),
        ({"oidc_issuer": "https://login.example?a=b"}, "must be an address such as"),
        ({"oidc_issuer": "https://[login"}, "oidc_issuer"),
        ({"oidc_audience": "foldhouse"}, "must not be FOLDHOUSE_OIDC_CLIENT_ID"),
    ],
)
def test_settings_that_do_not_fit(change: dict[str, Any], reason: str) -> None:
    assert Settings(**SETTINGS).oidc_grants == {"staff": Grant("houses", "viewer")}
    with pytest.raises(ValidationError, match=reason):
        Settings(**SETTINGS | change)


def test_it_may_be_reached_from_other_machines(tmp_path: Path) -> None:
    require_trust("0.0.0.0", Settings(**SETTINGS, data_dir=tmp_path))
    with pytest.raises(Exit):
        require_trust("0.0.0.0", Settings(data_dir=tmp_path))


def test_an_audience_alone_is_a_mistake() -> None:
    with pytest.raises(ValidationError, match="also needs FOLDHOUSE_OIDC_ISSUER, "):
        Settings(oidc_audience="api")
