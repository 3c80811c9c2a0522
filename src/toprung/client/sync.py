"""The client. Each method runs one operation of `toprung.client.service`; `aio` does the same with `await`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, overload

import httpx

from toprung.access import NewToken, Token
from toprung.client.drivers import SyncDriver
from toprung.client.location import connect_options
from toprung.client.notebook import Plots, Shown, frame_of, needed, summary
from toprung.client.progress import WaitProgress, come_back
from toprung.client.service import Service
from toprung.client.submission import Source
from toprung.client.views import SweepView, TrialView
from toprung.cluster.records import CheckUp, ClusterStatus
from toprung.tuning.garbage import CleanUp, Files
from toprung.tuning.records import (
    BestTrial,
    Decision,
    Event,
    Forecast,
    Result,
    SetAside,
    Sweep,
    Trial,
    TrialEnvironment,
    UsageReport,
)
from toprung.tuning.reproduction import Reproduction

if TYPE_CHECKING:
    from pandas import DataFrame
    from plotly.graph_objects import Figure


class Client:
    """A Toprung service.

        with Client() as client:
            sweep = client.submit("sweep.yaml")

    Args:
        url: of the service. Default: $TOPRUNG_URL, else the service that `toprung up` started on this machine, else
            http://127.0.0.1:8000.
        token: for a service with access control. Default: $TOPRUNG_TOKEN, else the admin's where `toprung up` started
            the service on this machine.
        timeout_s: how long to wait for an answer (streams: see `SweepHandle.events`).
        transport: how requests are sent; for tests.

    All methods raise `toprung.errors.ToprungError`: `NoService` where nothing answers, `NotFound`, `Conflict`,
    `InvalidInput` where what was given is wrong, `Unauthorized` and `Forbidden` where the token is missing or not
    enough, `Unavailable` when several tries over some seconds have failed.
    Can be used from several threads.
    """

    def __init__(
        self,
        url: str | None = None,
        *,
        token: str | None = None,
        timeout_s: float = 30.0,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        options = connect_options(url, token, timeout_s)
        self._http = httpx.Client(transport=transport, **options)
        self._driver = SyncDriver(self._http)
        self._service = Service(str(options["base_url"]))

    @property
    def url(self) -> str:
        return self._service.url

    def submit(
        self,
        spec: Source,
        *,
        code: str | Path | None = None,
        name: str | None = None,
        idempotency_key: str | None = None,
    ) -> SweepHandle:
        """Start a sweep. When this returns, the service has it on disk.

        Args:
            spec: the path of a YAML or JSON file, a dict, or a `SweepSpec`.
            code: the folder with the trainable's code, packed and uploaded if the service hasn't got it. Default: the
                spec's `code`, relative to the spec's file; where there is no file, to the working directory.
            name: instead of the spec's.
            idempotency_key: submitting twice with the same key makes one sweep. Default: a new one for each call.

        Raises:
            InvalidSpec: lists all problems, with line and column where the spec is a file.
            TooLarge: the code is larger than 100 MiB when packed.
        """
        return self._sweep(self._driver.run(self._service.submit(spec, code, name, idempotency_key)))

    def validate(self, spec: Source) -> Forecast:
        """What the sweep would do and cost; nothing is started or uploaded.

        Raises:
            InvalidSpec: lists all problems.
        """
        return self._driver.run(self._service.validate(spec))

    def sweep(self, id_or_name: str) -> SweepHandle:
        """A sweep by id, or the newest one of a name.

        Raises:
            NotFound: there is none.
        """
        return self._sweep(self._driver.run(self._service.sweep(id_or_name)))

    def sweeps(
        self,
        *,
        state: str | None = None,
        name: str | None = None,
        owner: str | None = None,
        limit: int | None = None,
    ) -> Iterator[SweepHandle]:
        """Sweeps, the newest first, fetched as they are asked for."""
        return map(self._sweep, self._driver.iterate(self._service.sweeps(state, name, owner, limit)))

    def events(self, *, after: int | None = None) -> Iterator[Event]:
        """Events of all sweeps, from the first or from after an event's id, without end."""
        return self._driver.iterate(self._service.events(None, after))

    def create_token(self, *, owner: str, scope: str) -> NewToken:
        """Make a token; what this returns is the only copy. For admins.

        Args:
            owner: whose it is: sweeps that are submitted with it are theirs.
            scope: "read", "write" (its own sweeps too) or "admin" (all sweeps, and tokens).

        Raises:
            Conflict: the service runs without access control.
        """
        return self._driver.run(self._service.create_token(owner, scope))

    def tokens(self) -> list[Token]:
        """All tokens ever made, without what proves them. For admins."""
        return self._driver.run(self._service.tokens())

    def revoke_token(self, id: str) -> Token:
        """Make a token worthless from now on. For admins.

        Args:
            id: what the token begins with, `tpr_…`.

        Raises:
            NotFound: there is none.
        """
        return self._driver.run(self._service.revoke_token(id))

    def set_aside(self) -> list[SetAside]:
        """The nodes that get no new trials, as others failed on them."""
        return self._driver.run(self._service.set_aside())

    def take_back(self, node: str) -> list[SetAside]:
        """Give trials again to a node that was set aside. For admins.

        Args:
            node: its host name, or Ray's id of it.

        Raises:
            NotFound: no such node is set aside.
        """
        return self._driver.run(self._service.take_back(node))

    def gc(self, *, dry_run: bool = False, older_than_s: float | None = None) -> CleanUp:
        """Remove files that nobody needs: code of no sweep, what killed runners left (docs/retention.md).

        Args:
            dry_run: only say what would go.
            older_than_s: the checkpoints and logs of sweeps that ended longer ago go too. Default: they stay.

        Returns:
            What has gone or would go, by kind, and what could not be removed.
        """
        return self._driver.run(self._service.gc(dry_run, older_than_s))

    def usage(self, *, since: datetime | None = None, until: datetime | None = None) -> UsageReport:
        """What the sweeps that were started in a period have used so far, by owner: trials, steps, GPU-hours, cost.

        Args:
            since: the period's first moment; without a zone it is local time. Default: from the beginning.
            until: the first moment after it. Default: now.
        """
        return self._driver.run(self._service.usage(since, until))

    def cluster(self) -> ClusterStatus:
        """The machines, and what the sweeps that run or wait have of them."""
        return self._driver.run(self._service.cluster())

    def doctor(self) -> CheckUp:
        """Have all machines of the cluster asked how they are. Takes seconds, a minute where one does not answer."""
        return self._driver.run(self._service.doctor())

    def schema(self) -> dict[str, Any]:
        """The JSON Schema of the spec."""
        return self._driver.run(self._service.schema())

    def version(self) -> dict[str, str]:
        """Versions of the service and its Ray."""
        return self._driver.run(self._service.version())

    def close(self) -> None:
        self._http.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _sweep(self, record: Sweep) -> SweepHandle:
        return SweepHandle(self._driver, self._service, record)


