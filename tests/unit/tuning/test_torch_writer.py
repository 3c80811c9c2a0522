"""What trials write for TensorBoard: the writer, its way out of the process, histograms."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.compat.proto.event_pb2 import Event
from tests.torch_models import Small
from torch import nn

from toprung.tuning import summaries
from toprung.tuning.run import summaries as shipped
from toprung.tuning.run.summaries import LENGTH, MARK, TrialSummaries
from toprung.tuning.torch import summary_writer
from toprung.tuning.torch.histograms import add_histograms


class Collected:
    """A collector that keeps the events."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def add(self, event: bytes) -> None:
        self.events.append(Event.FromString(event))

    def values(self) -> dict[str, list[int]]:
        found: dict[str, list[int]] = {}
        for event in self.events:
            for value in event.summary.value:
                found.setdefault(value.tag, []).append(event.step)
        return found


@pytest.fixture
def collected(monkeypatch: pytest.MonkeyPatch) -> Collected:
    collector = Collected()
    monkeypatch.setattr(summaries, "_collector", collector)  # put back afterwards
    return collector


class TestWriter:
    def test_everything_goes_to_the_collector_of_the_attempt(self, collected: Collected) -> None:
        writer = summary_writer()
        assert writer is summary_writer()
        writer.add_scalar("loss", 0.5, 3)
        writer.add_image("picture", torch.rand(3, 4, 4), 4)
        writer.add_text("words", "hello", 5)
        writer.add_histogram("numbers", torch.rand(20), 6)
        writer.add_scalars("both", {"a": 1.0, "b": 2.0}, 7)
        writer.flush()
        writer.close()
        writer.add_scalar("loss", 0.4, 8)

        assert collected.values() == {
            "loss": [3, 8],
            "picture": [4],
            "words/text_summary": [5],
            "numbers": [6],
            "both/a": [7],
            "both/b": [7],
        }

    def test_what_needs_files_says_that_it_does_nothing(
        self, collected: Collected, caplog: pytest.LogCaptureFixture
    ) -> None:
        for _ in range(2):
            summary_writer().add_hparams({"lr": 1.0}, {"loss": 1.0})
            summary_writer().add_embedding(torch.rand(2, 2))
        assert collected.events == []
        assert [record.message.partition(" ")[0] for record in caplog.records] == ["add_hparams", "add_embedding"]

    def test_the_next_attempt_has_its_own(self, collected: Collected) -> None:
        first, second = summary_writer(), Collected()
        summaries.collect_with(second)
        summary_writer().add_scalar("x", 1.0, 1)
        first.add_scalar("x", 1.0, 2)
        assert (collected.values(), second.values()) == ({"x": [2]}, {"x": [1]})

    def test_outside_of_a_trial(self) -> None:
        with pytest.raises(RuntimeError, match="is for trials"):
            summary_writer()


class Wire:
    """What the service has got."""

    def __init__(self) -> None:
        self.streams: dict[tuple[int, int], bytes] = {}
        self.away = False
        self.calls = 0

    def __call__(self, number: int, attempt: int, offset: int, data: bytes) -> None:
        self.calls += 1
        if self.away:
            raise ConnectionError("the service is away")
        there = self.streams.get((number, attempt), b"")
        self.streams[number, attempt] = there + data[len(there) - offset :]

    def parts(self, number: int, attempt: int) -> list[str | int]:
        """Texts and marks."""
        data, found, start = self.streams.get((number, attempt), b""), list[str | int](), 0
        while start < len(data):
            (length,) = LENGTH.unpack_from(data, start)
            end = start + LENGTH.size + (length & ~MARK)
            body, start = data[start + LENGTH.size : end], end
            found.append(LENGTH.unpack(body)[0] if length & MARK else body.decode())
        return found


@pytest.fixture
def wire() -> Wire:
    return Wire()


@pytest.fixture
def trial(wire: Wire) -> Iterator[TrialSummaries]:
    yield TrialSummaries(wire)
    wire.away = False  # its thread lives as long as the process


