"""Commands about the service: up, down, status, version."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from toprung import __version__
from toprung.cli import service as processes
from toprung.cli.session import Session, command, default_home
from toprung.cli.words import ago, plural
from toprung.errors import Conflict, ToprungError

PANEL = "Service"


def up(
    session: Session,
    port: Annotated[int, typer.Option("--port", min=1, max=65535, metavar="N", help="Port to listen on.")] = 8000,
    host: Annotated[str, typer.Option("--host", metavar="ADDR", help="IP address to listen on.")] = "127.0.0.1",
    auth: Annotated[
        bool, typer.Option("--auth", help="Ask for tokens; always so where --host is not this machine alone.")
    ] = False,
    address: Annotated[
        str | None,
        typer.Option("--address", metavar="ADDR", help="Join this Ray cluster instead of starting Ray here."),
    ] = None,
    num_cpus: Annotated[
        int | None, typer.Option("--num-cpus", min=1, metavar="N", help="CPUs for trials; default: all.")
    ] = None,
    num_gpus: Annotated[
        int | None, typer.Option("--num-gpus", min=0, metavar="N", help="GPUs for trials; default: all.")
    ] = None,
    foreground: Annotated[
        bool, typer.Option("--foreground", help="Stay, for a container or systemd; what it says goes to stderr.")
    ] = False,
    ray: Annotated[
        list[str] | None,
        typer.Argument(metavar="COMMAND", help="After --: a command that starts Ray here, ray start --head …"),
    ] = None,
) -> None:
    """Start the service on this machine; with a command that starts Ray, both are kept alive."""
    auth = auth or not processes.is_loopback(host)
    home = session.home_dir
    found = processes.running(home)
    if found is not None:
        _check_guarded(found, auth)
        _tell_up(session, found, "is already up", started=False)
        return
    options: dict[str, str | int | bool | None] = {"host": host, "port": port, "auth": auth, "address": address}
    options |= {"num-cpus": num_cpus, "num-gpus": num_gpus}
    command = _supervised(home, options, ray) if ray else processes.command(home, options)
    if foreground:
        processes.become(home, command)
    _tell_up(session, start_service(session, home, command), "is up", started=True)


def _supervised(home: Path, options: dict[str, str | int | bool | None], ray: list[str]) -> list[str]:
    """Raises:
    Conflict: Ray and the service are being kept alive already, and the service is not ready now.
    """
    pid = processes.supervisor(home)
    if pid is not None:
        raise Conflict(
            f"The service is being started, or started again, by process {pid} ({home / 'service.log'}). "
            "Wait for it, or stop it first: `toprung down`."
        )
    address = str(options["address"] or f"127.0.0.1:{processes.GCS_PORT}")
    return processes.supervised(home, processes.command(home, {**options, "address": address}), ray, address)


def _check_guarded(service: processes.Service, auth: bool) -> None:
    """Raises:
    Conflict: access control is asked for, and the service that runs has none.
    """
    if auth and not service.facts.get("auth"):
        raise Conflict(
            f"Toprung is already up at {service.url}, without access control. Stop it first: `toprung down`."
        )


def start_service(session: Session, home: Path, command: list[str]) -> processes.Service:
    """Start the service of `home` and wait until it answers; takes it down again when that is interrupted."""
    processes.check_installed()
    process = processes.start(home, command)
    try:
        with spinner(session, "Starting Ray and the service …"):
            return processes.wait_ready(home, process, is_ready)
    except BaseException:  # Ctrl-C as well: nothing half started stays behind
        processes.stop(process.pid, reap=process.poll, within_s=processes.STOP_ALL_WITHIN_S)
        raise


def is_ready(url: str) -> bool:
    import httpx  # noqa: PLC0415 slow to load, and only needed here

    try:
        return httpx.get(f"{url}/readyz", timeout=2.0, trust_env=False).status_code == 200
    except httpx.TransportError:
        return False


def spinner(session: Session, text: str) -> AbstractContextManager[Any]:
    """A moving sign on stderr while something takes its time; nothing where stderr is no terminal."""
    return session.err.status(text) if session.err.is_terminal and not session.as_json else nullcontext()


def _tell_up(session: Session, service: processes.Service, what: str, *, started: bool) -> None:
    if session.as_json:
        session.emit({**service.facts, "home": str(session.home_dir), "started": started})
        return
    where = "" if session.home_dir == default_home().absolute() else f" --home {session.home_dir}"
    session.out.print(f"Toprung {what} at {service.url}")
    session.out.print(f"  submit   toprung submit sweep.yaml --watch{where}")
    session.out.print(f"  stop     toprung down{where}")
    session.out.print(f"  log      {session.home_dir / 'service.log'}")
    if service.facts.get("auth"):
        session.out.print(f"  token    of an admin in {session.home_dir / 'token'}; this user's commands find it")
        session.out.print(f"  others   toprung token create --owner NAME --scope write{where}")


def down(session: Session) -> None:
    """Stop the service on this machine, with the Ray it started."""
    service, supervisor = processes.running(session.home_dir), processes.supervisor(session.home_dir)
    if service is None and supervisor is None:
        if session.as_json:
            session.emit({"stopped": False, "pid": None, "home": str(session.home_dir)})
        else:
            session.out.print(f"No service is running in {session.home_dir}.")
        return
    ended = _running_sweeps(session, service) if service else []
    with spinner(session, "Stopping …"):
        by_itself = _stop(service, supervisor)
    if session.as_json:
        facts = {"stopped": True, "pid": service.pid if service else None, "home": str(session.home_dir)}
        session.emit({**facts, "ended_sweeps": ended})
        return
    session.out.print("Toprung is down." if by_itself else "Toprung did not stop in time and was killed.")
    if ended:
        session.out.print(f"Running sweeps ended with it, what they reached is kept: {', '.join(ended)}")


def _stop(service: processes.Service | None, supervisor: int | None) -> bool:
    """The one that would start the other again first. Returns whether all ended by themselves."""
    by_itself = supervisor is None or processes.stop(supervisor, within_s=processes.STOP_ALL_WITHIN_S)
    return (service is None or processes.stop(service.pid)) and by_itself


def _running_sweeps(session: Session, service: processes.Service) -> list[str]:
    """Names of the sweeps that end with the Ray that the service started; none where it doesn't answer."""
    if not service.facts.get("embedded"):
        return []
    session.url = service.url
    try:
        return [sweep.name for sweep in session.client_for(2.0).sweeps(state="running", limit=100)]
    except ToprungError:
        return []


