"""The page's files, as they are sent. What they show is for tests/browser."""

from __future__ import annotations

import gzip
import re
from pathlib import Path

import httpx
import pytest

from toprung.access import Scope
from toprung.serve.http.app import create_app
from toprung.serve.store import Store
from toprung.tuning.spec import parse_spec

PAGE = Path(__file__).parents[3] / "serve" / "page"
ADDRESSES = ["/", "/sweeps/digits-cnn", "/sweeps/a/trials/3", "/compare?sweeps=a,b", "/cluster", "/submit", "/login"]


@pytest.mark.parametrize("address", ADDRESSES)
async def test_each_address_is_the_page(http: httpx.AsyncClient, address: str) -> None:
    answer = await http.get(address)
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/html")
    assert answer.headers["cache-control"] == "no-cache"
    assert (await http.head(address)).headers["etag"] == answer.headers["etag"]


async def test_the_page_runs_no_script_but_its_own(http: httpx.AsyncClient) -> None:
    answer = await http.get("/")
    policy = answer.headers["content-security-policy"]
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["default-src"] == "'none'"
    assert rules["script-src"] == "'self' 'unsafe-eval'"
    assert rules["connect-src"] == "'self'"
    assert rules["frame-ancestors"] == "'none'"
    assert rules["base-uri"] == "'none'"
    assert not re.search(r"<script(?![^>]*\bsrc=)", answer.text), "a script stands in the page itself"
    assert not re.search(r"\s(on\w+|style)=", answer.text)
    assert not re.search(r"(src|href)=\"(?!/|#)", answer.text), "something comes from elsewhere"


def test_no_file_makes_html_of_text_nor_grows_too_long() -> None:
    for path in PAGE.rglob("*.js"):
        assert path.read_text().count("\n") <= 300, path.name
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write", path.read_text()), path.name


async def test_all_that_the_page_loads_is_there(http: httpx.AsyncClient) -> None:
    names = [path.relative_to(PAGE).as_posix() for path in PAGE.rglob("*") if path.suffix in (".js", ".css", ".svg")]
    assert {"style.css", "js/app.js", "js/views/sweeps.js"} <= set(names)
    for name in names:
        answer = await http.get(f"/static/{name}")
        assert answer.status_code == 200, name
        assert answer.content == (PAGE / name).read_bytes()
        if name.endswith(".js"):
            assert answer.headers["content-type"].startswith("text/javascript")
            for module in re.findall(r"""(?:from|import\()\s*["'](\.[^"']+)["']""", answer.text):
                found = (PAGE / name).parent / module
                assert found.is_file(), f"{name} imports {module}"


async def test_the_examples_that_it_offers_can_be_submitted_as_they_are(http: httpx.AsyncClient) -> None:
    names = re.findall(r'\["([\w/]+\.yaml)"', (PAGE / "js" / "views" / "submit.js").read_text())
    assert len(names) == 4
    for name in names:
        spec = (await http.get(f"/static/examples/{name}")).text
        assert parse_spec(spec).name
        answer = await http.post("/v1/sweeps:validate", content=spec, headers={"Content-Type": "application/yaml"})
        assert answer.status_code == 200, f"{name}: {answer.text}"


async def test_what_a_browser_has_is_not_sent_again(http: httpx.AsyncClient) -> None:
    for address in ("/", "/static/style.css", "/static/plotly.min.js"):
        etag = (await http.get(address)).headers["etag"]
        again = await http.get(address, headers={"If-None-Match": etag})
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", etag)
        assert (await http.get(address, headers={"If-None-Match": '"other"'})).status_code == 200


@pytest.mark.parametrize(
    ("accepted", "zipped"), [("gzip, br", True), ("*", True), ("identity", False), ("gzip;q=0", False), ("", False)]
)
async def test_gzip_for_those_who_take_it(http: httpx.AsyncClient, accepted: str, zipped: bool) -> None:
    async with http.stream("GET", "/static/style.css", headers={"Accept-Encoding": accepted}) as answer:
        raw = b"".join([chunk async for chunk in answer.aiter_raw()])
    assert answer.headers.get("content-encoding") == ("gzip" if zipped else None)
    assert answer.headers["vary"] == "Accept-Encoding"
    assert (gzip.decompress(raw) if zipped else raw) == (PAGE / "style.css").read_bytes()


async def test_plotly_is_kept_for_good_by_its_version(http: httpx.AsyncClient) -> None:
    page = (await http.get("/")).text
    version = re.search(r'name="plotly" content="([\d.]+)"', page)
    assert version is not None
    library = await http.get("/static/plotly.min.js", params={"v": version[1]})
    assert "immutable" in library.headers["cache-control"]
    assert library.headers["content-encoding"] == "gzip"
    assert len(library.content) > 1_000_000
    assert (await http.get("/static/plotly.min.js", params={"v": "0"})).headers["cache-control"] == "no-cache"


@pytest.mark.parametrize(
    "path",
    [
        "../http/app.py",
        "js/../../http/app.py",
        "%2e%2e/http/app.py",
        "..%2fhttp%2fapp.py",
        "/etc/passwd",
        "js/%00app.js",
        "index.html",
        "js",
        "",
    ],
)
async def test_nothing_outside_the_folder(store: Store, tmp_path: Path, path: str) -> None:
    transport = httpx.ASGITransport(create_app(store, tmp_path), raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport) as client:
        answer = await client.get(httpx.URL("http://localhost").copy_with(raw_path=f"/static/{path}".encode()))
    assert answer.status_code == 404
    assert answer.json()["code"] == "not_found"


async def test_strangers_may_have_the_page_and_nothing_else(store: Store, tmp_path: Path) -> None:
    store.create_token("alice", Scope.READ)
    transport = httpx.ASGITransport(create_app(store, tmp_path, auth=True), raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://head.example") as client:
        assert (await client.get("/sweeps/x")).status_code == 200
        assert (await client.get("/static/js/app.js")).status_code == 200
        assert (await client.get("/v1/sweeps")).status_code == 401
        assert (await client.post("/")).status_code == 405
