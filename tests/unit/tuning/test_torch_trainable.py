"""`TorchTrainable`: resumed as if never interrupted, cut in parts as if all fitted; nothing of a trial stays behind."""

from __future__ import annotations

import gc
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import torch
from tests.torch_models import Small, allocator_fails, out_of_memory
from torch import nn

from toprung.tuning.torch import TorchTrainable
from toprung.tuning.torch.growth import census
from toprung.tuning.torch.hints import hint
from toprung.tuning.torch.safe import forget


@pytest.fixture(autouse=True)
def _nothing_of_other_tests() -> None:
    forget()
    random.seed(7)
    np.random.seed(7)
    torch.manual_seed(7)


def weights(trainable: TorchTrainable) -> list[torch.Tensor]:
    return [parameter.detach().clone() for parameter in trainable.model.parameters()]


def trained(config: dict[str, Any], results: int, folder: Path | None = None) -> tuple[Any, list[dict[str, Any]]]:
    """Trains; with a folder each result is that of a new object, which goes on from the last one's checkpoint."""
    trainable, reported = Small(config), []
    for number in range(results):
        if folder is not None and number:
            trainable.save_checkpoint(str(folder))
            random.seed(99), np.random.seed(99), torch.manual_seed(99)  # whatever happens in between
            forget()  # as in another process
            trainable = Small(config)
            trainable.load_checkpoint(str(folder))
        reported.append(trainable.step())
    return trainable, [{k: v for k, v in result.items() if k != "memory"} for result in reported]


@pytest.mark.parametrize(
    "config",
    [
        {"dropout": 0.3},
        {"dropout": 0.3, "steps_per_result": 4, "clip_norm": 0.5},
        {"steps_per_result": 4, "own_generator": True},
        {"dropout": 0.3, "steps_per_result": 2, "accumulate": 2, "precision": "bf16"},
        {"precision": "fp16", "accumulate": 4},
    ],
    ids=["passes", "within a pass", "own generator", "accumulated", "fp16"],
)
def test_a_training_that_is_resumed_is_bit_for_bit_the_unbroken_one(config: dict[str, Any], tmp_path: Path) -> None:
    unbroken, expected = trained(config, 5)
    random.seed(7), np.random.seed(7), torch.manual_seed(7)
    resumed, reported = trained(config, 5, tmp_path)
    assert reported == expected
    assert all(torch.equal(a, b) for a, b in zip(weights(resumed), weights(unbroken), strict=True))
    assert resumed.optimizer.param_groups[0]["lr"] == unbroken.optimizer.param_groups[0]["lr"]


@pytest.mark.parametrize("fail", [out_of_memory, allocator_fails])
@pytest.mark.parametrize("fits", [1, 3, 5])
def test_a_batch_that_does_not_fit_is_trained_as_if_it_did(fits: int, fail: Any, tmp_path: Path) -> None:
    torch.manual_seed(1)
    batches = [(torch.randn(8, 6), torch.arange(8) % 3) for _ in range(4)]
    _, expected = trained({"batches": batches, "clip_norm": 1.0}, 4)
    cut, reported = trained({"batches": batches, "clip_norm": 1.0, "fits": fits, "fails": fail}, 4, tmp_path)
    assert [r["train_loss"] for r in reported] == pytest.approx([r["train_loss"] for r in expected], abs=1e-6)
    assert [r["right"] for r in reported] == [r["right"] for r in expected]
    assert cut.state_dict()["part_size"] == {1: 1, 3: 2, 5: 4}[fits]


def test_accumulated_batches_are_one_large_one() -> None:
    torch.manual_seed(1)
    samples, labels = torch.randn(12, 6), torch.arange(12) % 3
    one = trained({"batches": [(samples, labels)]}, 3)[1]
    parts = [(samples[a:b], labels[a:b]) for a, b in ((0, 5), (5, 6), (6, 12))]
    three = trained({"batches": parts, "accumulate": 3}, 3)[1]
    assert [r["train_loss"] for r in three] == pytest.approx([r["train_loss"] for r in one], abs=1e-6)


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_gradients_are_clipped_at_their_true_size(precision: str) -> None:
    def norm(config: dict[str, Any]) -> float:
        trainable, _ = trained({**config, "precision": precision}, 1)
        return float(nn.utils.get_total_norm(p.grad for p in trainable.model.parameters() if p.grad is not None))

    assert norm({}) > 0.1
    assert norm({"clip_norm": 0.01}) == pytest.approx(0.01, rel=1e-3)


