"""What the benchmarks share: rows with median and range, facts about the machine, the JSON file."""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Row:
    """One measure of one contender: a value a round."""

    contender: str
    measure: str
    unit: str
    values: tuple[float, ...]

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "median": self.median, "min": min(self.values), "max": max(self.values)}


def parser(description: str | None) -> argparse.ArgumentParser:
    """`--quick` and `--json FILE`, which every benchmark has."""
    made = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument(
        "--quick", action="store_true", help="smaller and fewer rounds: under three minutes on two quiet cores"
    )
    made.add_argument("--json", type=Path, metavar="FILE", help="write machine, rows and summary there")
    return made


def machine() -> dict[str, Any]:
    packages = ("toprung", "ray", "torch", "optuna")
    return {
        "cpus": os.cpu_count(),
        "load_average": os.getloadavg()[0],
        "platform": platform.platform(),
        "python": platform.python_version(),
        "versions": {name: version(name) for name in packages},
    }


def publish(rows: Sequence[Row], summary: dict[str, float], file: Path | None) -> None:
    """Prints the rows and the summary, and writes the JSON file where one is asked for."""
    for row in rows:
        values = f"{row.median:10.2f}  [{min(row.values):.2f}–{max(row.values):.2f}]  {row.unit}"
        print(f"{row.contender:28} {row.measure:22} {values}")
    print()
    for name, value in summary.items():
        print(f"{name:44} {value:.2f}")
    if file is not None:
        report = {"machine": machine(), "rows": [row.to_json() for row in rows], "summary": summary}
        file.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
