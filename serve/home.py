"""The service's home: where on the head node's disk everything is.

toprung.db       the store (unless it is PostgreSQL)
packages/        uploaded code, by sha256
logs/            what trials print: <sweep>/<number>-<attempt>.log
runs/            checkpoints: <sweep>/<trial>/, unless the settings have another place for them
summaries/       what trials write for TensorBoard, until it is there: <sweep>/<number>-<attempt>
tensorboard/     event files
wandb/           W&B's run files
mlflow/          MLflow's database, where none is named
nowhere/         empty: where the service runs, so that nothing is imported from there
config.yaml      the service's settings, where there are any
service.json     where the running service is
supervisor.json  the process that starts it and Ray again, where there is one
service.log      what it says
audit.jsonl      who changed what
token            a token of an admin, for this user alone; where access control is on
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from toprung.serve.storage import Storage


@dataclass(frozen=True)
class Home:
    """Paths under the home folder. Made with `Home.at`, which creates the folder."""

    path: Path

    @classmethod
    def at(cls, path: Path) -> Home:
        path = path.expanduser().absolute()
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
        for name in ("packages", "logs", "runs", "summaries", "tensorboard", "wandb", "nowhere"):
            (path / name).mkdir(exist_ok=True)
        return cls(path)

    @property
    def store_url(self) -> str:
        """`$TOPRUNG_STORE`, or SQLite in this folder."""
        return os.environ.get("TOPRUNG_STORE") or f"sqlite:///{self.path / 'toprung.db'}"

    @property
    def runs(self) -> Path:
        return self.path / "runs"

    @cached_property
    def storage(self) -> Storage:
        """Where checkpoints are, by the settings as they are when it is first asked for.

        Raises:
            InvalidInput: the settings are wrong.
        """
        # the command line asks only for paths here: these load the spec
        from toprung.serve.settings import Settings  # noqa: PLC0415
        from toprung.serve.storage import Storage  # noqa: PLC0415

        return Storage(self.runs, Settings.read(self.settings_file).storage)

    @property
    def packages(self) -> Path:
        return self.path / "packages"

    @property
    def logs(self) -> Path:
        return self.path / "logs"

    @property
    def tensorboard(self) -> Path:
        return self.path / "tensorboard"

    @property
    def wandb_runs(self) -> Path:
        """W&B makes a folder of its own in the one it is given."""
        return self.path / "wandb" / "wandb"

    def offline_runs(self, run_id: str) -> list[Path]:
        """The folders in which W&B keeps what it has not sent of a run; `*` in its id stands for anything."""
        return sorted(self.wandb_runs.glob(f"offline-run-*-{run_id}"))

    @property
    def nowhere(self) -> Path:
        return self.path / "nowhere"

    def package(self, sha256: str) -> Path:
        return self.packages / f"{sha256}.zip"

    def log(self, sweep_id: str, number: int, attempt: int) -> Path:
        return self.logs / sweep_id / f"{number}-{attempt}.log"

    def summaries(self, sweep_id: str, number: int, attempt: int) -> Path:
        return self.path / "summaries" / sweep_id / f"{number}-{attempt}"

    @property
    def settings_file(self) -> Path:
        return self.path / "config.yaml"

    @property
    def service_file(self) -> Path:
        return self.path / "service.json"

    @property
    def supervisor_file(self) -> Path:
        return self.path / "supervisor.json"

    @property
    def error_file(self) -> Path:
        return self.path / "service.error"

    @property
    def audit_file(self) -> Path:
        return self.path / "audit.jsonl"

    @property
    def token_file(self) -> Path:
        return self.path / "token"

    def keep_token(self, token: str) -> None:
        """Writes the admin's token where this user alone can read it, in one step."""
        draft = self.token_file.with_suffix(".tmp")
        draft.unlink(missing_ok=True)  # O_EXCL: the mode holds for a new file only
        with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(token + "\n")
        draft.replace(self.token_file)

    def was_at(self, url: str) -> bool:
        """Whether `service.json` says so, of a service that was killed: one that ends removes it."""
        try:
            return bool(json.loads(self.service_file.read_text())["url"] == url)
        except (OSError, ValueError, KeyError, TypeError):
            return False

    def announces(self, pid: int) -> bool:
        """Whether `service.json` says that the service is ready, and is this process."""
        try:
            return bool(json.loads(self.service_file.read_text())["pid"] == pid)
        except (OSError, ValueError, KeyError, TypeError):
            return False

    def announce(self, **facts: object) -> None:
        """Writes `service.json` in one step, so that a reader sees all of it or nothing."""
        draft = self.service_file.with_suffix(".tmp")
        draft.write_text(json.dumps(facts, indent=2) + "\n")
        draft.replace(self.service_file)
