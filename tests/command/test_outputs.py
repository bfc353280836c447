"""What cells put out, from real kernels: nothing lost, nothing garbled, nothing secret."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import nbformat
import pytest

from tests.command.conftest import Run, Start

pytestmark = pytest.mark.slow

SECRET = "s3cr3t-Value/+Ü $X"


def test_stdout_and_stderr_stay_apart_and_each_in_order(run: Run) -> None:
    code = "import sys\nfor i in range(500):\n    print(i)\n    print(-i, file=sys.stderr)"
    finished = run("-c", code)
    assert finished.text("stdout") == "".join(f"{i}\n" for i in range(500))
    assert finished.text("stderr") == "".join(f"{-i}\n" for i in range(500))


def test_output_of_child_processes_counts(run: Run) -> None:
    finished = run("-c", "import os, subprocess\nos.system('echo one')\nsubprocess.run('echo two >&2', shell=True)")
    assert finished.text("stdout") == "one\n"
    assert finished.text("stderr") == "two\n"


def test_a_hundred_megabytes_are_kept_whole_in_bounded_memory(start: Start) -> None:
    running = start("-c", "line = 'x' * 99\nfor i in range(1_000_000): print(line)", stdout=subprocess.DEVNULL)
    peak = 0
    while running.process.poll() is None:
        peak = max(peak, peak_memory(running.process.pid))
        time.sleep(0.02)
    finished = running.finish()
    finished.assert_results("succeeded", 0)
    digest = hashlib.sha256()
    for event in finished.of("stream"):
        digest.update(event["text"].encode())
    assert digest.hexdigest() == hashlib.sha256(("x" * 99 + "\n").encode() * 1_000_000).hexdigest()
    assert 0 < peak < 200 * 1024 * 1024
    console = (finished.folder / "console.log").read_text()
    assert len(console) < 2_000_000
    assert "events.jsonl" in console
    assert (finished.folder / "executed.ipynb").stat().st_size < 20_000_000


def peak_memory(pid: int) -> int:
    """Bytes that a process has held at most."""
    try:
        found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    except OSError:
        return 0
    return int(found[1]) * 1024 if found else 0


def test_one_write_of_many_megabytes_arrives_whole(run: Run) -> None:
    finished = run("-c", "import sys; sys.stdout.write('ü\\n' * 5_000_000)")
    text = finished.text()
    assert len(text) == 10_000_000
    assert set(text) == {"ü", "\n"}


def test_a_progress_bar_is_one_line_in_the_notebook_and_few_in_the_console(run: Run) -> None:
    code = "import time\nfrom tqdm import tqdm\nfor i in tqdm(range(2000)): time.sleep(0.001)"
    finished = run("-c", code)
    outputs = nbformat.read(finished.folder / "executed.ipynb", as_version=4).cells[0].outputs
    assert len(outputs) == 1
    assert outputs[0].text.count("\n") <= 1
    assert "2000/2000" in outputs[0].text
    assert (finished.folder / "console.log").read_text().count("it/s") <= 3


def test_rich_output_updates_and_clearing_end_up_in_the_notebook(run: Run, notebook: Callable[..., str]) -> None:
    name = notebook(
        "from IPython.display import display, clear_output, HTML\nh = display('first', display_id=True)",
        "h.update('second'); 7",
        "print('gone'); clear_output(); print('kept')",
    )
    finished = run(name)
    cells = nbformat.read(finished.folder / "executed.ipynb", as_version=4).cells
    assert cells[0].outputs[0].data["text/plain"] == "'second'"
    assert cells[1].outputs[0].data["text/plain"] == "7"
    assert cells[2].outputs[0].text == "kept\n"
    assert [cell.execution_count for cell in cells] == [1, 2, 3]


def test_a_large_figure_is_kept_as_a_file_by_its_digest(run: Run) -> None:
    code = (
        "import base64, os\nfrom IPython.display import display\n"
        "display({'image/png': base64.b64encode(os.urandom(200_000)).decode()}, raw=True)"
    )
    finished = run("-c", code)
    blob = finished.of("display")[0]["blobs"]["image/png"]
    content = (finished.folder / "blobs" / blob["sha256"][:2] / blob["sha256"]).read_bytes()
    assert len(content) == blob["size"] == 200_000
    assert hashlib.sha256(content).hexdigest() == blob["sha256"]
    assert "image/png" not in finished.of("display")[0]["data"]
    outputs = nbformat.read(finished.folder / "executed.ipynb", as_version=4).cells[0].outputs
    assert len(outputs[0].data["image/png"]) > 260_000


def test_output_of_a_thread_and_of_exit_handlers_is_kept(run: Run, notebook: Callable[..., str]) -> None:
    name = notebook(
        "import atexit, threading, time\natexit.register(lambda: print('at exit'))\n"
        "threading.Thread(target=lambda: (time.sleep(0.6), print('from a thread', flush=True))).start()",
        "time.sleep(1)",
    )
    finished = run(name)
    assert "from a thread" in finished.text()
    assert "at exit" in finished.text()


def test_a_kernel_ends_after_the_last_of_its_exit_handlers(run: Run, notebook: Callable[..., str]) -> None:
    # IPython empties the namespace before the handlers that were there first, such as that of finalizers.
    name = notebook(
        "import sys, time, weakref\nfrom pathlib import Path\n"
        "def last(sleep=time.sleep, file=Path('last.txt')):\n    sleep(0.3)\n    file.write_text('written')\n"
        "finalizer = weakref.finalize(sys, last)",
    )
    finished = run(name, "--artifact", "last.txt")
    finished.assert_results("succeeded", 0)
    assert [event["path"] for event in finished.of("artifact")] == ["last.txt"]


def test_text_of_any_kind_arrives_as_it_was(run: Run) -> None:
    finished = run("-c", r"print('\x00 \x07 \u2028 \U0001F600 \x1b[31mred\x1b[0m é')")
    finished.assert_results("succeeded", 0)
    assert finished.text() == "\x00 \x07 \u2028 \U0001f600 \x1b[31mred\x1b[0m é\n"


@pytest.mark.parametrize("reader", ["gone", "stuck"])
def test_a_reader_that_is_gone_or_stuck_loses_nothing(start: Start, reader: str) -> None:
    reading, writing = os.pipe()
    running = start("-c", "for i in range(200_000): print('line', i)", stdout=writing)
    os.close(writing)
    if reader == "gone":
        os.close(reading)
    running.wait_for("run_finished")
    if reader == "stuck":
        # Results are there although nobody has read a byte yet.
        record = running.folder / "run.json"
        for _ in range(200):
            if record.exists():
                break
            running.process.poll()
            os.sched_yield()
        text = b""
        while chunk := os.read(reading, 1 << 20):
            text += chunk
        os.close(reading)
        assert text.endswith(b"\n")
    finished = running.finish()
    finished.assert_results("succeeded", 0)
    assert finished.text().count("\n") == 200_000


def test_metrics_come_from_lines_displays_scraps_and_files(run: Run) -> None:
    code = (
        "import json\nfrom IPython.display import display\n"
        "for step in range(3): print(f'::metric name=loss value={1 / (step + 1)} step={step}')\n"
        "display({'application/vnd.kernel-gateway.metrics+json': {'accuracy': 0.93}}, raw=True)\n"
        "scrap = {'name': 'auc', 'data': 0.81, 'encoder': 'json', 'version': 1}\n"
        "display({'application/scrapbook.scrap.json+json': scrap}, raw=True)\n"
        "json.dump({'train': {'f1': 0.5}}, open('metrics.json', 'w'))\n"
    )
    finished = run("-c", code)
    metrics = json.loads((finished.folder / "metrics.json").read_text())
    assert metrics == {"loss": pytest.approx(1 / 3), "accuracy": 0.93, "auc": 0.81, "train.f1": 0.5}
    assert [event["step"] for event in finished.of("metric") if event["name"] == "loss"] == [0, 1, 2]


def test_a_secret_is_masked_in_every_file_from_the_first_byte(run: Run, notebook: Callable[..., str]) -> None:
    name = notebook(
        "import base64, json, os, shlex, sys, time, urllib.parse\nfrom IPython.display import HTML, Image, display\n"
        "t = os.environ['TOKEN']\nprint('literal', t)\nprint(base64.b64encode(('user:' + t).encode()).decode())\n"
        "print(shlex.quote(t), urllib.parse.quote(t), urllib.parse.quote_plus(t), json.dumps(t))",
        "sys.stdout.write(t[:7]); sys.stdout.flush(); time.sleep(0.6); print(t[7:])",
        "display(HTML('<b>' + t + '</b>' + 'x' * 100_000)); t",
        "raise RuntimeError('could not log in with ' + t)",
    )
    finished = run(name, "--secret", "TOKEN", "-p", "note", SECRET, env={"TOKEN": SECRET})
    finished.assert_results("failed", 1)
    encoded = SECRET.encode()
    for path in (path for path in finished.folder.rglob("*") if path.is_file()):
        content = path.read_bytes()
        assert encoded not in content, path
        assert b"s3cr3t-Value" not in content, path
        assert b"czNjcjN0" not in content, path
    assert SECRET not in finished.stdout
    assert "could not log in with ****" in finished.stdout


def test_a_secret_that_is_not_set_is_bad_usage(run: Run) -> None:
    finished = run("-c", "1", "--secret", "NO_SUCH_VARIABLE")
    assert finished.exit_code == 2
    assert "NO_SUCH_VARIABLE" in finished.stderr


@pytest.fixture
def small_disk(tmp_path: Path) -> Path:
    """A file system of two megabytes."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)], check=False)
    if mounted.returncode:
        pytest.skip("mounting a small file system takes the right to mount")
    return folder


def test_a_full_disk_ends_the_run_with_that_reason_and_says_how_far_it_got(run: Run, small_disk: Path) -> None:
    try:
        code = "print('y' * 99)\n" * 3 + "for i in range(100_000): print('x' * 99)"
        finished = run("-c", code, "--output-dir", str(small_disk / "out"))
        assert finished.exit_code == 1
        assert "No space left on device" in finished.stdout
        assert finished.record["status"] == "failed"
        assert "No space left" in finished.record["reason"]
        assert finished.record["cells"][0]["status"] == "aborted"
        assert [event["seq"] for event in finished.events] == list(range(1, len(finished.events) + 1))
        assert "console.log" in finished.stderr
    finally:
        subprocess.run(["umount", str(small_disk)], check=True)


def test_an_output_folder_that_cannot_be_made_is_bad_usage(run: Run, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    finished = run("-c", "1", "--output-dir", str(tmp_path / "file" / "out"))
    assert finished.exit_code == 2
    assert "--output-dir" in finished.stderr
