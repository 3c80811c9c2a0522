"""Batches: how many samples they have, and parts of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils._pytree import tree_flatten, tree_map, tree_unflatten


def num_samples(batch: Any) -> int:
    """The length of the batch's tensors along their first dimension.

    Raises:
        ValueError: it has no tensor with a dimension, or they disagree, or it has others that can't be seen.
    """
    leaves = tree_flatten(batch)[0]
    if closed := sorted({type(leaf).__name__ for leaf in leaves if _may_hide_tensors(leaf)}):
        raise ValueError(
            f"the batch has {' and '.join(closed)}, of which it is not known how it is cut into samples: give tuples, "
            "lists or dicts of tensors (dict(batch), or a collate_fn of the DataLoader), or split the batch yourself"
        )
    lengths = {leaf.shape[0] for leaf in leaves if _is_split(leaf)}
    if len(lengths) == 1:
        return int(lengths.pop())
    what = "has no tensor with a first dimension" if not lengths else f"has tensors of lengths {sorted(lengths)}"
    raise ValueError(
        f"the batch {what}, so it is not clear what its samples are: let every tensor have one row a sample, or split "
        "the batch yourself"
    )


def parts(batch: Any, size: int) -> Iterator[tuple[Any, float]]:
    """Even parts of at most `size` samples, as views, each with the fraction of the batch that it is.

    Even: a rest of one sample would be too few for BatchNorm.

    Tensors and arrays are split along their first dimension, lists of as many texts too; what else there is, such as a
    tensor without dimensions, is in each part.
    """
    leaves, structure = tree_flatten(batch, is_leaf=_is_words)
    total = num_samples(batch)
    if size >= total:
        yield batch, 1.0
        return
    count = -(-total // size)
    bounds = [index * total // count for index in range(count + 1)]
    for start, stop in pairwise(bounds):
        pieces = [
            leaf[start:stop] if _is_split(leaf) or (_is_words(leaf) and len(leaf) == total) else leaf for leaf in leaves
        ]
        yield tree_unflatten(pieces, structure), (stop - start) / total


def to_device(batch: Any, device: torch.device) -> Any:
    """The batch's tensors, and what else can be moved, on a device; from pinned memory without waiting."""
    return tree_map(lambda leaf: _moved(leaf, device), batch)


def shapes(batch: Any) -> tuple[tuple[int, ...], ...]:
    """The shapes of its tensors, in their order."""
    return tuple(tuple(leaf.shape) for leaf in tree_flatten(batch)[0] if _is_split(leaf))


def _may_hide_tensors(leaf: Any) -> bool:
    """A type that PyTorch can't look into: a graph, a dataclass, an encoding of text."""
    if isinstance(leaf, Tensor | np.ndarray):
        return False
    if hasattr(leaf, "to") or isinstance(leaf, Mapping):
        return True
    names = [field.name for field in fields(leaf)] if is_dataclass(leaf) else getattr(leaf, "__dict__", {})
    return any(isinstance(getattr(leaf, name, None), Tensor) for name in names)


def _is_words(node: Any) -> bool:
    """Texts of the samples, as a DataLoader hands them out."""
    return isinstance(node, list | tuple) and len(node) > 0 and all(isinstance(each, str | bytes) for each in node)


def _is_split(leaf: Any) -> bool:
    return isinstance(leaf, Tensor | np.ndarray) and leaf.ndim > 0


def _moved(leaf: Any, device: torch.device) -> Any:
    if isinstance(leaf, Tensor):
        return leaf.to(device, non_blocking=True)
    move = getattr(leaf, "to", None)  # graphs, encodings of text
    return move(device) if callable(move) else leaf
