"""The tables. Migrations build them; a test holds that both say the same.

Records that are read and written whole (spec, config, metrics, failure) are JSON text: no query looks inside them, and
text is the same in SQLite and PostgreSQL.
"""

from __future__ import annotations

from datetime import UTC, datetime

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Float,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
    false,
)
from sqlalchemy.engine import Dialect

from toprung.tuning.records import TrialState


class Utc(TypeDecorator[datetime]):
    """A point in time, aware and in UTC on both sides: SQLite keeps no time zone."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return None if value is None else value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Words(TypeDecorator[str]):
    """Text for people. A user's exception may carry a NUL, which PostgreSQL refuses."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        return None if value is None else value.replace("\0", "\N{REPLACEMENT CHARACTER}")


Serial = BigInteger().with_variant(Integer, "sqlite")
"""A growing id: SQLite grows only a column declared exactly INTEGER."""

NAMES = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
}
metadata = MetaData(naming_convention=NAMES)

DELETED = "deleted"
"""In `sweeps.state`: its rows are being removed. No record has this state, and no reader sees the sweep."""

COUNTERS = {state: f"num_{state}" for state in TrialState}
"""Column of `sweeps` with the number of trials in each state: a listing need not count them."""

sweeps = Table(
    "sweeps",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("name", String(63), nullable=False),
    Column("owner", String(100)),
    Column("state", String(16), nullable=False),
    Column("reason", Words),
    Column("spec", Text, nullable=False),
    Column("metric_name", Text, nullable=False),
    Column("goal", String(8), nullable=False),
    Column("priority", Integer, nullable=False),
    Column("created_at", Utc, nullable=False),
    Column("started_at", Utc),
    Column("ended_at", Utc),
    Column("cancel_requested", Boolean, nullable=False, server_default=false()),
    Column("pause_requested", Boolean, nullable=False, server_default=false()),
    Column("paused_at", Utc),
    Column("idle_s", Float(53), nullable=False, server_default="0"),
    Column("revision", Integer, nullable=False, server_default="1"),
    Column("idempotency_key", Text),
    Column("body_hash", Text),
    Column("num_trials", Integer),
    Column("num_results", BigInteger, nullable=False, server_default="0"),
    Column("gpu_hours", Float(53), nullable=False, server_default="0"),
    Column("cost", Float(53), nullable=False, server_default="0"),
    Column("best_number", BigInteger),
    Column("best_step", BigInteger),
    Column("best_value", Float(53)),
    *(Column(name, Integer, nullable=False, server_default="0") for name in COUNTERS.values()),
    UniqueConstraint("idempotency_key"),
    Index(None, "name", "id"),
    Index(None, "owner", "id"),
    Index(None, "state", "id"),
)

past_usage = Table(
    "past_usage",
    metadata,
    # No foreign key: what a sweep has used is kept when it is deleted and nothing else of it is.
    Column("sweep_id", String(40), primary_key=True),
    Column("owner", String(100)),
    Column("started_at", Utc, nullable=False),
    Column("trials", BigInteger, nullable=False),
    Column("steps", BigInteger, nullable=False),
    Column("gpu_hours", Float(53), nullable=False),
    Column("cost", Float(53), nullable=False),
    Index(None, "started_at"),
)

