"""Secrets in memory only."""

from __future__ import annotations

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
