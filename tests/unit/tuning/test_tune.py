"""Toprung's searcher and scheduler as Ray Tune calls them, without Ray and without time."""

from __future__ import annotations

import copy
import math
import tempfile
from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ray import cloudpickle, tune
from ray.tune.search import ConcurrencyLimiter, Searcher

from toprung.errors import InvalidSpec
from toprung.tuning import ToprungScheduler, ToprungSearch

SPACE = {"x": tune.uniform(0, 1), "y": tune.choice([0, 1])}
RUNGS = (1, 3, 9)


# -- Tune's controller in miniature: it calls a searcher and a scheduler in Tune's order -----------------------------


@dataclass
class MiniTrial:
    """What a scheduler sees of a trial, and where it stands."""

    trial_id: str
    config: dict[str, Any]
    status: str = "PENDING"
    step: int = 0
    checkpoint: int = 0
    saving: bool = False

    def set_status(self, status: str) -> None:
        self.status = status

    def is_finished(self) -> bool:
        return self.status in ("TERMINATED", "ERROR")

    def has_checkpoint(self) -> bool:
        return self.checkpoint > 0

    def get_trainable_cls(self) -> None:
        """A function."""


@dataclass
class Algorithm:
    """Tune's `SearchGenerator`."""

    searcher: Any
    num_samples: int
    proposed: int = 0
    finished: bool = False

    def is_finished(self) -> bool:
        return self.finished or self.proposed >= self.num_samples

    def next_config(self, trial_id: str) -> dict[str, Any] | None:
        config: Any = None if self.is_finished() else self.searcher.suggest(trial_id)
        if config == Searcher.FINISHED:
            self.finished = True
            return None
        self.proposed += config is not None
        return config  # type: ignore[no-any-return]


@dataclass
class Setting:
    """An experiment as a user sets it up."""

    num_samples: int = 12
    limit: int | None = None
    mode: str = "promote"
    slots: int = 3
    slow_saves: bool = False
    """Whether a trial that is told to pause still saves for a while."""
    brackets: int = 1

    def make(self) -> Mini:
        searcher: Searcher = ToprungSearch(seed=0)
        if self.limit is not None:
            searcher = ConcurrencyLimiter(searcher, max_concurrent=self.limit)
        searcher.set_search_properties("loss", "min", dict(SPACE))
        scheduler = ToprungScheduler(max_t=9, reduction_factor=3, mode=self.mode, brackets=self.brackets)
        scheduler.set_search_properties("loss", "min")
        return Mini(self, Algorithm(searcher, self.num_samples), scheduler)


