"""A job may have many shards, each with a spec, an error, a result, epochs and a model of its own.

Nothing read the table `folds`: what it held stands in a job's result.

This adds to keys: processes of the version before can neither submit nor write epochs any more.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

DOCUMENTS = ("spec", "error", "result")
EPOCH_KEY = ["job_id", "fold", "epoch"]
LATER_MODELS = "SELECT id FROM models WHERE shard_id IN (SELECT id FROM shards WHERE place > 0)"


def upgrade() -> None:
    with op.batch_alter_table("shards") as batch:
        batch.add_column(sa.Column("place", sa.Integer, nullable=False, server_default="0"))
        batch.add_column(sa.Column("claimed_at", sa.DateTime(timezone=True)))
        for document in DOCUMENTS:
            batch.add_column(sa.Column(document, sa.JSON))
    for document in DOCUMENTS:
        op.execute(
            f"UPDATE shards SET {document} = "
            f"(SELECT {document} FROM jobs WHERE jobs.id = shards.job_id)"
        )
    with op.batch_alter_table("shards") as batch:
        batch.alter_column("place", server_default=None)
        batch.alter_column("spec", existing_type=sa.JSON, nullable=False)
        batch.create_unique_constraint("uq_shards_job_id_place", ["job_id", "place"])
        batch.drop_index("ix_shards_job_id")
        batch.drop_index("ix_shards_tenant")
        batch.create_index("ix_shards_tenant_claimed_at", ["tenant", "claimed_at"])

    with op.batch_alter_table("epoch_metrics") as batch:
        batch.add_column(sa.Column("shard", sa.Integer, nullable=False, server_default="0"))
        batch.drop_constraint("pk_epoch_metrics", type_="primary")
        batch.create_primary_key("pk_epoch_metrics", ["job_id", "shard", "fold", "epoch"])
    with op.batch_alter_table("epoch_metrics") as batch:
        batch.alter_column("shard", server_default=None)

    with op.batch_alter_table("models") as batch:
        # Null for those that are there: their files lie in a folder of their job's.
        batch.add_column(sa.Column("shard_id", sa.String(40)))
        batch.create_foreign_key("fk_models_shard_id_shards", "shards", ["shard_id"], ["id"])
        batch.create_unique_constraint("uq_models_shard_id", ["shard_id"])
        batch.drop_constraint("uq_models_job_id", type_="unique")
        batch.create_index("ix_models_job_id", ["job_id"])

    op.drop_table("folds")


def downgrade() -> None:
    # The earlier version looks for a model's files in its job's folder, and would not find them.
    moved = "SELECT count(*) FROM models WHERE shard_id IS NOT NULL"
    if op.get_bind().execute(sa.text(moved)).scalar():
        raise RuntimeError(
            "models that were trained since revision 0009 have their files in their shards' "
            "folders: restore a backup from before the upgrade instead of downgrading"
        )
    op.create_table(
        "folds",
        sa.Column("job_id", sa.String(40), sa.ForeignKey("jobs.id"), primary_key=True),
        sa.Column("fold", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("rows_train", sa.Integer, nullable=False),
        sa.Column("rows_validation", sa.Integer, nullable=False),
        sa.Column("epochs", sa.Integer, nullable=False),
        sa.Column("stopped_by", sa.String(32), nullable=False),
        sa.Column("metrics", sa.JSON, nullable=False),
        sa.Column("tenant", sa.String(64), nullable=False, index=True),
    )
    # Of each job the first shard can stay.
    op.execute(f"DELETE FROM aliases WHERE model_id IN ({LATER_MODELS})")
    op.execute(f"DELETE FROM models WHERE id IN ({LATER_MODELS})")
    op.execute("DELETE FROM epoch_metrics WHERE shard > 0")
    with op.batch_alter_table("models") as batch:
        batch.drop_index("ix_models_job_id")
        batch.create_unique_constraint("uq_models_job_id", ["job_id"])
        batch.drop_constraint("uq_models_shard_id", type_="unique")
        batch.drop_constraint("fk_models_shard_id_shards", type_="foreignkey")
        batch.drop_column("shard_id")
    with op.batch_alter_table("epoch_metrics") as batch:
        batch.drop_constraint("pk_epoch_metrics", type_="primary")
        batch.drop_column("shard")
        batch.create_primary_key("pk_epoch_metrics", EPOCH_KEY)
    op.execute("DELETE FROM shards WHERE place > 0")
    with op.batch_alter_table("shards") as batch:
        batch.drop_index("ix_shards_tenant_claimed_at")
        batch.create_index("ix_shards_tenant", ["tenant"])
        batch.create_index("ix_shards_job_id", ["job_id"])
        batch.drop_constraint("uq_shards_job_id_place", type_="unique")
        for column in ("place", "claimed_at", *DOCUMENTS):
            batch.drop_column(column)
