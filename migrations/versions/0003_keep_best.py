"""Whether a job that is asked to stop keeps the best weights so far.

With a default of the database's: the version before inserts jobs without it.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("jobs") as table:
        table.add_column(
            sa.Column("keep_best", sa.Boolean, nullable=False, server_default=sa.false())
        )


def downgrade() -> None:
    with op.batch_alter_table("jobs") as table:
        table.drop_column("keep_best")
