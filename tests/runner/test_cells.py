"""How a cell ended, where the kernel itself went with it."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

from kernel_gateway.errors import KernelDiedError
from kernel_gateway.events import Status
from kernel_gateway.kernels.specs import Kernelspecs
from kernel_gateway.runner.cells import CellRunner
from kernel_gateway.runner.driver import Driver
from kernel_gateway.runner.ending import Cancellation
from kernel_gateway.runner.kernelset import KernelSet
from kernel_gateway.runner.outputs import Outputs
from kernel_gateway.runner.plan import Plan
from kernel_gateway.settings import RunOptions, Settings
from kernel_gateway.sources.program import Cell, Program
from kernel_gateway.store.blobs import BlobStore
from kernel_gateway.store.eventlog import EventLog, read_events

LAUNCHER = """\
import sys
from tests.service import small_kernel

answer = small_kernel.SmallKernel._answer

def leave(self, kind, content, header):
    if kind == "execute_request" and content["code"].isdigit():
        import os
        os._exit(int(content["code"]))
    return answer(self, kind, content, header)

small_kernel.SmallKernel._answer = leave
from pathlib import Path
import json
small_kernel.SmallKernel(json.loads(Path(sys.argv[1]).read_text())).serve()
"""
"""A kernel that takes itself for Java's, below a launcher: it ends with the code that a cell consists of."""


@pytest.mark.parametrize(("code", "ends"), [(3, "ExitCode: exit code 3"), (137, "died")])
def test_a_code_of_the_program_fails_its_cell_and_that_of_a_killed_interpreter_is_a_dead_kernel(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, ends: str
) -> None:
    (tmp_path / "launcher.py").write_text(LAUNCHER)
    folder = tmp_path / "kernels" / "small"
    folder.mkdir(parents=True)
    command = [sys.executable, str(tmp_path / "launcher.py"), "{connection_file}"]
    (folder / "kernel.json").write_text(json.dumps({"argv": command, "display_name": "small", "language": "java"}))
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    log = EventLog(tmp_path / "events.jsonl")
    outputs = Outputs(log, BlobStore(tmp_path / "blobs"))
    driver = Driver(log, outputs, Cancellation(), Settings())
    kernels = KernelSet(driver, log, Settings(), cwd=tmp_path, environ=os.environ)
    spec = Kernelspecs().resolve("small")
    program = Program(
        name="n", path=None, format="snippet", digest="", cells=[Cell(id="c", type="code", source=str(code))]
    )
    runner = CellRunner(Plan(program, spec, [spec]), driver, kernels, log, outputs, RunOptions(name="n"))
    try:
        if code < 128:
            status, reason = runner.run(lambda kernel: None)
            assert status == Status.FAILED
            assert ends in reason
        else:
            with pytest.raises(KernelDiedError, match=ends):
                runner.run(lambda kernel: None)
    finally:
        kernels.close()
        driver.close()
        log.close()
    assert list(read_events(log.path))[-1]["status"] == ("error" if code < 128 else "aborted")
