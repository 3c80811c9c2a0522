"""What goes from the disk and what stays, on homes with sweeps in all states and files of all kinds."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from toprung.serve.home import Home
from toprung.serve.retention.collection import clean_up
from toprung.serve.retention.deletion import Remover
from toprung.serve.retention.files import files_of
from toprung.serve.store import Store
from toprung.serve.store.ids import new_sweep_id
from toprung.serve.tracking.sink import folder_name
from toprung.tuning.garbage import CleanUp, FileKind
from toprung.tuning.records import Batch, CheckpointRef, Sweep, SweepState, Trial, TrialState, utc_now
from toprung.tuning.spec import spec_from

HOUR, DAY = 3600.0, 24 * 3600.0
ENDED = {SweepState.SUCCEEDED, SweepState.FAILED, SweepState.CANCELLED}
SHA = ["a" * 64, "b" * 64, "c" * 64]


def put(path: Path, age_s: float = 0.0, text: str = "some") -> Path:
    """A file, last written so long ago."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    made_old(path, age_s)
    return path


def made_old(path: Path, age_s: float) -> None:
    for each in (path, *path.rglob("*")):
        os.utime(each, (time.time() - age_s,) * 2)


def tree(home: Home) -> dict[str, str]:
    """Every file of sweeps, with its text."""
    rooms = ("runs", "logs", "tensorboard", "wandb", "packages")
    files = (path for room in rooms for path in (home.path / room).rglob("*") if path.is_file())
    return {path.relative_to(home.path).as_posix(): path.read_text() for path in files}


@cache
def empty_database() -> bytes:
    """Made once: migrations take longer than a test."""
    with tempfile.TemporaryDirectory() as folder:
        Store(f"sqlite:///{folder}/toprung.db").close()
        return Path(folder, "toprung.db").read_bytes()


@contextmanager
def opened(folder: Path) -> Iterator[tuple[Store, Home]]:
    home = Home.at(folder)
    (folder / "toprung.db").write_bytes(empty_database())
    store = Store(f"sqlite:///{folder}/toprung.db")
    try:
        yield store, home
    finally:
        store.close()


@pytest.fixture
def place(tmp_path: Path) -> Iterator[tuple[Store, Home]]:
    with opened(tmp_path / "home") as made:
        yield made


@dataclass(frozen=True)
class Plan:
    """A sweep to make."""

    state: SweepState
    num_trials: int
    named: frozenset[int]
    """Trials whose row names a checkpoint."""
    lost: frozenset[int]
    """Trials with a checkpoint that no row names."""
    package: str | None


@dataclass
class Made:
    """Its sweep, and the files of its trials."""

    sweep: Sweep
    best: list[Path] = field(default_factory=list)
    """Of checkpoints that rows name for good."""
    last: list[Path] = field(default_factory=list)
    """Of checkpoints that rows name until their sweep ends."""
    lost: list[Path] = field(default_factory=list)
    logs: list[Path] = field(default_factory=list)


def make_sweep(store: Store, home: Home, plan: Plan) -> Made:
    spec = spec_from(
        {
            "name": "digits",
            "trainable": "train:train",
            "code": plan.package and f"sha256:{plan.package}",
            "metric": {"name": "loss", "goal": "minimize"},
            "parameters": {"x": {"type": "float", "low": 0.0, "high": 1.0}},
            "budget": {"trials": 9},
        }
    )
    sweep, _ = store.create_sweep(spec, name=None, num_trials=9)
    made = Made(sweep)
    if plan.package is not None:
        put(home.package(plan.package))
    if plan.state is SweepState.QUEUED:
        return made
    store.set_sweep_state(sweep.id, SweepState.RUNNING)
    for number in range(plan.num_trials):
        make_trial(store, home, made, number, plan)
    put(home.tensorboard / folder_name(sweep) / "00000" / "events.out")
    put(home.wandb_runs / f"offline-run-20260501_123000-{sweep.id}-0" / "run.wandb")
    if plan.state is not SweepState.RUNNING:
        made.sweep = store.set_sweep_state(sweep.id, plan.state)
    return made


def make_trial(store: Store, home: Home, made: Made, number: int, plan: Plan) -> None:
    sweep, folder = made.sweep, home.runs / made.sweep.id / f"{number:06d}"
    best, last, lost = (folder / f"checkpoint_{step:06d}" for step in range(3))
    named = number in plan.named
    if named:
        made.best.append(put(best / "model.pt"))
        made.last.append(put(last / "model.pt"))
    if number in plan.lost:
        made.lost.append(put(lost / "model.pt"))
    made.logs.append(put(home.log(sweep.id, number, 1)))
    trial = Trial(
        sweep_id=sweep.id,
        number=number,
        state=TrialState.RUNNING,
        params={"x": 0.5},
        config={"x": 0.5},
        attempt=1,
        step=2,
        checkpoint=CheckpointRef(step=1, path=str(best)) if named else None,
        resume_from=CheckpointRef(step=2, path=str(last)) if named else None,
        created_at=utc_now(),
    )
    store.write(Batch(sweep_id=sweep.id, trials=[trial]))


