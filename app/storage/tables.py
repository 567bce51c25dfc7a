"""The tables. Migrations build them; these classes are compared with the result in tests."""

from __future__ import annotations

import enum
from datetime import date, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Enum,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Text,
    UniqueConstraint,
    false,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from app.storage.database import UtcDateTime, database_now

LOCAL_TENANT = "local"
MAX_ATTEMPTS = 3  # of a shard whose child dies
# Each death of a worker, which is not the shard's fault, allows one more, up to here.
MAX_ATTEMPTS_AFTER_WORKER_DEATHS = 10

# SQLite gives only INTEGER primary keys a value of their own.
RowNumber = BigInteger().with_variant(Integer(), "sqlite")


class Base(DeclarativeBase):
    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(column_0_label)s",
            "uq": "uq_%(table_name)s_%(column_0_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {  # noqa: RUF012
        datetime: UtcDateTime(),
        str: String(255),
        dict[str, Any]: JSON(none_as_null=True),
    }


class State(enum.StrEnum):
    """Where a job or a shard stands."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


FINISHED = (State.SUCCEEDED, State.FAILED, State.CANCELLED)

TRANSITIONS: dict[State, tuple[State, ...]] = {
    State.QUEUED: (State.RUNNING, State.CANCELLED),
    # Back to queued if its worker stopped or died.
    State.RUNNING: (State.QUEUED, *FINISHED),
    State.SUCCEEDED: (),
    State.FAILED: (),
    State.CANCELLED: (),
}

StateColumn = Enum(
    State,
    name="state",
    native_enum=False,
    create_constraint=True,
    length=16,
    values_callable=lambda states: [state.value for state in states],
)


class ShardKind(enum.StrEnum):
    """What a shard trains: the spec of a job, trials of a sweep, or nothing: it makes the model of
    a sweep from what its trials left."""

    JOB = "job"
    BATCH = "batch"
    MODEL = "model"


ShardKindColumn = Enum(
    ShardKind,
    name="kind",
    native_enum=False,
    create_constraint=True,
    length=16,
    values_callable=lambda kinds: [kind.value for kind in kinds],
)


class TenantRow(Base):
    """Every row belongs to a tenant, who does not find ids of other tenants."""

    __abstract__ = True

    tenant: Mapped[str] = mapped_column(String(64), index=True)


class ListedRow(TenantRow):
    """Rows that are listed newest first, by id."""

    __abstract__ = True

    tenant: Mapped[str] = mapped_column(String(64))


class Dataset(ListedRow):
    """An uploaded table. `csv` and `parquet` are keys in storage.

    sha256 : of the CSV
    parquet_sha256 : null for a table that an earlier version stored
    """

    __tablename__ = "datasets"
    __table_args__ = (
        UniqueConstraint("tenant", "sha256", "marks", name="uq_datasets_tenant_sha256_marks"),
        Index("ix_datasets_tenant_id", "tenant", "id"),
    )

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    name: Mapped[str]
    sha256: Mapped[str] = mapped_column(String(64))
    # How its numbers are written, as the query of the upload said: "decimal=,&thousands=.".
    marks: Mapped[str] = mapped_column(String(40), default="", server_default="")
    bytes: Mapped[int] = mapped_column(BigInteger)
    rows: Mapped[int] = mapped_column(BigInteger)
    profile: Mapped[dict[str, Any]]
    csv: Mapped[str]
    parquet: Mapped[str]
    parquet_sha256: Mapped[str | None] = mapped_column(String(64))
    created_at: Mapped[datetime] = mapped_column(insert_default=database_now())
    # The last time that these bytes were uploaded: `latest` is the last upload, repeated or not.
    uploaded_at: Mapped[datetime] = mapped_column(insert_default=database_now())


class Job(ListedRow):
    """A submitted spec, or a sweep of many, and its outcome.

    sweep : a sweep's settings (`models.spec.sweep.SweepSpec`), whose `spec` is what its trials
        share; null for a job
    priority : among the tenant's waiting jobs
    timeout_s : of a job; that of a sweep is among its settings
    deadline_at : when its running shards are asked for their best so far
    reproduces : the id of the job that it trains again; no foreign key, for that may be deleted
    reference : the numbers of that job, if another installation trained it
    request_id : of the request that submitted it, for the worker's log
    """

    __tablename__ = "jobs"
    __table_args__ = (
        Index("ix_jobs_tenant_id", "tenant", "id"),
        Index("ix_jobs_tenant_status_id", "tenant", "status", "id"),
    )

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    name: Mapped[str | None]
    dataset_id: Mapped[str] = mapped_column(ForeignKey("datasets.id"), index=True)
    target: Mapped[str]
    spec: Mapped[dict[str, Any]]
    status: Mapped[State] = mapped_column(StateColumn)
    cancel_requested_at: Mapped[datetime | None]
    # Whether the cancelled run ends with a model of the best weights so far.
    keep_best: Mapped[bool] = mapped_column(default=False, server_default=false())
    sweep: Mapped[dict[str, Any] | None]
    priority: Mapped[int] = mapped_column(default=0, server_default="0")
    timeout_s: Mapped[float | None]
    deadline_at: Mapped[datetime | None]
    reproduces: Mapped[str | None] = mapped_column(String(40))
    reference: Mapped[dict[str, Any] | None]
    request_id: Mapped[str | None] = mapped_column(String(128))
    error: Mapped[dict[str, Any] | None]
    result: Mapped[dict[str, Any] | None]
    created_at: Mapped[datetime] = mapped_column(insert_default=database_now())
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]


class Shard(TenantRow):
    """The unit that a worker claims. A plain job has one, a sweep one for each batch of trials and
    a last one.

    `place` counts the shards of a job from 0. `spec` is what the shard trains; of a batch, the
    numbers of its `trials`.
    `owner` and `attempt` are the fence: a write of a worker that lost its claim finds no row.
    `boot_id` names the boot of the host on which the attempt holds its lock file.
    `claimed_at` : when the last attempt began
    """

    __tablename__ = "shards"
    __table_args__ = (
        Index("ix_shards_state_due_at", "state", "due_at"),
        Index("ix_shards_tenant_claimed_at", "tenant", "claimed_at"),
        UniqueConstraint("job_id", "place", name="uq_shards_job_id_place"),
    )

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    tenant: Mapped[str] = mapped_column(String(64))
    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id"))
    place: Mapped[int]
    kind: Mapped[ShardKind] = mapped_column(
        ShardKindColumn, default=ShardKind.JOB, server_default=ShardKind.JOB.value
    )
    spec: Mapped[dict[str, Any]]
    state: Mapped[State] = mapped_column(StateColumn)
    attempt: Mapped[int] = mapped_column(default=0)
    max_attempts: Mapped[int] = mapped_column(default=MAX_ATTEMPTS)
    owner: Mapped[str | None] = mapped_column(String(40))
    boot_id: Mapped[str | None] = mapped_column(String(64))
    lease_until: Mapped[datetime | None]
    due_at: Mapped[datetime] = mapped_column(insert_default=database_now())
    claimed_at: Mapped[datetime | None]
    progress: Mapped[dict[str, Any] | None]
    error: Mapped[dict[str, Any] | None]
    result: Mapped[dict[str, Any] | None]


class Trial(TenantRow):
    """One spec of a sweep. `number` counts from 0; `shard` is the place of its batch.

    point : the values of what is searched, by dotted name
    spec : resolved; null if the point gives none that fits the table
    state : queued until its batch ends; see `app.sweeps` for those that run
    value : of the sweep's metric
    result : of a trial that succeeded
    """

    __tablename__ = "trials"
    # What lists of sweeps ask for stands behind a large spec in the row.
    __table_args__ = (Index("ix_trials_job_id_shard", "job_id", "shard", "state", "value"),)

    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    shard: Mapped[int]
    point: Mapped[dict[str, Any]]
    spec: Mapped[dict[str, Any] | None]
    state: Mapped[State] = mapped_column(StateColumn)
    value: Mapped[float | None]
    error: Mapped[str | None] = mapped_column(Text)
    result: Mapped[dict[str, Any] | None]


class EpochMetric(TenantRow):
    """A `models.epochs.FoldEpoch` of a shard, which is named by its place in the job."""

    __tablename__ = "epoch_metrics"

    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id"), primary_key=True)
    shard: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    fold: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    epoch: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    train_loss: Mapped[float | None]
    validation_loss: Mapped[float | None]
    learning_rate: Mapped[float]
    gradient_norm: Mapped[float | None]
    dead_units: Mapped[float | None]
    saturated_units: Mapped[float | None]
    layers: Mapped[list[dict[str, Any]] | None] = mapped_column(JSON(none_as_null=True))


class Event(TenantRow):
    """A job's history, see `app.jobs.history`."""

    __tablename__ = "events"

    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id"), primary_key=True)
    sequence: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    kind: Mapped[str] = mapped_column(String(32))
    data: Mapped[dict[str, Any]]
    created_at: Mapped[datetime] = mapped_column(insert_default=database_now())


