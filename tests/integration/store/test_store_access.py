"""Tokens and owners in the store."""

from __future__ import annotations

import pytest
from sqlalchemy import select

from tests.integration.store.records import make_spec
from toprung.access import Scope
from toprung.errors import Conflict, NotFound
from toprung.serve.store import Store
from toprung.serve.store.tables import tokens


class TestTokens:
    def test_one_is_found_by_all_of_itself_alone(self, store: Store) -> None:
        made = store.create_token("alice", Scope.WRITE)
        store.create_token("bob", Scope.READ)

        found = store.find_token(made.token)

        assert found is not None
        assert (found.id, found.owner, found.scope, found.revoked_at) == (made.id, "alice", Scope.WRITE, None)
        assert found.created_at == made.created_at
        for other in (made.id, made.token[:-1], made.token + "0", made.token.upper(), "", "tpr_\0"):
            assert store.find_token(other) is None

    def test_what_is_kept_does_not_give_it_away(self, store: Store) -> None:
        made = store.create_token("alice", Scope.WRITE)
        with store._database.read() as connection:
            (row,) = connection.execute(select(tokens)).all()

        assert made.token.removeprefix(made.id) not in str(row)
        assert len(row.sha256) == 64

    def test_a_revoked_one_is_known_as_such(self, store: Store) -> None:
        made = store.create_token("alice", Scope.WRITE)

        revoked = store.revoke_token(made.id)

        assert revoked.revoked_at is not None
        assert store.revoke_token(made.id) == revoked == store.find_token(made.token)
        assert store.list_tokens() == [revoked]

    @pytest.mark.parametrize("token_id", ["tpr_000000000000", "", "\0"])
    def test_no_such_token(self, store: Store, token_id: str) -> None:
        with pytest.raises(NotFound, match="toprung token list"):
            store.revoke_token(token_id)


class TestOwners:
    def test_a_sweep_has_one_or_none(self, store: Store) -> None:
        hers, _ = store.create_sweep(make_spec(), name="a", num_trials=1, owner="alice")
        nobodys, _ = store.create_sweep(make_spec(), name="b", num_trials=1)

        assert (hers.owner, nobodys.owner) == ("alice", None)
        assert store.list_sweeps(owner="alice").items == [hers]
        assert store.list_sweeps(owner="\0").items == []

    def test_an_idempotency_key_of_another_owner_is_a_conflict(self, store: Store) -> None:
        def submit(owner: str | None) -> bool:
            return store.create_sweep(
                make_spec(), name=None, num_trials=1, owner=owner, idempotency_key="k", body_hash="h"
            )[1]

        assert submit("alice") is True
        assert submit("alice") is False
        for other in ("bob", None):
            with pytest.raises(Conflict, match="another owner"):
                submit(other)
