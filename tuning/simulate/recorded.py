"""Learning curves of trials that ran, for virtual ones to follow: from a finished sweep, or from a CSV file."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from toprung.errors import InvalidInput
from toprung.tuning.search.cube import Array, Cube
from toprung.tuning.simulate.clock import Curve, Params, Values
from toprung.tuning.simulate.curves import StepTime
from toprung.tuning.spec import CategoricalParameter, IntParameter, Parameter, SweepSpec

TRIAL_COLUMNS = ("trial", "number", "trial_id")
STEP_COLUMNS = ("step", "training_iteration")
TIME_COLUMN = "time_total_s"


@dataclass(frozen=True)
class Recording:
    """What a trial reported.

    Attributes:
        config: its parameters, flat; words where they come from a file.
        steps, values: at which steps it reported what; steps rise.
        complete: it ended by itself, and so will those that follow it.
        step_s: seconds that a step took.
    """

    config: Mapping[str, Any]
    steps: tuple[int, ...]
    values: tuple[float, ...]
    complete: bool = False
    step_s: float | None = None


@dataclass(frozen=True)
class Recorded:
    """Each configuration follows the nearest recorded one: of the same choices if there is one, near in its numbers.

    A recorded curve that was stopped goes on like the nearest longer one, from where it was, but never beyond the best
    value that was recorded. Numbers are as far apart as they are in the prior: on a log scale where the spec says so.

    Attributes:
        recordings: those that lie in the spec's space.
    """

    recordings: tuple[Recording, ...]
    made_up = False

    @classmethod
    def of(cls, recordings: Iterable[Recording], spec: SweepSpec) -> Recorded:
        """Those of the recordings that are configurations of the spec.

        Raises:
            InvalidInput: none is.
        """
        found = []
        for recording in recordings:
            params = _params(spec, recording.config)
            if params is not None and recording.values:
                found.append(Recording(params, *_fields(recording)))
        if not found:
            raise InvalidInput(
                "none of the recorded trials has a value, and a configuration inside the spec's ranges and choices"
            )
        return cls(tuple(found))

    @property
    def longest(self) -> int:
        """Steps of the longest curve."""
        return max(recording.steps[-1] for recording in self.recordings)

    def curve(self, spec: SweepSpec, seed: int) -> Curve:
        nearest = self._nearest(spec)
        best_of = min if spec.metric.goal == "minimize" else max
        best = best_of(best_of(recording.values) for recording in self.recordings)
        whole: dict[int, Array] = {}

        def curve(number: int, params: Mapping[str, Any]) -> Values:
            index = int(nearest.order(params)[0])
            if index not in whole:
                whole[index] = self._whole(self.recordings[index], nearest, best, spec.scheduler.max_t)
            return whole[index]

        return curve

    def step_s(self, spec: SweepSpec) -> StepTime | None:
        times = [recording.step_s for recording in self.recordings]
        known = [time_s for time_s in times if time_s]
        if not known:
            return None
        nearest, usual = self._nearest(spec), float(np.median(known))
        return lambda params: times[int(nearest.order(params)[0])] or usual

    def _nearest(self, spec: SweepSpec) -> _Nearest:
        return _Nearest(spec, [recording.config for recording in self.recordings])

    def _whole(self, recording: Recording, nearest: _Nearest, best: float, max_t: int | None) -> Array:
        """A curve up to `max_t`; without one as long as any."""
        curve = _every_step(recording)
        if recording.complete:
            return curve[:max_t]
        wanted = max_t or self.longest
        for index in nearest.order(recording.config):
            other = self.recordings[int(index)]
            if len(curve) < min(other.steps[-1], wanted):
                curve = np.concatenate([curve, _continued(curve[-1], _every_step(other)[len(curve) - 1 :], best)])
        return np.concatenate([curve, np.full(max(0, wanted - len(curve)), curve[-1])])[:max_t]


def _continued(value: float, like: Array, best: float) -> Array:
    """Values (n,) that follow `value` as those of `like` (n + 1,) follow its first."""
    room, room_there = abs(value - best), abs(like[0] - best)
    # who is nearer to the best has less to gain
    scale = min(1.0, room / room_there) if room_there else 1.0
    return np.asarray(value + scale * (like[1:] - like[0]))


class _Nearest:
    """Finds the recorded configurations that are nearest to one."""

    def __init__(self, spec: SweepSpec, configs: Sequence[Mapping[str, Any]]) -> None:
        self._cube = Cube(spec.space)
        self._places, _ = self._cube.embed(np.array([self._cube.encode(config) for config in configs]))

    def order(self, params: Mapping[str, Any]) -> npt.NDArray[np.intp]:
        """Indices, the nearest first."""
        place, _ = self._cube.embed(self._cube.encode(params)[None, :])
        return np.argsort(((self._places - place) ** 2).sum(axis=1), kind="stable")


def read_csv(text: str, spec: SweepSpec) -> list[Recording]:
    """The trials of a CSV file with a row for each report.

    Columns: `step`, the metric's name or `value`, one for each parameter of the spec (empty where it isn't active);
    `trial`, without which rows of the same parameters are a trial; `time_total_s`, the trial's training time so far.
    Those of Ray Tune's result files will do (`training_iteration`, `trial_id`, `config/lr`).

    Raises:
        InvalidInput: with all problems.
    """
    reader = csv.DictReader(io.StringIO(text))
    header = reader.fieldnames or []
    names = [parameter.name for parameter in spec.space.parameters]
    columns = {name: _column(header, name, f"config/{name}") for name in names}
    step, value = _column(header, *STEP_COLUMNS), _column(header, spec.metric.name, "value")
    wanted = {"step": step, spec.metric.name: value, **columns}
    missing = [name for name, column in wanted.items() if column is None]
    if missing:
        raise InvalidInput(f"the file has no column {', '.join(missing)}; it has {', '.join(header) or 'none'}")
    trial = _column(header, *TRIAL_COLUMNS)
    rows: dict[Any, dict[int, Mapping[str, str]]] = {}
    problems = []
    for line, row in enumerate(reader, start=2):
        key = row[trial] if trial else tuple(row[column] for column in columns.values() if column)
        try:
            at = int(float(row[step or ""]))
            float(row[value or ""])
        except (TypeError, ValueError):
            problems.append(f"line {line}: {step} {row[step or '']!r} and {value} {row[value or '']!r}")
            continue
        if at < 1:
            problems.append(f"line {line}: {step} {at}, the first step is 1")
        rows.setdefault(key, {})[at] = row
    if problems:
        more = f", and {len(problems) - 5} more" if len(problems) > 5 else ""
        raise InvalidInput(f"steps and values must be numbers: {'; '.join(problems[:5])}{more}")
    return [_recording(reports, columns, value or "") for reports in rows.values()]


def _recording(reports: Mapping[int, Mapping[str, str]], columns: Mapping[str, str | None], value: str) -> Recording:
    steps = sorted(reports)
    values = [float(reports[step][value]) for step in steps]
    finite = next((i for i, number in enumerate(values) if not math.isfinite(number)), len(values))
    first, last = reports[steps[0]], reports[steps[-1]]
    config = {name: first[column] for name, column in columns.items() if column and first[column] not in ("", None)}
    try:
        step_s: float | None = float(last[TIME_COLUMN]) / steps[-1]
    except (KeyError, TypeError, ValueError):
        step_s = None
    return Recording(config, tuple(steps[:finite]), tuple(values[:finite]), step_s=step_s)


def _column(header: Sequence[str], *names: str) -> str | None:
    return next((name for name in names if name in header), None)


def _fields(recording: Recording) -> tuple[tuple[int, ...], tuple[float, ...], bool, float | None]:
    return recording.steps, recording.values, recording.complete, recording.step_s


def _params(spec: SweepSpec, config: Mapping[str, Any]) -> Params | None:
    """The configuration as one of the spec's; None where it is none."""
    params: Params = {}
    for parameter in spec.space.parameters:
        if not spec.space.active(parameter.name, params):
            continue
        value = _value(parameter, config.get(parameter.name))
        if value is None:
            return None
        params[parameter.name] = value
    return params


def _value(parameter: Parameter, given: Any) -> Any:
    distribution = parameter.distribution
    if isinstance(distribution, CategoricalParameter):
        return next((choice for choice in distribution.choices if choice == given or str(choice) == str(given)), None)
    try:
        number = float(given)
    except (TypeError, ValueError):
        return None
    if not distribution.low <= number <= distribution.high:
        return None
    return round(number) if isinstance(distribution, IntParameter) else number


def _every_step(recording: Recording) -> Array:
    """Values at steps 1 to the last; between two that were reported on the line between them."""
    return np.interp(np.arange(1, recording.steps[-1] + 1), recording.steps, recording.values)
