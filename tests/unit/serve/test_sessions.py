"""The cookies of a browser's session."""

from __future__ import annotations

import pytest

from toprung.serve.http.sessions import SESSION_S, Sessions

TOKEN_ID = "tpr_3k9x0m7a2b5c"


def test_a_cookie_says_whose_it_is_until_it_ends() -> None:
    sessions = Sessions()
    cookie = sessions.begin(TOKEN_ID, now=1000.0)

    assert sessions.token_id(cookie, now=1000.0) == TOKEN_ID
    assert sessions.token_id(cookie, now=999.0 + SESSION_S) == TOKEN_ID
    assert sessions.token_id(cookie, now=1000.0 + SESSION_S) is None


def test_one_who_logged_out_needs_another() -> None:
    sessions = Sessions()
    cookie, other = sessions.begin(TOKEN_ID, now=1000.0), sessions.begin(TOKEN_ID, now=1000.0)
    sessions.end(cookie, now=1001.0)
    sessions.end("nonsense", now=1001.0)

    assert cookie != other
    assert sessions.token_id(cookie, now=1002.0) is None
    assert sessions.token_id(other, now=1002.0) == TOKEN_ID


def test_one_of_another_process_does_not_count() -> None:
    assert Sessions().token_id(Sessions().begin(TOKEN_ID)) is None


@pytest.mark.parametrize(
    "change",
    [
        lambda cookie: cookie.replace("tpr_3", "tpr_4"),
        lambda cookie: cookie.replace(".9", ".99", 1),
        lambda cookie: cookie[:-1] + ("0" if cookie[-1] != "0" else "1"),
        lambda cookie: cookie.rpartition(".")[0],
        lambda cookie: "",
        lambda cookie: "é.1.x",
        lambda cookie: "..",
    ],
)
def test_a_forged_one_does_not_count(change: object) -> None:
    sessions = Sessions()
    cookie = sessions.begin(TOKEN_ID, now=9e9)
    assert sessions.token_id(cookie) == TOKEN_ID
    forged = change(cookie)  # type: ignore[operator]

    assert forged != cookie
    assert sessions.token_id(forged) is None
