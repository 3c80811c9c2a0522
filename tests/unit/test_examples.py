"""The examples' own code, without a cluster: a stand-in for Tune's session records what they report."""

from __future__ import annotations

import json
import math
import os
import pickle
import random
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ray import tune
from ray.train import RunConfig, ScalingConfig
from ray.train.torch import TorchTrainer

from toprung.examples.cifar10 import augmented
from toprung.examples.cifar10 import train as cifar10
from toprung.examples.cifar10.augmented import Cifar
from toprung.examples.digits import distributed
from toprung.examples.digits import train as digits
from toprung.examples.digits.memory_safe import Digits
from toprung.examples.text import train as text
from toprung.tuning.spec import AshaScheduler, SweepSpec, parse_spec

EXAMPLES = Path(digits.__file__).parents[1]
DIGITS = {
    "lr": 3e-3,
    "batch_size": 64,
    "channels": 8,
    "hidden": 32,
    "dropout": 0.1,
    "weight_decay": 1e-4,
    "optimizer": "adam",
    "epochs": 3,
}
CIFAR = {"l1": 64, "l2": 32, "lr": 3e-3, "batch_size": 16, "epochs": 2}
AUGMENTED = {**CIFAR, "batch_size": 8, "epochs": 9, "weight_decay": 1e-4, "flip": True, "shift": 2}


