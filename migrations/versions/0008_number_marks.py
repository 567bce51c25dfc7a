"""The same bytes with other decimal and thousands marks are another dataset."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

OLD, NEW = "uq_datasets_tenant_sha256", "uq_datasets_tenant_sha256_marks"


def upgrade() -> None:
    with op.batch_alter_table("datasets") as batch:
        batch.add_column(sa.Column("marks", sa.String(40), nullable=False, server_default=""))
        batch.drop_constraint(OLD, type_="unique")
        batch.create_unique_constraint(NEW, ["tenant", "sha256", "marks"])


def downgrade() -> None:
    # Of the same bytes only the first upload can stay.
    datasets = sa.table("datasets", sa.column("id"), sa.column("marks"))
    op.execute(datasets.delete().where(datasets.c.marks != ""))
    with op.batch_alter_table("datasets") as batch:
        batch.drop_constraint(NEW, type_="unique")
        batch.create_unique_constraint(OLD, ["tenant", "sha256"])
        batch.drop_column("marks")
