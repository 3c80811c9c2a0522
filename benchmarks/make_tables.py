"""Makes benchmarks/data again: trains the tables of problems/tables.py, and samples what problems/prior.py needs.

    python benchmarks/make_tables.py [NAME ...]

About ten minutes on one core. Losses come out the same for the same versions of the libraries; step times are measured
and do not. The optima of the tasks from the curve prior are printed, to be copied into problems/prior.py.
"""

from __future__ import annotations

import itertools
import sys
import time
import warnings
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import torch
from problems import ALL, load
from problems.prior import QUANTILES, CurvePrior, draw_network
from problems.problem import Array, samples
from problems.tables import CANCER, DIABETES, DIGITS, FRIEDMAN, NUM_CONFIGS, NUM_REPEATS, Task, save_table
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits, make_friedman1
from sklearn.ensemble import GradientBoostingRegressor
from sklearn.linear_model import SGDClassifier
from torch import Tensor
from torch.nn import functional

Data = tuple[Array, Array, Array, Array]
"""Inputs (n, d) and targets (n,) for training, then for validation."""


# ---- data


def split(data: tuple[Any, Any], num_train: int) -> Data:
    """Shuffled and cut in two."""
    x, y = data
    order = np.random.default_rng(0).permutation(len(x))
    train, valid = order[:num_train], order[num_train:]
    return x[train], y[train], x[valid], y[valid]


def standardized(train: Array, valid: Array) -> tuple[Array, Array]:
    """With mean 0 and variance 1 in the training part."""
    return (train - train.mean(axis=0)) / train.std(axis=0), (valid - train.mean(axis=0)) / train.std(axis=0)


def regression(data: Data) -> Data:
    """With inputs and targets standardized."""
    x, y, x_valid, y_valid = data
    (x, x_valid), (y, y_valid) = standardized(x, x_valid), standardized(y, y_valid)
    return x, y, x_valid, y_valid


@cache
def digits() -> Data:
    pixels, digit = load_digits(return_X_y=True)  # pixels from 0 to 16
    return split((pixels / 8 - 1, digit), num_train=600)


@cache
def diabetes() -> Data:
    return regression(split(load_diabetes(return_X_y=True), num_train=292))


@cache
def friedman() -> Data:
    return regression(split(make_friedman1(n_samples=1_400, noise=1.0, random_state=0), num_train=400))


@cache
def cancer() -> Data:
    x, y, x_valid, y_valid = split(load_breast_cancer(return_X_y=True), num_train=285)
    x, x_valid = standardized(x, x_valid)
    wrong = np.random.default_rng(1).random(len(y)) < 0.2
    return x, np.where(wrong, 1 - y, y), x_valid, y_valid


# ---- training: a configuration -> losses (repeats, max_t)


def train_digits(params: dict[str, Any]) -> Array:
    def optimizer(weights: list[Tensor]) -> torch.optim.Optimizer:
        lr, weight_decay = params["lr"], params["weight_decay"]
        if params["optimizer"] == "adam":
            return torch.optim.AdamW(weights, lr, weight_decay=weight_decay)
        return torch.optim.SGD(weights, lr, momentum=params["momentum"], weight_decay=weight_decay)

    x, y, x_valid, y_valid = map(torch.from_numpy, digits())
    return train_networks(
        (x.float(), y, x_valid.float(), y_valid),
        [64, params["hidden"], 10],
        functional.relu,
        params["dropout"],
        params["batch_size"],
        DIGITS.max_t,
        optimizer,
    )


def train_friedman(params: dict[str, Any]) -> Array:
    x, y, x_valid, y_valid = (torch.from_numpy(part).float() for part in friedman())
    return train_networks(
        (x, y, x_valid, y_valid),
        [10, *[params["width"]] * params["layers"], 1],
        {"relu": functional.relu, "tanh": torch.tanh}[params["activation"]],
        params.get("dropout", 0.0),
        params["batch_size"],
        FRIEDMAN.max_t,
        lambda weights: torch.optim.AdamW(weights, params["lr"], weight_decay=params["weight_decay"]),
        params["lr_decay"],
    )


def train_networks(
    data: tuple[Tensor, Tensor, Tensor, Tensor],
    widths: list[int],
    activation: Callable[[Tensor], Tensor],
    dropout: float,
    batch_size: int,
    max_t: int,
    make_optimizer: Callable[[list[Tensor]], torch.optim.Optimizer],
    lr_decay: float = 1.0,
) -> Array:
    """Trains the repeats side by side, with weights (repeats, in, out): small operations cost their overhead once."""
    torch.manual_seed(0)
    x, y, x_valid, y_valid = data
    weights = [torch.randn(NUM_REPEATS, a, b) * (2 / a) ** 0.5 for a, b in itertools.pairwise(widths)]
    biases = [torch.zeros(NUM_REPEATS, 1, b) for b in widths[1:]]
    optimizer = make_optimizer([tensor.requires_grad_() for tensor in [*weights, *biases]])
    schedule = torch.optim.lr_scheduler.ExponentialLR(optimizer, lr_decay)

    def losses(inputs: Tensor, targets: Tensor, training: bool) -> Tensor:
        """Mean loss of each repeat, (repeats,); inputs (repeats, n, d), targets (repeats, n)."""
        hidden = inputs
        for weight, bias in zip(weights[:-1], biases[:-1], strict=True):
            hidden = functional.dropout(activation(torch.baddbmm(bias, hidden, weight)), dropout, training)
        outputs = torch.baddbmm(biases[-1], hidden, weights[-1])
        if outputs.shape[-1] == 1:
            return (outputs.squeeze(-1) - targets).square().mean(dim=1)
        return functional.cross_entropy(outputs.transpose(1, 2), targets, reduction="none").mean(dim=1)

    curves = np.empty((NUM_REPEATS, max_t))
    for epoch in range(max_t):
        orders = torch.rand(NUM_REPEATS, len(x)).argsort(dim=1)
        for batch in orders.split(batch_size, dim=1):
            optimizer.zero_grad()
            losses(x[batch], y[batch], training=True).sum().backward()
            optimizer.step()
        schedule.step()
        with torch.no_grad():
            repeated = x_valid.expand(NUM_REPEATS, -1, -1), y_valid.expand(NUM_REPEATS, -1)
            curves[:, epoch] = losses(*repeated, training=False).numpy()
    return curves


