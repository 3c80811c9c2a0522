"""Makes the user's function or class a trainable that runs in a warm worker and says what it prints.

Plain Ray Tune code runs unmodified. What is added around it: the trial's identity is taken out of the config before the
user sees it, output and tracebacks go to the trial's log, and a class that doesn't implement `reset_config` is built
anew inside the same process, so that every trainable can use `reuse_actors`.
"""

from __future__ import annotations

import copy
import functools
import importlib
import inspect
import logging
import sys
from collections.abc import Callable, Generator
from typing import Any, NamedTuple

from ray.tune import Trainable
from ray.tune.experiment import Trial
from ray.tune.result import SHOULD_CHECKPOINT
from ray.tune.trainable import FunctionTrainable, wrap_function

from toprung.errors import InvalidSpec, Problem
from toprung.tuning import fits, summaries
from toprung.tuning.niceness import give_way
from toprung.tuning.run.environment import note_of
from toprung.tuning.run.kills import note
from toprung.tuning.run.logs import TrialOutput
from toprung.tuning.run.pace import Pace, batched
from toprung.tuning.run.room import let_checkpoints_wait
from toprung.tuning.run.seeds import seed_all, trial_seed
from toprung.tuning.run.shipping import Sink
from toprung.tuning.run.spare import settle_threads
from toprung.tuning.run.summaries import TrialSummaries
from toprung.tuning.run.tracebacks import user_traceback
from toprung.tuning.run.uploads import let_uploads_be_whole

IDENTITY = "__toprung__"
"""Key of the config under which a trial's number, attempt and share of a GPU travel to the worker."""

_LAST_WORDS_S = 1.0
"""A step waits so long for what it printed to be written; then training goes on."""

_output: TrialOutput | None = None
"""The output of this worker process: `sys.stdout` exists once per process, so does this."""
_summaries: TrialSummaries | None = None
"""The summaries of this worker process, in the same way."""

_untold: tuple[int, bool] | None = None
"""Seed of the present attempt, and whether it has a GPU, until the runner knows where and how it runs."""


def load(path: str, *, sent: bool = True) -> Any:
    """Imports `module:attribute`.

    Args:
        path: of it.
        sent: whether the sweep has code of its own: without, what is missing may have been forgotten.

    Raises:
        InvalidSpec: it can't be imported, or is neither a function of one argument nor a `ray.tune.Trainable`.
    """
    module_name, _, attribute = path.partition(":")
    try:
        target: Any = importlib.import_module(module_name)
        for part in attribute.split("."):
            target = getattr(target, part)
    except Exception as error:  # the user's module may raise anything
        forgotten = isinstance(error, ModuleNotFoundError) and not sent
        remedy = "; the spec has no `code`: name the folder to send, or install the module on the nodes"
        what = f"cannot be imported: {type(error).__name__}: {error}{remedy if forgotten else ''}"
        raise _not_trainable(path, what) from error
    if inspect.isclass(target):
        if not issubclass(target, Trainable):
            raise _not_trainable(path, "is a class, but not a subclass of ray.tune.Trainable")
        return target
    if not callable(target):
        raise _not_trainable(path, f"is a {type(target).__name__}, not a function")
    try:
        inspect.signature(target).bind({})
    except (TypeError, ValueError) as error:
        raise _not_trainable(path, "must be callable with one argument, the config") from error
    return target


def _not_trainable(path: str, what: str) -> InvalidSpec:
    problem = Problem("/trainable", "not_trainable", f"{path} {what}")
    return InvalidSpec(f"trainable {problem.message}", problems=[problem])


class Setting(NamedTuple):
    """What the trials of a sweep have in common."""

    sink: Sink
    """Where their output goes."""
    seed: int
    """Of the sweep."""
    trial_seed: int | None
    """Of each trial, where the spec fixes it."""
    summaries: Sink
    """Where what trials write for TensorBoard goes."""


def host(target: Any, setting: Setting, pace: Pace) -> type[Trainable]:
    """The Tune trainable that runs `target`, a result of `load`."""
    if inspect.isclass(target):
        return _noted(_host_class(target, setting))
    return batched(_noted(_host_function(target, setting)), pace)


def can_be_resumed(target: Any) -> bool | None:
    """Whether a class trainable implements `save_checkpoint`; None for a function, whose reports will tell."""
    if not isinstance(target, type) or issubclass(target, FunctionTrainable):
        return None
    return getattr(target, "save_checkpoint", None) is not Trainable.save_checkpoint


def can_go_on_later(saves: bool | None, trial: Trial, result: dict[str, Any]) -> bool:
    """Whether a trial that pauses with this result leaves what it could go on from.

    Args:
        saves: what `can_be_resumed` says of its trainable.
    """
    return bool(result.get(SHOULD_CHECKPOINT) or trial.has_checkpoint()) if saves is None else saves