class LessonRun(ListedRow):
    """A run of a lesson, see `app.lessons.runs`. `owner` and `attempt` are its fence.

    outcome : what the lesson reports, once it has succeeded
    """

    __tablename__ = "lesson_runs"
    __table_args__ = (
        Index("ix_lesson_runs_tenant_id", "tenant", "id"),
        Index("ix_lesson_runs_state", "state"),
    )

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    lesson: Mapped[str] = mapped_column(String(64))
    state: Mapped[State] = mapped_column(StateColumn)
    attempt: Mapped[int] = mapped_column(default=0)
    owner: Mapped[str | None] = mapped_column(String(40))
    lease_until: Mapped[datetime | None]
    outcome: Mapped[dict[str, Any] | None]
    error: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(insert_default=database_now())


class Model(ListedRow):
    """A registered model. `artifacts` maps file names to the SHA-256 of each in its folder.

    shard_id : whose run made it; null for a model of an earlier version
    """

    __tablename__ = "models"
    __table_args__ = (Index("ix_models_tenant_id", "tenant", "id"),)

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id"), index=True)
    shard_id: Mapped[str | None] = mapped_column(ForeignKey("shards.id"), unique=True)
    dataset_id: Mapped[str] = mapped_column(ForeignKey("datasets.id"), index=True)
    target: Mapped[str]
    metrics: Mapped[dict[str, Any]]
    artifacts: Mapped[dict[str, Any]]
    created_at: Mapped[datetime] = mapped_column(insert_default=database_now())

    @property
    def folder(self) -> str:
        """Of its files among the artifacts: the shard's; an earlier version had one a job."""
        return self.shard_id or self.job_id


