"""Quotas of tenants, and how long attempts held their devices."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None

QUOTAS = (
    "stored_bytes",
    "datasets",
    "queued_jobs",
    "running_jobs",
    "device_seconds_per_day",
    "predicted_rows_per_minute",
)


def upgrade() -> None:
    op.create_table(
        "quotas",
        sa.Column("tenant", sa.String(64), primary_key=True),
        *(sa.Column(name, sa.BigInteger) for name in QUOTAS),
    )
    op.create_table(
        "ended_attempts",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), primary_key=True),
        sa.Column("tenant", sa.String(64), nullable=False),
        sa.Column("seconds", sa.Double, nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=False),
    )
    op.create_index("ix_ended_attempts_tenant_ended_at", "ended_attempts", ["tenant", "ended_at"])


def downgrade() -> None:
    op.drop_table("ended_attempts")
    op.drop_table("quotas")