plans = st.builds(
    Plan,
    state=st.sampled_from(SweepState),
    num_trials=st.integers(0, 3),
    named=st.frozensets(st.integers(0, 2)),
    lost=st.frozensets(st.integers(0, 2)),
    package=st.sampled_from([None, *SHA]),
)


def unknown_files(home: Home, sweep_id: str, age_s: float) -> list[Path]:
    folders = [
        home.runs / sweep_id,
        home.logs / sweep_id,
        home.tensorboard / f"digits-{sweep_id[-6:]}",
        home.wandb_runs / f"run-20260501_123000-{sweep_id}-12",
        home.wandb_runs / f"offline-run-20260501_123000-{sweep_id}",
    ]
    files = [put(folder / "some" / "file") for folder in folders]
    for folder in folders:
        made_old(folder, age_s)
    return files


def users_own(home: Home) -> list[Path]:
    """What lies in the home without being of a sweep."""
    names = ("runs/notes/a.txt", "logs/a.txt", "tensorboard/other/events", "wandb/wandb/run-mine/x", "packages/a.txt")
    return [put(home.path / name, 1000 * DAY) for name in names]


@settings(max_examples=30, deadline=None)
@given(st.lists(plans, max_size=4), st.sampled_from([0.0, 0.9 * HOUR, 1.1 * HOUR]), st.sampled_from([None, 0.0, DAY]))
def test_what_somebody_may_need_stays(made_of: list[Plan], unknown_age_s: float, older_than_s: float | None) -> None:
    with tempfile.TemporaryDirectory() as folder, opened(Path(folder) / "home") as (store, home):
        sweeps = [make_sweep(store, home, plan) for plan in made_of]
        unknown = unknown_files(home, new_sweep_id(None), unknown_age_s)
        strangers = users_own(home)
        used = {plan.package for plan in made_of}
        for sha in SHA:
            put(home.package(sha), 2 * DAY, sha)
        later = time.time() + 60  # so that sweeps have ended more than 0 s ago

        before = tree(home)
        said = clean_up(store, home, dry_run=True, older_than_s=older_than_s, now=later)
        assert tree(home) == before
        done = clean_up(store, home, dry_run=False, older_than_s=older_than_s, now=later)
        left = tree(home)
        again = clean_up(store, home, dry_run=False, older_than_s=older_than_s, now=later)

        assert done == said.model_copy(update={"dry_run": False})
        assert sum(files.size_bytes for files in done.items) == sum(map(len, before.values())) - sum(
            map(len, left.values())
        )
        assert again.items == []
        removed = unknown if unknown_age_s > HOUR and sweeps else []
        removed += [home.package(sha) for sha in SHA if sha not in used]
        for made in sweeps:
            if made.sweep.state in ENDED:
                removed += [*made.lost, *made.last, *(made.best + made.logs if older_than_s == 0.0 else [])]
        gone = {path.relative_to(home.path).as_posix() for path in removed}
        assert left == {name: text for name, text in before.items() if name not in gone}
        assert all(path.exists() for path in strangers)
        for made in sweeps:
            for reference in store.retention.named_checkpoints(made.sweep.id):
                assert Path(reference.path, "model.pt").exists(), "what the store names is there"


def found(done: CleanUp) -> dict[FileKind, list[str]]:
    return {files.kind: files.paths for files in done.items}


def test_a_package_that_was_asked_for_today_is_about_to_be_used(place: tuple[Store, Home]) -> None:
    store, home = place
    put(home.package(SHA[0]), DAY - 60)
    put(home.package(SHA[1]), DAY + 60)

    done = clean_up(store, home, dry_run=False)

    assert found(done) == {FileKind.UNUSED_PACKAGES: [f"packages/{SHA[1]}.zip"]}
    assert [path.stem for path in home.packages.glob("*.zip")] == [SHA[0]]


def test_an_empty_store_does_not_empty_the_home(place: tuple[Store, Home]) -> None:
    """It may be another store than the one that the files belong to."""
    store, home = place
    unknown = unknown_files(home, new_sweep_id(None), 2 * DAY)

    done = clean_up(store, home, dry_run=False)

    assert all(path.exists() for path in unknown)
    assert (done.items, len(done.problems)) == ([], 1)
    assert "TOPRUNG_STORE" in done.problems[0]


def test_what_cannot_be_removed_is_told(place: tuple[Store, Home], monkeypatch: pytest.MonkeyPatch) -> None:
    store, home = place
    for sha in SHA[:2]:
        put(home.package(sha), 2 * DAY)
    unlink = Path.unlink

    def refused(path: Path, missing_ok: bool = False) -> None:
        if path.stem == SHA[0]:
            raise PermissionError(13, "Permission denied")
        unlink(path, missing_ok)

    monkeypatch.setattr(Path, "unlink", refused)

    done = clean_up(store, home, dry_run=False)

    assert done.problems == [f"packages/{SHA[0]}.zip stays: Permission denied"]
    assert found(done) == {FileKind.UNUSED_PACKAGES: [f"packages/{SHA[1]}.zip"]}