class SweepHandle(SweepView[SyncDriver]):
    """A sweep on the service."""

    def refresh(self) -> Sweep:
        """Ask how it stands; `record` keeps the answer."""
        return self._keep(self._driver.run(self._service.sweep(self.id)))

    def wait(self, timeout_s: float | None = None, *, progress: bool | None = None) -> Sweep:
        """Wait until the sweep has ended, in whichever state. Outlives a restart of the service.

        Args:
            timeout_s: how long to wait; None: as long as it takes.
            progress: show a progress bar. Default: in a terminal or a notebook.

        Raises:
            TimeoutError: it hasn't ended by then. It goes on.
        """
        looks = self._driver.iterate(self._service.until_finished(self.id, timeout_s))
        try:
            with WaitProgress(progress) as bar:
                for sweep in looks:
                    bar.update(self._keep(sweep))
        except KeyboardInterrupt:
            sys.stderr.write(come_back(self.record) + "\n")
            raise
        return self.record

    def watch(self, *, k: int = 5) -> Sweep:
        """Show in a notebook how it goes, in one place that changes, until it has ended.

        Interrupting the kernel ends the watching, not the sweep.

        Args:
            k: how many of the best trials are shown.

        Raises:
            ImportError: IPython is not installed.
        """
        place = Shown()
        try:
            for sweep in self._driver.iterate(self._service.until_finished(self.id, None)):
                place.show(summary(self._keep(sweep), self.best_trials(k)))
        except KeyboardInterrupt:
            sys.stderr.write(come_back(self.record) + "\n")
        return self.record

    def to_dataframe(self, *, filter: str = "") -> DataFrame:
        """Its trials as a `pandas.DataFrame`, by number: state, step, value, metrics, parameters.

        Args:
            filter: of which trials, an expression such as `val_loss < 0.2 and optimizer == "adam"`.

        Raises:
            ImportError: pandas is not installed.
            Malformed: the filter can't be read.
        """
        pandas = needed("pandas")
        return frame_of(pandas, *self._driver.run(self._service.table(self.id, filter)))

    @property
    def plot(self) -> Plots[Figure]:
        """Its page's figures: `plot.rungs()`, `curves`, `parallel`, `importance`, `best`, `slice`, `contour`."""
        return Plots(self._driver.run, self._service, self.id)

    def events(self, *, after: int | None = None) -> Iterator[Event]:
        """Its events, each once and in order, from the first or from after an event's id, until it has ended.

        A broken connection is made anew; so is one that was silent for 45 s, since the service sends a sign of life
        each 15 s.
        """
        return self._driver.iterate(self._service.events(self.id, after))

    @overload
    def best(self) -> TrialHandle: ...

    @overload
    def best(self, k: int) -> list[TrialHandle]: ...

    def best(self, k: int | None = None) -> TrialHandle | list[TrialHandle]:
        """The best trial, or the `k` best ones, the best first.

        Raises:
            NotFound: without `k`, when no trial has reported the metric yet.
        """
        if k is None:
            return self._trial(self._driver.run(self._service.best_one(self.record)))
        return [self._trial(found.trial) for found in self.best_trials(k)]

    def best_trials(self, k: int) -> list[BestTrial]:
        """The `k` best trials with their ranks, and why."""
        return self._driver.run(self._service.best(self.id, k))

    def trials(
        self, *, state: str | None = None, order_by: str = "number", limit: int | None = None
    ) -> Iterator[TrialHandle]:
        """Its trials by "number" or by "value", the best first, fetched as they are asked for."""
        return map(self._trial, self._driver.iterate(self._service.trials(self.id, state, order_by, limit)))

    def trial(self, number: int) -> TrialHandle:
        """One trial.

        Raises:
            NotFound: there is none with this number.
        """
        return self._trial(self._driver.run(self._service.trial(self.id, number)))

    def decisions(self, *, number: int | None = None) -> Iterator[Decision]:
        """What the scheduler decided, about one trial or about all."""
        return self._driver.iterate(self._service.decisions(self.id, number))

    def cancel(self) -> Sweep:
        """Stop its trials and end it. Returns at once: a running sweep is `cancelled` a little later.

        Raises:
            Conflict: it has ended already.
        """
        return self._keep(self._driver.run(self._service.cancel(self.id)))

    def pause(self) -> Sweep:
        """Stop its trials and free what they hold. Returns at once: a running sweep is `paused` a little later.

        Its trials go on from their last checkpoints after `resume`.

        Raises:
            Conflict: it has ended already.
        """
        return self._keep(self._driver.run(self._service.pause(self.id)))

    def resume(self) -> Sweep:
        """Queue it again, to go on where it paused.

        Raises:
            Conflict: it is not paused.
        """
        return self._keep(self._driver.run(self._service.resume(self.id)))

    def edit(self, **changes: Any) -> Sweep:
        """Change its `budget`, `concurrency`, `priority` or `weight` while it lives.

            sweep.edit(concurrency=8, budget={"trials": 200})

        A mapping changes what it names; None takes a value away.

        Raises:
            Conflict: it has ended; `extend` lets it go on.
            InvalidSpec: other fields can't be changed, or the spec would be wrong.
        """
        return self._keep(self._driver.run(self._service.edit(self.id, changes)))

    def extend(self, **budget: float | None) -> Sweep:
        """Give it another budget, in all: `extend(trials=120)`. If it has ended, it goes on with all that it knows.

        Raises:
            InvalidSpec: the budget would leave it nothing to do.
        """
        return self._keep(self._driver.run(self._service.extend(self.id, budget)))

    def enqueue(self, config: dict[str, Any]) -> Sweep:
        """Ask for a trial of this configuration, on top of the budget. If the sweep has ended, it goes on.

        Args:
            config: nested as `parameters`; what it leaves out is drawn at random.

        Raises:
            InvalidSpec: it is none of the sweep's space.
        """
        return self._keep(self._driver.run(self._service.enqueue(self.id, config)))

    def retry(self, *trials: int, code: str | Path | None = None) -> Sweep:
        """Try configurations again, as further trials on top of the budget. If the sweep has ended, it goes on.

        Args:
            trials: their numbers; none: all failed ones that were not tried again yet.
            code: a folder with changed code, which the sweep has from now on.

        Raises:
            Conflict: none has failed, one is not over yet, or the sweep is running and gets other code.
        """
        return self._keep(self._driver.run(self._service.retry(self.id, trials, code)))

    def clone(self, **changes: Any) -> SweepHandle:
        """Submit its spec again as another sweep, with changes: `clone(name="again", search={"seed": 1})`.

        A mapping changes what it names; None takes a value away.

        Raises:
            InvalidSpec: the spec would be wrong.
        """
        record = self._driver.run(self._service.clone(self.id, changes))
        return SweepHandle(self._driver, self._service, record)

    def delete(self) -> None:
        """Delete it with all its results and files. It is not there from now on; what it holds on disk goes soon.

        Raises:
            Conflict: it has not ended, or an unfinished sweep learns from it.
            NotFound: it is deleted already.
        """
        self._driver.run(self._service.delete(self.id))

    def files(self) -> list[Files]:
        """What it has on disk, by kind."""
        return self._driver.run(self._service.files(self.id))

    def _trial(self, record: Trial) -> TrialHandle:
        return TrialHandle(self._driver, self._service, record)


