"""Whatever comes in, the answer is one that the API's description allows, and never one of 500 and above."""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis.checks import not_a_server_error
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import positive_data_acceptance

from kernel_gateway.api import auth
from kernel_gateway.api.wheel import own_wheel
from kernel_gateway.events import EventType
from kernel_gateway.settings import Settings
from kernel_gateway.store.database import migrate, open_database

from .conftest import BASE, NOTEBOOK, Service

FEW = settings(
    max_examples=30,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(), children, max_size=3),
    max_leaves=8,
)


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """One gateway for all examples: making one for each would take most of the time."""
    data = tmp_path_factory.mktemp("data")
    for name in ("run", "runs", "blobs"):
        (data / name).mkdir()
    engine = open_database(f"sqlite:///{data / 'gateway.db'}")
    migrate(engine)
    engine.dispose()
    made = Service(Settings(data=str(data), max_body_mb=1, max_blob_mb=1, max_queued=0))
    yield made
    made.gateway.close()


@pytest.fixture(scope="module")
def known(gateway: Service) -> dict[str, str]:
    """Path parameters that name something."""
    id = gateway.new_run()
    gateway.print(id, "hello\n")
    folder = gateway.data.run(id) / "artifacts"
    folder.mkdir()
    (folder / "a.txt").write_text("x")
    fields = {"sha256": "0" * 64, "size": 1, "media_type": "text/plain", "cell": None}
    gateway.write(id, (EventType.ARTIFACT, {"path": "a.txt", **fields}))
    gateway.end(id)
    return {"id": id, "path": "a.txt", "sha256": gateway.gateway.blobs.put(b"known"), "name": own_wheel().name}


@pytest.fixture(scope="module")
def api(gateway: Service) -> Any:
    """The API by its own description."""
    loaded = schemathesis.openapi.from_wsgi("/api/openapi.json", gateway.app)
    loaded.config.generation.update(allow_extra_parameters=False)  # some have no value, and so are never sent
    return loaded


# Schemathesis reads answers of the application without closing them.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("known_path", [False, True], ids=["any path", "a path that is there"])
@pytest.mark.parametrize("mode", list(GenerationMode), ids=str)
def test_every_answer_is_one_that_the_description_allows(
    api: Any, gateway: Service, known: dict[str, str], mode: GenerationMode, known_path: bool
) -> None:
    os.utime(gateway.agent_says(), (time.time() + 600, time.time() + 600))
    headers = {"Authorization": f"Bearer {gateway.token}"}
    # What fits the schema may still be no program, no glob, no gate: those are refused with 422.
    excluded: Any = [positive_data_acceptance]
    tried = 0
    for operation in (result.ok() for result in api.get_all_operations()):
        names = [parameter.name for parameter in operation.path_parameters]
        if known_path and not names:
            continue
        typed = [one for one in operation.path_parameters if "pattern" in one.definition["schema"]]
        if mode == GenerationMode.NEGATIVE and not (operation.body or operation.query or (typed and not known_path)):
            continue  # nothing can be wrong with it

        @FEW
        @given(case=operation.as_strategy(mode, path_parameters={n: known[n] for n in names} if known_path else None))
        def conforms(case: Any) -> None:
            case.call_and_validate(headers=headers, excluded_checks=excluded)

        conforms()
        tried += 1

    assert tried >= 3


def test_the_description_names_every_view(gateway: Service) -> None:
    described = gateway.client.get("/api/openapi.json").get_json()["paths"]

    # Pages are for people, and what takes a run's pass is for the runners of this very version.
    rules = {
        str(rule)
        for rule in gateway.app.url_map.iter_rules()
        if not rule.endpoint.startswith("pages.")
        and getattr(gateway.app.view_functions[rule.endpoint], "scope", None) != auth.RUNNER
    }
    for rule in rules - {"/api/openapi.json", f"{BASE}/healthz", f"{BASE}/readyz", f"{BASE}/metrics"}:
        assert re.sub(r"<(?:[^:<>]+:)?(\w+)>", r"{\1}", rule) in described
    for path, operations in described.items():
        for method, operation in operations.items():
            assert operation.get("summary"), (method, path)
            secured = operation.get("security") == [{"token": []}]
            assert secured == (path not in ("/healthz", "/readyz", "/client/", "/client/{name}")), (method, path)


def sane(answer: Any) -> None:
    assert answer.status_code < 500, answer.text
    if answer.status_code >= 400:
        assert answer.content_type == "application/problem+json"
        assert answer.get_json()["status"] == answer.status_code


@FEW
@given(st.dictionaries(st.sampled_from(["name", "source", "parameters", "secrets", "build", "env", "x"]), json_values))
def test_any_json_is_taken_or_refused(gateway: Service, body: dict[str, Any]) -> None:
    content = json.dumps(body)  # NaN and lone surrogates among it
    sane(gateway.call("POST", "/runs", data=content, content_type="application/json"))


