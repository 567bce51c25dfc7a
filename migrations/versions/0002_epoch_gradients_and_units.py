"""Gradient norm, dead and saturated units of an epoch.

All nullable: workers of the version before write epochs without them.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

ADDED = ("gradient_norm", "dead_units", "saturated_units")


def upgrade() -> None:
    with op.batch_alter_table("epoch_metrics") as table:
        for column in ADDED:
            table.add_column(sa.Column(column, sa.Double))


def downgrade() -> None:
    with op.batch_alter_table("epoch_metrics") as table:
        for column in ADDED:
            table.drop_column(column)
