"""Learning curves that virtual trials follow: made up, or what a function says. Recorded ones: recorded.py."""

from __future__ import annotations

import math
import random
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Protocol

import numpy as np
from scipy.special import ndtr

from toprung.errors import InvalidInput
from toprung.tuning.search.cube import Array, Cube
from toprung.tuning.simulate.clock import Curve, Values
from toprung.tuning.spec import SweepSpec

StepTime = Callable[[Mapping[str, Any]], float]
"""params -> what a step of this configuration takes."""


class Curves(Protocol):
    """Where the learning curves of a virtual sweep come from. Can be pickled: sweeps are simulated in processes."""

    made_up: bool
    """Whether the values mean nothing outside of the simulation."""

    def curve(self, spec: SweepSpec, seed: int) -> Curve:
        """The curves of one sweep."""

    def step_s(self, spec: SweepSpec) -> StepTime | None:
        """Seconds that steps take; None: unknown."""


_FEATURES = 64
_SAMPLE = 500
_LENGTH = 0.5


class _Landscape:
    """A smooth random function of configurations, standard normal over random ones.

    A draw from a Gaussian process by random features (Rahimi and Recht, NIPS 2007); length scales differ by parameter,
    as in practice few of them matter (Bergstra and Bengio, JMLR 2012).
    """

    def __init__(self, spec: SweepSpec, rng: np.random.Generator) -> None:
        self._cube = Cube(spec.space)
        dim = self._cube.dim
        lengths = _LENGTH * np.exp(np.abs(rng.standard_normal(dim)))
        self._frequencies = rng.standard_normal((_FEATURES, dim)) / lengths
        self._phases = rng.uniform(0, 2 * math.pi, _FEATURES)
        # the order of choices means nothing: each lies at a place of its own; the last place is that of "not active"
        self._places = [rng.random(count + 1) for count in self._cube.num_choices]
        draws = random.Random(int(rng.integers(2**32)))
        sample = np.array([self._raw(spec.space.sample(draws)) for _ in range(_SAMPLE)])
        self._mean, self._sd = float(sample.mean()), float(sample.std()) or 1.0

    def __call__(self, params: Mapping[str, Any]) -> float:
        return (self._raw(params) - self._mean) / self._sd

    def _raw(self, params: Mapping[str, Any]) -> float:
        point = self._cube.encode(params)
        for i, places in enumerate(self._places):
            if math.isnan(point[i]):
                point[i] = places[-1]
            elif len(places) > 1:
                point[i] = places[int(point[i])]
        return float(np.cos(self._frequencies @ point + self._phases).sum())


@dataclass(frozen=True)
class PowerLaw:
    """Made-up losses from 1 down to a final loss, by a power law of the step.

    Power laws fit the curves of neural networks (Domhan et al., IJCAI 2015). The final loss is a smooth random function
    of the parameters: near 0 is the best there is, 0.5 the median. So is the rate, independently of it: curves cross.
    The noise is a part of the loss and falls as 1/√step. Ranks at steps 1, 3 and 9 correlate with those at step 27 by
    about 0.7, 0.9 and 0.98, as those of the small networks in benchmarks/data do. Each seed is another landscape.
    """

    made_up = True
    noise_sd: float = 0.1

    def curve(self, spec: SweepSpec, seed: int) -> Curve:
        num_steps = spec.scheduler.max_t
        assert num_steps is not None, "checked before"
        rng = np.random.default_rng([seed, 1])
        final, rate = _Landscape(spec, rng), _Landscape(spec, rng)
        steps = np.arange(1.0, num_steps + 1)
        noise_sd = self.noise_sd / np.sqrt(steps)
        minimize = spec.metric.goal == "minimize"

        def curve(number: int, params: Mapping[str, Any]) -> Array:
            end = float(ndtr(final(params)))
            left = (1 + steps) ** -math.exp(rate(params) - 0.5)
            noise = np.random.default_rng([seed, 2, number]).standard_normal(num_steps)
            loss: Array = (end + (1 - end) * (left - left[-1]) / (1 - left[-1])) * np.exp(noise_sd * noise)
            return loss if minimize else 1 - loss

        return curve

    def step_s(self, spec: SweepSpec) -> StepTime | None:
        return None


@dataclass(frozen=True)
class Function:
    """What a function of the user's says: (number, params) -> the values at steps 1, 2, …

    Attributes:
        target: "module:function".
        folders: where its module is looked for first.
    """

    target: str
    folders: tuple[str, ...] = ()
    made_up = False

    def load(self) -> Curve:
        """Raises:
        InvalidInput: there is no such function.
        """
        module, _, name = self.target.partition(":")
        sys.path[:0] = [folder for folder in self.folders if folder not in sys.path]
        try:
            found = getattr(import_module(module), name)
        except Exception as error:  # whatever the user's module raises
            raise InvalidInput(f"{self.target} can't be loaded: {type(error).__name__}: {error}") from error
        if not callable(found):
            raise InvalidInput(f"{self.target} is no function of (number, params).")
        return found  # type: ignore[no-any-return]

    def curve(self, spec: SweepSpec, seed: int) -> Curve:
        function, max_t = self.load(), spec.scheduler.max_t

        def curve(number: int, params: Mapping[str, Any]) -> Values:
            try:
                values = np.asarray(function(number, params), dtype=np.float64)
            except Exception as error:  # whatever the user's function raises
                raise InvalidInput(f"{self.target} failed for {params}: {type(error).__name__}: {error}") from error
            if values.ndim != 1 or not values.size or not np.isfinite(values).all():
                raise InvalidInput(f"{self.target} must return finite numbers, one a step; for {params} it did not.")
            return values[:max_t]

        return curve

    def step_s(self, spec: SweepSpec) -> StepTime | None:
        return None
