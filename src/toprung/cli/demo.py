"""`toprung demo`: a real sweep from nothing to the best model, on this machine."""

from __future__ import annotations

import json
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import as_file, files
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from toprung.cli import service as processes
from toprung.cli.failures import ENDED_BADLY
from toprung.cli.local import spinner, start_service
from toprung.cli.session import Session, command
from toprung.cli.watching.run import Left, stream, summarise
from toprung.cli.words import number
from toprung.errors import Conflict, ToprungError

if TYPE_CHECKING:
    from toprung.client import SweepHandle, TrialHandle

EXAMPLE = "toprung.examples.digits"
HOME = Path(".toprung/demo")
MODEL = Path("best-model")
CHECKPOINT = "checkpoint.pt"
METRICS = ("accuracy", "val_loss")
TOLERANCE = 1e-6
EVALUATE_WITHIN_S = 120


def demo(
    session: Session,
    keep: Annotated[bool, typer.Option("--keep", help="Leave the service running afterwards.")] = False,
) -> None:
    """Run a real sweep here: 40 small CNNs on handwritten digits, a few minutes."""
    session.home = (session.home or HOME).absolute()
    _check_replaceable(MODEL)
    with _service(session, keep) as service:
        session.url = service.url
        session.say(f"Toprung is up at {service.url}")
        sweep = _submit(session)
        try:
            stream(session, sweep, leaving="q ends the demo")
        except Left:
            raise KeyboardInterrupt from None
        summarise(session, sweep)
        if sweep.state != "succeeded":
            raise typer.Exit(ENDED_BADLY)
        _show_model(session, sweep)
    _say_goodbye(session, service, keep)


def _check_replaceable(folder: Path) -> None:
    """Raises:
    Conflict: the folder is there and no demo has made it.
    """
    if folder.exists() and not (folder / CHECKPOINT).is_file():
        raise Conflict(f"{folder} exists and is no model of an earlier demo. Move it away, or run the demo elsewhere.")


@contextmanager
def _service(session: Session, keep: bool) -> Iterator[processes.Service]:
    """The service of the demo's home; one that was started here ends with the block, however that ends."""
    found = processes.running(session.home_dir)
    if found is not None:
        yield found
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)  # ended from outside: clean up as for Ctrl-C
    try:
        command = processes.command(session.home_dir, {"port": _free_port()})
        service = start_service(session, session.home_dir, command)
        try:
            yield service
        except BaseException:
            keep = False
            raise
        finally:
            if not keep:
                with spinner(session, "Stopping the service …"):
                    processes.stop(service.pid)
    finally:
        signal.signal(signal.SIGTERM, before)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _submit(session: Session) -> SweepHandle:
    with as_file(files(EXAMPLE) / "sweep.yaml") as spec:
        session.say(f"Submitting {spec}\n")
        sweep = session.client.submit(spec)
    if session.as_json:
        session.emit({"type": "submitted", "sweep": sweep.record.model_dump(mode="json")})
    return sweep


def _show_model(session: Session, sweep: SweepHandle) -> None:
    trial = sweep.best()
    folder = _download(trial, MODEL)
    assert trial.record.checkpoint is not None
    step = trial.record.checkpoint.step
    reported = next(result.metrics for result in trial.results() if result.step == step)
    with spinner(session, "Loading the model back …"):
        measured = _evaluate(folder)
    differing = [name for name in METRICS if not _same(reported.get(name), measured.get(name))]
    if session.as_json:
        told = {"reported": {name: reported.get(name) for name in METRICS}, "measured": measured}
        session.emit({"type": "demo", "model": str(folder), "number": trial.number, "step": step, **told})
    session.say(f"\nThe best model, of trial {trial.number} at step {step}:")
    session.say(f"  reported by the trial   {_line(reported)}")
    session.say(f"  loaded back, evaluated  {_line(measured)}   {'differs' if differing else 'the same'}")
    session.say(f"  {folder / CHECKPOINT}")
    if differing:
        raise ToprungError(f"The model does not reproduce what its trial reported: {', '.join(differing)} differs.")


def _download(trial: TrialHandle, folder: Path) -> Path:
    """The trial's checkpoint in `folder`, in place of an earlier demo's."""
    fresh = folder.with_name(f".{folder.name}.new")
    shutil.rmtree(fresh, ignore_errors=True)
    trial.download_checkpoint(fresh)
    if folder.exists():
        _check_replaceable(folder)
        shutil.rmtree(folder)
    return fresh.rename(folder).absolute()


def _evaluate(folder: Path) -> dict[str, float]:
    """Metrics of the model in `folder`, measured in a process of its own: this one stays without torch.

    Raises:
        ToprungError: it can't be loaded.
    """
    run = [sys.executable, "-m", f"{EXAMPLE}.train", "--evaluate", str(folder)]
    done = subprocess.run(run, capture_output=True, text=True, timeout=EVALUATE_WITHIN_S, check=False)
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines() or ["no reason given"]
        raise ToprungError(f"The model in {folder} could not be loaded back: {lines[-1]}")
    measured: dict[str, float] = json.loads(done.stdout)
    return measured


def _same(reported: object, measured: float | None) -> bool:
    if not isinstance(reported, int | float) or measured is None:
        return False
    return abs(reported - measured) <= TOLERANCE


def _line(metrics: object) -> str:
    assert isinstance(metrics, dict)
    return "  ".join(f"{name} {number(metrics.get(name))}" for name in METRICS)


def _say_goodbye(session: Session, service: processes.Service, keep: bool) -> None:
    home = session.home_dir
    session.say(f"\nAll of it is in {home}; tensorboard --logdir {home / 'tensorboard'} draws the curves.")
    if processes.is_ours(service.pid):
        again = "" if keep else " still"
        session.say(f"The service is{again} running at {service.url}; stop it with `toprung down --home {home}`.")
    session.say("Next, your own: in your project, `toprung init`, `toprung up`, `toprung submit sweep.yaml --watch`.")


def register(app: typer.Typer) -> None:
    command(app, "Start here")(demo)
