"""The machines: what they have, who uses them, how they are."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Request
from pydantic import BaseModel
from starlette.responses import Response

from toprung.cluster.records import CheckUp, ClusterStatus, SweepPlaces
from toprung.errors import NotFound, Unavailable
from toprung.serve.http import audit
from toprung.serve.http.access import Admin, Writer
from toprung.serve.http.answers import items, record
from toprung.serve.http.context import Cluster, Context, Services
from toprung.serve.http.endpoints.documented import problems
from toprung.serve.queue import with_places
from toprung.tuning.records import SetAside, Sweep, SweepState, TrialState, utc_now

router = APIRouter(tags=["cluster"])

NodeRef = Annotated[str, Path(description="The node's id or host name.", examples=["gpu-7"])]


class SetAsideNodes(BaseModel):
    items: list[SetAside]


@router.get("/v1/cluster", operation_id="getCluster", response_model=ClusterStatus, responses=problems(503))
def get_cluster(context: Context) -> Response:
    """The nodes, and what the sweeps that run or wait have of them."""
    cluster = _cluster(context)
    shares = cluster.shares()
    unfinished = context.store.sweeps_in([SweepState.QUEUED, SweepState.RUNNING])
    sweeps = with_places(unfinished, unfinished, utc_now(), context.settings)
    places = [_places(sweep, shares.get(sweep.id)) for sweep in sweeps]
    return record(ClusterStatus(nodes=cluster.nodes(), sweeps=places))


@router.post("/v1/cluster:doctor", operation_id="checkUp", response_model=CheckUp, responses=problems(403, 503))
def check_up(context: Context, caller: Writer) -> Response:
    """Ask all nodes how they are, and say what is wrong. Takes seconds, a minute where one does not answer."""
    return record(_cluster(context).check_up())


@router.get("/v1/cluster/set-aside", operation_id="listSetAside", response_model=SetAsideNodes, responses=problems(503))
def list_set_aside(context: Context) -> Response:
    """The nodes that get no new trials as others failed there, and why."""
    return items(_cluster(context).set_aside())


@router.delete(
    "/v1/cluster/set-aside/{node}",
    operation_id="takeBack",
    response_model=SetAsideNodes,
    responses=problems(403, 404, 503),
)
def take_back(context: Context, caller: Admin, request: Request, node: NodeRef) -> Response:
    """Give a node trials again. Answers with what was known of it; of all nodes of that name."""
    cluster = _cluster(context)
    found = [aside for aside in cluster.set_aside() if node in (aside.node_id, aside.node)]
    if not found:
        raise NotFound(f"No node {node} is set aside. `toprung cluster status` shows those that are.")
    for aside in found:
        cluster.take_back(aside.node_id)
        audit.note_target(request.scope, aside.node_id)
    return items(found)


def _cluster(context: Services) -> Cluster:
    if context.cluster is None:
        raise Unavailable("This service runs without a cluster.")
    return context.cluster


def _places(sweep: Sweep, share: int | None) -> SweepPlaces:
    return SweepPlaces(
        sweep_id=sweep.id,
        name=sweep.name,
        owner=sweep.owner,
        state=sweep.state,
        num_running=sweep.trials.get(TrialState.RUNNING, 0),
        share=share if sweep.state is SweepState.RUNNING else None,
        priority=sweep.spec.priority,
        weight=sweep.spec.weight,
        queue=sweep.queue,
    )
