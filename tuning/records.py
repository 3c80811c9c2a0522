"""The records of a sweep's life: the same class is the wire format, the stored row and what the runner sends.

All are frozen pydantic models; times are timezone-aware UTC. Sweep states:

    queued --a--> running --b--> succeeded       docs/lifecycle.md says of each letter who does it, and when
     ^ ^ ^           |-----c--> failed
     | | |           |-----d--> cancelled <--d-- queued, paused
     | | '-----r-----|
     | |             '-----e--> paused    <--e-- queued
     | '-------f----- paused
     '---------g----- succeeded, failed, cancelled

Trial states:

    pending --s--> running --t--> completed   reached max_t, or returned by itself
       ^  ^           |-----u--> pruned      stopped by the scheduler
       |  |           |-----v--> failed      see FailureKind
       |  '---w-------|                      its attempt was lost, the sweep paused, or it made room; another follows
       '--y-- paused <-x-'                   waits at a rung; promoted (y), or pruned (u) when nothing more will be
       |------------z--------> cancelled     the sweep ended first (cancel, budget, target), or a user ended it

A trial's finished state never changes again: a retry is another trial. Each change is one event.
"""

from __future__ import annotations

import hashlib
import math
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any, Generic, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer

from toprung.tuning.spec import Git, SweepSpec


class SweepState(StrEnum):
    QUEUED = "queued"
    RUNNING = "running"
    PAUSED = "paused"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def finished(self) -> bool:
        return self in (SweepState.SUCCEEDED, SweepState.FAILED, SweepState.CANCELLED)


class TrialState(StrEnum):
    PENDING = "pending"
    RUNNING = "running"
    PAUSED = "paused"
    COMPLETED = "completed"
    PRUNED = "pruned"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def finished(self) -> bool:
        return not TRIAL_TRANSITIONS[self]


SWEEP_TRANSITIONS: dict[SweepState, frozenset[SweepState]] = {
    SweepState.QUEUED: frozenset({SweepState.RUNNING, SweepState.PAUSED, SweepState.CANCELLED, SweepState.FAILED}),
    SweepState.RUNNING: frozenset(
        {SweepState.QUEUED, SweepState.PAUSED, SweepState.SUCCEEDED, SweepState.FAILED, SweepState.CANCELLED}
    ),
    SweepState.PAUSED: frozenset({SweepState.QUEUED, SweepState.CANCELLED}),
    SweepState.SUCCEEDED: frozenset({SweepState.QUEUED}),
    SweepState.FAILED: frozenset({SweepState.QUEUED}),
    SweepState.CANCELLED: frozenset({SweepState.QUEUED}),
}
TRIAL_TRANSITIONS: dict[TrialState, frozenset[TrialState]] = {
    TrialState.PENDING: frozenset(
        {TrialState.RUNNING, TrialState.COMPLETED, TrialState.PRUNED, TrialState.FAILED, TrialState.CANCELLED}
    ),
    # running -> pending: a lost attempt waits for its next one
    TrialState.RUNNING: frozenset(
        {
            TrialState.PENDING,
            TrialState.PAUSED,
            TrialState.COMPLETED,
            TrialState.PRUNED,
            TrialState.FAILED,
            TrialState.CANCELLED,
        }
    ),
    TrialState.PAUSED: frozenset({TrialState.PENDING, TrialState.PRUNED, TrialState.FAILED, TrialState.CANCELLED}),
    TrialState.COMPLETED: frozenset(),
    TrialState.PRUNED: frozenset(),
    TrialState.FAILED: frozenset(),
    TrialState.CANCELLED: frozenset(),
}


class FailureKind(StrEnum):
    USER_ERROR = "user_error"
    GPU_OOM = "gpu_oom"
    HOST_OOM = "host_oom"
    NODE_LOST = "node_lost"
    PREEMPTED = "preempted"
    TIMEOUT = "timeout"
    NON_FINITE_METRIC = "non_finite_metric"

    @property
    def lost(self) -> bool:
        """Whether the machine was at fault: that says nothing about the configuration."""
        return self in (FailureKind.NODE_LOST, FailureKind.PREEMPTED)


class Action(StrEnum):
    """What the scheduler did with a trial at a rung."""

    PROMOTE = "promote"
    PAUSE = "pause"
    """It waits at the rung, and goes on once it is among the best."""
    STOP = "stop"


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


MetricValue = Annotated[bool | int | float | str | None, BeforeValidator(_finite)]
"""A metric as stored and sent: NaN and infinities become null, JSON has neither."""

