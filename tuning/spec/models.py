"""The spec's models: frozen, complete, shared by the client and the service."""

from __future__ import annotations

from functools import cached_property
from typing import Annotated, Any, Literal, Self

from pydantic import Field, StringConstraints, field_serializer, field_validator, model_validator

from toprung.tuning.spec.checks import cross_problems
from toprung.tuning.spec.labels import wrong_with
from toprung.tuning.spec.parameters import BaseDistribution, Model, ParameterNode, problem
from toprung.tuning.spec.parts import Parts, build_space
from toprung.tuning.spec.space import SearchSpace

Goal = Literal["minimize", "maximize"]
Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")]
Positive = Annotated[float, Field(gt=0)]
Text = Annotated[str, StringConstraints(min_length=1, max_length=500)]


class Environment(Model):
    """What the trials need around them (Ray's runtime environment)."""

    pip: tuple[Text, ...] = ()
    """Requirements installed for the sweep's processes alone."""
    env_vars: dict[str, str] = Field(default_factory=dict)
    """Environment variables. Not for secrets: a spec is stored and shown."""


class Git(Model):
    """Where the code folder stood in Git when it was packed. Filled in by the client; nothing but a note."""

    commit: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{7,64}$")]
    dirty: bool = False
    """Whether files of the package differ from the commit."""
    changed: tuple[Text, ...] = Field(default=(), max_length=100)
    """Those files, relative to the folder; the first hundred."""


class Metric(Model):
    """The objective."""

    name: Text
    goal: Goal
    target: float | None = None
    """A value that ends the sweep as soon as a trial reaches it."""

    def reached(self, value: float) -> bool:
        """Whether `value` is as good as the target, where there is one."""
        if self.target is None:
            return False
        return value <= self.target if self.goal == "minimize" else value >= self.target


class Search(Model):
    """How configurations are proposed."""

    algorithm: Literal["auto", "tpe", "gp", "random", "cmaes", "qmc", "grid"] = "auto"
    """auto: half of the proposals by TPE, which explores, half by a Gaussian process, which homes in."""
    seed: int | None = Field(default=None, ge=0, le=2**32 - 1)
    """Makes proposals repeatable; none: drawn anew each time."""
    points: tuple[dict[str, Any], ...] = Field(default=(), max_length=1_000)
    """Configurations to try first, in this order, nested as in `parameters`; what one leaves out is drawn at random."""
    prior: tuple[Text, ...] = Field(default=(), max_length=100)
    """Earlier sweeps, by id or name, whose trials the search begins with; once submitted, ids."""


class AshaScheduler(Model):
    """Asynchronous successive halving: at each rung only the best 1/η of the trials go on."""

    type: Literal["asha"] = "asha"
    max_t: int = Field(ge=1)
    """Steps of a full training; the top rung."""
    grace_period: int = Field(default=1, ge=1)
    """Steps that every trial gets; the lowest rung."""
    reduction_factor: int = Field(default=3, ge=2)
    """η: rungs are η times apart, and 1/η of the trials pass each."""
    brackets: int = Field(default=1, ge=1)
    """Trials are split over this many ladders, each of which starts η times later than the one before."""
    mode: Literal["promote", "stop"] = "stop"
    """What happens to a trial that does not pass a rung: it is stopped, or it pauses and may be promoted later."""

    @model_validator(mode="after")
    def _valid(self) -> Self:
        _check_grace(self.grace_period, self.max_t)
        if self.brackets > 1 and self.grace_period * self.reduction_factor ** (self.brackets - 1) >= self.max_t:
            raise problem(
                "too_many_brackets",
                f"brackets ({self.brackets}) leave the last one no rung below max_t ({self.max_t}); use fewer",
                at="brackets",
            )
        return self


class MedianScheduler(Model):
    """The median stopping rule: a trial stops whose best is worse than the median of the others' running averages."""

    type: Literal["median"] = "median"
    max_t: int = Field(ge=1)
    """Steps of a full training."""
    grace_period: int = Field(default=1, ge=1)
    """The first step at which a trial may be stopped."""
    min_samples: int = Field(default=3, ge=1)
    """Other trials that have to have been at a step before one is stopped there (3 in Ray Tune and Katib)."""

    @model_validator(mode="after")
    def _valid(self) -> Self:
        _check_grace(self.grace_period, self.max_t)
        return self


