"""Who gets in to the pages: cookies, forms of other sites, and what becomes of a token that is revoked."""

from __future__ import annotations

import hashlib
import logging
import os
import stat
import threading
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import select

from kernel_gateway.api import create_app, sessions
from kernel_gateway.api.pages import login
from kernel_gateway.api.service import KEY
from kernel_gateway.api.sessions import signing_key
from kernel_gateway.errors import StorageError
from kernel_gateway.store.models import logins
from tests.api.conftest import Service

from .conftest import Reader

ReaderWith = Callable[[str], Reader]

PAGES = [
    "/",
    "/runs/fragment",
    "/runs/{id}",
    "/runs/{id}/fragment",
    "/runs/{id}/report/style.css",
    "/compare?runs={id}",
]


@pytest.fixture(autouse=True)
def no_earlier_failures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(login, "failures", login.Failures())
    monkeypatch.setattr(login, "FAILURE_SECONDS", 0.0)


@pytest.mark.parametrize("path", PAGES)
def test_a_page_leads_to_the_login_and_back(service: Service, reader: Reader, path: str) -> None:
    path = path.format(id=service.new_run())
    stranger = service.app.test_client()

    answer = stranger.get(path)

    if path.partition("?")[0].endswith("/fragment"):
        assert (answer.status_code, answer.data) == (401, b"")
        return
    assert answer.status_code == 303
    form = stranger.get(answer.headers["Location"]).text
    assert f'name="next" value="{path}"' in form
    again = stranger.post("/login", data={"token": service.token, "next": path})
    assert (again.status_code, again.headers["Location"]) == (303, path)
    assert stranger.get(path).status_code == reader.get(path).status_code == 200


