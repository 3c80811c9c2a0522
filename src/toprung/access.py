"""Who may do what: scopes, and tokens as they are stored and sent. docs/access.md tells the rules."""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Annotated

from pydantic import AfterValidator, Field

from toprung.tuning.records import Record, UtcTime

_OWNER = re.compile(r"[!-~]{1,100}")


def _checked_owner(name: str) -> str:
    if _OWNER.fullmatch(name) is None:
        raise ValueError("must be 1 to 100 visible ASCII characters without spaces, such as alice@example.org")
    return name


Owner = Annotated[str, AfterValidator(_checked_owner)]
"""A name that can be compared, filtered by and written into a log."""


class Scope(StrEnum):
    """What a token may do; each may do what those before it may."""

    READ = "read"
    WRITE = "write"
    ADMIN = "admin"

    def covers(self, needed: Scope) -> bool:
        """Whether a token of this scope may do what takes `needed`."""
        ordered = list(Scope)
        return ordered.index(self) >= ordered.index(needed)


class Token(Record):
    """A token as the service knows it: without what proves it."""

    id: str
    """What the token itself begins with, `tpr_` and twelve characters; no secret."""
    owner: str
    scope: Scope
    created_at: UtcTime
    revoked_at: UtcTime | None = None


class NewToken(Token):
    """A token that was just made."""

    token: str = Field(repr=False)
    """All of it. The service keeps a hash alone: this is the only time that it can be read."""