@dataclass
class Mini:
    """The controller. `log` has all that was proposed and decided."""

    setting: Setting
    search_alg: Algorithm
    scheduler: ToprungScheduler
    trials: list[MiniTrial] = field(default_factory=list)
    log: list[tuple[Any, ...]] = field(default_factory=list)

    def is_finished(self) -> bool:
        return self.search_alg.is_finished() and all(trial.is_finished() for trial in self.trials)

    def step(self, choice: int, loses: bool = False) -> None:
        """One turn of Tune's loop; `choice` says which of the running trials is heard of, or lost."""
        self._ask()
        chosen = self.scheduler.choose_trial_to_run(self)
        if chosen is not None:
            chosen.set_status("PENDING")
        queue = sorted((t for t in self.trials if t.status == "PENDING"), key=lambda t: t is not chosen)
        for trial in queue[: self.setting.slots - self.num("RUNNING")]:
            trial.set_status("RUNNING")
            trial.step = trial.checkpoint
        running = [trial for trial in self.trials if trial.status == "RUNNING"]
        if running:
            trial = running[choice % len(running)]
            (self._lose if loses else self._hear)(trial)

    def num(self, status: str) -> int:
        return sum(trial.status == status for trial in self.trials)

    def stop_trial(self, trial: MiniTrial) -> None:
        self.log.append(("stopped", trial.trial_id))
        self.scheduler.on_trial_remove(self, trial)
        self.search_alg.searcher.on_trial_complete(trial.trial_id)
        trial.set_status("TERMINATED")

    def _mark_trial_to_checkpoint(self, trial: MiniTrial) -> None:
        """Nothing: what is saved here is never stale."""

    def interrupted(self, folder: Path) -> Mini:
        """What a restored experiment is: new objects, and what Tune saves of the old ones."""
        saved = cloudpickle.dumps(self.scheduler)
        inner = getattr(self.search_alg.searcher, "searcher", self.search_alg.searcher)
        inner.save(str(folder / "searcher"))
        new = self.setting.make()
        new.log = list(self.log)
        new.search_alg.proposed, new.search_alg.finished = self.search_alg.proposed, self.search_alg.finished
        outer = new.search_alg.searcher
        if isinstance(outer, ConcurrencyLimiter):
            outer.set_state(self.search_alg.searcher.get_state())
        getattr(outer, "searcher", outer).restore(str(folder / "searcher"))
        vars(new)["_toprung_scheduler"] = cloudpickle.loads(saved)
        for old in self.trials:
            unfinished = {} if old.is_finished() else {"status": "PENDING", "saving": False}
            new.add(replace(copy.copy(old), **unfinished))  # type: ignore[arg-type]
        running = {old.trial_id for old in self.trials if old.status == "RUNNING"}
        for trial in new.trials:  # they run again before any other starts
            if trial.trial_id in running and trial.status == "PENDING":
                trial.set_status("RUNNING")
                trial.step = trial.checkpoint
        return new

    def add(self, trial: MiniTrial) -> None:
        self.trials.append(trial)
        self.scheduler.on_trial_add(self, trial)

    def _ask(self) -> None:
        if self.num("PENDING") or self.search_alg.is_finished():
            return
        trial_id = f"t{self.search_alg.proposed:03d}"
        config = self.search_alg.next_config(trial_id)
        if config is not None:
            self.log.append(("proposed", trial_id, config["x"]))
            self.add(MiniTrial(trial_id, config))

    def _hear(self, trial: MiniTrial) -> None:
        if trial.saving:
            trial.saving, trial.checkpoint = False, trial.step
            trial.set_status("PAUSED")
            return
        trial.step += 1
        result = {
            "training_iteration": trial.step,
            "loss": abs(trial.config["x"] - 0.3) + 1 / trial.step,
            "should_checkpoint": True,
        }
        decision = self.scheduler.on_trial_result(self, trial, result)
        self.log.append((decision, trial.trial_id, trial.step))
        searcher = self.search_alg.searcher
        if decision == "STOP":
            self.scheduler.on_trial_complete(self, trial, result)
            searcher.on_trial_complete(trial.trial_id, result)
            trial.set_status("TERMINATED")
            return
        searcher.on_trial_result(trial.trial_id, result)
        if decision == "PAUSE" and self.setting.slow_saves:
            trial.saving = True
            return
        trial.checkpoint = trial.step
        if decision == "PAUSE":
            trial.set_status("PAUSED")

    def _lose(self, trial: MiniTrial) -> None:
        """It is tried again from its last checkpoint."""
        self.log.append(("lost", trial.trial_id))
        trial.saving = False
        trial.set_status("ERROR")
        self.scheduler.on_trial_error(self, trial)
        trial.set_status("PENDING")
        self.scheduler.on_trial_add(self, trial)


EVENTS = st.lists(st.integers(0, 5), min_size=1, max_size=150)
"""Which of the running trials is heard of next."""
SETTINGS = st.builds(
    Setting,
    num_samples=st.integers(1, 14),
    limit=st.sampled_from([None, 1, 2]),
    mode=st.sampled_from(["promote", "stop"]),
    slots=st.integers(1, 4),
    brackets=st.integers(1, 2),
)


def finish(mini: Mini, events: list[int]) -> Mini:
    """Plays the events, then whatever is left, in order."""
    for turn in range(3_000):
        if mini.is_finished():
            return mini
        mini.step(events[turn] if turn < len(events) else 0)
    raise AssertionError(f"it hangs: {Counter(trial.status for trial in mini.trials)}")


