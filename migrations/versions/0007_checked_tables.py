"""The hash of each dataset's Parquet, what a worker's machine has for jobs, and folders to remove.

The hash of a table that is there already stays unknown: nobody has checked it since it was stored.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("datasets", sa.Column("parquet_sha256", sa.String(64)))
    op.add_column("workers", sa.Column("cores", sa.Integer))
    op.add_column("workers", sa.Column("memory_bytes", sa.BigInteger))
    op.create_table("removals", sa.Column("folder", sa.String(255), primary_key=True))


def downgrade() -> None:
    op.drop_table("removals")
    for table, columns in {
        "workers": ("memory_bytes", "cores"),
        "datasets": ("parquet_sha256",),
    }.items():
        with op.batch_alter_table(table) as batch:
            for column in columns:
                batch.drop_column(column)