class TrialHandle(TrialView[SyncDriver]):
    """A trial of a sweep."""

    def refresh(self) -> Trial:
        """Ask how it stands; `record` keeps the answer."""
        return self._keep(self._driver.run(self._service.trial(self._record.sweep_id, self.number)))

    def stop(self) -> Trial:
        """Cancel it; the sweep goes on. Returns at once: a running trial ends a little later.

        Raises:
            Conflict: it has ended already.
        """
        return self._keep(self._driver.run(self._service.stop_trial(self._record.sweep_id, self.number)))

    def results(self) -> list[Result]:
        """All that it has reported, by step."""
        return self._driver.run(self._service.results(self._record.sweep_id, self.number))

    def environment(self) -> TrialEnvironment:
        """With what seed its last attempt ran, and in what surroundings: packages, processor, GPU, code."""
        return self._driver.run(self._service.environment(self._record.sweep_id, self.number))

    def reproduce(
        self, *, tolerance: float = 0.0, timeout_s: float | None = None, progress: bool | None = None
    ) -> Reproduction:
        """Run it again in a sweep of its own, wait for that, and compare the objective step by step.

        Args:
            tolerance: largest difference that is none, in the metric's own unit.
            timeout_s: how long to wait; None: until it has ended.
            progress: as for `SweepHandle.wait`.

        Raises:
            Conflict: it is not over, or has reported nothing.
            NotFound: its code is no longer there.
            TimeoutError: the repetition is not over; it goes on.
        """
        made = self._driver.run(self._service.reproduce(self._record.sweep_id, self.number))
        again = SweepHandle(self._driver, self._service, made).wait(timeout_s, progress=progress)
        return self._driver.run(self._service.compared(self.refresh(), again, tolerance))

    def logs(self, *, attempt: int | None = None, follow: bool = False) -> Iterator[str]:
        """What it printed, in chunks of text.

        Args:
            attempt: which; default: the present or last one.
            follow: go on until the attempt has ended.
        """
        return self._driver.iterate(self._service.logs(self._record.sweep_id, self.number, attempt, follow))

    def download_checkpoint(self, path: str | Path) -> Path:
        """Put its best checkpoint into the folder `path`, which is made; all of it or nothing.

        Raises:
            InvalidInput: `path` exists and is not an empty folder.
            NotFound: no checkpoint is kept.
        """
        return self._driver.run(self._service.checkpoint(self._record.sweep_id, self.number, path))
