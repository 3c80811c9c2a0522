"""From the exception that Ray hands out to the failure a user reads."""

from __future__ import annotations

import traceback
from collections.abc import Iterable
from types import TracebackType

from ray.exceptions import ActorDiedError, ActorUnschedulableError, OutOfMemoryError, RayActorError, RayTaskError

from toprung.tuning.records import Failure, FailureKind

_LIBRARY_PARTS = ("/ray/", "/toprung/tuning/run/", "/tuning/run/")


def failure_of(error: BaseException | None) -> Failure:
    """The failure for an exception of a trial's attempt.

    Args:
        error: what Tune kept of the attempt: a `RayTaskError` around the user's exception, or a `RayActorError` when
            the worker process or its node went away.
    """
    if error is None:
        return Failure(kind=FailureKind.USER_ERROR, message="the trial failed and left no exception")
    if isinstance(error, OutOfMemoryError):
        return Failure(kind=FailureKind.HOST_OOM, message=_first_line(str(error)))
    if isinstance(error, RayActorError):
        return _lost(error)
    cause = _root(error)
    return Failure(kind=_kind(cause), message=_line(cause), traceback=_traceback(error, cause))


def _lost(error: RayActorError) -> Failure:
    text = str(error)
    if getattr(error, "preempted", False):
        return Failure(kind=FailureKind.PREEMPTED, message="its node was preempted", traceback=text)
    if "out of memory" in text.lower() or "OOM" in text:
        return Failure(
            kind=FailureKind.HOST_OOM, message="the host ran out of memory and the worker was killed", traceback=text
        )
    if isinstance(error, ActorDiedError | ActorUnschedulableError) and "node" in text and "worker died" not in text:
        died = [line.strip() for line in text.splitlines() if "node" in line and ("died" in line or "dead" in line)]
        if died:
            return Failure(kind=FailureKind.NODE_LOST, message=died[0], traceback=text)
    return Failure(
        kind=FailureKind.USER_ERROR,
        message="the worker process ended without an exception: os._exit, a crash in native code, a kill from outside",
        traceback=text,
    )


def _kind(cause: BaseException) -> FailureKind:
    # by name: torch is not imported here, and older versions have it under torch.cuda
    if type(cause).__name__ == "OutOfMemoryError":
        return FailureKind.GPU_OOM
    if isinstance(cause, MemoryError):
        return FailureKind.HOST_OOM
    return FailureKind.USER_ERROR


def _root(error: BaseException) -> BaseException:
    """The exception the user's code raised, below the wrappers of Ray and of Tune's runner thread."""
    while True:
        inner = error.cause if isinstance(error, RayTaskError) else None
        if inner is None and type(error).__name__ == "StartTraceback":
            inner = error.__cause__
        if inner is None or inner is error:
            return error
        error = inner


def _traceback(error: BaseException, cause: BaseException) -> str:
    if cause.__traceback__ is not None:
        return "".join(user_traceback(cause))
    # a pickled exception has lost its frames; Ray kept them as text
    text = str(error)
    return text if "Traceback" in text else _line(cause)


def user_traceback(error: BaseException) -> Iterable[str]:
    """The lines of a traceback without the frames of Ray and Toprung above the user's code."""
    frame = error.__traceback__
    while frame is not None and frame.tb_next is not None and _is_library(frame):
        frame = frame.tb_next
    return traceback.format_exception(type(error), error, frame)


def _is_library(frame: TracebackType) -> bool:
    name = frame.tb_frame.f_code.co_filename
    return any(part in name for part in _LIBRARY_PARTS)


def _line(error: BaseException) -> str:
    text = _first_line(str(error))
    kind = type(error).__name__
    return f"{kind}: {text}" if text else kind


def _first_line(text: str) -> str:
    return next((line.strip() for line in text.splitlines() if line.strip()), "")[:500]
