"""The pool of warm kernels: what breaks them costs no run, other languages and environments, bad settings."""

from __future__ import annotations

import contextlib
import hashlib
import json
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from kernel_gateway.agents.pool import check_warm, parse_warm
from kernel_gateway.errors import UsageError
from kernel_gateway.settings import Settings
from tests.command.test_ends import assert_gone
from tests.service.conftest import FINAL, Serve, Service
from tests.service.idle import kernels, pool, run, wait_for_fork_server, wait_for_idle, wait_until

pytestmark = pytest.mark.slow

# -- what breaks -------------------------------------------------------------------------------------


def test_a_warm_kernel_that_dies_is_replaced_and_costs_no_run(serve: Serve) -> None:
    service = serve("--warm", "python3=1")
    wait_for_idle(service)
    victims = kernels(service)
    assert victims
    for process in victims:
        with contextlib.suppress(psutil.NoSuchProcess):  # gone with the sandbox around it
            process.kill()
    assert run(service, "print('fine')")[1] == "fine\n"
    wait_for_idle(service)
    assert run(service, "print('fine')") == ("warm", "fine\n")


def test_a_warm_kernel_that_hangs_costs_a_cold_start(serve: Serve) -> None:
    service = serve("--warm", "python3=1")
    wait_for_idle(service)
    for process in kernels(service):
        if "guard.py" not in " ".join(process.cmdline()):
            process.suspend()
    id = service.submit("print('fine')")
    assert service.wait_for(id) == "succeeded"
    events = service.events(id)
    assert service.text(id) == "fine\n"
    assert next(event for event in events if event["type"] == "run_started")["start"] == "cold"
    assert any("another one is started" in event.get("message", "") for event in events)


def test_a_warm_runner_that_is_killed_is_replaced(serve: Serve) -> None:
    service = serve("--warm", "python3=1")
    wait_for_idle(service)
    kernel = [process.pid for process in kernels(service)]
    [place] = (service.data / "warm").iterdir()
    for runner in service.runners():
        runner.send_signal(signal.SIGKILL)
    assert run(service, "print('fine')")[1] == "fine\n"
    assert_gone(*kernel)
    wait_until(lambda: not place.exists(), "its place is left")
    wait_for_idle(service)


def test_a_warm_runner_that_hangs_holds_up_no_other_run_and_costs_its_own_only_time(serve: Serve) -> None:
    service = serve("--warm", "python3=1", "--slots", "2")
    wait_for_idle(service)
    [runner] = service.runners()
    runner.suspend()
    hung = service.submit("import os; print(len(os.environ['KEY']))", secrets={"KEY": "x" * 100_000})
    assert run(service, "print('fine')")[1] == "fine\n"
    assert service.run(hung)["status"] not in FINAL
    assert service.wait_for(hung) == "succeeded"
    assert service.text(hung) == "100000\n"


def test_a_fork_server_that_hangs_costs_a_cold_start(serve: Serve) -> None:
    service = serve("--preload", "json")
    wait_for_fork_server(service)
    for server in service.children("forkserver.py"):
        if server.ppid() in [dispatcher.pid for dispatcher in service.children("agents.dispatcher")]:
            server.suspend()
    id = service.submit("import time\nprint('on', flush=True)\ntime.sleep(2)\nprint('done')")
    service.wait_for_text(id, "on")
    for server in service.children("forkserver.py"):
        server.resume()  # what it forks now is too late, and must do no harm
    assert service.wait_for(id) == "succeeded"
    assert service.text(id) == "on\ndone\n"
    assert next(event for event in service.events(id) if event["type"] == "run_started")["start"] == "cold"
    wait_for_fork_server(service)


def test_a_file_of_the_settings_that_is_gone_stops_no_run(serve: Serve, tmp_path: Path) -> None:
    file = tmp_path / "requirements.txt"
    file.write_text("no-such-package-anywhere==0\n")
    service = serve("--warm", f"python3@{file}=1")
    file.unlink()
    for dispatcher in service.children("agents.dispatcher"):
        with contextlib.suppress(psutil.Error):
            dispatcher.kill()
    wait_until(lambda: "No such file" in pool(service).get("problem", ""), "the problem is not told")
    assert run(service, "print('fine')") == ("cold", "fine\n")


def test_a_killed_fork_server_leaves_its_kernels_alone_and_comes_back(serve: Serve) -> None:
    service = serve("--preload", "json")
    wait_for_fork_server(service)
    id = service.submit("import time\nprint('on', flush=True)\ntime.sleep(3)\nprint('done')")
    service.wait_for_text(id, "on")
    for server in [*service.children("forkserver.py"), *service.children("agents.runner_server")]:
        with contextlib.suppress(psutil.Error):
            if server.ppid() in [dispatcher.pid for dispatcher in service.children("agents.dispatcher")]:
                server.kill()
    assert run(service, "print('fine')")[1] == "fine\n"
    assert service.wait_for(id) == "succeeded"
    assert service.text(id) == "on\ndone\n"
    wait_for_fork_server(service)


