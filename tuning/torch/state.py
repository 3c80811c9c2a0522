"""Random states and data, so that a training that is resumed goes on exactly where it was."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from toprung.tuning.torch.batches import to_device


def random_state() -> dict[str, Any]:
    """The states of Python's, NumPy's and PyTorch's generators, of types that `torch.load` takes without pickles."""
    name, keys, *rest = np.random.get_state(legacy=True)
    state = {
        "python": random.getstate(),
        "numpy": (str(name), torch.from_numpy(np.asarray(keys, np.int64)), *rest),
        "torch": torch.get_rng_state(),
    }
    if torch.cuda.is_initialized():
        state["cuda"] = torch.cuda.get_rng_state()
    return state


def set_random_state(state: dict[str, Any]) -> None:
    """What `random_state` returned; a GPU's only where there is one."""
    random.setstate(state["python"])
    name, keys, *rest = state["numpy"]
    np.random.set_state((name, keys.numpy().astype(np.uint32), *rest))
    torch.set_rng_state(state["torch"])
    if "cuda" in state and torch.cuda.is_available():
        torch.cuda.set_rng_state(state["cuda"])


class Passes:
    """Batch after batch, pass after pass over the same data; where it stands can be saved.

    A loader with `state_dict` and `load_state_dict` (torchdata's StatefulDataLoader) is asked for its own state. Others
    are brought back by beginning their pass with the random state that it began with, and leaving out what was seen.
    """

    def __init__(self, data: Any) -> None:
        """
        Raises:
            TypeError: the data can be passed over once only, or not at all.
        """
        if not hasattr(data, "__iter__") or isinstance(data, Iterator):
            raise TypeError(
                f"train_data returned a {type(data).__name__}, which can't be passed over again and again: return a "
                "DataLoader, or a list of batches"
            )
        self._data = data
        self._generators = _generators(data)
        self._began = self._random_state()
        self._iterator: Iterator[Any] | None = None
        self._position = 0

    def next_batch(self) -> Any | None:
        """The next one; None at the end of each pass.

        Raises:
            ValueError: a pass had no batch.
        """
        if self._iterator is None:
            self._began = self._random_state()
            self._iterator = iter(self._data)
        batch = next(self._iterator, None)
        if batch is None:
            if self._position == 0:
                raise ValueError(
                    "train_data has no batches; with drop_last=True a batch_size above its length has none"
                )
            self._iterator, self._position = None, 0
            return None
        self._position += 1
        return batch

    def state_dict(self) -> dict[str, Any]:
        own = self._data.state_dict() if self._position and hasattr(self._data, "state_dict") else None
        return {"began": self._began, "position": self._position, "own": own, "now": self._random_state()["loader"]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes random numbers as the pass does: the process's own generators are to be set afterwards."""
        self._began, self._position, self._iterator = state["began"], state["position"], None
        if self._position:
            set_random_state(self._began)
            self._set_loader(self._began["loader"])
            if state["own"] is not None:
                self._data.load_state_dict(state["own"])
            self._iterator = iter(self._data)
            for _ in range(self._position if state["own"] is None else 0):
                next(self._iterator, None)
        self._set_loader(state["now"])

    def _random_state(self) -> dict[str, Any]:
        return {**random_state(), "loader": [generator.get_state() for generator in self._generators]}

    def _set_loader(self, states: list[torch.Tensor]) -> None:
        for generator, state in zip(self._generators, states, strict=True):
            generator.set_state(state)


def _generators(data: Any) -> list[torch.Generator]:
    """Those of a DataLoader and its samplers, each once."""
    samplers = (data, getattr(data, "sampler", None), getattr(getattr(data, "batch_sampler", None), "sampler", None))
    found = {id(made): made for each in samplers if (made := getattr(each, "generator", None)) is not None}
    return list(found.values())


class OnDevice:
    """A loader whose batches come on a device."""

    def __init__(self, data: Any, device: torch.device) -> None:
        self._data, self._device = data, device

    def __len__(self) -> int:
        return len(self._data)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._data, name)

    def __iter__(self) -> Iterator[Any]:
        return (to_device(batch, self._device) for batch in self._data)