def status(session: Session) -> None:
    """Show where the service is and what it does."""
    client = session.client
    versions = client.version()
    active = [sweep.record for state in ("running", "queued") for sweep in client.sweeps(state=state, limit=100)]
    local = processes.running(session.home_dir)
    if local is not None and local.url != client.url:
        local = None
    if session.as_json:
        sweeps = [{"id": sweep.id, "name": sweep.name, "state": sweep.state.value} for sweep in active]
        facts = local.facts if local else None
        session.emit({"url": client.url, **versions, "local": facts, "active_sweeps": sweeps})
        return
    session.out.print(f"Toprung {versions.get('version')} at {client.url}, Ray {versions.get('ray')}")
    if local is not None:
        session.out.print(f"  process {local.pid}, started {_started(local)}, home {session.home_dir}")
    counts = [sum(sweep.state == state for sweep in active) for state in ("running", "queued")]
    session.out.print(f"  {plural(counts[0], 'sweep')} running, {counts[1]} queued")
    for sweep in active:
        session.out.print(f"    {sweep.name}  {sweep.state}")


def _started(service: processes.Service) -> str:
    try:
        return ago(datetime.fromisoformat(str(service.facts["started_at"])))
    except (KeyError, ValueError):
        return "at an unknown time"


def version(session: Session) -> None:
    """Print the versions of this program and of the service, where one answers."""
    try:
        service: dict[str, Any] | None = session.client_for(2.0).version()
    except ToprungError:
        service = None
    if session.as_json:
        session.emit({"version": __version__, "service": service})
        return
    session.out.print(f"toprung {__version__}")
    if service is not None:
        session.out.print(f"service {service.get('version')}, Ray {service.get('ray')}")


def register(app: typer.Typer) -> None:
    command(app, PANEL)(up)
    command(app, PANEL)(down)
    command(app, PANEL)(status)
    command(app, PANEL)(version)
