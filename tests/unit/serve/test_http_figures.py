"""Figures, the table and CSV over HTTP, from a real store."""

from __future__ import annotations

import csv
import io
import json
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from tests.unit.serve.sweeps_help import ASHA, filled, loss_of, result, swept, trial

from toprung.serve.http.columns import ColumnCache
from toprung.serve.store import Store
from toprung.tuning.records import Batch, Sweep, SweepState, TrialState

FIGURES = ("best", "curves", "rungs", "parallel", "importance", "slice", "contour")


@pytest.fixture
def sweep(store: Store) -> Sweep:
    return filled(store, swept(store))


async def got(http: httpx.AsyncClient, path: str, **query: Any) -> Any:
    answer = await http.get(f"/v1/sweeps/demo/{path}", params=query)
    assert answer.status_code == 200, answer.text
    return answer.json()


class TestTable:
    async def test_has_all_columns_by_default(self, http: httpx.AsyncClient, sweep: Sweep) -> None:
        found = await got(http, "table", limit=2)

        assert found["total"] == 20
        assert [tuple(column.values()) for column in found["columns"]] == [
            ("number", "number", "standing"),
            ("state", "state", "standing"),
            ("step", "number", "standing"),
            ("value", "number", "standing"),
            ("loss", "number", "metric"),
            ("note", "text", "metric"),
            ("size", "number", "metric"),
            ("lr", "number", "param"),
            ("optimizer", "text", "param"),
            ("momentum", "number", "param"),
            ("model/depth", "number", "param"),
            ("attempt", "number", "standing"),
            ("duration_s", "number", "standing"),
            ("reason", "text", "standing"),
        ]
        first = dict(zip([column["name"] for column in found["columns"]], found["rows"][0], strict=True))
        assert first | {"duration_s": 0} == {
            "number": 0,
            "state": "completed",
            "step": 9,
            "value": 0.1056,
            "loss": 0.1056,
            "note": "=cmd(0)",
            "size": 0,
            "lr": 10**-0.5,
            "optimizer": "sgd",
            "momentum": 0.0,
            "model/depth": 1,
            "attempt": 1,
            "duration_s": 0,
            "reason": None,
        }

    @pytest.mark.parametrize("descending", [False, True])
    async def test_sorts_by_any_column_with_nulls_last(
        self, http: httpx.AsyncClient, sweep: Sweep, descending: bool
    ) -> None:
        for column in [column["name"] for column in (await got(http, "table"))["columns"]]:
            found = await got(http, "table", columns=column, order_by=column, descending=descending)
            rows = [(row[-1], row[0]) for row in found["rows"]]
            there = [row for row in rows if row[0] is not None]
            assert rows[len(there) :] == [
                (None, number) for _, number in sorted(rows[len(there) :], key=lambda r: r[1])
            ]
            if column != "state":  # that is by the course of a trial
                by_number = sorted(there, key=lambda row: row[1])
                assert there == sorted(by_number, key=lambda row: row[0], reverse=descending)

    async def test_is_filtered_sorted_and_cut(self, http: httpx.AsyncClient, sweep: Sweep) -> None:
        query = {"filter": 'optimizer == "adam" and model.depth > 2', "order_by": "value", "columns": "value,lr"}
        whole = await got(http, "table", **query)
        window = await got(http, "table", **query, offset=2, limit=3)

        assert [column["name"] for column in window["columns"]] == ["number", "value", "lr"]
        assert window["total"] == whole["total"] == len(whole["rows"])
        assert window["rows"] == whole["rows"][2:5]
        assert [row[1] for row in whole["rows"]] == sorted(row[1] for row in whole["rows"])

    @pytest.mark.parametrize(
        ("query", "pointer", "says"),
        [
            ({"filter": "optimiser == 1"}, "/query/filter", "did you mean optimizer?"),
            ({"order_by": "valeu"}, "/query/order_by", "did you mean value?"),
            ({"columns": "lr,los"}, "/query/columns", "did you mean loss?"),
            ({"limit": "0"}, "/query/limit", "greater than"),
        ],
    )
    async def test_says_what_is_wrong(
        self, http: httpx.AsyncClient, sweep: Sweep, query: dict[str, str], pointer: str, says: str
    ) -> None:
        answer = await http.get("/v1/sweeps/demo/table", params=query)

        problem = answer.json()
        assert (answer.status_code, problem["code"]) == (400, "malformed")
        assert says in problem["detail"]
        assert problem["errors"][0]["pointer"] == pointer

    async def test_names_with_commas_are_quoted(self, http: httpx.AsyncClient, store: Store) -> None:
        sweep = swept(store)
        odd = {'a,b "c"': 7, "loss": 0.5}
        store.write(Batch(sweep_id=sweep.id, trials=[trial(sweep, 0, metrics=odd, value=0.5)]))

        found = await got(http, "table", columns='loss,"a,b ""c"""')

        assert [column["name"] for column in found["columns"]] == ["number", "loss", 'a,b "c"']
        assert found["rows"] == [[0, 0.5, 7]]

    async def test_knows_the_spec_before_the_first_trial(self, http: httpx.AsyncClient, store: Store) -> None:
        swept(store)

        found = await got(http, "table", filter="loss < 1 and momentum > 0")

        assert found["rows"] == []
        assert {"loss", "lr", "momentum", "model/depth"} < {column["name"] for column in found["columns"]}


