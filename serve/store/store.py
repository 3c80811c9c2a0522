"""The store: everything that the service knows about sweeps, on disk.

All SQL of Toprung is in this package. A `Store` may be shared by threads, and any number of processes may have one open
on the same database. docs/store.md tells the tables and the rules.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Any

from sqlalchemy import select

from toprung.access import NewToken, Scope, Token
from toprung.serve.store import batches, edits, events, retention, standing, sweeps, tokens, trials, usage, webhooks
from toprung.serve.store.best import explained
from toprung.serve.store.bulk import Bulk
from toprung.serve.store.database import Database
from toprung.serve.store.migrate import migrate
from toprung.serve.store.tables import cursors
from toprung.serve.store.trials import TrialOrder
from toprung.tuning.past import Past
from toprung.tuning.prior import PriorSweep
from toprung.tuning.records import (
    Batch,
    BestTrial,
    Decision,
    Event,
    Failure,
    Page,
    Result,
    Rung,
    Sweep,
    SweepState,
    Trial,
    TrialEnvironment,
    TrialState,
    Usage,
    Values,
)
from toprung.tuning.spec import SweepSpec


class Store:
    """The store at a URL, `sqlite:////path/toprung.db` or `postgresql+psycopg://…`.

    Every method may raise `Unavailable`: the database is away, locked for too long, full or read-only. A write has then
    changed nothing. Every write is one transaction, on disk when the method returns.
    """

    def __init__(self, url: str) -> None:
        """Open the database, made and brought to this version's schema where needed.

        Raises:
            Malformed: the URL is none, or of a database that is not supported.
            Unavailable: the database cannot be opened, or was written by a newer version of Toprung.
        """
        self._database = Database(url)
        self.retention = retention.Retention(self._database)
        """What cleaning up needs."""
        self.edits = edits.Edits(self._database)
        """What users change of sweeps that are there."""
        self.bulk = Bulk(self._database)
        """Whole sweeps as plain rows, for figures and tables."""
        self.webhooks = webhooks.Webhooks(self._database)
        """Who is told of what, and what is on its way."""
        try:
            migrate(self._database)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close all connections."""
        self._database.close()

    def ping(self) -> None:
        """Ask the database for something.

        Raises:
            Unavailable: it does not answer.
        """
        self.last_event_id()

    def create_sweep(
        self,
        spec: SweepSpec,
        *,
        name: str | None,
        num_trials: int | None,
        owner: str | None = None,
        idempotency_key: str | None = None,
        body_hash: str | None = None,
    ) -> tuple[Sweep, bool]:
        """Queue a sweep; it gets a readable name where neither `name` nor the spec has one.

        Returns:
            The sweep, and whether it is new: the same key and body again give the sweep of the first time.

        Raises:
            Conflict: the idempotency key came with another body, or from another owner, before.
            NotFound: a sweep that it learns from has been deleted since the spec was checked.
        """
        with self._database.write() as connection:
            return sweeps.create(
                connection,
                spec,
                name=name,
                num_trials=num_trials,
                owner=owner,
                idempotency_key=idempotency_key,
                body_hash=body_hash,
            )

    def get_sweep(self, id_or_name: str) -> Sweep:
        """The sweep of this id, or the newest of this name.

        Raises:
            NotFound: there is none.
        """
        with self._database.read() as connection:
            return sweeps.get(connection, id_or_name)

    def list_sweeps(
        self,
        *,
        state: SweepState | None = None,
        name: str | None = None,
        owner: str | None = None,
        text: str | None = None,
        cursor: str | None = None,
        limit: int = 50,
    ) -> Page[Sweep]:
        """Sweeps, newest first; with `text` those that have it in their name, in letters of any size.

        Raises:
            Malformed: the cursor is none of this listing.
        """
        with self._database.read() as connection:
            return sweeps.find(
                connection, state=state, name=name, owner=owner, text=text, cursor=cursor, limit=_limit(limit)
            )

    def set_sweep_state(
        self,
        sweep_id: str,
        state: SweepState,
        reason: str | None = None,
        *,
        failure: Failure | None = None,
        revision: int | None = None,
    ) -> Sweep:
        """Move a sweep to another state; a finished state ends its unfinished trials with it.

        Args:
            sweep_id: the sweep's id.
            state: the state to move to.
            reason: why, in words.
            failure: what its running trials failed of, where the sweep's end is theirs (its runner died).
                Without it, and where they did not run, they become `cancelled`.
            revision: of the sweep, as its runner knew it: one that was asked for more since then is queued instead
                of succeeding or failing.

        Raises:
            NotFound: there is no such sweep.
            Conflict: its present state does not lead to this one.
        """
        with self._database.write() as connection:
            sweep = sweeps.get(connection, sweep_id)
            return sweeps.set_state(self._database, connection, sweep, SweepState(state), reason, failure, revision)

    def request_cancel(self, sweep_id: str) -> Sweep:
        """Cancel a queued sweep, or note the wish for a running one; asking again changes nothing.

        Raises:
            NotFound: there is no such sweep.
            Conflict: it is finished.
        """
        with self._database.write() as connection:
            return sweeps.request_cancel(self._database, connection, sweeps.get(connection, sweep_id))

    def request_pause(self, sweep_id: str) -> Sweep:
        """Pause a queued sweep, or note the wish for a running one; asking again changes nothing.

        Raises:
            NotFound: there is no such sweep.
            Conflict: it is finished.
        """
        with self._database.write() as connection:
            return sweeps.request_pause(self._database, connection, sweeps.get(connection, sweep_id))

    def resume(self, sweep_id: str) -> Sweep:
        """Queue a paused sweep again.

        Raises:
            NotFound: there is no such sweep.
            Conflict: it is not paused.
        """
        with self._database.write() as connection:
            return sweeps.resume(self._database, connection, sweeps.get(connection, sweep_id))

    def delete_sweep(self, id_or_name: str) -> None:
        """Delete a finished sweep: from now on it is not there. `retention.remove_rows` removes its rows.

        Raises:
            NotFound: there is no such sweep.
            Conflict: it is not finished, or an unfinished sweep learns from it.
        """
        with self._database.write() as connection:
            retention.hide(self._database, connection, id_or_name)

    def sweeps_in(self, states: Collection[SweepState]) -> list[Sweep]:
        """All sweeps in these states: higher priority first, then the older."""
        with self._database.read() as connection:
            return sweeps.in_states(connection, states)

    def standing(self) -> standing.Standing:
        """How the service stands, in a few figures."""
        with self._database.read() as connection:
            return standing.read(connection)

    def write(self, batch: Batch) -> None:
        """Write what a runner sends. Sent again, or for a finished sweep, it changes nothing.

        Raises:
            NotFound: there is no such sweep.
            InternalError: the batch has results of a trial that was never sent.
        """
        with self._database.write() as connection:
            batches.write(self._database, connection, batch)

    def list_trials(
        self,
        sweep_id: str,
        *,
        state: TrialState | None = None,
        order_by: TrialOrder = "number",
        cursor: str | None = None,
        limit: int = 100,
    ) -> Page[Trial]:
        """Trials by number, or the best value first and those without one last.

        Raises:
            NotFound: there is no such sweep.
            Malformed: the cursor is none of this listing.
        """
        with self._database.read() as connection:
            return trials.find(connection, sweep_id, state=state, order_by=order_by, cursor=cursor, limit=_limit(limit))

    def get_trial(self, sweep_id: str, number: int) -> Trial:
        """One trial.

        Raises:
            NotFound: there is no such sweep or trial.
        """
        with self._database.read() as connection:
            return trials.get(connection, sweep_id, number)

    def trial_environment(self, sweep_id: str, number: int) -> TrialEnvironment:
        """With what seed and in what surroundings a trial ran.

        Raises:
            NotFound: there is no such sweep or trial.
        """
        with self._database.read() as connection:
            return trials.environment_of(connection, sweep_id, number)

    def best_trials(self, sweep_id: str, k: int) -> list[BestTrial]:
        """The `k` best trials that did not fail, best first, each with the reason; of equals the first.

        Raises:
            NotFound: there is no such sweep.
        """
        with self._database.read() as connection:
            sweep = sweeps.get(connection, sweep_id)
            ranked = trials.best(connection, sweep.id, _limit(k))
            metrics = trials.metrics_at_best(connection, sweep.id, ranked)
            return explained(sweep, ranked, metrics, trials.num_ranked(connection, sweep.id))

    def list_results(self, sweep_id: str, number: int, *, after_step: int = 0, limit: int = 10_000) -> list[Result]:
        """A trial's results after a step, in their order.

        Raises:
            NotFound: there is no such sweep or trial.
        """
        with self._database.read() as connection:
            return trials.results_of(
                connection,
                sweep_id,
                min(number, trials.LARGEST),
                after_step=min(after_step, trials.LARGEST),
                limit=_limit(limit),
            )

    def list_decisions(
        self, sweep_id: str, *, number: int | None = None, cursor: str | None = None, limit: int = 1_000
    ) -> Page[Decision]:
        """The scheduler's decisions in their order, of all trials or of one.

        Raises:
            NotFound: there is no such sweep.
            Malformed: the cursor is none of this listing.
        """
        wanted = None if number is None else min(number, trials.LARGEST)
        with self._database.read() as connection:
            return trials.decisions_of(connection, sweep_id, number=wanted, cursor=cursor, limit=_limit(limit))

    def list_values(self, sweep: Sweep, *, after: int = 0, limit: int = 10_000) -> Values:
        """What its trials reported of the objective, in the order in which it came, after a place in that."""
        with self._database.read() as connection:
            return trials.values_after(connection, sweep, after, limit)

    def list_rungs(self, sweep_id: str) -> list[Rung]:
        """How its trials fared at each step at which they are compared, the lowest first.

        Raises:
            NotFound: there is no such sweep.
        """
        with self._database.read() as connection:
            return trials.rungs_of(connection, sweep_id)

    def events_after(self, event_id: int, *, sweep_id: str | None = None, limit: int = 1_000) -> list[Event]:
        """The events after this one. No later event ever gets a lower id: reading on from the last misses none."""
        with self._database.read() as connection:
            return events.after(connection, min(event_id, trials.LARGEST), sweep_id, _limit(limit))

    def last_event_id(self) -> int:
        """The id of the newest event, 0 before the first."""
        with self._database.read() as connection:
            return events.last_id(connection)

    def add_event(self, sweep_id: str, type: str, data: dict[str, Any]) -> None:
        """Write an event that belongs to no change of a record, such as a warning.

        Raises:
            NotFound: there is no such sweep.
        """
        with self._database.write() as connection:
            trials.check_sweep(connection, sweep_id)
            events.add(connection, [events.event_row(sweep_id, type, data)])

    def results_after(self, result_id: int, *, sweep_id: str, limit: int) -> list[tuple[int, Result]]:
        """A sweep's results after this one with their ids, in the order of writing."""
        with self._database.read() as connection:
            return trials.results_after(connection, min(result_id, trials.LARGEST), sweep_id, _limit(limit))

    def prior_sweep(self, sweep_id: str, steps: Collection[int]) -> PriorSweep:
        """A sweep as a later one learns from it: its trials with their objective at these steps.

        Raises:
            NotFound: there is no such sweep.
        """
        with self._database.read() as connection:
            return trials.prior(connection, sweeps.get(connection, sweep_id), steps)

    def past(self, sweep_id: str, steps: Collection[int] | None) -> Past:
        """A sweep as a runner takes it up, with the objective at these steps; None: at all.

        Raises:
            NotFound: there is no such sweep.
        """
        with self._database.read() as connection:
            return trials.past(connection, sweeps.get(connection, sweep_id), steps)

    def create_token(self, owner: str, scope: Scope) -> NewToken:
        """Make a token. What this returns is the only copy of it: the store keeps a hash."""
        with self._database.write() as connection:
            return tokens.create(connection, owner, scope)

    def find_token(self, token: str) -> Token | None:
        """What is known of a token, also of a revoked one; None if it is none of this store's."""
        with self._database.read() as connection:
            return tokens.find(connection, token)

    def get_token(self, token_id: str) -> Token | None:
        """What is known of the token of an id, also of a revoked one. An id proves nothing."""
        with self._database.read() as connection:
            return tokens.get(connection, token_id)

    def list_tokens(self) -> list[Token]:
        """All tokens ever made, the oldest first."""
        with self._database.read() as connection:
            return tokens.all_of(connection)

    def revoke_token(self, token_id: str) -> Token:
        """Make a token worthless from now on; again changes nothing.

        Raises:
            NotFound: there is none with this id.
        """
        with self._database.write() as connection:
            return tokens.revoke(connection, token_id)

    def usage(self, since: datetime | None = None, until: datetime | None = None) -> list[Usage]:
        """What the sweeps that were started in a period have used, by owner; who used most comes first."""
        with self._database.read() as connection:
            return usage.by_owner(connection, since, until)

    def step_time(self, trainable: str) -> tuple[str, float] | None:
        """The newest sweep of this trainable that has results, by name, and the seconds that a step took there."""
        with self._database.read() as connection:
            return usage.step_time(connection, trainable)

    def get_cursor(self, name: str) -> int:
        """How far a reader has come, by its own word; 0 at first."""
        with self._database.read() as connection:
            return connection.execute(select(cursors.c.value).where(cursors.c.name == name)).scalar() or 0

    def set_cursor(self, name: str, value: int) -> None:
        """Note how far a reader has come."""
        insert = self._database.insert(cursors).values(name=name, value=value)
        with self._database.write() as connection:
            connection.execute(insert.on_conflict_do_update(index_elements=["name"], set_={"value": value}))


def _limit(limit: int) -> int:
    assert limit > 0, "a page has room for one item at least"
    return min(limit, trials.LARGEST)