def test_idle_kernels_end_with_the_service_and_leave_nothing(serve: Serve) -> None:
    service = serve("--warm", "python3=2", "--preload", "json", "--slots", "2")
    wait_until(lambda: pool(service).get("idle") == 2, "no two idle kernels")
    pids = [process.pid for process in [*service.children(""), *service.runners(), *kernels(service)]]
    service.kill()
    assert_gone(*pids)
    service.start()
    wait_for_idle(service)
    service.stop()
    wait_until(lambda: not list((service.data / "warm").iterdir()), "places are left")


def test_a_run_goes_on_when_the_service_that_warmed_its_kernel_is_killed(serve: Serve) -> None:
    service = serve("--warm", "python3=1", "--preload", "json")
    wait_for_idle(service)
    id = service.submit("import time\nprint('on', flush=True)\ntime.sleep(4)\nprint('done')")
    service.wait_for_text(id, "on")
    service.kill()
    service.start()
    assert service.wait_for(id) == "succeeded"
    assert service.text(id) == "on\ndone\n"


def test_a_run_whose_warm_runner_is_killed_is_lost_and_its_place_removed(serve: Serve) -> None:
    service = serve("--warm", "python3=1")
    wait_for_idle(service)
    id = service.submit("import os, time\nprint(os.getcwd(), flush=True)\ntime.sleep(100)")
    service.wait_for_text(id, "work")
    place = Path(service.text(id).strip()).parent
    assert place.parent == service.data / "warm"
    runner = int((service.data / "runs" / id / "runner.pid").read_text().split()[0])
    psutil.Process(runner).kill()
    assert service.wait_for(id) == "lost"
    wait_until(lambda: not place.exists(), f"{place} is left")


def test_modules_that_can_not_be_preloaded_are_told_and_cost_nothing(serve: Serve, tmp_path: Path) -> None:
    folder = tmp_path / "modules"
    folder.mkdir()
    (folder / "begins_a_thread.py").write_text(
        "import threading\nthreading.Thread(target=threading.Event().wait, daemon=True).start()\n"
    )
    (folder / "prints.py").write_text("print('no newline', end='', flush=True)\n")
    (folder / "leaves.py").write_text("import sys\nsys.exit(3)\n")
    (folder / "keeps_a_file.py").write_text("file = open(__file__)\n")
    service = serve("--preload", "no_such_module,leaves,prints,json", PYTHONPATH=str(folder))
    wait_for_fork_server(service)
    assert run(service, "import sys; print('json' in sys.modules)") == ("forked", "True\n")
    assert "no_such_module can't be imported" in service.log()
    assert "leaves can't be imported" in service.log()
    keeping = serve("--warm", "python3=1", "--preload", "keeps_a_file", PYTHONPATH=str(folder))
    wait_for_idle(keeping)
    assert run(keeping, "print('fine')") == ("warm", "fine\n")
    assert "keeps_a_file keeps a file or connection open" in keeping.log()
    threaded = serve("--warm", "python3=1", "--preload", "begins_a_thread", PYTHONPATH=str(folder))
    wait_for_idle(threaded)
    assert run(threaded, "print('fine')") == ("warm", "fine\n")
    assert "begins_a_thread starts threads" in threaded.log()


def test_no_kernel_is_kept_where_memory_is_short(serve: Serve) -> None:
    service = serve("--warm", "python3=1", KERNEL_GATEWAY_WARM_MEMORY_MB="99999999")
    assert run(service, "print('fine')") == ("cold", "fine\n")
    assert pool(service)["idle"] == 0
    assert pool(service)["starting"] == 0


def test_there_are_more_kernels_while_runs_come_fast(serve: Serve) -> None:
    service = serve("--warm", "python3=1", "--slots", "3", "--preload", "json")
    wait_for_idle(service)
    for id in [service.submit("1") for _ in range(6)]:
        assert service.wait_for(id) == "succeeded"
    assert pool(service)["target"] == 3


# -- other kernels -----------------------------------------------------------------------------------

SUFFIXES = {"bash": "sh", "ir": "R", "octave": "m", "deno": "ts"}
PRINT_KEY = {
    "bash": "echo $KEY; cat note.txt; pwd",
    "ir": "cat(Sys.getenv('KEY'), readLines('note.txt'), getwd(), sep='\\n')",
    "octave": "printf('%s\\n', getenv('KEY'), fileread('note.txt'), pwd())",
    "deno": "console.log(Deno.env.get('KEY')); console.log(Deno.readTextFileSync('note.txt')); console.log(Deno.cwd())",
}
VALUE = 'it\'s a "test" with $HOME, \\n and `ticks`; ünïcode'


