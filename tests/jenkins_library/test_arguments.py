"""What kernelRun takes, and how it ends: cases that need no command."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.jenkins_library.conftest import Outcome, Pipelines

MISTAKES = {
    "kernelRun()": "kernelRun: name what to run: notebook, file or code.",
    "kernelRun notebook: 'a.ipynb', code: '1'": "kernelRun: notebook and code are given; keep one of them.",
    "kernelRun notbook: 'a.ipynb'": "there is no argument 'notbook'. Did you mean 'notebook'? There are: notebook,",
    "kernelRun 'a.ipynb', gpu: 1": "there is no argument 'gpu'. Did you mean 'gpus'?",
    "kernelRun 'a.ipynb', cell_timeout: 1": "Did you mean 'cellTimeout'?",
    "kernelRun 'a.ipynb', whatever: 1": "there is no argument 'whatever'. There are: notebook,",
    "kernelRun ''": "kernelRun: notebook: it is empty.",
    "kernelRun notebook: 7": "kernelRun: notebook: it must be a text, not 7.",
    "kernelRun 'a', timeout: 'soon'": "kernelRun: timeout: it must be a number of more than 0, not 'soon'.",
    "kernelRun 'a', timeout: 0": "kernelRun: timeout: it must be a number of more than 0, not 0.",
    "kernelRun 'a', gpus: 1.5": "kernelRun: gpus: it must be a whole number from 0 on, not 1.5.",
    "kernelRun 'a', gpus: -1": "kernelRun: gpus: it must be a whole number from 0 on, not -1.",
    "kernelRun 'a', allowErrors: 'yes'": "kernelRun: allowErrors: it must be true or false, not 'yes'.",
    "kernelRun 'a', onGate: 'ignore'": "kernelRun: onGate: it must be 'unstable' or 'failure', not 'ignore'.",
    "kernelRun 'a', require: [1]": "kernelRun: require: it must be a text or a list of texts, not [1].",
    "kernelRun 'a', params: 'a=1'": "kernelRun: params: it must be a map such as [epochs: 20], or a list of texts",
    "kernelRun 'a', params: [when: new Date()]": "kernelRun: params: the parameter when is no text, number,",
    "kernelRun 'a', params: [x: [1, [y: Double.NaN]]]": "kernelRun: params: x[1].y is NaN, which JSON can't hold.",
    "kernelRun 'a', secrets: ['A B']": "kernelRun: secrets: 'A B' can't be the name of an environment variable.",
    "kernelRun 'a', secrets: [A: 1]": "kernelRun: secrets: it must be names of environment variables, or a map",
    "kernelRun 'a', promote: 'champion'": "kernelRun: promote: takes register: as well",
    "kernelRun 'a', gateway: '', credentialsId: 'x'": "kernelRun: credentialsId: is for a gateway's token",
    "kernelRun 'a', outputDir: '../x'": "kernelRun: outputDir: '../x' must be a folder in the workspace",
    "kernelRun 'a', outputDir: '/x'": "kernelRun: outputDir: '/x' must be a folder in the workspace",
    "kernelRun 'a', outputDir: 'a,b'": "kernelRun: outputDir: 'a,b' must be a folder in the workspace",
    "kernelRun 'a', outputDir: './'": "kernelRun: outputDir: './' must be a folder in the workspace",
    "kernelRun 'a', name: 'x/y'": "kernelRun: name: it must have up to 150 characters, no slash",
    "kernelRun 'a', name: '..'": "kernelRun: name: it must have up to 150 characters, no slash",
}

FINE: dict[str, dict[str, Any]] = {
    "kernelRun 'train.ipynb'": {"source": "train.ipynb", "name": "train", "output-dir": "kernel-runs/train"},
    'def x = "ta"\nkernelRun "${x}.py"': {"source": "ta.py", "name": "ta", "output-dir": "kernel-runs/ta"},
    "kernelRun file: 'gate:x'": {"source": "gate:x", "name": "gate-x", "output-dir": "kernel-runs/gate-x"},
    "kernelRun 'sub/.a.b.R', gpus: '2', timeout: '60', memory: '8G', cpus: 1.5, label: null": {
        "source": "sub/.a.b.R", "gpus": 2, "timeout": 60, "memory": "8G", "cpus": 1.5,
    },
    "kernelRun notebook: 'a', require: \"x > ${1 + 1}\", artifacts: ['m', \"${'n'}\"], inputs: 'src'": {
        "require": ["x > 2"], "artifact": ["m", "n"], "input": ["src"],
    },
    "kernelRun 'a', onGate: 'failure', allowErrors: 'true', baseline: 'b', retries: 1, kernel: 'ir', env: 'r.txt'": {
        "gate-fails": True, "allow-errors": True, "baseline": "b", "retries": 1, "kernel": "ir", "env": "r.txt",
    },
    "kernelRun 'a', mlflow: 'local', register: 'iris', promote: 'champion', cellTimeout: 2": {
        "mlflow": "local", "register": "iris", "promote": "champion", "cell-timeout": 2,
    },
    "kernelRun 'a', params: ['epochs=20'], secrets: 'DB_TOKEN', outputDir: 'out/x y'": {
        "params": ["epochs=20"], "secret": ["DB_TOKEN"], "output-dir": "out/x y",
    },
    "kernelRun 'a', params: [s: \"${1}\", n: 3G, b: 2.50, l: [true, null], m: [k: '007']], gateway: ''": {
        "params": {"s": "1", "n": 3, "b": 2.5, "l": [True, None], "m": {"k": "007"}}, "gateway": "",
    },
    "kernelRun code: '', name: 'empty'": {"code-file": "snippet", "name": "empty"},
}  # fmt: skip


def test_mistakes_are_errors_that_name_the_argument(pipelines: Pipelines) -> None:
    outcomes = pipelines([{"script": script} for script in MISTAKES])

    for (script, told), outcome in zip(MISTAKES.items(), outcomes, strict=True):
        assert told in outcome.message, script
        assert outcome.names == ["error"], script


def test_arguments_become_the_options_of_the_command(pipelines: Pipelines) -> None:
    outcomes = pipelines([{"script": script, "canned": {"code": 0}} for script in FINE])

    for (script, expected), outcome in zip(FINE.items(), outcomes, strict=True):
        request = json.loads(next(one["text"] for one in outcome.succeeded().called("request")))
        assert {name: request.get(name) for name in expected} == expected, script
        assert request["step"] == f"{request['name']}#1"


CANNED: dict[str, Any] = {
    "run": "20261121-120000-00000000", "name": "a", "status": "unstable", "reason": "", "exit_code": 3, "seconds": 1.0,
    "metrics": {"<b>acc</b>": 0.123456789, "n": 12.0, "tiny": 1.5e-9, "none": None},
    "headline": ["<b>acc</b> 0.1235", "n 12"], "missed": ["acc > 1", "n > 20 (it is 12)"],
    "gates": [{"expression": "acc > 1", "value": None, "bound": 1, "passed": False},
              {"expression": "n > 20", "value": 12.0, "bound": 20, "passed": False},
              {"expression": "n > 2", "value": 12.0, "bound": 2, "passed": True}],
    "artifacts": [], "url": "https://gateway.example/runs/20261121-120000-00000000",
}  # fmt: skip


def ended(pipelines: Pipelines, **canned: Any) -> Outcome:
    return pipelines([{"script": "kernelRun 'a.ipynb', publish: false", "canned": canned}])[0]


def test_what_a_run_left_is_told_in_words_that_are_no_html(pipelines: Pipelines) -> None:
    outcome = ended(pipelines, code=3, result=CANNED)

    assert outcome.succeeded().description == (
        "a: unstable · _b_acc_/b_ 0.1235, n 12 · https://gateway.example/runs/20261121-120000-00000000"
    )
    assert outcome.called("unstable")[0]["message"] == "kernelRun a: a gate is not met: acc > 1; n > 20 (it is 12)"
    assert outcome.value["runUrl"] == outcome.value["reportUrl"] == CANNED["url"]
    assert not {"archiveArtifacts", "junit", "publishHTML"} & set(outcome.names)


ENDS = {
    1: "a cell failed (exit code 1)",
    4: "it took too long (exit code 4)",
    5: "the kernel died or was lost (exit code 5)",
    6: "the gateway can't be reached, or refused (exit code 6)",
    130: "it was cancelled (exit code 130)",
    137: "the command was killed, perhaps for want of memory (exit code 137)",
    -1: "the command ended (exit code -1)",
}


def test_each_end_is_an_error_that_says_what_happened(pipelines: Pipelines) -> None:
    outcomes = pipelines([{"script": "kernelRun 'a.ipynb'", "canned": {"code": code}} for code in ENDS])

    told = [outcome.message for outcome in outcomes]
    assert told == [f"kernelRun a: {words}; the console says more." for words in ENDS.values()]


def test_an_abort_stays_an_abort_and_the_results_are_published(pipelines: Pipelines) -> None:
    aborted, lost = pipelines(
        [
            {"script": "kernelRun 'a.ipynb'", "canned": {"interrupt": True, "result": {"status": "cancelled"}}},
            {
                "script": "kernelRun 'a.ipynb'",
                "canned": {"lost": True, "result": {"run": "r"}, "archiving": "no channel"},
            },
        ]
    )

    assert aborted.error == {
        "type": "org.jenkinsci.plugins.workflow.steps.FlowInterruptedException",
        "message": None,
    }
    assert aborted.called("archiveArtifacts")
    assert aborted.description == "a: cancelled"
    assert lost.message == "Unable to create live FilePath for agent-1"
    assert "the results of a can't be published: no channel" in lost.console


def test_a_try_whose_end_was_not_seen_is_the_same_try_once_more(pipelines: Pipelines) -> None:
    twice = "for (int i = 0; i < 2; i++) { try { kernelRun 'a.ipynb' } catch (Exception e) { echo(e.message) } }"
    failed, lost = pipelines([{"script": twice, "canned": canned} for canned in ({"code": 1}, {"lost": True})])

    requests = [[json.loads(one["text"]) for one in outcome.called("request")] for outcome in (failed, lost)]
    assert [[request["try"] for request in tries] for tries in requests] == [[1, 2], [1, 1]]
    assert {request["step"] for tries in requests for request in tries} == {"a#1"}


def test_results_that_can_not_be_archived_fail_a_green_build(pipelines: Pipelines) -> None:
    canned = {"code": 0, "result": {"status": "succeeded"}, "archiving": "disk full"}
    (outcome,) = pipelines([{"script": "kernelRun 'a.ipynb'", "canned": canned}])

    assert outcome.message == "disk full"


def test_results_of_an_earlier_build_are_not_published_for_a_run_that_never_began(
    pipelines: Pipelines, tmp_path: Path
) -> None:
    old = tmp_path / "old" / "kernel-runs" / "a"
    (old / "report").mkdir(parents=True)
    for name in ("run.json", "events.jsonl", "junit.xml", "report/index.html"):
        (old / name).write_text("{}")
    killed = tmp_path / "killed" / "kernel-runs" / "a"
    killed.mkdir(parents=True)
    (killed / "events.jsonl").write_text("")

    never, partly = pipelines(
        [
            {"script": "kernelRun 'a.ipynb'", "workspace": str(tmp_path / "old"), "canned": {"code": 127}},
            {"script": "kernelRun 'a.ipynb'", "workspace": str(tmp_path / "killed"), "canned": {"code": 137}},
        ]
    )

    assert not {"archiveArtifacts", "junit", "publishHTML", "kernelResults"} & set(never.names)
    assert never.description == "a: failed"
    assert partly.called("archiveArtifacts"), "what a killed command left is worth keeping"


def test_the_gateways_token_is_a_credential(pipelines: Pipelines) -> None:
    arguments = "gateway: 'https://g.example', credentialsId: 'kg', secrets: [A: 'a', B: 'b']"
    (outcome,) = pipelines(
        [
            {
                "script": f"kernelRun 'a.ipynb', {arguments}",
                "canned": {"code": 0},
                "credentials": {"kg": "token-1", "a": "1", "b": "2"},
            }
        ]
    )

    assert outcome.succeeded().called("withCredentials")[0]["bindings"] == [
        {"credentialsId": "kg", "variable": "KERNEL_GATEWAY_TOKEN"},
        {"credentialsId": "a", "variable": "A"},
        {"credentialsId": "b", "variable": "B"},
    ]
    assert "token-1" not in json.dumps(outcome.steps)