def _check_grace(grace_period: int, max_t: int) -> None:
    if grace_period > max_t:
        text = f"grace_period ({grace_period}) must not be above max_t ({max_t})"
        raise problem("grace_above_max_t", text, at="grace_period")


class NoScheduler(Model):
    """No early stopping."""

    type: Literal["none"] = "none"
    max_t: int | None = Field(default=None, ge=1)
    """Steps after which a trial is finished; none: when it returns by itself."""


class StopWhen(Model):
    """What ends a sweep early, besides `metric.target`."""

    no_improvement_trials: int | None = Field(default=None, ge=1)
    """Trials that ended in a row, none of which was better than the best before them."""


class Budget(Model):
    """What a sweep may use; whatever is used up first ends it."""

    trials: int | None = Field(default=None, ge=1)
    steps: int | None = Field(default=None, ge=1)
    """Training steps (reports) over all trials."""
    wall_time_s: Positive | None = None
    gpu_hours: Positive | None = None
    cost: Positive | None = None
    """Of its GPU-hours, in the service's currency and at its prices."""


class LadderStep(Model):
    """What a trial has instead of the same field of `resources`, after its memory has run out."""

    cpu: float | None = Field(default=None, ge=0)
    gpu: float | None = Field(default=None, ge=0)
    accelerator_type: Text | None = None
    memory_gb: Positive | None = None


class Resources(Model):
    """What one trial needs, or each of its workers."""

    cpu: float = Field(default=1.0, ge=0)
    gpu: float = Field(default=0.0, ge=0)
    """GPUs, or a fraction of one that several trials share."""
    accelerator_type: Text | None = None
    """Ray's name of a GPU, such as A100."""
    memory_gb: Positive | None = None
    """Host memory, 10^9 bytes."""
    labels: dict[Text, Text] = Field(default_factory=dict)
    """What labels its node must have, as Ray's label selectors: `{ray.io/market-type: spot}`."""
    ladder: tuple[LadderStep, ...] = ()
    """What a trial is tried again with once its memory has run out, one step after the other."""
    workers: int | None = Field(default=None, ge=1, le=10_000)
    """Processes of a trial that calls `toprung.tuning.torch.distribute`, with so much each; none: the trial is one."""

    @property
    def places(self) -> int:
        """How many times a trial takes what is said here."""
        return self.workers or 1

    @property
    def gpus(self) -> float:
        """Of a trial with all its workers."""
        return self.gpu * self.places

    @model_validator(mode="after")
    def _valid(self) -> Self:
        for key, wanted in self.labels.items():
            if (wrong := wrong_with(key, wanted)) is not None:
                raise problem("label", wrong, at="labels")
        for step in range(len(self.ladder) + 1):
            _check_amounts(self.at(step), f"ladder/{step - 1}/" if step else "")
            if step and self.at(step) == self.at(step - 1):
                text = "has what the trial had before it: each step of a ladder must change something"
                raise problem("unchanged_step", text, at=f"ladder/{step - 1}")
        return self

    def at(self, step: int) -> Resources:
        """What a trial has at a step of the ladder, from 1; 0: before the first."""
        if not self.ladder:  # asked for with each result
            return self
        changes = self.ladder[step - 1].model_dump(exclude_none=True) if step else {}
        return self.model_copy(update={**changes, "ladder": ()})


def _check_amounts(resources: Resources, where: str) -> None:
    if resources.gpu > 1 and resources.gpu != int(resources.gpu):
        text = f"gpu ({resources.gpu:g}) must be a whole number above 1; only one GPU can be shared"
        raise problem("fractional_gpus", text, at=f"{where}gpu")
    if resources.workers is not None and resources.gpu != int(resources.gpu):
        text = f"gpu ({resources.gpu:g}) must be a whole number where there are workers: NCCL wants one each"
        raise problem("shared_gpu", text, at=f"{where}gpu")
    if resources.cpu == 0 and resources.gpu == 0:
        text = "cpu and gpu must not both be 0: nothing would bound the trials"
        raise problem("no_resources", text, at=f"{where}cpu")


class Failures(Model):
    """What happens when a trial fails."""

    max_retries: int = Field(default=2, ge=0)
    """Further attempts, from the last checkpoint; those that are lost with their machine don't count."""
    trial_timeout_s: Positive | None = None
    """An attempt that takes longer ends, and its trial has failed."""
    report_timeout_s: Positive | None = None
    """An attempt that has reported nothing for so long is ended, and counts as one that failed."""


