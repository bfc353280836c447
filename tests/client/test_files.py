"""Files to and from a gateway: what is sent twice (nothing), and what survives a broken connection."""

from __future__ import annotations

import hashlib
import os
import socket
import threading
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from kernel_gateway.client import Artifact, GatewayClient, Patience, Submitted, find_files, hash_files
from kernel_gateway.client.downloads import remove_parts
from kernel_gateway.client.request import Request
from kernel_gateway.client.transport import Outage
from kernel_gateway.client.uploads import Blob
from kernel_gateway.errors import NotFoundError, UnreachableError, UsageError
from tests.client.gateway import ScriptedGateway


def write(folder: Path, **files: str) -> None:
    for name, text in files.items():
        path = folder / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def artifact(content: bytes, path: str = "model/a b.bin") -> Artifact:
    return Artifact(path, hashlib.sha256(content).hexdigest(), len(content))


# -- sending -----------------------------------------------------------------------------------------


def test_a_second_build_with_one_changed_file_sends_one_file(
    gateway: ScriptedGateway, client: GatewayClient, tmp_path: Path
) -> None:
    write(tmp_path, **{f"f{number}": f"content {number}" for number in range(200)})

    client.upload_workspace(hash_files(find_files(tmp_path, ["*"]).files))
    first = gateway.count("PUT ")
    write(tmp_path, f7="changed")
    entries = client.upload_workspace(hash_files(find_files(tmp_path, ["*"]).files))

    assert (first, gateway.count("PUT ")) == (200, 201)
    assert {gateway.blobs[entry["sha256"]] for entry in entries} >= {b"changed", b"content 8"}


def test_the_same_content_under_many_names_is_sent_once(
    gateway: ScriptedGateway, client: GatewayClient, tmp_path: Path
) -> None:
    write(tmp_path, **{f"f{number}": "same" for number in range(20)})

    client.upload_workspace(hash_files(find_files(tmp_path, ["*"]).files))

    assert gateway.count("PUT ") == 1


def test_ten_thousand_small_files_are_asked_for_in_ten_requests(
    gateway: ScriptedGateway, client: GatewayClient, tmp_path: Path
) -> None:
    for number in range(10_000):
        (tmp_path / f"f{number}").write_bytes(b"%d" % number)
    files = hash_files(find_files(tmp_path, ["*"]).files)
    for file in files[:9_950]:
        gateway.blobs[file.sha256] = b"there"

    entries = client.upload_workspace(files)

    assert len(entries) == 10_000
    assert gateway.count("POST /api/v1/blobs/missing") == 10
    assert gateway.count("PUT ") == 50


def test_uploads_that_break_are_sent_again(gateway: ScriptedGateway, client: GatewayClient, tmp_path: Path) -> None:
    content = os.urandom(5_000_000)
    (tmp_path / "big").write_bytes(content)
    gateway.fail("PUT ", times=2)
    told: list[int] = []

    client.upload([Blob.of(file) for file in hash_files({"big": tmp_path / "big"})], begin=lambda n, size: told.append)

    assert list(gateway.blobs.values()) == [content]
    assert gateway.count("PUT ") == 3
    assert sum(told) == len(content)


def test_an_upload_whose_answer_was_lost_is_not_sent_again(
    gateway: ScriptedGateway, client: GatewayClient, tmp_path: Path
) -> None:
    write(tmp_path, a="x")
    gateway.fail("PUT ", late=True)

    client.upload_workspace(hash_files({"a": tmp_path / "a"}))

    assert gateway.count("PUT ") == 1
    assert list(gateway.blobs.values()) == [b"x"]


def test_an_upload_that_always_breaks_is_given_up(
    gateway: ScriptedGateway, client: GatewayClient, tmp_path: Path
) -> None:
    write(tmp_path, a="x")
    gateway.fail("PUT ", times=100)

    with pytest.raises(UnreachableError, match=r"broke off the upload of .*/a \(1 bytes\) 5 times"):
        client.upload_workspace(hash_files({"a": tmp_path / "a"}))


def test_a_file_that_changes_while_it_is_sent_is_an_error(
    gateway: ScriptedGateway, client: GatewayClient, tmp_path: Path
) -> None:
    write(tmp_path, longer="x", shorter="x" * 9, gone="x")
    files = {name: hash_files({name: tmp_path / name}) for name in ("longer", "shorter", "gone")}
    write(tmp_path, longer="y", shorter="x")
    (tmp_path / "gone").unlink()

    for name in files:
        with pytest.raises(UsageError, match=rf"{name} changed while it was being sent"):
            client.upload_workspace(files[name])
    assert gateway.blobs == {}


