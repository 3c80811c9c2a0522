"""TensorBoard event files: one folder per trial, scalars by step, hparams with the final value.

Written with TensorBoard's own event writer: `torch.utils.tensorboard` would load torch into the tracker.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.plugins.hparams import metadata
from tensorboard.plugins.hparams import summary_v2 as hparams
from tensorboard.plugins.hparams.api_pb2 import Status
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData, SessionEndInfo
from tensorboard.summary.writer.event_file_writer import EventFileWriter

from toprung.serve.tracking.sink import folder_name
from toprung.tuning.records import Result, Sweep, Trial, TrialState

_MAX_OPEN = 64
"""Event files open at once; each has a thread. A closed trial that goes on gets a second file, which is fine."""


class TensorBoardSink:
    """Writes a sweep under `<home>/tensorboard/<sweep>/<trial>/`."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._folder: Path | None = None
        self._metric = ""
        self._writers: OrderedDict[int, EventFileWriter] = OrderedDict()

    def start(self, sweep: Sweep, trial: Trial) -> None:
        if self._folder is None:
            self._folder = self._root / folder_name(sweep)
            self._metric = sweep.spec.metric.name
            self._describe(sweep)
        if not any(self._place(trial.number).glob("events*")):  # after a restart, the session has begun already
            summary = hparams.hparams_pb(
                _plain(trial.params),
                trial_id=f"{sweep.name}/{trial.number}",
                start_time_secs=_seconds(trial.created_at),
            )
            self._add(trial.number, Event(wall_time=_seconds(trial.created_at), summary=summary))

    def write(self, trial: Trial, results: Sequence[Result]) -> None:
        for result in results:
            values = [
                Summary.Value(tag=name, simple_value=float(value))
                for name, value in result.metrics.items()
                if isinstance(value, bool | int | float)
            ]
            event = Event(wall_time=_seconds(result.reported_at), step=result.step, summary=Summary(value=values))
            self._add(trial.number, event)

    def finish(self, trial: Trial) -> None:
        now = _seconds(trial.ended_at) if trial.ended_at else time.time()
        if trial.value is not None:
            value = Summary.Value(tag=_final(self._metric), simple_value=trial.value)
            self._add(trial.number, Event(wall_time=now, step=trial.best_step, summary=Summary(value=[value])))
        self._add(trial.number, Event(wall_time=now, summary=_session_end(trial, now)))
        writer = self._writers.pop(trial.number, None)
        if writer is not None:
            writer.close()

    def flush(self) -> None:
        for writer in self._writers.values():
            writer.flush()

    def close(self) -> None:
        for writer in self._writers.values():
            writer.close()
        self._writers.clear()

    def _describe(self, sweep: Sweep) -> None:
        """The experiment: which parameters and which value the HPARAMS page shows."""
        assert self._folder is not None
        if any(self._folder.glob("events*")):
            return
        config = hparams.hparams_config_pb(
            hparams=[hparams.HParam(parameter.name) for parameter in sweep.spec.space.parameters],
            metrics=[hparams.Metric(_final(self._metric), display_name=f"best {self._metric}")],
        )
        writer = EventFileWriter(str(self._folder))
        writer.add_event(Event(wall_time=_seconds(sweep.created_at), summary=config))
        writer.close()

    def _add(self, number: int, event: Event) -> None:
        writer = self._writers.get(number)
        if writer is None:
            if len(self._writers) >= _MAX_OPEN:
                self._writers.popitem(last=False)[1].close()
            writer = self._writers[number] = EventFileWriter(str(self._place(number)))
        self._writers.move_to_end(number)
        writer.add_event(event)

    def _place(self, number: int) -> Path:
        assert self._folder is not None
        return self._folder / f"{number:05d}"


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


def _final(metric: str) -> str:
    return f"final/{metric}"


def _plain(params: Mapping[str, Any]) -> dict[str, Any]:
    """TensorBoard knows numbers, bools and text."""
    return {
        name: value if isinstance(value, bool | int | float | str) else str(value) for name, value in params.items()
    }


def _seconds(moment: datetime) -> float:
    return moment.timestamp()
