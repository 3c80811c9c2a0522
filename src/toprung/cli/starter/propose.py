"""A starter spec, with comments, from what was found in a training file."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from toprung.cli.starter.scan import MISSING, Findings, Key

LR = "{type: float, low: 1e-5, high: 1e-1, log: true}"
SIZE = "{type: int, low: 16, high: 512, log: true}"
DROPOUT = "{type: float, low: 0.0, high: 0.5}"
DECAY = "{type: float, low: 1e-6, high: 1e-2, log: true}"
LAYERS = "{type: int, low: 1, high: 4}"
BATCH = "{type: categorical, choices: [16, 32, 64, 128]}"
KNOWN = {
    "lr": LR,
    "learning_rate": LR,
    "batch_size": BATCH,
    "batch": BATCH,
    "bs": BATCH,
    "dropout": DROPOUT,
    "dropout_rate": DROPOUT,
    "weight_decay": DECAY,
    "wd": DECAY,
    "momentum": "{type: float, low: 0.0, high: 0.99}",
    "beta1": "{type: float, low: 0.8, high: 0.99}",
    "beta2": "{type: float, low: 0.9, high: 0.9999}",
    "label_smoothing": "{type: float, low: 0.0, high: 0.2}",
    "grad_clip": "{type: float, low: 0.1, high: 10.0, log: true}",
    "clip": "{type: float, low: 0.1, high: 10.0, log: true}",
    "gamma": "{type: float, low: 0.8, high: 0.999}",
    "hidden": SIZE,
    "hidden_size": SIZE,
    "hidden_dim": SIZE,
    "units": SIZE,
    "width": SIZE,
    "l1": "{type: int, low: 4, high: 256, log: true}",
    "l2": "{type: int, low: 4, high: 256, log: true}",
    "channels": "{type: int, low: 4, high: 64, log: true}",
    "num_layers": LAYERS,
    "n_layers": LAYERS,
    "layers": LAYERS,
    "depth": LAYERS,
}
CHOICES = {"optimizer": ["sgd", "adam"], "optim": ["sgd", "adam"], "activation": ["relu", "gelu"]}
LENGTHS = {"epochs", "num_epochs", "n_epochs", "max_epochs", "steps", "num_steps", "max_steps", "max_t"}
LOWER_IS_BETTER = re.compile(r"loss|err|mse|mae|nll|perplexity|ppl|time|latency|divergence", re.IGNORECASE)
COMMENT_COLUMN = 52
TRAINING = re.compile(r"^train|_train", re.IGNORECASE)
HELD_OUT = re.compile(r"val|eval|test|dev", re.IGNORECASE)


@dataclass(frozen=True)
class Answers:
    """What a person can be asked."""

    name: str
    trainable: str
    has_code: bool
    metric: str
    goal: str
    trials: int = 50
    max_t: int = 27
    gpu: float = 0.0


def pick_metric(names: Sequence[str]) -> str:
    """The objective a person would most likely choose: held-out before training, a loss before anything else."""

    def rank(name: str) -> tuple[bool, ...]:
        return bool(TRAINING.search(name)), not HELD_OUT.search(name), not LOWER_IS_BETTER.search(name)

    return min(names, key=rank, default="val_loss")


def goal_of(metric: str) -> str:
    return "minimize" if LOWER_IS_BETTER.search(metric) else "maximize"


def sweep_name(folder: str) -> str:
    """A folder's name as a sweep's."""
    return re.sub(r"[^a-z0-9]+", "-", folder.lower()).strip("-")[:63].strip("-") or "sweep"


def write(answers: Answers, found: Findings) -> str:
    """The YAML text."""
    asha = f"{{type: asha, max_t: {answers.max_t}, grace_period: 1, reduction_factor: 3}}"
    lines = [
        (f"name: {scalar(answers.name)}", ""),
        (f"trainable: {scalar(answers.trainable)}", "module:function, called with one configuration"),
        ("code: .", "this folder is packed and sent along") if answers.has_code else ("", ""),
        (f"metric: {{name: {scalar(answers.metric)}, goal: {answers.goal}}}", "as reported by a trial"),
        ("parameters:", ""),
        *parameter_lines(found, answers.max_t),
        ("search: {algorithm: auto, seed: 0}", "learns from the trials so far"),
        ("# trials are compared after 1, 3, 9 … reports; the weaker two thirds are stopped", ""),
        (f"scheduler: {asha}", "or type: median, none"),
        (f"budget: {{trials: {answers.trials}}}", "also wall_time_s, gpu_hours"),
        (f"resources: {{cpu: 1, gpu: {answers.gpu:g}}}", "of one trial; gpu: 0.5 shares one"),
    ]
    return _aligned([(text, comment) for text, comment in lines if text])


def _aligned(lines: Sequence[tuple[str, str]]) -> str:
    column = max((len(text) for text, comment in lines if comment and len(text) <= COMMENT_COLUMN), default=0) + 2
    return "".join(f"{text:<{column}}  # {comment}\n" if comment else f"{text}\n" for text, comment in lines)


def parameter_lines(found: Findings, max_t: int) -> list[tuple[str, str]]:
    """`(line, comment)` for each key, nested groups indented; an example where nothing can be varied."""
    lines: list[tuple[str, str]] = []
    opened: tuple[str, ...] = ()
    width = max((len(scalar(path[0])) for path in found.keys if len(path) == 1), default=0) + 1
    for key in sorted(found.keys.values(), key=lambda key: [_group_rank(found, key, depth) for depth in (1, 2, 3)]):
        groups = key.path[:-1]
        for depth in range(len(groups)):
            if opened[: depth + 1] != groups[: depth + 1]:
                lines.append((f"{'  ' * (depth + 1)}{scalar(groups[depth])}:", ""))
        opened = groups
        indent = "  " * len(key.path)
        if groups and key.path[-1] == "type":
            lines.append((f"{indent}# type: set it in your code; a group with a `type` would be read as a range", ""))
            continue
        text, comment = proposal(key, max_t)
        name = f"{scalar(key.path[-1])}:"
        lines.append((f"{indent}{name:<{width if not groups else 0}} {text}", comment))
    if not any("{type:" in line for line, _ in lines):
        lines.append((f"  lr: {LR}", "an example: put your config's keys here"))
    return lines


def _group_rank(found: Findings, key: Key, depth: int) -> int:
    """The place of the first key that shares this key's first `depth` names: keeps groups together."""
    return next(place for place, path in enumerate(found.keys) if path[:depth] == key.path[:depth])


def proposal(key: Key, max_t: int) -> tuple[str, str]:
    """A range for a well-known name, else what the code itself tells, as `(yaml, comment)`."""
    name = key.path[-1].lower()
    if name in LENGTHS:
        return str(max_t), "a constant, as long as max_t"
    if name in KNOWN:
        return KNOWN[name], ""
    if name in CHOICES or len(key.choices) > 1:
        return _categorical(list(dict.fromkeys([*CHOICES.get(name, []), *key.choices]))), ""
    if isinstance(key.default, bool):
        return _categorical([True, False]), ""
    if key.default is not MISSING and isinstance(key.default, bool | int | float | str | None):
        return scalar(key.default), "the code's default, not varied"
    if key.choices:
        return scalar(key.choices[0]), "not varied"
    return "null", "fill in a value, or a range as above"


def _categorical(choices: list[Any]) -> str:
    return f"{{type: categorical, choices: [{', '.join(map(scalar, choices))}]}}"


def scalar(value: Any) -> str:
    """A value on one line of YAML, quoted where it has to be."""
    text: str = yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, width=10_000)
    return text.removesuffix("\n").removesuffix("\n...")
