"""Connections and transactions on SQLite and PostgreSQL: one writer at a time, many readers.

Every write takes the database's one writer lock before it reads anything: `BEGIN IMMEDIATE` on SQLite, a transaction's
advisory lock on PostgreSQL. So

- ids are committed in the order in which they are given out. A PostgreSQL sequence alone does not do that: a reader
  that asks for `id > last` could see 12 before 11 is committed, move on, and never see 11;
- what a transaction reads stays true until it commits: no lost updates, no deadlocks, no retries.

Writes are batches of a few milliseconds, so that waiting in line costs less than conflicts would.

SQLite runs with synchronous=FULL. In WAL mode NORMAL does not sync on commit: a commit then survives `kill -9` but not
a power cut, and a 2xx answer to a submission promises that it is on disk.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from sqlite3 import Connection as SqliteConnection
from typing import Any

from sqlalchemy import URL, Connection, Engine, Table, create_engine, event, func, make_url, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import ArgumentError, DatabaseError, DBAPIError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from toprung.errors import Malformed, ToprungError, Unavailable

WAIT_S = 15.0
"""How long a write waits for the one before it."""
IDLE_S = 60.0
"""PostgreSQL ends a transaction whose client is silent for so long, as its host may be gone and hold the lock."""
_LOCK_KEY = 0x746F7072756E67
"""PostgreSQL's name of the writer lock: "toprung" in ASCII."""

_REMEDIES = {
    "locked": "is busy: another process has been writing for too long. Try again; nothing was written.",
    "lock timeout": "is busy: another process has been writing for too long. Try again; nothing was written.",
    "full": "has no space left on its disk. Free some and try again; nothing was written.",
    "no space left": "has no space left on its disk. Free some and try again; nothing was written.",
    "readonly": "is read-only. Check the owner and the rights of its file and folder, and how the disk is mounted.",
    "read-only": "is read-only. Point the service at the primary server.",
    "unable to open": "cannot be opened. Check that its folder exists and that the service may write there.",
    "not a database": "is not a SQLite database. Move the file away, or give another URL.",
    "malformed": "is damaged. Stop the service and restore a backup (docs/store.md).",
}


class Database:
    """An engine, its two kinds of transactions, and its errors in words."""

    def __init__(self, url: str) -> None:
        self.url = _parse(url)
        self.is_sqlite = self.url.get_backend_name() == "sqlite"
        self.label = f"The store {self.url.render_as_string(hide_password=True)}"
        self._engine = self._open()
        self._writer = self._engine.execution_options(begin="write")

    def close(self) -> None:
        self._engine.dispose()

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A transaction that only reads; on SQLite it sees one state of the database throughout.

        Raises:
            Unavailable: the database does not answer.
        """
        with self._in_words(), self._engine.connect() as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction that holds the writer lock; on disk once the block is left without an error.

        Raises:
            Unavailable: the lock stays taken, the disk is full, the database is read-only or gone.
        """
        with self._in_words(), self._writer.begin() as connection:
            yield connection

    def insert(self, table: Table) -> sqlite.Insert | postgresql.Insert:
        """An insert that knows `on_conflict_do_nothing` and `on_conflict_do_update`."""
        return sqlite.insert(table) if self.is_sqlite else postgresql.insert(table)

    def use_wal(self) -> None:
        """Switch a SQLite file to write-ahead logging, for good.

        The switch wants the file for itself and SQLite does not wait for it: other processes may be opening it too.
        """
        if not self.is_sqlite:
            return
        deadline = time.monotonic() + WAIT_S
        engine = self._engine.execution_options(begin="not")
        with self._in_words():
            while True:
                try:
                    with engine.connect() as connection:
                        connection.exec_driver_sql("pragma journal_mode=wal")
                    return
                except OperationalError as error:
                    if "locked" not in str(error.orig) or time.monotonic() > deadline:
                        raise
                    time.sleep(0.02)

    def _open(self) -> Engine:
        if not self.is_sqlite:
            try:
                engine = create_engine(self.url, pool_pre_ping=True)
            except ModuleNotFoundError as error:
                hint = 'Install it with pip install "toprung[server,postgres]".'
                raise Unavailable(f"PostgreSQL needs the package {error.name}. {hint}") from error
        else:
            _make_folder(self.url, self.label)
            engine = create_engine(self.url, connect_args={"timeout": WAIT_S})
            event.listen(engine, "connect", _set_up_sqlite)
        event.listen(engine, "begin", _begin_sqlite if self.is_sqlite else _begin_postgres)
        return engine

    @contextmanager
    def _in_words(self) -> Iterator[None]:
        try:
            yield
        except PoolTimeoutError as error:
            raise Unavailable(f"{self.label} is busy: all connections are taken. Try again.") from error
        except DBAPIError as error:
            raise self._translated(error) from error

    def _translated(self, error: DBAPIError) -> ToprungError | DBAPIError:
        """The error as one for users; our own mistakes (constraints, syntax) stay what they are."""
        cause = str(error.orig).strip()
        for sign, remedy in _REMEDIES.items():
            if sign in cause.lower() and type(error) in (OperationalError, DatabaseError):
                return Unavailable(f"{self.label} {remedy}")
        if not isinstance(error, OperationalError) and not error.connection_invalidated:
            return error
        remedy = "Check that its disk is in order." if self.is_sqlite else "Check that the server runs and the URL."
        return Unavailable(
            f"{self.label} does not answer: {cause.splitlines()[0] if cause else 'no reason given'}. {remedy}"
        )


def _parse(url: str) -> URL:
    try:
        parsed = make_url(url)
    except ArgumentError:
        raise Malformed(
            "The store's URL cannot be read; write sqlite:////path/toprung.db or postgresql+psycopg://…"
        ) from None
    if parsed.get_backend_name() == "postgresql":
        return parsed.set(drivername="postgresql+psycopg")
    if parsed.drivername not in ("sqlite", "sqlite+pysqlite"):
        raise Malformed(f"No store for {parsed.drivername}; write sqlite:////path/toprung.db or postgresql+psycopg://…")
    if parsed.database in (None, "", ":memory:"):
        raise Malformed("The store's URL names no file; write sqlite:////path/toprung.db: several processes share it.")
    return parsed


def _make_folder(url: URL, label: str) -> None:
    try:
        Path(str(url.database)).parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Unavailable(f"{label} cannot be made: {error.strerror}. Check the rights of its folder.") from error


def _set_up_sqlite(connection: SqliteConnection, _record: Any) -> None:
    connection.isolation_level = None  # the driver begins nothing by itself: `_begin_sqlite` does
    connection.execute("pragma foreign_keys=on").close()
    connection.execute("pragma synchronous=full").close()


def _begin_sqlite(connection: Connection) -> None:
    # A deferred transaction that reads first and then writes can fail at once with "locked", however long it may wait.
    kind = connection.get_execution_options().get("begin", "read")
    if kind != "not":
        connection.exec_driver_sql("begin immediate" if kind == "write" else "begin")


def _begin_postgres(connection: Connection) -> None:
    if connection.get_execution_options().get("begin") != "write":
        return
    limits = {"lock_timeout": WAIT_S, "idle_in_transaction_session_timeout": IDLE_S}
    connection.execute(
        select(*(func.set_config(name, f"{int(limit_s * 1000)}ms", True) for name, limit_s in limits.items()))
    )
    connection.execute(select(func.pg_advisory_xact_lock(_LOCK_KEY)))