class TestCsv:
    async def test_is_the_table_without_formulas(self, http: httpx.AsyncClient, sweep: Sweep) -> None:
        answer = await http.get("/v1/sweeps/demo/trials.csv", params={"columns": "note,momentum", "filter": "number<2"})

        assert answer.headers["content-type"] == "text/csv; charset=utf-8"
        assert answer.headers["content-disposition"] == 'attachment; filename="demo.csv"'
        assert list(csv.reader(io.StringIO(answer.text))) == [
            ["number", "note", "momentum"],
            ["0", "'=cmd(0)", "0.0"],
            ["1", "'=cmd(1)", ""],
        ]

    async def test_has_all_trials(self, http: httpx.AsyncClient, store: Store) -> None:
        filled(store, swept(store), range(2_500))

        answer = await http.get("/v1/sweeps/demo/trials.csv", params={"order_by": "value", "descending": True})

        rows = list(csv.DictReader(io.StringIO(answer.text)))
        assert sorted(int(row["number"]) for row in rows) == list(range(2_500))
        assert [float(row["value"]) for row in rows] == sorted((float(row["value"]) for row in rows), reverse=True)


class TestFigures:
    @pytest.mark.parametrize("goal", ["minimize", "maximize"])
    @pytest.mark.parametrize("scheduler", [ASHA, "{type: median, max_t: 9}", "{type: none}"])
    async def test_are_drawn_or_say_why_not(
        self, http: httpx.AsyncClient, store: Store, goal: str, scheduler: str
    ) -> None:
        sweep = swept(store, goal, scheduler)
        for _ in range(2):  # before the first trial, and then
            for name in FIGURES:
                if name == "importance" and (goal, scheduler) != ("maximize", ASHA):
                    continue  # it starts a process, and knows neither
                for theme in ("light", "dark"):
                    figure = await got(http, f"figures/{name}", theme=theme)
                    assert bool(figure["data"]) != bool(figure["layout"]["meta"].get("empty")), name
                    assert not {"width", "height"} & figure["layout"].keys()
                    assert figure["layout"]["paper_bgcolor"] == "rgba(0,0,0,0)"
            filled(store, sweep)

    async def test_points_know_their_trials(self, http: httpx.AsyncClient, sweep: Sweep) -> None:
        for name in set(FIGURES) - {"importance"}:
            figure = await got(http, f"figures/{name}")
            seen = {n for trace in figure["data"] for n in trace.get("customdata", []) if n is not None}
            assert seen == set(range(20)), name

    async def test_best_is_the_best_so_far(self, http: httpx.AsyncClient, sweep: Sweep) -> None:
        dots, line = (await got(http, "figures/best"))["data"]
        points = (await got(http, "best-so-far"))["points"]

        assert min(dots["y"]) == line["y"][-1] == points[-1][1] == pytest.approx(0.1056)
        assert sorted(line["y"], reverse=True) == line["y"]
        assert [list(pair) for pair in zip(line["x"], line["y"], strict=True)] == points
        assert points[-1][0] == 19

    async def test_rungs_say_why_in_words_and_without_markup(self, http: httpx.AsyncClient, sweep: Sweep) -> None:
        figure = await got(http, "figures/rungs")
        traces = {trace["name"]: trace for trace in figure["data"]}

        assert traces.keys() == {"cutoff", "went on", "stopped", "finished"}
        assert traces["stopped"]["customdata"][0] == 1
        assert traces["stopped"]["text"][0] == ("stopped at rung 1:<br>0.9, cutoff 0.5, rank 2 of 20, the best 6 go on")
        assert figure["layout"]["xaxis"]["ticktext"] == ["1<br>7 of 20", "3", "9"]

    async def test_curves_are_as_reported(self, http: httpx.AsyncClient, sweep: Sweep) -> None:
        figure = await got(http, "figures/curves")
        traces = {trace["name"]: trace for trace in figure["data"]}

        assert traces.keys() == {"rung 9", "rung 1, stopped"}
        assert traces["rung 9"]["y"][:9] == [loss_of(0, step) for step in range(1, 10)]
        assert traces["rung 9"]["y"][9] is None
        assert figure["layout"]["meta"]["note"] is None

    async def test_another_metric_and_other_axes(self, http: httpx.AsyncClient, sweep: Sweep) -> None:
        figure = await got(http, "figures/best", metric="size", log="y")
        assert figure["layout"]["yaxis"]["type"] == "log"
        assert figure["data"][0]["y"] == list(range(20))
        assert (await got(http, "figures/slice"))["layout"]["xaxis"]["type"] == "log"
        assert (await got(http, "figures/slice", log=""))["layout"]["xaxis"]["type"] == "linear"

    async def test_a_metric_by_its_column(self, http: httpx.AsyncClient, store: Store) -> None:
        """One that has the name of a parameter: in the table it has another."""
        sweep = swept(store)
        store.write(Batch(sweep_id=sweep.id, trials=[trial(sweep, 0, metrics={"loss": 0.5, "lr": 3.0}, value=0.5)]))

        (dots, *_) = (await got(http, "figures/best", metric="metrics/lr"))["data"]

        assert dots["y"] == [3.0]

    async def test_parallel_says_how_a_brush_becomes_a_filter(self, http: httpx.AsyncClient, sweep: Sweep) -> None:
        figure = await got(http, "figures/parallel")
        names = [dimension["name"] for dimension in figure["data"][0]["dimensions"]]
        about = figure["layout"]["meta"]["dimensions"]

        assert names == ["lr", "optimizer", "momentum", "model/depth", "value"]
        assert about["lr"] == {"expression": "lr", "log": True, "levels": None, "missing": None}
        assert about["optimizer"]["levels"] == ["sgd", "adam"]
        assert about["momentum"]["missing"] < 0

    async def test_importance_finds_what_matters(self, http: httpx.AsyncClient, store: Store) -> None:
        sweep = swept(store)
        trials = []
        for number in range(60):
            made = trial(sweep, number, state=TrialState.COMPLETED)
            trials.append(made.model_copy(update={"value": float(made.params["model/depth"])}))
        store.write(Batch(sweep_id=sweep.id, trials=trials))

        (bars,) = (await got(http, "figures/importance"))["data"]

        shares = dict(zip(bars["customdata"], bars["x"], strict=True))
        assert shares.keys() == {"lr", "optimizer", "momentum", "model/depth"}
        assert shares["model/depth"] > 0.9

    @pytest.mark.parametrize(
        ("name", "query", "says"),
        [
            ("best", {"metric": "los"}, "did you mean loss?"),
            ("best", {"metric": "note"}, "is no number"),
            ("curves", {"metric": "nothing"}, "there are loss"),
            ("slice", {"parameter": "deepth"}, "no column"),
            ("contour", {"parameter2": "optimiser"}, "did you mean optimizer?"),
            ("contour", {"parameter": "lr", "parameter2": "lr"}, "the other parameter too"),
            ("rungs", {"filter": "x <"}, "cannot be read"),
            ("importance", {"filter": "x"}, "no column"),
            ("best", {"log": "z"}, "log"),
            ("worst", {}, "name"),
        ],
    )
    async def test_say_what_is_wrong(
        self, http: httpx.AsyncClient, sweep: Sweep, name: str, query: dict[str, str], says: str
    ) -> None:
        answer = await http.get(f"/v1/sweeps/demo/figures/{name}", params=query)

        assert (answer.status_code, answer.json()["code"]) == (400, "malformed")
        assert says in answer.json()["detail"]

    async def test_are_not_sent_twice(self, http: httpx.AsyncClient, store: Store, sweep: Sweep) -> None:
        first = await http.get("/v1/sweeps/demo/figures/best")
        again = await http.get("/v1/sweeps/demo/figures/best", headers={"If-None-Match": first.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")

        store.write(Batch(sweep_id=sweep.id, trials=[trial(sweep, 20, value=0.01)]))

        newer = await http.get("/v1/sweeps/demo/figures/best", headers={"If-None-Match": first.headers["etag"]})
        assert newer.status_code == 200
        assert newer.json()["data"][1]["y"][-1] == 0.01


class TestColumnCache:
    def test_what_changes_is_seen_as_if_all_were_read(self, store: Store) -> None:
        sweep = swept(store)
        cache = ColumnCache(store)
        batches = [
            Batch(sweep_id=sweep.id, trials=[trial(sweep, 0), trial(sweep, 1)]),
            Batch(sweep_id=sweep.id, trials=[trial(sweep, 1, step=2, value=0.5)], results=[result(1, 2, 0.5)]),
            Batch(sweep_id=sweep.id, trials=[trial(sweep, 2, metrics={"loss": 0.1, "new": "text"}, reason="why")]),
            Batch(sweep_id=sweep.id, trials=[trial(sweep, 3, metrics={"loss": 0.1, "new": 3, "size": 1})]),
            Batch(sweep_id=sweep.id, trials=[trial(sweep, 0, state=TrialState.PRUNED, reason="else", step=4)]),
            Batch(sweep_id=sweep.id, trials=[trial(sweep, 9), trial(sweep, 4)]),
            Batch(sweep_id=sweep.id, trials=[trial(sweep, 7)]),  # between those that are there
        ]
        for batch in batches:
            store.write(batch)
            seen, fresh = (_shown(found.columns(sweep).columns) for found in (cache, ColumnCache(store)))
            assert seen == fresh
        store.set_sweep_state(sweep.id, SweepState.CANCELLED)  # ends its trials
        assert {row["state"] for row in _shown(cache.columns(sweep).columns)} == {"pruned", "cancelled"}

    def test_one_thread_reads_and_the_others_wait(
        self, store: Store, sweep: Sweep, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        reads = []
        changes = store.bulk.changes

        def counted(sweep_id: str, after: int | None) -> Any:
            reads.append(threading.get_ident())
            return changes(sweep_id, after)

        monkeypatch.setattr(store.bulk, "changes", counted)
        cache = ColumnCache(store)
        with ThreadPoolExecutor(8) as threads:
            found = list(threads.map(lambda _: cache.columns(sweep), range(32)))

        assert len(reads) == 1
        assert all(look is not None and look.columns is found[0].columns for look in found)

    def test_keeps_so_many_sweeps_and_bytes(self, store: Store) -> None:
        sweeps = [filled(store, swept(store)) for _ in range(4)]
        cache = ColumnCache(store, most_sweeps=2)
        for sweep in (*sweeps, sweeps[2]):
            cache.columns(sweep)
        assert cache.sweeps == [sweeps[3].id, sweeps[2].id]

        small = ColumnCache(store, most_bytes=1)
        for sweep in sweeps:
            assert len(small.columns(sweep).columns) == 20
            assert small.sweeps == [sweep.id]


def _shown(columns: Any) -> list[dict[str, Any]]:
    names = [name for name in columns.names() if name != "duration_s"]
    picked = [columns[name].pick(range(len(columns))) for name in names]
    rows = [dict(zip(names, row, strict=True)) for row in zip(*picked, strict=True)]
    return json.loads(json.dumps(rows))  # type: ignore[no-any-return]
