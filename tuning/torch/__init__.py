"""PyTorch trials that don't die of memory: for `ray.tune`, with Toprung's service or without (docs/pytorch.md)."""

from toprung.tuning.torch.memory import figures, is_out_of_memory, make_free
from toprung.tuning.torch.report import report
from toprung.tuning.torch.safe import MemorySafe, memory_safe
from toprung.tuning.torch.trainable import TorchTrainable

__all__ = ["MemorySafe", "TorchTrainable", "figures", "is_out_of_memory", "make_free", "memory_safe", "report"]
