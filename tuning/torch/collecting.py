"""`SummaryWriter` without a file: what it writes goes to a collector. Loads TensorBoard."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from torch.utils.tensorboard import FileWriter, SummaryWriter

from toprung.tuning.summaries import Collector

logger = logging.getLogger("toprung")


class CollectingWriter(SummaryWriter):  # type: ignore[misc]  # torch is not followed
    """PyTorch's own writer in front of a collector.

    Two of its methods write files beside the events: they do nothing here but say so once. `add_scalars`, which makes a
    run of its own for each line, writes them as scalars of the same run.
    """

    file_writer: FileWriter | None

    def __init__(self, collector: Collector) -> None:
        self._collector = collector
        self._told: set[str] = set()
        super().__init__("the trial's")

    def _get_file_writer(self) -> FileWriter:
        if self.file_writer is None:
            self.file_writer = _Events(self._collector)
            self.all_writers = {self.log_dir: self.file_writer}
        return self.file_writer

    def add_scalars(
        self,
        main_tag: str,
        tag_scalar_dict: Mapping[str, Any],
        global_step: int | None = None,
        walltime: float | None = None,
    ) -> None:
        for tag, value in tag_scalar_dict.items():
            self.add_scalar(f"{main_tag}/{tag}", value, global_step, walltime)

    def add_hparams(self, *args: Any, **options: Any) -> None:
        self._tell("add_hparams does nothing in Toprung, which writes the trial's parameters and best value by itself")

    def add_embedding(self, *args: Any, **options: Any) -> None:
        self._tell("add_embedding does nothing in Toprung: the projector's files are not collected")

    def _tell(self, what: str) -> None:
        if what not in self._told:
            self._told.add(what)
            logger.warning("%s", what)


class _Events(FileWriter):  # type: ignore[misc]
    """In the place of the event file."""

    def __init__(self, collector: Collector) -> None:
        self.event_writer = _Collected(collector)


class _Collected:
    """In the place of TensorBoard's `EventFileWriter`."""

    def __init__(self, collector: Collector) -> None:
        self._collector = collector

    def get_logdir(self) -> str:
        return "the trial's"

    def add_event(self, event: Any) -> None:
        self._collector.add(event.SerializeToString())

    def flush(self) -> None:
        """Nothing: it is sent as the trial goes on."""

    def close(self) -> None:
        """Nothing."""

    def reopen(self) -> None:
        """Nothing."""
