"""Settings, read from `FOLDHOUSE_…` environment variables; `docs/operating.md` explains each."""

from __future__ import annotations

import re
from functools import cached_property
from ipaddress import IPv6Address, ip_address, ip_network
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from pydantic import Field, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from app.grants import Grant, parse_grants

MIB = 1024 * 1024
MOST_DAYS = 36_500  # a century
LONGEST_NAME = 253  # characters, RFC 1035
NAME = re.compile(r"[a-z0-9_]([a-z0-9_.-]*[a-z0-9_])?")
PREFIX = re.compile(r"(/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)*")


class Settings(BaseSettings):
    """One object for the API, the worker and the command line."""

    model_config = SettingsConfigDict(env_prefix="FOLDHOUSE_", extra="ignore")

    data_dir: Path = Field(
        default=Path("foldhouse-data"),
        description="Folder of the database, the broker's messages, locks and stored files.",
    )
    database_url: str = Field(
        default="",
        description="SQLAlchemy address, `postgresql+psycopg://user:password@host/name`. "
        "Default: SQLite at `{data_dir}/foldhouse.sqlite`.",
    )
    broker_url: str = Field(
        default="",
        description="`redis://host:6379/0`. Default: message files under `{data_dir}/broker`.",
    )
    storage_url: str = Field(
        default="",
        description="Where files are kept: a folder or `s3://bucket/prefix`. "
        "Default: `{data_dir}/storage`.",
    )
    device: Literal["auto", "cpu", "cuda"] = Field(
        default="auto", description="Device that workers train on; `auto` prefers CUDA."
    )
    slots: int = Field(
        default=0,
        ge=0,
        le=64,
        description="Jobs that one worker trains at a time. 0: one per GPU, or one on a CPU.",
    )
    trusted_network: bool = Field(
        default=False,
        description="Lets the API listen on an address that other machines can reach while there "
        "are no API keys. Use it only behind a proxy or on a private container network.",
    )
    allowed_hosts: str = Field(
        default="",
        description="Host names that clients may use for the API, besides localhost and the "
        "address that it listens on. Commas separate several.",
    )
    trusted_proxies: str = Field(
        default="",
        description="Addresses and networks of reverse proxies, whose `X-Forwarded-For` and "
        "`X-Forwarded-Proto` say who the client is and whether it speaks TLS. Commas separate "
        "several.",
    )
    root_path: str = Field(
        default="",
        description="Path under which a reverse proxy offers the service: `/houses`.",
    )
    max_upload_bytes: int = Field(default=512 * MIB, ge=1, description="Largest uploaded CSV.")
    max_rows: int = Field(default=2_000_000, ge=1, description="Most rows of a table.")
    max_columns: int = Field(default=2_000, ge=1, description="Most columns of a table.")
    max_stored_bytes: int = Field(
        default=0,
        ge=0,
        description="Bytes of one tenant's tables, as uploaded; the next upload gets a 507. "
        "0: no limit. The operator can give a tenant its own, as for the other quotas below.",
    )
    max_datasets: int = Field(
        default=0, ge=0, description="Datasets of one tenant; the next gets a 429. 0: no limit."
    )
    max_queued_jobs: int = Field(
        default=1_000, ge=1, description="Jobs of one tenant that may wait; the next gets a 429."
    )
    max_running_jobs: int = Field(
        default=0,
        ge=0,
        description="Jobs of one tenant that run at a time; others wait. 0: no limit.",
    )
    max_device_seconds_per_day: int = Field(
        default=0,
        ge=0,
        description="Seconds of training of one tenant in 24 hours; after them its jobs wait, and "
        "a new one gets a 429. 0: no limit.",
    )
    max_predicted_rows_per_minute: int = Field(
        default=0,
        ge=0,
        description="Rows that one process predicts for one tenant in a minute; more get a 429. "
        "0: no limit.",
    )
    max_requests_per_minute: int = Field(
        default=0,
        ge=0,
        description="Requests with one key in a minute, by all processes together if the broker "
        "is Redis; more get a 429. 0: no limit.",
    )
    max_body_bytes: int = Field(
        default=4 * MIB,
        ge=1,
        description="Largest JSON body of rows to predict; a CSV may be as large as an upload.",
    )
    max_inflight_body_bytes: int = Field(
        default=16 * MIB,
        ge=1,
        description="Bytes of rows as JSON or tensors that one process holds at a time, not "
        "counting the first 64 KiB of each body; the next body gets a 503. Parsed rows take up to "
        "thirty times as much memory.",
    )
    max_predict_rows: int = Field(
        default=50_000, ge=1, description="Most rows to predict in one JSON request."
    )
    max_job_memory_bytes: int = Field(
        default=0,
        ge=0,
        description="A spec whose estimated memory is above this is refused. 0: three quarters of "
        "the memory that the largest worker has for one slot.",
    )

    log_format: Literal["text", "json"] = Field(
        default="text", description="Lines of the log: text, or one JSON object each."
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="Requests are logged with `info`."
    )
    worker_metrics_port: int = Field(
        default=0,
        ge=0,
        le=65_535,
        description="Port of each worker's own metrics, on the loopback address, or with "
        "`trusted_network` on all. 0: none.",
    )
    audit_days: int = Field(
        default=0, ge=0, description="Days for which the audit is kept. 0: for ever."
    )
    job_days: int = Field(
        default=0,
        ge=0,
        le=MOST_DAYS,
        description="Days after its end for which a job or sweep is kept without an alias of one "
        "of its models. Then it is deleted with them. 0: for ever.",
    )
    usage_days: int = Field(
        default=0,
        ge=0,
        le=MOST_DAYS,
        description="Days for which the use of a model is kept. 0: as long as the model.",
    )
    webhook_allow_private: bool = Field(
        default=False,
        description="Lets webhooks reach private, loopback and link-local addresses.",
    )

    oidc_issuer: str = Field(
        default="",
        description="Address of the identity provider whose people may sign in, exactly as it "
        "calls itself: `https://login.example/realms/main`.",
    )
    oidc_client_id: str = Field(default="", description="This service's name there.")
    oidc_client_secret: str = Field(default="", repr=False, description="Its password there.")
    oidc_audience: str = Field(
        default="",
        description="The `aud` of access tokens that the API takes. Default: it takes none.",
    )
    oidc_groups_claim: str = Field(
        default="groups", min_length=1, description="The claim that lists a person's groups."
    )
    oidc_roles: str = Field(
        default="",
        validate_default=True,
        description="What groups may do: `ml-admins=local:admin,appraisers=houses:editor`.",
    )

    @field_validator("trusted_proxies")
    @classmethod
    def _are_networks(cls, networks: str) -> str:
        return ",".join(str(ip_network(each.strip())) for each in networks.split(",") if each)

    @field_validator("root_path")
    @classmethod
    def _is_path(cls, path: str) -> str:
        if not PREFIX.fullmatch(path.rstrip("/")):
            raise ValueError(f"must be a path like /houses, of plain characters, got {path!r}")
        return path.rstrip("/")

    @field_validator("oidc_issuer")
    @classmethod
    def _is_an_issuer(cls, issuer: str) -> str:
        parts = urlsplit(issuer)
        loopback = parts.hostname in ("localhost", "127.0.0.1", "::1")
        is_safe = parts.scheme == "https" or (parts.scheme == "http" and loopback)
        if issuer and not (is_safe and parts.hostname and not parts.query and not parts.fragment):
            raise ValueError("must be an address such as https://login.example/realms/main")
        return issuer

    @field_validator("oidc_audience")
    @classmethod
    def _is_not_the_client(cls, audience: str, others: ValidationInfo) -> str:
        if audience and audience == others.data.get("oidc_client_id"):
            raise ValueError(
                "must not be FOLDHOUSE_OIDC_CLIENT_ID: tokens that say who signed in would be "
                "taken for access tokens"
            )
        return audience

    @field_validator("oidc_roles")
    @classmethod
    def _are_grants(cls, roles: str, others: ValidationInfo) -> str:
        parse_grants(roles)
        names = ("oidc_issuer", "oidc_client_id", "oidc_client_secret")
        needed = {name: others.data.get(name) for name in names} | {"oidc_roles": roles}
        missing = [f"FOLDHOUSE_{name.upper()}" for name, value in needed.items() if not value]
        if 0 < len(missing) < len(needed) or (missing and others.data.get("oidc_audience")):
            raise ValueError(f"signing on also needs {', '.join(missing)}")
        return roles

    @cached_property
    def oidc_grants(self) -> dict[str, Grant]:
        return parse_grants(self.oidc_roles)

    @field_validator("allowed_hosts")
    @classmethod
    def _are_names(cls, names: str) -> str:
        return ",".join(sorted({host_name(name) for name in names.split(",") if name.strip()}))

    @property
    def host_names(self) -> frozenset[str]:
        """`allowed_hosts`, each in the spelling of `host_name`."""
        return frozenset(filter(None, self.allowed_hosts.split(",")))

    @cached_property
    def root(self) -> Path:
        """`data_dir` as an absolute path, so that it is the same for a child in another folder."""
        return self.data_dir.expanduser().resolve()

    @property
    def resolved_database_url(self) -> str:
        return self.database_url or f"sqlite:///{self._sqlite}"

    @property
    def is_new(self) -> bool:
        """Whether this is an installation on SQLite that has never run."""
        return not self.database_url and not self._sqlite.exists()

    @property
    def _sqlite(self) -> Path:
        return self.root / "foldhouse.sqlite"

    @property
    def resolved_storage_url(self) -> str:
        return self.storage_url or str(self.root / "storage")


def host_name(text: str) -> str:
    """Normalise a host's name or address, without a port.

    Raises
    ------
    ValueError
    """
    name = text.strip().lower().removesuffix(".")
    try:
        address = ip_address(name.removeprefix("[").removesuffix("]"))
    except ValueError:
        if len(name) <= LONGEST_NAME and NAME.fullmatch(name):
            return name
        raise ValueError(
            f"must be a host's name or address without scheme and port, got {text!r}"
        ) from None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return str(mapped or address)