def test_a_large_file_is_sent_and_brought_back_in_little_memory(
    gateway: ScriptedGateway, client: GatewayClient, tmp_path: Path
) -> None:
    size = 200_000_000
    with (tmp_path / "big").open("wb") as file:
        file.truncate(size)
    received: list[int] = []
    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=swallow, args=(server, size, received), daemon=True).start()
        files = hash_files({"big": tmp_path / "big"})
        tracemalloc.start()
        try:
            url = f"http://127.0.0.1:{server.getsockname()[1]}"
            with GatewayClient(url, patience=Patience(first=1)) as other:
                other.upload_workspace(files)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    assert received == [size]
    assert peak < 8_000_000


def swallow(server: socket.socket, size: int, received: list[int]) -> None:
    """A gateway that lacks everything, reads uploads in small pieces and keeps nothing."""
    connection, _ = server.accept()
    with connection:
        stream = connection.makefile("rb")
        for answer in (b"", b'{"sha256": "x", "size": 1}'):
            length = 0
            while (line := stream.readline()).strip():
                if line.lower().startswith(b"content-length:"):
                    length = int(line.split(b":")[1])
            if not answer:
                digest = stream.read(length).split(b'"')[3]
                answer = b'{"missing": ["%s"]}' % digest
            else:
                total = 0
                while total < length:
                    total += len(stream.read(min(1 << 16, length - total)))
                received.append(total)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(answer), answer))


def test_blobs_that_vanish_before_the_submit_are_sent_again(
    gateway: ScriptedGateway, client: GatewayClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, a="x")
    files = hash_files({"a": tmp_path / "a"})
    post = client.post_run

    def forget_and_post(request: Request, key: str) -> Submitted:
        gateway.blobs.clear()
        return post(request, key)

    monkeypatch.setattr(client, "post_run", forget_and_post)

    run = client.submit("print(1)", workspace=files)

    assert gateway.runs[run.id].body["workspace"] == [files[0].to_dict()]
    assert gateway.count("PUT ") == 2


# -- bringing back -----------------------------------------------------------------------------------


def test_a_download_that_breaks_is_resumed(gateway: ScriptedGateway, client: GatewayClient, tmp_path: Path) -> None:
    run = gateway.new_run()
    content = os.urandom(3_000_000)
    run.artifacts["model/a b.bin"] = content
    gateway.fail("HALF ", times=3)

    path = client.download_artifact(run.id, artifact(content), tmp_path)

    assert path == tmp_path / "model" / "a b.bin"
    assert path.read_bytes() == content
    ranges = [headers["range"] for _, _, headers in gateway.requests if "range" in headers]
    assert ranges == ["bytes=1500000-", "bytes=2250000-", "bytes=2625000-"]
    assert [file.name for file in path.parent.iterdir()] == ["a b.bin"]


def test_content_that_changed_between_two_tries_is_read_from_the_start(
    gateway: ScriptedGateway, client: GatewayClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = gateway.new_run()
    new = os.urandom(1_000_000)
    run.artifacts["x"] = os.urandom(1_000_000)
    gateway.fail("HALF ")
    wait = Outage.wait

    def change_and_wait(*arguments: Any) -> None:
        run.artifacts["x"] = new
        wait(*arguments)

    monkeypatch.setattr(Outage, "wait", change_and_wait)

    assert client.download_artifact(run.id, artifact(new, "x"), tmp_path).read_bytes() == new


def test_damaged_content_is_never_put_in_place(gateway: ScriptedGateway, client: GatewayClient, tmp_path: Path) -> None:
    run = gateway.new_run()
    run.artifacts["x"] = b"other"

    with pytest.raises(UnreachableError, match="came back damaged"):
        client.download_artifact(run.id, artifact(b"right", "x"), tmp_path)
    with pytest.raises(NotFoundError):
        client.download_artifact(run.id, artifact(b"right", "y"), tmp_path)

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("path", ["../x", "/etc/x", "a/../../x", "a\\..\\x"])
def test_a_gateway_cannot_write_outside_the_folder(client: GatewayClient, tmp_path: Path, path: str) -> None:
    with pytest.raises(UsageError):
        client.download_artifact("1", artifact(b"", path), tmp_path)


def test_what_a_given_up_download_leaves_is_removed(tmp_path: Path) -> None:
    (tmp_path / "artifacts").mkdir()
    (tmp_path / "artifacts" / f".x.{os.getpid()}.part").write_text("half")
    (tmp_path / "artifacts" / ".mine.part").write_text("the user's")

    remove_parts(tmp_path)

    assert [file.name for file in (tmp_path / "artifacts").iterdir()] == [".mine.part"]
