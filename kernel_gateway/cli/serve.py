"""`kernel-gateway serve`: the whole service in one command. This process supervises; it does no work itself."""

from __future__ import annotations

import fcntl
import os
import signal
import socket
import sys
import time
import tomllib
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import click

from ..errors import GatewayError, UnreachableError, UsageError
from ..kernels import sandbox
from ..settings import PREFIX, Settings, parse_size
from .gateways import require_service
from .processes import Child
from .serve_triggers import trigger_processes

READY_SECONDS = 60.0

MLFLOW_SECONDS = 15.0
"""How long the word that the service is ready waits for its MLflow server; runs don't need it."""

STOP_SECONDS = 10.0

LONGEST_SOCKET_PATH = 107
"""Bytes that the path of a Unix socket may have on Linux."""


_TOML_TYPES = {
    "str": ("a text", "str", "int", "float"),
    "int": ("a whole number", "int"),
    "float": ("a number", "int", "float"),
    "bool": ("true or false", "bool"),
}
"""What a setting's value may be in a TOML file: in words, and as Python reads it."""

_EXAMPLES = {"str": '"0,1"', "int": "4", "float": "2.5", "bool": "true"}


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--host", metavar="ADDRESS", help="Address to listen on; default 127.0.0.1. Any other takes a token.")
@click.option(
    "--port", type=click.IntRange(0, 65535), metavar="N", help="Port to listen on; default 8888, 0 for a free one."
)
@click.option("--data", metavar="DIR", help="Data folder; default: below the user's data folder.")
@click.option("--database", metavar="URL", help="Database, e.g. postgresql+psycopg://…; default: SQLite in DIR.")
@click.option("--slots", type=click.IntRange(min=1), metavar="N", help="Runs at once on this machine; default 2.")
@click.option("--gpus", metavar="LIST", help="GPUs of this machine, e.g. 0,1, or none; default: what NVML finds.")
@click.option("--cpus", type=float, metavar="N", help="CPUs that runs may ask for; default: what the machine has.")
@click.option("--memory", metavar="SIZE", help="Memory that runs may ask for, e.g. 48G; default: what the machine has.")
@click.option("--warm", metavar="LIST", help="Idle kernels kept ready, e.g. python3=2,ir=1.")
@click.option("--preload", metavar="LIST", help="Python modules that kernels find imported, e.g. numpy,pandas.")
@click.option("--mlflow", metavar="URI", help="MLflow that runs are sent to: a URI, local for one's own, or off.")
@click.option("--agent", metavar="URL", help="Where runs are executed: local (default), or a Ray cluster, ray://….")
@click.option(
    "--node-url", metavar="URL", help="Address at which a cluster's nodes reach this gateway; default: its own."
)
@click.option("--triggers", metavar="FILE", help="Check the triggers of this file again and again.")
@click.option("--trigger-interval", type=float, metavar="S", help="Seconds between two checks; default 300.")
@click.option("--config", metavar="FILE", help="TOML file of settings; options and environment count more.")
@click.option("--drain-timeout", type=float, metavar="S", help="Seconds to wait for runs when stopped; default 0.")
@click.option("--tls-cert", metavar="FILE", help="TLS certificate; with --tls-key the service speaks HTTPS.")
@click.option("--tls-key", metavar="FILE", help="TLS key.")
def serve(config: str | None, **options: Any) -> None:
    """Run the gateway service: web workers, dispatcher and this machine's agent.

    Example: kernel-gateway serve --port 8888 --slots 4 --data /srv/gateway
    """
    try:
        require_service()
        settings = _settings(config, options)
        exit_code = Supervisor(settings).run()
    except GatewayError as error:
        click.echo(f"kernel-gateway: {error}", err=True)
        exit_code = error.exit_code
    sys.exit(exit_code)


