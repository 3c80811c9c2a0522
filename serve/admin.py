"""The first token of a service with access control: an admin's, who makes the others."""

from __future__ import annotations

import getpass
import logging
from contextlib import suppress

from pydantic import TypeAdapter

from toprung.access import Owner, Scope
from toprung.serve.home import Home
from toprung.serve.store import Store

logger = logging.getLogger("toprung.serve")


def keep_admin_token(home: Home) -> None:
    """Write a token of an admin into the home: a new one where there is none yet, or where it doesn't count any more.

    Raises:
        Unavailable: the store does not answer.
    """
    store = Store(home.store_url)
    try:
        with suppress(OSError, UnicodeDecodeError):
            token = store.find_token(home.token_file.read_text(encoding="utf-8").strip())
            if token is not None and token.revoked_at is None and token.scope is Scope.ADMIN:
                return
        made = store.create_token(_user(), Scope.ADMIN)
        home.keep_token(made.token)
        logger.info("made the admin token %s of %s, in %s", made.id, made.owner, home.token_file)
    finally:
        store.close()


def _user() -> str:
    """The name of the user who runs the service; containers may have none."""
    try:
        return TypeAdapter(Owner).validate_python(getpass.getuser())
    except (KeyError, OSError, ValueError):
        return "admin"
