"""Tokens: made, recognised, listed, revoked.

A token is `tpr_<12 characters>_<64 hex digits>`: its id, which is no secret and says which row to look at, and 256
random bits. Only their SHA-256 is stored. A slow, salted hash (Argon2, bcrypt) makes guessing a password that a person
chose costly; 256 random bits can't be guessed at any speed, and each request would pay for it (OWASP Password Storage
Cheat Sheet, NIST SP 800-63B 5.1.2.2: a look-up secret of at least 112 bits needs an approved one-way function alone).
"""

from __future__ import annotations

import hashlib
import hmac
import secrets

from sqlalchemy import Connection, Row, insert, select, update

from toprung.access import NewToken, Scope, Token
from toprung.errors import NotFound
from toprung.serve.store.ids import ALPHABET
from toprung.serve.store.tables import tokens
from toprung.tuning.records import utc_now

PREFIX = "tpr_"
_ID_LENGTH = len(PREFIX) + 12


def create(connection: Connection, owner: str, scope: Scope) -> NewToken:
    token_id = PREFIX + "".join(secrets.choice(ALPHABET) for _ in range(_ID_LENGTH - len(PREFIX)))
    whole = f"{token_id}_{secrets.token_hex(32)}"
    made = NewToken(id=token_id, owner=owner, scope=scope, created_at=utc_now(), token=whole)
    row = {"id": made.id, "owner": made.owner, "scope": made.scope.value, "created_at": made.created_at}
    connection.execute(insert(tokens).values(row | {"sha256": _digest(whole)}))
    return made


def find(connection: Connection, whole: str) -> Token | None:
    """The token that this is, revoked ones too; None if it is none of ours."""
    row = _row(connection, whole)
    if row is None or not hmac.compare_digest(row.sha256, _digest(whole)):
        return None
    return _token_of(row)


def get(connection: Connection, token_id: str) -> Token | None:
    """The token of this id, a revoked one too. Who names an id has proved nothing."""
    row = _row(connection, token_id)
    return None if row is None else _token_of(row)


def all_of(connection: Connection) -> list[Token]:
    return [_token_of(row) for row in connection.execute(select(tokens).order_by(tokens.c.created_at, tokens.c.id))]


def revoke(connection: Connection, token_id: str) -> Token:
    if _row(connection, token_id) is None:
        # what was given may be a whole token: only its id is repeated
        raise NotFound(f"There is no token {token_id[:_ID_LENGTH]!r}; `toprung token list` shows those there are.")
    changed = update(tokens).where(tokens.c.id == token_id[:_ID_LENGTH], tokens.c.revoked_at.is_(None))
    connection.execute(changed.values(revoked_at=utc_now()))
    row = _row(connection, token_id)
    assert row is not None
    return _token_of(row)


def _row(connection: Connection, token: str) -> Row[tuple[object, ...]] | None:
    """The row of a token, or of its id alone."""
    token_id = token[:_ID_LENGTH]
    if not token_id.isprintable():  # PostgreSQL refuses a NUL even to compare with
        return None
    return connection.execute(select(tokens).where(tokens.c.id == token_id)).one_or_none()


def _token_of(row: Row[tuple[object, ...]]) -> Token:
    return Token.model_validate({name: row._mapping[name] for name in Token.model_fields})


def _digest(whole: str) -> str:
    return hashlib.sha256(whole.encode("utf-8", "replace")).hexdigest()