class Wandb(Model):
    """Weights & Biases. The key is read from the service's environment (WANDB_API_KEY), never from a spec."""

    project: Text
    entity: Text | None = None
    mode: Literal["offline", "online", "disabled"] = "offline"
    tags: tuple[Text, ...] = ()
    group: Text | None = None
    """None: the sweep, by name and id."""
    job_type: Text = "trial"
    """Of the trials' runs; the sweep's own has `sweep`."""
    notes: Text | None = None
    checkpoint: bool = True
    """Whether the sweep's run has the best checkpoint as an artifact."""


class Mlflow(Model):
    """MLflow. Credentials are read from the service's environment (MLFLOW_TRACKING_USERNAME), never from a spec."""

    experiment: Text
    tracking_uri: Text | None = None
    """None: MLFLOW_TRACKING_URI of the service's environment, else an SQLite file in the service's home."""

    @field_validator("tracking_uri")
    @classmethod
    def _no_secret(cls, uri: str | None) -> str | None:
        scheme, _, rest = (uri or "").partition("://")
        if "@" in rest and not scheme.startswith(("sqlite", "file")):
            raise problem(
                "secret",
                "tracking_uri must not hold a user or password: a spec is stored and shown",
                hint="set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or the whole MLFLOW_TRACKING_URI, "
                "in the service's environment",
            )
        return uri


class Tracking(Model):
    """Where results are shown besides Toprung."""

    tensorboard: bool = True
    wandb: Wandb | None = None
    mlflow: Mlflow | None = None


class SweepSpec(Model):
    """One sweep: what to run, what to vary, how to search, what it may use. Immutable, and never invalid."""

    name: Name | None = None
    """Small letters, digits and dashes; none: the service makes one up."""
    trainable: Annotated[
        str, StringConstraints(pattern=r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*(\.[A-Za-z_]\w*)*$")
    ]
    """module:attribute of a Ray Tune function or class trainable."""
    code: Text | None = None
    """Folder with the trainable, packed and uploaded by the client; `sha256:…` of an uploaded one over HTTP."""
    git: Git | None = None
    """Commit of that folder and what was changed since; the client's to fill in, none outside of Git."""
    environment: Environment = Environment()
    metric: Metric
    parameters: dict[str, ParameterNode]
    constraints: tuple[Text, ...] = ()
    """Relations that every configuration meets, such as "l2 <= l1"."""
    search: Search = Search()
    scheduler: Annotated[AshaScheduler | MedianScheduler | NoScheduler, Field(discriminator="type")] = NoScheduler()
    budget: Budget = Budget()
    stop_when: StopWhen = StopWhen()
    concurrency: int | None = Field(default=None, ge=1)
    """Most trials at once; none: as many as fit the cluster."""
    resources: Resources = Resources()
    failures: Failures = Failures()
    trial_seed: int | None = Field(default=None, ge=0, le=2**32 - 1)
    """Random numbers that each trial begins with; none: another for each, of `search.seed` and its number."""
    tracking: Tracking = Tracking()
    priority: int = Field(default=0, ge=-1000, le=1000)
    """Higher goes first."""
    weight: float = Field(default=1.0, gt=0)
    """Share among sweeps of the same priority."""
    preemption: bool = False
    """Whether it takes its share at once: trials of other sweeps beyond theirs pause at their next checkpoint."""

    @field_validator("parameters")
    @classmethod
    def _names(cls, tree: dict[str, Any]) -> dict[str, Any]:
        if not tree:
            raise problem("no_parameters", "parameters must not be empty")
        return tree

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        problems = cross_problems(self._parts())
        if problems:
            raise problem("inconsistent", "; ".join(f"{p.pointer} {p.message}" for p in problems))
        return self

    @field_serializer("parameters")
    def _plain(self, tree: dict[str, Any]) -> dict[str, Any]:
        return {
            name: node.model_dump(mode="json", exclude_defaults=True)
            if isinstance(node, BaseDistribution)
            else self._plain(node)
            if isinstance(node, dict)
            else node
            for name, node in tree.items()
        }

    @cached_property
    def space(self) -> SearchSpace:
        """The search space, flattened."""
        return build_space(self._parts())

    def _parts(self) -> Parts:
        return Parts(
            parameters=self.parameters,
            constraints=self.constraints,
            algorithm=self.search.algorithm,
            budget=bool(self.budget.model_dump(exclude_none=True)),
            trials=self.budget.trials,
            points=self.search.points,
        )
