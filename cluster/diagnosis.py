"""What is wrong with a live cluster, by what its nodes have said of themselves. Plain Python: no call is made here."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from toprung.cluster.finding import Finding, error, warning
from toprung.cluster.records import Disk, Node, NodeReport, NodeState, Vitals

_CLOCK_WARNING_S, _CLOCK_ERROR_S = 1.0, 60.0
_SPILL_FRAC = 0.95
"""Ray writes no objects to a disk that is fuller (its `local_fs_capacity_threshold`)."""
_LITTLE_BYTES, _NO_ROOM_BYTES = 10**9, 10**8
_FEW_FILES = 4096
"""Ray's processes have hundreds of sockets and files open with a few dozen workers, thousands on the head."""


@dataclass(frozen=True)
class Head:
    """What a check-up has seen of the head itself."""

    lets_strangers_in: bool
    """Whether Ray's GCS answers without the token."""
    dashboard: str | None
    """`host:port` where Ray's dashboard listens; None: there is none."""


def diagnose(reports: Sequence[NodeReport], head: Head) -> Iterator[Finding]:
    """All findings: those about the whole cluster, then those about each node."""
    yield from _access(head)
    reference = next((r.vitals for r in reports if r.node.is_head and r.vitals is not None), None)
    for report in reports:
        yield from _presence(report)
        if report.vitals is None:
            continue
        if reference is not None and not report.node.is_head:
            yield from _versions(report.node, report.vitals, reference)
        for rule in _RULES:
            yield from rule(report.node, report.vitals)
        yield from _room(report)
        yield from _clock(report)
        yield from _storage(report)
        yield from _network(report)


def _access(head: Head) -> Iterator[Finding]:
    if head.lets_strangers_in:
        yield error(
            "auth_off",
            "head",
            "Ray answers without a token: whoever reaches its ports runs code on every node",
            "start Ray with RAY_AUTH_MODE=token on all nodes; `toprung cluster check FILE` says where",
        )
    host = (head.dashboard or "").rpartition(":")[0].strip("[]")
    if host and host != "localhost" and not ipaddress.ip_address(host).is_loopback:
        yield warning(
            "open_port",
            "head",
            f"Ray's dashboard and its job API listen on {head.dashboard}",
            "start Ray with --dashboard-host=127.0.0.1, and use `ray dashboard FILE` to see it",
        )


def _presence(report: NodeReport) -> Iterator[Finding]:
    node, place = report.node, _place(report.node)
    if node.state is NodeState.LOST:
        yield warning("node_lost", place, node.reason or "it died", "start Ray there again, or leave it: trials go on")
    elif node.state is NodeState.ASIDE:
        yield warning(
            "node_set_aside",
            place,
            f"it gets no new trials: {node.reason}",
            f"mend it, then `toprung cluster take-back {node.name}`",
        )
    if report.trouble is not None:
        yield error(
            "no_answer",
            place,
            report.trouble,
            "log in there: is the machine overloaded, its disk full, its Ray another version? Else restart its Ray",
        )


def _versions(node: Node, vitals: Vitals, head: Vitals) -> Iterator[Finding]:
    place = _place(node)
    if _minor(vitals.python) != _minor(head.python):
        message = f"Python {vitals.python}, and {head.python} on the head: what one pickles the other can't read"
        yield error("version", place, message, f"make its environment with Python {_minor(head.python)}")
    for package, on_head in head.packages.items():
        here, there = _release(vitals.packages.get(package)), _release(on_head)
        if here == there:
            continue
        tell = error if package in ("ray", "toprung") else warning
        said = f"{package} {here}" if here else f"{package} is not installed"
        yield tell("version", place, f"{said}, and {there or 'none'} on the head", f"pip install {package}=={there}")


def _gpus(node: Node, vitals: Vitals) -> Iterator[Finding]:
    place, by_ray = _place(node), int(node.gpus)
    for fault in vitals.gpu_faults:
        yield error("gpu_fault", place, fault, "`nvidia-smi` and `dmesg | grep -i xid` there say more; reboot it")
    found = len(vitals.gpus or ())
    if found < by_ray:
        why = "no NVIDIA driver answers" if vitals.gpus is None else f"NVML finds {found}"
        yield error(
            "gpu_count",
            place,
            f"Ray counts {_gpu_count(by_ray)}, and {why}: trials there fail",
            "install the driver or mend the GPU (`nvidia-smi`), or start Ray without --num-gpus",
        )
    elif found > by_ray:
        yield warning(
            "gpu_count",
            place,
            f"NVML finds {_gpu_count(found)}, and Ray counts {by_ray}: the others are idle",
            "start Ray there without --num-gpus and CUDA_VISIBLE_DEVICES, unless they are somebody else's",
        )


