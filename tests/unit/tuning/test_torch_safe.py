"""Batches that don't fit: cut in parts, with the same gradients; what can't be cut fails and says why."""

from __future__ import annotations

import logging
from collections import UserDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.torch_models import FailsBackward, allocator_fails, out_of_memory
from torch import Tensor, nn
from torch.nn import functional as F

from toprung.tuning import fits
from toprung.tuning.torch import MemorySafe, is_out_of_memory, memory_safe
from toprung.tuning.torch.batches import parts
from toprung.tuning.torch.safe import forget


@pytest.fixture(autouse=True)
def _nothing_is_known() -> None:
    forget()


def model_and_batch(samples: int) -> tuple[nn.Module, tuple[Tensor, Tensor]]:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(5, 7), nn.Tanh(), nn.Linear(7, 3)).double()
    return model, (torch.randn(samples, 5, dtype=torch.float64), torch.arange(samples) % 3)


def gradients(model: nn.Module) -> list[Tensor]:
    return [parameter.grad.clone() for parameter in model.parameters() if parameter.grad is not None]


def loss_of(model: nn.Module, fitting: int, fail: Callable[[], None] = out_of_memory) -> Callable[[Any], Tensor]:
    def step(batch: tuple[Tensor, Tensor]) -> Tensor:
        inputs, labels = batch
        if len(inputs) > fitting:
            fail()
        return F.cross_entropy(model(inputs), labels)

    return step


@settings(deadline=None, max_examples=15)
@given(samples=st.integers(1, 40), fits=st.integers(1, 40), fail=st.sampled_from([out_of_memory, allocator_fails]))
def test_parts_have_the_gradients_of_the_whole(samples: int, fits: int, fail: Callable[[], None]) -> None:
    model, batch = model_and_batch(samples)
    whole = loss_of(model, samples)(batch)
    whole.backward()
    expected = gradients(model)
    model.zero_grad()

    loss = memory_safe(loss_of(model, fits, fail), batch, model)

    assert not loss.requires_grad
    assert loss.item() == pytest.approx(whole.item(), rel=1e-12)
    for ours, theirs in zip(gradients(model), expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-12)


def test_gradients_of_a_backward_pass_that_broke_off_do_not_count() -> None:
    model, batch = model_and_batch(12)
    loss_of(model, 12)(batch).backward()
    expected = gradients(model)  # left there: they are added to
    first = model[0]

    def step(part: tuple[Tensor, Tensor]) -> Tensor:
        hidden = FailsBackward.apply(first(part[0]), 4)
        return F.cross_entropy(model[2](torch.tanh(hidden)), part[1])

    memory_safe(step, batch, model)
    for ours, theirs in zip(gradients(model), expected, strict=True):
        torch.testing.assert_close(ours, 2 * theirs, rtol=1e-9, atol=1e-12)


def test_a_loop_of_ones_own_and_what_fits_is_remembered(caplog: pytest.LogCaptureFixture) -> None:
    model, batch = model_and_batch(10)
    step, safe = loss_of(model, 3), MemorySafe(model)
    seen: list[list[int]] = []
    with caplog.at_level(logging.WARNING, "toprung"):
        for _ in range(2):
            seen.append([])
            for part in safe(batch):
                seen[-1].append(len(part.batch[0]))
                with part:
                    (step(part.batch) * part.weight).backward()
    assert seen == [[10, 5, 2, 3, 2, 3], [2, 3, 2, 3]]
    assert safe.size == 3
    assert len(caplog.messages) == 2
    assert caplog.messages[1] == (
        "out of memory with 5 samples at once, when 2.00 GiB more were wanted: from now on batches of 10 are computed "
        "in parts of at most 3, whose gradients are summed up"
    )


def test_a_later_trial_with_the_same_shapes_begins_with_what_fits() -> None:
    model, batch = model_and_batch(10)
    memory_safe(loss_of(model, 3), batch, model)

    def sizes(samples: int) -> list[int]:
        later, batch = model_and_batch(samples)
        return [len(part.batch[0]) for part in MemorySafe(later)(batch)]

    assert sizes(10) == [2, 3, 2, 3]
    assert sizes(12) == [12]

    # in another process, which is told
    found = fits.here.known()
    forget()
    assert sizes(10) == [10]
    fits.here.learn(found)
    assert sizes(10) == [2, 3, 2, 3]


def test_a_size_that_came_with_a_checkpoint_is_told_to_others() -> None:
    model, batch = model_and_batch(10)
    safe = MemorySafe(model)
    safe.go_on(3)
    for part in safe(batch):
        with part:
            assert len(part.batch[0]) <= 3
    assert [size for _, size in fits.here.known()] == [3]


