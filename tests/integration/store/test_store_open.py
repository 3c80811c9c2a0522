"""Opening a store, sharing it between processes, and what it says when its database is in trouble."""

from __future__ import annotations

import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext

from tests.integration.conftest import free_port
from tests.integration.store.conftest import NewUrl
from tests.integration.store.postgres_server import Postgres
from tests.integration.store.records import make_spec, new_sweep, result, trial
from toprung.errors import Malformed, Unavailable
from toprung.serve.store import Store
from toprung.serve.store.database import Database
from toprung.serve.store.tables import metadata
from toprung.tuning.records import Batch, Event, Sweep

WRITER = """
import sys
from toprung.serve.store import Store
from toprung.tuning.records import Batch

store = Store(sys.argv[1])
for line in sys.stdin:
    store.write(Batch.model_validate_json(line))
store.close()
"""


class TestSchema:
    def test_the_migrations_make_the_tables(self, url: str) -> None:
        Store(url).close()
        database = Database(url)
        with database.read() as connection:
            assert compare_metadata(MigrationContext.configure(connection), metadata) == []
        database.close()

    def test_opening_again_keeps_everything(self, url: str) -> None:
        store = Store(url)
        sweep = new_sweep(store)
        store.close()
        again = Store(url)
        assert again.get_sweep(sweep.id) == sweep
        again.close()

    def test_many_may_open_a_new_database_at_once(self, url: str) -> None:
        with ThreadPoolExecutor(4) as pool:
            stores = list(pool.map(Store, [url] * 4))
        for number, store in enumerate(stores):
            new_sweep(store)
            assert len(stores[0].list_sweeps().items) == number + 1
        for store in stores:
            store.close()

    def test_a_newer_database_is_left_alone(self, url: str) -> None:
        Store(url).close()
        database = Database(url)
        with database.write() as connection:
            connection.exec_driver_sql("update alembic_version set version_num = '9999'")
        database.close()
        with pytest.raises(Unavailable, match=r"newer version of Toprung \(its schema is 9999\)"):
            Store(url)

    def test_sqlite_keeps_its_promises(self, tmp_path: Path) -> None:
        """A 2xx answer means on disk (2 is FULL), readers do not wait for the writer, references hold."""
        url = f"sqlite:///{tmp_path}/toprung.db"
        Store(url).close()
        database = Database(url)
        with database.read() as connection:
            pragmas = ("journal_mode", "synchronous", "foreign_keys")
            found = [connection.exec_driver_sql(f"pragma {name}").scalar() for name in pragmas]
        database.close()
        assert found == ["wal", 2, 1]


class TestSharing:
    def test_two_processes_write_and_a_reader_misses_no_event(self, url: str) -> None:
        store = Store(url)
        sweeps = [new_sweep(store) for _ in range(2)]
        writers = [_writer(url, sweep) for sweep in sweeps]
        followed: list[Event] = []
        while any(writer.poll() is None for writer in writers):
            followed += store.events_after(followed[-1].id if followed else 0)
        followed += store.events_after(followed[-1].id if followed else 0)
        assert [writer.returncode for writer in writers] == [0, 0]
        assert followed == store.events_after(0)
        assert [store.get_sweep(sweep.id).num_results for sweep in sweeps] == [40, 40]
        store.close()

    def test_threads_share_a_store(self, store: Store) -> None:
        sweep = new_sweep(store)

        def report(number: int) -> None:
            for step in range(1, 6):
                batch = Batch(
                    sweep_id=sweep.id, trials=[trial(sweep, number, step=step)], results=[result(number, step)]
                )
                store.write(batch)

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(report, range(4)))
        assert store.get_sweep(sweep.id).num_results == 20

    def test_the_same_key_at_the_same_time_makes_one_sweep(self, store: Store) -> None:
        together = threading.Barrier(4)

        def submit(_: int) -> tuple[Sweep, bool]:
            together.wait(timeout=30)
            return store.create_sweep(make_spec(), name=None, num_trials=1, idempotency_key="k", body_hash="h")

        with ThreadPoolExecutor(4) as pool:
            answers = list(pool.map(submit, range(4)))
        assert len({sweep.id for sweep, _ in answers}) == 1
        assert sorted(new for _, new in answers) == [False, False, False, True]


