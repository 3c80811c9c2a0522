"""Training steps that don't die of a batch too large: it is cut in parts whose gradients are summed up.

The parts of a batch are weighted by their sizes, so that the gradient of a loss that is a mean over samples is that of
the whole batch, but for the order of summation. What looks at a whole batch sees a part: BatchNorm normalises each by
itself, dropout draws other masks.
"""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from types import TracebackType
from typing import Any
from weakref import WeakKeyDictionary, ref

import torch
from torch import Tensor, nn
from torch.nn.parameter import UninitializedParameter

from toprung.tuning import fits
from toprung.tuning.torch.allocations import recorder
from toprung.tuning.torch.batches import num_samples, parts, shapes
from toprung.tuning.torch.growth import GrowthWatch
from toprung.tuning.torch.memory import MB, in_use, is_out_of_memory, make_free
from toprung.tuning.torch.state import random_state, set_random_state

logger = logging.getLogger("toprung")

_TRIED = re.compile(r"[Tt]ried to allocate ([\d.]+) (\w+)")


class Part:
    """A part of a batch, for a `with` block: running out of memory in there is not the end."""

    def __init__(self, owner: MemorySafe, batch: Any, weight: float, *, first: bool) -> None:
        self.batch = batch
        """Samples of the batch, in its structure."""
        self.weight = weight
        """The fraction of the batch that these are: multiply a mean loss by it."""
        self.first = first
        """The batch begins with it, perhaps anew: what was summed up over its parts doesn't count any more."""
        self._owner = owner

    def __enter__(self) -> Part:
        self._owner._traced.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> bool:
        self._owner._traced.__exit__(kind, error, tb)
        if error is None or not is_out_of_memory(error):
            return False
        self.batch = None
        return self._owner._shrink(error)


class MemorySafe:
    """Protects a training loop of your own:

        safe = MemorySafe(model)
        for inputs, labels in loader:
            for part in safe((inputs, labels)):
                with part:
                    x, y = part.batch
                    (F.cross_entropy(model(x), y) * part.weight).backward()
            optimizer.step()
            optimizer.zero_grad()

    What has a name in the loop (`loss = …`) keeps what its backward pass needs until the name is used again, also while
    the batch begins anew: without names, or in a function of their own, more of the memory is free then.

    As long as all goes well a batch is one part. Where memory runs out inside of `with`, it is freed, the size of parts
    is halved, and the batch begins anew: gradients, buffers (BatchNorm's statistics) and random states are put back to
    what they were. The size that fits is kept for the batches that follow, and is what later trials of the sweep
    begin with, where their parameters and batches have the same shapes.

    Memory in use that grows from batch to batch is told once, with what it likely comes from (`growth`).

    Args:
        model: whose gradients are computed.
        trace_allocations: whether that also names the lines of code that made what grows (`allocations`).
    """

    def __init__(self, model: nn.Module, *, trace_allocations: bool = False) -> None:
        self.size: int | None = None
        """Samples in a part; None as long as whole batches fit."""
        self._model: Callable[[], nn.Module | None] = lambda: model
        self._changing: list[Tensor] | None = None
        self._batch: Any = None
        self._failed = False
        self._has_begun = False
        self._first = ""
        self._known: int | None = None
        allocations = recorder(_device(model)) if trace_allocations else None
        self._traced: AbstractContextManager[Any] = allocations or nullcontext()
        self._growth = GrowthWatch(allocations)

    def go_on(self, size: int | None) -> None:
        """With the size that was found out before, in another process perhaps."""
        self.size, self._has_begun = size, True

    def __call__(self, batch: Any) -> Iterator[Part]:
        """The parts of a batch, again from the first one each time that they turn out too large."""
        model = self._model()
        assert model is not None, "the model is gone"
        if not self._first:
            self._first = _digest(model, batch)
            if not self._has_begun:
                self.size = self._known = fits.here.get(self._first)
        before = _State(model, self._changing)
        self._batch = batch
        while True:
            self._failed = False
            for index, (piece, weight) in enumerate([(batch, 1.0)] if self.size is None else parts(batch, self.size)):
                yield Part(self, piece, weight, first=index == 0)
                if self._failed:
                    break
            if not self._failed:
                break
            before.put_back()
        if self.size is not None and self.size != self._known:
            self._known = self.size
            for digest in {self._first, _digest(model, batch)}:  # others begin with a batch like one of these
                fits.here.find(digest, self.size)
        self._batch = None
        self._changing = before.changed()
        if warning := self._growth.add(in_use(_device(model))):
            logger.warning("%s", warning)

    def _shrink(self, error: BaseException) -> bool:
        """Returns whether to try again; else the error goes on."""
        make_free(error)
        try:
            total = num_samples(self._batch)
        except ValueError as unclear:
            error.add_note(f"Toprung can't try with less: {unclear}.")
            return False
        size = min(self.size or total, total)
        if size == 1:
            error.add_note("Toprung: not even one sample at a time fits.")
            return False
        self.size, self._failed = (size + 1) // 2, True
        logger.warning(
            "out of memory with %d samples at once%s: from now on batches of %d are computed in parts of at most %d, "
            "whose gradients are summed up",
            *(size, _wanted(error), total, self.size),
        )
        return True


