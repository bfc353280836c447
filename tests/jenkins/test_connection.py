"""The connection to Jenkins: each way in which it fails is one sentence."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import jenkins
import pytest

from kernel_gateway.errors import AuthError, ForbiddenError, UnreachableError, UsageError
from kernel_gateway.jenkins import Address, address, clear_errors, connect
from tests.jenkins.conftest import FOLDER, TOKEN, USER, Command
from tests.jenkins.recording import PlayedJenkins

PASSWORD = "admin"
"""Of the Jenkins for tests."""


def test_a_wrong_token_is_said_so(command: Command, tmp_path: Path) -> None:
    (tmp_path / "jobs.yaml").write_text("[]")

    done = command("plan", str(tmp_path), token="wrong")

    assert done.exit_code == 6
    assert "does not accept the user and API token (401)" in done.stderr
    assert "wrong" not in done.stderr


def test_somebody_without_a_name_is_told_to_give_one(command: Command, tmp_path: Path) -> None:
    (tmp_path / "jobs.yaml").write_text("[]")

    done = command("plan", str(tmp_path), user="", token="")

    assert done.exit_code == 6
    assert "(403): Authentication required. Give --user and an API token." in done.stderr


def test_a_password_works_too_with_a_crumb(played: PlayedJenkins) -> None:
    server = connect(played.url, USER, PASSWORD)

    server.create_folder(FOLDER)

    assert server.job_exists(FOLDER)


def test_a_crumb_of_an_earlier_session_is_replaced(played: PlayedJenkins) -> None:
    server = connect(played.url, USER, PASSWORD)
    server.crumb = {"crumbRequestField": "Jenkins-Crumb", "crumb": "stale"}

    server.create_folder(FOLDER)

    assert server.job_exists(FOLDER)


def test_a_page_inside_jenkins_is_not_its_address(played: PlayedJenkins) -> None:
    connect(played.url, USER, TOKEN).create_folder(FOLDER)

    with pytest.raises(UsageError, match="is a page inside a Jenkins"):
        connect(f"{played.url}/job/{FOLDER}", USER, TOKEN)


def test_an_address_without_a_jenkins_is_said_so(played: PlayedJenkins) -> None:
    with pytest.raises(UnreachableError, match=r"no Jenkins at .*/elsewhere/ \(404\)"):
        connect(f"{played.url}/elsewhere", USER, TOKEN)


def test_what_jenkins_says_against_a_job_is_repeated(played: PlayedJenkins) -> None:
    server = connect(played.url, USER, TOKEN)

    with pytest.raises(UsageError, match=r"refuses /createItem \(400\): ‘\?’ is an unsafe character\."):
        server.create_job("what?", "<project/>")
    with pytest.raises(UnreachableError, match=r"refuses /createItem \(500\): .*Logging ID="):
        server.create_job("broken", "<no-such-kind/>")


def test_what_python_jenkins_raises_of_its_own_becomes_ours(played: PlayedJenkins) -> None:
    server = connect(played.url, USER, TOKEN)

    with pytest.raises(UnreachableError, match="did not do what was asked"), clear_errors():
        server.get_job_info("no-such-job")


def test_nobody_listening_is_unreachable() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"

        with pytest.raises(UnreachableError, match="can't be reached: Connection refused"):
            connect(url)


def test_a_jenkins_that_does_not_answer_is_given_up() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()

        with pytest.raises(UnreachableError, match=r"has not answered for 0\.2 s"):
            connect(f"http://127.0.0.1:{silent.getsockname()[1]}", timeout=0.2)


@pytest.fixture
def other(request: pytest.FixtureRequest) -> Iterator[str]:
    """URL of a server that is no Jenkins; the parameter is its status."""
    status, headers = request.param

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, format: str, *args: object) -> None:
            """Nothing on stderr."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize(
    ("other", "error", "words"),
    [
        ((200, {}), UnreachableError, "is no Jenkins: its answers lack the header X-Jenkins"),
        ((502, {}), UnreachableError, "answers 502 .*no Jenkins that says so"),
        ((503, {"X-Jenkins": "2.462.3"}), UnreachableError, r"is starting or stopping \(503\)"),
        ((401, {}), AuthError, r"\(401\)"),
        ((403, {"X-Required-Permission": "hudson.model.Item.Configure"}), ForbiddenError, "permission Job/Configure"),
    ],
    indirect=["other"],
)
def test_each_bad_answer_has_its_sentence(other: str, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        connect(other)


def test_user_and_token_come_from_the_environment_and_the_token_is_never_shown() -> None:
    found = address({"JENKINS_URL": "https://ci.example/jenkins", "JENKINS_USER": "u", "JENKINS_API_TOKEN": "secret"})

    assert found == Address("https://ci.example/jenkins/", "u", "secret")
    assert "secret" not in repr(found)


def test_our_own_variables_and_options_win() -> None:
    environ = {
        "JENKINS_URL": "https://build.example",
        "KERNEL_GATEWAY_JENKINS_URL": "https://ci.example",
        "JENKINS_USER": "u",
        "KERNEL_GATEWAY_JENKINS_USER": "v",
        "JENKINS_API_TOKEN": "1",
        "KERNEL_GATEWAY_JENKINS_TOKEN": "2",
        "OTHER": "3",
    }

    assert address(environ) == Address("https://ci.example/", "v", "2")
    assert address(environ, url="http://x", user="w", token_variable="OTHER") == Address("http://x/", "w", "3")


@pytest.mark.parametrize(
    ("environ", "url", "words"),
    [
        ({}, None, "No Jenkins is named"),
        ({}, "jenkins.example", "is not the URL of a Jenkins"),
        ({}, "http://", "is not the URL of a Jenkins"),
        ({}, "http://host:99999/", "is not the URL of a Jenkins"),
        ({}, "https://user:hush@jenkins.example/", "holds a user or password"),
        ({"JENKINS_USER": "u"}, "http://x", "but no API token"),
        ({"JENKINS_API_TOKEN": "hush"}, "http://x", "but no user"),
    ],
)
def test_what_can_be_no_address_is_a_sentence_without_secrets(
    environ: dict[str, str], url: str | None, words: str
) -> None:
    with pytest.raises(UsageError, match=words) as caught:
        address(environ, url=url)

    assert "hush" not in str(caught.value)


def test_a_missing_token_variable_is_named() -> None:
    with pytest.raises(UsageError, match="no variable SECRET"):
        address({}, url="http://x", token_variable="SECRET")


def test_a_missing_job_stays_what_python_jenkins_says(played: PlayedJenkins) -> None:
    with pytest.raises(jenkins.NotFoundException):
        connect(played.url, USER, TOKEN).get_job_config("no-such-job")
