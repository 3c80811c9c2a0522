"""Power-law learning curves over known test functions, with parameters of all types.

The noise-free loss after t of T steps is

    loss(t) = final + (1 - final) · ((1 + t)^-rate - (1 + T)^-rate) / (1 - (1 + T)^-rate)

from 1 before the first step to `final` after the last, the power law that curves of neural networks follow (Domhan et
al. 2015, "Speeding up automatic hyperparameter optimization of deep neural networks by extrapolation of learning
curves", family pow3), scaled. `final` = excess / (excess + halfway), where the excess is a test function that is 0 at
the best configuration (Surjanovic and Bingham, sfu.ca/~ssurjano/optimization.html) and `halfway` is about its median:
a random configuration has a final loss of about 0.5, the best one 0. `rate` depends on the parameters too, and is not
highest where `final` is lowest: curves cross. The noise's standard deviation falls as 1 / sqrt(t).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from problems.problem import Array, Params, median_loss, noise, position

LR = {"type": "float", "low": 1e-5, "high": 1.0, "log": True}
WEIGHT_DECAY = {"type": "float", "low": 1e-6, "high": 1e-1, "log": True}
WIDTH = {"type": "int", "low": 16, "high": 1024, "log": True}
LAYERS = {"type": "int", "low": 1, "high": 9}
FRACTION = {"type": "float", "low": 0.0, "high": 1.0}


@dataclass(frozen=True, eq=False)
class PowerLaw:
    """Power-law curves that end at a function of the configuration.

    Attributes:
        best: a configuration whose final loss is 0.
        excess: of a configuration, 0 at the best and above elsewhere.
        rate: of a configuration, how fast its curve falls.
        halfway: the excess at which the final loss is 0.5.
        noise_sd: standard deviation of the noise at step 1.
    """

    name: str
    parameters: dict[str, Any]
    best: dict[str, Any]
    excess: Callable[[Params], float]
    rate: Callable[[Params], float]
    halfway: float
    max_t: int = 27
    noise_sd: float = 0.1
    kind: ClassVar[str] = "power-law"
    optimum: ClassVar[float] = 0.0

    @cached_property
    def reference(self) -> float:
        return median_loss(self.parameters, self.true)

    def curve(self, params: Params, seed: int) -> Array:
        final, rate = self.true(params), self.rate(params)
        return final + (1 - final) * remaining(rate, self._steps) + self._noise_sds * noise(params, seed, self.max_t)

    def true(self, params: Params) -> float:
        excess = self.excess(params)
        return 1.0 if math.isinf(excess) else excess / (excess + self.halfway)

    def epoch_s(self, params: Params) -> float:
        return 1.0

    @cached_property
    def _steps(self) -> Array:
        return np.arange(1.0, self.max_t + 1)

    @cached_property
    def _noise_sds(self) -> Array:
        return self.noise_sd / np.sqrt(self._steps)


def remaining(rate: float, steps: Array) -> Array:
    """Fraction of the way from the first loss to the last that is left after each step; the last of `steps` is T."""
    left: Array = (1 + steps) ** -rate
    return np.asarray((left - left[-1]) / (1 - left[-1]))


# ---- the problems


def branin() -> PowerLaw:
    """Two log-floats and three best regions, of which that with the highest learning rate is the fastest."""
    parameters = {"lr": LR, "weight_decay": WEIGHT_DECAY}

    def excess(params: Params) -> float:
        x, y = 15 * position(LR, params["lr"]) - 5, 15 * position(WEIGHT_DECAY, params["weight_decay"])
        parabola = y - 5.1 / (4 * math.pi**2) * x**2 + 5 / math.pi * x - 6
        return max(0.0, parabola**2 + 10 * (1 - 1 / (8 * math.pi)) * math.cos(x) + 10 - _BRANIN_MINIMUM)

    def rate(params: Params) -> float:
        return 0.1 + 1.9 * position(LR, params["lr"]) ** 2

    best = {"lr": _at(LR, (math.pi + 5) / 15), "weight_decay": _at(WEIGHT_DECAY, 2.275 / 15)}
    return PowerLaw("curves-branin", parameters, best, excess, rate, halfway=36.0)


def rosenbrock() -> PowerLaw:
    """Floats and integers along a bent valley; wide networks are slow."""
    parameters = {"lr": LR, "warmup": FRACTION, "layers": LAYERS, "width": WIDTH}
    best = {"lr": 3e-3, "warmup": 0.3, "layers": 6, "width": 200}
    offsets = _Offsets(parameters, best)

    def excess(params: Params) -> float:
        x = [1 + 3 * offset for offset in offsets(params, parameters)]
        return sum(100 * (b - a * a) ** 2 + (1 - a) ** 2 for a, b in itertools.pairwise(x))

    def rate(params: Params) -> float:
        return 0.1 + position(LR, params["lr"]) ** 2 + 1.2 * (1 - position(WIDTH, params["width"])) ** 2

    return PowerLaw("curves-rosenbrock", parameters, best, excess, rate, halfway=1500.0, max_t=81)


def levy() -> PowerLaw:
    """Ripples over a bowl that each activation shifts and raises; dropout exists in deep networks only."""
    depth = {"type": "categorical", "choices": ["shallow", "deep"]}
    parameters = {
        "activation": {"type": "categorical", "choices": ["relu", "tanh", "gelu"]},
        "depth": depth,
        "lr": LR,
        "weight_decay": WEIGHT_DECAY,
        "width": WIDTH,
        "dropout": {**FRACTION, "high": 0.8, "when": {"depth": ["deep"]}},
    }
    best = {"activation": "gelu", "depth": "deep", "lr": 2e-3, "weight_decay": 1e-4, "width": 300, "dropout": 0.2}
    offsets = _Offsets(parameters, best)
    raised = {"relu": 0.5, "tanh": 3.0, "gelu": 0.0, "shallow": 2.0, "deep": 0.0}
    shifts = {"relu": 0.05, "tanh": -0.2, "gelu": 0.0}

    def excess(params: Params) -> float:
        lr, *others = offsets(params, ["lr", "weight_decay", "width", "dropout"])
        w = [1 + 5 * offset for offset in (lr - shifts[params["activation"]], *others)]
        ripples = sum((a - 1) ** 2 * (1 + 10 * math.sin(math.pi * a + 1) ** 2) for a in w[:-1])
        last = (w[-1] - 1) ** 2 * (1 + math.sin(2 * math.pi * w[-1]) ** 2)
        sines = math.sin(math.pi * w[0]) ** 2
        return sines + ripples + last + raised[params["activation"]] + raised[params["depth"]]

    def rate(params: Params) -> float:
        slow = 0.5 if params["depth"] == "deep" else 1.6
        return slow + 0.8 * position(LR, params["lr"]) - 0.5 * float(params.get("dropout", 0.0))

    return PowerLaw("curves-levy", parameters, best, excess, rate, halfway=43.0)


def ackley() -> PowerLaw:
    """A narrow hole in a rippled plain, a branch per optimizer, and a parameter of its own for two of them."""
    parameters = {
        "optimizer": {"type": "categorical", "choices": ["sgd", "adam", "rmsprop"]},
        "lr": LR,
        "momentum": {"type": "float", "low": 0.0, "high": 0.99, "when": {"optimizer": ["sgd"]}},
        "one_minus_beta2": {"type": "float", "low": 1e-4, "high": 0.3, "log": True, "when": {"optimizer": ["adam"]}},
        "layers": LAYERS,
        "smoothing": {**FRACTION, "high": 0.5},
    }
    best = {"optimizer": "adam", "lr": 1e-3, "one_minus_beta2": 1e-2, "layers": 3, "smoothing": 0.1}
    offsets = _Offsets(parameters, {**best, "momentum": 0.9})
    raised = {"sgd": 0.3, "adam": 0.0, "rmsprop": 1.0}
    shifts = {"sgd": 0.3, "adam": 0.0, "rmsprop": -0.1}

    def excess(params: Params) -> float:
        lr, *others = offsets(params, ["lr", "momentum", "one_minus_beta2", "layers", "smoothing"])
        x = [6 * offset for offset in (lr - shifts[params["optimizer"]], *others)]
        hole = -20 * math.exp(-0.2 * math.sqrt(sum(a * a for a in x) / len(x)))
        waves = -math.exp(sum(math.cos(2 * math.pi * a) for a in x) / len(x))
        return max(0.0, hole + waves + 20 + math.e) + raised[params["optimizer"]]

    def rate(params: Params) -> float:
        return {"sgd": 0.4, "adam": 1.0, "rmsprop": 1.3}[params["optimizer"]] + 0.8 * position(LR, params["lr"])

    return PowerLaw("curves-ackley", parameters, best, excess, rate, halfway=8.2, max_t=81)


def sparse() -> PowerLaw:
    """Nine parameters of which three matter, as usual in tuning (Bergstra and Bengio 2012, JMLR 13)."""
    parameters = {
        "lr": LR,
        "weight_decay": WEIGHT_DECAY,
        "width": WIDTH,
        "layers": LAYERS,
        "init": {"type": "categorical", "choices": ["normal", "uniform", "orthogonal", "zeros"]},
        **{f"augment_{name}": FRACTION for name in ("crop", "flip", "color", "blur")},
    }
    best = {"lr": 5e-3, "weight_decay": 1e-5, "width": 100, "layers": 4, "init": "normal"}
    best |= {
        f"augment_{name}": value
        for name, value in zip(("crop", "flip", "color", "blur"), (0.6, 0.5, 0.2, 0.1), strict=True)
    }
    offsets = _Offsets(parameters, best)
    numbers = [name for name in parameters if name != "init"]
    weights = {"lr": 1.0, "augment_crop": 0.6, "width": 0.4}

    def excess(params: Params) -> float:
        where = dict(zip(numbers, offsets(params, numbers), strict=True))
        valley = where["lr"] + 0.5 * where["width"]  # wide networks want lower learning rates
        bowl = valley**2 + sum(weights.get(name, 0.01) * offset**2 for name, offset in where.items())
        return bowl + (0.01 if params["init"] == "zeros" else 0.0)

    def rate(params: Params) -> float:
        return 0.1 + 1.2 * position(LR, params["lr"]) ** 2 + 1.2 * (1 - position(FRACTION, params["augment_crop"])) ** 2

    return PowerLaw("curves-sparse", parameters, best, excess, rate, halfway=0.25)


def cliff() -> PowerLaw:
    """Training diverges above a learning rate that momentum lowers; the best lies just below, at large batches."""
    parameters = {
        "lr": LR,
        "momentum": {"type": "float", "low": 0.0, "high": 0.99},
        "batch_size": {"type": "int", "low": 8, "high": 512, "log": True},
        "clip": {"type": "categorical", "choices": [True, False]},
        "clip_norm": {"type": "float", "low": 1e-2, "high": 1e2, "log": True, "when": {"clip": [True]}},
    }
    best = {"lr": 4e-2, "momentum": 0.9, "batch_size": 128, "clip": True, "clip_norm": 1.0}
    offsets = _Offsets(parameters, best)

    def step_size(params: Params) -> float:
        """Logarithm of the step that momentum makes of the learning rate, relative to the best one's."""
        return math.log10(params["lr"] / (1 - params["momentum"]) / 0.4)

    def excess(params: Params) -> float:
        if step_size(params) > (0.3 if params["clip"] else -0.2):
            return math.inf
        _, momentum, batch_size, clip_norm = offsets(params, ["lr", "momentum", "batch_size", "clip_norm"])
        bowl = (step_size(params) / 2) ** 2 + momentum**2 + (batch_size + 0.2 * momentum) ** 2 + 0.3 * clip_norm**2
        return bowl + (0.0 if params["clip"] else 0.05)

    def rate(params: Params) -> float:
        return min(3.0, max(0.1, 0.8 + 0.4 * step_size(params) - 2 * offsets(params, ["batch_size"])[0]))

    return PowerLaw("curves-cliff", parameters, best, excess, rate, halfway=1.2, max_t=81)


_BRANIN_MINIMUM = 0.397887357729738


@dataclass(frozen=True)
class _Offsets:
    """How far numbers lie from the best configuration's, as fractions of their ranges; 0 where one does not exist."""

    parameters: Mapping[str, Any]
    best: Mapping[str, Any]

    def __call__(self, params: Params, names: Sequence[str] | Mapping[str, Any]) -> list[float]:
        return [
            position(self.parameters[name], params[name]) - self._best[name] if name in params else 0.0
            for name in names
        ]

    @cached_property
    def _best(self) -> dict[str, float]:
        numbers = {name: p for name, p in self.parameters.items() if p["type"] != "categorical"}
        return {name: position(parameter, self.best[name]) for name, parameter in numbers.items()}


def _at(parameter: Mapping[str, Any], place: float) -> float:
    """The value at a place from 0 to 1 of a log range."""
    return float(parameter["low"] * (parameter["high"] / parameter["low"]) ** place)