def _attach(config: dict[str, Any], setting: Setting) -> TrialOutput:
    """Prepares this process for the trial whose identity is in its config, and takes that out."""
    global _output, _summaries, _untold
    identity = config.pop(IDENTITY)
    give_way()  # each time: a function runs in a thread of its own
    if _output is None:
        _output = TrialOutput(setting.sink)
        _summaries = TrialSummaries(setting.summaries)
        settle_threads()
        let_uploads_be_whole()
        let_checkpoints_wait()
        if 0 < identity["gpu"] < 1:  # the same for all trials of a process
            from toprung.tuning.torch.memory import cap  # noqa: PLC0415  loads PyTorch

            cap(identity["gpu"])
        # a line per checkpoint would bury what the user prints
        logging.getLogger("ray.train._internal.storage").setLevel(logging.WARNING)
    _output.attach(identity["number"], identity["attempt"])
    summaries.collect_with(_its_summaries().attach(identity["number"], identity["attempt"]))
    note()
    fits.here.learn(identity.get("fits", ()))
    seed = trial_seed(setting.seed, identity["origin"], identity["attempt"], setting.trial_seed)
    seed_all(seed)
    _untold = seed, identity["gpu"] > 0
    return _output


def _its_summaries() -> TrialSummaries:
    assert _summaries is not None, "made with the first trial of the process"
    return _summaries


def _noted(cls: type[Trainable]) -> type[Trainable]:
    """A trainable whose first result of an attempt carries the attempt's note."""

    class Noted(cls):  # type: ignore[misc]
        def train(self) -> dict[str, Any]:
            return _tell(super().train())

    Noted.__name__ = cls.__name__
    Noted.__qualname__ = cls.__qualname__
    return Noted


def _tell(result: dict[str, Any]) -> dict[str, Any]:
    # not in the class above, which travels to the worker with globals of its own
    global _untold
    if _untold is not None:
        note_of(*_untold).put_into(result)
        _untold = None
    return result


def _say(error: BaseException) -> None:
    """Puts the user's traceback into the trial's log, and the attempt's note onto the exception."""
    sys.stderr.write("".join(user_traceback(error)))
    if _untold is not None:
        note_of(*_untold).put_onto(error)


def _host_function(function: Callable[[dict[str, Any]], Any], setting: Setting) -> type[Trainable]:
    if inspect.isgeneratorfunction(function):

        @functools.wraps(function)
        def hosted(config: dict[str, Any]) -> Generator[Any, None, None]:
            config = dict(config)
            output = _attach(config, setting)
            try:
                yield from function(config)
            except Exception as error:
                _say(error)
                raise
            finally:
                output.flush()

    else:

        @functools.wraps(function)
        def hosted(config: dict[str, Any]) -> Any:
            config = dict(config)
            output = _attach(config, setting)
            try:
                return function(config)
            except Exception as error:
                _say(error)
                raise
            finally:
                output.flush()

    # Tune looks for a single argument by name
    signature = inspect.Signature([inspect.Parameter("config", inspect.Parameter.POSITIONAL_OR_KEYWORD)])
    vars(hosted).update(__signature__=signature)
    del hosted.__wrapped__
    return _marking(wrap_function(hosted))


def _marking(cls: type[Trainable]) -> type[Trainable]:
    """A function's trainable whose summaries are told apart by step. The function waits while its report is here."""

    class Marking(cls):  # type: ignore[misc]
        def step(self) -> Any:
            result = super().step()
            _its_summaries().mark(self.iteration + 1)
            # before Tune hears of it: it may be the last one, or the trial goes on from here elsewhere
            _its_summaries().flush_soon()
            return result

    Marking.__name__ = cls.__name__
    return Marking


def _host_class(cls: type[Trainable], setting: Setting) -> type[Trainable]:
    class Hosted(cls):  # type: ignore[misc]
        def setup(self, config: dict[str, Any]) -> None:
            if IDENTITY not in config:  # called by the user's own reset_config, for which the trial is known already
                super().setup(config)
                return
            self._toprung_base = {*vars(self), "_toprung_base", "_toprung_output", "_monitor"}
            self.config.pop(IDENTITY, None)
            self._toprung_output = _attach(config, setting)
            self._toprung_run(super().setup, config)

        def step(self) -> Any:
            try:
                _its_summaries().starts_from(self.iteration)
                result = self._toprung_run(super().step)
                _its_summaries().mark(self.iteration + 1)
                return result
            finally:
                _its_summaries().flush_soon()
                # it may be the last one, after which Tune ends this process without a word
                self._toprung_output.flush_within(_LAST_WORDS_S)

        def train(self) -> dict[str, Any]:
            result: dict[str, Any] = super().train()
            fits.here.put_news(result)
            return result

        def train_buffered(self, *limits: float) -> list[dict[str, Any]]:
            return [self.train()]

        def reset_config(self, new_config: dict[str, Any]) -> bool:
            self._toprung_output = _attach(new_config, setting)
            self.config.pop(IDENTITY, None)
            if self._toprung_run(super().reset_config, new_config):
                return True
            self._toprung_run(super().cleanup)
            for name in set(vars(self)) - self._toprung_base:
                delattr(self, name)
            self._toprung_run(super().setup, copy.deepcopy(new_config))
            return True

        def cleanup(self) -> None:
            self._toprung_run(super().cleanup)
            self._toprung_output.flush()

        def _toprung_run(self, call: Callable[..., Any], *args: Any) -> Any:
            try:
                return call(*args)
            except Exception as error:
                _say(error)
                self._toprung_output.flush()
                raise

    Hosted.__name__ = cls.__name__
    Hosted.__qualname__ = cls.__qualname__
    return Hosted
