"""Early stopping: who goes on, in plain Python, without Ray."""

from toprung.tuning.schedule.asha import Asha, in_words
from toprung.tuning.schedule.median import Median
from toprung.tuning.schedule.scheduler import Scheduler
from toprung.tuning.spec import AshaScheduler, Goal, MedianScheduler, NoScheduler

__all__ = ["Asha", "Median", "Scheduler", "in_words", "scheduler_of"]


def scheduler_of(config: AshaScheduler | MedianScheduler | NoScheduler, goal: Goal, seed: int | None) -> Scheduler:
    """The scheduler of a spec. `seed` draws brackets; None is taken for 0."""
    match config:
        case AshaScheduler():
            return Asha(config, goal, seed)
        case MedianScheduler():
            return Median(config, goal)
        case NoScheduler():
            return Scheduler()