def test_an_evaluation_that_runs_out_of_memory_is_tried_again() -> None:
    class Unlucky(Small):
        tries = 0

        def evaluate(self, model: nn.Module, data: Any) -> dict[str, Any]:
            self.tries += 1
            if self.tries <= self.config["failing"]:
                out_of_memory()
            return super().evaluate(model, data)

    assert "right" in Unlucky({"failing": 1}).step()
    with pytest.raises(torch.OutOfMemoryError):
        Unlucky({"failing": 2}).step()


def test_a_pass_that_does_not_fill_the_last_step() -> None:
    trainable, _ = trained({"accumulate": 4}, 1)  # 23 samples in batches of 4: two steps, of four and of two batches
    assert trainable.optimizer.state_dict()["state"][0]["step"] == 2


@pytest.fixture
def quick_collections() -> Iterator[None]:
    """Of what the test makes alone, not of a million objects of the libraries, fifty times."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.mark.usefixtures("quick_collections")
@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")
def test_nothing_is_left_of_the_trials_before() -> None:
    def config(number: int) -> dict[str, Any]:
        batches = [(torch.randn(64, 6), torch.arange(64) % 3)] * 3
        return {"batches": batches, "fits": 20 if number % 20 == 1 else 64, "dropout": number / 100}

    trainable = Small(config(0))
    counts, memory, files = [], [], []
    for number in range(50):
        assert trainable.reset_config(config(number))
        assert trainable.state_dict()["part_size"] is None
        trainable.leftover = torch.zeros(2**18)  # 1 MB that the user's code hangs on it
        trainable.log = Path(__file__).open()  # noqa: SIM115  left open
        trainable.model.register_forward_hook(lambda *_: None)
        trainable.step()
        memory.append(psutil.Process().memory_info().rss / 2**20)
        if number in (1, 25, 49):
            gc.collect()
            counts.append(sum(count for count, _ in census().values()))
            files.append(psutil.Process().num_fds())
    assert len(set(counts)) == 1
    assert len(set(files)) == 1
    assert max(memory[25:]) - memory[25] < 10
    trainable.cleanup()
    assert not hasattr(trainable, "model")


def test_tune_takes_it_from_trial_to_trial() -> None:
    trainable = Small({"batch_size": 8})
    first = trainable.train()
    assert trainable.reset({"batch_size": 4})
    second = trainable.train()
    assert (first["training_iteration"], second["training_iteration"]) == (1, 1)
    trainable.stop()


def test_results_carry_the_memory_in_use() -> None:
    result = Small({}).step()
    assert result["memory"]["rss_mb"] > 50
    assert isinstance(result["right"], float)


@pytest.mark.filterwarnings("ignore:.*torch.jit.script_method:DeprecationWarning")  # PyTorch's own, on import
def test_compiled_it_keeps_plain_names() -> None:
    class Compiled(Small):
        def build(self, config: dict[str, Any]) -> tuple[Any, ...]:
            model, optimizer, _ = super().build(config)
            self.compile = True
            return model, optimizer

    state = Compiled({}).state_dict()
    assert sorted(state["model"]) == ["0.bias", "0.weight", "3.bias", "3.weight"]
    assert state["lr_scheduler"] is None


class Wrong(Small):
    def build(self, config: dict[str, Any]) -> tuple[Any, ...]:
        model = nn.Sequential(nn.Flatten(), nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Linear(config["expects"], 3))
        return model, torch.optim.SGD(model.parameters(), lr=0.1)


@pytest.mark.parametrize(
    ("batch", "expects", "hint"),
    [
        ((torch.ones(1, 6), torch.zeros(1).long()), 8, "saw a single sample (shape [1, 8]) and expects at least two"),
        (
            (torch.ones(2, 6), torch.zeros(2).long()),
            9,
            "was made for 9 features and was given 8: write nn.Linear(8, 3)",
        ),
        ((torch.ones(2, 7), torch.zeros(2).long()), 8, "was made for 6 features and was given 7"),
        (
            (torch.ones(2, 6), torch.zeros(3).long()),
            8,
            "was given 2 outputs and expects as many as there are labels",
        ),
    ],
)
def test_errors_of_shapes_have_a_hint(batch: Any, expects: int, hint: str) -> None:
    trainable = Wrong({"batches": [batch], "expects": expects})
    with pytest.raises((RuntimeError, ValueError)) as raised:
        trainable.step()
    assert hint in raised.value.__notes__[0]


def test_a_checkpoint_of_an_earlier_version_is_taken(tmp_path: Path) -> None:
    earlier, _ = trained({}, 2)
    state = earlier.state_dict()
    later = Small({})
    later.load_state_dict({"model": state["model"], "optimizer": state["optimizer"]})
    assert all(torch.equal(a, b) for a, b in zip(weights(later), weights(earlier), strict=True))
    assert later.step()["train_loss"] > 0

    torch.save({"weights": state["model"]}, tmp_path / "state.pt")
    with pytest.raises(ValueError, match="has no model and no optimizer: it was not made by a TorchTrainable"):
        later.load_checkpoint(str(tmp_path))


def test_the_loss_scale_goes_on() -> None:
    unbroken, _ = trained({"precision": "fp16"}, 2)
    unbroken._scaler.update(4.0)  # as after gradients that were infinite
    resumed = Small({"precision": "fp16"})
    resumed.load_state_dict(unbroken.state_dict())
    assert resumed.state_dict()["scaler"] == unbroken.state_dict()["scaler"]
    assert resumed.state_dict()["scaler"]["scale"] == 4.0


def test_data_that_can_be_passed_over_once() -> None:
    with pytest.raises(TypeError, match=r"train_data returned a list_iterator, .*: return a DataLoader"):
        Small({"batches": [], "once": True})
    with pytest.raises(ValueError, match="train_data has no batches"):
        Small({"batches": []}).step()


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"build": lambda self, config: nn.Linear(6, 3)}, "build returned a Linear; it must return model, optimiser"),
        ({"precision": "fp8"}, "precision is 'fp8'; it can be fp32, bf16, fp16"),
        ({"steps_per_result": 0}, "steps_per_result is 0; it must be 1 or more"),
        (
            {"training_step": lambda self, batch: self.model(batch[0])},
            r"returned a tensor of shape \[4, 3\]",
        ),
        ({"training_step": lambda self, batch: 0.5}, "training_step returned a float; it must return the mean loss"),
        ({"evaluate": lambda self, model, data: None}, "evaluate returned a NoneType; it must return metrics by name"),
        (
            {"lr_metric": "val_los", "lr_scheduler_every": "result"},
            "lr_metric is 'val_los', and the result has",
        ),
    ],
)
def test_what_a_subclass_gets_wrong_is_said(changed: dict[str, Any], told: str) -> None:
    class Plateau(Small):
        def build(self, config: dict[str, Any]) -> tuple[Any, ...]:
            model, optimizer, _ = super().build(config)
            return model, optimizer, torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer)

    wrong = type("Wrong", (Plateau,), {"lr_scheduler_every": "result", **changed})
    with pytest.raises((TypeError, ValueError), match=told):
        wrong({}).step()


@pytest.mark.parametrize(
    ("layer", "shape", "told"),
    [
        (nn.BatchNorm2d(8), (1, 8, 1, 1), "a single sample (shape [1, 8, 1, 1]) and expects at least two"),
        (nn.GroupNorm(8, 8), (1, 8), "a single sample (shape [1, 8]) and expects at least two"),
        (nn.InstanceNorm2d(8), (1, 8, 1, 1), "one pixel a channel (shape [1, 8, 1, 1]) and expects at least two"),
        (nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(8, 3)), (1, 1, 5, 5), "8 features and was given 18"),
        (nn.Conv2d(3, 6, 5), (1, 3, 2, 2), "shrunk to 2 x 2 before a kernel of 5 x 5"),
        (nn.MaxPool2d(2), (1, 3, 1, 1), "An input of 3x1x1 (channels first) is too small for a pooling"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, nn.Module) else "",
)
def test_what_pytorch_says_is_understood(layer: nn.Module, shape: tuple[int, ...], told: str) -> None:
    with pytest.raises((RuntimeError, ValueError)) as raised:
        layer(torch.ones(shape))
    assert told in (hint(raised.value) or "")
