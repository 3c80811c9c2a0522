"""What the last runner had decided and had no time for, done by the next one."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest
from tests.unit.tuning.test_past import EPOCH, fresh

from toprung.tuning.past import Past, Reported, bring_back
from toprung.tuning.records import Action, CheckpointRef, Decision, Trial, TrialState
from toprung.tuning.run.checkpoints import Checkpoints, Removals
from toprung.tuning.run.comeback import Comeback
from toprung.tuning.run.ledger import Ledger
from toprung.tuning.run.verdict import Verdict
from toprung.tuning.spec import spec_from


class Taken:
    """A sweep that was taken up again after `trials` and `decisions`."""

    def __init__(
        self,
        folder: Path,
        trials: list[Trial],
        decisions: list[Decision] | None = None,
        mode: str = "stop",
        checkpoints: Checkpoints | None = None,
    ) -> None:
        spec = spec_from(
            {
                "trainable": "train:train",
                "metric": {"name": "loss", "goal": "minimize", "target": 0.01},
                "parameters": {"x": {"type": "float", "low": 0, "high": 1}},
                "scheduler": {"type": "asha", "max_t": 9, "grace_period": 1, "reduction_factor": 3, "mode": mode},
                "budget": {"trials": 100},
            }
        )
        reported = [Reported(t.number, t.step, t.value, EPOCH, 1.0) for t in trials]
        past = Past(trials=trials, reported=reported, decisions=decisions or [], elapsed_s=60)
        search, self.rule = fresh(spec)
        bring_back(past, search, self.rule)
        self.ledger = Ledger("s", spec)
        self.ledger.take_up(past.trials, past.elapsed_s)
        self.ended: dict[int, Verdict] = {}
        self.comeback = Comeback(past, self.ledger, checkpoints or Checkpoints(str(folder)))
        self.comeback.settle(self.rule, self.end)

    def end(self, number: int, verdict: Verdict) -> None:
        self.ended[number] = verdict
        self.ledger.ended(number, verdict[0], reason=verdict[1])

    @property
    def warning(self) -> str:
        taken = self.ledger.take()
        assert taken is not None
        return " ".join(taken[0].warnings)


def trial(number: int = 0, state: TrialState = TrialState.RUNNING, *, step: int = 1, **changes: Any) -> Trial:
    changes = {"value": 0.5, "best_step": 1, "attempt": 1, "params": {"x": 0.5}, **changes}
    return Trial(sweep_id="s", number=number, state=state, step=step, config={}, created_at=EPOCH, **changes)


def decision(action: Action, number: int = 0) -> Decision:
    return Decision(
        number=number,
        attempt=1,
        rung=1,
        bracket=0,
        action=action,
        value=0.5,
        cutoff=0.4,
        rank=2,
        seen=3,
        places=1,
        decided_at=EPOCH,
    )


def test_a_trial_that_ran_waits_for_its_next_attempt(tmp_path: Path) -> None:
    taken = Taken(tmp_path, [trial()])

    assert taken.ended == {}
    assert taken.ledger[0].state is TrialState.PENDING
    assert len(taken.comeback) == 1
    assert taken.comeback.next() == 0


@pytest.mark.parametrize(
    ("left", "decisions", "state", "reason"),
    [
        (trial(step=9), [], TrialState.COMPLETED, "reached max_t, 9 steps"),
        (trial(), [decision(Action.STOP)], TrialState.PRUNED, "stopped at rung 1"),
        (trial(value=0.001), [], TrialState.COMPLETED, "reached the target"),
    ],
)
def test_a_trial_whose_end_was_decided_ends(
    tmp_path: Path, left: Trial, decisions: list[Decision], state: TrialState, reason: str
) -> None:
    taken = Taken(tmp_path, [left], decisions)

    assert taken.ledger[0].state is state
    assert reason in (taken.ledger[0].reason or "")
    assert len(taken.comeback) == 0


def test_a_target_that_was_reached_ends_the_sweep(tmp_path: Path) -> None:
    over = trial(0, TrialState.COMPLETED, step=3, value=0.001, best_step=3)

    taken = Taken(tmp_path, [over, trial(1)])

    assert taken.ledger.stop_reason == "the target 0.01 was reached by trial 0 at step 3"


def test_a_decision_to_pause_is_kept_where_its_row_was_not(tmp_path: Path) -> None:
    taken = Taken(tmp_path, [trial()], [decision(Action.PAUSE)], mode="promote")

    assert taken.ledger[0].state is TrialState.PAUSED
    assert taken.ledger.num_live == 0


def test_a_promoted_trial_runs_where_its_row_still_says_paused(tmp_path: Path) -> None:
    decisions = [decision(Action.PAUSE), decision(Action.PROMOTE)]

    taken = Taken(tmp_path, [trial(state=TrialState.PAUSED)], decisions, mode="promote")

    assert taken.ledger[0].state is TrialState.PENDING
    assert taken.ledger.num_live == 1


def test_what_was_saved_and_the_store_does_not_name_is_removed(tmp_path: Path) -> None:
    folder = tmp_path / "s"  # of the sweep
    for name in ("000000/checkpoint_000000", "000000/checkpoint_000001", "000000-2/checkpoint_000000"):
        (folder / name).mkdir(parents=True)
    (folder / "000000" / "notes").mkdir()
    known = CheckpointRef(step=1, path=str(folder / "000000" / "checkpoint_000001"))

    Taken(tmp_path, [trial(checkpoint=known, resume_from=known)])

    assert left_in(folder) == ["000000/checkpoint_000001", "000000/notes"]


def test_a_trial_that_has_ended_keeps_its_best_checkpoint_alone(tmp_path: Path) -> None:
    """Its runner died after the news of its end, before the others were removed."""
    folder = tmp_path / "s"
    for name in ("000000/checkpoint_000000", "000000/checkpoint_000001", "000001/checkpoint_000000"):
        (folder / name).mkdir(parents=True)
    best = CheckpointRef(step=1, path=str(folder / "000000" / "checkpoint_000000"))
    ended: dict[str, Any] = {"state": TrialState.COMPLETED, "ended_at": EPOCH}

    Taken(tmp_path, [trial(0, checkpoint=best, **ended), trial(1, **ended)])

    assert left_in(folder) == ["000000/checkpoint_000000"]


def test_what_the_store_names_stays_until_it_knows_better(tmp_path: Path) -> None:
    """The trial's end is decided here; a runner that died now would leave the next one what the store has."""
    saved = [
        CheckpointRef(step=step, path=str(tmp_path / "s" / "000000" / f"checkpoint_{step:06d}")) for step in (1, 9)
    ]
    for checkpoint in saved:
        Path(checkpoint.path).mkdir(parents=True)

    taken = Taken(tmp_path, [trial(step=9, checkpoint=saved[0], resume_from=saved[1])])

    assert taken.ledger[0].state is TrialState.COMPLETED
    assert len(left_in(tmp_path / "s")) == 2


