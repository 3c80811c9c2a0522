"""The command line `toprung`: docs/cli.md is its reference."""

from __future__ import annotations

from toprung.cli.app import app, main

__all__ = ["app", "main"]
