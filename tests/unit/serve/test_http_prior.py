"""Submissions that name earlier sweeps to learn from."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from toprung.serve.store import Store

YAML = {"Content-Type": "application/yaml"}
SPEC = """\
name: {name}
trainable: train:train
metric: {{name: {metric}, goal: {goal}}}
parameters: {{x: {{type: float, low: 0.0, high: {high}}}}}
search:
  prior:
{prior}
budget: {{trials: 3}}
"""


def spec(*prior: str, name: str = "demo", metric: str = "loss", goal: str = "minimize", high: float = 1.0) -> str:
    listed = "\n".join(f"  - {one}" for one in prior) or "    []"
    return SPEC.format(name=name, metric=metric, goal=goal, high=high, prior=listed)


async def submitted(http: httpx.AsyncClient, text: str) -> dict[str, Any]:
    answer = await http.post("/v1/sweeps", content=text, headers=YAML)
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


async def test_names_become_ids_and_stay(http: httpx.AsyncClient, store: Store) -> None:
    first, second = [await submitted(http, spec(name="digits")) for _ in range(2)]

    third = await submitted(http, spec("digits", first["id"], second["id"], name="digits"))

    assert third["spec"]["search"]["prior"] == [second["id"], first["id"]], "the newest of that name, each once"
    await submitted(http, spec(name="digits"))
    assert store.get_sweep(third["id"]).spec.search.prior == (second["id"], first["id"])


async def test_a_retried_submission_is_the_same_sweep(http: httpx.AsyncClient) -> None:
    """Though the name that it learns from means itself by now."""
    await submitted(http, spec())
    answers = [
        await http.post("/v1/sweeps", content=spec("demo"), headers=YAML | {"Idempotency-Key": "once"})
        for _ in range(2)
    ]

    assert [answer.status_code for answer in answers] == [201, 200]
    assert answers[0].json() == answers[1].json()


@pytest.mark.parametrize("path", ["/v1/sweeps", "/v1/sweeps:validate"])
async def test_all_that_is_wrong_is_told_at_once(http: httpx.AsyncClient, store: Store, path: str) -> None:
    await submitted(http, spec(name="accuracy", metric="accuracy", goal="maximize"))
    await submitted(http, spec(name="fine"))
    text = spec("fine", "nobody", "accuracy", "7", high=-1.0)

    answer = await http.post(path, content=text, headers=YAML)

    assert answer.status_code == 422
    problems = [(p["pointer"], p["code"], p["line"]) for p in answer.json()["errors"]]
    assert problems == [
        ("/parameters/x/low", "low_not_below_high", 4),
        ("/search/prior/1", "unknown_sweep", 8),
        ("/search/prior/2", "other_metric", 9),
        ("/search/prior/2", "other_goal", 9),
        ("/search/prior/3", "invalid_value", 10),
    ]
    messages = {p["code"]: p["message"] for p in answer.json()["errors"]}
    assert messages["other_metric"] == "sweep accuracy has the metric accuracy, this one loss: they don't compare"
    assert "maximize accuracy" in messages["other_goal"]
    assert len(store.list_sweeps().items) == 2


async def test_a_forecast_knows_the_ids(http: httpx.AsyncClient) -> None:
    first = await submitted(http, spec(name="digits"))

    answer = await http.post("/v1/sweeps:validate", content=spec("digits"), headers=YAML)

    assert answer.json()["spec"]["search"]["prior"] == [first["id"]]
