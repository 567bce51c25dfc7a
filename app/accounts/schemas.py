"""Keys as the API takes and shows them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, field_validator

from app.accounts.service import NewKey
from app.grants import TENANT_PATTERN, Role
from app.http.paging import Identified
from app.http.parameters import PRINTABLE, Moment
from app.storage.tables import ApiKey, AuditRow

LONGEST_NAME = 200
LARGEST_QUOTA = 2**53 - 1  # that every reader of JSON has exactly
LONGEST_GRACE = 30 * 86_400.0  # s

ROLES = (
    "`predictor` predicts and reads models, `viewer` reads all, `editor` uploads, submits, cancels "
    "and deletes, `admin` has the keys. Each may do what those before it may."
)
EXAMPLE: dict[str, Any] = {"name": "ana's notebook", "role": "editor"}

Name = Annotated[str, StringConstraints(min_length=1, max_length=LONGEST_NAME, pattern=PRINTABLE)]
Tenant = Annotated[str, StringConstraints(pattern=TENANT_PATTERN)]


class KeyCreate(BaseModel):
    """A key to make."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [EXAMPLE]})

    name: Name = Field(description="For whom or what it is.")
    role: Role = Field(description=ROLES)
    tenant: Tenant | None = Field(
        default=None,
        description="Whose data it sees; by default that of the key that makes it. Admins of "
        "`local` run the service, and make keys for every tenant; those of others for their own.",
    )
    expires_at: Moment | None = Field(default=None, description="By default never.")

    @field_validator("expires_at")
    @classmethod
    def _is_ahead(cls, expires_at: datetime | None) -> datetime | None:
        if expires_at is not None and expires_at <= datetime.now(UTC):
            raise ValueError("must be in the future")
        return expires_at


class KeyRotate(BaseModel):
    """How long the old key still works."""

    model_config = ConfigDict(extra="forbid")

    grace_s: float = Field(
        default=86_400.0,
        ge=0,
        le=LONGEST_GRACE,
        allow_inf_nan=False,
        description="Seconds for which both keys work, so that clients can be changed over.",
    )


class KeyOut(Identified):
    """A key, of which only the first characters are known."""

    name: str
    role: Role
    tenant: str
    start: str = Field(description="Its first characters.")
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None = Field(description="To the minute.")

    @classmethod
    def of(cls, key: ApiKey) -> KeyOut:
        return cls.model_validate(key, from_attributes=True)


class KeyCreated(KeyOut):
    """A new key, with its secret."""

    secret: str = Field(description="The key itself. It is shown only here.")

    @classmethod
    def with_secret(cls, new: NewKey) -> KeyCreated:
        return cls(**KeyOut.of(new.row).model_dump(), secret=new.secret)


def _quota(description: str) -> Any:
    return Field(default=None, ge=0, le=LARGEST_QUOTA, strict=True, description=description)


class QuotasPut(BaseModel):
    """A tenant's own quotas. 0 is no limit; where one is null or missing, the default of the
    service's settings holds."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"queued_jobs": 100, "datasets": 1000}]}
    )

    stored_bytes: int | None = _quota("Bytes of tables, as they were uploaded.")
    datasets: int | None = _quota("Tables.")
    queued_jobs: int | None = _quota("Jobs and sweeps that wait.")
    running_jobs: int | None = _quota("Jobs and sweeps that run at a time; others wait.")
    device_seconds_per_day: int | None = _quota(
        "Seconds of all attempts of jobs that ended in the last 24 hours, or run."
    )
    predicted_rows_per_minute: int | None = _quota(
        "Rows predicted in the last 60 seconds, for each process of the API."
    )


class QuotaOut(BaseModel):
    """A quota, and what is used of it."""

    limit: int | None = Field(description="Null for no limit.")
    used: int


class QuotasOut(BaseModel):
    """What a tenant may use."""

    tenant: str
    own: dict[str, int | None] = Field(
        description="What was set for this tenant. Null where the default holds, 0 for no limit."
    )
    quotas: dict[str, QuotaOut]


class QuotasList(BaseModel):
    """By tenant."""

    data: list[QuotasOut]


class AuditOut(Identified):
    """A request that wrote something, or several that were refused."""

    at: datetime = Field(description="When the answer was known; of several, the first one's.")
    tenant: str | None = Field(description="Of the sender; null if the key is not known.")
    key_id: str | None
    role: Role | None
    subject: str | None = Field(description="A person's `sub` at the identity provider.")
    subject_name: str | None = Field(description="What the provider calls them.")
    method: str
    route: str = Field(description="The path, with the names of its parameters.")
    object_id: str | None = Field(description="What was created, or what the path names.")
    address: str = Field(description="The client's, or that of the proxy in front.")
    request_id: str = Field(description="As the answer's X-Request-ID.")
    status: int
    count: int
    sha256: str = Field(description="Over the row before and this one.")

    @classmethod
    def of(cls, row: AuditRow) -> AuditOut:
        return cls(
            id=str(row.id),
            **{name: getattr(row, name) for name in cls.model_fields if name != "id"},
        )


class WhoAmIOut(BaseModel):
    """What the service takes the sender of this request for."""

    tenant: str
    role: Role
    key_id: str | None = Field(description="Null of a person, and while there are no keys.")
    subject: str | None = Field(
        description="Of a person whom the identity provider knows, the `sub` by which it does."
    )
    subject_name: str | None = Field(description="Their e-mail address, or else their name there.")
    quotas: dict[str, QuotaOut] = Field(description="What the tenant may use, and what it uses.")