@given(setting=SETTINGS, events=EVENTS, cut=st.integers(0, 150))
def test_restored_at_any_moment_it_goes_on_as_if_unbroken(setting: Setting, events: list[int], cut: int) -> None:
    unbroken, broken = setting.make(), setting.make()
    for event in events[:cut]:
        if not broken.is_finished():
            broken.step(event)
    with tempfile.TemporaryDirectory() as folder:
        restored = broken.interrupted(Path(folder))

    assert finish(restored, events[cut:]).log == finish(unbroken, events).log


@given(setting=SETTINGS, events=st.lists(st.tuples(st.integers(0, 5), st.booleans()), max_size=60))
def test_it_ends_whatever_gets_lost_and_never_exceeds_its_limits(
    setting: Setting, events: list[tuple[int, bool]]
) -> None:
    mini = replace(setting, slow_saves=True).make()
    for choice, loses in events:
        if not mini.is_finished():
            mini.step(choice, loses)
            if setting.limit is not None:
                assert mini.num("RUNNING") + mini.num("PENDING") <= setting.limit
    finish(mini, [])

    assert len(mini.trials) == setting.num_samples
    assert {trial.status for trial in mini.trials} == {"TERMINATED"}
    assert {trial.step for trial in mini.trials} <= set(RUNGS), "who stops, stops at a rung"
    assert any(trial.step == 9 for trial in mini.trials)


@given(events=EVENTS)
def test_a_rung_never_promotes_more_than_its_share_while_trials_come(events: list[int]) -> None:
    mini = Setting(num_samples=1_000).make()
    for event in events:
        mini.step(event)

    for rung, above in ((1, 2), (3, 4)):
        arrived = {trial.trial_id for trial in mini.trials if trial.step >= rung}
        passed = {trial.trial_id for trial in mini.trials if trial.step >= above}
        assert len(passed) <= len(arrived) // 3


def test_a_paused_trial_that_may_go_on_comes_before_a_new_one() -> None:
    mini = Setting(num_samples=50, slots=1).make()
    for _ in range(60):
        mini.step(0)
        if mini.scheduler.has_promotable:
            assert mini.num("PENDING") <= 1, "the promoted one itself, or one that was proposed before"

    promoted = [entry for entry in mini.log if entry[0] in ("PAUSE", "CONTINUE") and entry[2] > 1]
    assert promoted


def test_a_trial_lost_while_it_pauses_pauses_again_when_it_comes_back_to_the_rung() -> None:
    mini = Setting(slots=1, slow_saves=True).make()
    mini.step(0)
    assert mini.log[-1] == ("PAUSE", "t000", 1)
    mini.step(0, loses=True)

    mini.step(0)

    assert mini.log[-1] == ("PAUSE", "t000", 1)
    mini.step(0)
    assert mini.trials[0].status == "PAUSED"


def test_when_a_searcher_waits_for_trials_to_end_the_paused_ones_do(caplog: pytest.LogCaptureFixture) -> None:
    class InTurns(Searcher):  # type: ignore[misc]
        """Proposes two, then waits until both are over."""

        live: set[str] = set()  # noqa: RUF012

        def suggest(self, trial_id: str) -> Any:
            if len(self.live) == 2:
                return None
            self.live.add(trial_id)
            return {"x": 0.5}

        def on_trial_complete(self, trial_id: str, result: Any = None, error: bool = False) -> None:
            self.live.discard(trial_id)

    mini = Setting(num_samples=6).make()
    mini.search_alg.searcher = InTurns()

    finish(mini, [])

    assert len(mini.trials) == 6
    assert "the searcher proposes no more before they are over" in caplog.text


# -- the searcher alone ----------------------------------------------------------------------------------------------


def searcher(**arguments: Any) -> ToprungSearch:
    made = ToprungSearch(**{"seed": 0, **arguments})
    made.set_search_properties("loss", "min", dict(SPACE))
    return made


