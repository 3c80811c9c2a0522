"""What deleted sweeps have used.

Revision ID: 0006
Revises: 0005
"""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    op.create_table(
        "past_usage",
        sa.Column("sweep_id", sa.String(length=40), nullable=False),
        sa.Column("owner", sa.String(length=100), nullable=True),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("trials", sa.BigInteger(), nullable=False),
        sa.Column("steps", sa.BigInteger(), nullable=False),
        sa.Column("gpu_hours", sa.Float(precision=53), nullable=False),
        sa.Column("cost", sa.Float(precision=53), nullable=False),
        sa.PrimaryKeyConstraint("sweep_id", name=op.f("pk_past_usage")),
    )
    op.create_index(op.f("ix_past_usage_started_at"), "past_usage", ["started_at"], unique=False)
