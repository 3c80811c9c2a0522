"""Sweeps as Optuna's studies, to look at with what Optuna has for that. Needs `pip install optuna`.

import optuna
import toprung.optuna

study = optuna.load_study(study_name="digits-cnn", storage=toprung.optuna.storage())
optuna.visualization.plot_param_importances(study)
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from toprung.client import Client
from toprung.tuning.records import Page, Sweep, Trial, Values
from toprung.tuning.studies import SweepStorage

__all__ = ["storage"]

_NEWEST = 1_000
"""Sweeps that are listed as studies."""


def storage(url: str | None = None, *, token: str | None = None) -> SweepStorage:
    """A storage for `optuna.load_study`, read-only: what would write raises `toprung.errors.Conflict`.

    Args:
        url: of the service; as for `Client`.
        token: for a service with access control; as for `Client`.
    """
    return SweepStorage(_OverHttp(partial(Client, url, token=token)))


class _OverHttp:
    def __init__(self, connect: Callable[[], Client]) -> None:
        self._connect = connect
        self._made: Client | None = connect()

    @property
    def _client(self) -> Client:
        if self._made is None:
            self._made = self._connect()
        return self._made

    def sweeps(self) -> list[Sweep]:
        return [sweep.record for sweep in self._client.sweeps(limit=_NEWEST)]

    def sweep(self, id_or_name: str) -> Sweep:
        return self._client.sweep(id_or_name).record

    def trials(self, sweep_id: str, cursor: str | None) -> Page[Trial]:
        return self._client._driver.run(self._client._service.trial_page(sweep_id, cursor))

    def values(self, sweep_id: str, after: int) -> Values:
        return self._client._driver.run(self._client._service.values(sweep_id, after))

    def close(self) -> None:
        if self._made is not None:
            self._made.close()
            self._made = None
