"""Memory that grows from batch to batch: found while there is still some left, and named."""

from __future__ import annotations

import gc
import statistics
from collections import Counter
from dataclasses import dataclass
from itertools import combinations

import torch
from torch import Tensor

from toprung.tuning.torch.allocations import Allocations, Line, in_words
from toprung.tuning.torch.memory import MB

WARM_UP = 20
"""Samples that don't count: caches fill, optimisers make their state, allocators find their size."""
WINDOW = 40
"""Samples that are looked at together."""
_RISING_FRAC = 0.9
"""So many of all pairs of samples must rise: noise, and steps up to a new plateau, do so in about half of them."""
_LEAST_MB = 16.0
"""Growth over a window that is worth a word."""
_LINES = 3
"""Lines of code that are named, those that allocate most first."""


@dataclass(frozen=True, slots=True)
class Kind:
    """Tensors that look alike."""

    shape: tuple[int, ...]
    dtype: torch.dtype
    device: str
    has_graph: bool
    """They carry what their backward pass would need."""

    def __str__(self) -> str:
        graph = ", each with its graph" if self.has_graph else ""
        return f"{list(self.shape)} {str(self.dtype).removeprefix('torch.')} on {self.device}{graph}"


Census = dict[Kind, tuple[int, int]]
"""Number and bytes of the tensors of each kind."""


def census() -> Census:
    """All tensors that Python code can reach. Takes time: it looks at all objects."""
    counts: Counter[Kind] = Counter()
    sizes: Counter[Kind] = Counter()
    for each in gc.get_objects():
        if not issubclass(type(each), Tensor):  # isinstance would ask the object, perhaps a proxy that loads something
            continue
        try:
            kind = Kind(tuple(each.shape), each.dtype, each.device.type, each.grad_fn is not None)
            size = each.numel() * each.element_size()
        except RuntimeError:  # nested, or not yet initialised: it has no shape
            continue
        counts[kind] += 1
        sizes[kind] += size
    return {kind: (count, sizes[kind]) for kind, count in counts.items()}


class GrowthWatch:
    """Told the memory in use after each batch, says once when it keeps growing.

    Args:
        allocations: knows which lines of code made what is there.
    """

    def __init__(self, allocations: Allocations | None = None) -> None:
        self._allocations = allocations
        self._lines_before: Counter[Line] = Counter()
        self._samples: list[float] = []
        self._num_seen = 0
        self._before: Census | None = None
        self._told = False

    def add(self, in_use: int) -> str | None:
        """Takes the bytes in use after a batch. Returns a warning, the first time that there is one."""
        if self._told:
            return None
        self._num_seen += 1
        if self._num_seen == WARM_UP:
            self._before = census()
            self._lines_before = self._by_line()
        if self._num_seen <= WARM_UP:
            return None
        self._samples.append(in_use / MB)
        if len(self._samples) < WINDOW:
            return None
        slope = slope_of(self._samples)
        grown = slope * len(self._samples)
        self._samples = self._samples[WINDOW // 2 :]
        if slope <= 0 or grown < _LEAST_MB:
            return None
        self._told = True
        return explained(slope, self._before or {}, census()) + self._lines()

    def _by_line(self) -> Counter[Line]:
        return Counter() if self._allocations is None else self._allocations.by_line()

    def _lines(self) -> str:
        if self._allocations is None:
            return " With trace_allocations = True it is told which lines of code allocate it."
        grown = (self._by_line() - self._lines_before).most_common(_LINES)
        told = "; ".join(f"{size / MB:.3g} MB more by {in_words(line)}" for line, size in grown)
        return f" Allocated: {told}." if told else " None of it was allocated where batches are computed."


def slope_of(samples: list[float]) -> float:
    """By how much each sample is more than the one before it, if all of them rise; else 0.

    The median of the slopes between all pairs (Theil and Sen's estimator), which up to 29 % of wild samples don't move.
    """
    slopes = [(b - a) / (j - i) for (i, a), (j, b) in combinations(enumerate(samples), 2)]
    rising = sum(slope > 0 for slope in slopes) / len(slopes)
    return statistics.median(slopes) if rising >= _RISING_FRAC else 0.0


def explained(mb_per_batch: float, before: Census, now: Census) -> str:
    """What grows, and what it usually comes from."""
    text = f"memory in use grows by {mb_per_batch:.3g} MB a batch"
    more = {kind: count - before.get(kind, (0, 0))[0] for kind, (count, _) in now.items()}
    grown = sorted((kind for kind, count in more.items() if count >= WINDOW // 4), key=lambda kind: -more[kind])[:3]
    if not grown:
        return f"{text}, but no kind of tensor becomes more: look for arrays or other objects that are kept."
    kept = "; ".join(f"{more[kind]} more of {kind} ({now[kind][1] / MB:.3g} MB in all)" for kind in grown)
    if any(kind.has_graph and not kind.shape for kind in grown):
        cause = "Losses are kept with all that their backward pass needs, in a list or a sum perhaps: keep loss.item()."
    elif any(kind.has_graph for kind in grown):
        cause = "Tensors are kept with all that their backward pass needs: keep them as tensor.detach().cpu()."
    else:
        cause = "They are kept somewhere, in a list perhaps: keep numbers, or let go of them."
    return f"{text}: since batch {WARM_UP} {kept}. {cause}"
