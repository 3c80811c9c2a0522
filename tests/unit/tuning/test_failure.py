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
