"""Secrets in memory only."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from kernel_gateway.agents.vault import Vault, VaultClient
from kernel_gateway.errors import UnreachableError


@pytest.fixture
def vault(tmp_path: Path) -> Iterator[VaultClient]:
    server = Vault(tmp_path / "vault.sock")
    yield VaultClient(tmp_path / "vault.sock")
    server.close()


def test_what_was_put_can_be_had_until_it_is_forgotten(vault: VaultClient) -> None:
    vault.put("run-1", {"TOKEN": "x"})
    assert vault.get("run-1") == {"TOKEN": "x"}
    assert vault.get("run-1") == {"TOKEN": "x"}
    vault.forget("run-1")
    assert vault.get("run-1") is None


def test_an_unknown_run_has_no_secrets(vault: VaultClient) -> None:
    assert vault.get("run-2") is None


def test_a_client_that_hangs_up_does_not_stop_the_vault(vault: VaultClient, tmp_path: Path) -> None:
    import socket

    for junk in (b"", b"\xff" * 100):
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(tmp_path / "vault.sock"))
            connection.sendall(junk)
    vault.put("run-1", {"A": "b"})
    assert vault.get("run-1") == {"A": "b"}


def test_nothing_is_written_to_disk(vault: VaultClient, tmp_path: Path) -> None:
    vault.put("run-1", {"TOKEN": "x"})
    assert [path.name for path in tmp_path.iterdir()] == ["vault.sock"]


def test_without_a_vault_the_error_says_so(tmp_path: Path) -> None:
    with pytest.raises(UnreachableError, match="vault"):
        VaultClient(tmp_path / "none.sock").get("run-1")


def test_a_connection_that_can_not_be_taken_does_not_end_the_vault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = Vault(tmp_path / "vault.sock")
    client = VaultClient(tmp_path / "vault.sock")
    accept = server._listener.accept
    failures = [OSError(errno.EMFILE, "Too many open files"), OSError(errno.ECONNABORTED, "gone")]

    def take() -> object:
        if failures:
            raise failures.pop()
        return accept()

    monkeypatch.setattr(server._listener, "accept", take)
    client.put("run-1", {"A": "b"})

    assert client.get("run-1") == {"A": "b"}
    assert failures == []
    server.close()


def test_a_vault_whose_folder_was_removed_closes_quietly(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    server = Vault(tmp_path / "run" / "vault.sock")
    shutil.rmtree(tmp_path / "run")

    server.close()
