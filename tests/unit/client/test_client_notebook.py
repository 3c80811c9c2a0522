"""Sweeps in a notebook: what they show, and that a plain install misses it in words."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import nbformat
import pytest
import uvicorn
from nbclient import NotebookClient
from tests.integration.conftest import until
from tests.unit.client.client_help import Connect, answer, sweep
from tests.unit.serve.sweeps_help import filled, swept

from toprung.client import Client
from toprung.serve.http.app import create_app
from toprung.serve.store import Store
from toprung.tuning.records import SweepState

NAMES = ("best", "curves", "rungs", "parallel", "importance", "slice", "contour")


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    """A real service without a cluster, on a port of its own, with a sweep `demo` that has ended."""
    store = Store(f"sqlite:///{tmp_path}/toprung.db")
    filled(store, swept(store))
    store.set_sweep_state("demo", SweepState.SUCCEEDED)
    server = uvicorn.Server(uvicorn.Config(create_app(store, tmp_path), port=0, log_level="error"))
    thread = threading.Thread(target=server.run)
    thread.start()
    until(lambda: server.started, what="the server")
    port = server.servers[0].sockets[0].getsockname()[1]
    yield f"http://127.0.0.1:{port}"
    server.should_exit = True
    thread.join()
    store.close()


@pytest.mark.parametrize("name", NAMES)
def test_figures_are_those_of_the_page(url: str, name: str) -> None:
    with Client(url) as client:
        figure = getattr(client.sweep("demo").plot, name)(filter="number > 2", theme="dark")

    page = httpx.get(f"{url}/v1/sweeps/demo/figures/{name}", params={"filter": "number > 2", "theme": "dark"}).json()
    assert type(figure).__name__ == "Figure"
    assert json.loads(figure.to_json()) == page


def test_parameters_and_axes_are_passed_on(url: str) -> None:
    with Client(url) as client:
        figure = client.sweep("demo").plot.contour("model/depth", "lr", log="x", metric="size")

    assert figure.layout.meta["parameter2"] == "lr"
    assert (figure.layout.xaxis.type, figure.layout.yaxis.type) == ("log", "linear")


def test_a_data_frame_has_the_table(url: str) -> None:
    with Client(url) as client:
        frame = client.sweep("demo").to_dataframe(filter="optimizer == 'sgd'")

    assert frame.index.tolist() == [0, 3, 6, 9, 12, 15, 18]
    assert frame.index.name == "number"
    assert frame["value"].min() == pytest.approx(0.1056)
    assert frame["momentum"].dtype == float
    assert frame["state"].unique().tolist() == ["completed"]


def test_a_notebook_really_runs(url: str) -> None:
    cells = [
        f"from toprung import Client; sweep = Client({url!r}).sweep('demo')",
        "sweep",
        "sweep.watch(k=2)\nprint(sweep.state)",
        "sweep.plot.rungs()",
        "sweep.to_dataframe().head(2)",
    ]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])

    NotebookClient(notebook, timeout=120, kernel_name="python3").execute()

    _, shown, watched, plotted, frame = [cell.outputs for cell in notebook.cells]
    assert "succeeded" in shown[0].data["text/html"]
    assert watched[0].data["text/html"].count("<tr>") == 3
    assert watched[1].text == "succeeded\n"
    assert plotted[0].data["application/vnd.plotly.v1+json"]["layout"]["meta"]["name"] == "rungs"
    assert "<table" in frame[0].data["text/html"]


@pytest.mark.parametrize(
    ("use", "package"),
    [
        (lambda handle: handle.plot.rungs(), "plotly"),
        (lambda handle: handle.to_dataframe(), "pandas"),
        (lambda handle: handle.watch(), "IPython"),
    ],
)
def test_a_plain_install_says_what_is_missing(
    connect: Connect, monkeypatch: pytest.MonkeyPatch, use: Callable[[Any], Any], package: str
) -> None:
    handle = connect(lambda request: answer(sweep())).sweep("digits")
    for module in [name for name in sys.modules if name.partition(".")[0] == package]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, package, None)

    with pytest.raises(ImportError, match=rf'This needs {package}: pip install "toprung\[notebook\]"'):
        use(handle)


def test_the_summary_escapes_what_users_have_named(connect: Connect) -> None:
    record = sweep(state=SweepState.FAILED, reason="<script>alert(1)</script> & more")
    handle = connect(lambda request: answer(record)).sweep("digits")

    shown = handle._repr_html_()

    assert "<script>" not in shown
    assert "&lt;script&gt;alert(1)&lt;/script&gt; &amp; more" in shown