def train_diabetes(params: dict[str, Any]) -> Array:
    x, y, x_valid, y_valid = diabetes()
    curves = np.empty((NUM_REPEATS, DIABETES.max_t))
    for repeat in range(NUM_REPEATS):
        model = GradientBoostingRegressor(n_estimators=DIABETES.max_t, random_state=repeat, **params).fit(x, y)
        curves[repeat] = [np.mean((stage - y_valid) ** 2) for stage in model.staged_predict(x_valid)]
    return curves


def train_cancer(params: dict[str, Any]) -> Array:
    x, y, x_valid, y_valid = cancer()
    own = {name: value for name, value in params.items() if name != "schedule"}
    curves = np.empty((NUM_REPEATS, CANCER.max_t))
    for repeat in range(NUM_REPEATS):
        rng = np.random.default_rng(repeat)
        model = SGDClassifier(loss="log_loss", learning_rate=params["schedule"], random_state=repeat, **own)
        for epoch in range(CANCER.max_t):
            order = rng.permutation(len(x))  # partial_fit would shuffle alike each time
            model.partial_fit(x[order], y[order], classes=[0, 1])
            margins = np.where(y_valid == 1, 1, -1) * model.decision_function(x_valid)
            curves[repeat, epoch] = np.logaddexp(0, -margins).mean()
    return curves


TRAIN: dict[str, tuple[Task, Callable[[dict[str, Any]], Array]]] = {
    task.name: (task, train)
    for task, train in (
        (DIGITS, train_digits),
        (DIABETES, train_diabetes),
        (FRIEDMAN, train_friedman),
        (CANCER, train_cancer),
    )
}


def make(task: Task, train: Callable[[dict[str, Any]], Array]) -> None:
    """Trains and writes one table."""
    configs = samples(task.parameters, NUM_CONFIGS, seed=1)
    curves, seconds = [], []
    train(configs[0])  # loads data and libraries, which is not the first configuration's time
    for number, params in enumerate(configs, start=1):
        start = time.process_time()
        curves.append(train(params))
        seconds.append(time.process_time() - start)
        if number % 100 == 0:
            print(f"{task.name}: {number} of {len(configs)}, {sum(seconds):.0f} s of CPU time", flush=True)
    losses = np.nan_to_num(np.array(curves), nan=np.inf).clip(max=task.cap)
    save_table(task, configs, losses, np.array(seconds) / np.median(seconds))


# ---- the curve prior


def save_distribution() -> None:
    """Tabulates the outputs of 20,000 random networks of 1 to 10 inputs, each at 5 random points."""
    rng = np.random.default_rng(0)
    outputs = []
    for _ in range(20_000):
        dim = int(rng.integers(1, 11))
        outputs.append(draw_network(dim, rng)(rng.random((5, dim))).ravel())
    np.save(QUANTILES, np.quantile(np.concatenate(outputs), np.linspace(0, 1, 1_001)))


def search_optimum(task: CurvePrior) -> float:
    """Lowest noise-free loss of 200,000 random points, the 20 best of which are improved by ever smaller steps."""
    rng = np.random.default_rng(0)

    def losses(points: Array) -> Array:
        return task.losses(task.curves(points), np.ones(1))[:, 0]

    points = rng.random((200, 1_000, task.dim))
    found = np.concatenate([losses(chunk) for chunk in points])
    best, lowest = points.reshape(-1, task.dim)[found.argsort()[:20]], np.sort(found)[:20]
    for radius in 0.1 * 0.9 ** np.arange(120):
        near = np.clip(best[:, None] + rng.normal(0, radius, (20, 50, task.dim)), 0, 1)
        values = losses(near.reshape(-1, task.dim)).reshape(20, 50)
        better = values.min(axis=1) < lowest
        best[better] = near[np.arange(20), values.argmin(axis=1)][better]
        lowest = np.minimum(lowest, values.min(axis=1))
    return float(lowest.min())


def make_prior() -> None:
    """Writes the distribution and prints the optima."""
    save_distribution()
    for name in ALL:
        if name.startswith("curve-prior"):
            problem = load(name)
            assert isinstance(problem, CurvePrior)
            print(f'    "{problem.name}": {search_optimum(problem):.8f},', flush=True)


def main() -> None:
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore", category=RuntimeWarning)  # of configurations that diverge
    for name in sys.argv[1:] or [*TRAIN, "curve-prior"]:
        if name == "curve-prior":
            make_prior()
        else:
            make(*TRAIN[name])


if __name__ == "__main__":
    main()
