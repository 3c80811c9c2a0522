"""PyTorch trials that don't die of memory: for `ray.tune`, with Toprung's service or without (docs/pytorch.md)."""

from typing import TYPE_CHECKING, Any

from toprung.tuning.torch.memory import figures, is_out_of_memory, make_free
from toprung.tuning.torch.report import report
from toprung.tuning.torch.safe import MemorySafe, memory_safe
from toprung.tuning.torch.trainable import TorchTrainable
from toprung.tuning.torch.writer import summary_writer

if TYPE_CHECKING:
    from toprung.tuning.torch.distributed import distribute

__all__ = [
    "MemorySafe",
    "TorchTrainable",
    "distribute",
    "figures",
    "is_out_of_memory",
    "make_free",
    "memory_safe",
    "report",
    "summary_writer",
]


def __getattr__(name: str) -> Any:
    if name == "distribute":  # loads Ray Train
        from toprung.tuning.torch.distributed import distribute  # noqa: PLC0415

        return distribute
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
