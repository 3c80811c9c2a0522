"""Brings a database to this version's schema, safe when several processes open it at once."""

from __future__ import annotations

import threading

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

from toprung.errors import Unavailable
from toprung.serve.store.database import Database

_ALEMBIC = threading.Lock()
"""Alembic's `op` and `context` are global to the process."""


def migrate(database: Database) -> None:
    """Run the migrations that are missing, all in one transaction under the writer lock.

    Raises:
        Unavailable: the database is of a newer version, or does not answer.
    """
    config = Config()
    config.set_main_option("script_location", "toprung.serve.store:migrations")
    scripts = ScriptDirectory.from_config(config)
    database.use_wal()
    with database.read() as connection:
        if _revision(connection) == scripts.get_current_head():
            return
    with _ALEMBIC, database.write() as connection:
        revision = _revision(connection)
        if revision is not None and revision not in {script.revision for script in scripts.walk_revisions()}:
            raise Unavailable(
                f"{database.label} was written by a newer version of Toprung (its schema is {revision}). "
                "Install that version, or give another store."
            )
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


def _revision(connection: Connection) -> str | None:
    return MigrationContext.configure(connection).get_current_revision()
