"""The progress bar of `wait()`, in terminals and notebooks."""

from __future__ import annotations

from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from toprung.tuning.records import Sweep


class WaitProgress:
    """Shows a sweep's progress, as often as it is told about it.

    `shown=None` shows it where somebody looks: in a terminal or a notebook.
    """

    def __init__(self, shown: bool | None) -> None:
        self._bar = None if shown is False else _bar(forced=shown is True)
        self._task = self._bar.add_task("", total=None, name="", state="", trials="", best="") if self._bar else None

    def __enter__(self) -> WaitProgress:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def update(self, sweep: Sweep) -> None:
        if self._bar is None or self._task is None:
            return
        finished = sum(count for state, count in sweep.trials.items() if state.finished)
        ended = sweep.state.finished
        total = finished if ended else sweep.num_trials
        of = "" if sweep.num_trials is None else f"/{sweep.num_trials}"
        best = sweep.best and f"best {sweep.spec.metric.name} {sweep.best.value:.4g} (trial {sweep.best.number})"
        self._bar.update(
            self._task,
            completed=finished or (1 if ended else 0),
            total=(total or 1) if ended else total,
            name=sweep.name,
            state=sweep.state,
            trials=f"{finished}{of} trials",
            best=best or "",
        )


def come_back(sweep: Sweep) -> str:
    """What to say to a user who stops waiting."""
    return f"{sweep.name} goes on without you. Come back with: toprung watch {sweep.name}"


def _bar(*, forced: bool) -> Progress | None:
    console = Console(stderr=True)
    if not (forced or console.is_terminal or console.is_jupyter):
        return None
    return Progress(
        TextColumn("{task.fields[name]}", style="bold"),
        TextColumn("{task.fields[state]}"),
        BarColumn(),
        TextColumn("{task.fields[trials]}"),
        TimeElapsedColumn(),
        TextColumn("{task.fields[best]}", markup=False),
        console=console,
    )