class Alias(TenantRow):
    """A name, such as `champion`, that points at a model.

    protected : only admins move or delete it
    """

    __tablename__ = "aliases"

    tenant: Mapped[str] = mapped_column(String(64), primary_key=True)
    name: Mapped[str] = mapped_column(String(64), primary_key=True)
    model_id: Mapped[str] = mapped_column(ForeignKey("models.id"), index=True)
    protected: Mapped[bool] = mapped_column(default=False, server_default=false())
    updated_at: Mapped[datetime] = mapped_column(insert_default=database_now())


class ModelUsage(TenantRow):
    """A model's use through one API process on one day (UTC).

    seconds : requests by the bin of their duration (`app.monitoring.usage.SECONDS`)
    columns : for each column, rows by bin, in the manifest's bins of the training rows
    warnings : rows by warning code
    """

    __tablename__ = "model_usage"

    model_id: Mapped[str] = mapped_column(String(40), primary_key=True)
    day: Mapped[date] = mapped_column(primary_key=True)
    process: Mapped[str] = mapped_column(String(40), primary_key=True)
    requests: Mapped[int] = mapped_column(BigInteger)
    rows: Mapped[int] = mapped_column(BigInteger)
    seconds: Mapped[list[int]] = mapped_column(JSON)
    columns: Mapped[dict[str, Any]]
    warnings: Mapped[dict[str, Any]]