def _settings(config: str | None, options: dict[str, Any]) -> Settings:
    """Settings from the file, then the environment, then the options; later ones count more."""
    environ: dict[str, str] = {}
    if config is not None:
        try:
            file = tomllib.loads(Path(config).read_text())
        except (OSError, ValueError) as error:
            raise UsageError(f"--config: {config} can't be read: {error}.", field="config") from error
        kinds = {setting.name: str(setting.type) for setting in fields(Settings)}
        if unknown := sorted(set(file) - set(kinds)):
            raise UsageError(
                f"--config: {config} names {', '.join(unknown)}, but there is no such setting.", field="config"
            )
        for name, value in file.items():
            if type(value).__name__ not in _TOML_TYPES[kinds[name]]:
                raise UsageError(
                    f"--config: {name} in {config} must be {_TOML_TYPES[kinds[name]][0]}, e.g. {name} = "
                    f"{_EXAMPLES[kinds[name]]}.",
                    field="config",
                )
        environ |= {PREFIX + name.upper(): str(value) for name, value in file.items()}
    environ |= dict(os.environ)
    settings = Settings.from_environ(environ)
    if options.get("gpus") == "":
        options["gpus"] = "none"  # as a shell hands over an empty list
    return replace(settings, **{name: value for name, value in options.items() if value is not None})


