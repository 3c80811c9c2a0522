"""What a scheduler needs of Tune's controller beyond its interface: a place in the saved experiment, the searchers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ray.tune.experiment import Trial

_SAVED = "_toprung_scheduler"


def exchange(tune_controller: Any, scheduler: Any) -> Any:
    """Lets a scheduler be saved with the experiment; returns the one that was there before, None in a new experiment.

    Tune saves its searcher but no scheduler with an experiment. Whatever else its controller has is saved, though, in
    one file with the state of the trials, and is there again before a restored experiment adds them.
    """
    controller = _inner(tune_controller)
    before = vars(controller).get(_SAVED)
    setattr(controller, _SAVED, scheduler)
    return before


def stop_paused(tune_controller: Any, trial: Trial) -> None:
    """Stops a paused trial, in the saved experiment too: without its actor Tune takes no note of the change there."""
    tune_controller.stop_trial(trial)
    _inner(tune_controller)._mark_trial_to_checkpoint(trial)


def _inner(tune_controller: Any) -> Any:
    # schedulers mostly see a wrapper, which warns of what it doesn't know
    return getattr(tune_controller, "_tune_controller", tune_controller)


def algorithms(tune_controller: Any) -> Iterator[Any]:
    """The experiment's search algorithm, then what it wraps: limiters, the searcher itself."""
    algorithm = tune_controller.search_alg
    while algorithm is not None:
        yield algorithm
        algorithm = getattr(algorithm, "searcher", None)


class Limit:
    """The user's limit of concurrent trials.

    Tune's ConcurrencyLimiter and BasicVariantGenerator hold it in `max_concurrent` and count paused trials, which need
    no place. So the limit is raised by their number.

    Args:
        holder: what holds it.
        most: trials at once; None: what the holder has.
    """

    def __init__(self, holder: Any, most: int | None = None) -> None:
        self._holder = holder
        self.most: int = holder.max_concurrent if most is None else most

    def set_paused(self, count: int) -> None:
        """Says how many trials are paused."""
        self._holder.max_concurrent = self.most + count

    @classmethod
    def among(cls, candidates: Iterator[Any], most: int | None) -> Limit | None:
        """The limit that the first of the algorithms which has one holds."""
        holder = next((algorithm for algorithm in candidates if getattr(algorithm, "max_concurrent", None)), None)
        return None if holder is None else cls(holder, most)
