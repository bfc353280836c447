"""docker-compose.yml and the Dockerfile: what they name exists, and what they start runs, with the same settings."""

from __future__ import annotations

import fnmatch
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from dataclasses import fields
from pathlib import Path
from typing import Any

import click
import psycopg
import pytest
import yaml
from flask import Flask
from sqlalchemy.engine import make_url

from kernel_gateway.api import create_app
from kernel_gateway.cli import cli
from kernel_gateway.settings import PREFIX, Settings
from kernel_gateway.store.database import migrate, open_database
from tests.service.conftest import Serve, serve
from tests.store.postgres import PostgresServer, postgres

__all__ = ["postgres", "serve"]

ROOT = Path(__file__).parent.parent
COMPOSE = ROOT / "docker-compose.yml"
PASSWORD = "0123456789abcdef"

VARIABLE = re.compile(r"\$\{(?P<name>\w+)(?::(?P<kind>[-?])(?P<rest>[^}]*))?\}")


def services() -> dict[str, dict[str, Any]]:
    """The services of docker-compose.yml, by name."""
    found: dict[str, dict[str, Any]] = yaml.safe_load(COMPOSE.read_text(encoding="utf-8"))["services"]
    return found


def filled_in(value: str, **variables: str) -> str:
    """A value as compose hands it on: variables of the environment put in, or their defaults."""

    def fill(match: re.Match[str]) -> str:
        if match["name"] in variables:
            return variables[match["name"]]
        assert match["kind"] == "-", f"{match['name']} has no default and was not given"
        return match["rest"]

    return VARIABLE.sub(fill, value)


def gateway_settings() -> dict[str, str]:
    """The environment of the gateway's container."""
    environment = services()["gateway"]["environment"]
    return {name: filled_in(value, POSTGRES_PASSWORD=PASSWORD) for name, value in environment.items()}


def stages() -> dict[str, list[tuple[str, str]]]:
    """The Dockerfile's instructions by the name of their stage, continued lines joined."""
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    lines = re.sub(r"^#.*\n", "", text, flags=re.MULTILINE).replace("\\\n", " ").splitlines()
    found: dict[str, list[tuple[str, str]]] = {}
    for line in filter(None, lines):
        word, _, rest = line.partition(" ")
        if word == "FROM":
            stage = found.setdefault(rest.split(" AS ")[1], [])
        stage.append((word, rest.strip()))
    return found


def test_every_service_can_be_built_or_pulled_is_watched_and_keeps_its_data() -> None:
    volumes = yaml.safe_load(COMPOSE.read_text(encoding="utf-8"))["volumes"]

    assert {"gateway", "postgres", "mlflow", "jenkins"} == services().keys()
    for name, service in services().items():
        assert ("image" in service) != ("build" in service), name
        if "build" in service:
            assert service["build"]["target"] in stages(), name
        assert service["healthcheck"]["test"][0] == "CMD", name
        for volume in service["volumes"]:
            assert volume.split(":")[0] in volumes, name
    assert services()["jenkins"]["profiles"] == ["jenkins"]
    assert services()["gateway"]["depends_on"]["postgres"]["condition"] == "service_healthy"


def test_no_secret_stands_in_the_file_and_those_it_needs_are_asked_for() -> None:
    text = COMPOSE.read_text(encoding="utf-8")

    given = [match for match in VARIABLE.finditer(text) if match["name"] == "POSTGRES_PASSWORD"]
    assert len(given) == 2
    assert all(match["kind"] == "?" and match["rest"] for match in given)
    for service in services().values():
        for name, value in service.get("environment", {}).items():
            if re.search("PASSWORD|TOKEN|SECRET|KEY", name):
                assert VARIABLE.fullmatch(value), name
            if password := re.search(r"://\w+:([^@/]+)@", VARIABLE.sub(r"$", value)):
                assert password[1] == "$", name


def test_the_gateways_settings_exist_and_have_values_that_it_takes() -> None:
    environ = gateway_settings()

    known = {PREFIX + field.name.upper() for field in fields(Settings)}
    assert {name for name in environ if name.startswith(PREFIX)} <= known
    settings = Settings.from_environ(environ)
    assert settings.database == f"postgresql+psycopg://gateway:{PASSWORD}@postgres:5432/gateway"
    assert settings.drain_timeout > 0
    minutes = re.fullmatch(r"(\d+)m", services()["gateway"]["stop_grace_period"])
    assert minutes is not None
    assert int(minutes[1]) * 60 >= settings.drain_timeout + 15  # it needs a moment after the drain
    assert f":{settings.port}" in services()["gateway"]["ports"][0]
    assert services()["gateway"]["volumes"][0].endswith(f":{settings.data}")
    assert services()["jenkins"]["environment"][PREFIX + "URL"] == f"http://gateway:{settings.port}"
    database = services()["postgres"]["environment"]
    url = make_url(settings.database)
    assert (url.username, url.database, url.host) == (database["POSTGRES_USER"], database["POSTGRES_DB"], "postgres")
    assert VARIABLE.search(services()["gateway"]["environment"][PREFIX + "DATABASE"])


def shown_commands() -> list[list[str]]:
    """Calls of `kernel-gateway` that the container makes or that the file shows."""
    entry = next(rest for word, rest in stages()["gateway"] if word == "ENTRYPOINT")
    assert entry == '["kernel-gateway"]'
    shown = re.findall(r"docker compose run --rm gateway (.*)$", COMPOSE.read_text(encoding="utf-8"), re.MULTILINE)
    assert shown
    return [services()["gateway"]["command"], *map(shlex.split, shown)]


