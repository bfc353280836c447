"""Kernels that misbehave, each in one way. Run as a kernelspec's command: ``problemkernel.py MODE CONNECTION_FILE``."""

# mypy: disable-error-code="no-untyped-call"
from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from typing import Any

MODE, CONNECTION_FILE = sys.argv[1], sys.argv[2]

if MODE == "exits-at-start":
    print("libcudart.so.12: cannot open shared object file", file=sys.stderr)
    sys.exit(3)
if MODE == "never-answers":
    print("loading a very large model", file=sys.stderr, flush=True)
    time.sleep(3600)
if MODE == "restarted":
    # What an eager supervisor does: the kernel dies, and another takes its place on the same sockets.
    while True:
        subprocess.run([sys.executable, "-m", "ipykernel_launcher", "-f", CONNECTION_FILE], check=False)

from ipykernel.kernelapp import IPKernelApp  # noqa: E402
from ipykernel.kernelbase import Kernel  # noqa: E402


class ProblemKernel(Kernel):
    """Answers as the protocol wants, but for its mode."""

    implementation = "problem"
    implementation_version = "1"
    banner = "problem"
    language_info = {"name": "text", "mimetype": "text/plain", "file_extension": ".txt"}  # noqa: RUF012

    async def do_execute(self, code: str, *args: Any, **options: Any) -> dict[str, Any]:
        """Do what the mode says."""
        if MODE == "asks-for-input":
            self._allow_stdin = True
            self.raw_input("name? ")
        elif MODE == "ignores-interrupts":
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            time.sleep(3600)
        elif MODE == "floods":
            for number in range(int(code)):
                self.send_response(self.iopub_socket, "stream", {"name": "stdout", "text": f"line {number}\n"})
        elif MODE == "stops":
            os.kill(os.getpid(), signal.SIGSTOP)
        elif MODE == "speaks-nonsense":
            self.send_response(self.iopub_socket, "no_such_type", {"a": 1})
            self.send_response(self.iopub_socket, "stream", {"name": "neither", "text": "as stdout\n"})
            self.send_response(self.iopub_socket, "display_data", {})
        return {"status": "ok", "execution_count": self.execution_count, "payload": [], "user_expressions": {}}

    async def execute_request(self, *args: Any) -> None:
        """Drop requests, in the mode that does."""
        if MODE != "never-replies":
            await super().execute_request(*args)

    def _publish_status(self, status: str, channel: str, parent: Any = None) -> None:
        if not (MODE == "never-idle" and status == "idle"):
            super()._publish_status(status, channel, parent)


IPKernelApp.launch_instance(kernel_class=ProblemKernel, argv=["-f", CONNECTION_FILE])
