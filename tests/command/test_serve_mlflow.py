"""Which MLflow the runs of a service go to, without starting one."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from kernel_gateway import tracking
from kernel_gateway.agents.layout import DataFolder
from kernel_gateway.cli.serve_mlflow import Server, _port, settle
from kernel_gateway.errors import UsageError
from kernel_gateway.settings import Settings


@pytest.fixture
def data(tmp_path: Path) -> DataFolder:
    """A service's data folder."""
    folder = DataFolder(tmp_path / "data")
    folder.make()
    return folder


def install(monkeypatch: pytest.MonkeyPatch, *, client: bool, server: bool) -> None:
    """Have these parts of MLflow in the environment."""

    def find_spec(name: str) -> object | None:
        return object() if (client if name == "mlflow" else server) else None

    monkeypatch.setattr(tracking, "find_spec", find_spec)


def test_off_is_off_whatever_is_installed(data: DataFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, client=True, server=True)

    settings, children = settle(Settings(mlflow="off"), data)

    assert (settings.mlflow, children) == ("", [])


@pytest.mark.parametrize("client", [False, True])
def test_without_a_wish_runs_go_nowhere_where_no_server_is_installed(
    data: DataFolder, monkeypatch: pytest.MonkeyPatch, client: bool
) -> None:
    install(monkeypatch, client=client, server=False)

    settings, children = settle(Settings(), data)

    assert (settings.mlflow, children) == ("", [])


@pytest.mark.parametrize("wish", ["local", "http://mlflow.example:5000"])
def test_a_wish_without_mlflow_is_refused_with_what_to_install(
    data: DataFolder, monkeypatch: pytest.MonkeyPatch, wish: str
) -> None:
    install(monkeypatch, client=False, server=False)

    with pytest.raises(UsageError, match=r"needs MLflow's client: .*pip install"):
        settle(Settings(mlflow=wish), data)


def test_a_server_of_its_own_needs_more_than_the_client(data: DataFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, client=True, server=False)

    with pytest.raises(UsageError, match="mlflow-server"):
        settle(Settings(mlflow="local"), data)


@pytest.mark.parametrize("wish", ["nonsense", "http://", "ftp://x/", "http://a:secret@mlflow.example"])
def test_what_is_no_tracking_uri_is_refused(data: DataFolder, monkeypatch: pytest.MonkeyPatch, wish: str) -> None:
    install(monkeypatch, client=True, server=True)

    with pytest.raises(UsageError) as caught:
        settle(Settings(mlflow=wish), data)

    assert caught.value.field == "mlflow"


def test_a_uri_is_taken_and_one_tracker_started_for_it(data: DataFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, client=True, server=False)

    settings, children = settle(Settings(mlflow="http://mlflow.example:5000/"), data)

    assert settings.mlflow == "http://mlflow.example:5000"
    assert [child.name for child in children] == ["tracker"]


@pytest.mark.parametrize("wish", ["", "local"])
def test_a_server_of_its_own_listens_where_the_runs_are_sent(
    data: DataFolder, monkeypatch: pytest.MonkeyPatch, wish: str
) -> None:
    install(monkeypatch, client=True, server=True)

    settings, (server, tracker) = settle(Settings(mlflow=wish), data)

    assert isinstance(server, Server)
    assert settings.mlflow == f"http://127.0.0.1:{server.port}"
    assert tracker.name == "tracker"
    assert (data.root / "mlflow").stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("note", ["", "garbage", "65536", "-1", "9" * 5000, "80 81", "\0"])
def test_a_note_that_is_no_port_is_written_anew(data: DataFolder, note: str) -> None:
    file = data.root / "mlflow" / "port"
    file.parent.mkdir()
    file.write_text(note)

    port = _port(data)

    assert 0 < port < 65536
    assert file.read_text() == str(port)


def test_the_port_of_last_time_is_taken_again_unless_it_is_in_use(data: DataFolder) -> None:
    (data.root / "mlflow").mkdir()
    port = _port(data)
    assert _port(data) == port

    with socket.create_server(("127.0.0.1", port)):
        other = _port(data)

    assert other != port
    assert (data.root / "mlflow" / "port").read_text() == str(other)


@pytest.mark.parametrize("name", ["mlflow", "mlflow/port"])
def test_a_folder_or_note_that_cannot_be_written_is_told(
    data: DataFolder, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    install(monkeypatch, client=True, server=True)
    if name == "mlflow":
        (data.root / name).write_text("a file where the folder should be")
    else:
        (data.root / name).mkdir(parents=True)

    with pytest.raises(UsageError, match=r"mlflow can't be used: (File exists|Is a directory)\. Make it writable"):
        settle(Settings(mlflow="local"), data)