def _writer(url: str, sweep: Sweep) -> subprocess.Popen[str]:
    """A process that reports 40 results, one batch each."""
    batches = [
        Batch(sweep_id=sweep.id, trials=[trial(sweep, step=step)], results=[result(0, step)]) for step in range(1, 41)
    ]
    lines = "\n".join(batch.model_dump_json() for batch in batches)
    program = [sys.executable, "-c", WRITER, url]
    process = subprocess.Popen(program, stdin=subprocess.PIPE, text=True)
    assert process.stdin is not None
    process.stdin.write(lines)
    process.stdin.close()
    return process


class TestTrouble:
    @pytest.mark.parametrize(
        ("url", "words"),
        [
            ("", "cannot be read"),
            ("toprung.db", "cannot be read"),
            ("mysql://localhost/x", "No store for mysql"),
            ("sqlite://", "names no file"),
            ("sqlite:///:memory:", "names no file"),
        ],
    )
    def test_a_url_of_no_store(self, url: str, words: str) -> None:
        with pytest.raises(Malformed, match=words):
            Store(url)

    def test_a_folder_that_cannot_be_made(self, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        with pytest.raises(Unavailable, match=r"cannot be made: .* Check the rights"):
            Store(f"sqlite:///{tmp_path}/file/toprung.db")

    def test_a_file_of_something_else(self, tmp_path: Path) -> None:
        (tmp_path / "toprung.db").write_bytes(b"no database at all" * 100)
        with pytest.raises(Unavailable, match="is not a SQLite database"):
            Store(f"sqlite:///{tmp_path}/toprung.db")

    @pytest.mark.parametrize(
        ("pragma", "words"), [("max_page_count=1", "no space left on its disk"), ("query_only=on", "is read-only")]
    )
    def test_a_full_or_read_only_disk(self, tmp_path: Path, pragma: str, words: str) -> None:
        """SQLite's own errors, provoked by its own settings."""
        url = f"sqlite:///{tmp_path}/toprung.db"
        Store(url).close()
        database = Database(url)
        with database.read() as connection:
            connection.exec_driver_sql(f"pragma {pragma}")
        with pytest.raises(Unavailable, match=words), database.write() as connection:
            connection.exec_driver_sql("create table filler as select zeroblob(100000)")
        database.close()

    def test_a_lock_that_stays(self, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("toprung.serve.store.database.WAIT_S", 0.1)
        store = Store(url)
        other = Database(url)
        with other.write():
            with pytest.raises(Unavailable, match=r"is busy: .* nothing was written"):
                new_sweep(store)
            assert store.list_sweeps().items == []  # readers do not wait
        new_sweep(store)  # and the store is as good as before
        other.close()
        store.close()

    def test_a_server_that_is_not_there(self) -> None:
        url = f"postgresql://toprung:secret@127.0.0.1:{free_port()}/toprung"
        with pytest.raises(Unavailable, match="does not answer") as caught:
            Store(url)
        assert "secret" not in caught.value.detail

    def test_a_server_that_ended_our_connections(self, postgres: Postgres, new_url: NewUrl) -> None:
        url = new_url()
        if not url.startswith("postgresql"):
            pytest.skip("a file has no connections to end")
        store = Store(url)
        store.ping()
        with postgres.connect() as connection:
            connection.execute("select pg_terminate_backend(pid) from pg_stat_activity where datname like 'toprung%'")
        store.ping()
        store.close()

    def test_ping_tells_a_damaged_store(self, tmp_path: Path) -> None:
        path = tmp_path / "toprung.db"
        store = Store(f"sqlite:///{path}")
        store.ping()
        store.close()
        path.write_bytes(path.read_bytes()[:4096] + b"\0" * 100_000)
        with pytest.raises(Unavailable):
            Store(f"sqlite:///{path}").ping()