class Session:
    """What a trial sees of Tune: keeps the reports and copies of the checkpoints, and hands one back to resume from."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.reports: list[dict[str, Any]] = []
        self.resume_from: Path | None = None

    def report(self, metrics: dict[str, Any], *, checkpoint: tune.Checkpoint) -> None:
        self.reports.append(metrics)
        with checkpoint.as_directory() as source:
            shutil.copytree(source, self.checkpoint(len(self.reports)))

    def get_checkpoint(self) -> tune.Checkpoint | None:
        return None if self.resume_from is None else tune.Checkpoint.from_directory(self.resume_from)

    def checkpoint(self, step: int) -> Path:
        return self.folder / str(step)


@pytest.fixture
def session(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Session:
    session = Session(tmp_path / "checkpoints")
    monkeypatch.setattr(tune, "report", session.report)
    monkeypatch.setattr(tune, "get_checkpoint", session.get_checkpoint)
    return session


def spec_of(example: str) -> SweepSpec:
    return parse_spec((EXAMPLES / example / "sweep.yaml").read_text(encoding="utf-8"))


class TestDigits:
    def test_reports_finite_python_numbers_that_improve(self, session: Session) -> None:
        digits.train_digits(DIGITS)

        assert len(session.reports) == DIGITS["epochs"]
        for metrics in session.reports:
            assert set(metrics) == {"val_loss", "accuracy", "train_loss"}
            assert all(type(value) is float and math.isfinite(value) for value in metrics.values())
        assert session.reports[-1]["val_loss"] < session.reports[0]["val_loss"]
        assert session.reports[-1]["accuracy"] > 0.8

    def test_a_resumed_trial_trains_as_if_it_had_not_been_interrupted(self, session: Session) -> None:
        digits.train_digits(DIGITS)
        uninterrupted = list(session.reports)

        session.resume_from, session.folder = session.checkpoint(1), session.folder / "resumed"
        session.reports.clear()
        digits.train_digits(DIGITS)

        assert session.reports == uninterrupted[1:]

    def test_a_checkpoint_evaluates_to_what_was_reported_with_it(self, session: Session) -> None:
        digits.train_digits({**DIGITS, "optimizer": "sgd", "momentum": 0.9, "epochs": 2})

        for step, metrics in enumerate(session.reports, start=1):
            found = digits.evaluate(session.checkpoint(step))
            assert found == {"val_loss": metrics["val_loss"], "accuracy": metrics["accuracy"]}

    def test_evaluate_from_the_command_line(
        self, session: Session, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        digits.train_digits({**DIGITS, "epochs": 1})
        monkeypatch.setattr(sys, "argv", ["train", "--evaluate", str(session.checkpoint(1))])

        digits.main()

        printed = json.loads(capsys.readouterr().out)
        assert printed["val_loss"] == session.reports[0]["val_loss"]
        assert printed["accuracy"] == session.reports[0]["accuracy"]

    def test_evaluate_says_what_is_missing(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setattr(sys, "argv", ["train", "--evaluate", str(tmp_path)])

        with pytest.raises(SystemExit, match="2"):
            digits.main()

        assert f"{tmp_path} holds no checkpoint.pt" in capsys.readouterr().err

    def test_the_split_is_fixed_stratified_and_standardised(self) -> None:
        train, val = digits.load_data()

        assert (len(train.labels), len(val.labels)) == (1437, 360)
        assert train.images.shape[1:] == val.images.shape[1:] == (1, 8, 8)
        assert val.labels.bincount().min() >= 35
        assert abs(train.images.mean().item()) < 1e-5
        assert abs(train.images.std().item() - 1) < 1e-3

    @pytest.mark.parametrize("optimizer", ["sgd", "adam"])
    def test_the_worst_corner_of_the_space_stays_finite(self, session: Session, optimizer: str) -> None:
        digits.train_digits({**DIGITS, "optimizer": optimizer, "lr": 0.1, "momentum": 0.95, "dropout": 0.5})

        assert all(math.isfinite(metrics["val_loss"]) for metrics in session.reports)

    def test_the_sweep_offers_what_the_trainable_reads(self, session: Session) -> None:
        spec = spec_of("digits")
        assert isinstance(spec.scheduler, AshaScheduler)
        config = spec.space.config(next(iter_samples(spec)))

        digits.train_digits({**config, "epochs": 1})

        assert spec.metric.name in session.reports[0]
        assert config["epochs"] == spec.scheduler.max_t
        assert spec.code is None


class TestCifar10:
    @pytest.fixture(autouse=True)
    def no_folder_on_this_machine(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("CIFAR10_DIR", raising=False)
        cifar10.load_data.cache_clear()

    def test_learns_the_synthetic_set_and_says_that_it_is_one(
        self, session: Session, capsys: pytest.CaptureFixture[str]
    ) -> None:
        cifar10.train_cifar(CIFAR)

        assert "synthetic images stand in" in capsys.readouterr().out
        assert [set(metrics) for metrics in session.reports] == [{"loss", "accuracy"}] * 2
        assert session.reports[-1]["accuracy"] > 0.5
        tested = cifar10.test(session.checkpoint(2))
        assert tested["accuracy"] > 0.5

    def test_the_synthetic_sets_have_the_real_shape_and_do_not_meet(self) -> None:
        sets = cifar10.load_data(None)

        for images in sets:
            assert images.pixels.dtype == torch.uint8
            assert images.pixels.shape == (len(images.labels), 3, 32, 32)
            assert set(images.labels.tolist()) == set(range(10))
        pictures = [picture.numpy().tobytes() for images in sets for picture in images.pixels]
        assert len(set(pictures)) == len(pictures)

    @pytest.mark.parametrize("named_by", ["config", "environment"])
    def test_reads_a_real_folder(
        self,
        session: Session,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
        named_by: str,
    ) -> None:
        pixels = write_cifar(tmp_path)
        config: dict[str, Any] = {**CIFAR, "epochs": 1}
        if named_by == "config":
            config["data_dir"] = str(tmp_path)
        else:
            monkeypatch.setenv("CIFAR10_DIR", str(tmp_path))

        cifar10.train_cifar(config)

        assert "synthetic" not in capsys.readouterr().out
        train, val, test = cifar10.load_data(str(tmp_path))
        assert [len(images.labels) for images in (train, val, test)] == [80, 20, 20]
        assert np.array_equal(train.pixels[0].numpy().ravel(), pixels[0])
        assert test.labels.tolist() == [i % 10 for i in range(20)]

    def test_a_resumed_trial_trains_as_if_it_had_not_been_interrupted(self, session: Session, tmp_path: Path) -> None:
        write_cifar(tmp_path)
        config = {**CIFAR, "data_dir": str(tmp_path)}
        cifar10.train_cifar(config)
        uninterrupted = list(session.reports)

        session.resume_from, session.folder = session.checkpoint(1), session.folder / "resumed"
        session.reports.clear()
        cifar10.train_cifar(config)

        assert session.reports == uninterrupted[1:]

    def test_a_pickle_that_calls_something_is_refused(self, tmp_path: Path) -> None:
        class Evil:
            def __reduce__(self) -> tuple[Any, ...]:
                return os.mkdir, (str(tmp_path / "called"),)

        (tmp_path / "data_batch_1").write_bytes(pickle.dumps({b"data": Evil()}, protocol=2))

        with pytest.raises(pickle.UnpicklingError, match=r"mkdir has no place in a CIFAR-10 file"):
            cifar10.read_batch(tmp_path / "data_batch_1")
        assert not (tmp_path / "called").exists()

    def test_the_sweep_is_the_tutorials(self) -> None:
        spec = spec_of("cifar10")

        assert isinstance(spec.scheduler, AshaScheduler)
        asha = spec.scheduler
        assert (asha.max_t, asha.grace_period, asha.reduction_factor) == (10, 1, 2)
        assert (spec.budget.trials, spec.resources.cpu) == (10, 2)
        for params in iter_samples(spec):
            assert {params["l1"], params["l2"]} <= {4, 8, 16, 32, 64, 128, 256}
            assert 1e-4 <= params["lr"] <= 1e-1
            assert params["batch_size"] in (2, 4, 8, 16)

    def test_runs_from_its_own_folder_as_uploaded_code_does(self) -> None:
        spec = spec_of("cifar10")
        module, name = spec.trainable.split(":")

        found = subprocess.run(
            [sys.executable, "-c", f"import {module}; print(callable({module}.{name}))"],
            cwd=EXAMPLES / "cifar10",
            capture_output=True,
            text=True,
            timeout=120,
            check=True,
        )

        assert spec.code == "."
        assert found.stdout.strip() == "True"


def iter_samples(spec: SweepSpec, count: int = 20) -> Any:
    rng = random.Random(0)
    for _ in range(count):
        yield spec.space.sample(rng)


def write_cifar(folder: Path, *, plain: bool = False) -> np.ndarray[Any, Any]:
    """A folder in the format of CIFAR-10's python version, 20 pictures a file: Python 2's pickles, keys as bytes.

    Args:
        folder: where to.
        plain: pictures of one grey a class, instead of noise.
    """
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (20, 3072), dtype=np.uint8)
    if plain:
        pixels[:] = (np.arange(20, dtype=np.uint8) % 10 * 25)[:, None]
    for name in [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]:
        batch = {
            b"batch_label": name.encode(),
            b"labels": [i % 10 for i in range(20)],
            b"data": pixels,
            b"filenames": [b"a.png"] * 20,
        }
        (folder / name).write_bytes(pickle.dumps(batch, protocol=2))
    return pixels


class TestDigitsAsATorchTrainable:
    def test_it_learns_and_goes_on_from_a_checkpoint(self, tmp_path: Path) -> None:
        trainable = Digits(DIGITS)
        losses = [trainable.step()["val_loss"] for _ in range(2)]
        assert losses[1] < losses[0] < 2.3
        trainable.save_checkpoint(str(tmp_path))
        expected = trainable.step()
        again = Digits(DIGITS)
        again.load_checkpoint(str(tmp_path))
        result = again.step()
        assert (result["val_loss"], result["accuracy"]) == (expected["val_loss"], expected["accuracy"])


class TestCifar10AsATorchTrainable:
    @pytest.fixture(autouse=True)
    def small_folder(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Pictures with one grey a class, easy to learn."""
        cifar10.load_data.cache_clear()
        write_cifar(tmp_path, plain=True)
        monkeypatch.setenv("CIFAR10_DIR", str(tmp_path))

    def test_it_learns_and_goes_on_from_a_checkpoint(self, tmp_path: Path) -> None:
        torch.manual_seed(0)
        trainable = Cifar(AUGMENTED)
        losses = [trainable.step()["loss"] for _ in range(4)]
        assert losses[-1] < losses[0] < 2.5
        trainable.save_checkpoint(str(tmp_path))
        expected = trainable.step()
        again = Cifar(AUGMENTED)
        again.load_checkpoint(str(tmp_path))
        result = again.step()
        assert (result["loss"], result["accuracy"]) == (expected["loss"], expected["accuracy"])

    def test_pictures_are_flipped_and_shifted(self) -> None:
        torch.manual_seed(0)
        pixels = 1 + torch.arange(64 * 3 * 32 * 32).reshape(64, 3, 32, 32)
        mirrored = [torch.equal(a, b.flip(2)) for a, b in zip(augmented.flipped(pixels), pixels, strict=True)]
        assert 16 < sum(mirrored) < 48
        moved = [augmented.shifted(pixels[:1], 2) for _ in range(20)]
        assert {picture.shape for picture in moved} == {(1, 3, 32, 32)}
        assert len({int(picture.count_nonzero()) for picture in moved}) > 3, "rows and columns are black"
        assert augmented.shifted(pixels, 0) is pixels

    def test_its_sweep_offers_what_it_reads(self) -> None:
        spec = parse_spec((EXAMPLES / "cifar10" / "augmented.yaml").read_text(encoding="utf-8"))
        assert spec.trainable == "toprung.examples.cifar10.augmented:Cifar"
        assert isinstance(spec.scheduler, AshaScheduler)
        config = spec.space.config(next(iter_samples(spec)))
        assert config["epochs"] == spec.scheduler.max_t
        assert spec.metric.name in Cifar(config).step()


