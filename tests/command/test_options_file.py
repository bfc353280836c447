"""`run --options FILE`: options from a file mean what they mean on the command line, and arrive as they were."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from kernel_gateway.cli.step import Step, idempotency_key, short_result
from kernel_gateway.client.request import Request
from tests.command.conftest import Run

SHOW = "import json, os\nprint(json.dumps([{'a': a, 'b': b}, os.getcwd()]))"


def write(folder: Path, options: Any, name: str = "request.json") -> str:
    path = folder / name
    path.write_text(options if isinstance(options, str) else json.dumps(options), encoding="utf-8")
    return str(path)


def test_options_of_a_file_count_and_those_of_the_command_line_more(run: Run, tmp_path: Path) -> None:
    options = {
        "code": "print('::metric name=loss value=1')\nprint(a, b)",
        "kernel": "python3",
        "params": {"a": 1, "b": 1},
        "require": "loss < 2",
        "cell-timeout": 50,
        "timeout": 60.5,
        "name": "from-file",
        "allow-errors": False,
        "gate-fails": True,
        "label": None,
    }

    finished = run("--options", write(tmp_path, options), "-p", "b", "2", "--require", "loss < 0.5", "--timeout", "70")

    finished.assert_results("failed", 1)  # --gate-fails
    assert "1 2\n" in finished.text()
    assert finished.record["name"] == "from-file"
    assert finished.record["resources"]["timeout"] == 70
    assert finished.record["resources"]["cell_timeout"] == 50
    assert [gate["expression"] for gate in finished.record["gates"]] == ["loss < 2", "loss < 0.5"]


def test_parameters_keep_their_types_and_characters(run: Run, tmp_path: Path) -> None:
    given = {
        "a": {"s": "007", "t": "true", "n": None, "f": 1.0, "l": [1, True]},
        "b": "'\"`$HOME`\\\r\n\t \u2028 ü 😀",
    }

    finished = run("--options", write(tmp_path, {"code": SHOW, "params": given}))

    finished.assert_results("succeeded", 0)
    assert json.loads(finished.text())[0] == given
    assert finished.record["parameters"] == given


def test_parameters_of_the_file_lie_between_those_of_params_and_p(run: Run, tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text("a: params\nb: params")
    options = write(tmp_path, {"code": SHOW, "params": {"b": "options"}})

    assert json.loads(run("--options", options, "--params", "params.yaml").text())[0] == {"a": "params", "b": "options"}
    assert json.loads(run("--options", options, "-p", "a", "1", "-p", "b", "2").text())[0] == {"a": 1, "b": 2}


def test_a_list_of_parameters_is_typed_as_those_of_the_command_line(run: Run, tmp_path: Path) -> None:
    finished = run("--options", write(tmp_path, {"code": SHOW, "params": ["a=20", "b=x=[y]"]}))

    assert json.loads(finished.text())[0] == {"a": 20, "b": "x=[y]"}


def test_a_file_may_be_yaml(run: Run, tmp_path: Path) -> None:
    text = "# a comment\nsource: -x.py\nparams:\n  a: 1e-3\n  b: [x, '007']\n"
    (tmp_path / "-x.py").write_text(SHOW)

    finished = run("--options", write(tmp_path, text, "options.yaml"))

    finished.assert_results("succeeded", 0)
    assert json.loads(finished.text())[0] == {"a": 0.001, "b": ["x", "007"]}
    assert finished.record["name"] == "-x"


def test_a_snippet_in_a_file_elsewhere_runs_in_the_current_folder_as_c_does(run: Run, tmp_path: Path) -> None:
    elsewhere = tmp_path / "else where"
    elsewhere.mkdir()
    code = f"a, b = 'crlf\u00fc', 2\r\n{SHOW}\r\n"
    (elsewhere / "snippet").write_bytes(code.encode())

    finished = run("--options", write(elsewhere, {"code-file": "snippet"}))

    finished.assert_results("succeeded", 0)
    assert json.loads(finished.text()) == [{"a": "crlf\u00fc", "b": 2}, str(tmp_path)]
    assert finished.record["name"] == "snippet"
    assert finished.record["source"]["path"] is None


def test_a_source_on_the_command_line_takes_the_place_of_the_files(run: Run, tmp_path: Path) -> None:
    options = write(tmp_path, {"source": "no-such.ipynb"})

    assert run("--options", options, "-c", "print('this')").text() == "this\n"


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"kernl": "ir"}, "there is no option 'kernl'. Did you mean 'kernel'?"),
        ({"zzz": 1}, "There are allow-errors, artifact, baseline,"),
        ({"help": True}, "there is no option 'help'"),
        ({"options": "other.json"}, "there is no option 'options'"),
        ({"timeout": "60"}, "'timeout' must be a number, not a text"),
        ({"timeout": True}, "'timeout' must be a number, not true or false"),
        ({"timeout": -1}, "'--timeout'"),
        ({"gpus": 1.5}, "'gpus' must be a whole number, not the number 1.5"),
        ({"require": [1]}, "'require' must be a text or a list of texts, not a list"),
        ({"allow-errors": "yes"}, "'allow-errors' must be true or false, not a text"),
        ({"kernel": ["a"]}, "'kernel' must be a text, not a list"),
        ({"params": "a=1"}, "'params' must be a mapping of names to values"),
        ({"params": ["a"]}, "'params' must be a mapping of names to values"),
        ({"code": "1", "source": "x.py"}, "it names more than one source: 'source' and 'code'"),
        ({"code-file": "none"}, "'code-file'"),
        ({"name": "a/b", "code": "1"}, "--name 'a/b'"),
        ({"params": {"a": "\ud800"}}, "isn't valid Unicode"),
        ("[1]", "The file of options must be a mapping of names to values, not a list"),
        ("{", "neither YAML nor JSON"),
    ],
    ids=str,
)
def test_a_file_with_a_mistake_is_bad_usage_that_says_where(run: Run, tmp_path: Path, options: Any, told: str) -> None:
    finished = run("--options", write(tmp_path, options))

    assert finished.exit_code == 2
    assert told in " ".join(finished.stderr.split())
    assert not finished.folder.exists()


def test_a_file_that_is_not_there_is_bad_usage(run: Run) -> None:
    finished = run("--options", "none.json")

    assert finished.exit_code == 2
    assert "it can't be read: No such file" in finished.stderr


@pytest.mark.parametrize("rest", [[], ["-p", "lr", "0.1"], ["train.ipynb"]])
def test_a_parameter_written_with_an_equals_sign_is_told_how_to_write_it(run: Run, rest: list[str]) -> None:
    finished = run("-c", "1", "-p", "epochs=20", *rest)

    assert finished.exit_code == 2
    assert "write name and value as two words: -p epochs 20" in finished.stderr


def test_a_run_may_be_given_a_name(run: Run) -> None:
    assert run("-c", "1", "--name", "daily check").record["name"] == "daily check"
    assert run("-c", "1", "--name", "..").exit_code == 2


def test_a_step_finds_a_short_result_beside_its_file(run: Run, tmp_path: Path) -> None:
    code = "print('::metric name=other value=1')\nprint('::metric name=loss value=0.25')"
    path = write(tmp_path, {"code": code, "step": "train#1", "require": "loss < 0.2"})

    finished = run("--options", path)

    finished.assert_results("unstable", 3)
    result = json.loads((tmp_path / "request.result.json").read_text())
    assert result["run"] == finished.record["id"]
    assert (result["status"], result["exit_code"]) == ("unstable", 3)
    assert result["metrics"] == {"other": 1, "loss": 0.25}
    assert result["headline"] == ["loss 0.25", "other 1"]
    assert result["missed"] == ["loss < 0.2 (it is 0.25)"]
    assert result["gates"] == [{"expression": "loss < 0.2", "value": 0.25, "bound": 0.2, "passed": False}]
    assert result["url"] is None


def test_a_run_that_never_began_leaves_no_result(run: Run, tmp_path: Path) -> None:
    assert run("-c", "1").exit_code == 0  # an earlier run's results are in the folder

    finished = run("--options", write(tmp_path, {"code": "1", "step": "train#1", "artifact": "../*"}))

    assert finished.exit_code == 2
    assert not (tmp_path / "request.result.json").exists()


def test_headlines_are_at_most_four_with_those_of_gates_first() -> None:
    record = {
        "id": "20261121-120000-00000000",
        "name": "n",
        "status": "succeeded",
        "reason": "",
        "seconds": 1.0,
        "metrics": {name: {"last": 1.0} for name in ("a", "b", "c", "d", "e", "drift.psi")},
        "gates": [{"expression": "e < baseline + 1 and drift.psi < 1", "value": 1.0, "bound": 2, "passed": True}],
        "artifacts": [],
    }

    result = short_result(record, 0, "https://user:secret@gateway.example/")

    assert result["headline"] == ["e 1", "drift.psi 1", "a 1", "b 1"]
    assert result["url"] == "https://gateway.example/runs/20261121-120000-00000000"


def test_a_step_has_the_key_of_its_build_and_its_name_and_of_nothing_else(tmp_path: Path) -> None:
    build, request = {"BUILD_TAG": "jenkins-train-12"}, Request({"name": "a", "secrets": {}})
    one, two = Step("train#1", tmp_path / "1.json"), Step("train#2", tmp_path / "2.json")

    assert idempotency_key(build, request, one) != idempotency_key(build, request, two)
    assert idempotency_key(build, request, one) == idempotency_key(build, request, Step("train#1", tmp_path / "3.json"))
    assert idempotency_key(build, request, one) == idempotency_key(build, Request({"name": "b"}), one)
    assert idempotency_key(build, request, one) != idempotency_key({**build, "BUILD_URL": "http://b/12/"}, request, one)
