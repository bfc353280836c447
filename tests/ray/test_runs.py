"""Runs on the nodes of a Ray cluster: what they give and get is what they would on the gateway's own machine."""

from __future__ import annotations

import hashlib
import json
import time
import urllib.request
from pathlib import Path

import pytest

from tests.ray.conftest import ADDRESS, RayCluster, agent_of, end_runs, runners_on_nodes, wait_for_nodes, wait_until
from tests.service.conftest import Service

pytestmark = pytest.mark.timeout(300)  # a busy machine takes long to start a cluster

SEARCH = "/api/2.0/mlflow/experiments/get-by-name?experiment_name=tracked"
LABELS = ("place=n1", "place=n2", "place=n3")


def test_a_run_gets_its_files_and_gives_its_outputs(shared: Service) -> None:
    content = b"x,y\n1,2\n"
    digest = hashlib.sha256(content).hexdigest()
    assert shared.ask("PUT", f"/api/v1/blobs/{digest}", content).status == 201
    code = (
        "import sys, pathlib\n"
        "print(pathlib.Path('data/in.csv').read_text().upper(), n)\n"
        "print('::metric name=accuracy value=0.93')\n"
        "pathlib.Path('out').mkdir()\n"
        "pathlib.Path('out/model.bin').write_bytes(bytes(3_000_000))\n"
        "from IPython.display import display, HTML\n"
        "display(HTML('<p>' + 'figure ' * 20_000 + '</p>'))\n"
        "print('late', file=sys.stderr)\n"
    )

    id = shared.submit(
        code,
        workspace=[{"path": "data/in.csv", "sha256": digest, "size": len(content)}],
        parameters={"n": 7},
        artifacts=["out/*"],
        require=["accuracy >= 0.9"],
    )

    assert shared.wait_for(id) == "succeeded", shared.run(id)
    assert "X,Y\n1,2\n 7\n" in shared.text(id)
    assert shared.ask("GET", f"/api/v1/runs/{id}/artifacts/out/model.bin").body == bytes(3_000_000)
    events = shared.events(id)
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    (figure,) = [event["blobs"]["text/html"] for event in events if event["type"] == "display"]
    assert b"figure figure" in shared.ask("GET", f"/api/v1/blobs/{figure['sha256']}").body
    assert json.loads(shared.ask("GET", f"/api/v1/runs/{id}/metrics").body)
    notebook = shared.ask("GET", f"/api/v1/runs/{id}/notebook").json
    assert "late" in json.dumps(notebook)
    assert b"figure figure" in shared.ask("GET", f"/api/v1/runs/{id}/report/index.html").body
    assert b"<testsuite" in shared.ask("GET", f"/api/v1/runs/{id}/junit").body


def test_a_failing_cell_fails_the_run(shared: Service) -> None:
    id = shared.submit("print('before')\n1 / 0")

    assert shared.wait_for(id) == "failed"
    assert shared.run(id)["exit_code"] == 1
    assert "before" in shared.text(id)
    assert [event["ename"] for event in shared.events(id) if event["type"] == "error"] == ["ZeroDivisionError"]


def test_runs_have_gpus_to_themselves_and_small_ones_do_not_pass_a_large_one_that_waits(shared: Service) -> None:
    code = "import os, time\nprint('GPU', os.environ['CUDA_VISIBLE_DEVICES'], flush=True)\ntime.sleep(600)"
    ids = [shared.submit(code, gpus=1) for _ in range(3)]
    large = shared.submit(code, gpus=1, cpus=4)
    small = [shared.submit(code, cpus=3) for _ in range(3)]

    for id in ids:
        shared.wait_for_text(id, "GPU 0", 60)
    for id in small[:2]:
        shared.wait_for_text(id, "GPU", 60)

    agent = agent_of(shared)
    assert sorted(run for run in agent["gpus"].values() if run) == sorted(ids)
    assert len(agent["gpus"]) == 3
    assert {len(set(node["runs"]) & set(ids)) for node in agent["nodes"]} == {1}
    assert [shared.run(id)["status"] for id in (large, small[2])] == ["queued", "queued"]
    # What is free of one node is kept for the large run: Ray was told to leave that node out for those behind it.
    (kept,) = (node["runs"] for node in agent["nodes"] if len(node["runs"]) == 1)
    assert shared.ask("POST", f"/api/v1/runs/{kept[0]}/cancel").status in (200, 202)
    shared.wait_for_text(large, "GPU 0", 60)
    assert shared.wait_for(kept[0]) == "cancelled"
    assert shared.run(small[2])["status"] == "queued"
    end_runs(shared)
    wait_until(lambda: not any(agent_of(shared)["gpus"].values()), 20, lambda: agent_of(shared))


def test_a_run_without_gpus_sees_none(shared: Service) -> None:
    id = shared.submit("import os\nprint('GPU', repr(os.environ['CUDA_VISIBLE_DEVICES']))")

    assert shared.wait_for(id) == "succeeded"
    assert "GPU ''" in shared.text(id)


def test_a_label_chooses_the_node(shared: Service) -> None:
    ids = [shared.submit("import time\ntime.sleep(1)", label=label) for label in LABELS]

    seen: dict[str, str] = {}

    def all_placed() -> bool:
        for node in agent_of(shared)["nodes"]:
            seen.update(dict.fromkeys(node["runs"], node["labels"][0]))
        return seen.keys() >= set(ids)

    wait_until(all_placed, 60, lambda: (seen, agent_of(shared)))
    assert [seen[id] for id in ids] == list(LABELS)
    assert {shared.wait_for(id) for id in ids} == {"succeeded"}