trials = Table(
    "trials",
    metadata,
    Column("sweep_id", ForeignKey(sweeps.c.id), primary_key=True),
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("state", String(16), nullable=False),
    Column("params", Text, nullable=False),
    Column("config", Text, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("bracket", Integer, nullable=False),
    Column("step", BigInteger, nullable=False),
    Column("value", Float(53)),
    # The value, its sign turned where more is better; infinity without a value. Ascending is best first, none last.
    Column("badness", Float(53), nullable=False),
    Column("best_step", BigInteger),
    Column("metrics", Text, nullable=False),
    Column("reason", Words),
    Column("failure", Text),
    Column("checkpoint", Text),
    Column("checkpoint_step", BigInteger),
    Column("resume_from", Text),
    Column("resume_step", BigInteger),
    Column("node", Words),
    Column("created_at", Utc, nullable=False),
    Column("started_at", Utc),
    Column("ended_at", Utc),
    Column("gpu_hours", Float(53), nullable=False),
    Column("cost", Float(53), nullable=False, server_default="0"),
    Column("request_id", BigInteger),
    Column("retry_of", BigInteger),
    Column("num_failures", Integer, nullable=False, server_default="0"),
    Column("ladder_step", Integer, nullable=False, server_default="0"),
    Column("seed", BigInteger),
    # Of `environments`, without a foreign key: SQLite would have the table copied for one.
    Column("environment", String(64)),
    # A user's wish, which no word of the runner takes back.
    Column("stop_requested", Boolean, nullable=False, server_default=false()),
    Index(None, "sweep_id", "badness", "number"),
    Index(None, "sweep_id", "state", "number"),
)

environments = Table(
    "environments",
    metadata,
    Column("sweep_id", ForeignKey(sweeps.c.id), primary_key=True),
    Column("key", String(64), primary_key=True),
    Column("data", Text, nullable=False),
)

trial_requests = Table(
    "trial_requests",
    metadata,
    Column("id", Serial, primary_key=True),
    Column("sweep_id", ForeignKey(sweeps.c.id), nullable=False),
    Column("params", Text, nullable=False),
    Column("retry_of", BigInteger),
    Column("idempotency_key", Text),
    Column("created_at", Utc, nullable=False),
    UniqueConstraint("sweep_id", "idempotency_key"),
    Index(None, "sweep_id", "id"),
    sqlite_autoincrement=True,
)

results = Table(
    "results",
    metadata,
    Column("id", Serial, primary_key=True),
    Column("sweep_id", String(40), nullable=False),
    Column("number", BigInteger, nullable=False),
    Column("step", BigInteger, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("reported_at", Utc, nullable=False),
    Column("time_total_s", Float(53), nullable=False),
    Column("metrics", Text, nullable=False),
    ForeignKeyConstraint(["sweep_id", "number"], [trials.c.sweep_id, trials.c.number]),
    UniqueConstraint("sweep_id", "number", "step"),
    Index(None, "sweep_id", "id"),
    sqlite_autoincrement=True,
)

decisions = Table(
    "decisions",
    metadata,
    Column("id", Serial, primary_key=True),
    Column("sweep_id", String(40), nullable=False),
    Column("number", BigInteger, nullable=False),
    Column("rung", BigInteger, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("bracket", Integer, nullable=False),
    Column("action", String(16), nullable=False),
    Column("value", Float(53), nullable=False),
    Column("cutoff", Float(53), nullable=False),
    Column("rank", Integer, nullable=False),
    Column("seen", Integer, nullable=False),
    Column("places", Integer, nullable=False),
    Column("decided_at", Utc, nullable=False),
    ForeignKeyConstraint(["sweep_id", "number"], [trials.c.sweep_id, trials.c.number]),
    # a trial that waits at a rung may be promoted or stopped there later
    UniqueConstraint("sweep_id", "number", "rung", "action"),
    Index(None, "sweep_id", "id"),
    sqlite_autoincrement=True,
)

events = Table(
    "events",
    metadata,
    Column("id", Serial, primary_key=True),
    Column("sweep_id", ForeignKey(sweeps.c.id), nullable=False),
    Column("type", String(32), nullable=False),
    Column("at", Utc, nullable=False),
    Column("data", Text, nullable=False),
    # What makes a warning the same as an earlier one of its sweep; other events have none.
    Column("fingerprint", String(64)),
    UniqueConstraint("sweep_id", "fingerprint"),
    Index(None, "sweep_id", "id"),
    sqlite_autoincrement=True,
)

tokens = Table(
    "tokens",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("sha256", String(64), nullable=False),
    Column("owner", String(100), nullable=False),
    Column("scope", String(8), nullable=False),
    Column("created_at", Utc, nullable=False),
    Column("revoked_at", Utc),
)

cursors = Table(
    "cursors",
    metadata,
    Column("name", String(255), primary_key=True),
    Column("value", BigInteger, nullable=False),
)

webhooks = Table(
    "webhooks",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("url", Text, nullable=False),
    # in the clear: each message is signed with it
    Column("secret", String(100), nullable=False),
    Column("events", Text, nullable=False),
    Column("format", String(16), nullable=False),
    Column("sweeps", String(8), nullable=False),
    Column("owner", String(100)),
    Column("created_at", Utc, nullable=False),
    Column("disabled_at", Utc),
    Column("disabled_reason", Words),
)

deliveries = Table(
    "deliveries",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("webhook_id", ForeignKey(webhooks.c.id), nullable=False),
    Column("event", String(32), nullable=False),
    # refers to no row: a sweep may be deleted, and what was told of it stays
    Column("sweep_id", String(40)),
    Column("key", String(255), nullable=False),
    Column("body", Text, nullable=False),
    Column("state", String(16), nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("created_at", Utc, nullable=False),
    Column("next_at", Utc, index=True),
    Column("status", Integer),
    Column("error", Words),
    Column("duration_ms", Float(53)),
    Column("finished_at", Utc),
    UniqueConstraint("webhook_id", "key"),
    Index(None, "webhook_id", "created_at"),
)
