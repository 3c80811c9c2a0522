"""The records of a live cluster: what its nodes have and do, and what a check-up of them has found."""

from __future__ import annotations

from enum import StrEnum

from pydantic import Field

from toprung.cluster.finding import Finding
from toprung.tuning.records import QueuePlace, Record, SweepState


class NodeState(StrEnum):
    ALIVE = "alive"
    LEAVING = "leaving"
    """It is being drained: nothing new starts there."""
    ASIDE = "set aside"
    """It gets no new trials, as others failed there."""
    LOST = "lost"
    """It died, and no other has come at its address."""


class Node(Record):
    """A machine of the cluster, as Ray keeps its books."""

    id: str
    """Ray's, until its Ray is started anew."""
    name: str
    """Its host name."""
    address: str
    is_head: bool
    state: NodeState
    reason: str | None = None
    """Why it is not alive, in words."""
    cpus: float = 0.0
    cpus_used: float = 0.0
    """By what Ray has given out, not by what is busy; as with GPUs."""
    gpus: float = 0.0
    gpus_used: float = 0.0
    gpu_type: str | None = None
    """Ray's name of it, such as A100."""
    memory_bytes: int = 0
    """For trials: what the object store has is not in it."""
    object_store_bytes: int = 0
    num_trials: int = 0
    """Trials with a worker there."""


class SweepPlaces(Record):
    """What a sweep that runs or waits has of the cluster."""

    sweep_id: str
    name: str
    owner: str | None
    state: SweepState
    num_running: int
    """Trials that run."""
    share: int | None
    """Trials that it may have at once; None while it waits, or where nobody says."""
    priority: int
    weight: float
    queue: QueuePlace | None = None
    """Where it waits."""


class ClusterStatus(Record):
    """The machines, and who uses them."""

    nodes: list[Node]
    """The head first, lost ones last."""
    sweeps: list[SweepPlaces]
    """That run or wait, in the order in which they are served."""


class Disk(Record):
    """Of a folder."""

    total_bytes: int
    free_bytes: int


class Vitals(Record):
    """What a node says of itself."""

    python: str
    packages: dict[str, str | None]
    """Versions of ray, torch, toprung and optuna; None: not installed."""
    cuda: str | None
    """Version of CUDA that its PyTorch was built for."""
    gpus: list[str] | None
    """Models by NVML, of those that answer; None: there is no NVIDIA driver."""
    gpu_faults: list[str] = Field(default_factory=list)
    """What those say that don't."""
    driver: str | None = None
    driver_cuda: str | None = None
    """The newest version of CUDA that the driver can run."""
    session: Disk
    """Of the folder of Ray's session."""
    disks: dict[str, Disk]
    """By folder: of what all share, on the head of the service's home."""
    shm_bytes: int | None
    """Size of /dev/shm."""
    num_files: int
    """Files that a process there may have open."""


class NodeReport(Record):
    """What a check-up has found out about a node."""

    node: Node
    vitals: Vitals | None = None
    """None: it did not answer."""
    trouble: str | None = None
    """Why not."""
    clock_ahead_s: float | None = None
    """Of the head's clock."""
    clock_error_s: float | None = None
    """Half of the way there and back, by which that may be wrong."""
    storage: dict[str, str | None] = Field(default_factory=dict)
    """By folder that all nodes must share, or its URI in a bucket: what is wrong with it there; None: nothing."""
    unreachable: list[str] = Field(default_factory=list)
    """`address:port` of others that it can't connect to."""
    took_s: float = 0.0


class CheckUp(Record):
    """A check-up of all nodes."""

    nodes: list[NodeReport]
    findings: list[Finding]
    took_s: float
