"""Early stopping: Asynchronous Successive Halving (ASHA) in plain Python, without Ray.

Li et al., "A System for Massively Parallel Hyperparameter Tuning", MLSys 2020, in the variant that stops instead of
pausing (as Ray Tune's `ASHAScheduler`): a trial that arrives at a rung goes on if it is among the best 1/η of all that
have been there, itself included, and is stopped otherwise.

Unlike Ray Tune's: the trial's own value is part of the comparison, a rung decides once for a trial, ties are broken by
who came first, brackets are drawn from the sweep's seed, and each decision carries its grounds.
"""

from __future__ import annotations

import bisect
import random
from dataclasses import dataclass, field

from toprung.tuning.plan import bracket_rungs
from toprung.tuning.records import Action, Decision, utc_now
from toprung.tuning.spec import AshaScheduler, Goal


@dataclass
class _Rung:
    """The values seen at one step, best first, in the sense of "lower is better"."""

    scores: list[float] = field(default_factory=list)
    seen: set[int] = field(default_factory=set)


class Asha:
    """Decides at each rung whether a trial goes on. Trials are known by their number."""

    def __init__(self, config: AshaScheduler, goal: Goal, seed: int | None) -> None:
        self._config = config
        self._sign = 1.0 if goal == "minimize" else -1.0
        self._seed = 0 if seed is None else seed
        # the top rung compares nothing: who reaches it is finished
        self._steps = {b: frozenset(bracket_rungs(config, b)[:-1]) for b in range(config.brackets)}
        self._rungs: dict[tuple[int, int], _Rung] = {}

    def bracket(self, number: int) -> int:
        """The bracket of a trial, drawn with the sizes of Hyperband's brackets as weights.

        Li et al., "Hyperband", JMLR 2018, algorithm 1.
        """
        count = self._config.brackets
        if count == 1:
            return 0
        eta = self._config.reduction_factor
        # bracket b starts η^b times later, so that η^-b times as many trials cost the same
        weights = [(count / (count - b)) * eta ** (count - 1 - b) for b in range(count)]
        return random.Random(f"{self._seed}:{number}").choices(range(count), weights)[0]

    def decide(self, number: int, attempt: int, bracket: int, step: int, value: float) -> Decision | None:
        """The decision on a finite `value` at `step`; None where `step` is no rung or was decided for this trial."""
        if step not in self._steps[bracket]:
            return None
        rung = self._rungs.setdefault((bracket, step), _Rung())
        if number in rung.seen:
            return None
        score = self._sign * value
        position = bisect.bisect_right(rung.scores, score)
        rung.scores.insert(position, score)
        rung.seen.add(number)
        seen = len(rung.scores)
        # at least one place: the best so far always goes on, or the first η - 1 trials would all be lost
        places = max(1, seen // self._config.reduction_factor)
        return Decision(
            number=number,
            attempt=attempt,
            rung=step,
            bracket=bracket,
            action=Action.PROMOTE if position < places else Action.STOP,
            value=value,
            cutoff=self._sign * rung.scores[places - 1],
            rank=position + 1,
            seen=seen,
            places=places,
            decided_at=utc_now(),
        )


def in_words(decision: Decision) -> str:
    """A decision as a user reads it."""
    verb = "stopped" if decision.action is Action.STOP else "went on"
    return (
        f"{verb} at rung {decision.rung}: {decision.value:.6g}, cutoff {decision.cutoff:.6g}, "
        f"rank {decision.rank} of {decision.seen}, the best {decision.places} "
        f"{'goes' if decision.places == 1 else 'go'} on"
    )
