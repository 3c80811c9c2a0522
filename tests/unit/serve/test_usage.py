"""What was used, what it cost, what it would cost, and who waits."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.unit.serve.test_http import SPEC, YAML, reported, submitted

from toprung.errors import InvalidInput
from toprung.serve.http.app import create_app
from toprung.serve.queue import MAX_RUNNING, next_up, with_places
from toprung.serve.settings import Settings
from toprung.serve.store import Store
from toprung.tuning.plan import forecast, priced
from toprung.tuning.records import Batch, QueuePlace, Sweep, SweepState, TrialState
from toprung.tuning.spec import spec_from

NOW = datetime(2026, 5, 1, 12, 0, tzinfo=UTC)
PRICES = "prices: {A100: 2.0, any: 0.5}\ncurrency: EUR\nquotas: {default: {trials: 4}, ann: {gpus: 8}}\n"
GPU_SPEC = {
    "trainable": "train:train",
    "metric": {"name": "loss", "goal": "minimize"},
    "parameters": {"x": {"type": "float", "low": 0.0, "high": 1.0}},
    "scheduler": {"type": "asha", "max_t": 9, "grace_period": 1},
    "resources": {"gpu": 0.5},
    "budget": {"trials": 9},
}


def sweep(name: str, state: SweepState = SweepState.QUEUED, **fields: Any) -> Sweep:
    plain = {"id": name, "name": name, "state": state, "spec": spec_from(GPU_SPEC), "created_at": NOW, "num_trials": 10}
    return Sweep.model_validate(plain | fields)


def running(name: str, over: int, minutes: float) -> Sweep:
    started = NOW - timedelta(minutes=minutes)
    return sweep(name, SweepState.RUNNING, started_at=started, trials={TrialState.COMPLETED: over} if over else {})


class TestTheQueue:
    def test_places_are_in_the_order_of_service_and_expect_the_next_end(self) -> None:
        # as fast as so far: 5 of 10 trials in 10 minutes leave 10 more, 8 of 10 in 20 leave 5
        full = [running("a", 5, 10), running("b", 8, 20), *(running(f"r{i}", 0, 5) for i in range(MAX_RUNNING - 2))]
        waiting = [sweep("w1"), sweep("w2"), sweep("w3")]
        placed = with_places(waiting, [*full, *waiting], NOW, Settings())
        assert [s.queue for s in placed] == [
            QueuePlace(position=1, expected_start_at=NOW + timedelta(minutes=5 + 1)),
            QueuePlace(position=2, expected_start_at=NOW + timedelta(minutes=10 + 1)),
            QueuePlace(position=3),
        ]

    def test_who_can_start_does_not_wait(self) -> None:
        first, second = sweep("w1"), sweep("w2")
        begun = [running(f"r{i}", 0, 5) for i in range(MAX_RUNNING - 1)]
        placed = with_places([first, second], [*begun, first, second], NOW, Settings())
        assert [s.queue for s in placed] == [None, QueuePlace(position=1)]

    def test_who_is_held_by_a_quota_waits_for_its_owner_and_holds_up_nobody(self) -> None:
        settings = Settings.model_validate({"quotas": {"ann": {"trials": 1}}})
        begun = [running("a", 5, 10).model_copy(update={"owner": "ann"}), running("b", 8, 20)]
        anns, bobs = sweep("w1", owner="ann"), sweep("w2", owner="bob")
        starting, waiting = next_up([*begun, anns, bobs], settings)
        assert ([s.id for s in starting], [s.id for s in waiting]) == (["w2"], ["w1"])
        placed = with_places([anns, bobs], [*begun, anns, bobs], NOW, settings)
        until = NOW + timedelta(minutes=10 + 1)
        assert [s.queue for s in placed] == [QueuePlace(position=1, expected_start_at=until, quota=True), None]

    async def test_it_is_shown_while_it_waits(self, http: httpx.AsyncClient, store: Store) -> None:
        before = [await submitted(http, SPEC.replace("demo", f"demo-{i}")) for i in range(MAX_RUNNING)]
        made = await submitted(http)
        assert (await http.get(f"/v1/sweeps/{made['id']}")).json()["queue"] == {
            "position": 1,
            "expected_start_at": None,
            "quota": False,
        }
        assert (await http.get("/v1/sweeps")).json()["items"][0]["queue"]["position"] == 1
        store.request_cancel(before[0]["id"])
        assert (await http.get(f"/v1/sweeps/{made['id']}")).json()["queue"] is None


class TestSettings:
    def test_prices_and_quotas(self, tmp_path: Path) -> None:
        (tmp_path / "config.yaml").write_text(PRICES)
        settings = Settings.read(tmp_path / "config.yaml")
        assert [settings.price(kind) for kind in ("A100", "H100", None)] == [2.0, 0.5, 0.5]
        assert (settings.quota("ann").gpus, settings.quota("ann").trials) == (8, None)
        assert (settings.quota("bob").trials, settings.quota(None).trials) == (4, None)
        assert Settings.read(tmp_path / "none.yaml").price("A100") is None

    def test_all_that_is_wrong_is_told_at_once(self, tmp_path: Path) -> None:
        (tmp_path / "config.yaml").write_text("prices: {A100: -1}\nquota: {}\n")
        with pytest.raises(InvalidInput) as error:
            Settings.read(tmp_path / "config.yaml")
        assert [problem.pointer for problem in error.value.problems] == ["/prices/A100", "/quota"]
        (tmp_path / "config.yaml").write_text("prices: [")
        with pytest.raises(InvalidInput, match="it is neither YAML"):
            Settings.read(tmp_path / "config.yaml")


class TestForecasts:
    def test_in_gpu_hours_and_money(self) -> None:
        told = priced(forecast(spec_from(GPU_SPEC)), ("before", 1200.0), 2.0, "EUR")
        assert (told.expected_steps, told.worst_case_steps) == (9 + 3 * 2 + 1 * 6, 81)
        # a third of an hour a step, half a GPU
        assert told.expected_gpu_hours == pytest.approx(21 / 6)
        assert told.worst_case_gpu_hours == pytest.approx(81 / 6)
        assert told.expected_cost == pytest.approx(7.0)
        assert told.currency == "EUR"

    def test_the_budget_bounds_it(self) -> None:
        bounded = spec_from(GPU_SPEC | {"budget": {"trials": 9, "steps": 60, "cost": 10.0}})
        told = priced(forecast(bounded), ("before", 1200.0), 2.0, "EUR")
        assert told.worst_case_steps == 60
        assert told.worst_case_gpu_hours == pytest.approx(10.0)
        assert told.worst_case_cost == 10.0

    def test_without_an_earlier_sweep_nothing_is_claimed(self) -> None:
        assert priced(forecast(spec_from(GPU_SPEC)), None, 2.0, "EUR").expected_cost is None

    async def test_from_the_newest_sweep_of_the_trainable(self, http: httpx.AsyncClient, store: Store) -> None:
        made = await submitted(http)
        reported(store, made["id"], [0.5, 0.4])
        text = "\n".join(f"{key}: {value!r}".replace("'", '"') for key, value in GPU_SPEC.items())
        answer = (await http.post("/v1/sweeps:validate", content=text, headers=YAML)).json()
        assert (answer["step_s"], answer["step_s_from"]) == (pytest.approx(0.1), "demo")


class TestUsage:
    async def test_by_owner_and_period(self, http: httpx.AsyncClient, store: Store) -> None:
        for owner, hours in (("ann", 1.5), ("bob", 4.0), ("ann", 0.5), (None, 0.0)):
            spec = spec_from(GPU_SPEC)
            made, _ = store.create_sweep(spec, name=None, num_trials=9, owner=owner)
            reported(store, made.id, [0.5, 0.4])
            row = store.get_trial(made.id, 0).model_copy(
                update={"number": 7, "gpu_hours": hours, "cost": 2 * hours, "state": TrialState.COMPLETED}
            )
            store.write(Batch(sweep_id=made.id, trials=[row]))
        store.create_sweep(spec, name=None, num_trials=9, owner="eve")  # it waits: nothing is used
        told = (await http.get("/v1/usage")).json()
        assert told["currency"] == "USD"
        assert [
            (u["owner"], u["sweeps"], u["trials"], u["steps"], u["gpu_hours"], u["cost"]) for u in told["items"]
        ] == [
            ("bob", 1, 3, 2, 4.0, 8.0),
            ("ann", 2, 6, 4, 2.0, 4.0),
            (None, 1, 3, 2, 0.0, 0.0),
        ]
        later = await http.get("/v1/usage", params={"since": "2100-01-01T00:00:00Z"})
        assert later.json()["items"] == []
        wrong = await http.get("/v1/usage", params={"since": "yesterday"})
        assert (wrong.status_code, wrong.json()["errors"][0]["pointer"]) == (400, "/query/since")


class TestMoney:
    @pytest.mark.parametrize(("prices", "kind", "fits"), [(PRICES, None, True), ("prices: {A100: 2.0}", None, False)])
    async def test_a_budget_of_it_needs_a_price(
        self, store: Store, tmp_path: Path, prices: str, kind: str | None, fits: bool
    ) -> None:
        (tmp_path / "config.yaml").write_text(prices)
        transport = httpx.ASGITransport(create_app(store, tmp_path), raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as http:
            answer = await http.post("/v1/sweeps", json=GPU_SPEC | {"budget": {"cost": 5.0}})
            assert answer.status_code == (201 if fits else 422)
            if not fits:
                assert answer.json()["errors"][0]["code"] == "no_price"
                made = (await http.post("/v1/sweeps", json=GPU_SPEC)).json()
                late = await http.post(f"/v1/sweeps/{made['id']}:extend", json={"budget": {"cost": 5.0}})
                assert (late.status_code, late.json()["errors"][0]["pointer"]) == (422, "/budget/cost")
