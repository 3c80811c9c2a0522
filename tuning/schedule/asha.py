"""Asynchronous Successive Halving (ASHA).

Li et al., "A System for Massively Parallel Hyperparameter Tuning", MLSys 2020. Trials are compared at rungs; of the n
that have been at a rung the best ⌊n/η⌋ go on. What becomes of the others is the mode:

promote  algorithm 2 of the paper: a trial pauses at a rung, and whenever a worker is free the best one that may go on
         does, from the highest rung down. A rung never promotes more than ⌊n/η⌋ of its n trials in all. The paper
         looks only at who is among the best ⌊n/η⌋ now, and over time promotes more: with a searcher that learns,
         nearly everybody, as each newcomer beats the history.
stop     Ray Tune's `ASHAScheduler`: decided at once and for good when the trial arrives. Unlike there, the trial's
         own value is part of the comparison, a rung decides once for a trial, ties are broken by who came first, and
         brackets are drawn from the sweep's seed.

Everything follows from the decisions, so that `replay` brings a scheduler back to where it was.
"""

from __future__ import annotations

import bisect
import heapq
import random
from collections.abc import Iterable
from dataclasses import dataclass, field

from toprung.tuning.plan import bracket_rungs
from toprung.tuning.records import Action, Decision, utc_now
from toprung.tuning.schedule.scheduler import Scheduler
from toprung.tuning.spec import AshaScheduler, Goal

_Entry = tuple[float, int, int]
"""Score (lower is better), place in the order of arrival, number: of equals the first is better."""


@dataclass
class _Rung:
    """The trials seen at one step of a bracket."""

    step: int
    bracket: int
    entries: dict[int, _Entry] = field(default_factory=dict)
    attempts: dict[int, int] = field(default_factory=dict)
    """The attempt in which a trial arrived."""
    ranked: list[_Entry] = field(default_factory=list)
    """Best first."""
    waiting: list[_Entry] = field(default_factory=list)
    """A heap of those that are paused here; one that left is dropped when it comes to the top."""
    gone: set[int] = field(default_factory=set)
    promoted: int = 0

    def arrive(self, number: int, attempt: int, score: float) -> None:
        entry = (score, len(self.entries), number)
        self.entries[number] = entry
        self.attempts[number] = attempt
        bisect.insort(self.ranked, entry)

    def rank(self, number: int) -> int:
        """From 1."""
        return bisect.bisect_left(self.ranked, self.entries[number]) + 1

    def best_waiting(self) -> int | None:
        while self.waiting and self.waiting[0][2] in self.gone:
            self.gone.discard(heapq.heappop(self.waiting)[2])
        return self.waiting[0][2] if self.waiting else None