def test_by_age_of_the_end(place: tuple[Store, Home]) -> None:
    store, home = place
    plan = Plan(SweepState.SUCCEEDED, 1, frozenset({0}), frozenset(), None)
    made = make_sweep(store, home, plan)
    assert made.sweep.ended_at is not None
    at = (made.sweep.ended_at + timedelta(days=30)).timestamp()

    young = clean_up(store, home, dry_run=True, older_than_s=30 * DAY, now=at - 1)
    old = clean_up(store, home, dry_run=False, older_than_s=30 * DAY, now=at + 1)

    assert FileKind.OLD_CHECKPOINTS not in found(young)
    assert found(old) == {
        FileKind.OLD_CHECKPOINTS: [f"runs/{made.sweep.id}"],
        FileKind.OLD_LOGS: [f"logs/{made.sweep.id}"],
    }
    assert store.get_trial(made.sweep.id, 0).checkpoint is None
    assert store.get_sweep(made.sweep.id) == made.sweep


FULL = Plan(SweepState.CANCELLED, 2, frozenset({0, 1}), frozenset({1}), SHA[0])


def deleted_beside_another(store: Store, home: Home) -> tuple[Sweep, dict[str, str]]:
    """A deleted sweep, and what must be left when it is gone."""
    other = make_sweep(store, home, Plan(SweepState.RUNNING, 2, frozenset({0}), frozenset({1}), SHA[1]))
    expected = tree(home)
    gone = make_sweep(store, home, FULL)
    made_old(home.packages, 2 * HOUR)
    store.delete_sweep(gone.sweep.id)
    assert other.best
    return gone.sweep, expected


def test_a_deleted_sweep_goes_with_all_it_has(place: tuple[Store, Home]) -> None:
    store, home = place
    sweep, expected = deleted_beside_another(store, home)
    assert set(files_of(home, sweep)) == {
        FileKind.CHECKPOINTS,
        FileKind.LOGS,
        FileKind.TENSORBOARD,
        FileKind.WANDB,
    }

    Remover(store, home).step()

    assert tree(home) == expected
    assert files_of(home, sweep) == {}
    assert store.retention.deleted_sweeps() == []
    assert clean_up(store, home, dry_run=True).items == []


class Killed(BaseException):
    """As `kill -9`: nothing catches it."""


@pytest.mark.parametrize("after", range(12))
def test_a_deletion_that_was_cut_short_goes_on(
    place: tuple[Store, Home], monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    """Killed at the first, second … thing it removes; nothing of the sweep is to be seen meanwhile."""
    store, home = place
    sweep, expected = deleted_beside_another(store, home)
    calls = 0

    def dying(work: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **options: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls > after:
                raise Killed
            return work(*args, **options)

        return call

    with monkeypatch.context() as patched:
        for owner, name in ((os, "rmdir"), (os, "unlink"), (store.retention, "remove_rows")):
            patched.setattr(owner, name, dying(getattr(owner, name)))
        with pytest.raises(Killed):
            Remover(store, home).step()
    assert [each.id for each in store.list_sweeps().items if each.id == sweep.id] == []

    assert clean_up(store, home, dry_run=False).items == [], "what is being deleted is the remover's"
    Remover(store, home).step()

    assert tree(home) == expected
    assert store.retention.deleted_sweeps() == []


def test_code_stays_while_another_sweep_uses_it(place: tuple[Store, Home]) -> None:
    store, home = place
    first, second = [make_sweep(store, home, FULL).sweep for _ in range(2)]
    made_old(home.packages, 2 * HOUR)
    there = []
    for sweep in (first, second):
        store.delete_sweep(sweep.id)
        Remover(store, home).step()
        there.append(home.package(SHA[0]).exists())

    assert there == [True, False]


def test_code_stays_while_its_submission_may_be_on_its_way(place: tuple[Store, Home]) -> None:
    store, home = place
    sweep = make_sweep(store, home, FULL).sweep  # its package was uploaded just now
    store.delete_sweep(sweep.id)

    Remover(store, home).step()

    assert [*tree(home)] == [f"packages/{SHA[0]}.zip"]


def test_an_ended_sweep_that_goes_on_meanwhile_keeps_its_checkpoints(
    place: tuple[Store, Home], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was over when the clean-up looked at the store, and is extended before the files go."""
    store, home = place
    made = make_sweep(store, home, FULL)
    fresh = put(home.runs / made.sweep.id / "000099" / "checkpoint_000000" / "state.pt")
    seen = store.retention.known_sweeps()
    monkeypatch.setattr(type(store.retention), "known_sweeps", lambda self: seen)
    store.edits.extend(made.sweep.id, {"trials": 1_000})
    for older_than_s in (None, 0.0):
        clean_up(store, home, dry_run=False, older_than_s=older_than_s, now=time.time() + 10)
        assert fresh.exists()
