"""The words by which errors without a class of their own say that memory has run out. Light: it loads nothing."""

import re

GPU_IS_FULL = ("CUDA out of memory", "CUDA error: out of memory", "CUBLAS_STATUS_ALLOC_FAILED")
HOST_IS_FULL = ("DefaultCPUAllocator: can't allocate memory", "could not create a primitive(?! descriptor)")
"""PyTorch's allocator on the CPU, and oneDNN, which finds no room for buffers of its own; what it can't do at all it
says of a primitive descriptor."""


def says_any(error: BaseException | str, signs: tuple[str, ...]) -> bool:
    """Whether one of these regular expressions is found in it."""
    text = str(error)
    return any(re.search(sign, text) for sign in signs)
