"""`make test`: runs pytest; what failed beside other tests is run once more, alone, and must pass then.

Tests of real processes have deadlines, and two cores may be too busy for one. Many failures, or a run that didn't come
to its end, are no accident of that kind. What passed at the second time alone is said last.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

MOST = 5
FAILED = Path(".pytest_cache/v/cache/lastfailed")


def main(arguments: list[str]) -> int:
    command = [sys.executable, "-m", "pytest"]
    code = subprocess.run([*command, "--cache-clear", *arguments], check=False).returncode
    stops_early = any(argument in ("-x", "--exitfirst") or argument.startswith("--maxfail") for argument in arguments)
    failed = list(json.loads(FAILED.read_text())) if FAILED.exists() else []
    if code != pytest.ExitCode.TESTS_FAILED or stops_early or not 0 < len(failed) <= MOST:
        return code
    code = subprocess.run([*command, *failed], check=False).returncode
    if code == pytest.ExitCode.OK:
        sys.stdout.write("\n  ".join(["Failed beside other tests, passed alone:", *failed]) + "\n")
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
