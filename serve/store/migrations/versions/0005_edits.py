"""Sweeps that are edited while they live, and trials that users ask for, costs.

Revision ID: 0005
Revises: 0004
"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"

SERIAL = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    # defaults as plain text: for an expression Alembic copies the table, which SQLite refuses where others refer to it
    with op.batch_alter_table("sweeps") as table:
        table.add_column(sa.Column("revision", sa.Integer(), server_default="1", nullable=False))
        table.add_column(sa.Column("cost", sa.Float(precision=53), server_default="0", nullable=False))
    with op.batch_alter_table("trials") as table:
        table.add_column(sa.Column("cost", sa.Float(precision=53), server_default="0", nullable=False))
        table.add_column(sa.Column("request_id", sa.BigInteger(), nullable=True))
        table.add_column(sa.Column("retry_of", sa.BigInteger(), nullable=True))
        table.add_column(sa.Column("num_failures", sa.Integer(), server_default="0", nullable=False))
        table.add_column(sa.Column("stop_requested", sa.Boolean(), server_default="0", nullable=False))
    op.create_table(
        "trial_requests",
        sa.Column("id", SERIAL, nullable=False),
        sa.Column("sweep_id", sa.String(length=40), nullable=False),
        sa.Column("params", sa.Text(), nullable=False),
        sa.Column("retry_of", sa.BigInteger(), nullable=True),
        sa.Column("idempotency_key", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["sweep_id"], ["sweeps.id"], name=op.f("fk_trial_requests_sweep_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_trial_requests")),
        sa.UniqueConstraint("sweep_id", "idempotency_key", name=op.f("uq_trial_requests_sweep_id_idempotency_key")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_trial_requests_sweep_id_id"), "trial_requests", ["sweep_id", "id"], unique=False)
