"""Workers that the kernel kills because their control group is out of memory.

Nobody is told of such a kill, but the kernel counts them: a worker notes the count when an attempt begins, and a look
after its death shows whether it has grown. Where there is no such count, as on macOS, nothing is known.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
from pathlib import Path

import ray

logger = logging.getLogger(__name__)

_GROUPS = Path("/sys/fs/cgroup")
_LOOK_S, _BRIEF_LOOK_S = 15.0, 3.0
"""The sweep's loop waits no longer for another node's answer, for which a process has to start there: the second, where
what becomes of the trial doesn't hang on it."""


def note(folder: Path | None = None, counter: Path | None = None) -> None:
    """Takes note of how many processes of this one's group the kernel has killed.

    Args:
        folder: where the note goes; none: into Ray's own on this node.
        counter: the file in which the kernel counts; none: that of this process's group.
    """
    with contextlib.suppress(OSError):
        path = _note_of(os.getpid(), folder)
        path.unlink(missing_ok=True)  # a disk that is full leaves none
        counter = counter or _counter()
        if counter is not None:
            path.parent.mkdir(exist_ok=True)
            path.write_text(f"{_kills(counter)} {counter}")


def was_killed(text: str, *, matters: bool = True) -> bool:
    """Whether the kernel has killed in the group of a worker since its last attempt began.

    Args:
        text: what Ray says of the worker's death.
        matters: whether another attempt would have more memory then.
    """
    pid, node = re.search(r"^\s*pid: (\d+)$", text, re.MULTILINE), re.search(r"^\s*ip: (\S+)$", text, re.MULTILINE)
    if pid is None or node is None:
        return False
    if node[1] == ray.util.get_node_ip_address():
        return has_grown(int(pid[1]))
    look = ray.remote(num_cpus=0, max_retries=0, resources={f"node:{node[1]}": 0.001})(has_grown).remote(int(pid[1]))
    try:
        return bool(ray.get(look, timeout=_LOOK_S if matters else _BRIEF_LOOK_S))
    except Exception as error:  # too late, or the node has gone too
        logger.warning("nobody could look whether the kernel has killed process %s: %s", pid[1], error)
        ray.cancel(look)
        return False


def has_grown(pid: int, folder: Path | None = None) -> bool:
    """Whether the count is above what a process of this node noted. The note is taken away."""
    path = _note_of(pid, folder)
    try:
        noted, _, counter = path.read_text().partition(" ")
        path.unlink()
        return _kills(Path(counter)) > int(noted)
    except (OSError, ValueError):  # none, or one that could not be written
        return False


def _note_of(pid: int, folder: Path | None) -> Path:
    folder = folder or Path(ray._private.worker._global_node.get_session_dir_path())
    return folder / "toprung-kills" / str(pid)


def _counter(memberships: Path = Path("/proc/self/cgroup"), groups: Path = _GROUPS) -> Path | None:
    """The file in which the kernel counts for this process's group. In a container it may be at the root."""
    with contextlib.suppress(OSError):
        for line in memberships.read_text().splitlines():
            _, controllers, group = line.split(":", 2)
            if "memory" in controllers.split(","):
                root, name = groups / "memory", "memory.oom_control"
            elif not controllers:  # version 2
                root, name = groups, "memory.events"
            else:
                continue
            for path in (root / group.lstrip("/") / name, root / name):
                with contextlib.suppress(OSError, ValueError):
                    _kills(path)
                    return path
    return None


def _kills(counter: Path) -> int:
    """
    Raises:
        OSError: there is no such file.
        ValueError: it does not say.
    """
    found = re.search(r"^oom_kill (\d+)$", counter.read_text(), re.MULTILINE)
    if found is None:
        raise ValueError(f"{counter} has no oom_kill")
    return int(found[1])
