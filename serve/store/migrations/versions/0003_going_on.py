"""Sweeps that pause, and the last checkpoints of trials, for a sweep that is taken up again.

Revision ID: 0003
Revises: 0002
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    # defaults as plain text: for an expression Alembic copies the table, which SQLite refuses where others refer to it
    with op.batch_alter_table("sweeps") as table:
        table.add_column(sa.Column("pause_requested", sa.Boolean(), server_default="0", nullable=False))
        table.add_column(sa.Column("paused_at", sa.DateTime(timezone=True), nullable=True))
        table.add_column(sa.Column("idle_s", sa.Float(precision=53), server_default="0", nullable=False))
    with op.batch_alter_table("trials") as table:
        table.add_column(sa.Column("resume_from", sa.Text(), nullable=True))
        table.add_column(sa.Column("resume_step", sa.BigInteger(), nullable=True))
