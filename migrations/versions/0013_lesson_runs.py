"""Lessons that workers run."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

STATES = ("queued", "running", "succeeded", "failed", "cancelled")


def upgrade() -> None:
    op.create_table(
        "lesson_runs",
        sa.Column("id", sa.String(40), nullable=False),
        sa.Column("lesson", sa.String(64), nullable=False),
        sa.Column(
            "state",
            sa.Enum(*STATES, name="state", native_enum=False, create_constraint=True, length=16),
            nullable=False,
        ),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("owner", sa.String(40)),
        sa.Column("lease_until", sa.DateTime(timezone=True)),
        sa.Column("outcome", sa.JSON),
        sa.Column("error", sa.Text),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("tenant", sa.String(64), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_lesson_runs"),
    )
    op.create_index("ix_lesson_runs_tenant_id", "lesson_runs", ["tenant", "id"])
    op.create_index("ix_lesson_runs_state", "lesson_runs", ["state"])


def downgrade() -> None:
    op.drop_table("lesson_runs")