class TestText:
    @pytest.mark.parametrize("network", ["lstm", "transformer"])
    def test_it_learns(self, network: str) -> None:
        torch.manual_seed(0)
        config = {"network": network, "width": 32, "layers": 1, "lr": 1e-2, "batch_size": 256}
        trainable = text.Sums(config)
        losses = [trainable.step()["val_loss"] for _ in range(2)]
        assert losses[1] < losses[0] < math.log(len(text.ALPHABET))

    def test_the_transformer_sees_no_character_ahead(self) -> None:
        model = text.Transformer(32, 2).eval()
        one, other = torch.zeros(1, 8).long(), torch.zeros(1, 8).long()
        other[0, 5:] = 3
        with torch.inference_mode():
            assert torch.allclose(model(one)[0, :5], model(other)[0, :5], atol=1e-6)

    def test_its_sweep(self) -> None:
        spec = parse_spec((EXAMPLES / "text" / "sweep.yaml").read_text())
        assert spec.trainable == "toprung.examples.text.train:Sums"
        assert spec.metric.name == "val_loss"


class TestDigitsOnSeveralWorkers:
    def test_the_loop_learns(self, tmp_path: Path) -> None:
        """In this process, as Ray Train's only worker; with two in tests/integration/test_workers.py."""
        trainer = TorchTrainer(
            distributed.train_loop,
            train_loop_config=DIGITS,
            scaling_config=ScalingConfig(num_workers=0),
            run_config=RunConfig(storage_path=str(tmp_path)),
        )
        metrics = trainer.fit().metrics
        assert metrics is not None
        assert set(metrics) == {"val_loss", "accuracy", "train_loss"}
        assert metrics["accuracy"] > 0.8

    def test_its_sweep(self) -> None:
        spec = parse_spec((EXAMPLES / "digits" / "distributed.yaml").read_text())
        assert spec.trainable == "toprung.examples.digits.distributed:train_digits"
        assert spec.resources.workers == 2
        assert spec.space.config(next(iter_samples(spec)))["epochs"] == spec.scheduler.max_t