def at(step: int, loss: float) -> dict[str, Any]:
    return {"training_iteration": step, "loss": loss}


def finish_trials(search: ToprungSearch, first: int, count: int) -> list[Any]:
    """Sequential trials, of which every other one is stopped at the lowest rung. Returns what was proposed."""
    proposed = []
    for number in range(first, first + count):
        config = search.suggest(f"t{number}")
        if config == Searcher.FINISHED:
            break
        proposed.append(config)
        value = abs(config["x"] - 0.3)
        if number % 2:
            search.on_trial_complete(f"t{number}", at(1, value + 1))
        else:
            for step in (1, 2, 3):
                search.on_trial_result(f"t{number}", at(step, value + 1 / step))
            search.on_trial_complete(f"t{number}", at(9, value))
    return proposed


@pytest.mark.parametrize("algorithm", ["random", "qmc", "gp", "cmaes"])
def test_a_saved_searcher_goes_on_with_the_same_proposals(tmp_path: Path, algorithm: str) -> None:
    unbroken, saved = searcher(algorithm=algorithm, rungs=RUNGS), searcher(algorithm=algorithm, rungs=RUNGS)
    finish_trials(saved, 0, 11)
    saved.save(str(tmp_path / "state"))
    restored = ToprungSearch()

    restored.restore(str(tmp_path / "state"))

    assert finish_trials(restored, 11, 1) == finish_trials(unbroken, 0, 12)[11:]


CALLS = st.lists(
    st.tuples(st.sampled_from(["suggest", "result", "complete", "error"]), st.integers(0, 30), st.floats(0, 1)),
    max_size=80,
)
"""What Tune may tell a searcher: of which trial, with which value."""


def play(search: ToprungSearch, calls: list[tuple[str, int, float]], first: int) -> list[Any]:
    """Returns the proposals. A trial's number and the count of calls make up the step."""
    proposed = []
    for turn, (call, number, value) in enumerate(calls, start=first):
        if call == "suggest":
            proposed.append(search.suggest(f"t{turn}"))
        elif call == "result":
            search.on_trial_result(f"t{number}", at(1 + turn % 9, value))
        else:
            search.on_trial_complete(f"t{number}", at(1 + turn % 9, value), error=call == "error")
    return proposed


@given(calls=CALLS, cut=st.integers(0, 80))
def test_a_searcher_saved_at_any_moment_goes_on_with_the_same_proposals(
    calls: list[tuple[str, int, float]], cut: int
) -> None:
    calls = [("suggest", 0, 0.0)] * 15 + calls
    unbroken, saved, restored = searcher(rungs=RUNGS), searcher(rungs=RUNGS), ToprungSearch()
    before = play(saved, calls[:cut], 0)
    with tempfile.TemporaryDirectory() as folder:
        saved.save(f"{folder}/state")
        restored.restore(f"{folder}/state")

    assert before + play(restored, calls[cut:], len(calls[:cut])) == play(unbroken, calls, 0)


def test_scores_of_different_rungs_are_never_mixed() -> None:
    """Near 1 trials look best at the low rung, where half of them are stopped; at the top 0 is best."""
    search = searcher(rungs=RUNGS)
    late = []
    for number in range(80):
        x = search.suggest(f"t{number}")["x"]
        late += [x] if number >= 50 else []
        search.on_trial_result(f"t{number}", at(1, -x))
        if number % 2:
            search.on_trial_complete(f"t{number}", at(3, -10 - x))  # the lowest values of all
        else:
            search.on_trial_result(f"t{number}", at(3, -10 - x))
            search.on_trial_complete(f"t{number}", at(9, x))

    assert sum(late) / len(late) < 0.35


def test_without_rungs_only_trials_that_are_over_are_compared() -> None:
    search = searcher()
    for number in range(60):
        x = search.suggest(f"t{number}")["x"]
        search.on_trial_result(f"t{number}", at(1, 5 + x))
        search.on_trial_complete(f"t{number}", at(2, x))

    late = [search.suggest(f"s{number}")["x"] for number in range(20)]
    assert sum(late) / len(late) < 0.3


