"""What is said of a trainable that is none."""

from __future__ import annotations

import pytest

from toprung.errors import InvalidSpec
from toprung.tuning.run.trainable import load


def test_a_module_that_nobody_sent() -> None:
    with pytest.raises(InvalidSpec, match=r"No module named 'nowhere'; the spec has no `code`"):
        load("nowhere:fit", sent=False)
    with pytest.raises(InvalidSpec, match=r"No module named 'nowhere'$"):
        load("nowhere:fit", sent=True)
