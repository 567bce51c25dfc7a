"""Indexes by tenant and id: lists are newest first, and the newest of a thousand jobs was looked
for by sorting them all. The jobs that wait are counted within an index at each submit.
"""

from __future__ import annotations

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

LISTED = ("datasets", "jobs", "models")


def upgrade() -> None:
    for table in LISTED:
        op.create_index(f"ix_{table}_tenant_id", table, ["tenant", "id"])
        op.drop_index(f"ix_{table}_tenant", table)
    op.create_index("ix_jobs_tenant_status_id", "jobs", ["tenant", "status", "id"])
    op.drop_index("ix_jobs_status", "jobs")


def downgrade() -> None:
    op.create_index("ix_jobs_status", "jobs", ["status"])
    op.drop_index("ix_jobs_tenant_status_id", "jobs")
    for table in LISTED:
        op.create_index(f"ix_{table}_tenant", table, ["tenant"])
        op.drop_index(f"ix_{table}_tenant_id", table)
