"""What becomes of the exceptions that Ray hands out."""

from __future__ import annotations

import pytest
from ray.exceptions import ActorUnavailableError, RayActorError

from toprung.tuning.records import FailureKind
from toprung.tuning.run.failure import failure_of


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (ActorUnavailableError("RpcError: Connection refused", None), FailureKind.NODE_LOST),
        (RayActorError(None, "The actor died because its node has died."), FailureKind.NODE_LOST),
        (RayActorError(None, "Worker exits by an exit code 7."), FailureKind.USER_ERROR),
    ],
)
def test_a_machine_that_goes_away_is_told_from_a_process_that_dies(error: RayActorError, kind: FailureKind) -> None:
    assert failure_of(error).kind is kind


CREATION = """The actor died because of an error raised in its creation task, \x1b[36mray::Net.__init__()\x1b[39m (…)

The above exception was the direct cause of the following exception:

\x1b[36mray::Net.__init__()\x1b[39m (pid=7, ip=10.0.0.1, actor_id=fc83, repr=<train.Net object at 0x7f6e>)
           ^^^^^^^^^^^^^
  File "/site-packages/ray/tune/trainable/trainable.py", line 158, in __init__
    self.setup(copy.deepcopy(self.config))
  File "/home/me/train.py", line 11, in setup
{said}"""


@pytest.mark.parametrize(
    ("said", "kind", "message"),
    [
        ("ValueError: expects 576\nand gets 512", FailureKind.USER_ERROR, "ValueError: expects 576"),
        ("train.NoDataError", FailureKind.USER_ERROR, "NoDataError"),
        ("torch.OutOfMemoryError: CUDA out of memory.", FailureKind.GPU_OOM, "OutOfMemoryError: CUDA out of memory."),
        ("numpy._core._exceptions._ArrayMemoryError: 8 EiB", FailureKind.HOST_OOM, "_ArrayMemoryError: 8 EiB"),
        ("RuntimeError: CUDA error: out of memory", FailureKind.GPU_OOM, "RuntimeError: CUDA error: out of memory"),
    ],
)
def test_what_a_new_worker_s_setup_raised_is_said(said: str, kind: FailureKind, message: str) -> None:
    """The text as Ray 2.60 has it."""
    failure = failure_of(RayActorError(None, CREATION.format(said=said), actor_init_failed=True))
    assert (failure.kind, failure.message) == (kind, message)
    assert failure.traceback is not None
    assert 'File "/home/me/train.py", line 11, in setup' in failure.traceback
    assert "ray/tune" not in failure.traceback
