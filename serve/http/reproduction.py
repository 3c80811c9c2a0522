"""A trial that is to be run again: what of it the store and the packages still have."""

from __future__ import annotations

from toprung.errors import NotFound
from toprung.serve.http.context import Services
from toprung.tuning.reproduction import repeated
from toprung.tuning.run.seeds import sweep_seed, trial_seed
from toprung.tuning.spec import SweepSpec


def repetition(services: Services, sweep_id: str, number: int) -> SweepSpec:
    """The spec of the sweep that does it.

    Raises:
        NotFound: there is no such trial, or its code is no longer there.
        Conflict: it is not over, or has reported nothing.
    """
    store = services.store
    sweep, trial = store.get_sweep(sweep_id), store.get_trial(sweep_id, number)
    ran_in = store.trial_environment(sweep_id, number).environment
    origin = trial
    while origin.retry_of is not None:
        origin = store.get_trial(sweep_id, origin.retry_of)
    seed = trial_seed(sweep_seed(sweep.spec.search.seed, sweep.id), origin.number, 1, sweep.spec.trial_seed)
    spec = repeated(sweep, trial, seed, ran_in)
    if spec.code is not None and services.packages.find(spec.code.removeprefix("sha256:")) is None:
        raise NotFound(
            f"The code of trial {number} of {sweep.name} ({spec.code[:19]}…) is no longer there: it was removed, "
            "since no sweep had it. Submit a sweep with the same folder, and it is there again."
        )
    return spec
