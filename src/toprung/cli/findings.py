"""What a check has found, and the exit code that says so."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import typer
from rich.text import Text

from toprung.cli.session import Session
from toprung.cli.words import plural
from toprung.errors import InvalidInput

if TYPE_CHECKING:
    from toprung.cluster.finding import Finding

_STYLES = {"error": "red", "warning": "yellow"}


def print_findings(session: Session, subject: str, findings: Sequence[Finding], well: str) -> None:
    """Each with its remedy, then how many there are.

    Args:
        subject: what was checked.
        findings: of the check.
        well: what is said where there are none.
    """
    for finding in findings:
        place = finding.place or subject
        session.out.print(Text.assemble((finding.severity, _STYLES[finding.severity]), f"  {place}"))
        session.out.print(f"  {finding.message}")
        session.out.print(f"  → {finding.remedy}\n", style="dim")
    errors = num_errors(findings)
    counts = [(errors, "error"), (len(findings) - errors, "warning")]
    said = ", ".join(plural(count, word) for count, word in counts if count) or well
    session.out.print(f"{subject}: {said}")


def end(findings: Sequence[Finding]) -> None:
    """Leaves with the exit code of wrong input where there are errors."""
    if num_errors(findings):
        raise typer.Exit(InvalidInput.exit_code)


def num_errors(findings: Sequence[Finding]) -> int:
    return sum(finding.severity == "error" for finding in findings)
