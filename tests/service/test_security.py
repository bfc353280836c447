"""Who may do what, what nobody may see, and the limits that keep one client from taking it all."""

from __future__ import annotations

import contextlib
import http.client
import json
import ssl
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.service.conftest import Serve, Service

pytestmark = pytest.mark.slow


def token_command(service: Service, *arguments: str) -> str:
    """What `kernel-gateway token` prints."""
    command = [sys.executable, "-m", "kernel_gateway", "token", *arguments, "--data", str(service.data)]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=30).stdout.strip()


@contextlib.contextmanager
def calling_as(service: Service, token: str) -> Iterator[None]:
    """Ask with another token."""
    before, service.token = service.token, token
    try:
        yield
    finally:
        service.token = before


# -- tokens ------------------------------------------------------------------------------------------

NEEDS = {
    ("post", "/api/v1/runs"): "run",
    ("post", "/api/v1/runs/{id}/cancel"): "run",
    ("post", "/api/v1/runs/{id}/rerun"): "run",
    ("post", "/api/v1/blobs/missing"): "run",
    ("put", "/api/v1/blobs/{sha256}"): "run",
    ("get", "/healthz"): "public",
    ("get", "/readyz"): "public",
    ("get", "/api/v1/healthz"): "public",
    ("get", "/api/v1/readyz"): "public",
    ("get", "/client/"): "public",
    ("get", "/client/{name}"): "public",
}
"""What each call takes; all others take ``read``."""


def test_every_call_takes_the_scope_that_it_should_and_no_less(service: Service) -> None:
    tokens = {scope: token_command(service, "create", f"of-{scope}", "--scope", scope) for scope in ("read", "run")}
    tokens["admin"] = service.token
    id = service.submit("1")
    service.wait_for(id)
    calls = [
        (method, path)
        for path, methods in service.ask("GET", "/api/openapi.json").json["paths"].items()
        for method in methods
    ]
    assert len(calls) > 15
    order = ["public", "read", "run", "admin"]
    for method, path in calls:
        needed = NEEDS.get((method, path), "read")
        url = path.replace("{id}", id).replace("{sha256}", "0" * 64).replace("{path}", "x")
        for scope in order:
            with calling_as(service, tokens.get(scope, "")):
                body: dict[str, str] | None = (
                    {} if method == "post" and not path.endswith(("cancel", "rerun")) else None
                )
                status = service.ask(method.upper(), url + ("?wait=0" if "events" in path else ""), body).status
            told = (method, path, scope, status)
            if order.index(scope) >= order.index(needed):
                assert status not in (401, 403), told
            else:
                assert status == (401 if scope == "public" else 403), told


def test_a_revoked_token_is_refused_at_once(service: Service) -> None:
    token = token_command(service, "create", "short-lived", "--scope", "run")
    with calling_as(service, token):
        assert service.ask("GET", "/api/v1/runs").status == 200
        token_command(service, "revoke", "short-lived")
        assert service.ask("GET", "/api/v1/runs").status == 401


@pytest.mark.parametrize("header", ["Bearer", "Bearer ", "Basic {token}", "{token}", "Bearer {token}x", "Bearer kg_"])
def test_what_is_no_token_is_refused(service: Service, header: str) -> None:
    answer = service.ask("GET", "/api/v1/runs", Authorization=header.format(token=service.token))
    assert answer.status == 401
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")


def test_no_token_is_in_any_file_log_environment_or_command_line(service: Service) -> None:
    tokens = [service.token, token_command(service, "create", "in-no-file", "--scope", "run")]
    for token in tokens:
        with calling_as(service, token):
            service.wait_for(service.submit("1"))
            service.ask("GET", f"/api/v1/runs?name={token}x")
    service.ask("GET", "/api/v1/runs", Authorization=f"Basic {tokens[0]}")
    for path in (path for path in service.data.rglob("*") if path.is_file()):
        content = path.read_bytes()
        assert not any(token.encode() in content for token in tokens), path
    assert not any(token in service.log() for token in tokens)
    assert service.process is not None
    for process in [psutil.Process(service.process.pid), *service.children("")]:
        seen = [*process.cmdline(), *process.environ().values()]
        assert not any(token in word for word in seen for token in tokens), process


