"""Errors of shapes, with the words that PyTorch's leave out."""

from __future__ import annotations

import re

_NORM_OF_ONE = re.compile(r"more than 1 value per channel when training, got input size (?:torch\.Size\()?(\[.*?\])")
_SPATIAL = re.compile(r"Expected more than 1 spatial element when training, got input size torch\.Size\((.+)\)")
_LINEAR = re.compile(r"mat1 and mat2 shapes cannot be multiplied \((\d+)x(\d+) and (\d+)x(\d+)\)")
_COMPILED_LINEAR = re.compile(r"must have same reduction dim, but got \[(\d+), (\d+)\] X \[(\d+), (\d+)\]")
_POOLED = re.compile(r"Given input size: \((.+?)\)\. Calculated output size: \((.+?)\)\. Output size is too small")
_BATCHES = re.compile(r"Expected input batch_size \((\d+)\) to match target batch_size \((\d+)\)")
_KERNEL = re.compile(r"padded input size per channel: \((.+?)\)\. Kernel size: \((.+?)\)")


def hint(error: BaseException) -> str | None:
    """What to do about it; None where nothing is known."""
    text = str(error)
    if found := _NORM_OF_ONE.search(text):
        return (
            f"A normalisation over the batch saw a single sample (shape {found[1]}) and expects at least two. It is "
            "the last batch as a rule: give the DataLoader drop_last=True, or a batch_size that leaves no rest of one. "
            "If the log says that batches are computed in parts of 1, more does not fit into memory."
        )
    if found := _SPATIAL.search(text):
        return (
            f"An instance normalisation saw one pixel a channel (shape {found[1]}) and expects at least two: larger "
            "images, fewer poolings or strides before it, or another normalisation."
        )
    if found := _LINEAR.search(text) or _COMPILED_LINEAR.search(text):
        _, seen, expected, out = found.groups()
        return (
            f"A linear layer was made for {expected} features and was given {seen}: write nn.Linear({seen}, {out}), "
            f"or nn.LazyLinear({out}), which takes what comes. After a convolution the number is channels × height × "
            "width of its output, and changes with kernel sizes, strides and pooling."
        )
    if found := _KERNEL.search(text):
        return (
            f"The image has shrunk to {found[1]} before a kernel of {found[2]}: fewer poolings, a larger padding or a "
            "smaller kernel would leave more of it."
        )
    if found := _POOLED.search(text):
        return (
            f"An input of {found[1]} (channels first) is too small for a pooling, whose output would be {found[2]}: "
            "fewer poolings, or larger images."
        )
    if found := _BATCHES.search(text):
        return (
            f"The loss was given {found[1]} outputs and expects as many as there are labels, {found[2]}: a reshape or "
            "flatten in the model may mix samples with other dimensions; write flatten(start_dim=1)."
        )
    return None


def add_hint(error: BaseException) -> None:
    """Puts the hint into the error's traceback, where there is one."""
    if found := hint(error):
        error.add_note(f"Toprung: {found}")
