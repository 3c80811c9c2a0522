"""What users write: plain Ray Tune trainables, well behaved and not."""

from __future__ import annotations

import itertools
import json
import os
import random
import signal
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import ray
from pyarrow import fs
from ray import tune


def good(config: dict[str, Any]) -> None:
    """Learns: the loss falls with each step, faster for a larger x."""
    for step in range(1, 1 + config.get("steps", 9)):
        tune.report({"loss": 1.0 / (step * (1 + config["x"])), "x": config["x"]})


def returns_at_once(config: dict[str, Any]) -> None:
    """Never reports."""


def raises(config: dict[str, Any]) -> None:
    tune.report({"loss": 0.5})
    print("about to fail")
    raise ValueError("the layer expects 576 inputs and gets 512")


def raises_for_some(config: dict[str, Any]) -> None:
    if config["x"] < 0.5:
        raise ValueError(f"x is {config['x']}")
    tune.report({"loss": config["x"]})


def not_a_number(config: dict[str, Any]) -> None:
    tune.report({"loss": 0.5, "other": float("inf")})
    tune.report({"loss": float("nan")})
    time.sleep(60)


def misnamed(config: dict[str, Any]) -> None:
    tune.report({"val_los": 0.5})
    time.sleep(60)


def vanishes(config: dict[str, Any]) -> None:
    tune.report({"loss": 0.5})
    os._exit(7)


def hangs(config: dict[str, Any]) -> None:
    tune.report({"loss": 0.5})
    time.sleep(3600)


def counts(config: dict[str, Any]) -> None:
    """Says each step, and is fast enough for its results to be handed over together."""
    for step in range(1, 1000):
        print(step)
        tune.report({"loss": 1.0 / (step + config["x"])})


def stumbles(config: dict[str, Any]) -> None:
    for _ in range(4):
        tune.report({"loss": 0.5})
    raise ValueError("the fifth is too much")


def lingers(config: dict[str, Any]) -> None:
    for _ in range(3):
        tune.report({"loss": 0.5})
    time.sleep(3600)


def endless(config: dict[str, Any]) -> None:
    step = 0
    while True:
        step += 1
        tune.report({"loss": 1.0 / step})
        time.sleep(0.02)


def saves_for_ever(config: dict[str, Any]) -> None:
    for step in itertools.count(1):
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / "state.json").write_text(json.dumps({"step": step}))
            tune.report({"loss": 1.0 / step}, checkpoint=tune.Checkpoint.from_directory(folder))
        time.sleep(0.1)


def learns_slowly(config: dict[str, Any]) -> None:
    """As `learns`, with time between two steps in which something can happen to it."""
    start, checkpoint = 0, tune.get_checkpoint()
    if checkpoint is not None:
        with checkpoint.as_directory() as folder:
            start = json.loads((Path(folder) / "state.json").read_text())["step"]
    print(f"from step {start}")
    for step in range(start + 1, 10):
        time.sleep(0.4)
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / "state.json").write_text(json.dumps({"step": step}))
            loss = 1.0 / (step * (1 + config["x"]))
            tune.report({"loss": loss}, checkpoint=tune.Checkpoint.from_directory(folder))


def dies_while_saving(config: dict[str, Any]) -> None:
    """Its first attempt is killed in the middle of its third checkpoint, when a part of it is in the storage."""
    start, checkpoint, storage = 0, tune.get_checkpoint(), tune.get_context().get_storage()
    filesystem, folder = storage.storage_filesystem, storage.trial_fs_path
    if checkpoint is not None:
        with checkpoint.as_directory() as saved:
            start = json.loads((Path(saved) / "state.json").read_text())["step"]
    print(f"from step {start}, with {len(_parts(filesystem, folder))} parts there")
    for step in range(start + 1, 5):
        with tempfile.TemporaryDirectory() as local:
            (Path(local) / "state.json").write_text(json.dumps({"step": step}))
            if step == 3 and start == 0:
                _take_long_to_copy(filesystem, Path(local))
                threading.Thread(target=_die_when_some_is_there, args=(filesystem, folder), daemon=True).start()
            tune.report({"loss": 1.0 / step}, checkpoint=tune.Checkpoint.from_directory(local))


def _take_long_to_copy(filesystem: Any, local: Path) -> None:
    if filesystem.type_name == "local":
        with (local / "part-0").open("wb") as file:
            file.truncate(4 << 30)  # with holes: no room is taken here, and there not before it is copied
    else:
        for number in range(60):
            (local / f"part-{number}").write_bytes(b"x" * 1000)


def _die_when_some_is_there(filesystem: Any, folder: str) -> None:
    while not _parts(filesystem, folder):
        time.sleep(0.001)
    os.kill(os.getpid(), signal.SIGKILL)


def _parts(filesystem: Any, folder: str) -> list[str]:
    found = filesystem.get_file_info(fs.FileSelector(folder, allow_not_found=True, recursive=True))
    return [info.path for info in found if info.is_file and "part-" in info.base_name and info.size]


