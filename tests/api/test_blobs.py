"""Sending and fetching content by its digest: whole or not at all, once, and not more than is allowed."""

from __future__ import annotations

import hashlib
import io
import os
import threading
import time
from pathlib import Path

import pytest
from werkzeug.test import TestResponse

from .conftest import BASE, Service

CONTENT = b"some content of a workspace\n"


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def put(service: Service, content: bytes, digest: str | None = None) -> TestResponse:
    return service.call("PUT", f"/blobs/{digest or sha256(content)}", data=content)


def files(service: Service) -> list[Path]:
    return [path for path in service.data.blobs.rglob("*") if path.is_file()]


def test_a_blob_that_was_sent_can_be_fetched(service: Service) -> None:
    answer = put(service, CONTENT)

    assert (answer.status_code, answer.get_json()) == (201, {"sha256": sha256(CONTENT), "size": len(CONTENT)})
    fetched = service.get(f"/blobs/{sha256(CONTENT)}")
    assert (fetched.status_code, fetched.data) == (200, CONTENT)
    assert fetched.headers["Content-Disposition"].startswith("attachment")
    part = service.get(f"/blobs/{sha256(CONTENT)}", headers={"Range": "bytes=5-11"})
    assert (part.status_code, part.data) == (206, CONTENT[5:12])


def test_an_empty_blob_is_a_blob(service: Service) -> None:
    assert put(service, b"").status_code == 201
    assert service.get(f"/blobs/{sha256(b'')}").data == b""


def test_a_blob_sent_twice_is_kept_once_and_counts_as_new(service: Service) -> None:
    put(service, CONTENT)
    (kept,) = files(service)
    os.utime(kept, (1, 1))

    answer = put(service, CONTENT)

    assert (answer.status_code, answer.get_json()["size"]) == (200, len(CONTENT))
    assert files(service) == [kept]
    assert time.time() - kept.stat().st_mtime < 60


def test_content_with_another_digest_is_refused_and_leaves_nothing(service: Service) -> None:
    answer = put(service, CONTENT, sha256(b"other"))

    assert answer.status_code == 422
    assert sha256(CONTENT) in answer.get_json()["detail"]
    assert files(service) == []


@pytest.mark.parametrize("digest", ["x", "A" * 64, "0" * 63, "0" * 65, "..%2f" + "0" * 64])
def test_a_name_that_is_no_digest_is_refused(service: Service, digest: str) -> None:
    assert service.call("PUT", f"/blobs/{digest}", data=b"").status_code in (404, 422)
    assert service.get(f"/blobs/{digest}").status_code in (404, 422)
    assert files(service) == []


def test_a_blob_that_is_not_there_is_404(service: Service) -> None:
    assert service.get(f"/blobs/{'0' * 64}").status_code == 404


def test_a_blob_may_be_larger_than_other_bodies(service: Service) -> None:
    content = os.urandom(3 << 19)  # max_body_mb is 1, max_blob_mb 2

    assert put(service, content).status_code == 201
    too_large = put(service, os.urandom((2 << 20) + 1))
    assert too_large.status_code == 413
    assert too_large.content_type == "application/problem+json"
    assert "larger than the 2 MiB" in too_large.get_json()["detail"]
    assert "max_blob_mb" in too_large.get_json()["detail"]
    assert len(files(service)) == 1


def test_an_upload_without_a_length_is_held_to_the_same_limit(service: Service) -> None:
    def send(content: bytes) -> int:
        return service.call(
            "PUT",
            f"/blobs/{sha256(content)}",
            input_stream=io.BytesIO(content),
            environ_overrides={"wsgi.input_terminated": True},
            headers={"Transfer-Encoding": "chunked"},
        ).status_code

    assert send(CONTENT) == 201
    assert send(os.urandom((2 << 20) + 1)) == 413
    assert len(files(service)) == 1


class Broken:
    """A client that goes away in the middle of its upload."""

    def __init__(self, error: Exception | None) -> None:
        self._error = error
        self._left = 3

    def read(self, size: int = -1) -> bytes:
        self._left -= 1
        if self._left > 0:
            return b"x" * 1000
        if self._error is not None:
            raise self._error
        return b""


@pytest.mark.parametrize("error", [None, ConnectionResetError(), TimeoutError()], ids=str)
def test_an_upload_that_breaks_off_leaves_nothing(service: Service, error: Exception | None) -> None:
    environ = {"wsgi.input": Broken(error), "CONTENT_LENGTH": "1000000"}

    answer = service.call("PUT", f"/blobs/{'0' * 64}", environ_overrides=environ)

    assert answer.status_code == 400
    assert files(service) == []


def test_several_may_send_one_blob_at_once(service: Service) -> None:
    content = os.urandom(1 << 20)
    statuses: list[int] = []
    headers = {"Authorization": f"Bearer {service.token}"}

    def send() -> None:
        client = service.app.test_client()
        statuses.append(client.put(f"{BASE}/blobs/{sha256(content)}", data=content, headers=headers).status_code)

    senders = [threading.Thread(target=send) for _ in range(8)]
    for sender in senders:
        sender.start()
    for sender in senders:
        sender.join()

    assert set(statuses) <= {200, 201}
    assert len(statuses) == 8
    (kept,) = files(service)
    assert kept.read_bytes() == content


def test_the_gateway_tells_which_blobs_it_lacks(service: Service) -> None:
    put(service, CONTENT)
    (kept,) = files(service)
    os.utime(kept, (1, 1))
    other = sha256(b"other")

    answer = service.post("/blobs/missing", {"sha256": [other, sha256(CONTENT), other]})

    assert answer.get_json() == {"missing": [other]}
    assert time.time() - kept.stat().st_mtime < 60


def test_only_digests_can_be_asked_for(service: Service) -> None:
    answer = service.post("/blobs/missing", {"sha256": ["../../etc/passwd"]})

    assert (answer.status_code, answer.get_json()["field"]) == (422, "sha256.0")


def test_a_full_disk_is_said_and_leaves_nothing(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    import errno

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "replace", full)

    answer = put(service, CONTENT)

    assert answer.status_code == 507
    assert "No space left" in answer.get_json()["detail"]
    assert files(service) == []