@pytest.mark.parametrize(
    ("wish", "words"),
    [
        ({"gpus": 2}, "no node has more than 1"),
        ({"cpus": 64}, "no node has more than 4"),
        ({"label": "place=n9"}, "There is: place=n1, place=n2, place=n3"),
    ],
)
def test_what_no_node_can_ever_meet_is_refused(shared: Service, wish: dict[str, object], words: str) -> None:
    answer = shared.ask("POST", "/api/v1/runs", {"source": {"content": "1"}, **wish})

    assert answer.status == 422
    assert words in answer.json["detail"]
    assert answer.json["field"] == next(iter(wish))


def test_a_cancel_reaches_the_node_and_what_was_printed_stays(shared: Service) -> None:
    id = shared.submit("print('begun', flush=True)\nimport time\ntime.sleep(600)")
    shared.wait_for_text(id, "begun", 60)

    shared.ask("POST", f"/api/v1/runs/{id}/cancel")

    assert shared.wait_for(id, seconds=30) == "cancelled"
    assert "begun" in shared.text(id)
    assert b"begun" in shared.ask("GET", f"/api/v1/runs/{id}/notebook").body
    wait_until(lambda: id not in runners_on_nodes(), 20)


def test_a_secret_reaches_the_kernel_and_nothing_else(shared: Service, cluster: RayCluster) -> None:
    secret = "correct-horse-battery"
    code = "import os\nprint(len(os.environ['API_KEY']), os.environ['API_KEY'])"

    id = shared.submit(code, secrets={"API_KEY": secret})

    assert shared.wait_for(id) == "succeeded", shared.run(id)
    assert f"{len(secret)} ***" in shared.text(id)
    logs = list(cluster.folder.rglob("session_*/logs/*"))
    assert len(logs) > 3
    for path in [*logs, *shared.data.rglob("*")]:
        if path.is_file():
            assert secret.encode() not in path.read_bytes(), path


def test_a_runner_or_an_actor_killed_on_its_node_loses_its_run_and_its_kernel_goes_too(shared: Service) -> None:
    code = "import os, time\nprint('kernel', os.getpid(), flush=True)\ntime.sleep(600)"
    ids = [shared.submit(code) for _ in range(2)]
    for id in ids:
        shared.wait_for_text(id, "kernel", 60)
    runner, other = (runners_on_nodes()[id] for id in ids)
    actor = other.parents()[1]  # the runner's guard is between them
    assert "RunActor" in actor.cmdline()[0]
    below = [other, *runner.children(recursive=True), *other.children(recursive=True)]
    begun = time.monotonic()

    runner.kill()
    actor.kill()

    assert [shared.wait_for(id, seconds=30) for id in ids] == ["lost", "lost"]
    assert time.monotonic() - begun < 30
    assert [shared.run(id)["reason"] for id in ids] == [
        "The runner was killed by SIGKILL.",
        "The actor died unexpectedly before finishing this task.",
    ]
    for id in ids:
        assert "kernel" in shared.text(id)
        assert b"kernel" in shared.ask("GET", f"/api/v1/runs/{id}/notebook").body
    wait_until(lambda: not any(process.is_running() for process in below), 20)


@pytest.mark.slow
def test_a_run_on_a_node_is_an_mlflow_run(cluster: RayCluster, tmp_path: Path) -> None:
    service = Service(tmp_path / "data", ("--agent", ADDRESS), {"KERNEL_GATEWAY_MLFLOW": "local"})
    service.start()
    try:
        wait_for_nodes(service, 3)
        id = service.submit(
            "import mlflow\nmlflow.log_metric('accuracy', 0.93)\nprint('::metric name=loss value=0.1')",
            name="tracked",
            require=["accuracy >= 0.9"],
        )
        assert service.wait_for(id, seconds=90) == "succeeded", service.run(id)

        with urllib.request.urlopen(f"http://127.0.0.1:{(service.data / 'mlflow/port').read_text()}{SEARCH}") as answer:
            experiment = json.load(answer)["experiment"]["experiment_id"]
        body = json.dumps({"experiment_ids": [experiment]}).encode()
        request = urllib.request.Request(
            f"http://127.0.0.1:{(service.data / 'mlflow/port').read_text()}/api/2.0/mlflow/runs/search",
            body,
            {"Content-Type": "application/json"},
        )

        def tracked() -> bool:
            with urllib.request.urlopen(request) as answer:
                (run,) = json.load(answer)["runs"]
            metrics = {metric["key"]: metric["value"] for metric in run["data"]["metrics"]}
            return (run["info"]["status"], metrics.get("accuracy"), metrics.get("loss")) == ("FINISHED", 0.93, 0.1)

        wait_until(tracked, 30)  # the node's tracker sends what the log says behind the kernel's own calls
    finally:
        service.close()


@pytest.mark.slow
def test_a_gateway_on_a_node_needs_no_client_port(cluster: RayCluster, tmp_path: Path) -> None:
    service = Service(tmp_path / "data", ("--agent", "ray://auto"), {"RAY_ADDRESS": cluster.ask("address")["address"]})
    service.start()
    try:
        wait_for_nodes(service, 3)
        id = service.submit("import os\nprint('GPU', os.environ['CUDA_VISIBLE_DEVICES'])", gpus=1)
        assert service.wait_for(id) == "succeeded", service.run(id)
        assert service.text(id) == "GPU 0\n"
    finally:
        service.close()
