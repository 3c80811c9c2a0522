"""The client with `await`. Each method is documented at its sync twin in `toprung.client.sync`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Coroutine
from contextlib import aclosing
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, overload

import httpx

from toprung.access import NewToken, Token
from toprung.client.drivers import AsyncDriver
from toprung.client.location import connect_options
from toprung.client.notebook import Plots, Shown, frame_of, needed, summary
from toprung.client.progress import WaitProgress
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


class AsyncClient:
    """A Toprung service, for asyncio. Arguments and errors are those of `Client`.

    async with AsyncClient() as client:
        sweep = await client.submit("sweep.yaml")
        async for event in sweep.events():
            ...
    """

    def __init__(
        self,
        url: str | None = None,
        *,
        token: str | None = None,
        timeout_s: float = 30.0,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        options = connect_options(url, token, timeout_s)
        self._http = httpx.AsyncClient(transport=transport, **options)
        self._driver = AsyncDriver(self._http)
        self._service = Service(str(options["base_url"]))

    @property
    def url(self) -> str:
        return self._service.url

    async def submit(
        self,
        spec: Source,
        *,
        code: str | Path | None = None,
        name: str | None = None,
        idempotency_key: str | None = None,
    ) -> AsyncSweepHandle:
        """See `Client.submit`."""
        return self._sweep(await self._driver.run(self._service.submit(spec, code, name, idempotency_key)))

    async def validate(self, spec: Source) -> Forecast:
        """See `Client.validate`."""
        return await self._driver.run(self._service.validate(spec))

    async def sweep(self, id_or_name: str) -> AsyncSweepHandle:
        """See `Client.sweep`."""
        return self._sweep(await self._driver.run(self._service.sweep(id_or_name)))

    async def sweeps(
        self,
        *,
        state: str | None = None,
        name: str | None = None,
        owner: str | None = None,
        limit: int | None = None,
    ) -> AsyncIterator[AsyncSweepHandle]:
        """See `Client.sweeps`."""
        async with aclosing(self._driver.iterate(self._service.sweeps(state, name, owner, limit))) as records:
            async for record in records:
                yield self._sweep(record)

    def events(self, *, after: int | None = None) -> AsyncIterator[Event]:
        """See `Client.events`."""
        return self._driver.iterate(self._service.events(None, after))

    async def create_token(self, *, owner: str, scope: str) -> NewToken:
        """See `Client.create_token`."""
        return await self._driver.run(self._service.create_token(owner, scope))

    async def tokens(self) -> list[Token]:
        """See `Client.tokens`."""
        return await self._driver.run(self._service.tokens())

    async def revoke_token(self, id: str) -> Token:
        """See `Client.revoke_token`."""
        return await self._driver.run(self._service.revoke_token(id))

    async def set_aside(self) -> list[SetAside]:
        """See `Client.set_aside`."""
        return await self._driver.run(self._service.set_aside())

    async def take_back(self, node: str) -> list[SetAside]:
        """See `Client.take_back`."""
        return await self._driver.run(self._service.take_back(node))

    async def gc(self, *, dry_run: bool = False, older_than_s: float | None = None) -> CleanUp:
        """See `Client.gc`."""
        return await self._driver.run(self._service.gc(dry_run, older_than_s))

    async def usage(self, *, since: datetime | None = None, until: datetime | None = None) -> UsageReport:
        """See `Client.usage`."""
        return await self._driver.run(self._service.usage(since, until))

    async def cluster(self) -> ClusterStatus:
        """See `Client.cluster`."""
        return await self._driver.run(self._service.cluster())

    async def doctor(self) -> CheckUp:
        """See `Client.doctor`."""
        return await self._driver.run(self._service.doctor())

    async def schema(self) -> dict[str, Any]:
        """See `Client.schema`."""
        return await self._driver.run(self._service.schema())

    async def version(self) -> dict[str, str]:
        """See `Client.version`."""
        return await self._driver.run(self._service.version())

    async def close(self) -> None:
        await self._http.aclose()

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    def _sweep(self, record: Sweep) -> AsyncSweepHandle:
        return AsyncSweepHandle(self._driver, self._service, record)


class AsyncSweepHandle(SweepView[AsyncDriver]):
    """A sweep on the service."""

    async def refresh(self) -> Sweep:
        """See `SweepHandle.refresh`."""
        return self._keep(await self._driver.run(self._service.sweep(self.id)))

    async def wait(self, timeout_s: float | None = None, *, progress: bool | None = None) -> Sweep:
        """See `SweepHandle.wait`. Cancelling the task ends the waiting, not the sweep."""
        with WaitProgress(progress) as bar:
            async with aclosing(self._driver.iterate(self._service.until_finished(self.id, timeout_s))) as looks:
                async for sweep in looks:
                    bar.update(self._keep(sweep))
        return self.record

    async def watch(self, *, k: int = 5) -> Sweep:
        """See `SweepHandle.watch`. Cancelling the task ends the watching."""
        place = Shown()
        async with aclosing(self._driver.iterate(self._service.until_finished(self.id, None))) as looks:
            async for sweep in looks:
                place.show(summary(self._keep(sweep), await self.best_trials(k)))
        return self.record

    async def to_dataframe(self, *, filter: str = "") -> DataFrame:
        """See `SweepHandle.to_dataframe`."""
        pandas = needed("pandas")
        return frame_of(pandas, *await self._driver.run(self._service.table(self.id, filter)))

    @property
    def plot(self) -> Plots[Coroutine[Any, Any, Figure]]:
        """See `SweepHandle.plot`; `await` what they return."""
        return Plots(self._driver.run, self._service, self.id)

    def events(self, *, after: int | None = None) -> AsyncIterator[Event]:
        """See `SweepHandle.events`."""
        return self._driver.iterate(self._service.events(self.id, after))

    @overload
    async def best(self) -> AsyncTrialHandle: ...

    @overload
    async def best(self, k: int) -> list[AsyncTrialHandle]: ...

    async def best(self, k: int | None = None) -> AsyncTrialHandle | list[AsyncTrialHandle]:
        """See `SweepHandle.best`."""
        if k is None:
            return self._trial(await self._driver.run(self._service.best_one(self.record)))
        return [self._trial(found.trial) for found in await self.best_trials(k)]

    async def best_trials(self, k: int) -> list[BestTrial]:
        """See `SweepHandle.best_trials`."""
        return await self._driver.run(self._service.best(self.id, k))

    async def trials(
        self, *, state: str | None = None, order_by: str = "number", limit: int | None = None
    ) -> AsyncIterator[AsyncTrialHandle]:
        """See `SweepHandle.trials`."""
        async with aclosing(self._driver.iterate(self._service.trials(self.id, state, order_by, limit))) as records:
            async for record in records:
                yield self._trial(record)

    async def trial(self, number: int) -> AsyncTrialHandle:
        """See `SweepHandle.trial`."""
        return self._trial(await self._driver.run(self._service.trial(self.id, number)))

    def decisions(self, *, number: int | None = None) -> AsyncIterator[Decision]:
        """See `SweepHandle.decisions`."""
        return self._driver.iterate(self._service.decisions(self.id, number))

    async def cancel(self) -> Sweep:
        """See `SweepHandle.cancel`."""
        return self._keep(await self._driver.run(self._service.cancel(self.id)))

    async def pause(self) -> Sweep:
        """See `SweepHandle.pause`."""
        return self._keep(await self._driver.run(self._service.pause(self.id)))

    async def resume(self) -> Sweep:
        """See `SweepHandle.resume`."""
        return self._keep(await self._driver.run(self._service.resume(self.id)))

    async def edit(self, **changes: Any) -> Sweep:
        """See `SweepHandle.edit`."""
        return self._keep(await self._driver.run(self._service.edit(self.id, changes)))

    async def extend(self, **budget: float | None) -> Sweep:
        """See `SweepHandle.extend`."""
        return self._keep(await self._driver.run(self._service.extend(self.id, budget)))

    async def enqueue(self, config: dict[str, Any]) -> Sweep:
        """See `SweepHandle.enqueue`."""
        return self._keep(await self._driver.run(self._service.enqueue(self.id, config)))

    async def retry(self, *trials: int, code: str | Path | None = None) -> Sweep:
        """See `SweepHandle.retry`."""
        return self._keep(await self._driver.run(self._service.retry(self.id, trials, code)))

    async def clone(self, **changes: Any) -> AsyncSweepHandle:
        """See `SweepHandle.clone`."""
        record = await self._driver.run(self._service.clone(self.id, changes))
        return AsyncSweepHandle(self._driver, self._service, record)

    async def delete(self) -> None:
        """See `SweepHandle.delete`."""
        await self._driver.run(self._service.delete(self.id))

    async def files(self) -> list[Files]:
        """See `SweepHandle.files`."""
        return await self._driver.run(self._service.files(self.id))

    def _trial(self, record: Trial) -> AsyncTrialHandle:
        return AsyncTrialHandle(self._driver, self._service, record)


class AsyncTrialHandle(TrialView[AsyncDriver]):
    """A trial of a sweep."""

    async def refresh(self) -> Trial:
        """See `TrialHandle.refresh`."""
        return self._keep(await self._driver.run(self._service.trial(self._record.sweep_id, self.number)))

    async def stop(self) -> Trial:
        """See `TrialHandle.stop`."""
        return self._keep(await self._driver.run(self._service.stop_trial(self._record.sweep_id, self.number)))

    async def results(self) -> list[Result]:
        """See `TrialHandle.results`."""
        return await self._driver.run(self._service.results(self._record.sweep_id, self.number))

    async def environment(self) -> TrialEnvironment:
        """See `TrialHandle.environment`."""
        return await self._driver.run(self._service.environment(self._record.sweep_id, self.number))

    async def reproduce(
        self, *, tolerance: float = 0.0, timeout_s: float | None = None, progress: bool | None = None
    ) -> Reproduction:
        """See `TrialHandle.reproduce`."""
        made = await self._driver.run(self._service.reproduce(self._record.sweep_id, self.number))
        again = await AsyncSweepHandle(self._driver, self._service, made).wait(timeout_s, progress=progress)
        return await self._driver.run(self._service.compared(await self.refresh(), again, tolerance))

    def logs(self, *, attempt: int | None = None, follow: bool = False) -> AsyncIterator[str]:
        """See `TrialHandle.logs`."""
        return self._driver.iterate(self._service.logs(self._record.sweep_id, self.number, attempt, follow))

    async def download_checkpoint(self, path: str | Path) -> Path:
        """See `TrialHandle.download_checkpoint`."""
        return await self._driver.run(self._service.checkpoint(self._record.sweep_id, self.number, path))
