"""Trainables that do nothing: what is measured is the system around them."""

from __future__ import annotations

from typing import Any

from ray import tune


def one_report(config: dict[str, Any]) -> None:
    tune.report({"value": config["x"]})


def many_reports(config: dict[str, Any]) -> None:
    for step in range(config["reports"]):
        tune.report({"value": config["x"] + step})