@pytest.mark.parametrize("ending", ["error", "nan", "nothing"])
def test_failures_are_avoided(ending: str) -> None:
    search = searcher(rungs=RUNGS)
    for number in range(60):
        x = search.suggest(f"t{number}")["x"]
        if x < 0.5:
            search.on_trial_result(f"t{number}", at(1, 0.5))
            search.on_trial_complete(f"t{number}", at(9, 0.5))
        elif ending == "error":
            search.on_trial_complete(f"t{number}", error=True)
        else:
            search.on_trial_complete(f"t{number}", at(1, math.nan) if ending == "nan" else {"done": True})

    late = [search.suggest(f"s{number}")["x"] for number in range(20)]
    assert sum(x < 0.5 for x in late) >= 15


def test_a_finite_space_ends_the_experiment() -> None:
    search = ToprungSearch(seed=0, algorithm="grid")
    search.set_search_properties("loss", "max", {"a": tune.choice(["x", "y"]), "b": tune.randint(1, 4)})

    proposed = [search.suggest(str(number)) for number in range(7)]

    assert proposed[6] == Searcher.FINISHED
    assert [(p["a"], p["b"]) for p in proposed[:6]] == [(a, b) for a in "xy" for b in (1, 2, 3)]


def test_points_come_first_and_are_learnt_from() -> None:
    points = [{"x": 0.25, "y": 1}, {"x": 0.75, "y": 0}]
    search = searcher(points_to_evaluate=points)

    assert [search.suggest(str(number)) for number in range(2)] == points
    assert search.suggest("2") not in points


def test_what_is_not_known_is_ignored() -> None:
    search = searcher()
    search.on_trial_result("somebody else's", at(1, 0.0))
    search.on_trial_complete("somebody else's", at(1, 0.0))


def test_an_objective_that_is_no_number_is_named() -> None:
    search = searcher()
    search.suggest("t")
    with pytest.raises(ValueError, match=r"'loss' is a list, not a number: \[1, 2\]"):
        search.on_trial_result("t", {"training_iteration": 1, "loss": [1, 2]})


# -- the scheduler alone ---------------------------------------------------------------------------------------------


def scheduled(mini: Mini, number: int, result: dict[str, Any]) -> str:
    return mini.scheduler.on_trial_result(mini, mini.trials[number], {"should_checkpoint": True, **result})


def with_trials(count: int, **arguments: Any) -> Mini:
    mini = Setting(num_samples=count).make()
    mini.scheduler = ToprungScheduler(**{"max_t": 9, **arguments})
    mini.scheduler.set_search_properties("loss", "max")
    for number in range(count):
        mini.add(MiniTrial(f"t{number}", {"x": 0.0}, status="RUNNING"))
    return mini


def test_where_reports_skip_a_rung_the_first_after_it_counts() -> None:
    mini = with_trials(2, time_attr="epoch")

    assert scheduled(mini, 0, {"epoch": 5, "loss": 0.9}) == "CONTINUE"
    assert scheduled(mini, 1, {"epoch": 2, "loss": 0.1}) == "CONTINUE", "nobody else was at rung 1"
    assert scheduled(mini, 1, {"epoch": 3, "loss": 0.1}) == "STOP"
    assert scheduled(mini, 0, {"epoch": 10.5, "loss": 0.0}) == "STOP", "max_t"


def test_a_result_without_the_step_or_the_metric_decides_nothing() -> None:
    mini = with_trials(1)
    assert scheduled(mini, 0, {"training_iteration": 1}) == "CONTINUE"
    assert scheduled(mini, 0, {"loss": 1.0}) == "CONTINUE"


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_stops_a_trial_at_a_rung_only(value: float, caplog: pytest.LogCaptureFixture) -> None:
    mini = with_trials(1, grace_period=3)
    assert scheduled(mini, 0, at(1, value)) == "CONTINUE"
    assert scheduled(mini, 0, at(3, value)) == "STOP"
    assert f"loss was {value}" in caplog.text


