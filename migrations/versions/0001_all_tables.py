"""All tables. Constraints and indexes get their names from the metadata's naming convention."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

STATES = ("queued", "running", "succeeded", "failed", "cancelled")
Moment = sa.DateTime(timezone=True)
# SQLite gives only INTEGER primary keys a value of their own.
RowNumber = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def tenant() -> sa.Column[str]:
    return sa.Column("tenant", sa.String(64), nullable=False, index=True)


def state(name: str, *, index: bool = False) -> sa.Column[str]:
    values = sa.Enum(*STATES, name="state", native_enum=False, create_constraint=True, length=16)
    return sa.Column(name, values, nullable=False, index=index)


def job_id(
    *, primary_key: bool = False, index: bool = False, unique: bool = False
) -> sa.Column[str]:
    return sa.Column(
        "job_id",
        sa.String(40),
        sa.ForeignKey("jobs.id"),
        primary_key=primary_key,
        nullable=False,
        index=index,
        unique=unique,
    )


def dataset_id() -> sa.Column[str]:
    return sa.Column(
        "dataset_id", sa.String(40), sa.ForeignKey("datasets.id"), nullable=False, index=True
    )


def upgrade() -> None:
    op.create_table(
        "datasets",
        sa.Column("id", sa.String(40), primary_key=True),
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("bytes", sa.BigInteger, nullable=False),
        sa.Column("rows", sa.BigInteger, nullable=False),
        sa.Column("profile", sa.JSON, nullable=False),
        sa.Column("csv", sa.String(255), nullable=False),
        sa.Column("parquet", sa.String(255), nullable=False),
        sa.Column("created_at", Moment, nullable=False),
        sa.Column("uploaded_at", Moment, nullable=False),
        tenant(),
        sa.UniqueConstraint("tenant", "sha256", name="uq_datasets_tenant_sha256"),
    )
    op.create_table(
        "jobs",
        sa.Column("id", sa.String(40), primary_key=True),
        sa.Column("name", sa.String(255)),
        dataset_id(),
        sa.Column("target", sa.String(255), nullable=False),
        sa.Column("spec", sa.JSON, nullable=False),
        state("status", index=True),
        sa.Column("cancel_requested_at", Moment),
        sa.Column("error", sa.JSON),
        sa.Column("result", sa.JSON),
        sa.Column("created_at", Moment, nullable=False),
        sa.Column("started_at", Moment),
        sa.Column("finished_at", Moment),
        tenant(),
    )
    op.create_table(
        "shards",
        sa.Column("id", sa.String(40), primary_key=True),
        job_id(index=True),
        state("state"),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("max_attempts", sa.Integer, nullable=False),
        sa.Column("owner", sa.String(40)),
        sa.Column("boot_id", sa.String(64)),
        sa.Column("lease_until", Moment),
        sa.Column("due_at", Moment, nullable=False),
        sa.Column("progress", sa.JSON),
        tenant(),
        sa.Index("ix_shards_state_due_at", "state", "due_at"),
    )
    op.create_table(
        "folds",
        job_id(primary_key=True),
        sa.Column("fold", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("rows_train", sa.Integer, nullable=False),
        sa.Column("rows_validation", sa.Integer, nullable=False),
        sa.Column("epochs", sa.Integer, nullable=False),
        sa.Column("stopped_by", sa.String(32), nullable=False),
        sa.Column("metrics", sa.JSON, nullable=False),
        tenant(),
    )
    op.create_table(
        "epoch_metrics",
        job_id(primary_key=True),
        sa.Column("fold", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("epoch", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("train_loss", sa.Double),
        sa.Column("validation_loss", sa.Double),
        sa.Column("learning_rate", sa.Double, nullable=False),
        tenant(),
    )
    op.create_table(
        "events",
        sa.Column("id", RowNumber, primary_key=True),
        job_id(index=True),
        sa.Column("kind", sa.String(32), nullable=False),
        sa.Column("data", sa.JSON, nullable=False),
        sa.Column("created_at", Moment, nullable=False),
        tenant(),
    )
    op.create_table(
        "models",
        sa.Column("id", sa.String(40), primary_key=True),
        job_id(unique=True),
        dataset_id(),
        sa.Column("target", sa.String(255), nullable=False),
        sa.Column("metrics", sa.JSON, nullable=False),
        sa.Column("artifacts", sa.JSON, nullable=False),
        sa.Column("created_at", Moment, nullable=False),
        tenant(),
    )
    op.create_table(
        "aliases",
        sa.Column("tenant", sa.String(64), primary_key=True),
        sa.Column("name", sa.String(64), primary_key=True),
        sa.Column(
            "model_id", sa.String(40), sa.ForeignKey("models.id"), nullable=False, index=True
        ),
        sa.Column("updated_at", Moment, nullable=False),
    )
    op.create_table(
        "workers",
        sa.Column("id", sa.String(40), primary_key=True),
        sa.Column("hostname", sa.String(255), nullable=False),
        sa.Column("boot_id", sa.String(64), nullable=False),
        sa.Column("pid", sa.Integer, nullable=False),
        sa.Column("device", sa.String(32), nullable=False),
        sa.Column("slots", sa.Integer, nullable=False),
        sa.Column("version", sa.String(32), nullable=False),
        sa.Column("started_at", Moment, nullable=False),
        sa.Column("seen_at", Moment, nullable=False),
    )
    op.create_table(
        "api_keys",
        sa.Column("id", sa.String(40), primary_key=True),
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False, unique=True),
        sa.Column("created_at", Moment, nullable=False),
        sa.Column("revoked_at", Moment),
        tenant(),
    )
    op.create_table(
        "idempotency_keys",
        sa.Column("tenant", sa.String(64), primary_key=True),
        sa.Column("key", sa.String(255), primary_key=True),
        sa.Column("request_sha256", sa.String(64), nullable=False),
        sa.Column("resource_id", sa.String(40), nullable=False),
        sa.Column("created_at", Moment, nullable=False),
    )


def downgrade() -> None:
    for table in (
        "idempotency_keys",
        "api_keys",
        "workers",
        "aliases",
        "models",
        "events",
        "epoch_metrics",
        "folds",
        "shards",
        "jobs",
        "datasets",
    ):
        op.drop_table(table)
