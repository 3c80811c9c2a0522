"""Commands about a cluster file: what is wrong with it, what it would bring up."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from toprung.cli import service as processes
from toprung.cli.aside import take_back, watch_notice
from toprung.cli.findings import end, print_findings
from toprung.cli.machines import doctor, status
from toprung.cli.session import Session, command
from toprung.cli.tables import table
from toprung.cli.words import plural
from toprung.errors import InvalidInput

if TYPE_CHECKING:
    from toprung.cluster.finding import Finding
    from toprung.cluster.plan import Machines, Plan
    from toprung.tuning.spec import Resources

PANEL = "Cluster"

FileArgument = Annotated[Path, typer.Argument(metavar="FILE", help="What you give to `ray up`, such as cluster.yaml.")]


def check(session: Session, file: FileArgument) -> None:
    """Say what is wrong with a cluster file, all at once, before `ray up`; without an account."""
    findings = _findings(file)
    if session.as_json:
        session.emit({"file": str(file), "findings": [finding.to_json() for finding in findings]})
    else:
        print_findings(session, str(file), findings, "nothing wrong")
    end(findings)


def plan(
    session: Session,
    file: FileArgument,
    sweep: Annotated[
        Path | None, typer.Option("--sweep", metavar="SPEC", help="A sweep's spec: what its trials ask for.")
    ] = None,
    trials: Annotated[
        int | None, typer.Option("--trials", min=1, metavar="N", help="Trials at once; default: the sweep's, else 1.")
    ] = None,
    cpu: Annotated[float, typer.Option("--cpu", min=0, metavar="N", help="CPUs of a trial.")] = 1.0,
    gpu: Annotated[float, typer.Option("--gpu", min=0, metavar="N", help="GPUs of a trial, or a part of one.")] = 1.0,
    accelerator: Annotated[
        str | None, typer.Option("--accelerator-type", metavar="TYPE", help="Ray's name of a GPU, such as A10G.")
    ] = None,
) -> None:
    """Say which machines a demand would bring up, and what they cost an hour."""
    findings = [finding for finding in _findings(file) if finding.code in ("yaml", "schema", "rule")]
    if findings:
        first = findings[0]
        what = f"{first.place}: {first.message}" if first.place else first.message
        more = f"`toprung cluster check {file}` says all that is wrong."
        raise InvalidInput(f"{file}: {what} ({first.remedy}). {more}")
    import yaml  # noqa: PLC0415  slow to load, as is Ray

    from toprung.cluster.plan import plan as plan_of  # noqa: PLC0415

    resources, at_once = _demand(sweep, cpu, gpu, accelerator)
    found = plan_of(yaml.safe_load(file.read_text(encoding="utf-8")), resources, trials or at_once)
    if session.as_json:
        session.emit(_plan_as_json(found))
        return
    _print_plan(session, found, trials or at_once)


def _findings(file: Path) -> list[Finding]:
    processes.check_installed()
    from toprung.cluster.check import check as check_file  # noqa: PLC0415  loads Ray

    try:
        return check_file(file)
    except OSError as error:
        raise InvalidInput(f"{file}: {error.strerror}") from None


def _demand(sweep: Path | None, cpu: float, gpu: float, accelerator: str | None) -> tuple[Resources, int]:
    """What a trial asks for, and how many there would be at once."""
    from toprung.tuning.spec import Resources, parse_spec  # noqa: PLC0415  pydantic models: slow to load

    if sweep is None:
        return Resources(cpu=cpu, gpu=gpu, accelerator_type=accelerator), 1
    try:
        spec = parse_spec(sweep.read_text(encoding="utf-8"))
    except OSError as error:
        raise InvalidInput(f"{sweep}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise InvalidInput(f"{sweep} is not a text file in UTF-8.") from None
    limits = [limit for limit in (spec.concurrency, spec.budget.trials) if limit is not None]
    return spec.resources, min(limits, default=1)


def _print_plan(session: Session, found: Plan, trials: int) -> None:
    made = table("machines", "of type", "", "USD an hour", right=("machines", "USD an hour"))
    for machines in (found.head, *found.machines):
        usd = "–" if machines.usd_per_hour is None else f"{machines.usd_per_hour:,.2f}"
        made.add_row(str(machines.count), machines.node_type, machines.instance_type or "", usd)
    session.out.print(made)
    placed = f"{plural(trials - found.waiting, 'trial')} at once"
    cost = "" if found.usd_per_hour is None else f", {found.usd_per_hour:,.2f} USD an hour with the head"
    session.out.print(f"\n{placed}{cost}.")
    if found.usd_per_hour is None:
        from toprung.cluster.manifest import PRICE_LABEL  # noqa: PLC0415

        session.out.print(f'For costs, give each node type a label {PRICE_LABEL}: "1.21".', style="dim")
    if found.waiting:
        waiting = plural(found.waiting, "trial")
        why = "no type of machine is large enough, or max_workers is reached"
        session.out.print(f"{waiting} would wait: {why}.", style="yellow")


def _plan_as_json(found: Plan) -> dict[str, Any]:
    def plain(machines: Machines) -> dict[str, Any]:
        return {
            "node_type": machines.node_type,
            "count": machines.count,
            "instance_type": machines.instance_type,
            "usd_per_hour": machines.usd_per_hour,
        }

    return {
        "head": plain(found.head),
        "machines": [plain(machines) for machines in found.machines],
        "trials_waiting": found.waiting,
        "usd_per_hour": found.usd_per_hour,
    }


def register(app: typer.Typer) -> None:
    cluster = typer.Typer(help="Machines: check a cluster file, plan what it would bring up, look after what runs.")
    command(cluster, PANEL)(check)
    command(cluster, PANEL)(plan)
    command(cluster, PANEL)(status)
    command(cluster, PANEL)(doctor)
    command(cluster, PANEL, "take-back")(take_back)
    command(cluster, PANEL, "watch-notice")(watch_notice)
    app.add_typer(cluster, name="cluster", rich_help_panel=PANEL)