def test_without_checkpoints_promote_turns_into_stop(caplog: pytest.LogCaptureFixture) -> None:
    mini = with_trials(3, mode="promote")
    decisions = [
        mini.scheduler.on_trial_result(mini, mini.trials[n], at(1, loss)) for n, loss in enumerate([0.5, 0.9, 0.1])
    ]

    assert decisions == ["CONTINUE", "CONTINUE", "STOP"]
    assert caplog.text.count("had reported no checkpoint by rung 1") == 1


def test_the_scheduler_saves_to_a_file(tmp_path: Path) -> None:
    mini = with_trials(3, mode="promote")
    assert [scheduled(mini, n, at(1, 0.1 * n)) for n in range(2)] == ["PAUSE", "PAUSE"]
    mini.scheduler.save(str(tmp_path / "state"))
    other = with_trials(3, mode="promote")

    other.scheduler.restore(str(tmp_path / "state"))
    for trial in other.trials:
        trial.set_status("PENDING")
        other.scheduler.on_trial_add(other, trial)

    assert [trial.status for trial in other.trials] == ["PAUSED", "PAUSED", "PENDING"]
    assert scheduled(other, 2, at(1, 0.05)) == scheduled(mini, 2, at(1, 0.05)) == "PAUSE"
    assert "2 paused" in mini.scheduler.debug_string() or "3 paused" in mini.scheduler.debug_string()


# -- what users get wrong --------------------------------------------------------------------------------------------


def test_all_that_is_wrong_with_a_scheduler_is_said_at_once() -> None:
    with pytest.raises(InvalidSpec) as caught:
        ToprungScheduler(max_t=0, reduction_factor=1, brackets=0, mode="pause")
    text = str(caught.value)
    for part in ("max_t: must be at least 1, not 0", "reduction_factor: must be", "brackets: must be", "mode: 'pause'"):
        assert part in text


@pytest.mark.parametrize("mode", ["min", "max"])
def test_min_and_max_belong_to_tune_config(mode: str) -> None:
    with pytest.raises(InvalidSpec, match=f"TuneConfig\\(metric=…, mode='{mode}'\\)"):
        ToprungScheduler(max_t=9, mode=mode)


def test_a_scheduler_needs_a_metric_and_is_used_once() -> None:
    scheduler = ToprungScheduler(max_t=9)
    with pytest.raises(ValueError, match=r"give both to TuneConfig"):
        scheduler.set_search_properties(None, None)
    scheduler.set_search_properties("loss", "min")
    with pytest.raises(ValueError, match="make a new one for each Tuner"):
        scheduler.set_search_properties("loss", "min")


def test_a_search_needs_a_metric_and_a_space() -> None:
    with pytest.raises(ValueError, match="has no space"):
        ToprungSearch(metric="loss", mode="min").suggest("t")
    with pytest.raises(ValueError, match="needs one metric and a mode, min or max; it has None and None"):
        ToprungSearch(SPACE).suggest("t")


def test_a_search_says_what_is_wrong() -> None:
    with pytest.raises(InvalidSpec, match=r"algorithm: 'tbe' is not one of .*\(did you mean tpe\?\)"):
        ToprungSearch(algorithm="tbe")
    with pytest.raises(InvalidSpec, match="space/x: a grid needs finitely many values"):
        ToprungSearch(SPACE, algorithm="grid")
    with pytest.raises(InvalidSpec, match="constraints: relations need the space in Toprung's form"):
        ToprungSearch(constraints=["x < y"])
    with pytest.raises(InvalidSpec) as caught:
        ToprungSearch(SPACE, points_to_evaluate=[{"x": 2, "y": 0}, {"x": 0.5}, {"x": 0.5, "y": 1}])
    assert str(caught.value).splitlines()[1:] == [
        "  points_to_evaluate/0: x can't be 2",
        "  points_to_evaluate/1: y is missing",
    ]
