"""Commands about the machines of a running service: what they do, and how they are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from toprung.cli.findings import end, print_findings
from toprung.cli.local import spinner
from toprung.cli.session import Session
from toprung.cli.tables import state_text, table
from toprung.cli.words import plural

if TYPE_CHECKING:
    from toprung.cluster.records import Node, NodeReport, SweepPlaces

_STATE_STYLES = {"leaving": "yellow", "set aside": "yellow", "lost": "red"}


def status(session: Session) -> None:
    """Show the machines, what runs on them, and each sweep's share."""
    found = session.client.cluster()
    if session.as_json:
        session.emit(found.model_dump(mode="json"))
        return
    session.out.print(_nodes(found.nodes))
    for node in found.nodes:
        if node.reason is not None:
            session.out.print(Text.assemble(f"{node.name}: ", (node.reason, "dim")))
    session.out.print()
    if found.sweeps:
        session.out.print(_sweeps(found.sweeps))
    else:
        session.out.print("No sweep runs or waits.")


def doctor(session: Session) -> None:
    """Say what is wrong with the machines of a running service."""
    with spinner(session, "Asking all machines …"):
        found = session.client.doctor()
    if session.as_json:
        session.emit(found.model_dump(mode="json"))
    else:
        session.out.print(_reports(found.nodes))
        session.out.print()
        print_findings(session, plural(len(found.nodes), "machine"), found.findings, "all is well")
    end(found.findings)


def _nodes(nodes: Sequence[Node]) -> Table:
    right = ("CPUs", "GPUs", "memory", "trials")
    made = _with_names("node", "address", "", "CPUs", "GPUs", "memory", "trials", right=right)
    for node in nodes:
        if node.state == "lost":
            made.add_row(node.name, node.address, _role(node), "–", "–", "–", "–")
            continue
        gpus = f"{node.gpus_used:g}/{node.gpus:g}" + (f" {node.gpu_type}" if node.gpu_type else "")
        made.add_row(
            node.name,
            node.address,
            _role(node),
            f"{node.cpus_used:g}/{node.cpus:g}",
            gpus if node.gpus else "–",
            f"{node.memory_bytes / 1e9:.0f} GB",
            str(node.num_trials),
        )
    return made


def _role(node: Node) -> Text:
    if node.state == "alive":
        return Text("head" if node.is_head else "worker")
    return Text(node.state, _STATE_STYLES[node.state])


def _sweeps(sweeps: Sequence[SweepPlaces]) -> Table:
    right = ("trials", "share", "priority", "weight")
    made = _with_names("sweep", "owner", "state", "trials", "share", "priority", "weight", "", right=right)
    for sweep in sweeps:
        made.add_row(
            sweep.name,
            sweep.owner or "–",
            state_text(sweep.state),
            str(sweep.num_running),
            "–" if sweep.share is None else str(sweep.share),
            str(sweep.priority),
            f"{sweep.weight:g}",
            _queued(sweep),
        )
    return made


def _queued(sweep: SweepPlaces) -> str:
    if sweep.queue is None:
        return ""
    return "quota" if sweep.queue.quota else f"place {sweep.queue.position}"


def _reports(reports: Sequence[NodeReport]) -> Table:
    right = ("GPUs", "disk free", "clock")
    made = _with_names("node", "toprung", "torch", "GPUs", "driver", "disk free", "clock", right=right)
    for report in reports:
        vitals = report.vitals
        if vitals is None:
            said = (report.trouble and "no answer") or report.node.state
            made.add_row(report.node.name, Text(said, "red" if report.trouble else "dim"), *["–"] * 5)
            continue
        gpus = 0 if vitals.gpus is None else len(vitals.gpus)
        made.add_row(
            report.node.name,
            vitals.packages.get("toprung") or "–",
            vitals.packages.get("torch") or "–",
            f"{gpus}/{report.node.gpus:g}" if gpus or report.node.gpus else "–",
            vitals.driver or "–",
            f"{vitals.session.free_bytes / 1e9:.0f} GB",
            "–" if report.clock_ahead_s is None else f"{report.clock_ahead_s:+.2f} s",
        )
    return made


def _with_names(*titles: str, right: Sequence[str]) -> Table:
    """A table whose first column gives way where the terminal is narrow."""
    made = table(*titles, right=right)
    made.columns[0].no_wrap = False
    return made
