"""From the exception that Ray hands out to the failure a user reads."""

from __future__ import annotations

from ray.exceptions import ActorUnavailableError, ActorUnschedulableError, RayActorError, RayTaskError

from toprung.tuning.out_of_memory import GPU_IS_FULL, HOST_IS_FULL, says_any
from toprung.tuning.records import Failure, FailureKind
from toprung.tuning.run.pace import WorkerBusyError
from toprung.tuning.run.tracebacks import user_part, user_traceback

UNEXPLAINED = "the worker process ended without an exception: os._exit, a crash in native code, a kill from outside"


def failure_of(error: BaseException | None) -> Failure:
    """The failure for an exception of a trial's attempt.

    Args:
        error: what Tune kept of the attempt: a `RayTaskError` around the user's exception, or a `RayActorError` when
            the worker process or its node went away.
    """
    if error is None:
        return Failure(kind=FailureKind.USER_ERROR, message="the trial failed and left no exception")
    if isinstance(error, RayActorError):
        return (_not_begun(str(error)) if error.actor_init_failed else None) or _lost(error)
    cause = root(error)
    if type(cause).__name__ == "WorkerDiedError":  # one of several; by name, for its module loads PyTorch
        return _lost(cause)
    if isinstance(cause, WorkerBusyError):  # says nothing about the configuration
        return Failure(kind=FailureKind.NODE_LOST, message=str(cause))
    kind = _kind(type(cause).__name__, str(cause), is_memory_error=isinstance(cause, MemoryError))
    return Failure(kind=kind, message=_line(cause), traceback=_traceback(error, cause))


def _not_begun(text: str) -> Failure | None:
    """Of what a new worker's `setup` raised Ray keeps the text alone. The last of its tracebacks is what came out.

    None where it has no traceback.
    """
    last = max((text.rfind(words) for words in _CHAINED), default=0)
    lines = iter(text[max(last, 0) :].splitlines())
    next((line for line in lines if line.startswith('  File "')), None)
    said = next((line for line in lines if line and not line.startswith(" ")), None)
    if said is None:
        return None
    qualified, _, words = said.partition(":")
    name = qualified.rpartition(".")[2]
    kind = _kind(name, text[text.rfind(said) :], is_memory_error=name.endswith("MemoryError"))
    return Failure(kind=kind, message=f"{name}:{words}"[:500] if words else name, traceback=user_part(text) or said)


_CHAINED = (
    "The above exception was the direct cause of the following exception:",
    "During handling of the above exception, another exception occurred:",
)


def _lost(error: BaseException) -> Failure:
    """Told apart by Ray's words: one exception class stands for all of these."""
    text = str(error)
    if getattr(error, "preempted", False):
        return Failure(kind=FailureKind.PREEMPTED, message="its node was preempted", traceback=text)
    if "running low on memory" in text or "memory pressure" in text:
        message = "the host ran out of memory and Ray killed the worker"
        return Failure(kind=FailureKind.HOST_OOM, message=message, traceback=text)
    if isinstance(error, ActorUnschedulableError) or "its node has died" in text:
        return Failure(kind=FailureKind.NODE_LOST, message="its node went away", traceback=text)
    if isinstance(error, ActorUnavailableError) or "may not have been executed on the actor" in text:
        # a process that ends is reported by its node within a second: this is what Ray says when nobody reports it
        return Failure(kind=FailureKind.NODE_LOST, message="its node does not answer", traceback=text)
    return Failure(kind=FailureKind.USER_ERROR, message=UNEXPLAINED, traceback=text)


def _kind(name: str, text: str, *, is_memory_error: bool) -> FailureKind:
    # by name: torch is not imported here, and older versions have it under torch.cuda
    if name == "OutOfMemoryError" or says_any(text, GPU_IS_FULL):
        return FailureKind.GPU_OOM
    if is_memory_error or says_any(text, HOST_IS_FULL):
        return FailureKind.HOST_OOM
    return FailureKind.USER_ERROR


def root(error: BaseException) -> BaseException:
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
    return user_part(str(error)) or _line(cause)


def _line(error: BaseException) -> str:
    text = _first_line(str(error))
    kind = type(error).__name__
    return f"{kind}: {text}" if text else kind


def _first_line(text: str) -> str:
    return next((line.strip() for line in text.splitlines() if line.strip()), "")[:500]