def test_statistics_and_random_numbers_are_those_of_the_parts_alone() -> None:
    torch.manual_seed(1)
    model = nn.BatchNorm1d(4)
    batch = torch.randn(8, 4)
    drawn: list[float] = []

    def step(part: Tensor) -> Tensor:
        loss = model(part).square().mean()
        drawn.append(torch.rand(()).item())
        if len(part) > 2:
            out_of_memory()
        return loss

    memory_safe(step, batch, model)
    assert model.num_batches_tracked == 4
    assert drawn[0] == drawn[1] == drawn[2]  # of 8, 4 and 2 samples: each begins anew
    assert len(set(drawn)) == 4

    lone = nn.BatchNorm1d(4)
    for piece, _ in parts(batch, 2):
        lone(piece)
    assert torch.equal(model.running_mean, lone.running_mean)


def test_not_even_one_sample_fits() -> None:
    model, batch = model_and_batch(8)
    with pytest.raises(torch.OutOfMemoryError) as raised:
        memory_safe(loss_of(model, 0), batch, model)
    assert raised.value.__notes__ == ["Toprung: not even one sample at a time fits."]
    later, batch = model_and_batch(8)
    assert [len(part.batch[0]) for part in MemorySafe(later)(batch)] == [8], "nothing was found to fit"


def test_a_batch_that_can_not_be_cut() -> None:
    model, _ = model_and_batch(1)
    with pytest.raises(torch.OutOfMemoryError) as raised:
        memory_safe(lambda batch: loss_of(model, 0)((torch.ones(2, 5), batch)), (torch.ones(3), torch.ones(2)), model)
    assert "has tensors of lengths [2, 3]" in raised.value.__notes__[0]


def test_other_errors_are_not_touched() -> None:
    model, batch = model_and_batch(8)

    def step(part: Any) -> Tensor:
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    with pytest.raises(RuntimeError, match="mat1") as raised:
        memory_safe(step, batch, model)
    assert not hasattr(raised.value, "__notes__")


def test_which_errors_are_out_of_memory() -> None:
    assert is_out_of_memory(torch.OutOfMemoryError("no more"))
    assert is_out_of_memory(MemoryError())
    assert not is_out_of_memory(RuntimeError("shape '[3]' is invalid for input of size 4"))
    assert not is_out_of_memory(None)
    with pytest.raises(RuntimeError) as raised:
        allocator_fails()
    assert is_out_of_memory(raised.value)


class Graph:
    """As of PyTorch Geometric: tensors in a type of its own, which can be moved."""

    def __init__(self) -> None:
        self.nodes = torch.ones(4, 5)


@dataclass(slots=True)
class Sentence:
    words: Tensor


@pytest.mark.parametrize("batch", [Graph(), (torch.ones(4, 5), Sentence(torch.ones(4))), UserDict(x=torch.ones(4, 5))])
def test_a_batch_that_can_not_be_looked_into(batch: Any) -> None:
    model, seen = nn.Linear(5, 1), []

    def step(part: Any) -> Tensor:
        seen.append(part)
        raise torch.OutOfMemoryError("CUDA out of memory.")

    with pytest.raises(torch.OutOfMemoryError) as raised:
        memory_safe(step, batch, model)
    assert seen == [batch], "nothing is known of its parts"
    name = type(batch[-1] if isinstance(batch, tuple) else batch).__name__
    assert f"the batch has {name}, of which it is not known how it is cut" in raised.value.__notes__[0]
    assert "lists or dicts of tensors" in raised.value.__notes__[0]


def test_texts_and_arrays_are_cut_like_tensors() -> None:
    batch = {"x": torch.arange(3), "text": ["a", "b", "c"], "array": np.arange(6).reshape(3, 2), "names": ["p", "q"]}
    first, last = [part for part, _ in parts(batch, 2)]
    assert (first["text"], last["text"]) == (["a"], ["b", "c"])
    assert last["array"].tolist() == [[2, 3], [4, 5]]
    assert first["names"] == ["p", "q"]


def test_batches_of_any_structure() -> None:
    batch = {"x": torch.arange(5), "pair": [torch.arange(10).reshape(5, 2), "name"], "scale": torch.tensor(2.0)}
    found = list(parts(batch, 2))
    assert [weight for _, weight in found] == [0.2, 0.4, 0.4]
    last = found[2][0]
    assert last["x"].tolist() == [3, 4]
    assert last["pair"][0].tolist() == [[6, 7], [8, 9]]
    assert (last["pair"][1], last["scale"]) == ("name", torch.tensor(2.0))