def test_the_cookie_is_strict_not_for_scripts_and_holds_no_token(service: Service) -> None:
    answer = service.client.post("/login", data={"token": service.token})

    cookie = answer.headers["Set-Cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Strict" in cookie
    assert "Path=/" in cookie
    assert "Expires=" in cookie
    assert "Secure" not in cookie
    assert service.token not in cookie
    over_tls = service.app.test_client().post(
        "/login", data={"token": service.token}, base_url="https://gateway.example.org"
    )
    assert "Secure" in over_tls.headers["Set-Cookie"]


def test_a_revoked_token_ends_its_sessions_at_once(service: Service, reader_with: ReaderWith) -> None:
    reader = reader_with("read")
    assert reader.get("/").status_code == 200

    service.gateway.tokens.revoke("read")

    assert reader.get("/").status_code == 303
    assert reader.get("/runs/fragment").status_code == 401
    assert reader.get("/api/v1/runs").status_code == 401


def test_a_cookie_that_was_changed_or_comes_from_another_gateway_counts_for_nothing(
    service: Service, reader: Reader
) -> None:
    cookie = reader.cookie
    stranger = service.app.test_client()

    stranger.set_cookie(cookie.key, cookie.value[:-3] + "AAA")
    assert stranger.get("/").status_code == 303
    stranger.set_cookie(cookie.key, cookie.value)
    assert stranger.get("/").status_code == 200
    (service.data.root / "session.key").write_bytes(os.urandom(32))
    service.app.secret_key = None
    assert stranger.get("/").status_code == 303


def test_all_workers_share_a_key_that_only_the_services_user_can_read(service: Service, reader: Reader) -> None:
    key = service.data.root / "session.key"
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    other = create_app(service.settings)
    cookie = reader.cookie
    client = other.test_client()
    client.set_cookie(cookie.key, cookie.value)

    assert client.get("/").status_code == 200

    other.extensions[KEY].close()


def test_workers_that_make_the_key_at_once_agree_on_it(tmp_path: Path) -> None:
    start = threading.Barrier(8)
    keys = []

    def make() -> None:
        start.wait()
        keys.append(signing_key(tmp_path / "session.key"))

    threads = [threading.Thread(target=make) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(set(keys)) == 1
    assert len(keys) == 8
    assert [path.name for path in tmp_path.iterdir()] == ["session.key"]
    with pytest.raises(StorageError, match="can't be kept"):
        signing_key(tmp_path / "missing" / "session.key")


@pytest.mark.parametrize("left", [b"", b"half a key"])
def test_a_key_that_is_not_whole_signs_nothing(tmp_path: Path, left: bytes) -> None:
    (tmp_path / "session.key").write_bytes(left)

    with pytest.raises(StorageError, match=r"is damaged. Remove session.key from the data folder"):
        signing_key(tmp_path / "session.key")

    assert [path.name for path in tmp_path.iterdir()] == ["session.key"]


def test_logging_out_forgets_the_cookie(reader: Reader) -> None:
    answer = reader.press("/logout")

    assert answer.headers["Location"] == "/login"
    assert reader.get("/").status_code == 303


def test_every_failed_login_is_told_in_the_same_words_and_no_token_is_logged(
    service: Service, caplog: pytest.LogCaptureFixture
) -> None:
    expired = service.new_token("read")
    service.gateway.tokens.revoke("read")
    pages = set()

    with caplog.at_level(logging.DEBUG):
        for token in ("", "kg_wrong", "Bearer x", expired, "x" * 5000, "\0", "é"):
            answer = service.client.post("/login", data={"token": token})
            assert answer.status_code == 401
            pages.add(answer.text)

    assert len(pages) == 1
    assert login.REFUSED in pages.pop()
    assert expired not in caplog.text


def test_a_failed_login_takes_its_time(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    monkeypatch.setattr(login, "FAILURE_SECONDS", 5.0)
    monkeypatch.setattr("kernel_gateway.api.pages.login.time.sleep", slept.append)

    service.client.post("/login", data={"token": "x"})
    service.client.post("/login", data={"token": "kg_" + "A" * 43})

    assert len(slept) == 2
    assert all(0 < seconds <= 5 for seconds in slept)


def test_who_fails_again_and_again_has_to_wait_and_others_do_not(service: Service) -> None:
    for _ in range(login.FAILURES):
        assert service.client.post("/login", data={"token": "x"}).status_code == 401

    refused = service.client.post("/login", data={"token": service.token})

    assert refused.status_code == 429
    assert int(refused.headers["Retry-After"]) > 0
    elsewhere = {"REMOTE_ADDR": "192.0.2.7"}
    assert service.client.post("/login", data={"token": service.token}, environ_base=elsewhere).status_code == 303


def test_the_failures_of_many_addresses_are_forgotten_in_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(login, "ADDRESSES", 3)
    failures = login.Failures()
    for _ in range(login.FAILURES):
        failures.add("first")
    assert failures.wait("first") > 0
    for number in range(3):
        failures.add(str(number))

    assert failures.wait("first") == 0


@pytest.mark.parametrize(
    "wanted",
    [
        *("https://evil.example", "//evil.example", "/\\evil.example", "\\\\evil.example", "javascript:alert(1)"),
        *("/\nevil", "///evil.example", "evil", "http:/evil", "/%0d%0a" + "x" * 3000, "", "//[", "/login", "/logout"),
        *("/runs/fragment", "/runs/x/cancel", " /x", "\t//evil.example", "data:text/html,x"),
    ],
)
def test_the_login_leads_nowhere_else(service: Service, wanted: str) -> None:
    answer = service.app.test_client().post("/login", data={"token": service.token, "next": wanted})

    assert (answer.status_code, answer.headers["Location"]) == (303, "/")


@pytest.mark.parametrize("wanted", ["/runs/x", "/compare?runs=a,b", "/?name=a&status=failed", "/?text=%2F%2Fx"])
def test_the_login_leads_on_to_the_page_that_was_wanted(service: Service, wanted: str) -> None:
    assert login.safe_next(wanted) == wanted


def test_a_link_from_another_site_gets_a_second_step_in_which_the_cookie_comes_along(
    service: Service, reader: Reader
) -> None:
    first = service.app.test_client().get("/login?next=/runs/x", headers={"Sec-Fetch-Site": "cross-site"}).text
    assert 'http-equiv="refresh" content="0; url=/login?next=%2Fruns%2Fx&amp;here=1"' in first

    second = reader.get("/login?next=/runs/x&here=1", headers={"Sec-Fetch-Site": "same-origin"})

    assert second.headers["Location"] == "/runs/x"
    assert "refresh" not in service.app.test_client().get("/login?next=/runs/x&here=1").text
    by_referrer = service.app.test_client().get("/login", headers={"Referer": "https://ci.example.org/job/1/"}).text
    assert "refresh" in by_referrer
    odd = service.app.test_client().get("/login", headers={"Referer": "http://[no-address"})
    assert (odd.status_code, "refresh" in odd.text) == (200, True)


# -- forms of other sites --------------------------------------------------------------------------------


FORMS = ["/logout", "/runs/{id}/cancel", "/runs/{id}/rerun"]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    ("data", "headers"),
    [
        ({}, {}),
        ({"csrf": ""}, {}),
        ({"csrf": "guessed"}, {"Sec-Fetch-Site": "same-origin"}),
        (None, {"Sec-Fetch-Site": "cross-site"}),
        (None, {"Sec-Fetch-Site": "same-site"}),
        (None, {"Origin": "https://evil.example"}),
        (None, {"Origin": "null"}),
        (None, {"Origin": "http://[no-address"}),
    ],
)
def test_a_form_of_another_site_changes_nothing(
    service: Service, reader: Reader, form: str, data: dict[str, str] | None, headers: dict[str, str]
) -> None:
    id = service.new_run()
    data = {"csrf": reader.csrf} if data is None else data

    answer = reader.client.post(form.format(id=id), data=data, headers=headers)

    assert answer.status_code == 403
    assert "<h1>" in answer.text
    assert not service.gateway.run(id).cancel_requested
    assert len(service.gateway.runs.list()[0]) == 1
    assert reader.get("/").status_code == 200


def test_a_form_of_an_earlier_login_is_refused(service: Service, reader: Reader) -> None:
    id, earlier = service.new_run(), reader.csrf
    reader.client.post("/login", data={"token": service.token})

    assert reader.client.post(f"/runs/{id}/cancel", data={"csrf": earlier}).status_code == 403
    assert reader.press(f"/runs/{id}/cancel").status_code == 303


def test_another_site_can_not_log_anybody_in(service: Service) -> None:
    answer = service.client.post("/login", data={"token": service.token}, headers={"Origin": "https://evil.example"})

    assert answer.status_code == 403
    assert "Set-Cookie" not in answer.headers


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/api/v1/runs"),
        ("POST", "/api/v1/runs/{id}/cancel"),
        ("POST", "/api/v1/runs/{id}/rerun"),
        ("POST", "/api/v1/blobs/missing"),
        ("PUT", f"/api/v1/blobs/{'0' * 64}"),
    ],
)
def test_a_cookie_changes_nothing_by_the_api_not_even_with_the_forms_secret(
    service: Service, reader: Reader, method: str, path: str
) -> None:
    id = service.new_run()

    answer = reader.client.open(path.format(id=id), method=method, data={"csrf": reader.csrf})

    assert answer.status_code == 401
    assert not service.gateway.run(id).cancel_requested