class Asha(Scheduler):
    """Decides at each rung whether a trial goes on.

    Attributes:
        mode: "promote" or "stop"; `give_up_pausing` changes the one into the other.
    """

    def __init__(self, config: AshaScheduler, goal: Goal, seed: int | None) -> None:
        self.mode = config.mode
        self._config = config
        self._sign = 1.0 if goal == "minimize" else -1.0
        self._seed = 0 if seed is None else seed
        # the top rung compares nothing: who reaches it is finished
        self._rungs = {
            (b, step): _Rung(step, b) for b in range(config.brackets) for step in bracket_rungs(config, b)[:-1]
        }
        self._downward = sorted(self._rungs.values(), key=lambda rung: (-rung.step, rung.bracket))
        self._final = False

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

    def is_rung(self, bracket: int, step: int) -> bool:
        """Whether trials of a bracket are compared at a step."""
        return (bracket, step) in self._rungs

    def decide(self, number: int, attempt: int, bracket: int, step: int, value: float) -> Decision | None:
        """The decision on a finite `value` at `step`; None where `step` is no rung or was decided for this trial."""
        rung = self._rungs.get((bracket, step))
        if rung is None or number in rung.entries:
            return None
        rung.arrive(number, attempt, self._sign * value)
        if self.mode == "stop":
            action = Action.PROMOTE if rung.rank(number) <= self._places(rung) else Action.STOP
        else:
            heapq.heappush(rung.waiting, rung.entries[number])
            # its worker is free now; if the best that it could do is this trial, nothing pauses
            action = Action.PROMOTE if self._next() == (rung, number) else Action.PAUSE
        return self._decision(rung, number, action)

    def next_up(self) -> int | None:
        """The paused trial that a free worker would take up; None where none may go on."""
        found = self._next()
        return None if found is None else found[1]

    def promote(self) -> Decision | None:
        """Promotes the trial that is next up."""
        found = self._next()
        return None if found is None else self._decision(*found, Action.PROMOTE)

    def no_more_trials(self) -> None:
        """No new trial will come: from now on whoever is among the best goes on, at least the best of a rung.

        The cap held places for what might still come. Without this the best trial could end half-trained because an
        earlier one took its place, and a sweep of two trials with neither at the top.
        """
        self._final = True

    def waiting(self) -> list[int]:
        """The numbers of the paused trials."""
        return [n for rung in self._downward for _, _, n in rung.waiting if n not in rung.gone]

    def leave(self, number: int) -> None:
        """A paused trial that is over for another reason: it isn't promoted any more, its value stays."""
        for rung in self._downward:
            if rung.entries.get(number) in rung.waiting:
                rung.gone.add(number)

    def dismiss(self) -> list[Decision]:
        """Stops all paused trials: nothing will be promoted any more."""
        return [
            self._decision(rung, number, Action.STOP)
            for rung in self._downward
            for _, _, number in sorted(rung.waiting)
            if number not in rung.gone
        ]

    def give_up_pausing(self) -> None:
        """From now on trials are stopped instead of paused: they can't be resumed."""
        self.mode = "stop"

    def replay(self, decisions: Iterable[Decision]) -> None:
        """Takes up what was decided before, in the order of the decisions."""
        for decision in decisions:
            rung = self._rungs[decision.bracket, decision.rung]
            if decision.number not in rung.entries:
                rung.arrive(decision.number, decision.attempt, self._sign * decision.value)
                if decision.action is Action.STOP:
                    self.mode = "stop"  # nothing is stopped on arrival in the other one
                if self.mode == "promote":
                    heapq.heappush(rung.waiting, rung.entries[decision.number])
            self._settle(rung, decision.number, decision.action)

    def in_words(self, decision: Decision) -> str:
        """A decision as a user reads it."""
        return in_words(decision)

    def _places(self, rung: _Rung) -> int:
        # stop: at least the best so far goes on, or the first η - 1 trials would all be lost
        at_least = 1 if self._final or self.mode == "stop" else 0
        return max(at_least, len(rung.ranked) // self._config.reduction_factor)

    def _next(self) -> tuple[_Rung, int] | None:
        """Algorithm 2, `get_job`: the highest rung with a trial that may go on, and that trial."""
        for rung in self._downward:
            places = self._places(rung)
            if rung.promoted >= places and not self._final:
                continue
            number = rung.best_waiting()
            if number is not None and rung.rank(number) <= places:
                return rung, number
        return None

    def _settle(self, rung: _Rung, number: int, action: Action) -> None:
        if action is Action.PAUSE:
            return
        if action is Action.PROMOTE:
            rung.promoted += 1
        if rung.best_waiting() == number:
            heapq.heappop(rung.waiting)
        elif rung.entries[number] in rung.waiting:
            rung.gone.add(number)

    def _decision(self, rung: _Rung, number: int, action: Action) -> Decision:
        self._settle(rung, number, action)
        places = self._places(rung)
        cutoff = rung.ranked[places - 1][0] if places else rung.ranked[0][0]
        return Decision(
            number=number,
            attempt=rung.attempts[number],
            rung=rung.step,
            bracket=rung.bracket,
            action=action,
            value=self._sign * rung.entries[number][0],
            cutoff=self._sign * cutoff,
            rank=rung.rank(number),
            seen=len(rung.ranked),
            places=places,
            decided_at=utc_now(),
        )


_VERBS = {Action.PROMOTE: "went on", Action.PAUSE: "waits", Action.STOP: "stopped"}


def in_words(decision: Decision) -> str:
    """A decision of ASHA as a user reads it."""
    goes = "goes" if decision.places == 1 else "go"
    on = f"the best {decision.places} {goes} on" if decision.places else "too few yet for one to go on"
    return (
        f"{_VERBS[decision.action]} at rung {decision.rung}: {decision.value:.6g}, cutoff {decision.cutoff:.6g}, "
        f"rank {decision.rank} of {decision.seen}, {on}"
    )