class AliasChange(Base):
    """A change of an alias. `model_id` is null if the alias was deleted.

    `previous_id` : the change to which a rollback from this one goes, see `app.registry.history`.
    Neither id is a foreign key, because a model may be deleted later.
    """

    __tablename__ = "alias_changes"
    __table_args__ = (Index("ix_alias_changes_tenant_alias", "tenant", "alias"),)

    # Not a ULID: the order of changes must not depend on the clocks of several machines.
    id: Mapped[int] = mapped_column(RowNumber, primary_key=True)
    tenant: Mapped[str] = mapped_column(String(64))
    alias: Mapped[str] = mapped_column(String(64))
    model_id: Mapped[str | None] = mapped_column(String(40))
    previous_id: Mapped[int | None] = mapped_column(BigInteger)
    changed_at: Mapped[datetime] = mapped_column(insert_default=database_now())


class Worker(Base):
    """A worker process, which serves all tenants.

    cores, memory_bytes : what it may use for all slots; null for a worker of an earlier version
    """

    __tablename__ = "workers"

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    hostname: Mapped[str]
    boot_id: Mapped[str] = mapped_column(String(64))
    pid: Mapped[int]
    device: Mapped[str] = mapped_column(String(32))
    slots: Mapped[int]
    cores: Mapped[int | None]
    memory_bytes: Mapped[int | None] = mapped_column(BigInteger)
    version: Mapped[str] = mapped_column(String(32))
    started_at: Mapped[datetime] = mapped_column(insert_default=database_now())
    seen_at: Mapped[datetime] = mapped_column(insert_default=database_now())


class ApiKey(ListedRow):
    """An API key, of which only the hash is stored.

    start : the key's first characters, by which its owner knows it
    expires_at : after that it is as good as revoked; null for a key without an end
    last_used_at : to the minute
    """

    __tablename__ = "api_keys"
    __table_args__ = (Index("ix_api_keys_tenant_id", "tenant", "id"),)

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    name: Mapped[str]
    role: Mapped[str] = mapped_column(String(16))
    start: Mapped[str] = mapped_column(String(16))
    sha256: Mapped[str] = mapped_column(String(64), unique=True)
    created_at: Mapped[datetime] = mapped_column(insert_default=database_now())
    expires_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]
    last_used_at: Mapped[datetime | None]


class WebSession(TenantRow):
    """A browser that has signed in, until the session ends, or the key with which it did so.

    sha256 : of the cookie
    key_id : null if the identity provider said who it is
    subject, subject_name : the person's id there, and what they are called
    group_names : those of the person's groups that had a role then
    """

    __tablename__ = "web_sessions"

    sha256: Mapped[str] = mapped_column(String(64), primary_key=True)
    key_id: Mapped[str | None] = mapped_column(ForeignKey("api_keys.id"), index=True)
    subject: Mapped[str | None]
    subject_name: Mapped[str | None]
    group_names: Mapped[list[str] | None] = mapped_column(JSON(none_as_null=True))
    created_at: Mapped[datetime] = mapped_column(insert_default=database_now())
    expires_at: Mapped[datetime]


class Quota(Base):
    """What a tenant may use, and the row that is locked while what it uses is counted, see
    `app.accounts.quotas`.

    Each is null where the default of the settings holds, and 0 for no limit.
    """

    __tablename__ = "quotas"

    tenant: Mapped[str] = mapped_column(String(64), primary_key=True)
    stored_bytes: Mapped[int | None] = mapped_column(BigInteger)
    datasets: Mapped[int | None] = mapped_column(BigInteger)
    queued_jobs: Mapped[int | None] = mapped_column(BigInteger)
    running_jobs: Mapped[int | None] = mapped_column(BigInteger)
    device_seconds_per_day: Mapped[int | None] = mapped_column(BigInteger)
    predicted_rows_per_minute: Mapped[int | None] = mapped_column(BigInteger)