def test_a_cookie_reads_by_the_api_what_its_token_may(service: Service, reader_with: ReaderWith) -> None:
    id = service.new_run()
    reader = reader_with("read")

    assert reader.get(f"/api/v1/runs/{id}").get_json()["id"] == id
    assert reader.get(f"/api/v1/runs/{id}/record").status_code == 200


def test_a_bad_token_in_the_header_is_not_made_good_by_a_cookie(reader: Reader) -> None:
    assert reader.get("/api/v1/runs", headers={"Authorization": "Bearer kg_wrong"}).status_code == 401


def test_who_may_only_read_sees_no_buttons_and_can_not_press_them(service: Service, reader_with: ReaderWith) -> None:
    id = service.new_run()
    reader = reader_with("read")

    assert f'action="/runs/{id}/' not in reader.page(f"/runs/{id}")
    for action in ("cancel", "rerun"):
        answer = reader.press(f"/runs/{id}/{action}")
        assert answer.status_code == 403
        assert "lacks the scope" in answer.text
    assert f'action="/runs/{id}/cancel"' in reader_with("run").page(f"/runs/{id}")


def test_a_copy_of_the_cookie_counts_no_more_after_logging_out(service: Service, reader: Reader) -> None:
    copy, elsewhere = service.app.test_client(), Reader(service)
    copy.set_cookie(reader.cookie.key, reader.cookie.value)
    assert copy.get("/").status_code == 200

    reader.press("/logout")

    assert copy.get("/").status_code == 303
    assert copy.get("/api/v1/runs").status_code == 401
    assert elsewhere.get("/").status_code == 200


def test_the_database_holds_no_login_that_could_be_used_and_none_that_is_over(
    service: Service, reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sessions, "LIFE", timedelta(seconds=-1))
    over = service.app.test_client()
    assert over.post("/login", data={"token": service.token}).status_code == 303
    assert over.get("/").status_code == 303
    Reader(service)
    with service.gateway.engine.connect() as connection:
        rows = connection.execute(select(logins)).all()

    assert len(rows) == 2
    signer = sessions.Sessions().get_signing_serializer(service.app)
    assert signer is not None
    cookie = signer.loads(reader.cookie.value)
    assert hashlib.sha256(cookie["login"].encode()).hexdigest() in {row.digest for row in rows}
    assert cookie["login"] not in str(rows)
