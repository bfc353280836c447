"""The documentation of the service: no call, field, problem or figure is missing from it, and its examples work."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kernel_gateway import errors
from kernel_gateway.agents.layout import DataFolder
from kernel_gateway.api import create_app, problems
from kernel_gateway.api.auth import PUBLIC
from kernel_gateway.api.figures import exposition
from kernel_gateway.api.schemas import RunRequest
from kernel_gateway.api.service import KEY
from kernel_gateway.settings import Settings
from kernel_gateway.store.database import migrate, open_database
from tests.service.conftest import Service, service
from tests.test_docs import FENCE, error_classes, page, rows, section

__all__ = ["service"]


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """The service's application on an empty data folder; nothing of it runs."""
    settings = Settings(data=str(tmp_path_factory.mktemp("data")))
    data = DataFolder.of(settings)
    data.make()
    engine = open_database(data.database)
    migrate(engine)
    engine.dispose()
    made = create_app(settings)
    yield made
    made.extensions[KEY].close()


def described_calls() -> dict[str, str]:
    """Each call in the table of docs/api.md, with the scope that it names."""
    table = rows(section(page("api.md"), "## Calls"))
    return {call: columns[1] for call, columns in table.items() if re.match("[A-Z]+ /", call)}


def test_every_call_is_described_with_its_scope(app: Any) -> None:
    expected = {}
    for rule in app.url_map.iter_rules():
        if rule.endpoint.startswith("pages."):
            continue  # for browsers: docs/web.md
        if rule.endpoint.startswith("runners."):
            continue  # for runners on other machines: docs/fleet.md
        scope = app.view_functions[rule.endpoint].scope
        path = re.sub(r"<(?:[^:<>]*:)?(\w+)>", r"{\1}", rule.rule)
        for method in rule.methods - {"HEAD", "OPTIONS"}:
            expected[f"{method} {path}"] = "–" if scope == PUBLIC else scope
    # The same three below the prefix; the page says so in a sentence.
    doubled = {f"GET /api/v1/{name}" for name in ("healthz", "readyz", "metrics")}

    assert doubled <= expected.keys()
    assert described_calls() == {call: scope for call, scope in expected.items() if call not in doubled}
    named = {f"{method.upper()} {path}" for path, methods in app.api_doc["paths"].items() for method in methods}
    assert len(named) > 15
    assert named - doubled <= described_calls().keys()  # what OpenAPI says is what the table says


def test_every_page_is_described_with_its_scope(app: Any) -> None:
    expected = {}
    for rule in app.url_map.iter_rules():
        if rule.endpoint.startswith("pages."):
            scope = app.view_functions[rule.endpoint].scope
            path = re.sub(r"<(?:[^:<>]*:)?(\w+)>", r"{\1}", rule.rule)
            for method in rule.methods - {"HEAD", "OPTIONS"}:
                expected[f"{method} {path}"] = "–" if scope == PUBLIC else scope
    table = rows(section(page("web.md"), "## Addresses"))

    assert len(expected) > 10
    assert {call: columns[1] for call, columns in table.items() if re.match("[A-Z]+ /", call)} == expected


def test_every_call_has_an_example(app: Any) -> None:
    examples = "\n".join(text for language, text in FENCE.findall(page("api.md")) if language == "sh")
    examples = examples.replace("\\\n", " ")
    shown = set()
    for line in examples.splitlines():
        for url in re.findall(r'"\$gateway([^"?]*)', line):
            method = re.search(r"-X (\w+)", line)
            has_body = re.search(r" -d ", line)
            path = re.sub(r"\$\{?\w+\}?|\$\(cat id\.txt\)", "*", url)
            shown.add(f"{method[1] if method else 'POST' if has_body else 'GET'} {path}")

    for call in described_calls():
        pattern = re.sub(r"\\\{(\w+)\\\}", lambda name: ".+" if name[1] == "path" else r"[^/]+", re.escape(call))
        assert any(re.fullmatch(pattern, one) for one in shown), f"docs/api.md shows no example of {call}"


def test_every_field_of_a_submit_is_described_with_its_default() -> None:
    described = rows(section(page("api.md"), "## Submit"))

    for name, field in RunRequest.model_fields.items():
        assert name in described, f"docs/api.md lacks the field {name}"
        if not field.is_required():
            defaults = described[name][1].replace("`", "").split(", ")
            told = "run" if name == "name" else json.dumps(field.default)
            assert told in defaults, name


def test_kinds_of_problems_are_described_with_their_status() -> None:
    described = {kind: columns[1] for kind, columns in rows(section(page("api.md"), "## Problems")).items()}
    kinds = {"database": "503", "defect": "500", "invalid-request": "422"}
    for error in error_classes():
        name = re.sub(r"(?<=[a-z])(?=[A-Z])", "-", error.__name__.removesuffix("Error")).lower()
        kinds[name] = str(error.http_status)

    told = {kind: status for kind, status in described.items() if status.isdigit()}
    assert told == {kind: kinds[kind] for kind in told}  # KeyError: there is no such kind
    # What the API raises nowhere: runs meet it, or clients, or `invalid-request` carries it.
    elsewhere = {"gateway", "source", "parameter", "kernelspec", "gate", "resource", "too-large"}
    elsewhere |= {"kernel", "kernel-start", "kernel-died", "environment-build"}
    assert kinds.keys() - elsewhere == told.keys()
    assert issubclass(problems.InvalidRequestError, errors.UsageError)


def test_every_figure_for_prometheus_is_described(app: Any) -> None:
    gateway = app.extensions[KEY]
    gateway.data.agent_state.write_text(json.dumps({"slots": 2, "busy": 0}))
    names = set(re.findall(r"^# HELP (\S+)", exposition(gateway).decode(), re.MULTILINE))
    described = rows(section(page("operating.md"), "## Monitoring"))

    assert len(names) > 10
    assert {word for word in described if word.startswith("kernel_gateway_")} == names


def shown_script(language: str) -> str:
    """The examples of docs/api.md in one language, one behind the other."""
    return "\n".join(text for found, text in FENCE.findall(page("api.md")) if found == language)


@pytest.mark.slow
@pytest.mark.parametrize("language", ["sh", "python"])
def test_the_examples_of_the_api_work_on_a_real_service(service: Service, language: str, tmp_path: Path) -> None:
    if language == "sh" and not (shutil.which("curl") and shutil.which("jq")):
        pytest.skip("the examples need curl and jq")
    environ = {**os.environ, "KERNEL_GATEWAY_URL": service.url, "KERNEL_GATEWAY_TOKEN": service.token}
    command = ["bash", "-euo", "pipefail", "-c"] if language == "sh" else [sys.executable, "-c"]

    done = subprocess.run(
        [*command, shown_script(language)],
        cwd=tmp_path,
        env=environ,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )

    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    if language == "python":
        assert "succeeded 0 {'accuracy': 0.93}" in done.stdout
        assert (tmp_path / "results" / "card.json").read_text() == "{}"
    else:
        assert "print(2 * n)\n42\n" in done.stdout
        assert '"accuracy": 0.93' in done.stdout
        assert (tmp_path / "stream.txt").read_text().count("\nevent: ") == len(service.events(self_id(tmp_path)))


def self_id(folder: Path) -> str:
    """The id of the run that the examples begin with."""
    id: str = json.loads((folder / "run.json").read_text())["id"]
    return id