def left_in(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.glob("*/*"))


def test_after_a_pause_nothing_was_lost(tmp_path: Path) -> None:
    taken = Taken(tmp_path, [trial(state=TrialState.PENDING)])

    assert len(taken.comeback) == 1
    assert taken.ledger.take() is None, "no warning"


def test_a_checkpoint_that_cannot_be_removed_stays(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A file where a folder is expected stands for whatever a storage may refuse."""
    (tmp_path / "file").touch()

    Checkpoints(str(tmp_path)).remove(CheckpointRef(step=1, path=str(tmp_path / "file")))
    Checkpoints(str(tmp_path)).remove(CheckpointRef(step=1, path=str(tmp_path / "gone")))

    assert (tmp_path / "file").exists()
    assert len(caplog.records) == 1
    assert "can't be removed" in caplog.text


class Away(Checkpoints):
    """In a store that does not answer the first question of each kind."""

    def __init__(self, storage_path: str) -> None:
        super().__init__(storage_path)
        self._asked: set[str] = set()

    def tidy(self, sweep_id: str, known: Mapping[int, Iterable[CheckpointRef]]) -> None:
        self._ask("ListObjectsV2")
        super().tidy(sweep_id, known)

    def __contains__(self, checkpoint: CheckpointRef) -> bool:
        self._ask("HeadObject")
        return super().__contains__(checkpoint)

    def _ask(self, operation: str) -> None:
        if operation not in self._asked:
            self._asked.add(operation)
            raise OSError(f"AWS Error NETWORK_CONNECTION during {operation} operation: curlCode: 7")


def test_a_store_that_does_not_answer_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    naps: list[float] = []
    monkeypatch.setattr("time.sleep", naps.append)
    (tmp_path / "there").mkdir()
    saved = CheckpointRef(step=1, path=str(tmp_path / "there"))

    taken = Taken(tmp_path, [trial(checkpoint=saved, resume_from=saved)], checkpoints=Away(str(tmp_path)))

    assert len(naps) == 2
    warning = taken.warning
    assert "the storage does not answer, waiting for it: AWS Error NETWORK_CONNECTION during ListObjects" in warning
    assert "1 of 1 trials go on, 1 of them from a checkpoint" in warning


def test_what_a_single_trial_has_left_goes_without_a_look_at_others(tmp_path: Path) -> None:
    folder = tmp_path / "s"
    for name in ("000000/checkpoint_000000", "000000/checkpoint_000001", "000000-2/checkpoint_000000"):
        (folder / name).mkdir(parents=True)
    (folder / "000001" / "checkpoint_000000").mkdir(parents=True)
    best = CheckpointRef(step=1, path=str(folder / "000000" / "checkpoint_000001"))

    Checkpoints(str(tmp_path)).tidy_few("s", {0: [best]})

    assert left_in(folder) == ["000000/checkpoint_000001", "000001/checkpoint_000000"]


def test_what_cannot_be_looked_at_stays_and_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "s").touch()  # stands for a store that is away

    Checkpoints(str(tmp_path)).tidy_few("s", {3: []})

    assert "what trials 3 of" in caplog.text


def test_the_last_removals_are_not_waited_for_without_end(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    answers = threading.Event()

    class Hangs(Checkpoints):
        def remove(self, checkpoint: CheckpointRef) -> None:
            answers.wait()

    removals = Removals(Hangs(str(tmp_path)), "s", last_s=0.1)
    removals.begin([CheckpointRef(step=1, path=str(tmp_path / "old"))], {})
    removals.end()

    assert "1 removals of checkpoints took longer" in caplog.text
    answers.set()


def test_the_warning_counts_the_checkpoints_that_are_there(tmp_path: Path) -> None:
    saved = [CheckpointRef(step=1, path=str(tmp_path / name)) for name in ("there", "gone")]
    (tmp_path / "there").mkdir()

    taken = Taken(tmp_path, [trial(n, checkpoint=ref, resume_from=ref) for n, ref in enumerate(saved)])

    assert "2 of 2 trials go on, 1 of them from a checkpoint" in taken.warning


def test_a_trial_that_ended_while_it_waited_is_promoted_no_more(tmp_path: Path) -> None:
    """Its sweep was cancelled, or ended by its budget, and extended later: Tune does not have the trial any more."""
    trials = [trial(0, TrialState.CANCELLED), trial(1, TrialState.PAUSED), trial(2, TrialState.PAUSED)]
    taken = Taken(tmp_path, trials, [decision(Action.PAUSE, number) for number in range(3)], mode="promote")

    assert taken.rule.waiting() == [1, 2]
    assert taken.rule.next_up() != 0
