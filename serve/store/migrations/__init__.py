"""Alembic migrations, run by `Store(url)`."""
