"""A Tune class trainable that owns the training loop: to be resumed, reused, and kept from running out of memory."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from ray import tune
from torch import Tensor, nn
from torch.optim.lr_scheduler import ReduceLROnPlateau

from toprung.tuning.torch.batches import num_samples, to_device
from toprung.tuning.torch.hints import add_hint
from toprung.tuning.torch.histograms import add_histograms
from toprung.tuning.torch.memory import figures, is_out_of_memory, make_free, restart_peak
from toprung.tuning.torch.report import numbers
from toprung.tuning.torch.safe import MemorySafe, Part, checked_loss
from toprung.tuning.torch.state import OnDevice, Passes, random_state, set_random_state
from toprung.tuning.torch.writer import trial_writer

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

logger = logging.getLogger("toprung")

CHECKPOINT = "state.pt"
_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


class TorchTrainable(tune.Trainable):  # type: ignore[misc]  # Ray is not typed here
    """Subclass it and say what is trained; how is taken care of.

        class Digits(TorchTrainable):
            def build(self, config):
                model = nn.Linear(64, 10)
                return model, torch.optim.SGD(model.parameters(), lr=config["lr"])

            def train_data(self, config):
                return DataLoader(digits(train=True), config["batch_size"], shuffle=True)

            def eval_data(self, config):
                return DataLoader(digits(train=False), 512)

            def training_step(self, batch):
                inputs, labels = batch
                return F.cross_entropy(self.model(inputs), labels)

            def evaluate(self, model, data):
                right = torch.cat([model(inputs).argmax(1) == labels for inputs, labels in data])
                return {"accuracy": right.double().mean()}

    A result is a pass over the training data (or `steps_per_result` steps): `train_loss`, the mean over its samples,
    what `evaluate` returns, and `memory/…` (`toprung.tuning.torch.figures`).

    A batch that doesn't fit into memory is computed in parts (`MemorySafe`). A checkpoint has everything that the rest
    of the training depends on, random states and the place in the data included: a training that is resumed on the
    same kind of device is the same as one that was never interrupted. Nothing of a trial is left in its process when
    the next one begins there.

    The attributes below may be set in the class, or in `build` from the config.
    """

    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    """Of matrix products and the like (autocast); with fp16 the loss is scaled so that small gradients aren't lost."""
    accumulate: int = 1
    """Batches whose mean gradient makes one step."""
    clip_norm: float | None = None
    """Largest norm of all gradients together."""
    compile: bool = False
    """Whether the model is compiled (`torch.compile`)."""
    steps_per_result: int | None = None
    """Steps of the optimiser to a result; None for as many as there are in a pass over the data."""
    lr_scheduler_every: Literal["result", "step"] = "result"
    lr_metric: str = "train_loss"
    """What a `ReduceLROnPlateau` looks at, among all metrics of a result."""
    trace_allocations: bool = False
    """Whether the warning of growing memory names the lines of code that allocate it. Takes milliseconds a step."""
    histograms_every: int | None = None
    """Results from one histogram of each weight and gradient to the next, for TensorBoard; None for none."""

    model: nn.Module
    optimizer: torch.optim.Optimizer
    lr_scheduler: Any
    device: torch.device
    _writer: SummaryWriter | None = None

    # --- what a subclass says ---

    def build(self, config: dict[str, Any]) -> tuple[Any, ...]:
        """The model, its optimiser and, if wanted, a learning rate scheduler. The model is moved to the device."""
        raise NotImplementedError(f"{type(self).__name__} needs build(config), which returns a model and an optimiser")

    def train_data(self, config: dict[str, Any]) -> Any:
        """Batches for training: a DataLoader, or a list."""
        raise NotImplementedError(f"{type(self).__name__} needs train_data(config), which returns a DataLoader")

    def eval_data(self, config: dict[str, Any]) -> Any:
        """What `evaluate` gets. A DataLoader's batches come on the device; tensors are moved there."""
        return None

    def training_step(self, batch: Any) -> Tensor:
        """The mean loss of a batch, or of a part of one, on the device."""
        raise NotImplementedError(f"{type(self).__name__} needs training_step(batch), which returns the mean loss")

    def evaluate(self, model: nn.Module, data: Any) -> Mapping[str, Any]:
        """Metrics; called without gradients and with the model in `eval` mode."""
        return {}

    @property
    def writer(self) -> SummaryWriter:
        """For images, text, figures and whatever else TensorBoard shows (`toprung.tuning.torch.summary_writer`)."""
        if self._writer is None:
            self._writer = trial_writer(self.logdir, self.iteration + 1)
        return self._writer

    # --- what Tune calls ---

    def setup(self, config: dict[str, Any]) -> None:
        self._own = {*vars(self), "_own", "_monitor"}  # Tune sets the last one after this
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        model, self.optimizer, *rest = self._built(config)
        self._plain: nn.Module = model.to(self.device)
        self.model = torch.compile(self._plain) if self.compile else self._plain
        self.lr_scheduler = rest[0] if rest else None
        self._scaler = torch.amp.GradScaler(self.device.type, enabled=self.precision == "fp16")
        self._passes = Passes(self.train_data(config))
        data = self.eval_data(config)
        on_device = isinstance(data, torch.utils.data.DataLoader) or hasattr(data, "dataset")
        self._eval_data = OnDevice(data, self.device) if on_device else to_device(data, self.device)
        self._safe = MemorySafe(self._plain, trace_allocations=self.trace_allocations)
        restart_peak()

    def step(self) -> dict[str, Any]:
        try:
            loss = self._train()
            metrics = {"train_loss": loss, **numbers(self._evaluate())}
        except Exception as error:
            add_hint(error)
            raise
        if self.lr_scheduler is not None and self.lr_scheduler_every == "result":
            plateau = isinstance(self.lr_scheduler, ReduceLROnPlateau)
            self.lr_scheduler.step(*[self._plateau_of(metrics)] if plateau else [])
        if self.histograms_every is not None and (self.iteration + 1) % self.histograms_every == 0:
            self._add_histograms()
        if self._writer is not None:
            self._writer.flush()
        metrics["memory"] = figures(self.device)
        restart_peak()
        return metrics

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        torch.save(self.state_dict(), Path(checkpoint_dir) / CHECKPOINT)

    def load_checkpoint(self, checkpoint: str) -> None:
        self._close_writer()  # another one: what was written from this step on is hidden
        path = Path(checkpoint) / CHECKPOINT
        # to the CPU: what belongs on the device is moved there, the optimiser's counts of steps don't
        self.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self.cleanup()
        self.setup(new_config)
        return True

    def cleanup(self) -> None:
        self._close_writer()
        if self.compile:
            torch.compiler.reset()  # what it compiled is kept by code, and there is a limit to how much
        for name in set(vars(self)) - self._own:
            delattr(self, name)
        make_free()

    # --- how ---

    def state_dict(self) -> dict[str, Any]:
        """Everything that the rest of the training depends on, in types that `torch.load` takes without pickles."""
        return {
            "model": self._plain.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "lr_scheduler": None if self.lr_scheduler is None else self.lr_scheduler.state_dict(),
            "scaler": self._scaler.state_dict(),
            "data": self._passes.state_dict(),
            "part_size": self._safe.size,
            "random": random_state(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes on from what `state_dict` returned. What an earlier version did not save is as at the start.

        Raises:
            ValueError: it is no such state.
        """
        if lacks := sorted({"model", "optimizer"} - set(state)):
            raise ValueError(f"the checkpoint has no {' and no '.join(lacks)}: it was not made by a TorchTrainable")
        self._plain.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        others = {"lr_scheduler": self.lr_scheduler, "scaler": self._scaler, "data": self._passes}
        for name, owner in others.items():
            if owner is not None and state.get(name):
                owner.load_state_dict(state[name])
        if "part_size" in state:
            self._safe.go_on(state["part_size"])
        if "random" in state:
            set_random_state(state["random"])

    def _built(self, config: dict[str, Any]) -> tuple[Any, ...]:
        """What `build` returned.

        Raises:
            TypeError: something else than it should.
            ValueError: an attribute has a value that it can't have.
        """
        built = self.build(config)
        if not isinstance(built, tuple) or len(built) not in (2, 3):
            what = f"{len(built)} things" if isinstance(built, tuple) else f"a {type(built).__name__}"
            raise TypeError(f"build returned {what}; it must return model, optimiser or model, optimiser, lr scheduler")
        if self.precision not in _DTYPES:
            raise ValueError(f"precision is {self.precision!r}; it can be {', '.join(_DTYPES)}")
        for name in ("accumulate", "steps_per_result", "histograms_every"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} is {value}; it must be 1 or more")
        return built

    def _add_histograms(self) -> None:
        try:
            add_histograms(self.writer, self._plain, self.iteration + 1)
        except Exception as error:  # no training ends for want of a picture of it
            logger.warning("no more histograms of this trial: %s: %s", type(error).__name__, error)
            self.histograms_every = None

    def _close_writer(self) -> None:
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.close()

    def _plateau_of(self, metrics: Mapping[str, Any]) -> Any:
        if self.lr_metric in metrics:
            return metrics[self.lr_metric]
        raise ValueError(f"lr_metric is {self.lr_metric!r}, and the result has {', '.join(sorted(metrics))}")

    def _train(self) -> float:
        """Up to the next result. Returns the mean loss over the samples."""
        self.model.train()
        total, seen, steps, more = torch.zeros((), dtype=torch.float64, device=self.device), 0, 0, True
        while more and (self.steps_per_result is None or steps < self.steps_per_result):
            batches: list[Any] = []
            while len(batches) < self.accumulate:
                batch = self._passes.next_batch()
                if batch is not None:
                    batches.append(batch)
                elif self.steps_per_result is None:  # the end of the pass: what is left makes a step as well
                    more = False
                    break
            if batches:
                loss, samples = self._optimize(batches)
                total, seen, steps = total + loss, seen + samples, steps + 1
        return float(total / seen)

    def _optimize(self, batches: list[Any]) -> tuple[Tensor, int]:
        """One step of the optimiser. Returns the sum of the samples' losses, and their number."""
        sizes = [_size(batch) for batch in batches]
        self.optimizer.zero_grad(set_to_none=True)
        total = torch.zeros((), dtype=torch.float64, device=self.device)
        for batch, size in zip(batches, sizes, strict=True):
            loss = total
            for part in self._safe(batch):
                with part:
                    value = self._backward(part, size / sum(sizes))
                    loss = value if part.first else loss + value
            total = total + loss.double() * size
        if self.clip_norm is not None:
            self._scaler.unscale_(self.optimizer)
            nn.utils.clip_grad_norm_(self._plain.parameters(), self.clip_norm)
        self._scaler.step(self.optimizer)
        self._scaler.update()
        if self.lr_scheduler is not None and self.lr_scheduler_every == "step":
            self.lr_scheduler.step()
        return total, sum(sizes)

    def _backward(self, part: Part, share: float) -> Tensor:
        """The part's share of its batch's mean loss; `share` is the batch's of the step."""
        with self._autocast():
            loss = checked_loss(self.training_step(to_device(part.batch, self.device)), "training_step") * part.weight
        self._scaler.scale(loss * share).backward()
        return loss.detach()

    def _evaluate(self) -> Mapping[str, Any]:
        self.model.eval()
        try:
            return self._evaluate_once()
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            make_free(error)  # what training left in PyTorch's cache may be in its way
            return self._evaluate_once()

    def _evaluate_once(self) -> Mapping[str, Any]:
        with torch.inference_mode(), self._autocast():
            found = self.evaluate(self.model, self._eval_data)
        if isinstance(found, Mapping):
            return found
        raise TypeError(f"evaluate returned a {type(found).__name__}; it must return metrics by name, a dict")

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, _DTYPES[self.precision], enabled=self.precision != "fp32")


def _size(batch: Any) -> int:
    try:
        return num_samples(batch)
    except ValueError:  # of a structure of its own, such as a graph: it counts as one sample, and can't be split
        return 1
