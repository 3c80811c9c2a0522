"""Access control: who gets in, who may do what, and what is written down about it."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from toprung.access import Scope
from toprung.serve.store import Store

YAML = {"Content-Type": "application/yaml"}
SPEC = """\
trainable: train:train
metric: {name: loss, goal: minimize}
parameters: {x: {type: float, low: 0.0, high: 1.0}}
budget: {trials: 3}
"""
OPEN = {"/healthz", "/readyz"}
READ_ONLY_POST = {"/v1/sweeps:validate"}


def bearer(store: Store, owner: str, scope: Scope = Scope.WRITE) -> dict[str, str]:
    return {"Authorization": f"Bearer {store.create_token(owner, scope).token}"}


async def submitted(http: httpx.AsyncClient, headers: dict[str, str]) -> dict[str, Any]:
    answer = await http.post("/v1/sweeps", content=SPEC, headers=YAML | headers)
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


async def routes(http: httpx.AsyncClient) -> list[tuple[str, str]]:
    """Method and path of each, with something in the places of parameters."""
    document = (await http.get("/openapi.json")).json()
    places = {"{number}": "0", "{sha256}": "0" * 64}
    return [
        (method.upper(), re.sub(r"\{\w+\}", lambda match: places.get(match[0], "some"), path))
        for path, operations in document["paths"].items()
        for method in operations
    ]


class TestTokens:
    async def test_every_route_but_the_probes_asks_for_one(self, guarded: httpx.AsyncClient) -> None:
        found = await routes(guarded)
        assert len(found) > 20
        for method, path in found:
            answer = await guarded.request(method, path)

            if path in OPEN:
                assert answer.status_code == 200, path
                continue
            problem = answer.json()
            assert (answer.status_code, problem["code"]) == (401, "unauthorized"), (method, path)
            assert answer.headers["www-authenticate"] == "Bearer"
            assert answer.headers["content-type"] == "application/problem+json"
            assert problem["request_id"] == answer.headers["x-request-id"]
            assert "TOPRUNG_TOKEN" in problem["detail"]

    async def test_the_document_says_so(self, guarded: httpx.AsyncClient) -> None:
        document = (await guarded.get("/openapi.json")).json()

        assert document["components"]["securitySchemes"]["token"]["scheme"] == "bearer"
        for path, operations in document["paths"].items():
            for operation in operations.values():
                assert bool(operation.get("security")) is (path not in OPEN), path

    async def test_one_that_is_not_known_does_not_count(self, guarded: httpx.AsyncClient, store: Store) -> None:
        good = store.create_token("alice", Scope.ADMIN)
        revoked = store.create_token("alice", Scope.ADMIN)
        store.revoke_token(revoked.id)
        other = "0" if good.token[-1] != "0" else "1"
        given = ["nonsense", good.id, good.token[:-1] + other, good.token + "0", revoked.token, "é\0"]
        for token in given:
            answer = await guarded.get("/v1/sweeps", headers={b"Authorization": b"Bearer " + token.encode("latin-1")})

            assert answer.status_code == 401, token
            assert token not in answer.text
        assert (await guarded.get("/v1/sweeps", headers={"Authorization": f"Basic {good.token}"})).status_code == 401
        assert (await guarded.get("/v1/sweeps", headers={"Authorization": f"bearer {good.token}"})).status_code == 200

    async def test_a_stranger_is_not_listened_to(self, guarded: httpx.AsyncClient) -> None:
        """No body is read, no parameter looked at, before it is known who sends it."""
        read: list[bytes] = []

        async def body() -> AsyncIterator[bytes]:
            read.append(b"{" * 1000)
            yield read[-1]

        for path in ("/v1/sweeps", "/v1/tokens"):
            answer = await guarded.post(path, content=body(), headers={"Content-Type": "application/json"})
            assert answer.status_code == 401
        assert (await guarded.get("/v1/sweeps?limit=0")).status_code == 401
        assert read == []

    @pytest.mark.parametrize(
        ("body", "pointer", "said"),
        [
            ({"owner": "a b", "scope": "read"}, "/owner", "visible ASCII characters without spaces"),
            ({"owner": "", "scope": "read"}, "/owner", "alice@example.org"),
            ({"owner": "alice", "scope": "root"}, "/scope", "'read', 'write' or 'admin'"),
            ({"owner": "alice"}, "/scope", "is missing"),
            ({"owner": "alice", "scope": "read", "days": 3}, "/days", "is not a parameter"),
            ("{", "", "Invalid JSON"),
        ],
    )
    async def test_a_wrong_request_for_one(
        self, guarded: httpx.AsyncClient, store: Store, body: Any, pointer: str, said: str
    ) -> None:
        text = body if isinstance(body, str) else json.dumps(body)
        headers = bearer(store, "root", Scope.ADMIN) | {"Content-Type": "application/json"}

        answer = await guarded.post("/v1/tokens", content=text, headers=headers)

        assert answer.status_code == 400
        (problem,) = answer.json()["errors"]
        assert problem["pointer"] == pointer
        assert said in problem["message"]
        assert len(store.list_tokens()) == 1

    async def test_one_is_made_used_and_revoked(self, guarded: httpx.AsyncClient, store: Store) -> None:
        admin = bearer(store, "root", Scope.ADMIN)
        answer = await guarded.post("/v1/tokens", json={"owner": "alice", "scope": "write"}, headers=admin)
        made = answer.json()
        assert (answer.status_code, answer.headers["cache-control"]) == (201, "no-store")
        assert re.fullmatch(r"tpr_[0-9a-z]{12}_[0-9a-f]{64}", made["token"])
        assert made["token"].startswith(made["id"])
        alice = {"Authorization": f"Bearer {made['token']}"}
        assert (await submitted(guarded, alice))["owner"] == "alice"

        listed = await guarded.get("/v1/tokens", headers=admin)
        gone = await guarded.delete(f"/v1/tokens/{made['id']}", headers=admin)
        again = await guarded.delete(f"/v1/tokens/{made['id']}", headers=admin)

        assert [(token["owner"], token["scope"]) for token in listed.json()["items"]] == [
            ("root", "admin"),
            ("alice", "write"),
        ]
        assert made["token"] not in listed.text
        assert gone.json()["revoked_at"] == again.json()["revoked_at"] != None  # noqa: E711
        assert (await guarded.get("/v1/sweeps", headers=alice)).status_code == 401

    async def test_a_whole_token_in_the_path_is_not_repeated(self, guarded: httpx.AsyncClient, store: Store) -> None:
        unknown = f"tpr_{'0' * 12}_{'1' * 64}"
        answer = await guarded.delete(f"/v1/tokens/{unknown}", headers=bearer(store, "root", Scope.ADMIN))

        assert answer.status_code == 404
        assert "tpr_000000000000" in answer.json()["detail"]
        assert "1111" not in answer.text

    async def test_without_access_control_there_are_none(self, http: httpx.AsyncClient, store: Store) -> None:
        body = {"owner": "alice", "scope": "admin"}
        answers = [
            await http.post("/v1/tokens", json=body),
            await http.get("/v1/tokens"),
            await http.delete("/v1/tokens/tpr_000000000000"),
        ]

        assert [(answer.status_code, "--auth" in answer.json()["detail"]) for answer in answers] == [(409, True)] * 3
        assert store.list_tokens() == []


class TestScopes:
    async def test_read_changes_nothing(self, guarded: httpx.AsyncClient, store: Store) -> None:
        reader = bearer(store, "alice", Scope.READ)
        for method, path in await routes(guarded):
            if method == "GET" or path in READ_ONLY_POST:
                continue
            answer = await guarded.request(method, path, headers=reader)

            assert (answer.status_code, answer.json()["code"]) == (403, "forbidden"), (method, path)
            assert "toprung token create" in answer.json()["detail"]

    @pytest.mark.parametrize("path", ["/metrics", "/v1/version", "/v1/schema", "/v1/sweeps"])
    async def test_read_sees(self, guarded: httpx.AsyncClient, store: Store, path: str) -> None:
        assert (await guarded.get(path, headers=bearer(store, "alice", Scope.READ))).status_code == 200

    async def test_tokens_are_an_admins(self, guarded: httpx.AsyncClient, store: Store) -> None:
        for method, path in (("GET", "/v1/tokens"), ("POST", "/v1/tokens"), ("DELETE", "/v1/tokens/tpr_0")):
            answer = await guarded.request(method, path, headers=bearer(store, "alice"))
            assert answer.status_code == 403, (method, path)


class TestOwners:
    @pytest.fixture
    def others(self, store: Store) -> dict[str, dict[str, str]]:
        return {
            "bob": bearer(store, "bob"),
            "alice reads": bearer(store, "alice", Scope.READ),
            "root": bearer(store, "root", Scope.ADMIN),
        }

    @pytest.mark.parametrize("action", ["cancel", "pause", "resume"])
    async def test_a_sweep_is_its_owners(
        self, guarded: httpx.AsyncClient, store: Store, others: dict[str, dict[str, str]], action: str
    ) -> None:
        sweep = await submitted(guarded, bearer(store, "alice"))
        if action == "resume":
            store.request_pause(sweep["id"])
        before = store.get_sweep(sweep["id"])
        path = f"/v1/sweeps/{sweep['name']}:{action}"

        refused = await guarded.post(path, headers=others["bob"])

        assert refused.status_code == 403
        assert "belongs to alice, and your token is bob's" in refused.json()["detail"]
        assert (await guarded.post(path, headers=others["alice reads"])).status_code == 403
        assert store.get_sweep(sweep["id"]) == before
        assert (await guarded.get(f"/v1/sweeps/{sweep['id']}", headers=others["bob"])).status_code == 200
        # another token of hers will do
        assert (await guarded.post(path, headers=bearer(store, "alice"))).status_code == 202

    @pytest.mark.parametrize("owner", ["alice", None])
    async def test_an_admin_may_change_all(
        self, guarded: httpx.AsyncClient, store: Store, others: dict[str, dict[str, str]], owner: str | None
    ) -> None:
        spec = store.get_sweep((await submitted(guarded, others["bob"]))["id"]).spec
        sweep, _ = store.create_sweep(spec, name="old", num_trials=3, owner=owner)

        assert (await guarded.post(f"/v1/sweeps/{sweep.id}:cancel", headers=others["bob"])).status_code == 403
        assert (await guarded.post(f"/v1/sweeps/{sweep.id}:cancel", headers=others["root"])).status_code == 202

    async def test_a_listing_of_one_owner(self, guarded: httpx.AsyncClient, store: Store) -> None:
        alice = bearer(store, "alice")
        mine = await submitted(guarded, alice)
        await submitted(guarded, bearer(store, "bob"))

        found = [
            [sweep["id"] for sweep in (await guarded.get("/v1/sweeps", params=params, headers=alice)).json()["items"]]
            for params in ({"owner": "alice"}, {"owner": "carol"}, {"owner": "\0"})
        ]

        assert found == [[mine["id"]], [], []]

    async def test_an_idempotency_key_is_its_owners(self, guarded: httpx.AsyncClient, store: Store) -> None:
        headers = YAML | {"Idempotency-Key": "once"}
        alice = headers | bearer(store, "alice")
        first = await guarded.post("/v1/sweeps", content=SPEC, headers=alice)
        again = await guarded.post("/v1/sweeps", content=SPEC, headers=alice)
        other = await guarded.post("/v1/sweeps", content=SPEC, headers=headers | bearer(store, "bob"))

        assert (first.status_code, again.status_code, other.status_code) == (201, 200, 409)
        assert first.json()["id"] not in other.text

    async def test_without_access_control_nobody_is(self, http: httpx.AsyncClient, store: Store) -> None:
        """A token is not asked for, so what it says is not believed."""
        sweep = await submitted(http, bearer(store, "alice"))

        assert sweep["owner"] is None
        assert (await http.post(f"/v1/sweeps/{sweep['id']}:cancel")).status_code == 202


class TestBrowsers:
    async def test_any_name_will_do_with_a_token(self, guarded: httpx.AsyncClient, store: Store) -> None:
        headers = bearer(store, "alice") | {"Host": "tune.example"}

        assert (await guarded.get("/v1/sweeps", headers=headers)).status_code == 200
        foreign = await guarded.post("/v1/sweeps", content=SPEC, headers=YAML | headers | {"Origin": "http://evil"})
        assert (foreign.status_code, foreign.json()["code"]) == (403, "cross_site")

    async def test_without_tokens_only_names_of_this_machine_do(self, http: httpx.AsyncClient, store: Store) -> None:
        answer = await http.get("/v1/sweeps", headers=bearer(store, "alice") | {"Host": "head.example:8000"})

        assert (answer.status_code, answer.json()["code"]) == (421, "misdirected_request")
        assert "toprung up --auth" in answer.json()["detail"]


class TestAuditLog:
    @staticmethod
    def lines(home: Path) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (home / "audit.jsonl").read_text().splitlines()]

    async def test_says_who_did_what_to_what(self, guarded: httpx.AsyncClient, store: Store, tmp_path: Path) -> None:
        alice, bob, root = bearer(store, "alice"), bearer(store, "bob"), bearer(store, "root", Scope.ADMIN)
        ids = [token.id for token in store.list_tokens()]
        sweep = await submitted(guarded, alice | {"X-Request-Id": "req_1"})
        await guarded.post(f"/v1/sweeps/{sweep['name']}:cancel", headers=bob | {"X-Request-Id": "req_2"})
        await guarded.post("/v1/sweeps/none:pause", headers=root | {"X-Request-Id": "req_3"})
        made = await guarded.post(
            "/v1/tokens", json={"owner": "carol", "scope": "read"}, headers=root | {"X-Request-Id": "req_4"}
        )

        found = self.lines(tmp_path)

        assert all(line.pop("at").endswith("+00:00") for line in found)
        assert [tuple(line.values()) for line in found] == [
            ("req_1", "alice", ids[0], sweep["id"], "submitSweep", 201),
            ("req_2", "bob", ids[1], sweep["id"], "cancelSweep", 403),
            ("req_3", "root", ids[2], None, "pauseSweep", 404),
            ("req_4", "root", ids[2], made.json()["id"], "createToken", 201),
        ]
        assert list(found[0]) == ["request_id", "owner", "token", "target", "action", "status"]
        assert (tmp_path / "audit.jsonl").stat().st_mode & 0o777 == 0o600

    async def test_leaves_out_what_changes_nothing(
        self, guarded: httpx.AsyncClient, store: Store, tmp_path: Path
    ) -> None:
        root = bearer(store, "root", Scope.ADMIN)
        await guarded.get("/v1/tokens", headers=root)
        await guarded.post("/v1/sweeps:validate", content=SPEC, headers=YAML | root)
        await guarded.post("/v1/sweeps", content=SPEC, headers=YAML)  # from nobody

        assert not (tmp_path / "audit.jsonl").exists()

    async def test_is_kept_without_access_control_too(self, http: httpx.AsyncClient, tmp_path: Path) -> None:
        sweep = await submitted(http, {})

        (line,) = self.lines(tmp_path)
        assert (line["owner"], line["token"], line["target"]) == (None, None, sweep["id"])

    async def test_that_cannot_be_written_holds_nobody_up(
        self, http: httpx.AsyncClient, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        (tmp_path / "audit.jsonl").mkdir()
        sweep = await submitted(http, {})

        assert "cannot be written" in caplog.text
        assert sweep["id"] in caplog.text


async def test_a_token_is_nowhere_but_with_its_owner(
    guarded: httpx.AsyncClient, store: Store, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    root = store.create_token("root", Scope.ADMIN)
    headers = {"Authorization": f"Bearer {root.token}"}
    sweep = await submitted(guarded, headers)
    said = [
        await guarded.post(f"/v1/sweeps/{sweep['id']}:cancel", headers=headers),
        await guarded.get(f"/v1/sweeps/{sweep['id']}/events", headers=headers),
        await guarded.get("/v1/tokens", headers=headers),
        await guarded.post("/v1/tokens", json={"owner": "a b", "scope": "read"}, headers=headers),
        await guarded.post("/v1/sweeps", content="a: [", headers=YAML | headers),
        await guarded.get("/metrics", headers=headers),
        await guarded.delete(f"/v1/tokens/{root.token}", headers=headers),
        await guarded.get("/v1/sweeps", headers=headers),
    ]
    assert said[-1].status_code == 401

    secret = root.token.removeprefix(root.id + "_")
    kept = {path.name: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert {"toprung.db", "audit.jsonl"} <= set(kept)
    assert any(root.id.encode() in content for content in kept.values()), "what is looked for would be found"
    assert [name for name, content in kept.items() if secret.encode() in content] == []
    assert all(secret not in answer.text + str(answer.headers) for answer in said)
    logged = [record for record in caplog.records if record.name.startswith("toprung")]
    assert all(secret not in record.getMessage() for record in logged)
    assert secret not in repr(root)
