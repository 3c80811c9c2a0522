"""What users change of sweeps that are there already. A finished one that has something to do again is queued."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, func, insert, select, update

from toprung.errors import Conflict, InvalidSpec, NotFound, PreconditionFailed, Problem
from toprung.serve.store import events, sweeps, trials
from toprung.serve.store.database import Database
from toprung.serve.store.rows import request_of, to_text, trial_of
from toprung.serve.store.tables import sweeps as sweep_table
from toprung.serve.store.tables import trial_requests
from toprung.serve.store.tables import trials as trial_table
from toprung.tuning.orders import TrialRequest
from toprung.tuning.plan import num_trials
from toprung.tuning.records import Sweep, SweepState, Trial, TrialState, utc_now
from toprung.tuning.spec import Git, SweepSpec
from toprung.tuning.spec.edit import edited, point


class Edits:
    """The part of a store that changes sweeps which are there. Errors are those of `Store`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def edit(self, sweep_id: str, patch: Mapping[str, Any], *, revisions: Collection[int] | None = None) -> Sweep:
        """Change budget, concurrency, priority or weight of a sweep that has not ended.

        Args:
            sweep_id: the sweep's id.
            patch: a merge patch (RFC 7396) of its spec.
            revisions: those that the caller has seen; None: it doesn't matter.

        Raises:
            NotFound: there is no such sweep.
            Conflict: it is finished.
            PreconditionFailed: it has another revision.
            InvalidSpec: the patch changes other fields, or leaves a spec with problems.
        """
        with self._database.write() as connection:
            return _edit(connection, sweeps.get(connection, sweep_id), patch, revisions)

    def extend(self, sweep_id: str, budget: Mapping[str, Any]) -> Sweep:
        """Give a sweep another budget, a merge patch of its present one; one that is finished is queued again.

        A target that it has reached is lifted.

        Raises:
            NotFound: there is no such sweep.
            InvalidSpec: the budget has problems, or leaves a finished sweep nothing to do.
        """
        with self._database.write() as connection:
            return _extend(self._database, connection, sweeps.get(connection, sweep_id), budget)

    def request_trial(self, sweep_id: str, config: Mapping[str, Any], *, idempotency_key: str | None = None) -> Sweep:
        """Ask for a trial of a configuration made by hand, on top of the budget; a finished sweep is queued again.

        Args:
            sweep_id: the sweep's id.
            config: nested as `parameters`; what it leaves out is drawn at random.
            idempotency_key: the same key again changes nothing.

        Raises:
            NotFound: there is no such sweep.
            InvalidSpec: the configuration is none of the sweep's space.
        """
        with self._database.write() as connection:
            sweep = sweeps.get(connection, sweep_id)
            return _request_trial(self._database, connection, sweep, config, idempotency_key)

    def retry(
        self,
        sweep_id: str,
        numbers: Collection[int] | None = None,
        *,
        code: str | None = None,
        git: Git | None = None,
        idempotency_key: str | None = None,
    ) -> Sweep:
        """Ask for further trials of the same configurations, on top of the budget; a finished sweep is queued again.

        Args:
            sweep_id: the sweep's id.
            numbers: of the trials; None: all failed ones that were not tried again yet.
            code: the package that the sweep has from now on, `sha256:…`; None: that which it has.
            git: where that code stood in Git.
            idempotency_key: the same key again changes nothing.

        Raises:
            NotFound: there is no such sweep or trial.
            Conflict: no trial has failed; one of them is not over; the sweep is running and gets other code.
        """
        with self._database.write() as connection:
            changes = {} if code is None else {"code": code, "git": git}
            sweep = sweeps.get(connection, sweep_id)
            return _retry(self._database, connection, sweep, numbers, changes, idempotency_key)

    def stop_trial(self, sweep_id: str, number: int) -> Trial:
        """Cancel a trial; one of a running sweep ends a little later.

        Raises:
            NotFound: there is no such sweep or trial.
            Conflict: the trial is finished.
        """
        with self._database.write() as connection:
            return _stop_trial(self._database, connection, sweeps.get(connection, sweep_id), number)

    def orders(self, sweep_id: str) -> tuple[list[TrialRequest], list[int]]:
        """What was asked of a sweep: all requests for trials, and the numbers of trials that are to end."""
        with self._database.read() as connection:
            return _orders(connection, sweep_id)


def _edit(connection: Connection, sweep: Sweep, patch: Mapping[str, Any], revisions: Collection[int] | None) -> Sweep:
    if revisions is not None and sweep.revision not in revisions:
        raise PreconditionFailed(
            f"Sweep {sweep.name} was changed in the meantime (it has revision {sweep.revision}). "
            "Look at it again, and send the change with its new ETag.",
            state=sweep.state,
        )
    if sweep.state.finished:
        raise Conflict(
            f"Sweep {sweep.name} has already {sweeps.ended(sweep.state)}; `toprung extend` gives it a larger budget.",
            state=sweep.state,
        )
    _check_stays(sweep)
    spec = edited(sweep.spec, patch)
    return sweep if spec == sweep.spec else _save(connection, sweep, spec, edited=dict(patch))


