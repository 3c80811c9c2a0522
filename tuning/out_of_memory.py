"""The words by which errors without a class of their own say that memory has run out. Light: it loads nothing."""

GPU_IS_FULL = ("CUDA out of memory", "CUDA error: out of memory", "CUBLAS_STATUS_ALLOC_FAILED")
HOST_IS_FULL = ("DefaultCPUAllocator: can't allocate memory",)
"""PyTorch's allocator on the CPU."""


def says_any(error: BaseException, signs: tuple[str, ...]) -> bool:
    text = str(error)
    return any(sign in text for sign in signs)
