"""Has Ray start a worker before it is asked for one."""

from __future__ import annotations

import json

import ray
from ray._private.grpc_utils import init_grpc_channel
from ray.core.generated.common_pb2 import PYTHON
from ray.core.generated.node_manager_pb2 import PrestartWorkersRequest
from ray.core.generated.node_manager_pb2_grpc import NodeManagerServiceStub
from ray.core.generated.runtime_environment_pb2 import RuntimeEnvInfo, RuntimeEnvUris
from ray.tune.execution.class_cache import _ActorClassCache

_KEPT_S = 30 * 24 * 3600
"""How long Ray keeps a worker that nobody asks for."""


def prestart() -> None:
    """Asks this node for a worker that fits a trial of this runner.

    Ray gives a trial a worker that waits where its environment is, letter for letter, the trial's. There is no public
    call for this: it is the one that the raylet offers to other parts of Ray.
    """
    context = ray.get_runtime_context()
    env = json.loads(context.get_runtime_env_string())
    # Tune adds to the environment of its trials
    env["env_vars"] |= _ActorClassCache().get(_Nothing)._default_options["runtime_env"]["env_vars"]
    request = PrestartWorkersRequest(
        language=PYTHON,
        job_id=bytes.fromhex(context.get_job_id()),
        runtime_env_info=RuntimeEnvInfo(
            serialized_runtime_env=json.dumps(env, sort_keys=True, separators=(",", ":"), ensure_ascii=False),
            uris=RuntimeEnvUris(working_dir_uri=env["working_dir"]),
        ),
        keep_alive_duration_secs=_KEPT_S,
        num_workers=1,
    )
    (node,) = [node for node in ray.nodes() if node["NodeID"] == context.get_node_id()]
    with init_grpc_channel(f"{node['NodeManagerAddress']}:{node['NodeManagerPort']}") as channel:
        NodeManagerServiceStub(channel).PrestartWorkers(request, timeout=30)


class _Nothing:
    pass
