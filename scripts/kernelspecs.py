"""Registers in this environment the kernelspecs whose packages do not bring their own, and checks the whole list.

`scripts/setup --kernels` runs it with the environment's own interpreter. Exits with 1 and a sentence for each
kernelspec that is missing afterwards.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
from pathlib import Path

from jupyter_client.kernelspec import KernelSpecManager

EXPECTED = ("python3", "ir", "bash", "deno", "java", "kotlin", "octave")

KERNELS = Path(sys.prefix, "share", "jupyter", "kernels")
SCRIPTS = sysconfig.get_path("scripts")


def install_ir() -> None:
    """Have IRkernel write its kernelspec; it calls `jupyter`, which must be this environment's."""
    environment = os.environ | {"PATH": SCRIPTS + os.pathsep + os.environ["PATH"]}
    code = f"IRkernel::installspec(user = FALSE, prefix = {json.dumps(sys.prefix)})"
    subprocess.run(["Rscript", "-e", code], env=environment, check=True, capture_output=True, text=True)


def install_bash() -> None:
    """Have bash_kernel write its kernelspec."""
    command = [sys.executable, "-m", "bash_kernel.install", "--sys-prefix"]
    subprocess.run(command, check=True, capture_output=True, text=True)


def install_deno() -> None:
    """Write deno's kernelspec here: `deno jupyter --install` only knows the user's home.

    `interrupt_mode` is added to what deno writes: the kernel ignores SIGINT, but heeds an interrupt request.
    """
    spec = {
        "argv": [str(Path(SCRIPTS, "deno")), "jupyter", "--kernel", "--conn", "{connection_file}"],
        "display_name": "Deno",
        "language": "typescript",
        "interrupt_mode": "message",
    }
    folder = KERNELS / "deno"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "kernel.json").write_text(json.dumps(spec, indent=2) + "\n", encoding="utf-8")


def main() -> int:
    """Register, then look for every expected kernelspec. Returns the exit code."""
    for install in (install_ir, install_bash, install_deno):
        try:
            install()
        except subprocess.CalledProcessError as error:
            print(f"setup: {install.__name__} failed: {error.stderr.strip()}", file=sys.stderr)
    found = KernelSpecManager().find_kernel_specs()
    missing = [name for name in EXPECTED if not Path(found.get(name, "."), "kernel.json").is_file()]
    for name in missing:
        print(f"setup: the kernelspec {name!r} is missing, though its packages were installed.", file=sys.stderr)
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
