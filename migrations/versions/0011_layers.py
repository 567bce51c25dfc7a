"""What the layers of a network do in an epoch.

Nullable: workers of the version before write epochs without it.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("epoch_metrics") as table:
        table.add_column(sa.Column("layers", sa.JSON))


def downgrade() -> None:
    with op.batch_alter_table("epoch_metrics") as table:
        table.drop_column("layers")
