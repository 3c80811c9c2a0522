"""optuna-dashboard as a process of the service: `python -m toprung.serve.studies HOME PREFIX SOCKET`.

It shows sweeps as studies, read from the store, and changes nothing. It loads all trials of a study, here and in the
browser, so it is shown at most the first `MAX_TRIALS` of a sweep; the study's user attribute `shown` says so.
"""

from __future__ import annotations

import gzip
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import optuna_dashboard
from optuna_dashboard._app import create_app  # `optuna_dashboard.wsgi` takes no storage of another kind

from toprung.serve.home import Home
from toprung.serve.sidecar import serve
from toprung.serve.store import Store
from toprung.tuning.records import Page, Sweep, Trial, Values
from toprung.tuning.studies import SweepStorage

MAX_TRIALS = 10_000
MAX_VALUES = 500_000
_NEWEST = 1_000
_POLICY = (
    "default-src 'self'; img-src 'self' data: blob:; object-src 'none'; style-src 'self' 'unsafe-inline'; "
    "script-src 'self' 'unsafe-eval'; frame-ancestors 'none'; base-uri 'none'"
)


class FromStore:
    """Sweeps as a store has them (`toprung.tuning.studies.Source`)."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def sweeps(self) -> list[Sweep]:
        return self._store.list_sweeps(limit=_NEWEST).items

    def sweep(self, id_or_name: str) -> Sweep:
        return self._store.get_sweep(id_or_name)

    def trials(self, sweep_id: str, cursor: str | None) -> Page[Trial]:
        return self._store.list_trials(sweep_id, cursor=cursor, limit=1_000)

    def values(self, sweep_id: str, after: int) -> Values:
        return self._store.list_values(self._store.get_sweep(sweep_id), after=after, limit=100_000)

    def close(self) -> None:
        """The store stays open with the process."""


class Mounted:
    """The dashboard below a place in the service's URL. It thinks itself at the root, so its script is changed."""

    def __init__(self, app: Callable[..., Iterable[bytes]], prefix: str) -> None:
        self._app = app
        self._prefix = prefix
        folder = Path(optuna_dashboard.__file__).parent
        page = _changed(folder / "index.html", {'"/static/bundle.js"': f'"{prefix}/static/bundle.js"'})
        script = _changed(
            folder / "public" / "bundle.js",
            {
                'url_prefix:"/dashboard"': f'url_prefix:"{prefix}/dashboard"',  # of its pages
                '})(null!=e?e:"")}handleResponse': f'}})("{prefix}")}}handleResponse',  # of what they ask for
            },
        )
        self._files = {"/static/bundle.js": ("text/javascript; charset=utf-8", gzip.compress(script, 6))}
        self._page = ("text/html; charset=utf-8", gzip.compress(page))

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        path = environ["PATH_INFO"].removeprefix(self._prefix)
        if path.startswith("/api/"):
            return self._app(environ | {"PATH_INFO": path, "SCRIPT_NAME": self._prefix}, start_response)
        kind, text = self._files.get(path, self._page)
        headers = [
            ("Content-Type", kind),
            ("Content-Encoding", "gzip"),
            ("Content-Length", str(len(text))),
            ("Content-Security-Policy", _POLICY),
            ("Cache-Control", "no-cache"),
        ]
        start_response("200 OK", headers)
        return [text]


def _changed(path: Path, changes: dict[str, str]) -> bytes:
    text = path.read_text(encoding="utf-8")
    for old, new in changes.items():
        if text.count(old) != 1:
            raise RuntimeError(f"{path.name} of optuna-dashboard has {old!r} {text.count(old)} times, not once")
        text = text.replace(old, new)
    return text.encode()


def main(home: str, prefix: str, socket: str) -> None:
    """Serves until nobody needs it."""
    store = Store(Home.at(Path(home)).store_url)
    storage = SweepStorage(FromStore(store), max_trials=MAX_TRIALS, max_values=MAX_VALUES)
    serve(Mounted(create_app(storage), prefix), socket)


if __name__ == "__main__":
    main(*sys.argv[1:])