class TestTheWayToTheService:
    def test_steps_are_marked_where_something_was_written(self, wire: Wire, trial: TrialSummaries) -> None:
        attempt = trial.attach(3, 2)
        attempt.add(b"setup")
        trial.starts_from(5)
        attempt.add(b"a")
        attempt.add(b"b")
        trial.mark(6)
        trial.starts_from(6)
        trial.mark(7)
        attempt.add(b"c")
        trial.mark(8)
        trial.flush_soon()
        assert wire.parts(3, 2) == ["setup", 5, "a", "b", 6, "c", 8]

    def test_an_attempt_that_is_over_is_not_heard(self, wire: Wire, trial: TrialSummaries) -> None:
        first = trial.attach(0, 1)
        first.add(b"1")
        second = trial.attach(1, 1)
        first.add(b"late")
        second.add(b"2")
        trial.flush_soon()
        assert (wire.parts(0, 1), wire.parts(1, 1)) == (["1"], ["2"])

    def test_there_is_an_end_to_it(
        self, wire: Wire, trial: TrialSummaries, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setattr(shipped, "_LIMIT_BYTES", 40)
        attempt = trial.attach(0, 1)
        for step in range(1, 6):
            attempt.add(b"0123456789")
            trial.mark(step)
        trial.flush_soon()
        assert wire.parts(0, 1) == ["0123456789", 1, "0123456789", 2]
        assert capsys.readouterr().err.count("more than 32 MiB") == 1

    def test_a_service_that_is_away_is_not_waited_for(self, wire: Wire, trial: TrialSummaries) -> None:
        wire.away = True
        attempt = trial.attach(0, 1)
        attempt.add(b"a")
        trial.mark(1)
        trial.flush_soon()
        calls = wire.calls
        assert calls >= 1
        started_at = time.monotonic()
        for _ in range(20):
            trial.flush_soon()
        assert time.monotonic() - started_at < shipped._WAIT_S

        wire.away = False
        trial.flush()  # as its thread does, twice a second
        assert wire.parts(0, 1) == ["a", 1]
        attempt.add(b"b")
        trial.mark(2)
        trial.flush_soon()
        assert wire.parts(0, 1) == ["a", 1, "b", 2], "it is waited for again"


class TestHistograms:
    def test_counts_are_numpys(self, collected: Collected) -> None:
        model = nn.Linear(40, 30)
        model.weight.grad = torch.randn_like(model.weight)

        add_histograms(summary_writer(), model, 4)

        assert collected.values() == {"weights/weight": [4], "weights/bias": [4], "gradients/weight": [4]}
        found = {value.tag: value.histo for event in collected.events for value in event.summary.value}
        for tag, tensor in (("weights/weight", model.weight), ("gradients/weight", model.weight.grad)):
            values = tensor.detach().numpy().ravel()
            histogram = found[tag]
            counts, edges = np.histogram(values, 30)
            assert (histogram.min, histogram.max, histogram.num) == (values.min(), values.max(), values.size)
            assert np.abs(np.array(histogram.bucket) - counts).sum() <= 4, "values on an edge may fall to either side"
            assert np.allclose(histogram.bucket_limit, edges[1:], atol=1e-5)
            assert histogram.sum == pytest.approx(values.sum(), abs=1e-3)
            assert histogram.sum_squares == pytest.approx((values**2).sum(), rel=1e-4)

    @pytest.mark.parametrize(
        ("values", "num"),
        [
            ([1.0, float("nan"), float("inf"), 3.0], 2),
            ([float("nan")], 0),
            ([2.0, 2.0, 2.0], 3),
            ([0.0], 1),
            ([], 0),
        ],
    )
    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
    def test_of_unusual_values(self, collected: Collected, values: list[float], num: int, dtype: torch.dtype) -> None:
        model = nn.Module()
        model.register_parameter("p", nn.Parameter(torch.tensor(values, dtype=dtype)))
        add_histograms(summary_writer(), model, 1)
        found = [value.histo for event in collected.events for value in event.summary.value]
        assert [histogram.num for histogram in found] == ([num] if num else [])
        for histogram in found:
            assert sum(histogram.bucket) == num
            assert list(histogram.bucket_limit) == sorted(set(histogram.bucket_limit))


class Watched(Small):
    histograms_every = 2


def result(trainable: Watched) -> None:
    """A step, counted as Tune does."""
    trainable.step()
    trainable._iteration += 1


class TestTorchTrainable:
    def test_histograms_of_every_second_result(self, collected: Collected) -> None:
        trainable = Watched({})
        for _ in range(4):
            result(trainable)
        assert {tuple(steps) for steps in collected.values().values()} == {(2, 4)}
        names = [name for name, _ in trainable.model.named_parameters()]
        assert set(collected.values()) == {f"{kind}/{name}" for kind in ("weights", "gradients") for name in names}

    def test_they_do_not_end_a_training(
        self, collected: Collected, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        def full(event: bytes) -> None:
            raise OSError("no")  # stands for whatever may go wrong with them

        monkeypatch.setattr(collected, "add", full)
        trainable = Watched({})
        for _ in range(4):
            result(trainable)
        assert [record.message for record in caplog.records] == ["no more histograms of this trial: OSError: no"]

    def test_in_a_plain_tuner_a_resumed_trial_hides_what_it_does_again(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Written into the trial's folder; `restore` is what Tune calls."""
        monkeypatch.setattr(summaries, "_collector", None)

        def run(results: int, restore_from: Any = None) -> Any:
            trainable = Watched({})
            trainable._logdir = str(tmp_path / "trial")
            if restore_from is not None:
                trainable._iteration = 2
                trainable.load_checkpoint(str(restore_from))
            for number in range(results):
                result(trainable)
                if number == 1:
                    trainable.save_checkpoint(str(tmp_path))
            trainable.cleanup()

        run(4)
        run(4, restore_from=tmp_path)

        read = EventAccumulator(str(tmp_path / "trial"), size_guidance={"histograms": 0}).Reload()
        assert [event.step for event in read.Histograms(read.Tags()["histograms"][0])] == [2, 4, 6]
