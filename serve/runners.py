"""The actors that run sweeps, one each, and the one that waits for its sweep."""

from __future__ import annotations

import io
import logging
import secrets
import zipfile
from dataclasses import dataclass
from typing import Any

import ray
from ray._private.runtime_env.packaging import upload_package_to_gcs
from ray.experimental.internal_kv import _internal_kv_del, _internal_kv_get, _internal_kv_list, _internal_kv_put
from ray.util import list_named_actors
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from toprung.serve.actor import CONTROLLER, NAMESPACE
from toprung.serve.demand import Demand
from toprung.serve.home import Home
from toprung.tuning.orders import Orders
from toprung.tuning.records import Sweep
from toprung.tuning.run.actor import TUNE_ENV, RunnerActor
from toprung.tuning.run.nodes import usable
from toprung.tuning.run.service import Service
from toprung.tuning.run.spare import SPARE_ENV

logger = logging.getLogger(__name__)

_SPARE = "toprung-spare-"
_RUNNER_OF = "toprung-runner-of-"
_TAKE_UP_S = 60.0
"""The spare may still be loading when its sweep comes."""


@dataclass(frozen=True)
class _Spare:
    name: str
    actor: Any
    working_dir: str
    """URI of the package that Ray unpacks for it: an empty one, until its sweep comes."""


class Runners:
    """Starts runners and finds them again.

    A spare is a runner that has loaded Ray Tune before its sweep comes. It takes any sweep that asks for no packages
    and sets no variables: these must be there when a process starts.
    """

    def __init__(self, home: Home, demand: Demand, *, wait_for_resources: bool) -> None:
        self._home = home
        self._demand = demand
        self._wait_for_resources = wait_for_resources
        self._spare: _Spare | None = None
        _let_go_spares()

    def start(self, sweep: Sweep, orders: Orders) -> Any:
        """A runner that begins the sweep: the spare, where there is one and it fits."""
        code = self._code(sweep)
        spare, environment = self._spare, sweep.spec.environment
        if spare is not None and not environment.pip and not environment.env_vars:
            self._spare = None
            try:
                self._hand_over(sweep, orders, code, spare)
            except Exception as error:  # it died, or does not answer
                logger.warning("%s is lost: %s", spare.name, error)
                self.release(sweep.id, spare.actor)
            else:
                return spare.actor
        # a name of its own: a sweep may begin again before the name of its last runner is free
        name = f"toprung-runner-{sweep.id}-{secrets.token_hex(4)}"
        _internal_kv_put(_key(sweep.id), name)  # before there is one: whoever comes after us would start another
        actor = self._actor(name, _runtime_env(sweep, code))
        self._begin(actor, sweep, orders)
        return actor

    def find(self, sweep: Sweep, orders: Orders) -> Any | None:
        """The runner of a sweep that an earlier life of the controller started; None if it is gone."""
        noted = _internal_kv_get(_key(sweep.id))
        if noted is None:
            return None
        name = noted.decode()
        try:
            actor = ray.get_actor(name, namespace=NAMESPACE)
        except ValueError:
            return None
        code = self._code(sweep) if name.startswith(_SPARE) else None
        self._begin(actor, sweep, orders, code)  # that life may have ended before it did
        return actor

    def release(self, sweep_id: str, actor: Any) -> None:
        """Ends a runner's process, and with it the workers of its trials."""
        ray.kill(actor)
        _internal_kv_del(_key(sweep_id))

    def keep_spare(self) -> None:
        """Makes a spare where there is none."""
        if self._spare is not None:
            return
        name = f"{_SPARE}{secrets.token_hex(8)}"
        working_dir = _upload(name, _EMPTY)
        actor = self._actor(name, {"env_vars": {**TUNE_ENV, **SPARE_ENV}, "working_dir": working_dir})
        actor.wait_for_sweep.remote()
        self._spare = _Spare(name, actor, working_dir)

    def close(self) -> None:
        """Lets the spare go; runners are left alone."""
        if self._spare is not None:
            ray.kill(self._spare.actor)

    def _hand_over(self, sweep: Sweep, orders: Orders, code: bytes | None, spare: _Spare) -> None:
        if code is not None:
            upload_package_to_gcs(spare.working_dir, code)  # for other nodes: none has unpacked the empty one
        _internal_kv_put(_key(sweep.id), spare.name)
        ray.get(self._begin(spare.actor, sweep, orders, code), timeout=_TAKE_UP_S)

    def _begin(self, actor: Any, sweep: Sweep, orders: Orders, code: bytes | None = None) -> ray.ObjectRef[None]:
        service = Service(CONTROLLER, NAMESPACE)
        storage, grows = self._home.storage.path, self._demand.grows
        begun: ray.ObjectRef[None] = actor.run.remote(
            sweep.id, orders, storage, service, self._wait_for_resources, grows, code=code
        )
        return begun

    def _actor(self, name: str, runtime_env: dict[str, Any]) -> Any:
        options: dict[str, Any] = {
            "name": name,
            "namespace": NAMESPACE,
            "lifetime": "detached",
            "num_cpus": 0,
            # a byte: Ray 2.60 puts an actor that asks for nothing at all on any node, whatever its soft affinity says,
            # and a runner on a worker holds a machine that its autoscaler would end
            "memory": 1,
            "max_concurrency": 16,  # calls that wait for the sweep's end hold one each
            "runtime_env": runtime_env,
        }
        node = self._node()
        if node is not None:
            options["scheduling_strategy"] = NodeAffinitySchedulingStrategy(node, soft=True)
        return ray.remote(RunnerActor).options(**options).remote()

    def _node(self) -> str | None:
        """A node that is not the head, where there is one that stays: a restart of the head then leaves it alone."""
        workers = [node.id for node in usable() if node.is_head == self._demand.grows]
        return workers[0] if workers else None

    def _code(self, sweep: Sweep) -> bytes | None:
        code = sweep.spec.code
        return None if code is None else self._home.package(code.removeprefix("sha256:")).read_bytes()


def _runtime_env(sweep: Sweep, code: bytes | None) -> dict[str, Any]:
    spec = sweep.spec
    env: dict[str, Any] = {"env_vars": {**TUNE_ENV, **spec.environment.env_vars}}
    if spec.environment.pip:
        env["pip"] = list(spec.environment.pip)
    if spec.code is not None and code is not None:
        env["working_dir"] = _upload(spec.code.removeprefix("sha256:"), code)
    return env


def _upload(name: str, package: bytes) -> str:
    uri = f"gcs://_ray_pkg_{name}.zip"
    upload_package_to_gcs(uri, package)
    return uri


def _empty() -> bytes:
    file = io.BytesIO()
    zipfile.ZipFile(file, "w").close()
    return file.getvalue()


_EMPTY = _empty()


def _key(sweep_id: str) -> str:
    """In the cluster's memory: the name of the actor that runs the sweep. One that was a spare can't be named anew."""
    return f"{_RUNNER_OF}{sweep_id}"


def _let_go_spares() -> None:
    """Ends the spares of an earlier life that no sweep has taken."""
    taken = {_internal_kv_get(key) for key in _internal_kv_list(_RUNNER_OF)}
    for name in list_named_actors():
        if name.startswith(_SPARE) and name.encode() not in taken:
            ray.kill(ray.get_actor(name))
