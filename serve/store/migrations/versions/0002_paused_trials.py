"""Trials that pause at a rung and are promoted later.

Revision ID: 0002
Revises: 0001
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    with op.batch_alter_table("sweeps") as table:
        table.add_column(sa.Column("num_paused", sa.Integer(), server_default="0", nullable=False))
    with op.batch_alter_table("decisions", table_kwargs={"sqlite_autoincrement": True}) as table:
        table.drop_constraint(op.f("uq_decisions_sweep_id_number_rung"), type_="unique")
        table.create_unique_constraint(
            op.f("uq_decisions_sweep_id_number_rung_action"), ["sweep_id", "number", "rung", "action"]
        )