def learns(config: dict[str, Any]) -> None:
    """As `good`, with a checkpoint per step, from which it goes on."""
    start, checkpoint = 0, tune.get_checkpoint()
    if checkpoint is not None:
        with checkpoint.as_directory() as folder:
            start = json.loads((Path(folder) / "state.json").read_text())["step"]
    for step in range(start + 1, 10):
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / "state.json").write_text(json.dumps({"step": step}))
            loss = 1.0 / (step * (1 + config["x"]))
            tune.report({"loss": loss}, checkpoint=tune.Checkpoint.from_directory(folder))


class Learns(tune.Trainable):  # type: ignore[misc]  # Ray is not typed here
    """The same as a class."""

    def setup(self, config: dict[str, Any]) -> None:
        self.x = config["x"]
        self.count = 0

    def step(self) -> dict[str, Any]:
        self.count += 1
        return {"loss": 1.0 / (self.count * (1 + self.x)), "count": self.count}

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        (Path(checkpoint_dir) / "count.json").write_text(json.dumps({"count": self.count}))

    def load_checkpoint(self, checkpoint_dir: str) -> None:
        self.count = json.loads((Path(checkpoint_dir) / "count.json").read_text())["count"]


class SetsUpAgain(Learns):
    """Takes the next trial by its own `setup`, as many do."""

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self.setup(new_config)
        return True


def talks(config: dict[str, Any]) -> None:
    print(f"hello from x = {config['x']}")
    tune.report({"loss": 0.5, "env": os.environ.get("GREETING", "")})


def tells_where(config: dict[str, Any]) -> None:
    import torch  # noqa: PLC0415  the others do without

    where = {"process": os.getpid(), "module": __file__, "threads": torch.get_num_threads()}
    where |= {"niceness": os.getpriority(os.PRIO_PROCESS, 0)}
    tune.report({"loss": 0.5, "env": os.environ.get("GREETING", ""), **where})


def as_given(config: dict[str, Any]) -> None:
    """Reports the config it got."""
    tune.report({"loss": 0.0, "config_json": json.dumps(config, sort_keys=True)})


def checkpoints(config: dict[str, Any]) -> None:
    """A checkpoint per step; the second of four steps is the best."""
    for step, loss in enumerate([0.5, 0.1, 0.3, 0.4], start=1):
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / "state.json").write_text(json.dumps({"step": step, "x": config["x"]}))
            tune.report({"loss": loss + config["x"]}, checkpoint=tune.Checkpoint.from_directory(folder))


def fails_once(config: dict[str, Any]) -> None:
    """Fails in its first attempt at step 3 and goes on from its checkpoint in the second."""
    checkpoint = tune.get_checkpoint()
    start = 0
    if checkpoint is not None:
        with checkpoint.as_directory() as folder:
            start = json.loads((Path(folder) / "state.json").read_text())["step"]
    for step in range(start + 1, 6):
        if step == 4 and start == 0:
            raise RuntimeError("a passing fault")
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / "state.json").write_text(json.dumps({"step": step}))
            tune.report({"loss": 1.0 / step}, checkpoint=tune.Checkpoint.from_directory(folder))


class Plain(tune.Trainable):  # type: ignore[misc]  # Ray is not typed here
    """A class without `reset_config`; what one trial leaves in it must not reach the next."""

    def setup(self, config: dict[str, Any]) -> None:
        assert not hasattr(self, "left_over"), "something of the last trial is still there"
        self.left_over = True
        self.x = config["x"]
        self.count = 0

    def step(self) -> dict[str, Any]:
        self.count += 1
        return {"loss": self.x / self.count, "pid": os.getpid(), "done": self.count == 3}

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        (Path(checkpoint_dir) / "count.json").write_text(json.dumps({"count": self.count}))

    def load_checkpoint(self, checkpoint_dir: str) -> None:
        self.count = json.loads((Path(checkpoint_dir) / "count.json").read_text())["count"]


def on_a_gpu(config: dict[str, Any]) -> None:
    import torch  # noqa: PLC0415  no other trainable here needs it

    weights = torch.ones(8, device="cuda")
    tune.report({"loss": float(weights.sum()), "devices": torch.cuda.device_count()})


def endless_on_a_gpu(config: dict[str, Any]) -> None:
    import torch  # noqa: PLC0415

    weights = torch.zeros(1024, 1024, device="cuda")
    for step in itertools.count(1):
        weights = torch.tanh(weights @ weights / 1024 + 0.1)
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / "state.json").write_text(json.dumps({"step": step}))
            report = {"loss": float(weights.mean()) / step}
            tune.report(report, checkpoint=tune.Checkpoint.from_directory(folder))
        time.sleep(0.2)


def too_large_for_a_gpu(config: dict[str, Any]) -> None:
    import torch  # noqa: PLC0415

    held = []
    while True:
        held.append(torch.zeros(2**33, dtype=torch.uint8, device="cuda"))