@FEW
@given(
    parameters=st.dictionaries(st.sampled_from(["epochs"]), json_values, min_size=1),
    build=st.dictionaries(st.sampled_from(["job", "number", "tag", "\0"]), json_values),
    git=st.none() | st.dictionaries(st.text(), json_values),
    baseline=st.none() | st.fixed_dictionaries({"run": json_values, "metrics": json_values}),
    name=st.text(min_size=1),
)
def test_any_values_in_a_good_request_are_taken_or_refused(gateway: Service, **fields: Any) -> None:
    body = {"source": {"path": "train.ipynb", "content": json.dumps(NOTEBOOK)}, **fields}
    answer = gateway.call("POST", "/runs", data=json.dumps(body), content_type="application/json")

    sane(answer)
    if answer.status_code == 201:
        links = answer.get_json()["links"]
        for name in ("self", "console", "notebook", "junit", "record", "report"):
            assert gateway.get(links[name]).status_code == 200


@FEW
@given(
    suffix=st.sampled_from([".ipynb", ".py", ".R", ".md", ".Rmd", ".zpln", ".json", ".sh", ".sql", ""]),
    content=st.text() | json_values.map(json.dumps) | st.sampled_from(["# %%\n" * 50, "```{r}\n1\n```"]),
)
def test_any_source_is_taken_or_refused(gateway: Service, suffix: str, content: str) -> None:
    source = {"path": f"a{suffix}", "content": content}
    sane(gateway.call("POST", "/runs", data=json.dumps({"source": source}), content_type="application/json"))


@FEW
@given(st.text(), st.text())
def test_any_path_and_query_is_answered(gateway: Service, known: dict[str, str], name: str, query: str) -> None:
    for part in ("artifacts", "report"):
        sane(gateway.get(f"/runs/{known['id']}/{part}/{quoted(name)}"))
    sane(gateway.get(f"/runs/{quoted(name)}"))
    for parameter in ("name", "build", "cursor", "status", "limit"):
        sane(gateway.get(f"/runs?{parameter}={quoted(query)}"))
    sane(gateway.get(f"/runs/{known['id']}/console?start={quoted(query)}"))
    sane(gateway.get(f"/runs/{known['id']}/events?wait=0&after={quoted(query)}"))


def quoted(text: str) -> str:
    return "".join(f"%{byte:02x}" for byte in text.encode("utf-8", "surrogatepass"))


@FEW
@given(start=st.integers(0, 400), after=st.integers(0, 10))
def test_any_place_in_a_run_gives_the_rest_of_it(
    gateway: Service, known: dict[str, str], start: int, after: int
) -> None:
    folder = gateway.data.run(known["id"])
    console = (folder / "console.log").read_bytes()
    lines = (folder / "events.jsonl").read_bytes().splitlines(keepends=True)

    got = gateway.get(f"/runs/{known['id']}/console?start={start}").data
    assert got == (console[start:] if start <= len(console) else console)
    assert gateway.get(f"/runs/{known['id']}/events?wait=0&after={after}").data == b"".join(lines[after:])


@FEW
@given(content=st.binary(max_size=300), claimed=st.binary(max_size=3), length=st.integers(0, 400))
def test_an_upload_is_kept_only_if_it_is_what_it_claims(
    gateway: Service, content: bytes, claimed: bytes, length: int
) -> None:
    digest = hashlib.sha256(claimed or content).hexdigest()
    environ = {"wsgi.input": io.BytesIO(content), "CONTENT_LENGTH": str(length)}

    answer = gateway.call("PUT", f"/blobs/{digest}", environ_overrides=environ)

    sane(answer)
    kept = {path.name: path for path in gateway.data.blobs.rglob("*") if path.is_file()}
    assert all(hashlib.sha256(path.read_bytes()).hexdigest() == name for name, path in kept.items())
    if answer.status_code == 201:
        assert digest in kept


@FEW
@given(lines=st.lists(st.tuples(st.sampled_from(list(EventType)), st.text()), max_size=8), cut=st.binary(max_size=20))
def test_any_log_is_streamed_line_by_line(gateway: Service, lines: list[tuple[EventType, str]], cut: bytes) -> None:
    id = gateway.new_run()
    gateway.write(id, *[(kind, {"message": text}) for kind, text in lines if kind != EventType.RUN_FINISHED])
    gateway.write(id, (EventType.RUN_FINISHED, {"status": "lost", "reason": "", "seconds": 0.0, "exit_code": 5}))
    whole = log_of(gateway, id).read_bytes()
    with log_of(gateway, id).open("ab") as log:
        log.write(cut.replace(b"\n", b""))

    blocks = gateway.get(f"/runs/{id}/events").get_data().split(b"\n\n")
    data = [
        line.removeprefix(b"data: ") for block in blocks for line in block.split(b"\n") if line.startswith(b"data: ")
    ]

    assert data == whole.splitlines() if b"\r" not in whole else data == whole.split(b"\n")[:-1]
    assert gateway.get(f"/runs/{id}/events?wait=0").data == whole


def log_of(gateway: Service, id: str) -> Path:
    return Path(gateway.data.run(id) / "events.jsonl")


def test_server_errors_are_among_the_checks() -> None:
    assert not_a_server_error in schemathesis.checks.CHECKS.get_all()