@pytest.mark.parametrize("words", shown_commands(), ids=" ".join)
def test_the_commands_that_it_runs_and_shows_exist(words: list[str]) -> None:
    command: click.Command = cli
    while isinstance(command, click.Group):
        found = command.get_command(click.Context(command), words[0])
        assert found is not None, words
        command, words = found, words[1:]

    command.make_context("kernel-gateway", list(words))  # raises for an option that there is not


def test_what_is_asked_for_health_is_a_view_that_needs_no_token(tmp_path: Path) -> None:
    settings = Settings(data=str(tmp_path))
    (tmp_path / "run").mkdir()
    engine = open_database(f"sqlite:///{tmp_path / 'gateway.db'}")
    migrate(engine)
    engine.dispose()
    app: Flask = create_app(settings)

    path = re.search(r"http://127\.0\.0\.1:8888(/\w+)", services()["gateway"]["healthcheck"]["test"][-1])

    assert path is not None
    assert app.test_client().get(path[1]).status_code == 503  # there is no dispatcher: it is told, and without a token
    app.extensions["kernel_gateway"].close()


def test_the_images_are_made_of_files_that_are_there_and_run_as_nobody_special() -> None:
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").split("\n")
    kept = [line[1:] for line in ignored if line.startswith("!")]
    assert [name for name in kept if not (ROOT / name).exists()] == []
    for name, stage in stages().items():
        users = [rest for word, rest in stage if word == "USER"]
        assert users, name
        assert users[-1] not in ("root", "0"), name
        for word, rest in stage:
            for needed in re.findall(r"/tmp/source/([\w./-]+)", rest) if word == "RUN" else []:
                assert (ROOT / needed).exists(), f"{name}: {needed}"
                assert any(fnmatch.fnmatch(needed.split("/")[0], pattern) for pattern in kept), needed
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    installed = set(dict(stages()["gateway"])["ARG"].partition("=")[2].split(","))
    assert installed <= extras.keys()
    assert {"service", "mlflow", "triggers"} <= installed  # what `serve` takes from files and addresses that are given
    for shown in re.findall(r"--build-arg EXTRAS=(\S+)", (ROOT / "Dockerfile").read_text(encoding="utf-8")):
        assert installed < set(shown.split(",")) <= extras.keys(), shown
    server = next(rest for word, rest in stages()["mlflow"] if word == "RUN" and "mlflow" in rest)
    assert all(requirement in server for requirement in extras["mlflow-server"])
    assert "mlflow-skinny==3.17.2" in extras["mlflow"]  # client and server of one version
    jenkins = next(rest for word, rest in stages()["jenkins"] if "/tmp/source[" in rest)
    assert set(re.findall(r"/tmp/source\[([\w,]+)\]", jenkins)) <= extras.keys()


def test_the_gateways_image_has_the_programs_that_the_service_calls() -> None:
    (apt,) = [rest for word, rest in stages()["gateway"] if word == "RUN" and "apt-get install" in rest]

    assert {"bubblewrap", "git"} <= set(apt.split())


def test_compose_itself_accepts_the_file() -> None:
    docker = shutil.which("docker")
    if docker is None or subprocess.run([docker, "compose", "version"], capture_output=True, check=False).returncode:
        pytest.skip("docker's compose plugin is not installed")
    command = [docker, "compose", "--file", str(COMPOSE), "--profile", "jenkins", "config", "--quiet"]

    done = subprocess.run(
        command, env={**os.environ, "POSTGRES_PASSWORD": PASSWORD}, capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_what_compose_starts_runs_here_with_the_same_settings_on_postgresql(
    serve: Serve, postgres: PostgresServer, tmp_path: Path
) -> None:
    database = postgres.new_database()
    environ = {**gateway_settings(), PREFIX + "DATABASE": database}
    command = [sys.executable, "-m", "kernel_gateway"]
    data = {PREFIX + "DATA": str(tmp_path / "none")}

    refused = subprocess.run(
        [*command, *services()["gateway"]["command"]],
        env={**os.environ, **environ, **data},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    made = subprocess.run(
        [*command, *shown_commands()[1]],
        env={**os.environ, **environ, **data},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )

    # As in the container: an address that others reach is not listened on before there is a token.
    assert refused.returncode == 2
    assert "has no token" in refused.stderr
    # Tests listen on loopback only; port and folder are the test's own.
    service = serve("--host", "127.0.0.1", **environ)
    assert service.token == ""  # nothing was made up where there is a token
    service.token = made.stdout.strip()
    id = service.submit("import os; print(os.environ['MLFLOW_TRACKING_URI'], 'POSTGRES' in str(os.environ))")
    assert service.wait_for(id) == "succeeded"
    assert service.text(id) == f"{environ['KERNEL_GATEWAY_MLFLOW']} False\n"
    assert service.process is not None
    workers = [child for child in service.children("gunicorn") if child.ppid() != service.process.pid]
    assert len(workers) == int(environ[PREFIX + "WEB_WORKERS"])
    health = services()["gateway"]["healthcheck"]["test"]
    assert health[1] == "python"
    script = health[3].replace(":8888", f":{service.port}")
    subprocess.run([sys.executable, health[2], script], check=True, timeout=30)
    with psycopg.connect(make_url(database).set(drivername="postgresql").render_as_string(False)) as connection:
        rows = connection.execute("SELECT id, status FROM runs").fetchall()
    assert rows == [(id, "succeeded")]
    assert not (service.data / "gateway.db").exists()
