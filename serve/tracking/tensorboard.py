"""TensorBoard event files: one folder per trial, in which everything of the trial is one run.

Scalars by step, hparams with the final value, the configuration and a failure as text, and what the trial itself has
written. Written with TensorBoard's own messages: `torch.utils.tensorboard` would load torch into the tracker.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import yaml
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.plugins.hparams import metadata
from tensorboard.plugins.hparams import summary_v2 as hparams
from tensorboard.plugins.hparams.api_pb2 import Status
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData, SessionEndInfo
from tensorboard.plugins.text.summary_v2 import text_pb

from toprung.serve.home import Home
from toprung.serve.tracking.events import EventFile, Stamp
from toprung.serve.tracking.sink import folder_name
from toprung.serve.tracking.summaries import Summaries
from toprung.tuning.records import Failure, Result, Sweep, Trial, TrialState


class TensorBoardSink:
    """Writes a sweep under `<home>/tensorboard/<sweep>/<trial>/`. What is there already is not written again."""

    def __init__(self, home: Path) -> None:
        self._home = Home(home)
        self._folder: Path | None = None
        self._metric = ""
        self._files: dict[int, EventFile] = {}
        self._summaries: dict[int, Summaries] = {}
        self._ended: set[int] = set()

    def start(self, sweep: Sweep, trial: Trial) -> None:
        if self._folder is None:
            self._folder = self._home.tensorboard / folder_name(sweep)
            self._metric = sweep.spec.metric.name
            _describe(sweep, self._folder)
        file = self._files[trial.number] = EventFile(self._folder / f"{trial.number:05d}", trial.created_at)
        place = functools.partial(self._home.summaries, sweep.id, trial.number)
        self._summaries[trial.number] = Summaries(place, file.steps.get(Stamp.SUMMARIES, -1))
        if Stamp.BEGIN not in file.steps:  # else this was begun before a restart
            began_at = _seconds(trial.created_at)
            file.add(Event(wall_time=began_at, summary=text_pb("config", _as_code(trial.config))))
            session = hparams.hparams_pb(
                _plain(trial.params), trial_id=f"{sweep.name}/{trial.number}", start_time_secs=began_at
            )
            file.add(Event(wall_time=began_at, summary=session), Stamp.BEGIN)

    def write(self, trial: Trial, results: Sequence[Result]) -> None:
        file = self._files[trial.number]
        for result in results:
            if result.step <= file.steps.get(Stamp.RESULT, 0):
                continue
            values = [
                Summary.Value(tag=name, simple_value=float(value))
                for name, value in result.metrics.items()
                if isinstance(value, bool | int | float)
            ]
            event = Event(wall_time=_seconds(result.reported_at), step=result.step, summary=Summary(value=values))
            file.add(event, Stamp.RESULT)
        self._take_summaries(trial)

    def finish(self, trial: Trial) -> None:
        self._take_summaries(trial)
        file, summaries = self._files.pop(trial.number), self._summaries.pop(trial.number)
        if Stamp.END not in file.steps:
            now = _seconds(trial.ended_at) if trial.ended_at else time.time()
            if trial.value is not None:
                value = Summary.Value(tag=_final(self._metric), simple_value=trial.value)
                file.add(Event(wall_time=now, step=trial.best_step, summary=Summary(value=[value])))
            if trial.failure is not None:
                file.add(Event(wall_time=now, step=trial.step, summary=text_pb("failure", _told(trial.failure))))
            file.add(Event(wall_time=now, summary=_session_end(trial, now)), Stamp.END)
        file.flush()
        summaries.remove()
        self._ended.add(trial.number)

    def end(self, sweep: Sweep, trials: Iterable[Trial]) -> None:
        for trial in trials:  # one may have failed before its first result, or ended while no tracker ran
            if trial.number not in self._ended and (trial.step or trial.failure):
                self.start(sweep, trial)
                self.finish(trial)

    def flush(self) -> None:
        for file in self._files.values():
            file.flush()

    def close(self) -> None:
        self.flush()

    def _take_summaries(self, trial: Trial) -> None:
        file = self._files[trial.number]
        for step, events in self._summaries[trial.number].take(trial.attempt):
            for event in events:
                file.add_serialized(event)
            file.add(Event(wall_time=time.time(), step=step), Stamp.SUMMARIES)


def _describe(sweep: Sweep, folder: Path) -> None:
    """The experiment: which parameters and which value the HPARAMS page shows."""
    file = EventFile(folder, sweep.created_at)
    if Stamp.BEGIN in file.steps:
        return
    final = _final(sweep.spec.metric.name)
    config = hparams.hparams_config_pb(
        hparams=[hparams.HParam(parameter.name) for parameter in sweep.spec.space.parameters],
        metrics=[hparams.Metric(final, display_name=f"best {sweep.spec.metric.name}")],
    )
    file.add(Event(wall_time=_seconds(sweep.created_at), summary=config), Stamp.BEGIN)
    file.flush()


def _session_end(trial: Trial, now: float) -> Summary:
    # what tensorboard.plugins.hparams.summary.session_end_pb makes; that module needs TensorFlow
    status = Status.STATUS_FAILURE if trial.state is TrialState.FAILED else Status.STATUS_SUCCESS
    data = HParamsPluginData(session_end_info=SessionEndInfo(status=status, end_time_secs=now))
    value = Summary.Value(
        tag=metadata.SESSION_END_INFO_TAG,
        metadata=metadata.create_summary_metadata(data),
        tensor=metadata.NULL_TENSOR,
    )
    return Summary(value=[value])


def _as_code(config: Mapping[str, Any]) -> str:
    """As Markdown, which TensorBoard shows."""
    return "".join(f"    {line}\n" for line in yaml.safe_dump(dict(config), sort_keys=False).splitlines())


def _told(failure: Failure) -> str:
    lines = [f"**{failure.kind.value}**", "", *[f"    {line}" for line in failure.message.splitlines()]]
    if failure.traceback:
        lines += ["", *[f"    {line}" for line in failure.traceback.splitlines()]]
    return "\n".join(lines)


def _final(metric: str) -> str:
    return f"final/{metric}"


def _plain(params: Mapping[str, Any]) -> dict[str, Any]:
    """TensorBoard knows numbers, bools and text."""
    return {
        name: value if isinstance(value, bool | int | float | str) else str(value) for name, value in params.items()
    }


def _seconds(moment: datetime) -> float:
    return moment.timestamp()
