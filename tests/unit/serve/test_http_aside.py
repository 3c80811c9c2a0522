"""Nodes that were set aside, over HTTP; the cluster's memory is a list here."""

from __future__ import annotations

from pathlib import Path

import httpx

from toprung.serve.http.app import create_app
from toprung.serve.machines import Machines
from toprung.serve.store import Store
from toprung.tuning.records import SetAside, utc_now


class Memory(Machines):
    """Only what it knows of nodes is not asked of Ray."""

    def __init__(self, known: dict[str, SetAside]) -> None:
        self._known = known

    def set_aside(self) -> list[SetAside]:
        return list(self._known.values())

    def take_back(self, node_id: str) -> None:
        del self._known[node_id]


async def test_nodes_are_listed_and_taken_back(store: Store, tmp_path: Path) -> None:
    records = [
        SetAside(node_id=node_id, node=name, sweep_id="swp_1", trials=[0, 1, 2], reason="broken", at=utc_now())
        for node_id, name in (("aa", "gpu-7"), ("bb", "gpu-8"))
    ]
    known = {record.node_id: record for record in records}
    app = create_app(store, tmp_path, cluster=Memory(known))
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as http:
        listed = (await http.get("/v1/cluster/set-aside")).json()["items"]
        assert [SetAside.model_validate(item).reason for item in listed] == ["broken", "broken"]
        by_name = await http.delete("/v1/cluster/set-aside/gpu-7")
        assert [item["node_id"] for item in by_name.json()["items"]] == ["aa"]
        by_id = await http.delete("/v1/cluster/set-aside/bb")
        assert [item["node"] for item in by_id.json()["items"]] == ["gpu-8"]
        assert not known
        again = await http.delete("/v1/cluster/set-aside/bb")
        assert (again.status_code, again.json()["code"]) == (404, "not_found")


async def test_without_a_cluster_there_are_no_nodes(http: httpx.AsyncClient) -> None:
    answer = await http.get("/v1/cluster/set-aside")
    assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
