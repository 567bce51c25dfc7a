"""Sweeps: many specs on one table, trained in batches."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

KINDS = ("job", "batch", "model")
STATES = ("queued", "running", "succeeded", "failed", "cancelled")


def upgrade() -> None:
    with op.batch_alter_table("jobs") as jobs:
        jobs.add_column(sa.Column("sweep", sa.JSON(), nullable=True))
        jobs.add_column(sa.Column("deadline_at", sa.DateTime(timezone=True), nullable=True))
    with op.batch_alter_table("shards") as shards:
        shards.add_column(
            sa.Column(
                "kind",
                sa.Enum(*KINDS, name="kind", native_enum=False, length=16, create_constraint=True),
                server_default="job",
                nullable=False,
            )
        )
    op.create_table(
        "trials",
        sa.Column("job_id", sa.String(40), sa.ForeignKey("jobs.id"), primary_key=True),
        sa.Column("number", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("tenant", sa.String(64), nullable=False),
        sa.Column("shard", sa.Integer(), nullable=False),
        sa.Column("point", sa.JSON(), nullable=False),
        sa.Column("spec", sa.JSON(), nullable=True),
        sa.Column(
            "state",
            sa.Enum(*STATES, name="state", native_enum=False, length=16, create_constraint=True),
            nullable=False,
        ),
        sa.Column("value", sa.Double(), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("result", sa.JSON(), nullable=True),
    )
    op.create_index("ix_trials_tenant", "trials", ["tenant"])
    op.create_index("ix_trials_job_id_shard", "trials", ["job_id", "shard", "state", "value"])


def downgrade() -> None:
    op.drop_table("trials")
    with op.batch_alter_table("shards") as shards:
        shards.drop_constraint(op.f("ck_shards_kind"), type_="check")
        shards.drop_column("kind")
    with op.batch_alter_table("jobs") as jobs:
        jobs.drop_column("deadline_at")
        jobs.drop_column("sweep")