def _extend(database: Database, connection: Connection, sweep: Sweep, budget: Mapping[str, Any]) -> Sweep:
    _check_stays(sweep)
    spec = edited(sweep.spec, {"budget": dict(budget)})
    if spec == sweep.spec and not sweep.state.finished:
        return sweep
    if sweep.state.finished:
        _check_worth(connection, sweep, spec)
    changed = _save(connection, sweep, spec, edited={"budget": dict(budget)})
    return _queue(database, connection, changed)


def _request_trial(
    database: Database, connection: Connection, sweep: Sweep, config: Mapping[str, Any], key: str | None
) -> Sweep:
    if key is not None and _is_known(connection, sweep.id, key):
        return sweep
    return _request(database, connection, sweep, [{"params": to_text(point(sweep.spec, config)), "key": key}], {})


def _retry(
    database: Database,
    connection: Connection,
    sweep: Sweep,
    numbers: Collection[int] | None,
    changes: Mapping[str, Any],
    key: str | None,
) -> Sweep:
    if key is not None and _is_known(connection, sweep.id, f"{key}/0"):
        return sweep
    if changes and sweep.state is SweepState.RUNNING:
        raise Conflict(
            f"Sweep {sweep.name} is running, with the code that it has; pause it before it gets another.",
            state=sweep.state,
        )
    wanted = _failed(connection, sweep) if numbers is None else _chosen(connection, sweep, numbers)
    rows = [
        {"params": to_text(trial.params), "retry_of": trial.number, "key": key and f"{key}/{index}"}
        for index, trial in enumerate(wanted)
    ]
    return _request(database, connection, sweep, rows, changes)


def _stop_trial(database: Database, connection: Connection, sweep: Sweep, number: int) -> Trial:
    trial = trials.get(connection, sweep.id, number)
    if trial.state.finished:
        raise Conflict(f"Trial {number} of {sweep.name} is over: it is {trial.state}.", state=trial.state)
    of_trial = (trial_table.c.sweep_id == sweep.id) & (trial_table.c.number == number)
    if sweep.state is SweepState.RUNNING:
        if not trial.stop_requested:
            connection.execute(update(trial_table).where(of_trial).values(stop_requested=True))
            _bump(connection, sweep.id)
    else:
        sweeps.cancel_trial(database, connection, sweep.id, trial, "stopped by the user")
    return trials.get(connection, sweep.id, number)


def _orders(connection: Connection, sweep_id: str) -> tuple[list[TrialRequest], list[int]]:
    """What was asked of a sweep: all requests for trials, and the numbers of those that are to end."""
    query = select(trial_requests).where(trial_requests.c.sweep_id == sweep_id).order_by(trial_requests.c.id)
    requests = [request_of(row) for row in connection.execute(query)]
    query = select(trial_table.c.number).where(
        trial_table.c.sweep_id == sweep_id, trial_table.c.stop_requested, trial_table.c.ended_at.is_(None)
    )
    return requests, list(connection.execute(query).scalars())


# ---- inside


def _save(connection: Connection, sweep: Sweep, spec: SweepSpec, **changes: Any) -> Sweep:
    bound = num_trials(spec)
    values = {
        "spec": spec.model_dump_json(),
        "priority": spec.priority,
        "num_trials": None if bound is None else bound + _num_requests(connection, sweep.id),
        "revision": sweep_table.c.revision + 1,
    }
    connection.execute(update(sweep_table).where(sweep_table.c.id == sweep.id).values(values))
    changed = sweeps.get(connection, sweep.id)
    events.add(connection, [events.sweep_edited(changed, **changes)])
    return changed


def _bump(connection: Connection, sweep_id: str) -> None:
    of_sweep = sweep_table.c.id == sweep_id
    connection.execute(update(sweep_table).where(of_sweep).values(revision=sweep_table.c.revision + 1))


def _request(
    database: Database,
    connection: Connection,
    sweep: Sweep,
    rows: Sequence[Mapping[str, Any]],
    other_code: Mapping[str, Any],
) -> Sweep:
    _check_stays(sweep)
    problems = _spent(connection, sweep, sweep.spec) if sweep.state.finished else []
    if problems:
        raise InvalidSpec(f"{sweep.name} has no budget for a trial; toprung extend gives it more", problems=problems)
    now = utc_now()
    values = [
        {
            "sweep_id": sweep.id,
            "params": row["params"],
            "retry_of": row.get("retry_of"),
            "idempotency_key": row.get("key"),
            "created_at": now,
        }
        for row in rows
    ]
    connection.execute(insert(trial_requests), values)
    spec = sweep.spec.model_copy(update=other_code)
    changes: dict[str, Any] = {
        "requested": len(rows),
        "retry_of": [row["retry_of"] for row in rows if "retry_of" in row],
    }
    changed = _save(connection, sweep, spec, **changes, **({"code": spec.code} if other_code else {}))
    return _queue(database, connection, changed)