def holds_on(config: dict[str, Any], **metrics: Any) -> None:
    """Trains until the file that the environment names is there; a step and a checkpoint each tenth of a second."""
    start, checkpoint = 0, tune.get_checkpoint()
    if checkpoint is not None:
        with checkpoint.as_directory() as folder:
            start = json.loads((Path(folder) / "state.json").read_text())["step"]
    for step in itertools.count(start + 1):
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / "state.json").write_text(json.dumps({"step": step}))
            tune.report({"loss": 1.0 / step, **metrics}, checkpoint=tune.Checkpoint.from_directory(folder))
        if Path(config["until"]).exists():
            return
        time.sleep(0.1)


def fails_on_sick_nodes(config: dict[str, Any]) -> None:
    """As `holds_on`, but fails on the nodes whose ids are names of files in a folder."""
    node = ray.get_runtime_context().get_node_id()
    if (Path(config["sick"]) / node).exists():
        raise RuntimeError("the GPU has fallen off the bus")
    holds_on(config, node=node)


def looks_for_a_token(config: dict[str, Any]) -> None:
    """As whoever may submit could: who started the service may have had an admin's in the environment."""
    print("hello")
    tune.report({"loss": 0.5, "token": os.environ.get("TOPRUNG_TOKEN", "none")})


def goes_on_when_told(config: dict[str, Any]) -> None:
    """As `good` or `learns`; waits after its third step for a word, and leaves one that it has ended."""
    words = Path(config["words"])
    print("begins")
    for step in range(1, 10):
        while step > 3 and not (words / "go").exists():
            time.sleep(0.05)
        metrics = {"loss": 1.0 / (step * (1 + config["x"]))}
        if config["saves"]:
            with tempfile.TemporaryDirectory() as folder:
                (Path(folder) / "state.json").write_text(json.dumps({"step": step}))
                tune.report(metrics, checkpoint=tune.Checkpoint.from_directory(folder))
        else:
            tune.report(metrics)
    print("ends")
    (words / f"ended-{config['x']}").touch()


def fails_but_in_its_second_attempt(config: dict[str, Any]) -> None:
    """The second goes on for ever."""
    attempts = Path(config["folder"])
    attempt = 1 + len(list(attempts.iterdir()))
    (attempts / str(attempt)).touch()
    for step in itertools.count(1):
        tune.report({"loss": 1.0 / step})
        if attempt != 2:
            raise RuntimeError("a fault that stays")
        time.sleep(0.1)


def eats_memory(config: dict[str, Any]) -> None:
    """Little for a machine, much beside what else Ray could free."""
    tune.report({"loss": 0.5})
    food = b"x" * (600 * 1024**2)
    (Path(config["words"]) / "eats").touch()
    time.sleep(3600)
    print(len(food))


def slow_to_leave(config: dict[str, Any]) -> None:
    """As with a `finally` that uploads something."""
    try:
        for step in itertools.count(1):
            tune.report({"loss": 1.0 / step})
            time.sleep(0.05)
    finally:
        time.sleep(4)


def needs_more(config: dict[str, Any]) -> None:
    """Memory runs out at step 2 where it has less than it needs of `config["of"]`; it goes on from its checkpoint."""
    has = tune.get_context().get_trial_resources().required_resources.get(config["of"], 0.0)
    checkpoint, start = tune.get_checkpoint(), 0
    if checkpoint is not None:
        with checkpoint.as_directory() as folder:
            start = int((Path(folder) / "step").read_text())
    for step in range(start + 1, 4):
        if step > 1 and has < config["needs"]:
            run_out(config["of"])
        while step > 2 and not Path(config["gate"]).exists():
            time.sleep(0.05)
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / "step").write_text(str(step))
            loss = config["needs"] + 1 / step
            tune.report({"loss": loss, "has": has}, checkpoint=tune.Checkpoint.from_directory(folder))


def run_out(of: str) -> None:
    if of == "GPU":  # one that is full can't be had here
        import torch  # noqa: PLC0415

        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has 39 MiB free.")
    bytes(2**62)


class StumblesAtTheStart(Plain):
    """Fails in `setup` of its first attempt, in the way that its config says."""

    def setup(self, config: dict[str, Any]) -> None:
        super().setup(config)
        tried = Path(config["folder"]) / self.trial_id
        if config["how"] == "not" or tried.exists():
            return
        tried.touch()
        print("about to fail")
        if config["how"] == "dies":
            os._exit(7)
        try:
            raise KeyError("hidden")
        except KeyError as error:
            raise ValueError("the layer expects 576 inputs and gets 512") from error


def small_group(config: dict[str, Any]) -> None:
    """The first trial moves its worker into a control group, the next one there takes more memory than that has."""
    if config["how"] == "enters":
        (Path(config["group"]) / "cgroup.procs").write_text(str(os.getpid()))
    else:
        print(len(b"x" * (400 * 1024**2)))
    tune.report({"loss": 1.0})


def draws(config: dict[str, Any]) -> None:
    """The same each time that it begins with the same seed."""
    for _ in range(3):
        tune.report({"loss": config["x"] + random.random() + float(np.random.rand()), "at": time.time()})


def tells_the_time(config: dict[str, Any]) -> None:
    """Another one each time that it is run, but for the first step."""
    tune.report({"loss": config["x"]})
    tune.report({"loss": time.time()})
