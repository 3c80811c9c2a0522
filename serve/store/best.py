"""Why a trial is among the best, in words."""

from __future__ import annotations

from collections.abc import Mapping

from toprung.tuning.records import BestTrial, MetricValue, Sweep, Trial, TrialState

_ORDINALS = {1: "", 2: "second ", 3: "third "}


def explained(
    sweep: Sweep, ranked: list[Trial], metrics: Mapping[int, dict[str, MetricValue]], num_trials: int
) -> list[BestTrial]:
    """The trials with their ranks and reasons.

    Args:
        sweep: theirs.
        ranked: best first.
        metrics: by number, of the step at which the trial was best.
        num_trials: among how many they were chosen.
    """
    return [
        BestTrial(
            rank=rank,
            why=_why(sweep, trial, rank, num_trials),
            trial=trial,
            metrics=metrics.get(trial.number, {}),
        )
        for rank, trial in enumerate(ranked, 1)
    ]


def _why(sweep: Sweep, trial: Trial, rank: int, num_trials: int) -> str:
    metric = sweep.spec.metric
    extreme = "lowest" if metric.goal == "minimize" else "highest"
    among = f"of {num_trials} trials" if num_trials > 1 else "of the only trial with a value"
    step = trial.step if trial.best_step is None else trial.best_step
    place = f"{_ordinal(rank)}{extreme} {metric.name} {among}"
    return f"{place}: {trial.value:.4g} at step {step}; {_ending(sweep, trial)}"


def _ordinal(rank: int) -> str:
    if rank in _ORDINALS:
        return _ORDINALS[rank]
    suffix = "th" if rank % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(rank % 10, "th")
    return f"{rank}{suffix} "


def _ending(sweep: Sweep, trial: Trial) -> str:
    scheduler = sweep.spec.scheduler
    match trial.state:
        case TrialState.COMPLETED if scheduler.max_t is not None and trial.step >= scheduler.max_t:
            return "reached the last rung" if scheduler.type == "asha" else f"ran all {scheduler.max_t} steps"
        case TrialState.COMPLETED:
            return f"ended by itself at step {trial.step}"
        case TrialState.PRUNED:
            return trial.reason or f"stopped early at step {trial.step}"
        case TrialState.CANCELLED:
            return f"cancelled at step {trial.step}"
        case _:
            return f"still {trial.state} at step {trial.step}"