def _check_stays(sweep: Sweep) -> None:
    """Raises:
    Conflict: it is about to end, and nothing would come of what is asked for.
    """
    if sweep.cancel_requested and not sweep.state.finished:
        raise Conflict(f"Sweep {sweep.name} is being cancelled; ask again when it is.", state=sweep.state)


def _queue(database: Database, connection: Connection, sweep: Sweep) -> Sweep:
    """A finished sweep goes on."""
    if not sweep.state.finished:
        return sweep
    return sweeps.set_state(database, connection, sweep, SweepState.QUEUED, None)


def _check_worth(connection: Connection, sweep: Sweep, spec: SweepSpec) -> None:
    """Whether a finished sweep would have something to do, and to do it with.

    Raises:
        InvalidSpec: names the bounds that are used up.
    """
    problems = _spent(connection, sweep, spec)
    proposed = _num_proposed(connection, sweep.id)
    bound = num_trials(spec)
    if bound is not None and proposed >= bound:
        finite = spec.budget.trials is None or spec.budget.trials > bound
        what = "the search space has no more configurations" if finite else f"{proposed} trials were made already"
        hint = None if finite else f"give it more than {proposed}"
        problems.append(Problem("/budget/trials", "used_up", what, hint))
    if problems:
        raise InvalidSpec(f"nothing would be left to do for {sweep.name}", problems=problems)


def _spent(connection: Connection, sweep: Sweep, spec: SweepSpec) -> list[Problem]:
    """Bounds of time, steps and money that a finished sweep has used up: it would end as soon as it began."""
    budget = spec.budget
    paused_at = connection.execute(select(sweep_table.c.paused_at).where(sweep_table.c.id == sweep.id)).scalar()
    started = sweep.started_at or utc_now()
    steps = select(func.coalesce(func.sum(trial_table.c.step), 0)).where(trial_table.c.sweep_id == sweep.id)
    used: dict[str, float] = {
        "wall_time_s": ((paused_at or sweep.ended_at or utc_now()) - started).total_seconds() - sweep.idle_s,
        "steps": connection.execute(steps).scalar_one(),
        "gpu_hours": sweep.gpu_hours,
        "cost": sweep.cost,
    }
    return [
        Problem(
            f"/budget/{name}", "used_up", f"{used[name]:.4g} were used already", f"give it more than {used[name]:.4g}"
        )
        for name, bound in budget.model_dump(exclude_none=True).items()
        if name in used and used[name] >= bound
    ]


def _num_requests(connection: Connection, sweep_id: str) -> int:
    query = select(func.count()).where(trial_requests.c.sweep_id == sweep_id)
    return connection.execute(query).scalar_one()


def _num_proposed(connection: Connection, sweep_id: str) -> int:
    query = select(func.count()).where(trial_table.c.sweep_id == sweep_id, trial_table.c.request_id.is_(None))
    return connection.execute(query).scalar_one()


def _is_known(connection: Connection, sweep_id: str, key: str) -> bool:
    of_key = (trial_requests.c.sweep_id == sweep_id) & (trial_requests.c.idempotency_key == key)
    return connection.execute(select(trial_requests.c.id).where(of_key)).one_or_none() is not None


def _failed(connection: Connection, sweep: Sweep) -> list[Trial]:
    """The failed trials that nobody has asked to try again.

    Raises:
        Conflict: there is none.
    """
    asked = select(trial_requests.c.retry_of).where(
        trial_requests.c.sweep_id == sweep.id, trial_requests.c.retry_of.is_not(None)
    )
    query = select(trial_table).where(
        trial_table.c.sweep_id == sweep.id,
        trial_table.c.state == TrialState.FAILED.value,
        trial_table.c.number.not_in(asked),
    )
    found = [trial_of(row) for row in connection.execute(query.order_by(trial_table.c.number))]
    if not found:
        raise Conflict(f"Sweep {sweep.name} has no failed trial that was not tried again already.", state=sweep.state)
    return found


def _chosen(connection: Connection, sweep: Sweep, numbers: Collection[int]) -> list[Trial]:
    found = [trials.get(connection, sweep.id, number) for number in dict.fromkeys(numbers)]
    if not found:
        raise NotFound(f"No trial of {sweep.name} was named.")
    for trial in found:
        if not trial.state.finished:
            raise Conflict(f"Trial {trial.number} of {sweep.name} is not over: it is {trial.state}.", state=trial.state)
    return found