UtcTime = Annotated[
    datetime,
    PlainSerializer(lambda t: t.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"), str, "json"),
]


class Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Failure(Record):
    """Why a trial failed."""

    kind: FailureKind
    message: str
    """One line: the exception's type and text, or what was missing."""
    traceback: str | None = None
    """The user's traceback, frames of Ray and Toprung left out."""


class CheckpointRef(Record):
    """A checkpoint kept for a trial."""

    step: int
    path: str
    """A folder on the machines of the cluster, or its URI in an object store."""
    size_bytes: int | None = None
    """Of its files, as they were written; None: it is not known."""


class RunEnvironment(Record):
    """In what surroundings an attempt ran: what may give the same code, seed and configuration another result."""

    python: str
    platform: str
    """Operating system and C library, as `platform.platform()` has them."""
    cpu: str | None = None
    """The processor's model, where the system says it."""
    omp_num_threads: str | None = None
    """OMP_NUM_THREADS of the worker, which Ray sets to the trial's CPUs."""
    torch_threads: int | None = None
    """`torch.get_num_threads()`; None where the trial doesn't use PyTorch."""
    gpus: tuple[str, ...] = ()
    """Models of the GPUs that the trial sees, once PyTorch has used one."""
    driver: str | None = None
    """Version of NVIDIA's driver."""
    cuda: str | None = None
    """Version of CUDA that PyTorch was built with."""
    packages: dict[str, str] = Field(default_factory=dict)
    """Versions of the installed packages by name, sorted."""
    code: str | None = None
    """The package of the sweep's code, `sha256:…`."""
    git: Git | None = None
    """Where that code stood in Git."""

    @property
    def key(self) -> str:
        """The same for the same surroundings: the store has each once in a sweep."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()


class TrialEnvironment(Record):
    """With what seed a trial's last attempt that ran did so, and in what surroundings."""

    number: int
    attempt: int
    """Of the trial at the moment; one that has just begun has not told its surroundings yet."""
    seed: int | None
    """Of Python's, NumPy's and PyTorch's random numbers; None: nothing is known yet."""
    environment: RunEnvironment | None


class SetAside(Record):
    """A node that gets no new trials: three in a row failed on it, and went well elsewhere."""

    node_id: str
    """Ray's, which a machine has until its Ray is started anew."""
    node: str
    """Its host name."""
    sweep_id: str
    """Whose trials they were."""
    trials: list[int]
    """Their numbers."""
    reason: str
    """What the last of them failed of."""
    at: UtcTime


class Best(Record):
    """The best value seen so far in a sweep."""

    number: int
    step: int
    value: float


class QueuePlace(Record):
    """Where a sweep waits."""

    position: int
    """1 is next."""
    expected_start_at: UtcTime | None = None
    """From how fast the running sweeps' trials ended so far; None where that says nothing."""
    quota: bool = False
    """What holds it is its owner's quota."""


class Sweep(Record):
    """One submitted spec and how it stands."""

    id: str
    name: str
    owner: str | None = None
    """Whose token submitted it; None where access control was off then."""
    state: SweepState
    reason: str | None = None
    """Why it ended, in words; for `failed` the first trial's error."""
    spec: SweepSpec
    created_at: UtcTime
    started_at: UtcTime | None = None
    ended_at: UtcTime | None = None
    cancel_requested: bool = False
    pause_requested: bool = False
    idle_s: float = 0.0
    """Seconds between its first start and its last in which it was paused, over, or queued again."""
    revision: int = 1
    """Grows with each edit of the spec, and with each request for a trial or for the end of one."""
    trials: dict[TrialState, int] = Field(default_factory=dict)
    """How many trials are in each state (states without trials are left out)."""
    num_trials: int | None = None
    """How many trials the sweep will have in all; None where only time bounds it."""
    best: Best | None = None
    num_results: int = 0
    """Results (steps) recorded so far, over all trials."""
    gpu_hours: float = 0.0
    cost: float = 0.0
    """Of these GPU-hours, at the service's prices."""
    queue: QueuePlace | None = None
    """Where it waits, while it does."""


class Trial(Record):
    """One configuration and how its training stands."""

    sweep_id: str
    number: int
    state: TrialState
    params: dict[str, Any]
    """The varied parameters alone, flat: nested names are joined by '/'."""
    config: dict[str, Any]
    """What the trainable was called with: constants and nesting included."""
    attempt: int = 0
    """Number of the present or last attempt, from 1; 0 before the first starts."""
    bracket: int = 0
    step: int = 0
    """Last reported step."""
    value: float | None = None
    """Best value of the objective over all reported steps."""
    best_step: int | None = None
    metrics: dict[str, MetricValue] = Field(default_factory=dict)
    """Metrics of the last reported step."""
    reason: str | None = None
    """Why it is in this state, in words: "stopped at rung 3: 0.41, cutoff 0.35, rank 7 of 9"."""
    failure: Failure | None = None
    checkpoint: CheckpointRef | None = None
    """The best checkpoint that is kept."""
    resume_from: CheckpointRef | None = None
    """The last checkpoint, from which the next attempt would go on; None once the trial has ended."""
    node: str | None = None
    created_at: UtcTime
    started_at: UtcTime | None = None
    ended_at: UtcTime | None = None
    gpu_hours: float = 0.0
    cost: float = 0.0
    request_id: int | None = None
    """The request by which a user asked for it; None: the search proposed it."""
    retry_of: int | None = None
    """The number of the trial whose configuration it tries again."""
    stop_requested: bool = False
    """A user wants it to end."""
    num_failures: int = 0
    """Attempts that failed of the trial itself; lost machines don't count, nor does memory where the ladder helps."""
    ladder_step: int = 0
    """The step of `resources.ladder` that it has come to, from 1; 0: none."""
    seed: int | None = None
    """Of the random numbers of its last attempt that ran."""
    environment: str | None = None
    """The key of the surroundings of that attempt (`RunEnvironment`)."""


class BestTrial(Record):
    """An answer to "which trials are best, and why"."""

    rank: int
    why: str
    trial: Trial
    metrics: dict[str, MetricValue] = Field(default_factory=dict)
    """Of the step at which it was best."""


class Result(Record):
    """The metrics that a trial reported at one step."""

    number: int
    step: int
    attempt: int
    reported_at: UtcTime
    time_total_s: float
    """Seconds of training of this trial so far, over its attempts."""
    metrics: dict[str, MetricValue]


class Values(Record):
    """What trials reported of the objective, in the order in which it came."""

    items: list[tuple[int, int, float]]
    """Number, step, value."""
    last: int
    """The place of the last one: what `after` goes on from."""
    more: bool
    """Whether there are more by now."""


class Decision(Record):
    """What the scheduler did with a trial at a rung, and on what grounds."""

    number: int
    attempt: int
    rung: int
    """The step at which the trials are compared."""
    bracket: int
    action: Action
    value: float
    cutoff: float
    """Value of the worst trial that goes on among those seen; the median, where that is the rule."""
    rank: int
    """1 is best, among the `seen` trials with a value at this rung, itself included."""
    seen: int
    places: int
    """How many of the `seen` may go on."""
    decided_at: UtcTime


class Rung(Record):
    """How a sweep's trials fared at one step at which they are compared, over all brackets."""

    rung: int
    """The step."""
    seen: int
    """Trials that were compared there."""
    promoted: int
    stopped: int


class Event(Record):
    """One change, as streamed. Ids grow by one writer's order and are never used twice."""

    id: int
    sweep_id: str
    type: str
    """sweep.state | sweep.edited | trial.state | trial.results | decision | budget | warning"""
    at: UtcTime
    data: dict[str, Any]


class Milestone(Record):
    """How much of a part of the budget is used."""

    budget: str
    """wall_time_s | gpu_hours | cost | steps"""
    percent: int
    used: float
    limit: float


class Batch(Record):
    """What a runner sends at once. Writing it twice changes nothing."""

    sweep_id: str
    trials: list[Trial] = Field(default_factory=list)
    results: list[Result] = Field(default_factory=list)
    decisions: list[Decision] = Field(default_factory=list)
    dropped_checkpoints: list[int] = Field(default_factory=list)
    """Numbers of finished trials whose checkpoint is no longer kept."""
    warnings: list[str] = Field(default_factory=list)
    milestones: list[Milestone] = Field(default_factory=list)
    environments: list[RunEnvironment] = Field(default_factory=list)
    """Those that the sweep's trials had not named before."""


T = TypeVar("T")


class Page(Record, Generic[T]):
    """A page of a listing; `next_cursor` is None on the last."""

    items: list[T]
    next_cursor: str | None = None


class RungPlan(Record):
    rung: int
    """Step."""
    trials: int
    """Trials expected to reach it."""


class Forecast(Record):
    """What a sweep would cost, before it runs (`POST /v1/sweeps:validate`)."""

    spec: SweepSpec
    num_trials: int | None
    rungs: list[RungPlan]
    expected_steps: int | None
    worst_case_steps: int | None
    """If every trial that may go on does."""
    full_steps: int | None
    """Without early stopping."""
    slots: int | None
    """Trials that fit the cluster at once; None where no cluster was asked."""
    step_s: float | None = None
    """Seconds that a step took in the newest sweep of the same trainable; None where there was none."""
    step_s_from: str | None = None
    """The name of that sweep."""
    expected_gpu_hours: float | None = None
    worst_case_gpu_hours: float | None = None
    expected_cost: float | None = None
    worst_case_cost: float | None = None
    currency: str | None = None


class Usage(Record):
    """What the sweeps of one owner that were started in a period have used so far."""

    owner: str | None
    """None: those that were submitted without access control."""
    sweeps: int
    trials: int
    steps: int
    gpu_hours: float
    cost: float


class UsageReport(Record):
    """By owner; who used most comes first."""

    items: list[Usage]
    currency: str


def utc_now() -> datetime:
    return datetime.now(UTC)
