"""Alembic's entry point: run inside the caller's transaction, on the caller's connection."""

from alembic import context

from toprung.serve.store.tables import metadata

# render_as_batch: SQLite changes a column only by copying the table.
context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
