"""The last checkpoint of a trial that has not ended, for a sweep that is taken up again.

Revision ID: 0003
Revises: 0002
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    with op.batch_alter_table("trials") as table:
        table.add_column(sa.Column("resume_from", sa.Text(), nullable=True))
        table.add_column(sa.Column("resume_step", sa.BigInteger(), nullable=True))
