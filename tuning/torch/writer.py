"""The TensorBoard writer of a trial."""

from __future__ import annotations

import functools
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from ray import tune

from toprung.tuning import summaries

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter


def summary_writer(purge_step: int | None = None) -> SummaryWriter:
    """A `torch.utils.tensorboard.SummaryWriter` for the trial that runs in this process.

    In the service what it writes is collected from whichever machine the trial runs on, and shown with the trial's
    metrics. What an attempt wrote after the last step that it reported isn't kept, nor what the next one writes again;
    `flush` and `close` do nothing. In a plain `ray.tune.Tuner` it writes into the trial's folder.

    Args:
        purge_step: for a plain Tuner: the first step of a trial that was resumed; what an earlier attempt wrote from
            there on is hidden.

    Raises:
        ModuleNotFoundError: TensorBoard is not installed.
        RuntimeError: no trial runs here.
    """
    collector = summaries.collector()
    if collector is not None:
        return _collecting(collector)
    with warnings.catch_warnings(action="ignore"):
        folder = tune.get_context().get_trial_dir()  # None, with a warning, where there is no trial
    if folder is None:
        raise RuntimeError("summary_writer() is for trials; elsewhere there is torch.utils.tensorboard.SummaryWriter")
    return writer_in(Path(folder), purge_step)


def trial_writer(folder: str, purge_step: int) -> SummaryWriter:
    """The same for a class trainable, which Tune doesn't tell in which folder it is but as its `logdir`."""
    collector = summaries.collector()
    return writer_in(Path(folder), purge_step) if collector is None else _collecting(collector)


def writer_in(folder: Path, purge_step: int | None) -> SummaryWriter:
    from torch.utils.tensorboard import SummaryWriter  # noqa: PLC0415  takes half a second, for who needs it

    others = any(folder.glob("events.out.tfevents.*"))
    return SummaryWriter(str(folder), purge_step=purge_step if others else None)


@functools.lru_cache(maxsize=1)
def _collecting(collector: summaries.Collector) -> SummaryWriter:
    from toprung.tuning.torch.collecting import CollectingWriter  # noqa: PLC0415  the same

    return CollectingWriter(collector)
