"""The Gaussian process over rungs: its gradient, what it expects, and what it takes for known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from toprung.tuning.search.gaussian import Kernel, _Prior

LINE = np.array([0])
TOP = 1


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 2**32 - 1), dim=st.integers(1, 4), num_levels=st.integers(1, 4))
def test_the_gradient_is_that_of_the_loss(seed: int, dim: int, num_levels: int) -> None:
    rng = np.random.default_rng(seed)
    axes = np.sort(np.concatenate([np.arange(dim), rng.integers(dim, size=3)]))
    places = rng.random((12, len(axes)))
    prior = _Prior(axes, num_levels)
    loss = prior.loss(places, rng.integers(num_levels, size=12), rng.standard_normal(12))
    theta = prior.mean + 0.5 * rng.standard_normal(len(prior.mean))

    _, gradient = loss(theta)

    step = 1e-5 * np.eye(len(theta))
    by_differences = [(loss(theta + d)[0] - loss(theta - d)[0]) / 2e-5 for d in step]
    assert gradient == pytest.approx(by_differences, rel=1e-3, abs=1e-3)


def line(count: int, seed: int = 0) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    return np.random.default_rng(seed).random((count, 1))


def test_low_rungs_tell_of_the_last_one_where_they_agree() -> None:
    """Many scores at the low rung, a parabola, and few at the last, the same parabola moved up."""
    low, high = line(30), line(5, seed=1)
    points = np.vstack([low, high])
    levels = np.repeat([0, TOP], [30, 5])
    scores = (points[:, 0] - 0.3) ** 2 * 10 + levels
    kernel = Kernel.fit(points, levels, scores, LINE, 2)

    expected = kernel.expected(points, levels, scores)(np.array([[0.3], [0.9]]))

    assert expected == pytest.approx([1.0, 4.6], abs=0.2)


def test_low_rungs_that_mislead_are_given_up() -> None:
    """The low rung falls where the last one rises."""
    points = np.vstack([line(30), line(15, seed=1)])
    levels = np.repeat([0, TOP], [30, 15])
    scores = np.where(levels == 0, -points[:, 0], points[:, 0]) * 3
    kernel = Kernel.fit(points, levels, scores, LINE, 2)

    low, high = kernel.expected(points, levels, scores)(np.array([[0.1], [0.9]]))

    assert low < high - 1


def test_a_noisy_rung_counts_for_less_than_a_quiet_one() -> None:
    rng = np.random.default_rng(0)
    points = np.vstack([line(40), line(40, seed=1)])
    levels = np.repeat([0, TOP], [40, 40])
    scores = np.sin(6 * points[:, 0]) + np.where(levels == 0, rng.standard_normal(80), 0.0)

    kernel = Kernel.fit(points, levels, scores, LINE, 2)

    assert kernel.noise[TOP] < 0.05 < 0.3 < kernel.noise[0]


def test_what_is_known_does_not_surprise_but_for_its_noise() -> None:
    kernel = Kernel(
        axes=LINE,
        weights=np.array([16.0]),
        variance=1.0,
        places=np.array([0.0, 0.3]),
        scales=np.array([0.5, 1.0]),
        noise=np.array([0.5, 0.001]),
    )
    there, far = np.array([[0.25]]), np.array([[5.0]])

    by_level = [float(kernel.deviation(there, np.array([level]))(there)[0]) for level in (0, TOP)]

    assert by_level[TOP] < 0.15 < 0.7 < by_level[0] < 1.0
    assert kernel.deviation(there, np.array([TOP]))(far) == pytest.approx(1.0)


@settings(deadline=None, max_examples=60)
@given(
    seed=st.integers(0, 2**32 - 1),
    num_levels=st.integers(1, 4),
    count=st.integers(2, 40),
    dim=st.integers(1, 6),
    alike=st.booleans(),
    constant=st.sampled_from([None, 0.0, 3.0, 20.0]),
)
@example(seed=2560, num_levels=1, count=27, dim=5, alike=False, constant=20.0)
def test_there_is_a_kernel_for_any_scores(
    seed: int, num_levels: int, count: int, dim: int, alike: bool, constant: float | None
) -> None:
    """Also where all configurations are the same, or all scores: no sweep may end for that."""
    rng = np.random.default_rng(seed)
    places = np.repeat(rng.random((1, dim)), count, axis=0) if alike else rng.random((count, dim))
    levels = rng.integers(num_levels, size=count)
    scores = rng.standard_normal(count) if constant is None else np.full(count, constant)

    kernel = Kernel.fit(places, levels, scores, np.arange(dim), num_levels)

    assert np.isfinite(kernel.expected(places, levels, scores)(places)).all()
    assert np.isfinite(kernel.deviation(places, levels)(places)).all()
