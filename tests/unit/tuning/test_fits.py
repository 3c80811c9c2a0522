"""What fits into memory, as trials tell each other."""

from __future__ import annotations

import subprocess
import sys

from toprung.tuning.fits import KEPT, Fits


def test_findings_travel_with_results() -> None:
    trial, runner, later = Fits(), Fits(), Fits()
    trial.find("a", 8)
    trial.find("b", 4)
    result = {"loss": 1.0}
    trial.put_news(result)
    runner.take_news(result)
    assert result == {"loss": 1.0}
    later.learn(runner.known())
    assert (later.get("a"), later.get("b"), later.get("c")) == (8, 4, None)

    for again in ({"loss": 0.5}, result):
        trial.find("b", 4)  # as it was
        later.put_news(again)
        trial.put_news(again)
        assert set(again) == {"loss"}, "nothing is told twice, or back"


def test_the_last_word_counts_and_old_ones_go() -> None:
    fits = Fits()
    fits.find("first", 16)
    for number in range(KEPT):
        fits.find(f"{number}", number)
        fits.find("first", number)
    assert fits.get("first") == KEPT - 1
    assert fits.get("0") is None
    assert len(fits.known()) == KEPT


def test_it_is_light() -> None:
    code = "import sys, toprung.tuning.fits; print(sorted({'ray', 'torch'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "[]"