# -- limits ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def limited(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service with narrow limits."""
    env = {
        "KERNEL_GATEWAY_MAX_BODY_MB": "1",
        "KERNEL_GATEWAY_MAX_BLOB_MB": "2",
        "KERNEL_GATEWAY_MAX_QUEUED": "3",
        "KERNEL_GATEWAY_MAX_RUN_SECONDS": "4",
        "KERNEL_GATEWAY_MAX_OUTPUT_MB": "1",
    }
    service = Service(tmp_path_factory.mktemp("limited") / "data", ("--slots", "1"), env)
    service.start()
    yield service
    service.close()


def test_a_body_or_blob_over_the_limit_is_refused(limited: Service) -> None:
    answer = limited.ask("POST", "/api/v1/runs", {"source": {"content": "x" * (1 << 20)}})
    assert (answer.status, answer.json["status"]) == (413, 413)
    assert limited.ask("PUT", f"/api/v1/blobs/{'0' * 64}", b"x" * ((2 << 20) - 1)).status == 422
    assert limited.ask("PUT", f"/api/v1/blobs/{'0' * 64}", b"x" * ((2 << 20) + 1)).status == 413
    assert [path for path in (limited.data / "blobs").rglob("*") if path.is_file()] == []


def test_one_token_may_queue_so_many_runs_while_another_still_may(limited: Service) -> None:
    other = token_command(limited, "create", "another", "--scope", "run")
    first = limited.submit("import time; time.sleep(60)")
    limited.wait_for(first, {"starting", "running"})
    ids = [limited.submit("1") for _ in range(3)]
    refused = limited.ask("POST", "/api/v1/runs", {"source": {"content": "1"}})
    assert refused.status == 429
    assert refused.headers["Retry-After"]
    with calling_as(limited, other):
        ids.append(limited.submit("1"))
    assert limited.wait_for(first) == "timed_out"
    assert "4" in limited.run(first)["reason"]
    assert {limited.wait_for(id) for id in ids} == {"succeeded"}
    assert len(list((limited.data / "runs").iterdir())) == len(limited.ask("GET", "/api/v1/runs").json["runs"])


def test_a_client_cannot_ask_for_more_time_than_the_service_gives(limited: Service) -> None:
    id = limited.submit("import time; time.sleep(60)", timeout=50)
    assert limited.wait_for(id) == "timed_out"
    assert limited.run(id)["seconds"] < 15


def test_a_run_that_puts_out_too_much_is_ended_with_that_reason(limited: Service) -> None:
    id = limited.submit("while True: print('x' * 10_000)")
    assert limited.wait_for(id) == "failed"
    assert "max_output_mb" in limited.run(id)["reason"]
    assert 1 << 20 <= len(limited.text(id)) < 8 << 20


# -- TLS ---------------------------------------------------------------------------------------------


def test_with_a_certificate_the_service_speaks_https_and_nothing_else(tmp_path: Path) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"),
            *("-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"),
            *("-keyout", str(key), "-out", str(certificate)),
        ],
        check=True,
        capture_output=True,
    )
    service = TlsService(tmp_path / "data", ("--tls-cert", str(certificate), "--tls-key", str(key)))
    service.certificate = certificate
    service.start()
    try:
        id = service.submit("print('over TLS')")
        assert service.wait_for(id) == "succeeded"
        assert service.text(id) == "over TLS\n"
        plain = http.client.HTTPConnection("127.0.0.1", service.port, timeout=10)
        plain.request("GET", "/healthz")
        with pytest.raises((http.client.HTTPException, OSError)):
            plain.getresponse()
        plain.close()
        old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        with pytest.raises(ssl.SSLError):  # a client that does not know the certificate
            http.client.HTTPSConnection("127.0.0.1", service.port, timeout=10, context=old).request("GET", "/healthz")
        assert service.ask("GET", "/readyz").status == 200
    finally:
        service.close()


class TlsService(Service):
    """A service that is asked over TLS."""

    certificate: Path

    def connect(self) -> http.client.HTTPConnection:
        """A connection that trusts its certificate alone."""
        context = ssl.create_default_context(cafile=str(self.certificate))
        return http.client.HTTPSConnection("127.0.0.1", self.port, timeout=30, context=context)


# -- the sandbox -------------------------------------------------------------------------------------