class EndedAttempt(Base):
    """How long an attempt held its device. Kept for a day, also when its job is deleted."""

    __tablename__ = "ended_attempts"
    __table_args__ = (Index("ix_ended_attempts_tenant_ended_at", "tenant", "ended_at"),)

    id: Mapped[int] = mapped_column(RowNumber, primary_key=True)
    tenant: Mapped[str] = mapped_column(String(64))
    seconds: Mapped[float]
    ended_at: Mapped[datetime] = mapped_column(insert_default=database_now())


class AuditRow(Base):
    """Who did what when, see `app.accounts.audit`. Never changed; `app.accounts.chain` writes it.

    at : when the answer was known, by the clock of the API's machine
    tenant, key_id, role : of the sender, null if nobody knows them
    subject, subject_name : of a person whom the identity provider knows; else null
    route : the path with the names of its parameters; the path itself if it was refused before
    object_id : the id that the path names, or of what was created
    count : requests that the row stands for: several only of refused ones
    sha256 : over the row before and this one
    """

    __tablename__ = "audit"
    __table_args__ = (Index("ix_audit_tenant_id", "tenant", "id"),)

    id: Mapped[int] = mapped_column(RowNumber, primary_key=True, autoincrement=False)
    at: Mapped[datetime]
    tenant: Mapped[str | None] = mapped_column(String(64))
    key_id: Mapped[str | None] = mapped_column(String(40))
    role: Mapped[str | None] = mapped_column(String(16))
    subject: Mapped[str | None]
    subject_name: Mapped[str | None]
    method: Mapped[str] = mapped_column(String(16))
    route: Mapped[str]
    object_id: Mapped[str | None]
    address: Mapped[str] = mapped_column(String(64))
    request_id: Mapped[str] = mapped_column(String(128))
    status: Mapped[int]
    count: Mapped[int]
    sha256: Mapped[str] = mapped_column(String(64))


class AuditChain(Base):
    """Both ends of the audit's chain, in one row that is locked while either moves.

    last_id, last_sha256 : of the newest row
    removed_id, removed_sha256 : of the newest row that was removed because of its age
    """

    __tablename__ = "audit_chain"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    last_id: Mapped[int] = mapped_column(BigInteger)
    last_sha256: Mapped[str] = mapped_column(String(64))
    removed_id: Mapped[int] = mapped_column(BigInteger)
    removed_sha256: Mapped[str] = mapped_column(String(64))


class IdempotencyKey(TenantRow):
    """What a key's first request created, so that a repeated request creates nothing."""

    __tablename__ = "idempotency_keys"

    tenant: Mapped[str] = mapped_column(String(64), primary_key=True)
    key: Mapped[str] = mapped_column(primary_key=True)
    request_sha256: Mapped[str] = mapped_column(String(64))
    resource_id: Mapped[str] = mapped_column(String(40))
    created_at: Mapped[datetime] = mapped_column(insert_default=database_now())


class Webhook(ListedRow):
    """An address that gets a message when a job ends.

    secret : signs what is sent there, so it cannot be stored as a hash
    delivered_at : when the last delivery arrived
    error : why the last attempt failed; null once one succeeds
    """

    __tablename__ = "webhooks"
    __table_args__ = (Index("ix_webhooks_tenant_id", "tenant", "id"),)

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    url: Mapped[str] = mapped_column(String(2000))
    events: Mapped[list[str]] = mapped_column(JSON)
    secret: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(insert_default=database_now())
    delivered_at: Mapped[datetime | None]
    error: Mapped[str | None]


class WebhookDelivery(TenantRow):
    """A message that is still to be delivered, written with what it tells of.

    due_at : when to try next; an attempt moves it, so that no other worker makes one meanwhile
    """

    __tablename__ = "webhook_deliveries"

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    # Not a foreign key: the end of a job must not fail because a webhook is deleted meanwhile.
    webhook_id: Mapped[str] = mapped_column(String(40), index=True)
    payload: Mapped[dict[str, Any]]
    attempt: Mapped[int] = mapped_column(default=0)
    due_at: Mapped[datetime] = mapped_column(insert_default=database_now(), index=True)


class Removal(Base):
    """A folder in storage whose row was deleted and whose files are to be removed."""

    __tablename__ = "removals"

    folder: Mapped[str] = mapped_column(primary_key=True)
