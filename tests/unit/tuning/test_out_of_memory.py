"""By which words memory is said to have run out."""

from __future__ import annotations

import pytest

from toprung.tuning.out_of_memory import HOST_IS_FULL, says_any


@pytest.mark.parametrize(
    ("words", "is_full"),
    [
        ("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes", True),
        ("could not create a primitive", True),
        ("could not create a primitive descriptor for a matmul primitive", False),
    ],
)
def test_the_words_of_the_host(words: str, is_full: bool) -> None:
    assert says_any(RuntimeError(words), HOST_IS_FULL) is is_full