def forget() -> None:
    """Whatever was found out to fit in this process."""
    fits.here.forget()
    _safes.clear()


def _device(model: nn.Module) -> torch.device:
    first = next(model.parameters(), None)
    return torch.device("cpu") if first is None else first.device


def _digest(model: nn.Module, batch: Any) -> str:
    """Equal for trainings that need as much memory and have as much: by shapes, types and device."""
    device = _device(model)
    place: list[Any] = [device.type]
    if device.type == "cuda":
        place += [torch.cuda.get_device_name(device), torch.cuda.get_per_process_memory_fraction(device)]
    parameters = [
        None if isinstance(each, UninitializedParameter) else (*each.shape, each.dtype) for each in model.parameters()
    ]
    return hashlib.sha256(repr((place, parameters, shapes(batch))).encode()).hexdigest()[:16]


def checked_loss(loss: Any, who: str) -> Tensor:
    """A loss that a backward pass can begin with.

    Raises:
        TypeError: it is none.
    """
    if isinstance(loss, Tensor) and loss.numel() == 1:
        return loss
    what = f"a tensor of shape {list(loss.shape)}" if isinstance(loss, Tensor) else f"a {type(loss).__name__}"
    raise TypeError(f"{who} returned {what}; it must return the mean loss of its batch, a tensor of one number")


def _wanted(error: BaseException) -> str:
    """How much was asked for at last, where the error tells."""
    if (found := _TRIED.search(str(error))) is None:
        return ""
    amount, unit = found.groups()
    wanted = f"{int(amount) / MB:.3g} MB" if unit == "bytes" else f"{amount} {unit}"
    return f", when {wanted} more were wanted"


class _State:
    """What a batch changes before `optimizer.step()`: gradients, buffers, random states."""

    def __init__(self, model: nn.Module, changing: list[Tensor] | None) -> None:
        self._gradients = [(p, None if p.grad is None else p.grad.clone()) for p in model.parameters()]
        # one that was made while evaluating has no version, and doesn't change in training
        self._versions = [(buffer, buffer._version) for buffer in model.buffers() if not buffer.is_inference()]
        # after the first batch it is known which do change: a large table that doesn't need not be copied
        kept = [buffer for buffer, _ in self._versions] if changing is None else changing
        self._buffers = [(buffer, buffer.clone()) for buffer in kept]
        self._random = random_state()

    def put_back(self) -> None:
        with torch.no_grad():
            for parameter, gradient in self._gradients:
                parameter.grad = None if gradient is None else gradient.clone()
            for buffer, was in self._buffers:
                buffer.copy_(was)
        set_random_state(self._random)

    def changed(self) -> list[Tensor]:
        return [buffer for buffer, version in self._versions if buffer._version != version]


_safes: WeakKeyDictionary[nn.Module, MemorySafe] = WeakKeyDictionary()


def memory_safe(step: Callable[[Any], Tensor], batch: Any, model: nn.Module, *, scale: float = 1.0) -> Tensor:
    """Forward and backward pass of one batch, in as many parts as it takes to fit into memory:

        optimizer.zero_grad()
        loss = memory_safe(lambda part: F.cross_entropy(model(part[0]), part[1]), (inputs, labels), model)
        optimizer.step()

    Args:
        step: gets a part of the batch, returns its mean loss.
        batch: a tensor, or tuples, lists and dicts of them, with one row a sample.
        model: whose gradients the step makes; how much fits is remembered for it.
        scale: by which the loss is multiplied before the backward pass.

    Returns:
        The mean loss of the whole batch, without its graph.

    Raises:
        torch.OutOfMemoryError: not even one sample fits. On the CPU it is a RuntimeError or a MemoryError.
    """
    if (safe := _safes.get(model)) is None:
        safe = _safes[model] = MemorySafe(model)
        safe._model = ref(model)  # else the model would be kept for ever
    total = torch.zeros(())
    for part in safe(batch):
        with part:
            loss = _backward(step, part, scale)
            total = loss if part.first else total + loss
    return total


def _backward(step: Callable[[Any], Tensor], part: Part, scale: float) -> Tensor:
    # in a frame of its own: whatever it holds is gone when it fails
    loss = checked_loss(step(part.batch), "the step") * part.weight
    (loss * scale).backward()
    return loss.detach()
