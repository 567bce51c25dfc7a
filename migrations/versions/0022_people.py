"""People whom an identity provider knows: their sessions, and what the audit says of them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None

PERSON = ("subject", "subject_name")


def upgrade() -> None:
    with op.batch_alter_table("web_sessions") as sessions:
        sessions.alter_column("key_id", existing_type=sa.String(40), nullable=True)
        for name in PERSON:
            sessions.add_column(sa.Column(name, sa.String(255)))
        sessions.add_column(sa.Column("group_names", sa.JSON(none_as_null=True)))
    with op.batch_alter_table("audit") as audit:
        for name in PERSON:
            audit.add_column(sa.Column(name, sa.String(255)))


def downgrade() -> None:
    with op.batch_alter_table("audit") as audit:
        for name in PERSON:
            audit.drop_column(name)
    op.execute("DELETE FROM web_sessions WHERE key_id IS NULL")
    with op.batch_alter_table("web_sessions") as sessions:
        for name in ("group_names", *PERSON):
            sessions.drop_column(name)
        sessions.alter_column("key_id", existing_type=sa.String(40), nullable=False)