def _cuda(node: Node, vitals: Vitals) -> Iterator[Finding]:
    place, torch = _place(node), vitals.packages.get("torch")
    if not vitals.gpus or torch is None:
        return
    if vitals.cuda is None:
        yield error(
            "torch_without_cuda",
            place,
            f"it has {_gpu_count(len(vitals.gpus))}, and PyTorch {torch} is built without CUDA",
            "pip install --force-reinstall torch from the index of a CUDA build (pytorch.org says which)",
        )
    elif vitals.driver_cuda is not None and _major(vitals.driver_cuda) < _major(vitals.cuda):
        yield error(
            "driver_too_old",
            place,
            f"PyTorch is built for CUDA {vitals.cuda}, the driver {vitals.driver} runs {vitals.driver_cuda} at most",
            f"install a newer driver, or a PyTorch for CUDA {_major(vitals.driver_cuda)}",
        )


def _limits(node: Node, vitals: Vitals) -> Iterator[Finding]:
    place = _place(node)
    if vitals.num_files < _FEW_FILES:
        yield warning(
            "few_files",
            place,
            f"a process there may have {vitals.num_files:,} files open",
            "`ulimit -n 65536` before `ray start`; LimitNOFILE in a systemd unit, --ulimit nofile in Docker",
        )
    if vitals.shm_bytes is not None and vitals.shm_bytes < node.object_store_bytes:
        yield warning(
            "small_shm",
            place,
            f"/dev/shm has {_gb(vitals.shm_bytes)}, and Ray's object store is to have {_gb(node.object_store_bytes)}: "
            "Ray keeps it on the disk, which is slow",
            "--shm-size in Docker, a larger /dev/shm in a pod, or a smaller --object-store-memory",
        )


_RULES: tuple[Callable[[Node, Vitals], Iterator[Finding]], ...] = (_gpus, _cuda, _limits)


def _room(report: NodeReport) -> Iterator[Finding]:
    assert report.vitals is not None
    place, session = _place(report.node), report.vitals.session
    if session.free_bytes < (1 - _SPILL_FRAC) * session.total_bytes:
        yield error(
            "disk_full",
            place,
            f"the disk of Ray's session is more than {_SPILL_FRAC:.0%} full: {_left(session)}, and Ray keeps off it",
            "make room, or start Ray with --temp-dir on a larger disk",
        )
    elif session.free_bytes < _LITTLE_BYTES:
        message = f"the disk of Ray's session, with its logs, has little room: {_left(session)}"
        yield warning("disk_small", place, message, "make room, or start Ray with --temp-dir on a larger disk")
    for folder, disk in report.vitals.disks.items():
        if not report.node.is_head and report.storage.get(folder) is None:
            continue  # the head's, told there
        if disk.free_bytes < _NO_ROOM_BYTES:
            yield error(
                "disk_full", place, f"the disk of {folder} is full: {_left(disk)}", "`toprung gc`, a larger disk"
            )
        elif disk.free_bytes < _LITTLE_BYTES:
            message = f"the disk of {folder} has little room: {_left(disk)}"
            yield warning("disk_small", place, message, "`toprung gc --dry-run` shows what nobody needs")


def _clock(report: NodeReport) -> Iterator[Finding]:
    if report.clock_ahead_s is None or report.clock_error_s is None:
        return
    surely_s = abs(report.clock_ahead_s) - report.clock_error_s
    if surely_s > _CLOCK_WARNING_S:
        tell = error if surely_s > _CLOCK_ERROR_S else warning
        way = "ahead of" if report.clock_ahead_s > 0 else "behind"
        message = (
            f"its clock is {abs(report.clock_ahead_s):.1f} s {way} the head's: times and their differences are wrong"
        )
        yield tell("clock", _place(report.node), message, "run chrony or systemd-timesyncd on all machines")


def _storage(report: NodeReport) -> Iterator[Finding]:
    for folder, wrong in report.storage.items():
        if wrong is not None:
            yield error(
                "storage",
                _place(report.node),
                f"{folder}: {wrong}",
                "mount the same file system there on all machines, writable for the user that runs Ray",
            )


def _network(report: NodeReport) -> Iterator[Finding]:
    if report.unreachable:
        yield error(
            "unreachable",
            _place(report.node),
            f"it can't connect to {', '.join(report.unreachable)}",
            "open TCP 1024-65535 between the cluster's machines: docs/cluster.md, what listens where",
        )


def _place(node: Node) -> str:
    return node.name if node.name == node.address else f"{node.name} ({node.address})"


def _release(version: str | None) -> str | None:
    """Without what says how it was built: a head without GPUs has another build of PyTorch than its workers."""
    return None if version is None else version.partition("+")[0]


def _minor(version: str) -> str:
    return ".".join(version.split(".")[:2])


def _major(version: str) -> int:
    return int(version.split(".")[0])


def _gb(size: float) -> str:
    return f"{size / 1e9:.1f} GB"


def _left(disk: Disk) -> str:
    return f"{_gb(disk.free_bytes)} of {_gb(disk.total_bytes)} are free"


def _gpu_count(count: int) -> str:
    return "1 GPU" if count == 1 else f"{count} GPUs"
