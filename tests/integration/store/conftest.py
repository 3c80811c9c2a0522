"""A store on each database: SQLite in a file, PostgreSQL on a server of the tests' own."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import psycopg
import pytest

from tests.integration.store.postgres_server import Postgres, running_server
from toprung.serve.store import Store
from toprung.serve.store.tables import metadata

_database_numbers = count()

NewUrl = Callable[[], str]


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A PostgreSQL server for all tests of the session."""
    binaries = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda path: int(path.parts[-3]))
    if not binaries:
        pytest.skip("no PostgreSQL server under /usr/lib/postgresql (apt-get install postgresql)")
    folder = Path(tempfile.mkdtemp(prefix="toprung-pg-", dir="/tmp"))  # short: a socket's path has 107 bytes
    try:
        with running_server(binaries[-1].parent, folder) as server:
            yield server
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _create_database(server: Postgres) -> str:
    name = f"toprung_{next(_database_numbers)}"
    with server.connect() as connection:
        connection.execute(f"create database {name}".encode())
    return server.url(name)


@pytest.fixture(params=["sqlite", "postgres"])
def new_url(request: pytest.FixtureRequest, tmp_path: Path) -> NewUrl:
    """Gives the URL of another empty database at each call."""
    if request.param == "sqlite":
        return lambda: f"sqlite:///{tmp_path}/{next(_database_numbers)}/toprung.db"
    server: Postgres = request.getfixturevalue("postgres")
    return lambda: _create_database(server)


@pytest.fixture
def url(new_url: NewUrl) -> str:
    return new_url()


@pytest.fixture(scope="session")
def shared_database(postgres: Postgres) -> str:
    """A database that many tests use one after the other: making one each takes longer than most tests."""
    return _create_database(postgres)


@pytest.fixture(params=["sqlite", "postgres"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    """An empty store."""
    if request.param == "sqlite":
        opened = Store(f"sqlite:///{tmp_path}/toprung.db")
    else:
        database: str = request.getfixturevalue("shared_database")
        opened = Store(database)
        with psycopg.connect(database.replace("+psycopg", "")) as connection:
            for table in reversed(metadata.sorted_tables):
                connection.execute(f"delete from {table.name}".encode())
    yield opened
    opened.close()