class Supervisor:
    """Starts the service's processes, starts them again when they die, and stops them."""

    def __init__(self, settings: Settings) -> None:
        from ..agents.layout import DataFolder

        self._settings = settings
        self._data = DataFolder.of(settings)
        self._stopping = False

    def run(self) -> int:
        """Serve until SIGTERM or SIGINT. Raises `UsageError` when the service can't start."""
        self._stop_on_signals()
        self._prepare()
        token = self._first_token()
        listener = self._listen()
        self._settings = replace(self._settings, node_url=self._settings.node_url or self._address(listener))
        self._check_agent()
        from ..agents.vault import Vault

        vault = Vault(self._data.vault_socket)
        environ = self._environ()
        children = [
            Child("dispatcher", [sys.executable, "-m", "kernel_gateway.agents.dispatcher"], environ),
            Child("web server", self._gunicorn(listener), environ, (listener.fileno(),)),
            *self._mlflow,
            *trigger_processes(self._settings, self._data, environ),
        ]
        try:
            for child in children:
                child.ensure()
            self._announce(listener, token)
            while not self._stopping:
                time.sleep(0.1)
                for child in children:
                    child.ensure()
        finally:
            self._stop(children)
            vault.close()
            listener.close()
        return 0

    def _stop_on_signals(self) -> None:
        def stop(number: int, frame: object) -> None:
            self._stopping = True

        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, stop)

    def _prepare(self) -> None:
        from sqlalchemy.exc import DBAPIError

        from ..store.database import migrate, open_database

        try:
            self._data.make()
            self._lock = (self._data.root / "run" / "lock").open("w")
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UsageError(
                f"Another service is at work in the data folder {self._data.root}. Stop it, or name another folder.",
                field="data",
            ) from None
        except OSError as error:
            raise UsageError(
                f"The data folder {self._data.root} can't be used: {error.strerror}.", field="data"
            ) from error
        if bool(self._settings.tls_cert) != bool(self._settings.tls_key):
            raise UsageError("--tls-cert and --tls-key go together.", field="tls_cert")
        if self._settings.tls_cert:
            self._check_tls()
        sandbox.wanted(self._settings.sandbox)
        if self._settings.cpus < 0:
            raise UsageError("--cpus: write how many CPUs runs may ask for, e.g. 16.", field="cpus")
        if self._settings.memory:
            parse_size(self._settings.memory, "memory")
        if self._settings.warm or self._settings.preload:
            from ..agents.pool import check_warm

            check_warm(self._settings)
        if len(os.fsencode(self._data.wake_socket)) > LONGEST_SOCKET_PATH:
            raise UsageError(
                f"The path of the data folder {self._data.root} is too long for the sockets in it; "
                f"{LONGEST_SOCKET_PATH - len('/run/dispatcher.sock')} bytes are the most.",
                field="data",
            )
        from .serve_mlflow import settle

        self._settings, self._mlflow = settle(self._settings, self._data)
        self._engine = open_database(self._settings.database or self._data.database)
        try:
            migrate(self._engine)
        except DBAPIError as error:
            raise UnreachableError(f"The database can't be used: {error.orig}") from error

    def _check_agent(self) -> None:
        """Raise `UsageError` for an agent that can't work."""
        from ..agents.agent import scheme_of

        if scheme_of(self._settings.agent) == "ray":
            from ..agents.ray.agent import check

            check(self._settings)

    def _check_tls(self) -> None:
        import ssl

        try:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(self._settings.tls_cert, self._settings.tls_key)
        except OSError as error:  # ssl's own errors are among these
            raise UsageError(f"The TLS certificate or its key can't be used: {error}.", field="tls_cert") from error

    def _first_token(self) -> str | None:
        """A token if there is none yet and only this machine can reach us; else people make them themselves."""
        from ..store.tokens import Scope, TokenStore

        tokens = TokenStore(self._engine)
        if tokens.any():
            return None
        if self._settings.host not in ("127.0.0.1", "::1", "localhost"):
            raise UsageError(
                f"The service would listen on {self._settings.host}, but has no token that protects it. "
                f"Make one: kernel-gateway token create --data {self._data.root} --scope admin NAME",
                field="host",
            )
        token, _ = tokens.create("first", [Scope.ADMIN])
        return token

    def _listen(self) -> socket.socket:
        family = socket.AF_INET6 if ":" in self._settings.host else socket.AF_INET
        listener = socket.socket(family)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((self._settings.host, self._settings.port))
            listener.listen(512)
        except (OSError, OverflowError) as error:
            listener.close()
            raise UsageError(
                f"{self._settings.host}:{self._settings.port} can't be listened on: {error}. "
                "Name another with --port or --host.",
                field="port",
            ) from error
        return listener

    def _gunicorn(self, listener: socket.socket) -> list[str]:
        settings = self._settings
        tls = ["--certfile", settings.tls_cert, "--keyfile", settings.tls_key] if settings.tls_cert else []
        return [
            *(sys.executable, "-m", "gunicorn", "--bind", f"fd://{listener.fileno()}"),
            *("--workers", str(settings.web_workers), "--threads", str(settings.web_threads)),
            *("--worker-class", "gthread", "--timeout", "60", "--graceful-timeout", "2", "--keep-alive", "15"),
            *("--log-level", "warning", "--no-control-socket", "--config", "python:kernel_gateway.api.gunicorn_config"),
            *tls,
            "kernel_gateway.api.wsgi:app",
        ]

    def _environ(self) -> dict[str, str]:
        """The settings as our processes find them; each reads the environment only."""
        values = {PREFIX + field.name.upper(): str(getattr(self._settings, field.name)) for field in fields(Settings)}
        return {**os.environ, **values, PREFIX + "DATA": str(self._data.root)}

    def _announce(self, listener: socket.socket, token: str | None) -> None:
        """Wait until the service answers, then print its address, once."""
        host, port = listener.getsockname()[:2]
        url = self._address(listener)
        deadline = time.monotonic() + READY_SECONDS
        while not self._answers(host, port):
            if self._stopping:
                return
            if time.monotonic() > deadline:
                raise UnreachableError(f"The service was not ready after {READY_SECONDS:g} s; its log above says why.")
            time.sleep(0.05)
        deadline = time.monotonic() + MLFLOW_SECONDS
        for child in self._mlflow:
            child.await_answer(deadline, lambda: self._stopping)
        print(f"kernel-gateway is ready at {url}{f' (token {token})' if token else ''}", flush=True)

    def _address(self, listener: socket.socket) -> str:
        host, port = listener.getsockname()[:2]
        return f"{'https' if self._settings.tls_cert else 'http'}://{f'[{host}]' if ':' in host else host}:{port}"

    def _answers(self, host: str, port: int) -> bool:
        import http.client
        import ssl

        try:
            if self._settings.tls_cert:
                context = ssl._create_unverified_context()  # it is our own listener
                connection: http.client.HTTPConnection = http.client.HTTPSConnection(
                    host, port, timeout=2, context=context
                )
            else:
                connection = http.client.HTTPConnection(host, port, timeout=2)
            connection.request("GET", "/readyz")
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False

    def _stop(self, children: list[Child]) -> None:
        """Stop taking runs, wait for those under way as long as asked, then stop; runners that are left go on."""
        dispatcher = children[0].process
        deadline = time.monotonic() + self._settings.drain_timeout
        if dispatcher is not None and self._settings.drain_timeout > 0:
            dispatcher.send_signal(signal.SIGUSR1)
            while self._busy() and time.monotonic() < deadline:
                time.sleep(0.2)
        for child in children:
            child.ask_to_end()
        deadline = time.monotonic() + STOP_SECONDS
        for child in children:
            child.wait(max(0.1, deadline - time.monotonic()))

    def _busy(self) -> bool:
        import json

        try:
            return bool(json.loads(self._data.agent_state.read_text())["busy"])
        except (OSError, ValueError, KeyError):
            return False
