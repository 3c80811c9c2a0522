"""In what surroundings trials ran, and with what seeds.

Revision ID: 0008
Revises: 0007
"""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    op.create_table(
        "environments",
        sa.Column("sweep_id", sa.String(length=40), nullable=False),
        sa.Column("key", sa.String(length=64), nullable=False),
        sa.Column("data", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["sweep_id"], ["sweeps.id"], name=op.f("fk_environments_sweep_id")),
        sa.PrimaryKeyConstraint("sweep_id", "key", name=op.f("pk_environments")),
    )
    with op.batch_alter_table("trials") as table:
        table.add_column(sa.Column("seed", sa.BigInteger(), nullable=True))
        table.add_column(sa.Column("environment", sa.String(length=64), nullable=True))
