"""What decides whether trials go on, as the runner knows it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from toprung.tuning.records import Decision


class Scheduler:
    """Stops nothing; rules of early stopping say otherwise where they do. Trials are known by their number.

    Attributes:
        mode: what happens to a trial that is not to go on: it is stopped, or it pauses and may be promoted later.
    """

    mode: Literal["promote", "stop"] = "stop"

    def bracket(self, number: int) -> int:
        """The bracket of a trial."""
        return 0

    def is_rung(self, bracket: int, step: int) -> bool:
        """Whether a trial of a bracket may pause at a step."""
        return False

    def decide(self, number: int, attempt: int, bracket: int, step: int, value: float) -> Decision | None:
        """What becomes of a trial that reported a finite `value` at `step`; None: it goes on, that needs no words."""
        return None

    def replay(self, decisions: Iterable[Decision]) -> None:
        """Takes up what was decided before, in the order of the decisions."""

    def observe(self, number: int, step: int, value: float) -> None:
        """Takes note of a result on which was decided before."""

    def in_words(self, decision: Decision) -> str:
        """A decision as a user reads it."""
        raise NotImplementedError

    def next_up(self) -> int | None:
        """The paused trial that a free worker would take up; None where none may go on."""
        return None

    def promote(self) -> Decision | None:
        """Promotes the trial that is next up."""
        return None

    def no_more_trials(self) -> None:
        """No new trial will come."""

    def waiting(self) -> list[int]:
        """The numbers of the paused trials."""
        return []

    def leave(self, number: int) -> None:
        """A paused trial that is over for another reason."""

    def dismiss(self) -> list[Decision]:
        """Stops all paused trials."""
        return []

    def give_up_pausing(self) -> None:
        """From now on trials are stopped instead of paused."""
