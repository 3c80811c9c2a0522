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
from toprung.tuning.run.logs import Sink, TrialOutput
from toprung.tuning.run.pace import Pace, batched
from toprung.tuning.run.room import let_checkpoints_wait
from toprung.tuning.run.seeds import seed_all
from toprung.tuning.run.spare import settle_threads
from toprung.tuning.run.tracebacks import user_traceback

IDENTITY = "__toprung__"
"""Key of the config under which a trial's number and attempt travel to the worker."""

_LAST_WORDS_S = 1.0
"""A step waits so long for what it printed to be written; then training goes on."""

_output: TrialOutput | None = None
"""The output of this worker process: `sys.stdout` exists once per process, so does this."""


def load(path: str) -> Any:
    """Imports `module:attribute`.

    Raises:
        InvalidSpec: it can't be imported, or is neither a function of one argument nor a `ray.tune.Trainable`.
    """
    module_name, _, attribute = path.partition(":")
    try:
        target: Any = importlib.import_module(module_name)
        for part in attribute.split("."):
            target = getattr(target, part)
    except Exception as error:  # the user's module may raise anything
        raise _not_trainable(path, f"cannot be imported: {type(error).__name__}: {error}") from error
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
    gpu: float
    """What a trial has of GPUs."""


def host(target: Any, setting: Setting, pace: Pace) -> type[Trainable]:
    """The Tune trainable that runs `target`, a result of `load`."""
    return _host_class(target, setting) if inspect.isclass(target) else batched(_host_function(target, setting), pace)


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
    global _output
    identity = config.pop(IDENTITY)
    if _output is None:
        _output = TrialOutput(setting.sink)
        settle_threads()
        let_checkpoints_wait()
        if 0 < setting.gpu < 1:
            from toprung.tuning.torch.memory import cap  # noqa: PLC0415  loads PyTorch

            cap(setting.gpu)
        # a line per checkpoint would bury what the user prints
        logging.getLogger("ray.train._internal.storage").setLevel(logging.WARNING)
    _output.attach(identity["number"], identity["attempt"])
    seed_all(setting.seed, identity["origin"], identity["attempt"])
    return _output


def _say(error: BaseException) -> None:
    """Puts the user's traceback into the trial's log."""
    sys.stderr.write("".join(user_traceback(error)))


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
    hosted_trainable: type[Trainable] = wrap_function(hosted)
    return hosted_trainable


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
                return self._toprung_run(super().step)
            finally:
                # it may be the last one, after which Tune ends this process without a word
                self._toprung_output.flush_within(_LAST_WORDS_S)

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
