"""Requests to a gateway: what is waited out, what is an error, and what it is told as."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import kernel_gateway
from kernel_gateway.client import GatewayClient, Patience
from kernel_gateway.client.transport import Stopped, check_url
from kernel_gateway.errors import (
    AuthError,
    ConflictError,
    ForbiddenError,
    GatewayError,
    NotFoundError,
    ParameterError,
    UnreachableError,
    UsageError,
)
from tests.client.gateway import ScriptedGateway


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_the_client_is_a_public_name_of_the_package() -> None:
    assert kernel_gateway.GatewayClient is GatewayClient


def test_code_and_files_can_be_submitted(gateway: ScriptedGateway, client: GatewayClient, tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text("print(epochs)")

    snippet = client.submit("print(1)", priority=3)
    script = client.submit(tmp_path / "train.py", parameters={"epochs": 3}, require=["accuracy > 0.9"])

    assert gateway.runs[snippet.id].body["source"] == {"content": "print(1)"}
    assert gateway.runs[snippet.id].body["priority"] == 3
    body = gateway.runs[script.id].body
    assert body["source"] == {"path": "train.py", "content": "print(epochs)"}
    assert (body["name"], body["parameters"], body["require"]) == ("train", {"epochs": 3}, ["accuracy > 0.9"])
    assert client.wait(script.id).succeeded


def test_a_lost_answer_to_a_submit_starts_no_second_run(gateway: ScriptedGateway, client: GatewayClient) -> None:
    gateway.fail("POST /api/v1/runs$", late=True, times=2)

    run = client.submit("print(1)")

    assert list(gateway.runs) == [run.id]
    assert gateway.count("POST /api/v1/runs$") == 3


def test_a_gateway_that_is_not_ready_for_seconds_costs_nothing_but_time(gateway: ScriptedGateway) -> None:
    remarks: list[str] = []
    gateway.fail("", 503, times=0, until=time.monotonic() + 3.0, headers={"Retry-After": "1"})
    started = time.monotonic()

    with GatewayClient(gateway.url, patience=Patience(later=10), remark=remarks.append) as client:
        run = client.submit("print(1)")

    assert run.id in gateway.runs
    assert 2.5 < time.monotonic() - started < 6
    assert next(remark.split(";")[0] for remark in remarks) == f"The gateway at {gateway.url} is not ready"
    assert remarks[1].startswith("The gateway answers again, after 3 s")
    assert len(remarks) == 2


def test_patience_with_a_busy_gateway_ends_with_its_own_words(gateway: ScriptedGateway) -> None:
    document = {"detail": "You have 1000 runs queued.", "status": 429}
    gateway.fail("", 429, times=100, document=document, headers={"Retry-After": "0"})

    with GatewayClient(gateway.url, patience=Patience(later=0.5)) as client, pytest.raises(GatewayError) as caught:
        client.submit("print(1)")

    assert str(caught.value) == "You have 1000 runs queued."
    assert caught.value.exit_code == 6


def test_a_gateway_that_restarts_in_between_is_waited_for(gateway: ScriptedGateway, client: GatewayClient) -> None:
    client.kernelspecs()
    gateway.stop()
    threading.Timer(1.0, gateway.start).start()

    assert client.kernelspecs()[0]["name"] == "python3"


def test_no_gateway_at_the_url_is_told_with_the_url_and_what_to_check() -> None:
    url = f"http://127.0.0.1:{free_port()}"

    with GatewayClient(url, patience=Patience(first=0.3)) as client, pytest.raises(UnreachableError) as caught:
        client.agents()

    assert str(caught.value).startswith(f"No gateway answers at {url}: the connection was refused. Check that the URL")
    assert caught.value.exit_code == 6


def test_a_gateway_that_accepts_and_says_nothing_is_given_up() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        client = GatewayClient(url, timeout=0.3, patience=Patience(first=1.0))
        with client, pytest.raises(UnreachableError, match="did not answer in time"):
            client.agents()


@pytest.mark.parametrize(
    ("url", "cause"),
    [
        ("http://no-such-host.invalid:8888", "the name no-such-host.invalid is not known"),
        ("https://127.0.0.1:{port}", "TLS failed"),
    ],
)
def test_other_reasons_for_silence_are_named(gateway: ScriptedGateway, url: str, cause: str) -> None:
    client = GatewayClient(url.format(port=gateway.port), patience=Patience(first=0.1))
    with client, pytest.raises(UnreachableError, match=cause):
        client.agents()


def test_a_missing_token_is_told_with_the_way_to_set_it(gateway: ScriptedGateway, client: GatewayClient) -> None:
    gateway.token = "kg_right"

    with pytest.raises(AuthError, match=r"wants a token\. Set the environment variable KERNEL_GATEWAY_TOKEN") as caught:
        client.agents()
    with GatewayClient(gateway.url, "kg_wrong") as wrong, pytest.raises(AuthError, match="does not accept the token"):
        wrong.agents()
    with GatewayClient(gateway.url, "kg_right") as right:
        assert right.agents()

    assert caught.value.exit_code == 6


@pytest.mark.parametrize(
    ("status", "error"), [(403, ForbiddenError), (404, NotFoundError), (409, ConflictError), (500, UnreachableError)]
)
def test_refusals_have_errors_of_their_own(
    gateway: ScriptedGateway, client: GatewayClient, status: int, error: type[GatewayError]
) -> None:
    gateway.fail("", status, document={"detail": "Said the gateway.", "status": status})

    with pytest.raises(error, match="Said the gateway") as caught:
        client.agents()

    assert caught.value.exit_code == 6


def test_a_bad_request_is_a_usage_error_with_its_field(gateway: ScriptedGateway, client: GatewayClient) -> None:
    document = {"type": "urn:kernel-gateway:problem:parameter", "detail": "It must be a number.", "field": "epochs"}
    gateway.fail("", 422, document=document)
    gateway.fail("", 400, document={"detail": "Must be a number.", "field": "gpus"})

    with pytest.raises(ParameterError, match=r"^It must be a number\.$") as caught:
        client.submit("print(1)")
    with pytest.raises(UsageError, match=r"^gpus: Must be a number\.$"):
        client.submit("print(1)")

    assert (caught.value.field, caught.value.exit_code) == ("epochs", 2)


def test_something_else_behind_the_url_is_recognised(gateway: ScriptedGateway) -> None:
    with (
        GatewayClient(gateway.url + "/jenkins") as client,
        pytest.raises(UnreachableError, match="is no kernel gateway"),
    ):
        client.agents()


@pytest.mark.parametrize(
    ("path", "document", "ask"),
    [
        ("/runs", {}, lambda client: list(client.runs())),
        ("/runs", {"runs": {"a": 1}}, lambda client: list(client.runs())),
        ("/runs", {"runs": [1]}, lambda client: list(client.runs())),
        ("/runs", {"runs": [{"name": "x"}]}, lambda client: list(client.runs())),
        ("/runs/x", {}, lambda client: client.run("x")),
        ("/runs/x/artifacts", {"artifacts": [{"path": "x"}]}, lambda client: client.artifacts("x")),
        ("/agents", {"detail": "Hello."}, lambda client: client.agents()),
        ("/kernelspecs", {"kernelspecs": None}, lambda client: client.kernelspecs()),
    ],
)
def test_answers_that_lack_what_a_gateways_has_are_recognised(
    gateway: ScriptedGateway, client: GatewayClient, path: str, document: object, ask: Callable[[GatewayClient], object]
) -> None:
    gateway.fail(f"GET /api/v1{path}$", 200, document=document)

    with pytest.raises(UnreachableError, match="is no kernel gateway: "):
        ask(client)


@pytest.mark.parametrize("url", ["gateway:8888", "ftp://x", "http://", "http://x:port", "http://x/?a=1", ""])
def test_what_is_no_url_is_refused(url: str) -> None:
    with pytest.raises(UsageError, match="is no gateway's URL"):
        check_url(url)


def test_urls_keep_their_prefix_and_lose_what_is_too_much() -> None:
    assert check_url(" https://host/gateway/ ") == "https://host/gateway"
    assert check_url("http://host:1/api/v1/") == "http://host:1"
    with pytest.raises(UsageError, match="KERNEL_GATEWAY_TOKEN"):
        check_url("http://user:pass@host")


def test_waiting_ends_when_the_caller_says_stop() -> None:
    stop = threading.Event()
    threading.Timer(0.3, stop.set).start()
    started = time.monotonic()

    client = GatewayClient(f"http://127.0.0.1:{free_port()}", patience=Patience(first=60), stop=stop)
    with client, pytest.raises(Stopped):
        client.agents()

    assert time.monotonic() - started < 3


def test_the_environment_names_gateway_and_token(gateway: ScriptedGateway) -> None:
    gateway.token = "kg_x"

    with GatewayClient.from_environ({"KERNEL_GATEWAY_URL": gateway.url, "KERNEL_GATEWAY_TOKEN": "kg_x"}) as client:
        assert client.agents()
    with pytest.raises(UsageError, match="No gateway is named"):
        GatewayClient.from_environ({})


def test_a_token_with_a_line_feed_from_a_file_is_taken_without_it(gateway: ScriptedGateway) -> None:
    gateway.token = "kg_x"

    with GatewayClient(gateway.url, "kg_x\n") as client:
        assert client.agents()
    with pytest.raises(UsageError, match="characters that no token has"):
        GatewayClient(gateway.url, "kg\nx")


def test_runs_are_listed_page_by_page(gateway: ScriptedGateway, client: GatewayClient) -> None:
    ids = [gateway.new_run().id for _ in range(230)]

    assert [run.id for run in client.runs()] == ids[::-1]
    assert gateway.count("GET /api/v1/runs$") == 3
    assert [run.id for run in client.runs(limit=120)] == ids[::-1][:120]
    assert list(client.runs(status="failed")) == []


def test_console_metrics_and_the_rest_can_be_asked_for(gateway: ScriptedGateway, client: GatewayClient) -> None:
    run = gateway.new_run()

    assert client.console(run.id, 6).text == "console\n"
    assert client.console(run.id).more
    run.finished = True
    assert (client.console(run.id).end, client.console(run.id).more) == (14, False)
    assert client.metrics(run.id) == {"accuracy": 0.9}
    assert client.cancel(run.id).id == run.id
    with pytest.raises(NotFoundError, match=r"There is no run '\.\./x'"):
        client.run("../x")


def test_a_proxy_of_the_environment_is_used_unless_excepted(
    gateway: ScriptedGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in list(os.environ):
        if name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{free_port()}")

    with GatewayClient(gateway.url, patience=Patience(first=0.1)) as client, pytest.raises(UnreachableError):
        client.agents()
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with GatewayClient(gateway.url) as client:
        assert client.agents()