@pytest.fixture
def in_sandbox(serve: Serve) -> Service:
    """A service whose kernels are in the sandbox."""
    from kernel_gateway.kernels.sandbox import works

    if not works():
        pytest.skip("bubblewrap can't make namespaces here")
    return serve("--slots", "2", KERNEL_GATEWAY_SANDBOX="on")


def test_a_kernel_in_the_sandbox_can_neither_see_nor_signal_the_service(in_sandbox: Service) -> None:
    service = in_sandbox
    other = service.submit("import time; open('private', 'w').write('x'); print('begun', flush=True); time.sleep(30)")
    service.wait_for_text(other, "begun")
    data = service.data
    assert service.process is not None
    pids = [service.process.pid, *(child.pid for child in service.children("")), service.runners()[0].pid]
    connection = connection_file(service, other)
    targets = ["gateway.db", "gateway.db-wal", f"runs/{other}", f"runs/{other}/work/private", "run/vault.sock", "blobs"]
    code = f"""
import json, os, pathlib, socket
seen = [name for name in {targets!r} if (pathlib.Path({str(data)!r}) / name).exists()]
reached = []
for name in ("run/vault.sock", "run/dispatcher.sock"):
    with socket.socket(socket.AF_UNIX) as client:
        try:
            client.connect({str(data)!r} + "/" + name)
            reached.append(name)
        except OSError:
            pass
signalled = []
for pid in {pids!r}:
    try:
        os.kill(pid, 0)
        signalled.append(pid)
    except OSError:
        pass
tokens = [name for name in os.environ if name.startswith("KERNEL_GATEWAY_") and name != "KERNEL_GATEWAY_RUN_ID"]
mine = len([name for name in os.listdir("/proc") if name.isdigit()])
print(json.dumps([seen, reached, mine, len(signalled) <= mine, os.path.exists({connection!r}), tokens]))
"""
    id = service.submit(code)
    assert service.wait_for(id) == "succeeded", service.events(id)[-3:]
    seen, reached, mine, own_only, key_seen, tokens = json.loads(service.text(id))
    assert (seen, reached) == ([], [])
    assert mine < 10
    assert own_only
    assert not key_seen  # with it, code could be run in the other kernel
    assert tokens == ["KERNEL_GATEWAY_KERNEL_FOLDER"]
    assert all(psutil.pid_exists(pid) for pid in pids)


def connection_file(service: Service, id: str) -> str:
    """The connection file of a run's kernel, by the kernel's command line."""
    (runner,) = [process for process in service.runners() if id in process.cmdline()]
    words: list[str] = []
    for child in runner.children(recursive=True):
        with contextlib.suppress(psutil.Error):
            words += child.cmdline()
    return next(word for word in words if word.endswith("/kernel.json"))


@pytest.mark.parametrize("folder", ["short", "long-" * 8])
def test_a_kernel_in_the_sandbox_does_not_find_another_kernels_sockets(folder: str) -> None:
    from kernel_gateway.kernels.sandbox import works

    if not works():
        pytest.skip("bubblewrap can't make namespaces here")
    with tempfile.TemporaryDirectory(dir="/tmp") as base:
        service = Service(Path(base) / folder / "data", ("--slots", "2"))
        service.data.parent.mkdir()
        service.start()
        try:
            other = service.submit("import time; print('begun', flush=True); time.sleep(30)")
            service.wait_for_text(other, "begun")
            connection = connection_file(service, other)
            assert Path(connection).exists()
            id = service.submit(f"import os; print(os.path.exists({connection!r}))")
            assert service.wait_for(id) == "succeeded"
            assert service.text(id) == "False\n"
        finally:
            service.close()


def test_a_kernel_in_the_sandbox_can_kill_nothing_but_itself(in_sandbox: Service) -> None:
    service = in_sandbox
    before = {process.pid for process in service.children("kernel_gateway.")}
    other = service.submit("import time\nfor i in range(40):\n    print(i, flush=True)\n    time.sleep(0.1)")
    service.wait_for_text(other, "0\n")
    code = (
        "import contextlib, os, signal\n"
        "with contextlib.suppress(OSError):\n    os.kill(-1, signal.SIGKILL)\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    id = service.submit(code)
    assert service.wait_for(id) == "kernel_died"
    assert service.wait_for(other) == "succeeded"
    assert {process.pid for process in service.children("kernel_gateway.") if process.pid in before} == before
