"""Events are numbered by job, 1, 2, 3 …, in the order of the commits, and name their shard."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

# A job had one shard, whose state was the job's.
NAME_SHARD = {
    "sqlite": "json_set(data, '$.shard', 0, '$.state', json_extract(data, '$.status'))",
    "postgresql": (
        "CAST(CAST(data AS jsonb) || "
        "jsonb_build_object('shard', 0, 'state', CAST(data AS jsonb) -> 'status') AS json)"
    ),
}


def upgrade() -> None:
    with op.batch_alter_table("events") as batch:
        batch.add_column(sa.Column("sequence", sa.Integer))
    op.execute(
        "UPDATE events SET sequence = (SELECT count(*) FROM events AS earlier "
        "WHERE earlier.job_id = events.job_id AND earlier.id <= events.id), "
        f"data = {NAME_SHARD[op.get_context().dialect.name]}"
    )
    with op.batch_alter_table("events") as batch:
        batch.drop_index("ix_events_job_id")
        batch.drop_constraint("pk_events", type_="primary")
        batch.drop_column("id")
        batch.alter_column("sequence", existing_type=sa.Integer, nullable=False)
        batch.create_primary_key("pk_events", ["job_id", "sequence"])


def downgrade() -> None:
    # The history begins anew.
    op.drop_table("events")
    op.create_table(
        "events",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), primary_key=True),
        sa.Column("job_id", sa.String(40), sa.ForeignKey("jobs.id"), nullable=False, index=True),
        sa.Column("kind", sa.String(32), nullable=False),
        sa.Column("data", sa.JSON, nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("tenant", sa.String(64), nullable=False, index=True),
    )
