"""One sweep or one trial in full, in words: `toprung show`."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

from toprung.cli.tables import print_best, print_mapping, progress, state_text, table
from toprung.cli.words import ago, duration, number, plural

if TYPE_CHECKING:
    from toprung.tuning.records import BestTrial, Decision, QueuePlace, Sweep, Trial, TrialEnvironment

FAILURES = {
    "user_error": "its code raised an error",
    "gpu_oom": "it ran out of GPU memory",
    "host_oom": "it ran out of memory",
    "node_lost": "its node was lost",
    "preempted": "its node was taken away",
    "timeout": "it took too long",
    "non_finite_metric": "it reported a metric that is no number",
}


def print_sweep(out: Console, sweep: Sweep, best: Sequence[BestTrial]) -> None:
    head = Text.assemble((sweep.name, "bold"), "  ", state_text(sweep.state), f"  {progress(sweep)} trials")
    if sweep.started_at is not None and sweep.ended_at is not None:
        head.append(f" in {duration((sweep.ended_at - sweep.started_at).total_seconds() - sweep.idle_s)}")
    out.print(head)
    if sweep.reason:
        out.print(Text(f"  {sweep.reason}"))
    elif sweep.cancel_requested and not sweep.state.finished:
        out.print("  is being cancelled")
    elif sweep.pause_requested:
        out.print("  is pausing")
    elif sweep.queue is not None:
        out.print(Text(f"  {waiting(sweep.queue)}"))
    if sweep.state.finished and any(count for state, count in sweep.trials.items() if state == "failed"):
        out.print(f"  after a fix: toprung retry {sweep.name} --failed --code DIR", style="dim")
    facts = {
        "id": sweep.id,
        **({"owner": sweep.owner} if sweep.owner else {}),
        "trainable": sweep.spec.trainable,
        "objective": f"{sweep.spec.metric.goal} {sweep.spec.metric.name}",
        "trials": ", ".join(f"{count:,} {state}" for state, count in sweep.trials.items() if count) or "none yet",
        "results": f"{sweep.num_results:,}",
        "created": ago(sweep.created_at),
    }
    if sweep.gpu_hours:
        facts["GPU-hours"] = f"{sweep.gpu_hours:.2f}"
    if sweep.cost:
        facts["cost"] = f"{sweep.cost:.2f}"
    print_mapping(out, facts)
    if best:
        out.print()
        print_best(out, sweep, best)


def waiting(place: QueuePlace, now: datetime | None = None) -> str:
    """Where a sweep waits, and for how long."""
    where = "is next in the queue" if place.position == 1 else f"is number {place.position} in the queue"
    if place.quota:
        where += ", held by its owner's quota"
    if place.expected_start_at is None:
        return where
    left_s = (place.expected_start_at - (now or datetime.now(UTC))).total_seconds()
    return f"{where}, expected to start " + (f"in {duration(left_s)}" if left_s > 1 else "any moment")


def print_trial(
    out: Console, sweep: Sweep, trial: Trial, decisions: Sequence[Decision], ran_in: TrialEnvironment
) -> None:
    metric = sweep.spec.metric.name
    out.print(Text.assemble((f"trial {trial.number}", "bold"), f" of {sweep.name}  ", state_text(trial.state)))
    for sentence in story(trial, metric):
        out.print(Text(f"  {sentence}"))
    out.print(Text("\nconfig", "bold"))
    print_mapping(out, trial.config)
    if trial.metrics:
        out.print(Text(f"\nmetrics at step {trial.step}", "bold"))
        print_mapping(out, trial.metrics)
    if decisions:
        out.print()
        _print_decisions(out, decisions, sweep.spec.scheduler.type == "median")
    if ran_in.seed is not None:
        out.print(Text("\nran with", "bold"))
        print_mapping(out, surroundings(ran_in))
    if trial.checkpoint is not None:
        out.print(
            f"\ncheckpoint of step {trial.checkpoint.step}: toprung download {sweep.name} {trial.number}", style="dim"
        )
    if trial.failure is not None and trial.failure.traceback:
        out.print(Text("\ntraceback", "bold"))
        out.print(Text(trial.failure.traceback.rstrip()))


def surroundings(ran_in: TrialEnvironment) -> dict[str, object]:
    """The seed and the surroundings of a trial, in short."""
    found = ran_in.environment
    if found is None:
        return {"seed": ran_in.seed}
    threads = str(found.torch_threads or found.omp_num_threads)
    commit = found.git and found.git.commit[:12]
    changed = found.git and (", ".join(found.git.changed[:3]) + (", …" if len(found.git.changed) > 3 else ""))
    facts = {
        "seed": ran_in.seed,
        "code": found.code and found.code[:19] + "…",
        "commit": f"{commit}, changed: {changed}" if found.git and found.git.dirty else commit,
        "python": found.python,
        "torch": found.packages.get("torch"),
        "packages": f"{len(found.packages)} (--json names them)",
        "cpu": found.cpu and found.cpu + (f", {plural(int(threads), 'thread')}" if threads.isdigit() else ""),
        "gpu": ", ".join(found.gpus) or None,
        "driver": found.driver and f"{found.driver}, CUDA {found.cuda}",
    }
    return {name: value for name, value in facts.items() if value is not None}


def story(trial: Trial, metric: str) -> list[str]:
    """How far the trial came, and why it is in its state."""
    told = [_how_far(trial, metric)]
    if trial.retry_of is not None:
        told.append(f"tries the configuration of trial {trial.retry_of} again")
    elif trial.request_id is not None:
        told.append("was asked for by hand")
    if trial.failure is not None:
        told.append(f"failed: {FAILURES[trial.failure.kind]} ({trial.failure.message})")
    elif trial.state == "completed":
        told.append(trial.reason or "completed: it was trained to its end")
    elif trial.reason:
        told.append(trial.reason)
    if trial.attempt > 1:
        told.append(f"{trial.attempt} attempts: it was paused or tried again in between")
    if trial.ladder_step:
        told.append(f"its memory ran out: step {trial.ladder_step} of resources.ladder")
    if trial.started_at is not None and trial.ended_at is not None:
        where = f" on {trial.node}" if trial.node else ""
        told.append(f"trained for {duration((trial.ended_at - trial.started_at).total_seconds())}{where}")
    return told


def _how_far(trial: Trial, metric: str) -> str:
    if trial.value is None:
        return f"reported {plural(trial.step, 'step')}, no {metric} yet" if trial.step else "nothing reported yet"
    return f"best {metric} {number(trial.value)} at step {trial.best_step}, {plural(trial.step, 'step')} in all"


def _print_decisions(out: Console, decisions: Sequence[Decision], of_medians: bool) -> None:
    place, cutoff = ("step", "median") if of_medians else ("rung", "cutoff")
    made = table(place, "decision", "value", cutoff, "rank", right=(place, "value", cutoff))
    for decision in decisions:
        rank = f"{decision.rank} of {decision.seen}, {decision.places} may go on"
        row = (str(decision.rung), str(decision.action), number(decision.value), number(decision.cutoff), rank)
        made.add_row(*row)
    out.print(made)
