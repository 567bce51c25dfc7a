"""The history of aliases, which begins with where each points now.

The version before moves aliases without a word here: a rollback then returns to the last model that
is known.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

# SQLite gives only INTEGER primary keys a value of their own.
RowNumber = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "alias_changes",
        sa.Column("id", RowNumber, primary_key=True),
        sa.Column("tenant", sa.String(64), nullable=False),
        sa.Column("alias", sa.String(64), nullable=False),
        sa.Column("model_id", sa.String(40)),
        sa.Column("previous_id", sa.BigInteger),
        sa.Column("changed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Index("ix_alias_changes_tenant_alias", "tenant", "alias"),
    )
    op.execute(
        "INSERT INTO alias_changes (tenant, alias, model_id, changed_at) "
        "SELECT tenant, name, model_id, updated_at FROM aliases ORDER BY updated_at"
    )


def downgrade() -> None:
    op.drop_table("alias_changes")