@pytest.fixture(scope="module")
def languages(tmp_path_factory: pytest.TempPathFactory, installed_kernels: frozenset[str]) -> Iterator[Service]:
    names = [name for name in (*PRINT_KEY, "java", "kotlin") if name in installed_kernels]
    folder = tmp_path_factory.mktemp("languages")
    service = Service(folder / "data", ("--warm", ",".join(f"{name}=1" for name in names), "--slots", "2"))
    service.start()
    yield service
    service.close()


@pytest.mark.timeout(300)
@pytest.mark.parametrize("kernel", PRINT_KEY)
def test_a_warm_kernel_of_any_language_takes_on_its_run(
    languages: Service, kernel: str, require_kernel: Callable[[str], str]
) -> None:
    require_kernel(kernel)
    wait_for_idle(languages, kernel, 200)
    digest = hashlib.sha256(b"a note\n").hexdigest()
    languages.ask("PUT", f"/api/v1/blobs/{digest}", b"a note\n")
    request = {
        "name": kernel,
        "kernel": kernel,
        "source": {"content": PRINT_KEY[kernel], "path": f"deep/snippet.{SUFFIXES[kernel]}"},
        "workspace": [{"path": "deep/note.txt", "sha256": digest, "size": 7}],
        "secrets": {"KEY": VALUE},
    }
    answer = languages.ask("POST", "/api/v1/runs", request)
    assert answer.status == 201, answer.body
    id = answer.json["id"]
    assert languages.wait_for(id) == "succeeded", languages.events(id)
    started = next(event for event in languages.events(id) if event["type"] == "run_started")
    assert started["start"] == "warm"
    assert [line for line in languages.text(id).splitlines() if line][1].startswith("a note")
    assert languages.text(id).rstrip().endswith("/deep")
    assert VALUE not in json.dumps(languages.events(id), ensure_ascii=False)  # it was there, and is masked
    assert "***" in languages.text(id)


@pytest.mark.timeout(300)
@pytest.mark.parametrize(("kernel", "code"), [("java", 'System.out.println("hi")'), ("kotlin", 'println("hi")')])
def test_a_virtual_machine_is_warm_for_runs_that_need_no_environment(
    languages: Service, kernel: str, code: str, require_kernel: Callable[[str], str]
) -> None:
    require_kernel(kernel)
    wait_for_idle(languages, kernel, 250)
    start, text = run(languages, code, kernel=kernel)
    assert (start, text.splitlines()[-1]) == ("warm", "hi")
    start, text = run(languages, code, kernel=kernel, secrets={"KEY": "a secret value"})
    assert (start, text.splitlines()[-1]) == ("cold", "hi")


def test_an_environment_is_kept_warm(serve: Serve, tmp_path: Path) -> None:
    file = tmp_path / "requirements.txt"
    file.write_text("tabulate\n")
    service = serve("--warm", f"python3@{file}=1", KERNEL_GATEWAY_ENV_CACHE=str(tmp_path / "cache"))
    wait_for_idle(service, seconds=110)
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    service.ask("PUT", f"/api/v1/blobs/{digest}", file.read_bytes())
    env = {"path": "requirements.txt", "sha256": digest}
    start, text = run(service, "import tabulate; print(tabulate.__name__)", env=env)
    assert (start, text) == ("warm", "tabulate\n")
    assert run(service, "print(1)")[0] == "cold"
    file.write_text("tabulate\n# another content\n")
    wait_until(lambda: not pool(service)["idle"], "a kernel of the earlier content is kept")
    wait_for_idle(service)
    assert run(service, "print(1)", env=env)[0] == "cold"
    other = hashlib.sha256(file.read_bytes()).hexdigest()
    service.ask("PUT", f"/api/v1/blobs/{other}", file.read_bytes())
    assert run(service, "print(1)", env={**env, "sha256": other}) == ("warm", "1\n")


# -- bad settings ------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["python3", "python3=", "=2", "python3=-1", "python3=two", "python3@=1"])
def test_a_malformed_list_of_warm_kernels_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="--warm"):
        parse_warm(text)


def test_a_kernel_or_module_that_can_not_be_is_refused_at_the_start() -> None:
    with pytest.raises(UsageError, match="pyhton3"):
        check_warm(Settings(warm="pyhton3=1"))
    with pytest.raises(UsageError, match="no/file"):
        check_warm(Settings(warm="python3@no/file.txt=1"))
    with pytest.raises(UsageError, match="num-py"):
        check_warm(Settings(preload="num-py"))
    check_warm(Settings(warm="python3=1, bash=0", preload="numpy, sklearn.linear_model"))
