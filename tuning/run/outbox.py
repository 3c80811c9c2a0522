"""What a runner has not sent yet."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass, field

from toprung.tuning.records import Batch, CheckpointRef, Decision, Milestone, Result, RunEnvironment, Trial


@dataclass
class Outbox:
    """What has come since the last batch."""

    trials: dict[int, Trial] = field(default_factory=dict)
    """Those that changed, as they are now."""
    results: list[Result] = field(default_factory=list)
    decisions: list[Decision] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    milestones: list[Milestone] = field(default_factory=list)
    environments: list[RunEnvironment] = field(default_factory=list)
    dropped: list[int] = field(default_factory=list)
    """Numbers of finished trials whose checkpoint is no longer kept."""
    obsolete: list[CheckpointRef] = field(default_factory=list)
    """Checkpoints that nobody needs once the rest is stored."""
    torn: dict[int, list[CheckpointRef]] = field(default_factory=dict)
    """Trials that ended and may have left what was broken off while it was written, with what stays of them."""

    def give_up(self, *old: CheckpointRef | None, but: Container[CheckpointRef | None] = ()) -> None:
        """Notes checkpoints as obsolete."""
        self.obsolete.extend(dict.fromkeys(checkpoint for checkpoint in old if checkpoint and checkpoint not in but))

    def batch(self, sweep_id: str) -> Batch | None:
        """All of it; None where there is nothing."""
        # surroundings come with the trial that names them
        news = (self.trials, self.results, self.decisions, self.warnings, self.milestones, self.dropped)
        if not any(news):
            return None
        return Batch(
            sweep_id=sweep_id,
            trials=[self.trials[number] for number in sorted(self.trials)],
            results=self.results,
            decisions=self.decisions,
            dropped_checkpoints=self.dropped,
            warnings=self.warnings,
            milestones=self.milestones,
            environments=self.environments,
        )
